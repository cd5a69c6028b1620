/**
 * @file What a training run keeps between steps: parameters and buffers, and beside each what the optimizer, the moving
 * average and accumulation need. A slash tells such a path from every parameter path.
 */
import type { Initializer } from "../../runtime/manifest.js";
import type { Attrs, DType, Node, Parameter } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import type { Ops } from "../ir/op.js";
import type { Unit } from "./lanes.js";

/** What a state tensor is for; a `lane` holds others side by side. */
type Role = "parameter" | "buffer" | "optimizer" | "ema" | "gradient" | "lane";

/** A tensor that lives from step to step. */
export interface StateTensor {
  readonly path: string;
  readonly role: Role;
  /** Path of the parameter or buffer it belongs to; its own for those. */
  readonly of: string;
  /** Sizes; no batch. */
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** `copy`: what `of` starts from, whether drawn or loaded. */
  readonly initial: Initializer | { readonly kind: "copy" };
  /** The lane it lies in, and where it starts there, in elements. */
  readonly inside?: { readonly lane: string; readonly offset: number };
}

/** `adamw.m/blocks.0.norm1.weight`. */
export const statePath = (optimizer: string, state: string, path: string): string => `${optimizer}.${state}/${path}`;
/** The moving average of a parameter or buffer. */
export const emaPath = (path: string): string => `ema/${path}`;
/** The gradient summed over the passes of a step. */
export const gradientPath = (path: string): string => `gradient/${path}`;

/** State tensors of one graph, as the parameters of its `Graph` and as the list the runtime allocates. */
export class StateTable {
  readonly parameters = new Map<string, Parameter>();
  readonly tensors: StateTensor[] = [];
  readonly #ops: Ops;

  constructor(ops: Ops) {
    this.#ops = ops;
  }

  /** A parameter or buffer of a model, as it is. */
  keep(parameter: Parameter, inside?: StateTensor["inside"]): void {
    const { path, node, trained, initializer } = parameter;
    const place = inside ? { inside } : {};
    this.parameters.set(path, { ...parameter, ...place });
    this.tensors.push({ ...sizesOf(node), path, role: trained ? "parameter" : "buffer", of: path,
      initial: initializer, ...place });
  }

  /** A tensor that holds others side by side. */
  lane(path: string, length: number): Node {
    const node = this.#ops.call("parameter", [], { path, shape: [length] });
    const initializer = { kind: "zeros" } as const;
    const doc = "Tensors side by side, updated together.";
    this.parameters.set(path, { path, node, trained: false, decay: false, initializer, doc });
    this.tensors.push({ path, role: "lane", of: path, shape: [length], dtype: "f32", initial: initializer });
    return node;
  }

  /** Tensors beside all members of a unit, as one node: a lane of its own, or the one tensor beside the one member. */
  besideUnit(unit: Unit, pathOf: (path: string) => string, role: "optimizer" | "ema" | "gradient", doc: string): Node {
    const [first] = unit.members as [Unit["members"][number]]; // a unit has members
    if (unit.lane === undefined) return this.beside(first.parameter, pathOf(first.parameter.path), role, doc);
    const lane = pathOf(String(unit.lane)).replace(/^(.*)\/(\d+)$/, "lane/$1.$2");
    const node = this.lane(lane, unit.length);
    for (const { parameter, offset } of unit.members) {
      const initial: StateTensor["initial"] = role === "ema" ? { kind: "copy" } : { kind: "zeros" };
      this.tensors.push({ ...sizesOf(parameter.node), path: pathOf(parameter.path), role, of: parameter.path, initial,
        inside: { lane, offset } });
    }
    return node;
  }

  /** A tensor beside `of`, of its shape. */
  beside(of: Parameter, path: string, role: "optimizer" | "ema" | "gradient", doc: string): Node {
    const { shape, dtype } = of.node;
    const attrs: Attrs = dtype === "f32" ? { path, shape } : { path, shape, dtype };
    const node = this.#ops.call("parameter", [], attrs);
    const initial: StateTensor["initial"] = role === "ema" ? { kind: "copy" } : { kind: "zeros" };
    // The initializer of a copy is that of its original, which stands in for it where nothing is loaded.
    const initializer: Initializer = role === "ema" ? of.initializer : { kind: "zeros" };
    this.parameters.set(path, { path, node, trained: false, decay: false, initializer, doc });
    this.tensors.push({ ...sizesOf(node), path, role, of: of.path, initial });
    return node;
  }
}

function sizesOf(node: Node): Pick<StateTensor, "shape" | "dtype"> {
  invariant(node.shape.every((d) => d.b === 0), "state does not depend on the batch");
  return { shape: node.shape.map((d) => d.c), dtype: node.dtype };
}
