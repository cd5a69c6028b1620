/**
 * @file Bounds on gradients, between the backward pass and the optimizer.
 */
import type { Node } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import type { Ops } from "../ir/op.js";
import { algebra, type Algebra } from "../ops/algebra.js";
import { LANE_ROW } from "./lanes.js";
import type { Arguments, CallSetting } from "./settings.js";
import { numberOf, outside, type CallFault, type CallRecord } from "../../runtime/train/vocabulary/record.js";

/** Gradients by the path of what they are of: a parameter or a lane. */
export type Gradients = ReadonlyMap<string, Node>;

/** The length of all gradients together, 0-d: √Σ g². */
export function globalNorm(ops: Ops, gradients: Gradients): Node {
  const o = algebra(ops);
  // A lane is summed row by row first: one sum over all of it would leave most of a device idle.
  const rows = (x: Node): Node => {
    const length = x.shape.length === 1 ? (x.shape[0]?.c ?? 0) : 0;
    if (length % LANE_ROW !== 0 || length <= LANE_ROW) return x;
    const split = ops.call("reshape", [x], { shape: [length / LANE_ROW, LANE_ROW] });
    return ops.call("sum", [split], { axes: [1], keep: false });
  };
  const squares = [...gradients.values()].map((g) => ops.call("sum", [rows(o.unary("square", g))]));
  const [first, ...rest] = squares;
  invariant(first !== undefined, "something is trained");
  return o.unary("sqrt", rest.reduce((total, square) => o.add(total, square), first));
}

/** What a bound is computed from. */
interface ClipContext {
  readonly ops: Ops;
  readonly gradients: Gradients;
  /** By the gradients' paths. */
  readonly parameters: ReadonlyMap<string, Node>;
  /** Of the gradients, where known. */
  readonly norm: Node | undefined;
}

/** One bound on gradients. */
interface ClipRecord extends CallRecord {
  /** Whether it reads the length of all gradients together. */
  readonly needsNorm: boolean;
  /** Whether it looks at nothing but single elements and that length, so that gradients may lie in lanes. */
  readonly elementwise: boolean;
  bound(context: ClipContext, given: Arguments): Gradients;
}

const each = (gradients: Gradients, f: (g: Node, path: string) => Node): Gradients =>
  new Map([...gradients].map(([path, g]): [string, Node] => [path, f(g, path)]));

const positive = (owner: string, argument: string) => (given: Arguments): CallFault | undefined => {
  const fault = outside(owner, argument, given[argument], { least: Number.MIN_VALUE });
  return fault && { ...fault, text: fault.text.replace(`at least ${Number.MIN_VALUE}`, "more than 0") };
};

/** min(1, limit / (norm + 1e-6)). */
const shrink = (o: Algebra, norm: Node, given: Arguments): Node =>
  o.binary("minimum", 1, o.div(numberOf(given["limit"]), o.add(norm, 1e-6)));

const CLIP_RECORDS: readonly ClipRecord[] = [
  {
    name: "global_norm", signature: "(limit: real)", needsNorm: true, elementwise: true,
    doc: "Scales all gradients by min(1, limit / (norm + 1e-6)). Source: torch.nn.utils.clip_grad_norm_.",
    about: { limit: "Greatest length of all gradients together that is left as it is." },
    check: positive("global_norm", "limit"),
    bound({ ops, gradients, norm }, given) {
      const o = algebra(ops);
      const scale = shrink(o, norm ?? globalNorm(ops, gradients), given);
      return each(gradients, (g) => o.mul(g, scale));
    },
  },
  {
    name: "parameter_norm", signature: "(limit: real)", needsNorm: false, elementwise: false,
    doc: "As `global_norm`, but scales the gradient of each parameter by its own norm. Source: Keras, `clipnorm`.",
    about: { limit: "Greatest length of a parameter's gradient that is left as it is." },
    check: positive("parameter_norm", "limit"),
    bound({ ops, gradients }, given) {
      const o = algebra(ops);
      const norm = (g: Node): Node => globalNorm(ops, new Map([["", g]]));
      return each(gradients, (g) => o.mul(g, shrink(o, norm(g), given)));
    },
  },
  {
    name: "value", signature: "(limit: real)", needsNorm: false, elementwise: true,
    doc: "Clamps every element to ±limit. Source: torch.nn.utils.clip_grad_value_.",
    about: { limit: "Greatest element that is left as it is." },
    check: positive("value", "limit"),
    bound({ ops, gradients }, given) {
      const [o, limit] = [algebra(ops), numberOf(given["limit"])];
      return each(gradients, (g) => o.binary("maximum", o.binary("minimum", g, limit), -limit));
    },
  },
  {
    name: "adaptive", signature: "(factor: real)", needsNorm: false, elementwise: false,
    doc: "Limits each unit's gradient norm to `factor` times its weights' norm, at least 1e-3. All parameters are " +
      "clipped; timm excludes the head. Source: Brock et al. 2021, §4.",
    about: { factor: "Greatest norm of a gradient, as a share of its weights' norm." },
    check: positive("adaptive", "factor"),
    bound({ ops, gradients, parameters }, given) {
      const o = algebra(ops);
      return each(gradients, (g, path) => {
        const parameter = parameters.get(path);
        invariant(parameter !== undefined, "a gradient has its parameter");
        return adaptive(o, g, parameter, numberOf(given["factor"]));
      });
    },
  },
];

/** Every bound by its name. */
export const CLIPS: ReadonlyMap<string, ClipRecord> = new Map(CLIP_RECORDS.map((one) => [one.name, one]));

/** The record of a recipe's bound. */
export function clipRecord({ name }: CallSetting): ClipRecord {
  const record = CLIPS.get(name);
  invariant(record !== undefined, `\`${name}\` is a bound`);
  return record;
}

/** Each unit of the first axis by min(1, factor·max(‖w‖, 1e-3) / ‖g‖); vectors and 0-d as one unit. */
function adaptive(o: Algebra, g: Node, parameter: Node, factor: number): Node {
  const axes = g.shape.map((_, axis) => axis).slice(g.shape.length > 1 ? 1 : 0);
  const length = (x: Node): Node => o.unary("sqrt", o.sum(o.unary("square", x), axes));
  const limit = o.mul(o.binary("maximum", length(parameter), 1e-3), factor);
  const own = length(g);
  return o.mul(g, o.where(o.gt(own, limit), o.div(limit, o.binary("maximum", own, 1e-6)), 1));
}

/** All gradients divided by max(1, norm / limit): LAMB's own bound. */
export function limited(ops: Ops, gradients: Gradients, norm: Node, limit: number): Gradients {
  const o = algebra(ops);
  const divisor = o.binary("maximum", o.div(norm, limit), 1);
  return new Map([...gradients].map(([path, g]): [string, Node] => [path, o.div(g, divisor)]));
}
