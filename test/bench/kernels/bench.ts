/**
 * @file Times the kernel templates on the shapes of the DeiT family and checks every result.
 *   tsx test/bench/kernels/bench.ts [--family scalar|wide|tiled] [--adapter NAME] [--only TEXT] [--batch N] [--ms N]
 */
import { parseArgs } from "node:util";
import { BATCH, dim, evalDim, type Dim } from "../../../compiler/ir/dim.js";
import { attentionScalar, attentionWide } from "../../../compiler/targets/attention_scalar.js";
import { attentionTiled } from "../../../compiler/targets/attention_tiled.js";
import { contractionScalar, contractionWide } from "../../../compiler/targets/contraction_scalar.js";
import { contractionTiled } from "../../../compiler/targets/contraction_tiled.js";
import type { AttentionSpec, KernelText } from "../../../compiler/targets/template.js";
import { adapterName } from "../../../runtime/device.js";
import { openDevice } from "../../../runtime/node/adapters.js";
import {
  attentionReference, contractionReference, extent, noise, source, storeAt, type AttentionCase, type ContractionCase,
} from "./cases.js";
import { Prepared, type Input } from "./execute.js";

const FAMILIES = {
  scalar: [contractionScalar, attentionScalar],
  wide: [contractionWide, attentionWide],
  tiled: [contractionTiled, attentionTiled],
} as const;

/** y[rows, cols] = x[rows, depth]·wᵀ, w stored [cols, depth] or, packed, [depth, cols]. */
function linear(name: string, rows: Dim, depth: number, cols: number, B: number, packed = false): ContractionCase {
  const m = evalDim(rows, B);
  const x = source({ buffer: "t0", row: depth, depth: 1, vector: "depth" }, noise(m * depth, 1));
  const layout = packed
    ? { row: 1, depth: cols, vector: "row" as const } : { row: depth, depth: 1, vector: "depth" as const };
  const w = source({ buffer: "t1", ...layout }, noise(cols * depth, 2));
  return {
    name, B, sources: [x, w],
    spec: {
      batches: extent(dim(1)), rows: extent(rows), cols: extent(dim(cols)), depth: extent(dim(depth)),
      a: x.operand, b: w.operand, epilogue: storeAt(extent(rows), String(cols)),
    },
  };
}

/** Attention over one packed [B, N, 3, heads, d] buffer; `queries` of the first tokens. */
function attention(name: string, B: number, heads: number, tokens: number, d: number, queries = tokens): AttentionCase {
  const data = noise(B * tokens * 3 * heads * d, 3).map((x) => 4 * x);
  const token = 3 * heads * d;
  const part = (i: number) => {
    const start = i * heads * d;
    const made = source({ buffer: "t0", row: token, depth: 1, start, vector: "depth" }, data);
    const image = tokens * token;
    const base = (row: string, batch: string): string =>
      `((${batch}) / ${heads}) * ${image} + ((${batch}) % ${heads}) * ${d} + (${row}) * ${token} + ${start}`;
    return {
      ...made, operand: { ...made.operand, base, offset: (r: string, k: string, z: string) => `${base(r, z)} + ${k}` },
      at: (row: number, depth: number, batch: number) =>
        data[Math.floor(batch / heads) * image + (batch % heads) * d + row * token + start + depth] ?? NaN,
    };
  };
  const [q, k, v] = [part(0), part(1), part(2)];
  const epilogue: AttentionSpec["epilogue"] = ({ row, col, batch, value }) =>
    `result[((${batch} / ${heads} * ${queries} + ${row}) * ${heads} + ${batch} % ${heads}) * ${d} + ${col}]` +
    ` = ${value};`;
  return {
    name, B, sources: [q, k, v],
    spec: {
      batches: extent({ b: heads, c: 0 }), queries: extent(dim(queries)), keys: extent(dim(tokens)),
      width: d, valueWidth: d, scale: d ** -0.5, q: q.operand, k: k.operand, v: v.operand, epilogue,
    },
  };
}

function contractions(B: number): ContractionCase[] {
  const tokens: Dim = { b: 197, c: 0 };
  const of = (label: string, width: number): ContractionCase[] => [
    linear(`${label} qkv`, tokens, width, 3 * width, B), linear(`${label} proj`, tokens, width, width, B),
    linear(`${label} fc1`, tokens, width, 4 * width, B), linear(`${label} fc2`, tokens, 4 * width, width, B),
    linear(`${label} head`, BATCH, width, 1000, B),
  ];
  return [
    ...of("Ti", 192), linear("Ti patches", { b: 196, c: 0 }, 768, 192, B),
    linear("Ti qkv packed", tokens, 192, 576, B, true), linear("Ti head packed", BATCH, 192, 1000, B, true),
    ...of("S", 384), ...of("B", 768),
  ];
}

const attentions = (B: number): AttentionCase[] => [
  attention("Ti attention 197", B, 3, 197, 64), attention("S attention 198", B, 6, 198, 64),
  attention("B attention 577", B, 12, 577, 64), attention("attention 50×32", B, 6, 50, 32),
  attention("attention 145×48", B, 4, 145, 48), attention("attention 197×80", B, 4, 197, 80),
  attention("class attention", B, 4, 197, 48, 1),
];

const { values: args } = parseArgs({ options: {
  family: { type: "string" }, adapter: { type: "string" }, only: { type: "string", default: "Ti" },
  batch: { type: "string", default: "1" }, ms: { type: "string", default: "200" },
  checked: { type: "boolean", default: false },
} });
const device = await openDevice({ ...(args.adapter ? { adapter: args.adapter } : {}), checked: args.checked });
const wide = (device.info.subgroupMinSize ?? 0) >= 8;
const family = (args.family ?? (device.software ? (wide ? "wide" : "scalar") : "tiled")) as keyof typeof FAMILIES;
const [contractionOf, attentionOf] = FAMILIES[family];
console.log(`${adapterName(device.info)}, family ${family}`);

/** Greatest error against a sample of elements, relative to the result's size. */
function errorOf(at: (i: number) => readonly [number, number]): number {
  let [error, size] = [0, 0];
  for (let i = 0; i < 200; i++) {
    const [want, got] = at(i);
    size = Math.max(size, Math.abs(want));
    const difference = Math.abs(got - want);
    error = difference <= error ? error : difference;
  }
  return error / size;
}

async function report(
  name: string, kernel: KernelText, inputs: readonly Input[], size: number, B: number, flops: number,
  error: (result: Float32Array) => number,
): Promise<void> {
  const start = performance.now();
  const prepared = await Prepared.make(device, kernel, inputs, [{ name: "result", size }], B);
  await prepared.run();
  const compile = performance.now() - start;
  const { wall, cpu } = await prepared.time(Number(args.ms));
  const [result] = await prepared.read();
  prepared.destroy();
  const rate = (ms: number, width: number): string => (flops / ms / 1e6).toFixed(2).padStart(width);
  console.log(`${name.padEnd(18)} ${wall.toFixed(2).padStart(9)} ms ${rate(wall, 8)} GFLOP/s ` +
    `${rate(cpu, 7)} GFLOP/cpu-s  first ${compile.toFixed(0).padStart(5)} ms  error ` +
    (result ? error(result) : NaN).toExponential(1));
}

const B = Number(args.batch);
const wanted = ({ name }: { readonly name: string }): boolean => name.includes(args.only);
const pick = (i: number, n: number): number => (i < 8 ? n - 1 - (i % n) : Math.floor(i * 0.6180339887 * n) % n);
for (const c of contractions(B).filter(wanted)) {
  const { rows, cols, depth } = c.spec;
  const [m, n, k] = [evalDim(rows.dim, B), evalDim(cols.dim, B), evalDim(depth.dim, B)];
  const inputs = c.sources.map((s) => ({ name: s.operand.buffer, vector: s.operand.vector !== "none", data: s.data }));
  await report(c.name, contractionOf(c.spec), inputs, m * n, B, 2 * m * n * k, (result) => errorOf((i) => {
    const [row, col] = [pick(i, m), pick(i + 3, n)];
    return [contractionReference(c, 0, row, col), result[row * n + col] ?? NaN];
  }));
}
for (const c of attentions(B).filter(wanted)) {
  const { width, valueWidth, batches, queries, keys } = c.spec;
  const [z, m, n] = [evalDim(batches.dim, B), evalDim(queries.dim, B), evalDim(keys.dim, B)];
  const flops = 2 * z * m * n * (width + valueWidth);
  const heads = z / B;
  const inputs = c.sources.slice(0, 1).map((s) => ({ name: s.operand.buffer, vector: true, data: s.data }));
  await report(c.name, attentionOf(c.spec), inputs, z * m * valueWidth, B, flops, (result) =>
    errorOf((i) => {
      const [batch, row, col] = [pick(i, z), pick(i, m), pick(i, valueWidth)];
      const at = ((Math.floor(batch / heads) * m + row) * heads + (batch % heads)) * valueWidth + col;
      return [attentionReference(c, batch, row).row[col] ?? NaN, result[at] ?? NaN];
    }));
}
device.destroy();
