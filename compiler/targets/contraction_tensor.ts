/**
 * @file Contraction by subgroup matrices: f16 operands, f32 sums. A workgroup stages a block of A and of B in workgroup
 * memory; each subgroup loads matrices from there and multiplies them. The next block's loads are issued before the
 * present one is multiplied. Sums go through workgroup memory to the epilogue, a strip of rows at a time.
 */
import { isConstant } from "../ir/dim.js";
import type { ContractionSpec, Extent, PartialTemplate } from "./template.js";
import { atLeast, isMultiple, workgroups } from "./tile_extent.js";
import {
  loads, matrix, matrixKernel, places, stage, STAGED, vectorsOf, type Block, type MatrixShape,
} from "./tile_matrix.js";
import { range } from "./tile_operand.js";

/** Rows × columns × depths of a workgroup, and its subgroups down and across. */
interface TensorTile {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly down: number;
  readonly across: number;
}

/** For large results and for others. */
export type TensorTiles = readonly [TensorTile, TensorTile];
export const TENSOR_TILES: TensorTiles = [
  { m: 128, n: 128, k: 32, down: 2, across: 4 }, { m: 64, n: 64, k: 32, down: 2, across: 2 },
];
/** Results that fill no more than a quarter of a tile's rows or columns are left to kernels without matrices. */
function tileOf({ rows, cols }: ContractionSpec, [large, small]: TensorTiles): TensorTile | undefined {
  const size = ({ dim }: Extent): number => (isConstant(dim) ? dim.c : dim.b * 64 + dim.c); // of some large batch
  if (atLeast(rows) <= small.m / 4 || size(cols) <= small.n / 4) return undefined;
  return size(rows) >= 1024 && size(cols) >= 128 ? large : small;
}

/** What a kernel's parts need to know: the matrices of a subgroup are tall × broad. */
interface Plan {
  readonly spec: ContractionSpec;
  readonly shape: MatrixShape;
  readonly tile: TensorTile;
  readonly threads: number;
  readonly tall: number;
  readonly broad: number;
}

/** Undefined where the operands are not f16, or the result is too narrow. */
export const contractionTensor = (
  shape: MatrixShape, tiles: TensorTiles,
): PartialTemplate<ContractionSpec> => (spec) => {
  const tile = tileOf(spec, tiles);
  if (!tile || spec.a.dtype !== "f16" || spec.b.dtype !== "f16") return undefined;
  const threads = tile.down * tile.across * shape.lanes;
  const plan: Plan = {
    spec, shape, tile, threads, tall: tile.m / tile.down / shape.m, broad: tile.n / tile.across / shape.n,
  };
  const { setup, grid } = workgroups([
    { name: "col_tile", extent: spec.cols, per: tile.n },
    { name: "row_tile", extent: spec.rows, per: tile.m },
    { name: "batch", extent: spec.batches, per: 1 },
  ]);
  const common = { depthExtent: spec.depth, depths: tile.k, threads };
  const a: Block = {
    ...common, name: "a", operand: spec.a, rowExtent: spec.rows, rows: tile.m, start: "a_start", base: 0,
  };
  const b: Block = {
    ...common, name: "b", operand: spec.b, rowExtent: spec.cols, rows: tile.n, start: "b_start", base: vectorsOf(a),
  };
  const out = outputOf(plan);
  const place = { row: "row", col: "col", batch: "batch", value: "value" };
  const finish = spec.epilogueOfFour?.(place) ?? spec.epilogue(place);
  const kernel = matrixKernel(shape);
  return {
    ...kernel,
    workgroupArrays: [
      { name: STAGED, type: "vec4u", length: Math.max(vectorsOf(a) + vectorsOf(b), out.rows * out.stride) },
    ],
    declarations: kernel.declarations +
      `fn finish(row: i32, col: i32, batch: i32, value: ${spec.epilogueOfFour ? "vec4f" : "f32"}) {\n${finish}\n}`,
    workgroupSize: threads,
    body: [
      setup,
      "let thread = i32(lid);",
      `let a_start = row_tile * ${tile.m};`,
      `let b_start = col_tile * ${tile.n};`,
      `let own_row = (subgroup / ${tile.across}u) * ${tile.m / tile.down}u;`,
      `let own_col = (subgroup % ${tile.across}u) * ${tile.n / tile.across}u;`,
      places(a) + places(b),
      loads(a, "0") + loads(b, "0"),
      products(plan, a, b),
      stores(plan),
    ].join("\n"),
    grid,
  };
};

/** The loop over depth. */
function products({ spec: { depth }, shape, tile, tall, broad }: Plan, a: Block, b: Block): string {
  const left = (i: number, at: number): string =>
    matrix(a, "Left", [`own_row + ${i * shape.m}u`, `${at}u`], "depths");
  const right = (j: number, at: number): string =>
    matrix(b, "Right", [`own_col + ${j * shape.n}u`, `${at}u`], "rows");
  const step = (at: number): string => [
    "{",
    ...range(tall).map((i) => `let x${i} = ${left(i, at)};`),
    ...range(broad).map((j) => `{\nlet y = ${right(j, at)};\n${range(tall).map((i) =>
      `sums${i}_${j} = subgroupMatrixMultiplyAccumulate(x${i}, y, sums${i}_${j});`).join("\n")}\n}`),
    "}",
  ].join("\n");
  return [
    range(tall).flatMap((i) => range(broad).map((j) => `var sums${i}_${j} = Sums();`)).join(" "),
    `for (var k = 0; k < ${depth.wgsl}; k += ${tile.k}) {`,
    "workgroupBarrier();",
    stage(a) + stage(b),
    "workgroupBarrier();",
    `if (k + ${tile.k} < ${depth.wgsl}) {`,
    loads(a, `(k + ${tile.k})`) + loads(b, `(k + ${tile.k})`),
    "}",
    ...range(tile.k / shape.k).map((q) => step(q * shape.k)),
    "}",
  ].join("\n");
}

/** What is in workgroup memory at once on the way out: one matrix of rows of each subgroup, in f32. */
const outputOf = ({ shape, tile }: Plan): { readonly rows: number; readonly stride: number } =>
  ({ rows: shape.m * tile.down, stride: tile.n / 4 + 1 });

/** Hands every sum inside the extents to the epilogue. */
function stores(plan: Plan): string {
  const { spec, shape, tile, threads, tall, broad } = plan;
  const out = outputOf(plan);
  const fours = tile.n / 4;
  const inside = (name: string, extent: Extent, per: number): string =>
    isMultiple(extent, per) ? "{" : `if (${name} < ${extent.wgsl}) {`;
  const finished = (more: string, value: string): string =>
    `{\nlet col = b_start + four * 4${more};\n` +
      `${inside("col", spec.cols, tile.n)} finish(row, col, batch, ${value}); }\n}`;
  return range(tall).map((i) => [
    "workgroupBarrier();",
    ...range(broad).map((j) => `subgroupMatrixStore<row_major>(&${STAGED}, ` +
      `(subgroup / ${tile.across}u) * ${shape.m * out.stride}u + (own_col + ${j * shape.n}u) / 4u, ` +
      `sums${i}_${j}, ${out.stride}u);`),
    "workgroupBarrier();",
    `for (var at = thread; at < ${out.rows * fours}; at += ${threads}) {`,
    `let line = at / ${fours};`,
    `let four = at % ${fours};`,
    `let row = a_start + (line / ${shape.m}) * ${tile.m / tile.down} + ${i * shape.m} + line % ${shape.m};`,
    inside("row", spec.rows, tile.m),
    `let values = bitcast<vec4f>(${STAGED}[line * ${out.stride} + four]);`,
    ...(spec.epilogueOfFour ? [finished("", "values")] : range(4).map((l) => finished(` + ${l}`, `values[${l}]`))),
    "}\n}",
  ].join("\n")).join("\n");
}
