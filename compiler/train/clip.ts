/**
 * @file Bounds on gradients, between the backward pass and the optimizer.
 */
import type { Node } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import type { Ops } from "../ir/op.js";
import { algebra, type Algebra } from "../ops/algebra.js";
import { LANE_ROW } from "./lanes.js";
import type { ClipSetting } from "./settings.js";

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

/** Gradients within the recipe's bound. @param parameters by path. @param norm of the gradients, where known. */
export function clipped(
  ops: Ops, gradients: Gradients, clip: ClipSetting, parameters: ReadonlyMap<string, Node>, norm?: Node,
): Gradients {
  const o = algebra(ops);
  const each = (f: (g: Node, path: string) => Node): Gradients =>
    new Map([...gradients].map(([path, g]): [string, Node] => [path, f(g, path)]));
  switch (clip.kind) {
    case "global_norm": {
      const scale = o.binary("minimum", 1, o.div(clip.limit, o.add(norm ?? globalNorm(ops, gradients), 1e-6)));
      return each((g) => o.mul(g, scale));
    }
    case "value": return each((g) => o.binary("maximum", o.binary("minimum", g, clip.limit), -clip.limit));
    case "adaptive": return each((g, path) => {
      const parameter = parameters.get(path);
      invariant(parameter !== undefined, "a gradient has its parameter");
      return adaptive(o, g, parameter, clip.factor);
    });
    default: return clip satisfies never;
  }
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
