/**
 * @file Contraction by subgroup matrices: f16 operands, f32 sums. A workgroup stages a block of A and of B in workgroup
 * memory as they lie in theirs, depth-major or row-major, eight halves at a time; each subgroup loads matrices from
 * there and multiplies them. The next block's loads are issued before the present one is multiplied. Sums go through
 * workgroup memory to the epilogue, a strip of rows at a time.
 *
 * Rows in workgroup memory are one vector longer than they need be, so that neighbouring rows start in other banks.
 */
import { isConstant } from "../ir/dim.js";
import type { ContractionSpec, Extent, Operand, PartialTemplate } from "./template.js";
import { atLeast, clamped, isMultiple, workgroups } from "./tile_extent.js";
import { both, range } from "./tile_operand.js";

/** A shape of matrices that an adapter multiplies, and the lanes of its subgroups. */
export interface MatrixShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly lanes: number;
}

/** Rows × columns × depths of a workgroup, and its subgroups down and across. */
interface TensorTile {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly down: number;
  readonly across: number;
}

/** For large results and for others. */
export const TENSOR_TILES: readonly [TensorTile, TensorTile] = [
  { m: 128, n: 128, k: 32, down: 2, across: 4 }, { m: 64, n: 64, k: 32, down: 2, across: 2 },
];
/** Fewer rows or columns are left to kernels without matrices. */
const FEWEST = 16;
/** Halves that are staged at a time: a `vec4<u32>`. */
const EIGHT = 8;

function tileOf({ rows, cols }: ContractionSpec, [large, small]: typeof TENSOR_TILES): TensorTile | undefined {
  const size = ({ dim }: Extent): number => (isConstant(dim) ? dim.c : dim.b * 64 + dim.c); // of some large batch
  if (atLeast(rows) <= FEWEST || size(cols) <= FEWEST) return undefined;
  return size(rows) >= 1024 && size(cols) >= 128 ? large : small;
}

/** One operand's part of the kernel. */
interface Side {
  readonly name: "a" | "b";
  readonly operand: Operand;
  readonly extent: Extent;
  /** Rows of the block, and the workgroup's first. */
  readonly rows: number;
  readonly start: string;
  /** Whether neighbours in workgroup memory are rows; else they are depths. */
  readonly byRow: boolean;
  /** First vector in workgroup memory, and vectors from line to line. */
  readonly base: number;
  readonly stride: number;
  /** Vectors that each thread stages. */
  readonly turns: number;
}

/** Undefined where the operands are not f16, or the result is too narrow. */
export const contractionTensor = (
  shape: MatrixShape, tiles: typeof TENSOR_TILES,
): PartialTemplate<ContractionSpec> => (spec) => {
  const tile = tileOf(spec, tiles);
  if (!tile || spec.a.dtype !== "f16" || spec.b.dtype !== "f16") return undefined;
  const threads = tile.down * tile.across * shape.lanes;
  const { setup, grid } = workgroups([
    { name: "col_tile", extent: spec.cols, per: tile.n },
    { name: "row_tile", extent: spec.rows, per: tile.m },
    { name: "batch", extent: spec.batches, per: 1 },
  ]);
  const side = (name: "a" | "b", operand: Operand, extent: Extent, rows: number, base: number): Side => {
    const byRow = operand.vector === "row";
    const stride = (byRow ? rows : tile.k) / EIGHT + 1;
    return { name, operand, extent, rows, start: `${name}_start`, byRow, base, stride,
      turns: Math.ceil((rows * tile.k) / EIGHT / threads) };
  };
  const linesOf = ({ byRow, rows }: Side): number => (byRow ? tile.k : rows);
  const a = side("a", spec.a, spec.rows, tile.m, 0);
  const afterA = linesOf(a) * a.stride;
  const b = side("b", spec.b, spec.cols, tile.n, afterA);
  const out = outputOf(shape, tile);
  const vectors = Math.max(afterA + linesOf(b) * b.stride, out.rows * out.stride);
  const place = { row: "row", col: "col", batch: "batch", value: "value" };
  const finish = spec.epilogueOfFour?.(place) ?? spec.epilogue(place);
  const { m, n, k } = shape;
  return {
    features: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"],
    workgroupArrays: [{ name: "staged", type: "vec4u", length: vectors }],
    declarations: [
      `alias Left = subgroup_matrix_left<f16, ${k}, ${m}>;`,
      `alias Right = subgroup_matrix_right<f16, ${n}, ${k}>;`,
      `alias Sums = subgroup_matrix_result<f32, ${n}, ${m}>;`,
      `fn finish(row: i32, col: i32, batch: i32, value: ${spec.epilogueOfFour ? "vec4f" : "f32"}) {\n${finish}\n}`,
    ].join("\n"),
    workgroupSize: threads,
    builtins: ["@builtin(subgroup_id) subgroup: u32"],
    body: [
      setup,
      "let thread = i32(lid);",
      `let a_start = row_tile * ${tile.m};`,
      `let b_start = col_tile * ${tile.n};`,
      `let own_row = (subgroup / ${tile.across}u) * ${tile.m / tile.down}u;`,
      `let own_col = (subgroup % ${tile.across}u) * ${tile.n / tile.across}u;`,
      places(a, tile, threads) + places(b, tile, threads),
      loads(a, spec, tile, threads, "0") + loads(b, spec, tile, threads, "0"),
      products(spec, shape, tile, [a, b], threads),
      stores(spec, shape, tile, threads),
    ].join("\n"),
    grid,
  };
};

/** Where the thread's vectors lie: line and place in it, and their places in workgroup memory. */
function places({ name, byRow, rows, base, stride, turns }: Side, tile: TensorTile, threads: number): string {
  const across = (byRow ? rows : tile.k) / EIGHT;
  return range(turns).map((i) => [
    `let ${name}_at${i} = thread + ${i * threads};`,
    `let ${name}_line${i} = ${name}_at${i} / ${across};`,
    `let ${name}_place${i} = (${name}_at${i} % ${across}) * ${EIGHT};`,
    `let ${name}_to${i} = ${base} + ${name}_line${i} * ${stride} + (${name}_place${i} >> 3u);`,
    `var ${name}${i} = vec4u();`,
    "",
  ].join("\n")).join("");
}

/** Whether all threads have a vector in a turn. */
const isFull = ({ rows }: Side, { k }: TensorTile, threads: number, turn: number): boolean =>
  (turn + 1) * threads <= (rows * k) / EIGHT;

/** Loads the thread's vectors of the block that starts at depth `at`; zeros beyond the depth. */
function loads(side: Side, { depth }: ContractionSpec, tile: TensorTile, threads: number, at: string): string {
  return range(side.turns).map((i) => {
    const text = side.byRow ? rowsAt(side, depth, tile, i, at) : depthsAt(side, depth, tile, i, at);
    const guard = isFull(side, tile, threads, i) ? "" : `if (${side.name}_at${i} < ${(side.rows * tile.k) / EIGHT}) `;
    return `${guard}{\n${text}}\n`;
  }).join("");
}

/** The two halves of a vector, as four f16 each. */
const packed = (low: string, high: string): string =>
  `vec4u(bitcast<vec2u>(${low}), bitcast<vec2u>(${high}))`;

/** The index into the operand's buffer, in fours where it has vectors. */
function indexOf({ operand }: Side, row: string, depth: string): string {
  const elements = operand.separable
    ? `${operand.base(row, "batch")} + ${operand.step(depth)}` : operand.offset(row, depth, "batch");
  return operand.vector === "none" ? elements : `(${elements}) >> 2u`;
}

/** What lies at a row and depth, or zero: of elements, or of four neighbours. */
function guardedAt(side: Side, row: string, depth: string, inside: string | undefined): string {
  const { operand } = side;
  const guard = both(both(operand.guard?.(row, "batch"), operand.elementGuard?.(row, depth, "batch")), inside);
  const index = indexOf(side, row, depth);
  if (guard === undefined) return `${operand.buffer}[${index}]`;
  const zero = operand.vector === "none" ? "0.0h" : "vec4h()";
  return `select(${zero}, ${operand.buffer}[select(0, ${index}, ${guard})], ${guard})`;
}

/** Eight depths of one row. */
function depthsAt(side: Side, depth: Extent, tile: TensorTile, i: number, at: string): string {
  const { name, operand, extent, rows, start } = side;
  const exact = isMultiple(depth, tile.k);
  const row = `let row = ${clamped(`${start} + ${name}_line${i}`, extent, rows)};\n`;
  const from = `let first = ${at} + ${name}_place${i};\n`;
  const value = (l: number): string =>
    guardedAt(side, "row", `(first + ${l})`, exact ? undefined : `first + ${l} < ${depth.wgsl}`);
  if (operand.vector === "depth") return `${row}${from}${name}${i} = ${packed(value(0), value(4))};\n`;
  const four = (l: number): string => `vec4h(${range(4).map((n) => value(l + n)).join(", ")})`;
  return `${row}${from}${name}${i} = ${packed(four(0), four(4))};\n`;
}

/** Eight rows of one depth. */
function rowsAt(side: Side, depth: Extent, tile: TensorTile, i: number, at: string): string {
  const { name, extent, rows, start, operand } = side;
  const exact = isMultiple(depth, tile.k);
  const inside = exact ? undefined : `first < ${depth.wgsl}`;
  const lines = [`let first = ${at} + ${name}_line${i};`];
  const fours = [0, 4].map((l) => {
    const row = `row${l}`;
    lines.push(`let ${row} = ${clamped(`${start} + ${name}_place${i} + ${l}`, extent, rows, 4)};`);
    const guards = range(4).map((n) => both(
      operand.guard?.(`(${row} + ${n})`, "batch"), operand.elementGuard?.(`(${row} + ${n})`, "first", "batch")));
    if (guards.every((guard) => guard === undefined)) {
      const plain: Side = side;
      return guardedAt(plain, row, "first", inside);
    }
    const all = guards.map((guard) => both(guard, inside) ?? "true");
    all.forEach((guard, n) => lines.push(`let guard${l}_${n} = ${guard};`));
    const names = range(4).map((n) => `guard${l}_${n}`);
    const index = `select(0, ${indexOf(side, row, "first")}, ${names.join(" | ")})`;
    return `select(vec4h(), ${operand.buffer}[${index}], vec4<bool>(${names.join(", ")}))`;
  });
  lines.push(`${name}${i} = ${packed(fours[0] ?? "", fours[1] ?? "")};`);
  return `${lines.join("\n")}\n`;
}

/** The loop over depth. */
function products(
  spec: ContractionSpec, shape: MatrixShape, tile: TensorTile, [a, b]: readonly [Side, Side], threads: number,
): string {
  const [tall, broad] = [tile.m / tile.down / shape.m, tile.n / tile.across / shape.n];
  const stage = (side: Side): string => range(side.turns).map((i) =>
    `${isFull(side, tile, threads, i) ? "" : `if (${side.name}_at${i} < ${(side.rows * tile.k) / EIGHT}) `}` +
      `{ staged[${side.name}_to${i}] = ${side.name}${i}; }`).join(" ");
  // A matrix starts at a row and a depth: vectors of eight run along one of them.
  const matrix = (side: Side, type: string, own: string, row: number, depth: number): string => {
    const [line, place] = side.byRow ? [`${depth}u`, `${own} + ${row}u`] : [`${own} + ${row}u`, `${depth}u`];
    const alongDepth = type === "Left" ? "row_major" : "col_major";
    const alongRows = type === "Left" ? "col_major" : "row_major";
    return `subgroupMatrixLoad<${type}, ${side.byRow ? alongRows : alongDepth}>` +
      `(&staged, ${side.base}u + (${line}) * ${side.stride}u + (${place}) / ${EIGHT}u, ${side.stride}u)`;
  };
  const step = (depth: number): string => [
    "{",
    ...range(tall).map((i) => `let x${i} = ${matrix(a, "Left", "own_row", i * shape.m, depth)};`),
    ...range(broad).map((j) => `{\nlet y = ${matrix(b, "Right", "own_col", j * shape.n, depth)};\n` +
      `${range(tall).map((i) =>
        `sums${i}_${j} = subgroupMatrixMultiplyAccumulate(x${i}, y, sums${i}_${j});`).join("\n")}\n}`),
    "}",
  ].join("\n");
  return [
    range(tall).flatMap((i) => range(broad).map((j) => `var sums${i}_${j} = Sums();`)).join(" "),
    `for (var k = 0; k < ${spec.depth.wgsl}; k += ${tile.k}) {`,
    "workgroupBarrier();",
    `${stage(a)} ${stage(b)}`,
    "workgroupBarrier();",
    `if (k + ${tile.k} < ${spec.depth.wgsl}) {`,
    loads(a, spec, tile, threads, `(k + ${tile.k})`) + loads(b, spec, tile, threads, `(k + ${tile.k})`),
    "}",
    ...range(tile.k / shape.k).map((q) => step(q * shape.k)),
    "}",
  ].join("\n");
}

/** What is in workgroup memory at once on the way out: one matrix of rows of each subgroup, in f32. */
function outputOf(shape: MatrixShape, tile: TensorTile): { readonly rows: number; readonly stride: number } {
  return { rows: shape.m * tile.down, stride: tile.n / 4 + 1 };
}

/** Hands every sum inside the extents to the epilogue. */
function stores(spec: ContractionSpec, shape: MatrixShape, tile: TensorTile, threads: number): string {
  const [tall, broad] = [tile.m / tile.down / shape.m, tile.n / tile.across / shape.n];
  const out = outputOf(shape, tile);
  const fours = tile.n / 4;
  const inside = (name: string, extent: Extent, per: number): string =>
    isMultiple(extent, per) ? "{" : `if (${name} < ${extent.wgsl}) {`;
  const finished = (more: string, value: string): string =>
    `{\nlet col = b_start + four * 4${more};\n` +
      `${inside("col", spec.cols, tile.n)} finish(row, col, batch, ${value}); }\n}`;
  return range(tall).map((i) => [
    "workgroupBarrier();",
    ...range(broad).map((j) => `subgroupMatrixStore<row_major>(&staged, ` +
      `(subgroup / ${tile.across}u) * ${shape.m * out.stride}u + (own_col + ${j * shape.n}u) / 4u, ` +
      `sums${i}_${j}, ${out.stride}u);`),
    "workgroupBarrier();",
    `for (var at = thread; at < ${out.rows * fours}; at += ${threads}) {`,
    `let line = at / ${fours};`,
    `let four = at % ${fours};`,
    `let row = a_start + (line / ${shape.m}) * ${tile.m / tile.down} + ${i * shape.m} + line % ${shape.m};`,
    inside("row", spec.rows, tile.m),
    `let values = bitcast<vec4f>(staged[line * ${out.stride} + four]);`,
    ...(spec.epilogueOfFour ? [finished("", "values")] : range(4).map((l) => finished(` + ${l}`, `values[${l}]`))),
    "}\n}",
  ].join("\n")).join("\n");
}
