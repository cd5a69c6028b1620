/**
 * The hand-tuned kernels of every family against float64, over all operand forms, odd extents and batches, with
 * validation and bounds checks on. What a guard hides is NaN in memory, and results start as NaN.
 */
import test from "ava";
import { dim, evalDim, type Dim } from "../compiler/ir/dim.js";
import { attentionScalar, attentionWide } from "../compiler/targets/attention_scalar.js";
import { attentionTiled } from "../compiler/targets/attention_tiled.js";
import { contractionScalar, contractionWide } from "../compiler/targets/contraction_scalar.js";
import { contractionTiled } from "../compiler/targets/contraction_tiled.js";
import type { AttentionSpec, ContractionSpec, Template } from "../compiler/targets/template.js";
import type { Device } from "../runtime/device.js";
import { openDevice } from "../runtime/node/adapters.js";
import {
  attentionReference, batchesOf, contractionReference, DEPTH, extent, operand, PLAIN, ROW, storeAt, type AttentionCase,
  type ContractionCase, type Form,
} from "./bench/kernels/cases.js";
import { errorOf, inputsOf, lanes, Prepared, results } from "./bench/kernels/execute.js";
import { FULL } from "./golden.js";

/** Greatest error, as a share of the greatest value. */
const TOLERANCE = 4e-6;

interface ContractionForm {
  readonly name: string;
  readonly batches?: Dim;
  readonly rows: Dim;
  readonly cols: Dim;
  readonly depth: Dim;
  readonly a?: Form;
  readonly b?: Form;
}

const CONTRACTIONS: readonly ContractionForm[] = [
  { name: "tokens", rows: { b: 37, c: 0 }, cols: dim(45), depth: dim(36) },
  { name: "exact tiles", rows: dim(64), cols: dim(64), depth: dim(32) },
  { name: "large tiles", rows: { b: 128, c: 5 }, cols: dim(128), depth: dim(48) },
  { name: "tall tiles", rows: { b: 70, c: 1 }, cols: dim(70), depth: dim(20) },
  { name: "few columns", rows: dim(83), cols: dim(3), depth: dim(12) },
  { name: "a head", rows: { b: 1, c: 0 }, cols: dim(50), depth: dim(24) },
  { name: "a packed head", rows: { b: 1, c: 0 }, cols: dim(52), depth: dim(23), a: PLAIN, b: ROW },
  { name: "rows and depths", rows: { b: 12, c: 8 }, cols: dim(41), depth: dim(28), a: ROW },
  { name: "depths and rows", rows: { b: 9, c: 2 }, cols: dim(72), depth: dim(28), b: ROW },
  { name: "rows and rows", rows: dim(36), cols: dim(44), depth: { b: 5, c: 2 }, a: ROW, b: ROW },
  { name: "plain, odd", rows: dim(21), cols: dim(17), depth: dim(7), a: PLAIN, b: PLAIN },
  { name: "shallow", rows: dim(19), cols: dim(35), depth: dim(3), a: PLAIN, b: PLAIN },
  { name: "one product", rows: dim(5), cols: dim(6), depth: dim(1), a: PLAIN, b: PLAIN },
  { name: "long", rows: dim(8), cols: dim(9), depth: dim(4101), a: ROW, b: PLAIN },
  { name: "long by the batch", rows: dim(20), cols: dim(12), depth: { b: 1100, c: 0 } },
  { name: "batches", batches: { b: 2, c: 1 }, rows: dim(33), cols: dim(36), depth: dim(16), b: ROW, a: PLAIN },
  {
    name: "not separable", rows: { b: 11, c: 0 }, cols: dim(20), depth: dim(20),
    a: { vector: "none", mixed: true }, b: { vector: "depth", mixed: true },
  },
  {
    name: "row guards", rows: { b: 30, c: 0 }, cols: dim(32), depth: dim(24),
    a: { ...DEPTH, rowGuard: true }, b: { ...ROW, rowGuard: true },
  },
  {
    name: "plain row guard", rows: { b: 30, c: 3 }, cols: dim(31), depth: dim(9),
    a: { ...PLAIN, rowGuard: true }, b: PLAIN,
  },
  {
    name: "element guards", rows: { b: 22, c: 0 }, cols: dim(20), depth: dim(13),
    a: { ...PLAIN, elementGuard: true, mixed: true }, b: { ...ROW, elementGuard: true },
  },
  {
    name: "guarded vectors", rows: { b: 22, c: 0 }, cols: dim(20), depth: dim(16),
    a: { ...DEPTH, elementGuard: true, rowGuard: true }, b: { ...PLAIN, elementGuard: true },
  },
];

function contractionCase(form: ContractionForm, B: number): ContractionCase {
  const { name, batches = dim(1), rows, cols, depth, a = DEPTH, b = DEPTH } = form;
  const at = (d: Dim): number => evalDim(d, B);
  const x = operand("t0", a, [at(batches), at(rows), at(depth)], 1);
  const y = operand("t1", b, [at(batches), at(cols), at(depth)], 2);
  const spec: ContractionSpec = {
    batches: extent(batches), rows: extent(rows), cols: extent(cols), depth: extent(depth), a: x.operand, b: y.operand,
    epilogue: storeAt(extent(rows), extent(cols).wgsl),
  };
  return { name, spec, sources: [x, y], B };
}

interface AttentionForm {
  readonly name: string;
  readonly queries: Dim;
  readonly keys: Dim;
  readonly width: number;
  readonly valueWidth: number;
  readonly q?: Form;
  readonly k?: Form;
  readonly v?: Form;
  readonly logSumExp?: boolean;
}

const ATTENTIONS: readonly AttentionForm[] = [
  { name: "self", queries: dim(37), keys: dim(37), width: 64, valueWidth: 64 },
  { name: "exact blocks", queries: dim(64), keys: dim(64), width: 32, valueWidth: 32, logSumExp: true },
  { name: "wide heads", queries: dim(18), keys: dim(35), width: 80, valueWidth: 80 },
  { name: "unequal widths", queries: dim(9), keys: dim(13), width: 8, valueWidth: 20 },
  {
    name: "odd widths", queries: dim(11), keys: dim(7), width: 6, valueWidth: 5,
    q: PLAIN, k: PLAIN, v: PLAIN, logSumExp: true,
  },
  { name: "narrow", queries: dim(5), keys: dim(5), width: 3, valueWidth: 3, q: PLAIN, k: PLAIN, v: PLAIN },
  { name: "class token", queries: dim(1), keys: dim(50), width: 48, valueWidth: 48, logSumExp: true },
  { name: "by the batch", queries: { b: 6, c: 1 }, keys: { b: 17, c: 2 }, width: 16, valueWidth: 16 },
  { name: "transposed keys", queries: dim(13), keys: dim(44), width: 12, valueWidth: 8, k: ROW },
  { name: "transposed values", queries: dim(13), keys: dim(44), width: 12, valueWidth: 7, v: ROW },
  { name: "transposed queries", queries: dim(20), keys: dim(21), width: 10, valueWidth: 8, q: ROW, k: PLAIN },
  {
    name: "guards", queries: dim(17), keys: dim(19), width: 8, valueWidth: 8,
    q: { ...DEPTH, rowGuard: true }, k: { ...PLAIN, elementGuard: true },
    v: { ...DEPTH, mixed: true, rowGuard: true },
  },
];

function attentionCase(form: AttentionForm, B: number): AttentionCase {
  const { name, width, valueWidth, q = DEPTH, k = DEPTH, v = DEPTH, logSumExp } = form;
  const batches: Dim = { b: 2, c: 0 };
  const [z, m, n] = [evalDim(batches, B), evalDim(form.queries, B), evalDim(form.keys, B)];
  const sources = [
    operand("t0", q, [z, m, width], 3), operand("t1", k, [z, n, width], 4), operand("t2", v, [z, n, valueWidth], 5),
  ] as const;
  for (const s of sources.slice(0, 2)) for (let i = 0; i < s.data.length; i++) s.data[i] = (s.data[i] ?? NaN) * 4;
  const queries = extent(form.queries);
  const statistics: AttentionSpec["logSumExp"] = ({ row, batch, value }) =>
    `statistics[${batch} * ${queries.wgsl} + ${row}] = ${value};`;
  const spec: AttentionSpec = {
    batches: extent(batches), queries, keys: extent(form.keys), width, valueWidth, scale: width ** -0.5,
    q: sources[0].operand, k: sources[1].operand, v: sources[2].operand, epilogue: storeAt(queries, String(valueWidth)),
    ...(logSumExp ? { logSumExp: statistics } : {}),
  };
  return { name, spec, sources, B };
}

interface Family {
  readonly name: string;
  readonly contraction: Template<ContractionSpec>;
  readonly attention: Template<AttentionSpec>;
  runsOn(device: Device): boolean;
}
const FAMILIES: readonly Family[] = [
  { name: "scalar", contraction: contractionScalar, attention: attentionScalar, runsOn: (d) => lanes(d) >= 4 },
  { name: "wide", contraction: contractionWide, attention: attentionWide, runsOn: (d) => lanes(d) >= 8 },
  { name: "tiled", contraction: contractionTiled, attention: attentionTiled, runsOn: () => true },
];

/** Expected elements of a contraction, [batch, row, col]. */
function expectedProducts(c: ContractionCase): number[] {
  const [z, m, n] = [c.spec.batches, c.spec.rows, c.spec.cols].map((e) => evalDim(e.dim, c.B));
  return Array.from({ length: (z ?? 0) * (m ?? 0) * (n ?? 0) }, (_, i) => {
    const [col, row] = [i % (n ?? 1), Math.floor(i / (n ?? 1))];
    return contractionReference(c, Math.floor(row / (m ?? 1)), row % (m ?? 1), col);
  });
}

let checked: Device;
/** For tiled kernels: a software adapter compiles their checked accesses eight times as long. The full run waits. */
let unchecked: Device;
test.before(async () => {
  [checked, unchecked] = [await openDevice({ checked: true }), await openDevice()];
});
test.after.always(() => [checked, unchecked].forEach((one) => one?.destroy()));
const deviceOf = ({ name }: Family): Device => (name === "tiled" && !FULL ? unchecked : checked);

for (const family of FAMILIES) {
  for (const form of CONTRACTIONS) {
    test.serial(`${family.name} contraction: ${form.name}`, async (t) => {
      const device = deviceOf(family);
      if (!family.runsOn(device)) return void t.pass("needs other lanes");
      for (const B of batchesOf([form.batches, form.rows, form.cols, form.depth])) {
        const c = contractionCase(form, B);
        const want = expectedProducts(c);
        const outputs = [{ name: "result", size: want.length }];
        const [got] = await results(device, family.contraction(c.spec), inputsOf(c.sources), outputs, B);
        const error = errorOf(got ?? new Float32Array(), want);
        t.true(error < TOLERANCE, `B = ${B}: error ${error}`);
      }
    });
  }
  for (const form of ATTENTIONS) {
    test.serial(`${family.name} attention: ${form.name}`, async (t) => {
      const device = deviceOf(family);
      if (!family.runsOn(device)) return void t.pass("needs other lanes");
      for (const B of batchesOf([form.queries, form.keys])) {
        const c = attentionCase(form, B);
        const [z, m] = [evalDim(c.spec.batches.dim, B), evalDim(c.spec.queries.dim, B)];
        const rows = Array.from({ length: z * m }, (_, i) => attentionReference(c, Math.floor(i / m), i % m));
        const outputs = [{ name: "result", size: z * m * form.valueWidth }];
        if (form.logSumExp) outputs.push({ name: "statistics", size: z * m });
        const [got, statistics] = await results(device, family.attention(c.spec), inputsOf(c.sources), outputs, B);
        const error = errorOf(got ?? new Float32Array(), rows.flatMap((r) => r.row));
        t.true(error < TOLERANCE, `B = ${B}: error ${error}`);
        if (!form.logSumExp) continue;
        const off = errorOf(statistics ?? new Float32Array(), rows.map((r) => r.logSumExp));
        t.true(off < TOLERANCE, `B = ${B}: log-sum-exp off by ${off}`);
      }
    });
  }
}

test("every kernel fits what every device offers, and Dawn accepts it without one", async (t) => {
  const none = await openDevice({ adapter: "null", checked: true });
  try {
    for (const family of FAMILIES) {
      const kernels = [
        ...CONTRACTIONS.map((f) => contractionCase(f, 1)).map((c) =>
          [family.contraction(c.spec), c.sources, ["result"]] as const),
        ...ATTENTIONS.map((f) => attentionCase(f, 1)).map((c) =>
          [family.attention(c.spec), c.sources, c.spec.logSumExp ? ["result", "statistics"] : ["result"]] as const),
      ];
      for (const [kernel, sources, names] of kernels) {
        t.true(kernel.workgroupSize <= 256);
        const bytes = [...kernel.declarations.matchAll(/var<workgroup> \w+: array<(\w+), (\d+)>/g)]
          .reduce((sum, [, type, count]) => sum + (type === "vec4f" ? 16 : 4) * Number(count), 0);
        t.true(bytes <= 16384, `${bytes} bytes of workgroup memory`);
        const prepared = await none.scoped("a kernel", () =>
          Prepared.make(none, kernel, inputsOf(sources), names.map((name) => ({ name, size: 4 })), 1));
        (await prepared).destroy();
      }
    }
  } finally {
    none.destroy();
  }
});
