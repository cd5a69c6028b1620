/**
 * @file Attention for software adapters: flash form, one workgroup is one quad (or eight lanes). A lane owns some
 * queries; lanes load different keys and values and pass them round, so a lane always holds whole softmax rows and
 * needs no reduction across lanes. The running output lies in private memory, rescaled once a block of keys.
 */
import { isConstant } from "../ir/dim.js";
import type { AttentionSpec, Extent, KernelText, Operand, Template } from "./template.js";
import { clamped, isMultiple, workgroups } from "./tile_extent.js";
import { multiply, passRound, rowInBlock, type Lanes, type Product } from "./tile_lanes.js";
import { component, range, reader, type Reader } from "./tile_operand.js";

/** Below every score, above −∞: differences of two stay finite. */
const LEAST = "-1e30";

interface Tile {
  readonly lanes: Lanes;
  /** Queries that a lane owns, keys that a lane loads in one block. */
  readonly queries: number;
  readonly keys: number;
}

/** Up to four keys a lane; queries so that scores fill some 64 registers. Fewer where tiles would be half empty. */
function tileOf({ queries, keys, q, k, v }: AttentionSpec, lanes: Lanes): Tile {
  return {
    lanes,
    queries: q.vector === "row" ? 4 : perLane(queries, lanes, 16 / lanes),
    keys: k.vector === "row" || v.vector === "row" ? 4 : perLane(keys, lanes, 4),
  };
}

/** Rows of `extent` for each lane, at most `most`: fewer fill the last tile better, more share what is loaded. */
function perLane({ dim }: Extent, lanes: Lanes, most: number): number {
  if (!isConstant(dim)) return most;
  const tiles = (rows: number): number => Math.ceil(dim.c / (lanes * rows));
  const cost = (rows: number): number => tiles(rows) * lanes * rows * (1 + SHARED * (most - rows));
  return range(most).map((i) => i + 1).reduce((best, rows) => (cost(rows) <= cost(best) ? rows : best));
}

/** What a tile of one row a lane less costs more, per element: an estimate. */
const SHARED = 0.12;

/** The four-lane kernel: any adapter with subgroups. */
export const attentionScalar: Template<AttentionSpec> = (spec) => attentionOfLanes(spec, 4);
/** The eight-lane kernel, for adapters whose subgroups have eight lanes or more. */
export const attentionWide: Template<AttentionSpec> = (spec) => attentionOfLanes(spec, 8);

/** Name of the score of query i and key j of lane `lane ^ x`. */
const score = (i: number, j: number, x: number): string => `s${i}_${j}_${x}`;

function attentionOfLanes(spec: AttentionSpec, lanes: Lanes): KernelText {
  const tile = tileOf(spec, lanes);
  const perQuery = lanes * tile.queries;
  const perKey = lanes * tile.keys;
  const { setup, grid } = workgroups([
    { name: "query_tile", extent: spec.queries, per: perQuery },
    { name: "batch", extent: spec.batches, per: 1 },
  ]);
  const rows = (operand: Operand, start: string, extent: Extent, per: number) => (i: number): string =>
    clamped(`${start} + ${rowInBlock(operand.vector, lanes, i, "lane")}`, extent, per,
      operand.vector === "row" ? 4 : 1);
  const queryRow = rows(spec.q, "query_start", spec.queries, perQuery);
  const q = reader(spec.q, { name: "q", count: tile.queries, batch: "batch", row: queryRow });
  // Keys and values must agree on which lane holds which key, or the scores meet other keys' values.
  const order: Operand["vector"] = spec.k.vector === "row" || spec.v.vector === "row" ? "row" : "depth";
  const keyRow = (operand: Operand) => (i: number): string =>
    clamped(`key_start + ${rowInBlock(order, lanes, i, "lane")}`, spec.keys, perKey, operand.vector === "row" ? 4 : 1);
  const k = reader(spec.k, { name: "k", count: tile.keys, batch: "batch", row: keyRow(spec.k) });
  const v = reader(spec.v, { name: "v", count: tile.keys, batch: "batch", row: keyRow(spec.v) });
  const fours = Math.ceil(spec.valueWidth / 4);
  const body = [
    setup,
    "let lane = i32(lid);",
    `let query_start = query_tile * ${perQuery};`,
    q.setup,
    `var out: array<vec4f, ${tile.queries * fours}>;`,
    ...range(tile.queries).map((i) => `var most${i} = ${LEAST}; var sum${i} = 0.0;`),
    `for (var key_start = 0; key_start < ${spec.keys.wgsl}; key_start += ${perKey}) {`,
    k.setup,
    scores(spec, tile, q, k),
    softmax(spec, tile, order),
    v.setup,
    weighted(spec, tile, v),
    "}",
    stores(spec, tile),
  ].join("\n");
  return {
    features: ["subgroups"], lanes, workgroupArrays: [], declarations: "", workgroupSize: lanes, body, grid,
  };
}

function scores(spec: AttentionSpec, { lanes, queries, keys }: Tile, q: Reader, k: Reader): string {
  const { width } = spec;
  const product: Product = {
    lanes, held: q, heldCount: queries, moved: k, movedCount: keys, accumulator: score,
    dots: spec.q.vector !== "row" && spec.k.vector !== "row",
  };
  const whole = width & ~3;
  const zero = range(queries).flatMap((i) =>
    range(keys).flatMap((j) => range(lanes).map((x) => `var ${score(i, j, x)} = 0.0;`)));
  let text = `${zero.join(" ")}\n`;
  if (whole > 0) text += `for (var d = 0; d < ${whole}; d += 4) {\n${multiply(product, "d", 4)}}\n`;
  if (whole < width) text += `for (var d = ${whole}; d < ${width}; d++) {\n${multiply(product, "d", 1)}}\n`;
  return text;
}

/** Turns scores into weights under the new maximum; scales by powers of two, whose exponential is cheapest. */
function softmax(
  { scale, keys: extent }: AttentionSpec, { lanes, queries, keys }: Tile, order: Operand["vector"],
): string {
  const factor = scale * Math.LOG2E;
  const slots = range(keys).flatMap((j) => range(lanes).map((x) => [j, x] as const));
  let text = "";
  const whole = isMultiple(extent, lanes * keys);
  if (!whole) {
    for (const [j, x] of slots) {
      text += `let real_${j}_${x} = key_start + ${rowInBlock(order, lanes, j, `(lane ^ ${x})`)} < ${extent.wgsl};\n`;
    }
  }
  for (const i of range(queries)) {
    for (const [j, x] of slots) {
      const scaled = `${score(i, j, x)} * ${factor}`;
      text += `${score(i, j, x)} = ${whole ? scaled : `select(${LEAST}, ${scaled}, real_${j}_${x})`};\n`;
    }
    const all = slots.map(([j, x]) => score(i, j, x));
    text += `let top${i} = max(most${i}, ${tree(all, (a, b) => `max(${a}, ${b})`)});\n`;
    text += `let decay${i} = exp2(most${i} - top${i}); most${i} = top${i};\n`;
    for (const [j, x] of slots) text += `${score(i, j, x)} = exp2(${score(i, j, x)} - top${i});\n`;
    text += `sum${i} = sum${i} * decay${i} + ${tree(all, (a, b) => `(${a} + ${b})`)};\n`;
  }
  return text;
}

/** Combines terms pairwise: short chains, small rounding errors. */
function tree(terms: readonly string[], combine: (a: string, b: string) => string): string {
  let level = [...terms];
  while (level.length > 1) {
    level = range(Math.ceil(level.length / 2)).map((i) => {
      const [a = "", b] = [level[2 * i], level[2 * i + 1]];
      return b === undefined ? a : combine(a, b);
    });
  }
  return level[0] ?? "0.0";
}

/** out = out · decay + weights · V, four columns at a time. */
function weighted({ valueWidth }: AttentionSpec, { lanes, queries }: Tile, v: Reader): string {
  const fours = Math.ceil(valueWidth / 4);
  // `only`: the one component of the vec4f that this step is about; the first of them decays the whole.
  const step = (depth: string, at: string, only?: number): string => {
    const steps = only === undefined ? 4 : 1;
    const decays = only === undefined || only === 0;
    const add = (j: number, x: number, suffix: string): string => range(queries).map((i) => only === undefined
      ? `o${i} += ${score(i, j, x)} * ${v.depths(j, suffix)};\n`
      : `o${i}.${component(only)} += ${score(i, j, x)} * ${v.element(j, 0, 1, suffix)};\n`).join("");
    return [
      v.prelude(depth, steps),
      ...range(queries).map((i) => `var o${i} = out[${i * fours} + ${at}]${decays ? ` * decay${i}` : ""};\n`),
      ...v.parts(depth, steps).map(({ load, fragments, rows }) =>
        load + passRound(lanes, fragments, (x, suffix) => rows.map((j) => add(j, x, suffix)).join(""))),
      ...range(queries).map((i) => `out[${i * fours} + ${at}] = o${i};\n`),
    ].join("");
  };
  const whole = valueWidth & ~3;
  const main = whole > 0 ? `for (var c = 0; c < ${whole}; c += 4) {\n${step("c", "(c >> 2u)")}}\n` : "";
  const tail = range(valueWidth - whole).map((l) => `{\n${step(String(whole + l), String(fours - 1), l)}}\n`);
  return main + tail.join("");
}

function stores(spec: AttentionSpec, { lanes, queries }: Tile): string {
  const { valueWidth, logSumExp } = spec;
  const fours = Math.ceil(valueWidth / 4);
  const whole = valueWidth & ~3;
  const store = (l: number): string =>
    spec.epilogue({ row: "row", col: `(c + ${l})`, batch: "batch", value: `o.${component(l)}` });
  const four = (i: number, at: string, count: number): string =>
    `let o = out[${i * fours} + ${at}] * inverse;\n${range(count).map(store).join("\n")}`;
  const statistics = (i: number): string => logSumExp === undefined ? "" :
    `let log_sum = (most${i} + log2(sum${i})) * ${Math.LN2};\n` +
    logSumExp({ row: "row", batch: "batch", value: "log_sum" });
  return range(queries).map((i) => [
    "{",
    `let row = query_start + ${rowInBlock(spec.q.vector, lanes, i, "lane")};`,
    isMultiple(spec.queries, lanes * queries) ? "{" : `if (row < ${spec.queries.wgsl}) {`,
    `let inverse = 1.0 / sum${i};`,
    statistics(i),
    `for (var c = 0; c < ${whole}; c += 4) {\n${four(i, "(c >> 2u)", 4)}\n}`,
    whole === valueWidth ? "" : `{\nlet c = ${whole};\n${four(i, String(fours - 1), valueWidth - whole)}\n}`,
    "}\n}",
  ].join("\n")).join("\n");
}
