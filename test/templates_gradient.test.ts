/**
 * The hand-tuned kernels of attention's gradients of every family against float64: all operand forms, odd extents,
 * parts and batches, with validation and bounds checks on. What a guard hides is NaN in memory, so is what lies around
 * the operands and the statistics, and results start as NaN.
 */
import test from "ava";
import { dim, evalDim, type Dim } from "../compiler/ir/dim.js";
import { attentionGradientScalar, attentionGradientWide } from "../compiler/targets/attention_gradient_scalar.js";
import { attentionGradientTiled } from "../compiler/targets/attention_gradient_tiled.js";
import type { AttentionGradientSpec, Template } from "../compiler/targets/template.js";
import type { Device } from "../runtime/device.js";
import { openDevice } from "../runtime/node/adapters.js";
import {
  batchesOf, DEPTH, extent, gradientCase, gradientReference, operand, PLAIN, ROW, type Form, type GradientCase,
} from "./bench/kernels/cases.js";
import { errorOf, inputsOf, lanes, Prepared, results } from "./bench/kernels/execute.js";
import { FULL } from "./golden.js";

/** Greatest error, as a share of the greatest value of a part. */
const TOLERANCE = 4e-6;

interface GradientForm {
  readonly name: string;
  readonly queries: Dim;
  readonly keys?: Dim;
  readonly width: number;
  readonly parts?: AttentionGradientSpec["parts"];
  readonly q?: Form;
  readonly k?: Form;
  readonly v?: Form;
  readonly dy?: Form;
}

const FORMS: readonly GradientForm[] = [
  { name: "self", queries: dim(37), width: 64 },
  { name: "exact blocks", queries: dim(64), width: 32 },
  { name: "few", queries: dim(3), width: 16 },
  { name: "two", queries: dim(2), width: 8 },
  { name: "width 24", queries: dim(21), width: 24 },
  { name: "width 80", queries: dim(17), width: 80 },
  { name: "odd width", queries: dim(19), width: 5, q: PLAIN, k: PLAIN, v: PLAIN, dy: PLAIN },
  { name: "plain, as wide as the lanes", queries: dim(18), width: 32, q: PLAIN, k: PLAIN, v: PLAIN, dy: PLAIN },
  { name: "by the batch", queries: { b: 6, c: 1 }, width: 16 },
  { name: "queries alone", queries: dim(13), keys: dim(45), width: 64, parts: "queries" },
  { name: "keys alone", queries: dim(13), keys: dim(45), width: 64, parts: "keys" },
  { name: "class token, queries", queries: dim(1), keys: dim(50), width: 48, parts: "queries" },
  { name: "class token, keys", queries: dim(1), keys: dim(50), width: 48, parts: "keys" },
  { name: "queries by the batch", queries: { b: 6, c: 1 }, keys: { b: 17, c: 2 }, width: 16, parts: "queries" },
  { name: "keys by the batch", queries: { b: 16, c: 0 }, keys: { b: 9, c: 3 }, width: 12, parts: "keys" },
  { name: "transposed queries and values", queries: dim(20), width: 12, q: ROW, v: ROW },
  { name: "transposed keys and gradient", queries: dim(36), width: 10, q: PLAIN, k: ROW, v: PLAIN, dy: ROW },
  {
    name: "guards", queries: dim(19), width: 8,
    q: { ...DEPTH, rowGuard: true }, k: { ...PLAIN, elementGuard: true }, v: { ...DEPTH, mixed: true, rowGuard: true },
    dy: { ...DEPTH, elementGuard: true },
  },
  {
    name: "guarded rows", queries: dim(24), width: 20,
    q: { ...ROW, rowGuard: true }, k: { ...DEPTH, rowGuard: true, elementGuard: true },
    v: { ...ROW, elementGuard: true, mixed: true }, dy: { ...PLAIN, rowGuard: true, mixed: true },
  },
];

function caseOf(form: GradientForm, B: number): GradientCase {
  const { name, width, queries, keys = queries, parts = "all", ...forms } = form;
  const batches: Dim = { b: 2, c: 0 };
  const [z, m, n] = [evalDim(batches, B), evalDim(queries, B), evalDim(keys, B)];
  const { q = DEPTH, k = DEPTH, v = DEPTH, dy = DEPTH } = forms;
  const operands = [
    operand("t0", q, [z, m, width], 3), operand("t1", k, [z, n, width], 4), operand("t2", v, [z, n, width], 5),
    operand("t3", dy, [z, m, width], 6),
  ] as const;
  for (const s of operands.slice(0, 2)) for (let i = 0; i < s.data.length; i++) s.data[i] = (s.data[i] ?? NaN) * 4;
  return gradientCase(name, { batches: extent(batches), queries: extent(queries), keys: extent(keys), width, parts },
    operands, B);
}

/** The parts as the kernel stores them: one after another, batches outermost. */
function expected(c: GradientCase): readonly (readonly number[])[] {
  const z = evalDim(c.spec.batches.dim, c.B);
  const batches = Array.from({ length: z }, (_, batch) => gradientReference(c, batch));
  const all = [0, 1, 2].map((part) => batches.flatMap((parts) => parts[part] ?? []));
  return c.spec.parts === "all" ? all : c.spec.parts === "queries" ? all.slice(0, 1) : all.slice(1);
}

interface Family {
  readonly name: string;
  readonly gradient: Template<AttentionGradientSpec>;
  runsOn(device: Device): boolean;
}
const FAMILIES: readonly Family[] = [
  { name: "scalar", gradient: attentionGradientScalar, runsOn: (d) => lanes(d) >= 4 },
  { name: "wide", gradient: attentionGradientWide, runsOn: (d) => lanes(d) >= 8 },
  { name: "tiled", gradient: attentionGradientTiled, runsOn: () => true },
];

let checked: Device;
/** For tiled kernels: a software adapter compiles their checked accesses eight times as long. The full run waits. */
let unchecked: Device;
test.before(async () => {
  [checked, unchecked] = [await openDevice({ checked: true }), await openDevice()];
});
test.after.always(() => [checked, unchecked].forEach((one) => one?.destroy()));
const deviceOf = ({ name }: Family): Device => (name === "tiled" && !FULL ? unchecked : checked);

for (const family of FAMILIES) {
  for (const form of FORMS) {
    test.serial(`${family.name}: ${form.name}`, async (t) => {
      const device = deviceOf(family);
      if (!family.runsOn(device)) return void t.pass("needs other lanes");
      for (const B of batchesOf([form.queries, form.keys])) {
        const c = caseOf(form, B);
        const want = expected(c);
        const outputs = [{ name: "result", size: want.flat().length }];
        const [got] = await results(device, family.gradient(c.spec), inputsOf(c.sources), outputs, B);
        let start = 0;
        for (const [i, part] of want.entries()) {
          const error = errorOf((got ?? new Float32Array()).subarray(start, start + part.length), part);
          t.true(error < TOLERANCE, `B = ${B}: part ${i} of ${want.length} is off by ${error}`);
          start += part.length;
        }
      }
    });
  }
}

test("every kernel fits what every device offers, and Dawn accepts it without one", async (t) => {
  const none = await openDevice({ adapter: "null", checked: true });
  try {
    for (const family of FAMILIES) {
      for (const c of FORMS.map((f) => caseOf(f, 1))) {
        const kernel = family.gradient(c.spec);
        t.true(kernel.workgroupSize <= 256);
        const bytes = [...kernel.declarations.matchAll(/var<workgroup> \w+: array<(\w+), (\d+)>/g)]
          .reduce((sum, [, type, count]) => sum + (type === "vec4f" ? 16 : 4) * Number(count), 0);
        t.true(bytes <= 16384, `${bytes} bytes of workgroup memory`);
        const prepared = await none.scoped("a kernel", () =>
          Prepared.make(none, kernel, inputsOf(c.sources), [{ name: "result", size: 4 }], 1));
        (await prepared).destroy();
      }
    }
  } finally {
    none.destroy();
  }
});
