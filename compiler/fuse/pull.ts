/**
 * @file Follows one element of a tensor back to what it is made of, down to tensors that are stored. Movement ops
 * become index arithmetic, elementwise ops a scalar expression, reductions folds, and at most one contraction the
 * accumulator.
 */
import { isOne, type Shape } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { indexKey, variable, ZERO_INDEX } from "../ir/indices.js";
import { invariant } from "../ir/invariant.js";
import { reducedOf, type OpRecord } from "../ir/op.js";
import type { FoldVariable, Index, Value } from "../ir/value.js";

/** A reduction computed inside the kernel, at the coordinates of its result. */
export interface PulledFold {
  readonly node: Node;
  readonly at: readonly Index[];
  readonly fold: Extract<Value, { kind: "fold" }>;
}

/** A contraction or fused op met on the way, at the coordinates of its result. */
export interface PulledAnchor {
  readonly node: Node;
  readonly at: readonly Index[];
}

export class Puller {
  readonly anchors: PulledAnchor[] = [];
  readonly folds: PulledFold[] = [];
  /** Nodes computed inside, the root among them. */
  readonly members = new Set<Node>();
  /** Stored nodes read. */
  readonly reads = new Set<Node>();
  /** Coordinates at which each node computed inside was met, in order. */
  readonly met = new Map<Node, (readonly Index[])[]>();
  readonly #memo = new Map<string, Value>();

  constructor(
    readonly records: ReadonlyMap<string, OpRecord>,
    readonly stored: ReadonlySet<Node>,
    readonly root: Node | undefined,
  ) {}

  /** The element of `node` at coordinates `at`. */
  pull(node: Node, at: readonly Index[]): Value {
    const key = `${node.id}:${at.map(indexKey).join(",")}`;
    const known = this.#memo.get(key);
    if (known) return known;
    const value = this.#compute(node, at);
    this.#memo.set(key, value);
    return value;
  }

  #compute(node: Node, at: readonly Index[]): Value {
    const record = this.records.get(node.op);
    invariant(record, `op ${node.op} has a record`);
    if (node !== this.root && this.stored.has(node)) return this.#load(node, at);
    const met = this.met.get(node);
    if (met) met.push(at);
    else this.met.set(node, [at]);
    if (record.pull) {
      this.members.add(node);
      return record.pull(node, at, (input, where) =>
        this.pull(node.inputs[input] as Node, where)); // records read inputs they have
    }
    switch (record.kind) {
      case "leaf":
        return this.#load(node, at);
      case "elementwise": {
        this.members.add(node);
        const args = node.inputs.map((input) => this.pull(input, broadcast(at, node.shape, input.shape)));
        return { kind: "apply", op: node.op, args, dtype: node.dtype };
      }
      case "reduction":
        this.members.add(node);
        return this.#fold(node, record, at);
      case "contraction":
      case "fused":
        this.members.add(node);
        this.anchors.push({ node, at });
        return { kind: "accumulator" };
      default:
        invariant(false, `${record.kind} op ${node.op} is expanded before fusion`);
    }
  }

  #load(node: Node, at: readonly Index[]): Value {
    this.reads.add(node);
    return { kind: "load", node, at };
  }

  #fold(node: Node, record: OpRecord, at: readonly Index[]): Value {
    const input = node.inputs[0] as Node; // reductions have one input
    const { axes, keep } = reducedOf(record, node.attrs);
    const variables: FoldVariable[] = [];
    let next = 0;
    const inner = input.shape.map((size, axis): Index => {
      const folded = axes.includes(axis);
      const kept = !folded || keep;
      const outer = kept ? at[next++] : undefined;
      if (!folded) return outer ?? ZERO_INDEX;
      if (isOne(size)) return ZERO_INDEX;
      const name = `f${node.id}_${axis}`;
      variables.push({ name, size });
      return variable(name, size);
    });
    const fold = { kind: "fold", op: node.op, variables, body: this.pull(input, inner) } as const;
    this.folds.push({ node, at, fold });
    return fold;
  }
}

/** Coordinates in an input of shape `from` for coordinates in the broadcast shape `to`: right-aligned, size 1 at 0. */
export function broadcast(at: readonly Index[], to: Shape, from: Shape): Index[] {
  const lead = to.length - from.length;
  return from.map((size, axis) => (isOne(size) ? ZERO_INDEX : (at[axis + lead] ?? ZERO_INDEX)));
}
