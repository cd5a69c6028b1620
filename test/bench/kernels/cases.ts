/**
 * @file Template specs over strided buffers, with their data and float64 reference: what the bench times and the test
 * checks.
 */
import type { Dim } from "../../../compiler/ir/dim.js";
import { evalDim, showDim } from "../../../compiler/ir/dim.js";
import type {
  AttentionGradientSpec, AttentionSpec, ContractionSpec, Extent, Operand,
} from "../../../compiler/targets/template.js";

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
  /** Elements whose row + depth is a multiple of three are zeros; of depth vectors four depths count as one. */
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

const stepOf = (vector: Operand["vector"]): number => (vector === "depth" ? 4 : 1);
const isHidden = (vector: Operand["vector"], row: number, depth: number): boolean =>
  (row + Math.floor(depth / stepOf(vector))) % 3 === 0;

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
      dtype: "f32",
      vector,
      separable: !mixed,
      base: mixed ? unknown : base,
      step: mixed ? unknown : step,
      offset: (row, depth, batch) => `${base(row, batch)} + ${step(depth)}`,
      ...(rowGuard ? { guard: (row: string) => `(${row}) % 5 >= 0 && (${row}) % 5 != 3` } : {}),
      ...(elementGuard ? {
        elementGuard: (row: string, depth: string) => `((${row}) + (${depth}) / ${stepOf(vector)}) % 3 != 0`,
      } : {}),
    },
    at(row, depth, batch) {
      if (rowGuard && row % 5 === 3) return 0;
      if (elementGuard && isHidden(vector, row, depth)) return 0;
      return data[row * perRow + depth * perDepth + batch * perBatch + start] ?? NaN;
    },
  };
}

/** How an operand lies in memory. */
export interface Form {
  readonly vector: Operand["vector"];
  readonly mixed?: boolean;
  readonly rowGuard?: boolean;
  readonly elementGuard?: boolean;
}
export const DEPTH: Form = { vector: "depth" };
export const ROW: Form = { vector: "row" };
export const PLAIN: Form = { vector: "none" };

/**
 * An operand [batches, rows, depth]: rows of depths, or for row vectors depths of rows, with NaN behind its guards, and
 * before each batch and at the end `start` times NaN (four-aligned where rows and depth are).
 */
export function operand(
  buffer: string, form: Form, sizes: readonly [number, number, number], seed: number, start = 4,
): Source {
  const [batches, rows, depth] = sizes;
  const strides = form.vector === "row" ? { row: 1, depth: rows } : { row: depth, depth: 1 };
  const batch = rows * depth + start;
  const data = noise(batches * batch + start, seed);
  const made = source({ buffer, start, batch, ...strides, ...form }, data);
  for (let z = 0; z < batches; z++) {
    for (let r = 0; r < rows; r++) {
      for (let k = 0; k < depth; k++) {
        const hidden = (form.rowGuard && r % 5 === 3) || (form.elementGuard && isHidden(form.vector, r, k));
        if (hidden) data[start + z * batch + r * strides.row + k * strides.depth] = NaN;
      }
    }
  }
  for (let z = 0; z <= batches; z++) data.fill(NaN, z * batch, z * batch + start);
  return made;
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

export interface GradientCase {
  readonly name: string;
  readonly spec: AttentionGradientSpec;
  /** q, k, v, dy; then L and Δ, each a matrix of one column. */
  readonly sources: readonly [Source, Source, Source, Source, Source, Source];
  readonly B: number;
}

/**
 * The case of four operands, with the statistics that belong to them: L and Δ are what the forward pass would find,
 * rounded to f32, with NaN around each batch's. Stores the parts one after another in `result`.
 */
export function gradientCase(
  name: string, shape: Pick<AttentionGradientSpec, "batches" | "queries" | "keys" | "width" | "parts">,
  operands: readonly [Source, Source, Source, Source], B: number,
): GradientCase {
  const { batches, queries, keys, width, parts } = shape;
  const [q, k, v, dy] = operands;
  const scale = width ** -0.5;
  const [z, m] = [evalDim(batches.dim, B), evalDim(queries.dim, B)];
  const column = (buffer: string): Source => operand(buffer, { vector: "none" }, [z, m, 1], 1);
  const [logSumExp, delta] = [column("t4"), column("t5")];
  const forward: AttentionSpec = {
    batches, queries, keys, width, valueWidth: width, scale, q: q.operand, k: k.operand, v: v.operand,
    epilogue: () => "",
  };
  for (let batch = 0; batch < z; batch++) {
    for (let i = 0; i < m; i++) {
      const found = attentionReference({ name, spec: forward, sources: [q, k, v], B }, batch, i);
      const at = 4 + batch * (m + 4) + i;
      logSumExp.data[at] = found.logSumExp;
      delta.data[at] = found.row.reduce((sum, y, d) => sum + y * dy.at(i, d, batch), 0);
    }
  }
  const load = ({ operand: { buffer, base } }: Source) => (query: string, z: string): string =>
    `${buffer}[${base(query, z)}]`;
  const [ofQueries, ofKeys] = [queries, keys].map((e) => `${batches.wgsl} * ${e.wgsl} * ${width}`);
  const starts: Record<string, string> = parts === "keys"
    ? { 1: "0", 2: `${ofKeys}` } : { 0: "0", 1: `${ofQueries}`, 2: `${ofQueries} + ${ofKeys}` };
  return {
    name, B, sources: [q, k, v, dy, logSumExp, delta],
    spec: {
      ...shape, scale, q: q.operand, k: k.operand, v: v.operand, dy: dy.operand,
      logSumExp: load(logSumExp), delta: load(delta),
      epilogue: ({ part, row, col, batch, value }) => {
        const rows = part === "0" ? queries : keys;
        return `result[${starts[part]} + (${batch} * ${rows.wgsl} + ${row}) * ${width} + ${col}] = ${value};`;
      },
    },
  };
}

/** dQ, dK and dV of one batch in float64, each [row, column], from the case's L and Δ. */
export function gradientReference(
  { spec, sources: [q, k, v, dy, logSumExp, delta], B }: GradientCase, batch: number,
): readonly [number[], number[], number[]] {
  const { width, scale } = spec;
  const [m, n] = [evalDim(spec.queries.dim, B), evalDim(spec.keys.dim, B)];
  const zeros = (rows: number): number[] => new Array<number>(rows * width).fill(0);
  const [dq, dk, dv] = [zeros(m), zeros(n), zeros(n)];
  const columns = Array.from({ length: width }, (_, d) => d);
  const product = (x: Source, i: number, y: Source, j: number): number =>
    columns.reduce((sum, d) => sum + x.at(i, d, batch) * y.at(j, d, batch), 0);
  const add = (to: number[], row: number, factor: number, from: Source, other: number): void => {
    for (const d of columns) to[row * width + d] = (to[row * width + d] ?? NaN) + factor * from.at(other, d, batch);
  };
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const p = Math.exp(scale * product(q, i, k, j) - logSumExp.at(i, 0, batch));
      const ds = scale * p * (product(dy, i, v, j) - delta.at(i, 0, batch));
      add(dq, i, ds, k, j);
      add(dk, j, ds, q, i);
      add(dv, j, p, dy, i);
    }
  }
  return [dq, dk, dv];
}

/** Batches to try: what does not know the batch compiles to the same kernel for all. */
export const batchesOf = (dims: readonly (Dim | undefined)[]): readonly number[] =>
  dims.some((d) => d && d.b !== 0) ? [1, 3] : [3];

/** Stores `value` at [batch, row, col] of `result`. */
export function storeAt(rows: Extent, cols: string): ContractionSpec["epilogue"] {
  return ({ row, col, batch, value }) => `result[(${batch} * ${rows.wgsl} + ${row}) * ${cols} + ${col}] = ${value};`;
}

/** `197·B×192×576` and the like. */
export const shapeOf = ({ rows, cols, depth }: ContractionSpec): string =>
  [rows, depth, cols].map((e) => showDim(e.dim)).join("×");
