/**
 * @file What a training run keeps between steps: parameters and buffers, and beside each what the optimizer, the moving
 * average and accumulation need. A slash tells such a path from every parameter path.
 */
import type { Attrs, DType, Initializer, Node, Parameter } from "../graph.js";
import { invariant } from "../invariant.js";
import type { Ops } from "../op.js";

/** What a state tensor is for. */
export type Role = "parameter" | "buffer" | "optimizer" | "ema" | "gradient";

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
  keep(parameter: Parameter): void {
    const { path, node, trained, initializer } = parameter;
    this.parameters.set(path, parameter);
    this.tensors.push({ ...sizesOf(node), path, role: trained ? "parameter" : "buffer", of: path,
      initial: initializer });
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
