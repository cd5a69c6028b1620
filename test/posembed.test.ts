import test from "ava";
import type { ParameterInfo } from "../runtime/manifest.js";
import { memoryAccess } from "../runtime/weights/access.js";
import { openCheckpoint } from "../runtime/weights/checkpoint.js";
import { matchWeights } from "../runtime/weights/match.js";
import { gridsOf, resamplePositionEmbedding, type ResampleRule } from "../runtime/weights/posembed.js";
import { encodeSafetensors } from "../runtime/weights/safetensors.js";
import { generated, goldenFile, goldenIndex, goldenTest, maxAbs, readGolden } from "./golden.js";

interface Case {
  readonly key: string;
  readonly input: string;
  readonly input_shape: readonly number[];
  readonly old: number;
  readonly new: number;
  readonly extra_tokens: number;
  readonly output_shape: readonly number[];
}

const { cases } = goldenIndex<{ readonly cases: readonly Case[] }>("posembed.json");
const needs = { file: goldenFile("posembed.safetensors") };
const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const valuesOf = ({ input, input_shape: shape }: Case): Float32Array => generated(input, sizeOf(shape), 0, 1);

// As the goldens' README has it; plain float32 rounding of torch's own run is 1.9e-6.
const TOLERANCE = 1e-5;

for (const one of cases) {
  goldenTest(`${one.key} is as torch makes it`, needs, (t, { file }) => {
    const stored = readGolden(file);
    const made = (rule: ResampleRule): Float32Array =>
      resamplePositionEmbedding(valuesOf(one), { prefix: one.extra_tokens, from: one.old, to: one.new }, rule);
    t.true(maxAbs(made("official"), stored.get(one.key)?.data ?? []) < TOLERANCE);
    // Of the antialiased results only some are given.
    const smooth = stored.get(`${one.key}.antialias`);
    if (smooth) t.true(maxAbs(made("antialias"), smooth.data) < TOLERANCE);
  });
}

goldenTest("every position embedding of the goldens belongs to a case", needs, (t, { file }) => {
  const names = [...readGolden(file).keys()];
  const known = new Set(cases.flatMap(({ key }) => [key, `${key}.antialias`]));
  t.deepEqual(names.filter((name) => !known.has(name)), []);
  t.is(names.filter((name) => !name.endsWith(".antialias")).length, cases.length);
  t.true(names.length > cases.length);
});

test("the one-dimensional check values hold", (t) => {
  const square = Float32Array.from({ length: 16 }, (_, i) => [1, 2, 4, 8][i % 4] ?? 0);
  const row = (rule: ResampleRule): Float32Array => (
    resamplePositionEmbedding(square, { prefix: 0, from: 4, to: 6 }, rule).subarray(0, 6)
  );
  t.true(maxAbs(row("official"), Float32Array.of(0.9131944, 1.3125, 2.3043981, 3.3831019, 6.1875, 8.3472222)) < 1e-6);
  const antialiased = Float32Array.of(0.9342105, 1.3529412, 2.2523148, 3.5393519, 6.2352941, 8.2631579);
  t.true(maxAbs(row("antialias"), antialiased) < 1e-6);
});

test("the prefix is found from the two counts", (t) => {
  t.deepEqual(gridsOf(197, 577), { prefix: 1, from: 14, to: 24 });
  t.deepEqual(gridsOf(198, 578), { prefix: 2, from: 14, to: 24 });
  t.deepEqual(gridsOf(196, 576), { prefix: 0, from: 14, to: 24 });
  t.is(gridsOf(197, 578), undefined);
});

const resampled = "a checkpoint of another grid is resampled with a note, and only where it may be";
goldenTest(resampled, needs, async (t, { file }) => {
  const found = cases.find(({ key }) => key === "14_to_24_extra1");
  if (!found) return t.fail("the index has the case");
  const data = valuesOf(found);
  const chunks = encodeSafetensors([{ name: "pos_embed", shape: [1, 197, 8], data }]);
  const checkpoint = await openCheckpoint(memoryAccess("p", new Uint8Array(Buffer.concat(chunks))));
  const parameter = (shape: readonly number[]): ParameterInfo => (
    { path: "pos_embed", shape, trained: true, decay: false, initializer: { kind: "zeros" } }
  );
  const { sources, notes } = matchWeights(checkpoint, [parameter([1, 577, 8])]);
  const expected = readGolden(file).get(found.key)?.data ?? [];
  t.true(maxAbs(await sources[0]?.load() ?? new Float32Array(1), expected) < TOLERANCE);
  t.deepEqual(notes, ["'pos_embed' is resampled from 14 × 14 to 24 × 24 patches (bicubic, a = -0.75)"]);
  t.throws(() => matchWeights(checkpoint, [parameter([1, 578, 8])]), { message: /with a different shape/u });
  t.throws(() => matchWeights(checkpoint, [parameter([1, 577, 16])]), { message: /with a different shape/u });
  return undefined;
});
