/**
 * @file Attention for GPUs, f32: flash form. A workgroup owns a block of queries, kept in workgroup memory; blocks of
 * keys, then of their values, pass through one shared place. Eight threads share four queries: each scores its own
 * keys, the maximum goes through workgroup memory, sums of exponentials stay apart until the end, outputs stay in
 * registers. Everything fits 16 KB.
 */
import { isConstant } from "../ir/dim.js";
import type { AttentionSpec, Extent, Operand, Template } from "./template.js";
import { clamped, isMultiple, workgroups } from "./tile_extent.js";
import { component, endingAt, range, reader } from "./tile_operand.js";

/** Below every score, above −∞: differences of two stay finite. */
const LEAST = "-1e30";
/** Every device has so many bytes of workgroup memory. */
export const WORKGROUP_BYTES = 16384;
/** Threads that share four queries, or four rows that the gradient's workgroup owns. */
export const SHARE = 8;
/** Queries and keys of a workgroup's blocks, the best first. */
const BLOCKS = [[32, 32], [32, 16], [16, 16], [16, 8], [8, 8], [4, 8]] as const;

interface Tile {
  readonly queries: number;
  readonly keys: number;
  /** Fours of the width of Q and K, and of V. */
  readonly width: number;
  readonly valueWidth: number;
  readonly threads: number;
}

/** Sizes of the four arrays: queries, keys or values, weights, what threads tell each other. */
function cells(
  [queries, keys]: readonly [number, number], width: number, valueWidth: number,
): readonly [query: number, key: number, weights: number, told: number] {
  // Rows get one more element than they need, so that neighbouring rows start in different banks.
  return [queries * (width + 1), keys * Math.max(width + 1, valueWidth), queries * (keys + 1), queries * SHARE];
}

function tileOf({ queries, width, valueWidth }: AttentionSpec): Tile {
  const [w, v] = [Math.ceil(width / 4), Math.ceil(valueWidth / 4)];
  const few = isConstant(queries.dim) && queries.dim.c <= 8;
  const bytes = (block: readonly [number, number]): number => {
    const [q, k, p, t] = cells(block, w, v);
    return 16 * (q + k) + 4 * (p + t);
  };
  const allowed = BLOCKS.filter(([q]) => !few || q <= 8);
  const [q, k] = allowed.find((block) => bytes(block) <= WORKGROUP_BYTES) ?? [4, 8];
  return { queries: q, keys: k, width: w, valueWidth: v, threads: (q / 4) * SHARE };
}

export const attentionTiled: Template<AttentionSpec> = (spec) => {
  const tile = tileOf(spec);
  const { setup, grid } = workgroups([
    { name: "query_tile", extent: spec.queries, per: tile.queries },
    { name: "batch", extent: spec.batches, per: 1 },
  ]);
  const [queryCells, keyCells, weightCells, toldCells] = cells([tile.queries, tile.keys], tile.width, tile.valueWidth);
  const outs = range(4).flatMap((i) => range(columnsOf(tile)).map((c) => `var o${i}_${c} = vec4f();`));
  const body = [
    setup,
    "let thread = i32(lid);",
    `let share = thread % ${SHARE};`,
    `let own = thread / ${SHARE};`,
    `let query_start = query_tile * ${tile.queries};`,
    stage(spec.q, tile, { to: "query_block", stride: tile.width + 1, start: "query_start", extent: spec.queries,
      rows: tile.queries, depth: spec.width }),
    outs.join(" "),
    range(4).map((i) => `var most${i} = ${LEAST}; var sum${i} = 0.0;`).join(" "),
    `for (var key_start = 0; key_start < ${spec.keys.wgsl}; key_start += ${tile.keys}) {`,
    "workgroupBarrier();",
    stage(spec.k, tile, { to: "key_block", stride: tile.width + 1, start: "key_start", extent: spec.keys,
      rows: tile.keys, depth: spec.width }),
    "workgroupBarrier();",
    scores(spec, tile),
    softmax(tile),
    stage(spec.v, tile, { to: "key_block", stride: tile.valueWidth, start: "key_start", extent: spec.keys,
      rows: tile.keys, depth: spec.valueWidth }),
    "workgroupBarrier();",
    weighted(tile),
    "}",
    stores(spec, tile),
  ].join("\n");
  const finish = spec.epilogue({ row: "row", col: "col", batch: "batch", value: "value" });
  return {
    features: [],
    workgroupArrays: [
      { name: "query_block", type: "vec4f", length: queryCells },
      { name: "key_block", type: "vec4f", length: keyCells },
      { name: "weights", type: "f32", length: weightCells }, { name: "told", type: "f32", length: toldCells },
    ],
    declarations: `fn finish(row: i32, col: i32, batch: i32, value: f32) {\n${finish}\n}`,
    workgroupSize: tile.threads,
    body,
    grid,
  };
};

/** Fours of output columns of a thread. */
export const columnsOf = ({ valueWidth }: Pick<Tile, "valueWidth">): number => Math.ceil(valueWidth / SHARE);

/** A block of rows on its way into workgroup memory. */
interface Stage {
  readonly to: string;
  /** vec4f from row to row. */
  readonly stride: number;
  readonly start: string;
  readonly extent: Extent;
  readonly rows: number;
  readonly depth: number;
}

/** Copies `rows` rows from `start` on into workgroup memory: zeros beyond the depth, the last row again at the end. */
export function stage(
  operand: Operand, { threads }: Pick<Tile, "threads">, { to, stride, start, extent, rows, depth }: Stage,
): string {
  const fours = Math.ceil(depth / 4);
  const cut = depth % 4 === 0 || operand.vector === "depth" ? operand : endingAt(operand, `${depth}`);
  const count = operand.vector === "row" ? 4 : 1;
  const read = reader(cut, {
    name: "in", count, batch: "batch",
    row: (i) => clamped(`${start} + block_row${i > 0 ? ` + ${i}` : ""}`, extent, rows, count),
  });
  const total = (rows / count) * fours;
  // What is contiguous in memory goes to neighbouring threads.
  const [row, four] = operand.vector === "row"
    ? [`(at % ${rows / 4}) * 4`, `at / ${rows / 4}`] : [`at / ${fours}`, `at % ${fours}`];
  return [
    `for (var at = thread; at < ${total}; at += ${threads}) {`,
    `let block_row = ${row};`,
    `let four = ${four};`,
    read.setup + read.load("(four * 4)", 4),
    ...range(count).map((i) => `${to}[(block_row + ${i}) * ${stride} + four] = ${read.depths(i)};`),
    "}",
  ].join("\n");
}

/** Row of the block that a thread's query i is. */
const queryAt = (i: number, { queries }: Tile): string => `(own + ${i * (queries / 4)})`;

function scores({ scale, keys: extent }: AttentionSpec, tile: Tile): string {
  const own = range(tile.keys / SHARE);
  const pairs = range(4).flatMap((i) => own.map((j) => [i, j] as const));
  const stride = tile.width + 1;
  const factor = scale * Math.LOG2E;
  const masked = (j: number, value: string): string => isMultiple(extent, tile.keys)
    ? value : `select(${LEAST}, ${value}, key_start + share + ${j * SHARE} < ${extent.wgsl})`;
  return [
    pairs.map(([i, j]) => `var s${i}_${j} = 0.0;`).join(" "),
    `for (var d = 0; d < ${tile.width}; d++) {`,
    ...own.map((j) => `let k${j} = key_block[(share + ${j * SHARE}) * ${stride} + d];`),
    ...range(4).map((i) => `let q${i} = query_block[${queryAt(i, tile)} * ${stride} + d]; ` +
      own.map((j) => `s${i}_${j} += dot(q${i}, k${j});`).join(" ")),
    "}",
    ...pairs.map(([i, j]) => `s${i}_${j} = ${masked(j, `s${i}_${j} * ${factor}`)};`),
  ].join("\n");
}

/** Agrees on the queries' maxima and turns scores into weights in workgroup memory. */
function softmax(tile: Tile): string {
  const own = range(tile.keys / SHARE);
  const fold = (terms: readonly string[], by: string): string => terms.reduce((x, y) => `${by}(${x}, ${y})`);
  const lines: string[] = [];
  for (const i of range(4)) {
    lines.push(`told[share * ${tile.queries} + ${queryAt(i, tile)}] = ${fold(own.map((j) => `s${i}_${j}`), "max")};`);
  }
  lines.push("workgroupBarrier();");
  for (const i of range(4)) {
    const all = range(SHARE).map((s) => `told[${s * tile.queries} + ${queryAt(i, tile)}]`);
    lines.push(`let top${i} = ${fold([`most${i}`, ...all], "max")};`);
    lines.push(`let decay${i} = exp2(most${i} - top${i}); most${i} = top${i}; sum${i} *= decay${i};`);
    for (const j of own) {
      lines.push(`{ let w = exp2(s${i}_${j} - top${i}); sum${i} += w; ` +
        `weights[${queryAt(i, tile)} * ${tile.keys + 1} + share + ${j * SHARE}] = w; }`);
    }
  }
  return lines.join("\n");
}

/** The thread's c-th four of columns; one past the end repeats the last. */
export function fourAt(c: number, { valueWidth }: Pick<Tile, "valueWidth">): string {
  const at = `(share + ${c * SHARE})`;
  return valueWidth % SHARE === 0 ? at : `min(${at}, ${valueWidth - 1})`;
}

function weighted(tile: Tile): string {
  const columns = range(columnsOf(tile));
  return [
    range(4).flatMap((i) => columns.map((c) => `o${i}_${c} *= decay${i};`)).join(" "),
    `for (var key = 0; key < ${tile.keys}; key++) {`,
    ...columns.map((c) => `let v${c} = key_block[key * ${tile.valueWidth} + ${fourAt(c, tile)}];`),
    ...range(4).map((i) => `let w${i} = vec4f(weights[${queryAt(i, tile)} * ${tile.keys + 1} + key]); ` +
      columns.map((c) => `o${i}_${c} = fma(w${i}, v${c}, o${i}_${c});`).join(" ")),
    "}",
  ].join("\n");
}

function stores(spec: AttentionSpec, tile: Tile): string {
  const { queries, valueWidth, logSumExp } = spec;
  const lines = ["workgroupBarrier();"];
  for (const i of range(4)) lines.push(`told[share * ${tile.queries} + ${queryAt(i, tile)}] = sum${i};`);
  lines.push("workgroupBarrier();");
  for (const i of range(4)) {
    const total = range(SHARE).map((s) => `told[${s * tile.queries} + ${queryAt(i, tile)}]`).join(" + ");
    lines.push("{", `let row = query_start + ${queryAt(i, tile)};`);
    lines.push(isMultiple(queries, tile.queries) ? "{" : `if (row < ${queries.wgsl}) {`);
    lines.push(`let total = ${total};`, "let inverse = 1.0 / total;");
    if (logSumExp) {
      const store = logSumExp({ row: "row", batch: "batch", value: "log_sum" });
      lines.push(`if (share == 0) {\nlet log_sum = (most${i} + log2(total)) * ${Math.LN2};\n${store}\n}`);
    }
    for (const c of range(columnsOf(tile))) {
      const four = `(share + ${c * SHARE})`;
      lines.push(tile.valueWidth % SHARE === 0 ? "{" : `if (${four} < ${tile.valueWidth}) {`);
      lines.push(`let o = o${i}_${c} * inverse;`);
      for (const l of range(4)) {
        const column = `${four} * 4 + ${l}`;
        const test = valueWidth % 4 === 0 || l === 0 ? "" : `if (${column} < ${valueWidth}) `;
        lines.push(`${test}{ finish(row, ${column}, batch, o.${component(l)}); }`);
      }
      lines.push("}");
    }
    lines.push("}\n}");
  }
  return lines.join("\n");
}
