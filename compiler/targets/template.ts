/**
 * @file What the hand-tuned kernel templates are given and give back. Everything is WGSL text over i32 indices; the
 * templates know tiles, lanes and registers, and nothing of the graph.
 */
import type { Dim } from "../ir/dim.js";
import type { DType } from "../ir/graph.js";

/** A size: what it is, and the WGSL i32 expression of it (a literal, or an expression in the override `B`). */
export interface Extent {
  readonly dim: Dim;
  readonly wgsl: string;
}

/**
 * One operand of a contraction, seen as [batch, row, depth] where `row` is the operand's free axis (m of A, n of B).
 * The element's offset into `buffer` is `base(row, batch) + step(depth)` when `separable`, else `offset(...)`.
 */
export interface Operand {
  /** Name of the bound array: of elements, or of fours when `vector` is not "none". */
  readonly buffer: string;
  /** Of its elements: f32 or f16. */
  readonly dtype: DType;
  readonly separable: boolean;
  /** i32 expression, costs divisions: evaluate once a row, outside the depth loop. */
  base(row: string, batch: string): string;
  /** i32 expression in the depth index, often just a product. */
  step(depth: string): string;
  /** Full i32 expression, for operands that are not separable. */
  offset(row: string, depth: string, batch: string): string;
  /** bool expression: false means the whole row is zeros and must not be loaded. Absent: every row is real. */
  readonly guard?: (row: string, batch: string) => string;
  /**
   * bool expression per element (padding of a convolution); absent: only `guard` counts. Four depths of a depth vector
   * share theirs.
   */
  readonly elementGuard?: (row: string, depth: string, batch: string) => string;
  /**
   * Along which axis four neighbours, the first at a multiple of four, are adjacent and aligned in `buffer`:
   * then the buffer is one of fours and offsets are divided by four. The extent of that axis is a multiple of four.
   */
  readonly vector: "depth" | "row" | "none";
}

/** C[batch, m, n] = Σ_k A[batch, m, k]·B[batch, n, k], each element handed to the epilogue. */
export interface ContractionSpec {
  readonly batches: Extent;
  readonly rows: Extent;
  readonly cols: Extent;
  readonly depth: Extent;
  readonly a: Operand;
  readonly b: Operand;
  /** Statements that finish and store one element; only ever called for row < rows, col < cols. `value` is f32. */
  epilogue(at: EpiloguePlace): string;
  /**
   * The same for the columns `col` to `col` + 3, where `col` is a multiple of four; `value` is a vec4f. Absent where
   * they are not stored side by side. A kernel uses one of the two throughout.
   */
  readonly epilogueOfFour?: (at: EpiloguePlace) => string;
}

/** Names of i32 coordinates and of the sum. */
interface EpiloguePlace {
  readonly row: string;
  readonly col: string;
  readonly batch: string;
  readonly value: string;
}

/**
 * O[batch, i, :] = Σ_j softmax_j(scale·Q[batch, i, :]·K[batch, j, :])·V[batch, j, :], never storing the N×N matrix.
 * For `v`, `row` is the key j and `depth` the output column.
 */
export interface AttentionSpec {
  readonly batches: Extent;
  readonly queries: Extent;
  readonly keys: Extent;
  /** Width of Q and K. */
  readonly width: number;
  /** Width of V and the output. */
  readonly valueWidth: number;
  readonly scale: number;
  readonly q: Operand;
  readonly k: Operand;
  readonly v: Operand;
  /** Statements that store output element (row = query, col = column of V). */
  epilogue(at: { readonly row: string; readonly col: string; readonly batch: string; readonly value: string }): string;
  /** Statements that store max + ln Σexp of the scaled scores of a query (f32), where training needs it. */
  readonly logSumExp?: (at: { readonly row: string; readonly batch: string; readonly value: string }) => string;
}

/**
 * Gradients of attention from dy, the logarithm L of each query's Σexp and Δ = Σ_c dy·y, in one dispatch, never storing
 * the N×N matrix. With P = exp(scale·Q·Kᵀ − L) and dS = P ∘ (dy·Vᵀ − Δ):
 *
 *     part 0, rows are queries: dQ = scale·dS·K      part 1, rows are keys: dK = scale·dSᵀ·Q      part 2: dV = Pᵀ·dy
 *
 * For every operand `row` is the query or key and `depth` the column; all have the same width. Source: Dao et al. 2022,
 * algorithm 4, with the query part apart so that nothing is added atomically.
 */
export interface AttentionGradientSpec {
  readonly batches: Extent;
  readonly queries: Extent;
  readonly keys: Extent;
  /** Width of Q, K, V and dy. */
  readonly width: number;
  readonly scale: number;
  readonly q: Operand;
  readonly k: Operand;
  readonly v: Operand;
  readonly dy: Operand;
  /** f32 expressions of L and Δ of a query: each a load, so evaluate once a row. */
  logSumExp(query: string, batch: string): string;
  delta(query: string, batch: string): string;
  /** What is computed: all parts (as many keys as queries then), or the query part, or the key parts alone. */
  readonly parts: "all" | "queries" | "keys";
  /** Statements that store one element of part `part` (a literal 0, 1 or 2). */
  epilogue(at: {
    readonly part: string; readonly row: string; readonly col: string; readonly batch: string; readonly value: string;
  }): string;
}

/** What the templates of each kind of kernel are given. */
export interface Specs {
  readonly contraction: ContractionSpec;
  readonly attention: AttentionSpec;
  readonly attention_gradient: AttentionGradientSpec;
}

/** How many workgroups: Π ⌈dim / per⌉, laid out over x and y by the runtime; the kernel linearises them again. */
export type Grid = readonly { readonly dim: Dim; readonly per: number }[];

/** A WebGPU feature that kernels may need, and the WGSL directive that turns it on. */
export const FEATURES = {
  subgroups: "enable subgroups;",
  "shader-f16": "enable f16;",
  "chromium-experimental-subgroup-matrix": "enable chromium_experimental_subgroup_matrix;\nrequires subgroup_id;",
} as const;
type Feature = keyof typeof FEATURES;

/** An array in workgroup memory. */
export interface WorkgroupArray {
  readonly name: string;
  readonly type: keyof typeof WORKGROUP_BYTES;
  readonly length: number;
}
/** Bytes of an element in workgroup memory. */
export const WORKGROUP_BYTES = { f32: 4, i32: 4, "atomic<u32>": 4, vec4f: 16, vec4u: 16 } as const;

/** A kernel's text without header, bindings and `override B`, which the caller puts in front. */
export interface KernelText {
  /** WebGPU features the kernel needs beyond the core. */
  readonly features: readonly Feature[];
  /** Fewest lanes of a subgroup it is right on; absent when it uses none. */
  readonly lanes?: number;
  readonly workgroupArrays: readonly WorkgroupArray[];
  /** Module-scope declarations besides: constants and functions. */
  readonly declarations: string;
  readonly workgroupSize: number;
  /**
   * Body of `fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u,
   * @builtin(local_invocation_index) lid: u32, …)`. Workgroup number: `wid.x + wid.y * nwg.x`, which may exceed the
   * grid's count (the layout over x and y rounds up) and must then do nothing.
   */
  readonly body: string;
  /** Further `@builtin` parameters of `main`, e.g. `@builtin(subgroup_invocation_id) sgid: u32`. */
  readonly builtins?: readonly string[];
  readonly grid: Grid;
}

export type Template<Spec> = (spec: Spec) => KernelText;
/** Undefined where the template is not made for what the spec says: the next target's is taken then. */
export type PartialTemplate<Spec> = (spec: Spec) => KernelText | undefined;
