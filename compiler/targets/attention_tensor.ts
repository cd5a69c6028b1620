/**
 * @file Attention by subgroup matrices: f16 operands, f32 scores, sums and statistics, in flash form. Each subgroup
 * owns as many queries as its matrices have rows, and keeps them and its outputs in matrices; blocks of keys, then of
 * their values, pass through one place in workgroup memory, scores and weights through another, where threads share
 * rows.
 *
 * Outputs are scaled only when a row's maximum grows so much that weights would leave f16's range: what is in matrices
 * has no rows to scale, so it goes through workgroup memory then. Source: Dao et al. 2022, algorithm 1; the lazy
 * maximum as in FlashAttention-4 (Shah et al. 2025).
 */
import { isConstant } from "../ir/dim.js";
import type { AttentionSpec, Extent, PartialTemplate } from "./template.js";
import { atLeast, isMultiple, workgroups } from "./tile_extent.js";
import {
  loads, matrix, matrixKernel, places, stage, STAGED, vectorsOf, type Block, type MatrixShape,
} from "./tile_matrix.js";
import { range } from "./tile_operand.js";

/** Below every score, above −∞: differences of two stay finite. */
const LEAST = "-1e30";
/** Weights grow to 2 to this power before outputs are scaled: far below f16's 65504. */
const SLACK = 8;
/** Wider queries, keys or values are left to kernels without matrices, and queries that fill a quarter of a tile. */
const WIDEST = 128;

/** Subgroups of a workgroup, and keys of a block. */
export interface AttentionTile {
  readonly subgroups: number;
  readonly keys: number;
}
export const ATTENTION_TILE: AttentionTile = { subgroups: 4, keys: 64 };

/** What a kernel's parts need to know. */
interface Plan {
  readonly spec: AttentionSpec;
  readonly shape: MatrixShape;
  /** Queries and threads of a workgroup, keys of a block. */
  readonly queries: number;
  readonly threads: number;
  readonly keys: number;
  /** Widths, rounded up to whole matrices. */
  readonly width: number;
  readonly valueWidth: number;
  /** Threads that share a row, or rows of a thread, of which one is 1. */
  readonly sharing: number;
  readonly rowsEach: number;
  /** First vector of the scores, and vectors from row to row of f32 and of f16. */
  readonly scores: number;
  readonly wide: number;
  readonly narrow: number;
}

const up = (n: number, to: number): number => Math.ceil(n / to) * to;

/** Undefined where the operands are not f16, wider than the kernel is made for, or the queries few. */
export const attentionTensor = (
  shape: MatrixShape, tile: AttentionTile,
): PartialTemplate<AttentionSpec> => (spec) => {
  const { q, k, v, queries: extent } = spec;
  if ([q, k, v].some(({ dtype }) => dtype !== "f16")) return undefined;
  const [queries, threads] = [shape.m * tile.subgroups, shape.lanes * tile.subgroups];
  const isFew = isConstant(extent.dim) && atLeast(extent) <= queries / 4;
  if (isFew || Math.max(spec.width, spec.valueWidth) > WIDEST) return undefined;
  const width = up(spec.width, Math.max(shape.k, 8));
  const valueWidth = up(spec.valueWidth, Math.max(shape.n, 8));
  const constant = (n: number): Extent => ({ dim: { b: 0, c: n }, wgsl: String(n) });
  const common = { threads, base: 0 };
  const owned: Block = { ...common, name: "q", operand: q, rowExtent: extent, depthExtent: constant(spec.width),
    rows: queries, depths: width, start: "query_start" };
  const passing: Block = { ...common, name: "k", operand: k, rowExtent: spec.keys, depthExtent: constant(spec.width),
    rows: tile.keys, depths: width, start: "key_start" };
  const values: Block = { ...common, name: "v", operand: v, rowExtent: spec.keys,
    depthExtent: constant(spec.valueWidth), rows: tile.keys, depths: valueWidth, start: "key_start" };
  const scores = Math.max(...[owned, passing, values].map(vectorsOf));
  const plan: Plan = {
    spec, shape, queries, threads, keys: tile.keys, width, valueWidth,
    sharing: Math.max(1, threads / queries), rowsEach: Math.max(1, queries / threads),
    scores, wide: Math.max(tile.keys, valueWidth) / 4 + 1, narrow: tile.keys / 8 + 1,
  };
  const { setup, grid } = workgroups([
    { name: "query_tile", extent, per: queries }, { name: "batch", extent: spec.batches, per: 1 },
  ]);
  const finish = spec.epilogue({ row: "row", col: "col", batch: "batch", value: "value" });
  const { m, n, k: deep } = shape;
  const kernel = matrixKernel(shape);
  const steps = range(width / deep);
  return {
    ...kernel,
    workgroupArrays: [
      { name: STAGED, type: "vec4u", length: scores + queries * plan.wide },
      { name: "told", type: "f32", length: queries * plan.sharing },
      { name: "factors", type: "f32", length: queries },
      { name: "grows", type: "atomic<u32>", length: 1 },
    ],
    declarations: `${kernel.declarations}fn finish(row: i32, col: i32, batch: i32, value: f32) {\n${finish}\n}`,
    workgroupSize: threads,
    body: [
      setup,
      "let thread = i32(lid);",
      `let query_start = query_tile * ${queries};`,
      `let own = subgroup * ${m}u;`,
      places(owned), loads(owned, "0"), stage(owned),
      "workgroupBarrier();",
      ...steps.map((s) => `let x${s} = ${matrix(owned, "Left", ["own", `${s * deep}u`], "depths")};`),
      range(valueWidth / n).map((j) => `var out${j} = Sums();`).join(" "),
      range(plan.rowsEach).map((r) => `var most${r} = ${LEAST}; var sum${r} = 0.0;`).join(" "),
      places(passing), places(values),
      `for (var key_start = 0; key_start < ${spec.keys.wgsl}; key_start += ${plan.keys}) {`,
      loads(passing, "0"),
      "workgroupBarrier();",
      stage(passing),
      "workgroupBarrier();",
      products(plan, passing),
      loads(values, "0"),
      "workgroupBarrier();",
      stage(values),
      weights(plan),
      weighted(plan, values),
      "}",
      stores(plan),
    ].join("\n"),
    grid,
  };
};

/** Scores of the subgroup's queries with the block's keys, into workgroup memory. */
function products({ shape: { m, n, k }, keys, width, scores, wide }: Plan, passing: Block): string {
  return range(keys / n).map((j) => [
    "{",
    "var score = Sums();",
    ...range(width / k).map((s) =>
      `score = subgroupMatrixMultiplyAccumulate(x${s}, ` +
        `${matrix(passing, "Right", [`${j * n}u`, `${s * k}u`], "rows")}, score);`),
    `subgroupMatrixStore<row_major>(&${STAGED}, ` +
      `${scores}u + subgroup * ${m * wide}u + ${(j * n) / 4}u, score, ${wide}u);`,
    "}",
  ].join("\n")).join("\n");
}

/** The row of the block that a thread works on, and its share of it. */
const rowOf = ({ sharing, rowsEach }: Plan, r: number): string =>
  (sharing > 1 ? `(thread / ${sharing})` : `(thread * ${rowsEach} + ${r})`);
const shareOf = ({ sharing }: Plan): string => (sharing > 1 ? `(thread % ${sharing})` : "0");

/**
 * Turns scores into weights, in place: each thread takes its scores into registers, agrees on the row's maximum with
 * those that share it, and writes the weights as f16.
 */
function weights(plan: Plan): string {
  const { spec, keys, sharing, rowsEach, scores, wide, narrow } = plan;
  const each = keys / sharing;
  const factor = spec.scale * Math.LOG2E;
  const rows = range(rowsEach);
  const four = (r: number, f: number): string => `s${r}_${f}`;
  const share = shareOf(plan);
  const masked = (l: number, f: number, value: string): string => isMultiple(spec.keys, keys)
    ? value : `select(${LEAST}, ${value}, key_start + ${share} * ${each} + ${4 * f + l} < ${spec.keys.wgsl})`;
  const read = (r: number): string => range(each / 4).map((f) => {
    const loaded = `bitcast<vec4f>(${STAGED}[${scores} + ${rowOf(plan, r)} * ${wide} + ${share} * ${each / 4} + ${f}])`;
    const lanes = range(4).map((l) => masked(l, f, `raw[${l}]`));
    return `var ${four(r, f)}: vec4f; { let raw = ${loaded} * ${factor}; ${four(r, f)} = vec4f(${lanes.join(", ")}); }`;
  }).join("\n");
  const greatest = (r: number): string => {
    const all = range(each / 4).map((f) => four(r, f)).reduce((x, y) => `max(${x}, ${y})`);
    return `let fours${r} = ${all}; let top${r} = max(max(fours${r}.x, fours${r}.y), max(fours${r}.z, fours${r}.w));`;
  };
  const shared = (r: number): string => range(sharing)
    .map((s) => `told[${rowOf(plan, r)} * ${sharing} + ${s}]`).reduce((x, y) => `max(${x}, ${y})`);
  return [
    "if (thread == 0) { atomicStore(&grows[0], 0u); }",
    ...rows.map((r) => `${read(r)}\n${greatest(r)}\ntold[${rowOf(plan, r)} * ${sharing} + ${share}] = top${r};`),
    "workgroupBarrier();",
    ...rows.map((r) => `let peak${r} = ${shared(r)};\n` +
      `if (peak${r} > most${r} + ${SLACK}.0) { atomicStore(&grows[0], 1u); }`),
    "workgroupBarrier();",
    "if (workgroupUniformLoad(&grows[0]) != 0u) {",
    // The rows' factors are told to whoever scales the outputs.
    ...rows.map((r) => `let next${r} = max(most${r}, peak${r});\nlet factor${r} = exp2(most${r} - next${r});\n` +
      `factors[${rowOf(plan, r)}] = factor${r}; most${r} = next${r}; sum${r} *= factor${r};`),
    rescaled(plan),
    "}",
    ...rows.flatMap((r) => range(each / 4).map((f) =>
      `${four(r, f)} = exp2(${four(r, f)} - vec4f(most${r})); sum${r} += dot(${four(r, f)}, vec4f(1.0));`)),
    "workgroupBarrier();",
    ...rows.flatMap((r) => range(each / 8).map((e) =>
      `${STAGED}[${scores} + ${rowOf(plan, r)} * ${narrow} + ${share} * ${each / 8} + ${e}] = ` +
        `vec4u(bitcast<vec2u>(vec4h(${four(r, 2 * e)})), bitcast<vec2u>(vec4h(${four(r, 2 * e + 1)})));`)),
    "workgroupBarrier();",
  ].join("\n");
}

/** Sends the outputs through workgroup memory, where each row is multiplied by its factor. */
function rescaled({ shape: { m, n }, queries, threads, valueWidth, scores, wide }: Plan): string {
  const fours = valueWidth / 4;
  const place = (j: number): string => `${scores}u + subgroup * ${m * wide}u + ${(j * n) / 4}u`;
  return [
    "workgroupBarrier();",
    ...range(valueWidth / n).map((j) =>
      `subgroupMatrixStore<row_major>(&${STAGED}, ${place(j)}, out${j}, ${wide}u);`),
    "workgroupBarrier();",
    `for (var at = thread; at < ${queries * fours}; at += ${threads}) {`,
    `let place = ${scores} + (at / ${fours}) * ${wide} + at % ${fours};`,
    `${STAGED}[place] = bitcast<vec4u>(bitcast<vec4f>(${STAGED}[place]) * factors[at / ${fours}]);`,
    "}",
    "workgroupBarrier();",
    ...range(valueWidth / n).map((j) =>
      `out${j} = subgroupMatrixLoad<Sums, row_major>(&${STAGED}, ${place(j)}, ${wide}u);`),
  ].join("\n");
}

/** Adds the weights' products with the block's values to the outputs. */
function weighted({ shape: { m, n, k }, keys, valueWidth, scores, narrow }: Plan, values: Block): string {
  return range(keys / k).map((s) => [
    "{",
    `let p = subgroupMatrixLoad<Left, row_major>(&${STAGED}, ` +
      `${scores}u + subgroup * ${m * narrow}u + ${(s * k) / 8}u, ${narrow}u);`,
    ...range(valueWidth / n).map((j) => `out${j} = subgroupMatrixMultiplyAccumulate(p, ` +
      `${matrix(values, "Right", [`${s * k}u`, `${j * n}u`], "depths")}, out${j});`),
    "}",
  ].join("\n")).join("\n");
}

/** Divides the outputs by their rows' sums and hands them to the epilogue. */
function stores(plan: Plan): string {
  const { spec, shape: { m, n }, queries, threads, valueWidth, sharing, rowsEach, scores, wide } = plan;
  const total = (r: number): string =>
    range(sharing).map((s) => `told[${rowOf(plan, r)} * ${sharing} + ${s}]`).join(" + ");
  const inside = (row: string, text: string): string =>
    isMultiple(spec.queries, queries) ? `{\n${text}\n}` : `if (${row} < ${spec.queries.wgsl}) {\n${text}\n}`;
  const saved = (r: number): string => (spec.logSumExp ? inside(`query_start + ${rowOf(plan, r)}`, [
    `let row = query_start + ${rowOf(plan, r)};`,
    `let log_sum = (most${r} + log2(total${r})) * ${Math.LN2};`,
    spec.logSumExp({ row: "row", batch: "batch", value: "log_sum" }),
  ].join("\n")) : "");
  const columns = range(4).map((l) => {
    const test = spec.valueWidth % 4 === 0 ? "" : `if (col + ${l} < ${spec.valueWidth}) `;
    return `${test}{ finish(row, col + ${l}, batch, values[${l}]); }`;
  });
  const fours = Math.ceil(spec.valueWidth / 4);
  return [
    "workgroupBarrier();",
    ...range(rowsEach).map((r) => `told[${rowOf(plan, r)} * ${sharing} + ${shareOf(plan)}] = sum${r};`),
    ...range(valueWidth / n).map((j) => `subgroupMatrixStore<row_major>(&${STAGED}, ` +
      `${scores}u + subgroup * ${m * wide}u + ${(j * n) / 4}u, out${j}, ${wide}u);`),
    "workgroupBarrier();",
    ...range(rowsEach).map((r) => `let total${r} = ${total(r)};\n` +
      `if (${shareOf(plan)} == 0) {\nfactors[${rowOf(plan, r)}] = 1.0 / total${r};\n${saved(r)}\n}`),
    "workgroupBarrier();",
    `for (var at = thread; at < ${queries * fours}; at += ${threads}) {`,
    `let line = at / ${fours};`,
    "let row = query_start + line;",
    `let col = (at % ${fours}) * 4;`,
    inside("row", [
      `let values = bitcast<vec4f>(${STAGED}[${scores} + line * ${wide} + at % ${fours}]) * factors[line];`, ...columns,
    ].join("\n")),
    "}",
  ].join("\n");
}
