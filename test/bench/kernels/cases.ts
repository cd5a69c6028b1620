/**
 * @file Template specs over strided buffers, with their data and float64 reference: what the bench times and the test
 * checks.
 */
import type { Dim } from "../../../compiler/dim.js";
import { evalDim, showDim } from "../../../compiler/dim.js";
import type { AttentionSpec, ContractionSpec, Extent, Operand } from "../../../compiler/lower/template.js";

/** An operand with the numbers behind it. `at` is the element as the kernel must see it, zeros included. */
export interface Source {
  readonly operand: Operand;
  readonly data: Float32Array;
  at(row: number, depth: number, batch: number): number;
}

/** Strides in elements, and the odd forms an operand may have. */
export interface Layout {
  readonly buffer: string;
  readonly start?: number;
  readonly batch?: number;
  readonly row: number;
  readonly depth: number;
  readonly vector?: Operand["vector"];
  /** Withholds base and step: only `offset` tells. */
  readonly mixed?: boolean;
  /** Rows 3, 8, 13, … are zeros. */
  readonly rowGuard?: boolean;
  /** Elements whose row + depth is a multiple of three are zeros. */
  readonly elementGuard?: boolean;
}

/** Uniform numbers in ±0.5 from a fixed linear congruence. */
export function noise(length: number, seed: number): Float32Array {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

/** A strided operand over `data`. What lies outside a guard is NaN-free but never counted. */
export function source(layout: Layout, data: Float32Array): Source {
  const { buffer, start = 0, batch: perBatch = 0, row: perRow, depth: perDepth } = layout;
  const { vector = "none", mixed = false, rowGuard = false, elementGuard = false } = layout;
  const base = (row: string, batch: string): string => `(${row}) * ${perRow} + (${batch}) * ${perBatch} + ${start}`;
  const step = (depth: string): string => `(${depth}) * ${perDepth}`;
  const unknown = (): string => {
    throw new Error(`operand ${buffer} is not separable`);
  };
  return {
    data,
    operand: {
      buffer,
      vector,
      separable: !mixed,
      base: mixed ? unknown : base,
      step: mixed ? unknown : step,
      offset: (row, depth, batch) => `${base(row, batch)} + ${step(depth)}`,
      ...(rowGuard ? { guard: (row: string) => `(${row}) % 5 >= 0 && (${row}) % 5 != 3` } : {}),
      ...(elementGuard ? { elementGuard: (row: string, depth: string) => `((${row}) + (${depth})) % 3 != 0` } : {}),
    },
    at(row, depth, batch) {
      if (rowGuard && row % 5 === 3) return 0;
      if (elementGuard && (row + depth) % 3 === 0) return 0;
      return data[row * perRow + depth * perDepth + batch * perBatch + start] ?? NaN;
    },
  };
}

/** An extent as the compiler writes it. */
export function extent(dim: Dim): Extent {
  return { dim, wgsl: dim.b === 0 ? String(dim.c) : `(${dim.b} * B + ${dim.c})` };
}

export interface ContractionCase {
  readonly name: string;
  readonly spec: ContractionSpec;
  readonly sources: readonly [Source, Source];
  /** The batch `B`. */
  readonly B: number;
}

/** C[batch, m, n] in float64. */
export function contractionReference(
  { spec, sources: [a, b], B }: ContractionCase, batch: number, m: number, n: number,
): number {
  const depth = evalDim(spec.depth.dim, B);
  let sum = 0;
  for (let k = 0; k < depth; k++) sum += a.at(m, k, batch) * b.at(n, k, batch);
  return sum;
}

export interface AttentionCase {
  readonly name: string;
  readonly spec: AttentionSpec;
  readonly sources: readonly [Source, Source, Source];
  readonly B: number;
}

/** Row i of O[batch] and its log-sum-exp, in float64. */
export function attentionReference(
  { spec, sources: [q, k, v], B }: AttentionCase, batch: number, i: number,
): { readonly row: readonly number[]; readonly logSumExp: number } {
  const scores = Array.from({ length: evalDim(spec.keys.dim, B) }, (_, j) => {
    let s = 0;
    for (let d = 0; d < spec.width; d++) s += q.at(i, d, batch) * k.at(j, d, batch);
    return s * spec.scale;
  });
  const most = Math.max(...scores);
  const weights = scores.map((s) => Math.exp(s - most));
  const sum = weights.reduce((x, y) => x + y, 0);
  const row = Array.from({ length: spec.valueWidth }, (_, d) =>
    weights.reduce((o, w, j) => o + (w / sum) * v.at(j, d, batch), 0));
  return { row, logSumExp: most + Math.log(sum) };
}

/** Stores `value` at [batch, row, col] of `result`. */
export function storeAt(rows: Extent, cols: string): ContractionSpec["epilogue"] {
  return ({ row, col, batch, value }) => `result[(${batch} * ${rows.wgsl} + ${row}) * ${cols} + ${col}] = ${value};`;
}

/** `197·B×192×576` and the like. */
export const shapeOf = ({ rows, cols, depth }: ContractionSpec): string =>
  [rows, depth, cols].map((e) => showDim(e.dim)).join("×");
