/**
 * @file Gradients of attention for GPUs, f32. A workgroup owns a block of rows (queries, or keys) in workgroup memory;
 * blocks of the others pass through beside them. Eight threads share four owned rows: each scores its own of the
 * others, the weights go through workgroup memory, then each sums its own columns in registers. Everything fits 16 KB.
 */
import { invariant } from "../ir/invariant.js";
import { columnsOf, fourAt, SHARE, stage, WORKGROUP_BYTES } from "./attention_tiled.js";
import type { AttentionGradientSpec, Operand, Template } from "./template.js";
import { clamped, type GradientRole, gradientWorkgroups, isMultiple } from "./tile_extent.js";
import { component, range } from "./tile_operand.js";

/** Owned rows and others of a workgroup's blocks, the best first. */
const BLOCKS = [[32, 16], [32, 8], [16, 16], [16, 8], [8, 8], [4, 8]] as const;

interface Tile {
  readonly rows: number;
  readonly others: number;
  /** Fours of the width. */
  readonly valueWidth: number;
  readonly threads: number;
}

/** Bytes of two blocks of owned rows, two of others, and two of weights. */
const bytesOf = (rows: number, others: number, fours: number): number =>
  // Rows get one more element than they need, so that neighbouring rows start in different banks.
  2 * (16 * (rows + others) * (fours + 1) + 4 * rows * (others + 1));

function tileOf({ width }: AttentionGradientSpec): Tile {
  const fours = Math.ceil(width / 4);
  const block = BLOCKS.find(([rows, others]) => bytesOf(rows, others, fours) <= WORKGROUP_BYTES);
  invariant(block, `heads of ${width} columns fit workgroup memory`);
  const [rows, others] = block;
  return { rows, others, valueWidth: fours, threads: (rows / 4) * SHARE };
}

export const attentionGradientTiled: Template<AttentionGradientSpec> = (spec) => {
  const tile = tileOf(spec);
  const { parts } = spec;
  const { setup, grid, choose } = gradientWorkgroups(spec, tile.rows, tile.rows);
  const body = [
    setup,
    "let thread = i32(lid);",
    `let share = thread % ${SHARE};`,
    `let own = thread / ${SHARE};`,
    `let start = tile * ${tile.rows};`,
    choose((kind) => role(spec, tile, kind)),
  ].join("\n");
  const stored = parts === "all" ? ["0", "1", "2"] : parts === "queries" ? ["0"] : ["1", "2"];
  const cells = (rows: number): number => rows * (tile.valueWidth + 1);
  const weightCells = tile.rows * (tile.others + 1);
  return {
    features: [],
    workgroupArrays: [
      ...["a", "b"].map((name) => ({ name: `${name}_block`, type: "vec4f" as const, length: cells(tile.rows) })),
      ...["u", "w"].map((name) => ({ name: `${name}_block`, type: "vec4f" as const, length: cells(tile.others) })),
      ...["slopes", ...(parts === "queries" ? [] : ["weights"])].map((name) =>
        ({ name, type: "f32" as const, length: weightCells })),
    ],
    declarations: [
      ...stored.map((part) => `fn finish${part}(row: i32, col: i32, batch: i32, value: f32) {\n` +
        `${spec.epilogue({ part, row: "row", col: "col", batch: "batch", value: "value" })}\n}`),
    ].join("\n"),
    workgroupSize: tile.threads,
    body,
    grid,
  };
};

/** Row of the block that a thread's owned row i is. */
const rowAt = (i: number, { rows }: Tile): string => `(own + ${i * (rows / 4)})`;

function role(spec: AttentionGradientSpec, tile: Tile, kind: GradientRole): string {
  const { own, others, owned, passing, queries } = kind;
  const sums = queries ? ["du"] : ["du", "dw"];
  const depth = spec.width;
  const stride = tile.valueWidth + 1;
  const columns = range(columnsOf(tile));
  const statistics = range(4).map((i) =>
    `let row${i} = ${clamped(`start + ${rowAt(i, tile)}`, own, tile.rows)};\n` +
    `let log_sum${i} = ${spec.logSumExp(`row${i}`, "batch")} * ${Math.LOG2E};\n` +
    `let delta${i} = ${spec.delta(`row${i}`, "batch")};`);
  return [
    ...(["a", "b"] as const).map((name, i) => stage(owned[i] as Operand, tile, { // two operands
      to: `${name}_block`, stride, start: "start", extent: own, rows: tile.rows, depth })),
    ...(queries ? statistics : []),
    ...sums.map((s) => range(4).flatMap((i) => columns.map((c) => `var ${s}${i}_${c} = vec4f();`)).join(" ")),
    `for (var other_start = 0; other_start < ${others.wgsl}; other_start += ${tile.others}) {`,
    "workgroupBarrier();",
    ...(["u", "w"] as const).map((name, i) => stage(passing[i] as Operand, tile, { // two operands
      to: `${name}_block`, stride, start: "other_start", extent: others, rows: tile.others, depth })),
    "workgroupBarrier();",
    weights(spec, tile, kind),
    "workgroupBarrier();",
    `for (var other = 0; other < ${tile.others}; other++) {`,
    ...sums.map((s) => add(tile, s)),
    "}\n}",
    stores(spec, tile, kind),
  ].join("\n");
}

/** Scores the thread's pairs, four owned rows with its share of the others, and writes weights and slopes. */
function weights({ scale, ...spec }: AttentionGradientSpec, tile: Tile, { others, queries }: GradientRole): string {
  const mine = range(tile.others / SHARE);
  const stride = tile.valueWidth + 1;
  const lines = [
    range(4).flatMap((i) => mine.map((j) => `var s${i}_${j} = 0.0; var t${i}_${j} = 0.0;`)).join(" "),
    `for (var d = 0; d < ${tile.valueWidth}; d++) {`,
    ...mine.map((j) => `let at${j} = (share + ${j * SHARE}) * ${stride} + d; ` +
      `let u${j} = u_block[at${j}]; let w${j} = w_block[at${j}];`),
    ...range(4).map((i) => `let own_at${i} = ${rowAt(i, tile)} * ${stride} + d; ` +
      `let a${i} = a_block[own_at${i}]; let b${i} = b_block[own_at${i}]; ` +
      mine.map((j) => `s${i}_${j} += dot(a${i}, u${j}); t${i}_${j} += dot(b${i}, w${j});`).join(" ")),
    "}",
  ];
  for (const j of mine) {
    const whole = isMultiple(others, tile.others);
    const at = `other_start + share + ${j * SHARE}`;
    lines.push("{", `let other = ${clamped(at, others, tile.others)};`);
    if (!whole) lines.push(`let real = ${at} < ${others.wgsl};`);
    if (!queries) {
      lines.push(`let log_sum = ${spec.logSumExp("other", "batch")} * ${Math.LOG2E};`);
      lines.push(`let delta = ${spec.delta("other", "batch")};`);
    }
    for (const i of range(4)) {
      const of = queries ? String(i) : "";
      const weight = `exp2(s${i}_${j} * ${scale * Math.LOG2E} - log_sum${of})`;
      lines.push(`let p${i} = ${whole ? weight : `select(0.0, ${weight}, real)`};`);
      const cell = `[${rowAt(i, tile)} * ${tile.others + 1} + share + ${j * SHARE}]`;
      lines.push(`slopes${cell} = p${i} * (t${i}_${j} - delta${of});`);
      if (!queries) lines.push(`weights${cell} = p${i};`);
    }
    lines.push("}");
  }
  return lines.join("\n");
}

/** Adds the row `other` of the block to the thread's columns of its four owned rows. */
function add(tile: Tile, sums: string): string {
  const columns = range(columnsOf(tile));
  const [from, by] = sums === "du" ? ["u", "slopes"] : ["w", "weights"];
  return [
    ...columns.map((c) =>
      `let ${from}${c} = ${from}_block[other * ${tile.valueWidth + 1} + ${fourAt(c, tile)}];`),
    ...range(4).map((i) =>
      `let ${by}${i} = vec4f(${by}[${rowAt(i, tile)} * ${tile.others + 1} + other]); ` +
      columns.map((c) => `${sums}${i}_${c} = fma(${by}${i}, ${from}${c}, ${sums}${i}_${c});`).join(" ")),
  ].join("\n");
}

function stores({ scale, width }: AttentionGradientSpec, tile: Tile, { own, queries }: GradientRole): string {
  const lines: string[] = [];
  for (const i of range(4)) {
    lines.push("{", `let row = start + ${rowAt(i, tile)};`);
    lines.push(isMultiple(own, tile.rows) ? "{" : `if (row < ${own.wgsl}) {`);
    for (const c of range(columnsOf(tile))) {
      const four = `(share + ${c * SHARE})`;
      lines.push(tile.valueWidth % SHARE === 0 ? "{" : `if (${four} < ${tile.valueWidth}) {`);
      lines.push(`let x = du${i}_${c} * ${scale};`);
      for (const l of range(4)) {
        const column = `${four} * 4 + ${l}`;
        const test = width % 4 === 0 || l === 0 ? "" : `if (${column} < ${width}) `;
        const finish = (part: number, value: string): string =>
          `finish${part}(row, ${column}, batch, ${value}.${component(l)});`;
        lines.push(`${test}{ ${queries ? finish(0, "x") : `${finish(1, "x")} ${finish(2, `dw${i}_${c}`)}`} }`);
      }
      lines.push("}");
    }
    lines.push("}\n}");
  }
  return lines.join("\n");
}
