/**
 * @file What an op is: one record with everything the compiler knows about it. Ops are listed once, in `ops/index.ts`;
 * no other place names an op to decide what to do with it, but rewrite rules, which are about ops.
 */
import type { Dim } from "./dim.js";
import type { Index, Value } from "./value.js";
import type { Attrs, Node, TensorType } from "./graph.js";
import { invariant } from "./invariant.js";

/**
 * How an op behaves under fusion.
 * - `leaf`: no inputs (parameter, buffer, input, constant, random).
 * - `elementwise`: one output element from one element of each (broadcast) input.
 * - `movement`: one output element is one input element, a constant, or a choice between inputs: no kernel of its own.
 * - `reduction`: folds axes with an associative operation.
 * - `contraction`: sum of products; a tiled kernel.
 * - `composite`: defined by other ops (`expand`).
 * - `fused`: made by rewrite rules from others (`expand` gives its meaning), with a kernel template of its own.
 * - `opaque`: a kernel of its own, nothing fuses into it.
 */
type OpKind =
  | "leaf" | "elementwise" | "movement" | "reduction" | "contraction" | "composite" | "fused" | "opaque";

/** A user's mistake found by an op: becomes a diagnostic at the call. `code` is one of the message catalogue's. */
export interface OpFault {
  readonly fault: string;
  readonly text: string;
  readonly help?: string;
}
export const isFault = (x: unknown): x is OpFault => typeof x === "object" && x !== null && "fault" in x;

/** A dense tensor on the CPU. Booleans are 0 and 1. float64 keeps full precision (gradient checks). */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float64Array | Float32Array | Int32Array;
}

/** Makes nodes: the vocabulary of `expand`, gradients, elaboration and rewrite rules. */
export interface Ops {
  /** The op `name` on `inputs`; throws a CompilerBug on a fault. */
  call(name: string, inputs: readonly Node[], attrs?: Attrs): Node;
  /** A 0-d f32 constant. */
  constant(value: number): Node;
  /** Result `index` of a node with several. */
  result(node: Node, index: number): Node;
}

export interface GradientContext<A extends Attrs = Attrs> {
  readonly ops: Ops;
  readonly node: Node<A>;
  /** Gradient of the loss with respect to `node`: same shape. */
  readonly dy: Node;
}

/**
 * `A` is the type of the op's canonical attributes: what `canonical` returns, which `defineOp` infers from it. All that
 * takes attributes or a node of the op is a method, so that every record is an `OpRecord` too: TypeScript lets methods
 * take less than the type they are called through says. That is sound as long as records are given nodes of their own
 * op alone, which `recordOf(node.op)` and `isOp` see to.
 */
export interface OpRecord<A extends Attrs = Attrs> {
  readonly name: string;
  readonly kind: OpKind;
  /** In `.deit` syntax, e.g. `(x: [..], axis: list, keep = false) -> [..]`: the callable form, shown by `explain`. */
  readonly signature: string;
  /** What it computes and its source (paper, torch symbol). */
  readonly doc: string;
  /** Draws random numbers: callable while `training` only, since nothing draws any in inference. */
  readonly draws?: boolean;
  /** Not callable from `.deit` text: made by the compiler only. */
  readonly internal?: boolean;
  /**
   * Brings call arguments into canonical attributes (axes counted from 0, defaults filled in) or finds them at fault.
   * Canonical ones stay as they are.
   */
  canonical(inputs: readonly TensorType[], attrs: Attrs): A | OpFault;
  /** Result types from input types and canonical attributes, or the user's mistake. */
  infer(inputs: readonly TensorType[], attrs: A): readonly [TensorType, ...TensorType[]] | OpFault;
  /** Numbers on the CPU, the oracle: one Tensor a result. Composite ops leave it out and inherit it from `expand`. */
  evaluate?(inputs: readonly Tensor[], attrs: A, shapes: readonly (readonly number[])[]): Tensor[];
  /** Elementwise: the scalar function. */
  scalar?(...x: number[]): number;
  /** Elementwise: a WGSL expression of its (already parenthesised) operands, valid for f32 scalars. */
  wgsl?(...x: string[]): string;
  /** Elementwise: WGSL functions `wgsl` calls, by name. */
  readonly wgslFunctions?: Readonly<Record<string, string>>;
  /** Elementwise: rough cost of one evaluation in multiplications; 1 when absent. Fusion weighs recomputation by it. */
  readonly cost?: number;
  /** Movement: the element at coordinates `at`, through `read(input, coordinates)`. */
  pull?(node: Node<A>, at: readonly Index[], read: (input: number, at: readonly Index[]) => Value): Value;
  /** Movement of any number of inputs: the same value by calls of at most `most` inputs each. */
  narrow?(ops: Ops, inputs: readonly Node[], attrs: A, most: number): Node;
  /**
   * Movement of several elements into one tensor: the same value, which has elements, where an input has none. Others
   * need no rule: see `build.ts`.
   */
  withoutEmpty?(ops: Ops, inputs: readonly Node[], attrs: A, type: TensorType): Node;
  /** Leaf: its numbers, row-major, where they are known when compiling; they become a constant of the kernel. */
  embedded?(node: Node<A>): readonly number[];
  /** Reductions and composites of them: the axes that are folded, in ascending order, and whether they stay as 1. */
  reduced?(attrs: A): Reduced;
  /** Reduction: identity element, JavaScript fold and WGSL fold. */
  readonly fold?: {
    readonly identity: number; combine(a: number, b: number): number; wgsl(a: string, b: string): string
  };
  /** Positions of the operands that may be f16 while all else is f32: of products that are summed in f32. */
  readonly halves?: readonly number[];
  /** Contraction: C[at] = Σ_k A[…]·B[…]. */
  readonly contract?: {
    /** Extent of k. */
    depth(node: Node<A>): Dim;
    /** Where both operands are read for result coordinates `at` and depth index `k`. */
    read(node: Node<A>, at: readonly Index[], k: Index): readonly [a: readonly Index[], b: readonly Index[]];
  };
  /** Attention: O[at] = Σ_j softmax_j(scale·Σ_d Q·K)·V, inputs q, k, v. */
  readonly attend?: {
    scale(node: Node<A>): number;
    keys(node: Node<A>): Dim;
    width(node: Node<A>): Dim;
    /** Where q, k and v are read for result coordinates `at`, key `j` and width index `d`. */
    read(
      node: Node<A>, at: readonly Index[], j: Index, d: Index,
    ): readonly [q: readonly Index[], k: readonly Index[], v: readonly Index[]];
  };
  /** Gradients of attention, inputs q, k, v, dy, L (ln Σexp of the scaled scores) and Δ (Σ dy·y), both a query's. */
  readonly attendBack?: {
    scale(node: Node<A>): number;
    parts(node: Node<A>): "all" | "queries" | "keys";
    keys(node: Node<A>): Dim;
    queries(node: Node<A>): Dim;
    width(node: Node<A>): Dim;
    /** Axis of the result that counts its parts; undefined where there is one. */
    partAxis(node: Node<A>): number | undefined;
    /** Where the inputs are read for leading coordinates `lead`, query `i`, key `j` and column `d`. */
    read(node: Node<A>, lead: readonly Index[], i: Index, j: Index, d: Index): readonly (readonly Index[])[];
  };
  /** Opaque: its inputs are stored inside its own storage, from these elements on; it has no kernel. */
  pack?(node: Node<A>): readonly number[];
  /** Composite and fused: the same value by simpler ops. */
  expand?(ops: Ops, inputs: readonly Node[], attrs: A): Node;
  /**
   * Gradients of the inputs (undefined: none flows), or "none" for ops without one, or "expand": as its expansion's.
   * A fault where there is one on paper, but no op that computes it.
   */
  readonly gradient: "none" | "expand" | Gradient<A>;
  /** Inputs on which reference, WGSL and gradient are compared; odd sizes on purpose. */
  readonly samples: readonly OpSample[];
}

/** Axes that are folded, and whether they stay as 1, as in torch. */
export type Reduced = { readonly axes: readonly number[]; readonly keep: boolean };

/** The type of a method, see `OpRecord`. */
type Gradient<A extends Attrs> =
  { of(context: GradientContext<A>): readonly (Node | undefined)[] | OpFault }["of"];

/** `inputs` give shape (B allowed: as the string "B") and a range the sampled values lie in. */
export interface OpSample {
  readonly inputs: readonly SampleInput[];
  readonly attrs?: Attrs;
}
export interface SampleInput {
  readonly shape: readonly (number | "B")[];
  /** f32 values are drawn from [low, high); i32 likewise, whole. Default [-2, 2). */
  readonly range?: readonly [number, number];
  readonly dtype?: "f32" | "i32" | "bool";
}

/** A record, its attributes' type inferred from `canonical`. */
export const defineOp = <A extends Attrs>(record: OpRecord<A>): OpRecord<A> => record;

/** Whether `node` is of the op of `record`, which made its attributes. */
export const isOp = <A extends Attrs>(record: OpRecord<A>, node: Node): node is Node<A> => node.op === record.name;

/** What a reduction folds. */
export function reducedOf(record: OpRecord, attrs: Attrs): Reduced {
  invariant(record.reduced, `${record.name} is a reduction`);
  return record.reduced(attrs);
}

/** The attributes of a node known to be of the op of `record`. */
export function attrsOf<A extends Attrs>(record: OpRecord<A>, node: Node): A {
  invariant(isOp(record, node), `a node of ${record.name}, not of ${node.op}`);
  return node.attrs;
}
