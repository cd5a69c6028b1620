/**
 * @file Contraction for software adapters: no barrier, no workgroup memory. One workgroup is one quad (or eight lanes);
 * each lane loads other rows of A and columns of B, keeps one side and passes the other round the lanes, so that a
 * block of lanes·4 × lanes·4 (quad: 16 × 16, eight: 16 × 32) needs few loads for each product.
 */
import { isConstant } from "../ir/dim.js";
import type { ContractionSpec, Extent, KernelText, Operand, Template } from "./template.js";
import { atLeast, clamped, isMultiple, workgroups } from "./tile_extent.js";
import { dynamicRowInBlock, multiply, rowInBlock, type Lanes, type Product } from "./tile_lanes.js";
import { range, reader } from "./tile_operand.js";

/** Depths summed in registers before they are added to the total: bounds the error of very long sums. */
const CHUNK = 1024;

/** Rows of A and columns of B that one lane loads, and which of the two it passes round. */
interface Tile {
  readonly a: number;
  readonly b: number;
  readonly moved: "a" | "b";
}

function tileOf({ a, b, rows, cols }: ContractionSpec, lanes: Lanes): Tile {
  const most = (operand: Operand, extent: Extent, wanted: number): number => {
    if (operand.vector === "row") return 4;
    return isConstant(extent.dim) ? Math.min(wanted, Math.ceil(extent.dim.c / lanes)) : wanted;
  };
  const few = atLeast(rows) <= lanes;
  if (lanes === 4) return { a: most(a, rows, few ? 1 : 4), b: most(b, cols, 4), moved: "b" };
  const tall = a.vector === "row" && !few;
  return { a: most(a, rows, few ? 1 : 2), b: most(b, cols, tall && b.vector !== "row" ? 2 : 4), moved: "a" };
}

/** The four-lane kernel: any adapter with subgroups. */
export const contractionScalar: Template<ContractionSpec> = (spec) => contractionOfLanes(spec, 4);
/** The eight-lane kernel, for adapters whose subgroups have eight lanes or more. */
export const contractionWide: Template<ContractionSpec> = (spec) => contractionOfLanes(spec, 8);

function contractionOfLanes(spec: ContractionSpec, lanes: Lanes): KernelText {
  const { rows, cols, batches, a, b } = spec;
  const tile = tileOf(spec, lanes);
  const perRow = lanes * tile.a;
  const perCol = lanes * tile.b;
  const { setup, grid } = workgroups([
    { name: "row_tile", extent: rows, per: perRow },
    { name: "col_tile", extent: cols, per: perCol },
    { name: "batch", extent: batches, per: 1 },
  ]);
  const side = (name: string, operand: Operand, extent: Extent, per: number, count: number) => reader(operand, {
    name, count, batch: "batch",
    row: (i) => clamped(`${name}_start + ${rowInBlock(operand.vector, lanes, i, "lane")}`, extent, per,
      operand.vector === "row" ? 4 : 1),
  });
  const readA = side("a", a, rows, perRow, tile.a);
  const readB = side("b", b, cols, perCol, tile.b);
  const [held, moved] = tile.moved === "b" ? [readA, readB] : [readB, readA];
  const [heldCount, movedCount] = tile.moved === "b" ? [tile.a, tile.b] : [tile.b, tile.a];
  const product: Product = {
    lanes, held, heldCount, moved, movedCount,
    dots: a.vector !== "row" && b.vector !== "row",
    accumulator: (h, v, x) => `s${(h * movedCount + v) * lanes + x}`,
  };
  const body = [
    setup,
    "let lane = i32(lid);",
    `let a_start = row_tile * ${perRow};`,
    `let b_start = col_tile * ${perCol};`,
    readA.setup + readB.setup,
    sums(spec, product),
    stores(spec, product, tile),
  ].join("\n");
  return {
    features: ["subgroups"], lanes, workgroupArrays: [], declarations: "", workgroupSize: lanes, body, grid,
  };
}

/** Statements that leave the sums in `total[(h·moved + v)·lanes + x]`. */
function sums({ depth, a, b }: ContractionSpec, product: Product): string {
  const count = product.heldCount * product.movedCount * product.lanes;
  const long = !isConstant(depth.dim) || depth.dim.c >= 4 * CHUNK;
  const zero = range(count).map((i) => `var s${i} = 0.0;`).join(" ");
  const fours = isMultiple(depth, 4) || a.vector === "depth" || b.vector === "depth";
  const whole = fours ? depth.wgsl : isConstant(depth.dim) ? String(depth.dim.c & ~3) : `((${depth.wgsl}) & ~3)`;
  const loop = (from: string, to: string): string =>
    `for (var k = ${from}; k < ${to}; k += 4) {\n${multiply(product, "k", 4)}}\n`;
  const keep = (op: string): string => range(count).map((i) => `total[${i}] ${op} s${i};`).join(" ");
  const tail = fours ? "" : `for (var k = ${whole}; k < ${depth.wgsl}; k++) {\n${multiply(product, "k", 1)}}\n`;
  if (!long) {
    return `${zero}\n${whole === "0" ? "" : loop("0", whole)}${tail}var total: array<f32, ${count}>;\n${keep("=")}\n`;
  }
  return [
    `var total: array<f32, ${count}>;`,
    `for (var chunk = 0; chunk < ${whole}; chunk += ${CHUNK}) {`,
    zero,
    `let chunk_end = min(chunk + ${CHUNK}, ${whole});`,
    loop("chunk", "chunk_end"),
    `${keep("+=")}\n}`,
    tail && `{\n${zero}\n${tail}${keep("+=")}\n}`,
  ].join("\n");
}

/** Hands every sum inside the extents to the epilogue: one copy of its text, in a loop. */
function stores(spec: ContractionSpec, { lanes, heldCount, movedCount }: Product, tile: Tile): string {
  const { rows, cols, a, b } = spec;
  const movesB = tile.moved === "b";
  const [h, v] = [movesB ? rows : cols, movesB ? cols : rows];
  const [hName, vName] = movesB ? ["row", "col"] : ["col", "row"];
  const [hStart, vStart] = movesB ? ["a_start", "b_start"] : ["b_start", "a_start"];
  const [hVector, vVector] = movesB ? [a.vector, b.vector] : [b.vector, a.vector];
  const inside = (name: string, extent: Extent, count: number): string =>
    isMultiple(extent, lanes * count) ? "" : `if (${name} < ${extent.wgsl}) `;
  return [
    `for (var h = 0; h < ${heldCount}; h++) {`,
    `let ${hName} = ${hStart} + ${dynamicRowInBlock(hVector, lanes, "h", "lane")};`,
    `${inside(hName, h, heldCount)}{`,
    `for (var v = 0; v < ${movedCount * lanes}; v++) {`,
    `let peer = lane ^ (v & ${lanes - 1});`,
    `let moved = v >> ${Math.log2(lanes)}u;`,
    `let ${vName} = ${vStart} + ${dynamicRowInBlock(vVector, lanes, "moved", "peer")};`,
    `${inside(vName, v, movedCount)}{`,
    `let value = total[h * ${movedCount * lanes} + v];`,
    spec.epilogue({ row: "row", col: "col", batch: "batch", value: "value" }),
    "}\n}\n}\n}",
  ].join("\n");
}
