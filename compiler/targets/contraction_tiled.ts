/**
 * @file Contraction for GPUs, f32: each workgroup stages a block of A and of B in workgroup memory, depth-major, and
 * each thread keeps up to 8 × 8 sums in registers. Loads of the next block are issued before the present one is
 * multiplied. Blocks of four rows × four depths are transposed in registers on the way; an exclusive-or of the depth
 * with the column spreads both the transposing stores and the reads over all banks without padding.
 */
import { isConstant } from "../ir/dim.js";
import type { ContractionSpec, Extent, Operand, Template } from "./template.js";
import { atLeast, clamped, isMultiple, workgroups } from "./tile_extent.js";
import { component, endingAt, range, reader, type Reader } from "./tile_operand.js";

/** Depths summed in registers before they are added to the total: bounds the error of very long sums. */
const CHUNK = 1024;

/** Rows × columns × depths of a workgroup, and fours of rows and of columns of a thread. */
interface Tile {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly fm: number;
  readonly fn: number;
}

// Each keeps (m + n) · k ≤ 4096 floats (16 KB, every device's limit) and at most one 4 × 4 block to load a thread.
const LARGE: Tile = { m: 128, n: 128, k: 16, fm: 2, fn: 2 };
const TALL: Tile = { m: 128, n: 64, k: 16, fm: 2, fn: 1 };
const MEDIUM: Tile = { m: 64, n: 64, k: 32, fm: 1, fn: 1 };
const NARROW: Tile = { m: 64, n: 32, k: 16, fm: 1, fn: 1 };
const FLAT: Tile = { m: 16, n: 64, k: 8, fm: 1, fn: 1 };

const isLong = ({ dim }: Extent): boolean => !isConstant(dim) || dim.c >= 4 * CHUNK;

function tileOf({ rows, cols, depth }: ContractionSpec): Tile {
  const size = ({ dim }: Extent): number => (isConstant(dim) ? dim.c : dim.b * 64 + dim.c); // of some large batch
  if (atLeast(rows) <= 16) return FLAT;
  if (size(cols) <= 32) return NARROW;
  if (size(rows) < 1024 || size(cols) < 48 || isLong(depth)) return MEDIUM;
  return isMultiple(cols, 128) || size(cols) >= 512 ? LARGE : TALL;
}

/** One operand's part in the kernel. */
interface Side {
  readonly reader: Reader;
  /** First thread that loads it, 4 × 4 blocks of the tile, and fours of rows in workgroup memory. */
  readonly first: number;
  readonly blocks: number;
  readonly fours: number;
  /** First vec4f of it in workgroup memory. */
  readonly base: number;
  readonly name: string;
}

export const contractionTiled: Template<ContractionSpec> = (spec) => {
  const { rows, cols, batches } = spec;
  const tile = tileOf(spec);
  const threads = (tile.m / (4 * tile.fm)) * (tile.n / (4 * tile.fn));
  const { setup, grid } = workgroups([
    { name: "col_tile", extent: cols, per: tile.n },
    { name: "row_tile", extent: rows, per: tile.m },
    { name: "batch", extent: batches, per: 1 },
  ]);
  const blocksOfA = (tile.m * tile.k) / 16;
  const a = sideOf(spec, spec.a, rows, tile, { name: "a", first: 0, fours: tile.m / 4, base: 0 });
  const cellsOfA = (tile.m / 4) * tile.k;
  const b = sideOf(spec, spec.b, cols, tile, { name: "b", first: blocksOfA, fours: tile.n / 4, base: cellsOfA });
  const cells = ((tile.m + tile.n) / 4) * tile.k;
  const body = [
    setup,
    "let thread = i32(lid);",
    `let a_start = row_tile * ${tile.m};`,
    `let b_start = col_tile * ${tile.n};`,
    place(spec.a, a, tile) + place(spec.b, b, tile),
    a.reader.setup + b.reader.setup,
    `let store_at = select(b_store, a_store, thread < ${blocksOfA});`,
    `let stores = thread < ${b.first + b.blocks};`,
    `let across = thread % ${tile.n / (4 * tile.fn)};`,
    `let down = thread / ${tile.n / (4 * tile.fn)};`,
    range(4).map((l) => `var r${l} = vec4f();`).join(" "),
    main(spec, tile, a, b),
    stores(spec, tile),
  ].join("\n");
  const at = { row: "row", col: "col", batch: "batch", value: "value" };
  const [finish, type] = spec.epilogueOfFour
    ? [spec.epilogueOfFour(at), "vec4f"] : [spec.epilogue(at), "f32"];
  return {
    features: [],
    workgroupArrays: [{ name: "shared_tile", type: "vec4f", length: cells }],
    declarations: `fn finish(row: i32, col: i32, batch: i32, value: ${type}) {\n${finish}\n}`,
    workgroupSize: threads,
    body,
    grid,
  };
};

function sideOf(
  { depth }: ContractionSpec, operand: Operand, extent: Extent, tile: Tile,
  side: { readonly name: "a" | "b"; readonly first: number; readonly fours: number; readonly base: number },
): Side {
  const { name, fours } = side;
  // A depth that is no multiple of four ends inside a block: guard each element. (No depth vectors then.)
  const cut = isMultiple(depth, 4) || operand.vector === "depth" ? operand : endingAt(operand, depth.wgsl);
  const rowAt = (i: number): string => operand.vector === "row"
    ? clamped(`${name}_start + ${name}_four * 4`, extent, fours * 4, 4)
    : clamped(`${name}_start + ${name}_four * 4 + ${i}`, extent, fours * 4);
  return {
    ...side, blocks: (fours * tile.k) / 4,
    reader: reader(cut, { name, count: 4, batch: "batch", row: rowAt }),
  };
}

/** Swizzled place of the four rows `four` at depths of group `group` (four depths each). */
const swizzle = (four: string, group: string, fours: number, { k }: Tile): string =>
  `(${four} ^ ((${group} * ${32 / k}) & ${fours - 1}))`;

/** Which 4 × 4 block the thread loads: neighbours take what is contiguous in memory. */
function place(operand: Operand, { name, first, blocks, fours, base }: Side, tile: Tile): string {
  const groups = tile.k / 4;
  const index = `${name}_block`;
  const [four, group] = operand.vector === "row"
    ? [`${index} % ${fours}`, `${index} / ${fours}`] : [`${index} / ${groups}`, `${index} % ${groups}`];
  return [
    `let ${index} = clamp(thread - ${first}, 0, ${blocks - 1});`,
    `let ${name}_four = ${four};`,
    `let ${name}_depth = (${group}) * 4;`,
    `let ${name}_store = ${base} + ${name}_depth * ${fours} + ` +
      `${swizzle(`${name}_four`, `(${name}_depth >> 2u)`, fours, tile)};`,
    "",
  ].join("\n");
}

/** Loads the thread's block at depth `at` into r0…r3, one vec4f of rows a depth; zeros beyond the depth. */
function loads({ depth }: ContractionSpec, tile: Tile, a: Side, b: Side, at: string): string {
  const exact = isMultiple(depth, tile.k);
  const part = ({ name, reader: r }: Side): string => {
    const body = `let ${name}_k = ${at} + ${name}_depth;\n`;
    const fill = r.load(`${name}_k`, 4) + range(4).map((l) =>
      `r${l} = vec4f(${range(4).map((i) => r.element(i, l, 4)).join(", ")});\n`).join("");
    if (exact) return body + fill;
    const zeros = range(4).map((l) => `r${l} = vec4f();`).join(" ");
    return `${body}if (${name}_k < ${depth.wgsl}) {\n${fill}} else { ${zeros} }\n`;
  };
  return `if (thread < ${b.first}) {\n${part(a)}} else if (stores) {\n${part(b)}}\n`;
}

/** The loop over depth. */
function main(spec: ContractionSpec, tile: Tile, a: Side, b: Side): string {
  const { depth } = spec;
  const sums = range(tile.fm).flatMap((i) => range(4).flatMap((r) => range(tile.fn).map((j) => `c${4 * i + r}_${j}`)));
  const long = isLong(depth);
  const keep = sums.map((c) => `total_${c} += ${c}; ${c} = vec4f();`).join(" ");
  // A thread's fours of rows (columns) lie tile/f apart, so that neighbours read neighbouring vec4f.
  const group = "group_of_four";
  const rowsAt = (i: number): string => swizzle(`(down + ${i * (tile.m / (4 * tile.fm))})`, group, a.fours, tile);
  const colsAt = (j: number): string => swizzle(`(across + ${j * (tile.n / (4 * tile.fn))})`, group, b.fours, tile);
  const step = (l: number): string => [
    ...range(tile.fm).map((i) => `let x${l}_${i} = shared_tile[(${group} * 4 + ${l}) * ${a.fours} + row_at${i}];`),
    ...range(tile.fn).map((j) =>
      `let y${l}_${j} = shared_tile[${b.base} + (${group} * 4 + ${l}) * ${b.fours} + col_at${j}];`),
    ...range(tile.fm).flatMap((i) => range(4).flatMap((r) => range(tile.fn).map((j) =>
      `c${4 * i + r}_${j} = fma(vec4f(x${l}_${i}.${component(r)}), y${l}_${j}, c${4 * i + r}_${j});`))),
  ].join("\n");
  return [
    sums.map((c) => `var ${c} = vec4f();${long ? ` var total_${c} = vec4f();` : ""}`).join(" "),
    // One turn more than there are blocks: the first only loads, so that the loads' text stands here once.
    `for (var k = ${-tile.k}; k < ${depth.wgsl}; k += ${tile.k}) {`,
    `if (k + ${tile.k} < ${depth.wgsl}) {\n${loads(spec, tile, a, b, `(k + ${tile.k})`)}}`,
    "if (k >= 0) {",
    `for (var ${group} = 0; ${group} < ${tile.k / 4}; ${group}++) {`,
    ...range(tile.fm).map((i) => `let row_at${i} = ${rowsAt(i)};`),
    ...range(tile.fn).map((j) => `let col_at${j} = ${colsAt(j)};`),
    ...range(4).map(step),
    "}",
    long ? `if (((k + ${tile.k}) & ${CHUNK - 1}) == 0) {\n${keep}\n}` : "",
    "}",
    "workgroupBarrier();",
    "if (stores) {",
    `let stride = select(${b.fours}, ${a.fours}, thread < ${b.first});`,
    ...range(4).map((l) => `shared_tile[store_at + ${l} * stride] = r${l};`),
    "}",
    "workgroupBarrier();",
    "}",
    long ? sums.map((c) => `${c} += total_${c};`).join(" ") : "",
  ].join("\n");
}

/** Hands every sum inside the extents to the epilogue, four columns at a time where it takes them. */
function stores({ rows, cols, epilogueOfFour }: ContractionSpec, tile: Tile): string {
  const check = (name: string, extent: Extent, per: number): string =>
    isMultiple(extent, per) ? "{" : `if (${name} < ${extent.wgsl}) {`;
  const parts = epilogueOfFour ? [""] : range(4).map((l) => `.${component(l)}`);
  return range(tile.fm).flatMap((i) => range(4).map((r) => [
    "{",
    `let row = a_start + (down + ${i * (tile.m / (4 * tile.fm))}) * 4 + ${r};`,
    check("row", rows, tile.m),
    ...range(tile.fn).flatMap((j) => parts.map((part, l) => [
      "{",
      `let col = b_start + (across + ${j * (tile.n / (4 * tile.fn))}) * 4${part === "" ? "" : ` + ${l}`};`,
      `${check("col", cols, tile.n)} finish(row, col, batch, c${4 * i + r}_${j}${part}); }`,
      "}",
    ].join("\n"))),
    "}\n}",
  ].join("\n"))).join("\n");
}
