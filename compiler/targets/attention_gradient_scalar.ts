/**
 * @file Gradients of attention for software adapters, one workgroup is one quad (or eight lanes). A workgroup owns some
 * rows (queries, or keys) and passes once over all of the others; columns lie spread over the lanes, so all that is
 * owned stays put and every element of the others is loaded once. The products of a row with all owned rows are summed
 * over the lanes together: lane l ends with the l-th, and finishes that score.
 */
import type { AttentionGradientSpec, KernelText, Template } from "./template.js";
import { columnAt, columnsSetup, spreadOf, spreadReader, withinWidth, type Spread } from "./tile_columns.js";
import { clamped, type GradientRole, gradientWorkgroups } from "./tile_extent.js";
import { ofLane, sumOfLane, upperBits, type Lanes } from "./tile_lanes.js";
import { range } from "./tile_operand.js";

/** The four-lane kernel: any adapter with subgroups. */
export const attentionGradientScalar: Template<AttentionGradientSpec> = (spec) => gradientOfLanes(spec, 4, 2);
/** The eight-lane kernel, for adapters whose subgroups have eight lanes or more. */
export const attentionGradientWide: Template<AttentionGradientSpec> = (spec) => gradientOfLanes(spec, 8, 1);

interface Tile {
  readonly spread: Spread;
  /** Owned rows are so many times the lanes. */
  readonly groups: number;
  readonly rows: number;
}

function gradientOfLanes(spec: AttentionGradientSpec, lanes: Lanes, groups: number): KernelText {
  const tile: Tile = { spread: spreadOf(lanes, spec.width), groups, rows: lanes * groups };
  const { setup, grid, choose } = gradientWorkgroups(spec, tile.rows, tile.rows);
  const body = [
    setup,
    "let lane = i32(lid);",
    upperBits(lanes),
    columnsSetup(tile.spread),
    choose((kind) => role(spec, tile, kind)),
  ].join("\n");
  return {
    features: ["subgroups"], lanes, workgroupArrays: [], declarations: "", workgroupSize: lanes, body, grid,
  };
}

/** Statements of a workgroup that owns rows from `tile * rows` on. */
function role(spec: AttentionGradientSpec, tile: Tile, { own, others, owned, passing, queries }: GradientRole): string {
  const { spread, rows } = tile;
  const [a, b] = [spreadReader(owned[0], spread, "a"), spreadReader(owned[1], spread, "b")];
  const [u, w] = [spreadReader(passing[0], spread, "u"), spreadReader(passing[1], spread, "w")];
  const fours = range(spread.fours);
  const all = (names: readonly string[], value: string): string => names.flatMap((name) =>
    range(rows).flatMap((i) => fours.map((f) => `var ${name}${i}_${f} = ${value};`))).join(" ");
  const sums = queries ? ["du"] : ["du", "dw"];
  const keep = (from: string): string => fours.map((f) =>
    `let ${from}_kept${f} = bitcast<vec4u>(${withinWidth(spread, f, `${from}_${f}`)});\n` + range(rows).map((i) =>
      `${from}${i}_${f} |= ${from}_kept${f} & vec4u(is${i});\n`).join("")).join("");
  return [
    `let start = tile * ${rows};`,
    // Also where it is always the same: drivers unroll loops whose length they know, and take long over it.
    `let count = min(${rows}, ${own.wgsl} - start);`,
    a.setup + b.setup + u.setup + w.setup,
    all(["a", "b"], "vec4u()"),
    "for (var i = 0; i < count; i++) {",
    a.load("start + i", "a") + b.load("a_r", "b"),
    rowMasks(rows),
    keep("a") + keep("b"),
    "}",
    queries ? statistics(spec, tile) : "",
    all(sums, "vec4f()"),
    `for (var other = 0; other < ${others.wgsl}; other++) {`,
    u.load("other", "u") + w.load("u_r", "w"),
    queries ? "" : `let log_sum = ${spec.logSumExp("other", "batch")} * ${Math.LOG2E};`,
    queries ? "" : `let delta = ${spec.delta("other", "batch")};`,
    ...range(tile.groups).map((g) => weights(spec, tile, g, queries)),
    ...range(rows).map((i) => add(tile, i, sums)),
    "}",
    stores(spec, tile, queries ? [["0", "du"]] : [["1", "du"], ["2", "dw"]]),
  ].join("\n");
}

/**
 * Declares `is0`, `is1`, …: all bits where `i` is that row, else none. Rows of registers are picked by these: drivers
 * take several times as long over selections, or arrays, that a loop's counter decides about.
 */
const rowMasks = (rows: number): string =>
  range(rows).map((n) => `let is${n} = select(0u, 0xffffffffu, i == ${n});\n`).join("");

/** The statistics of the owned queries that this lane finishes. */
function statistics(spec: AttentionGradientSpec, { rows, groups, spread }: Tile): string {
  return range(groups).map((g) => [
    `let query${g} = ${clamped(`start + ${g * spread.lanes} + lane`, spec.queries, rows)};`,
    `let log_sum${g} = ${spec.logSumExp(`query${g}`, "batch")} * ${Math.LOG2E};`,
    `let delta${g} = ${spec.delta(`query${g}`, "batch")};`,
  ].join("\n")).join("\n");
}

/** Weight `p` and slope `ds` of the pairs that this lane finishes; powers of two have the cheapest exponential. */
function weights({ scale }: AttentionGradientSpec, { spread }: Tile, g: number, queries: boolean): string {
  const { lanes, fours } = spread;
  const mine = queries ? String(g) : "";
  const sum = (owned: string, other: string, to: string): string => {
    const terms = range(lanes).map((l) =>
      range(fours).map((f) => `dot(bitcast<vec4f>(${owned}${g * lanes + l}_${f}), ${other}_${f})`).join(" + "));
    const names = terms.map((_, l) => `${to}_term${l}`);
    return terms.map((t, l) => `let ${names[l]} = ${t};\n`).join("") + sumOfLane(lanes, names, to);
  };
  return sum("a", "u", `score${g}`) + sum("b", "w", `slope${g}`) +
    `let p${g} = exp2(score${g} * ${scale * Math.LOG2E} - log_sum${mine});\n` +
    `let ds${g} = p${g} * (slope${g} - delta${mine});`;
}

/** Adds the passing row to what owned row i sums up. */
function add({ spread }: Tile, i: number, sums: readonly string[]): string {
  const { lanes, fours } = spread;
  const g = Math.floor(i / lanes);
  return sums.map((name) => {
    const [weight, other] = name === "du" ? [`ds${g}`, "u"] : [`p${g}`, "w"];
    return `let ${name}_by${i} = ${ofLane(lanes, weight, i % lanes)};\n` +
      range(fours).map((f) => `${name}${i}_${f} += ${name}_by${i} * ${other}_${f};\n`).join("");
  }).join("");
}

/** Stores the sums of owned rows: `parts` are pairs of a part and the name of its sums. */
function stores(
  spec: AttentionGradientSpec, { spread, rows }: Tile, parts: readonly (readonly [string, string])[],
): string {
  const of = (part: string, name: string, f: number): string => {
    const chosen = range(rows).map((i) => `(bitcast<vec4u>(${name}${i}_${f}) & vec4u(is${i}))`).join(" | ");
    const text = spec.epilogue({ part, row: "row", col: "col", batch: "batch", value: "o[l]" });
    return [
      `{\nlet o = bitcast<vec4f>(${chosen})${part === "2" ? "" : ` * ${spec.scale}`};`,
      "for (var l = 0; l < 4; l++) {",
      `let col = ${columnAt(spread, f)} + l;`,
      spread.whole ? text : `if (col < ${spread.width}) {\n${text}\n}`,
      "}\n}",
    ].join("\n");
  };
  return [
    "for (var i = 0; i < count; i++) {",
    "let row = start + i;",
    rowMasks(rows),
    ...parts.flatMap(([part, name]) => range(spread.fours).map((f) => of(part, name, f))),
    "}",
  ].join("\n");
}
