import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import type { ParameterInfo } from "../runtime/manifest.js";
import { memoryAccess } from "../runtime/weights/access.js";
import { openCheckpoint } from "../runtime/weights/checkpoint.js";
import { toFloat32 } from "../runtime/weights/dtype.js";
import { matchWeights } from "../runtime/weights/match.js";
import { gridsOf, resamplePositionEmbedding, type ResampleRule } from "../runtime/weights/posembed.js";
import { encodeSafetensors, readSafetensors, type Safetensors } from "../runtime/weights/safetensors.js";

const fixtures = join(process.env["DEITC_SHARED"] ?? "../shared", "fixtures");

interface Case {
  readonly key: string;
  readonly input: string;
  readonly input_shape: readonly number[];
  readonly old: number;
  readonly new: number;
  readonly extra_tokens: number;
  readonly output_shape: readonly number[];
}

// The fixture's own description of itself.
const { cases } = JSON.parse(readFileSync(join(fixtures, "posembed.json"), "utf8")) as { readonly cases: Case[] };
const bytes = new Uint8Array(readFileSync(join(fixtures, "posembed.safetensors")));
const stored: Promise<Safetensors> = readSafetensors(memoryAccess("posembed.safetensors", bytes));
/** Of the antialiased results only some are given; the names of all stand in the file's beginning. */
const header = new TextDecoder().decode(bytes.subarray(0, 4096));

async function golden(name: string): Promise<Float32Array | undefined> {
  const found = (await stored).tensors.find((tensor) => tensor.name === name);
  return found && toFloat32(found.dtype, await found.read());
}

/** The generator of the fixtures' README. */
function generated(name: string, count: number): Float32Array {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return Float32Array.from({ length: count }, (_, index) => {
    let h = (hash + Math.imul(index, 0x9e3779b9)) >>> 0;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return ((h ^ (h >>> 16)) >>> 8) / 8388608 - 1;
  });
}

function distance(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) return Infinity;
  return actual.reduce((greatest, value, i) => Math.max(greatest, Math.abs(value - (expected[i] ?? NaN))), 0);
}

// The fixture's suggested bound; plain float32 rounding of torch's own run is 1.9e-6.
const TOLERANCE = 1e-5;

for (const { key, input, input_shape: inputShape, old, new: to, extra_tokens: prefix } of cases) {
  const rules: readonly (readonly [ResampleRule, string])[] = [["official", key], ["antialias", `${key}.antialias`]];
  for (const [rule, name] of rules) {
    if (!header.includes(`"${name}"`)) continue;
    test(`${name} is as torch makes it`, async (t) => {
      const expected = await golden(name);
      const values = generated(input, inputShape.reduce((a, b) => a * b, 1));
      const actual = resamplePositionEmbedding(values, { prefix, from: old, to }, rule);
      t.true(distance(actual, expected ?? new Float32Array(0)) < TOLERANCE);
    });
  }
}

test("every result in the fixture was compared", async (t) => {
  const names = new Set(cases.flatMap(({ key }) => [key, `${key}.antialias`]));
  const { tensors } = await stored;
  t.true(tensors.every(({ name }) => names.has(name) && header.includes(`"${name}"`)));
  t.is(tensors.filter(({ name }) => !name.endsWith(".antialias")).length, cases.length);
  t.true(tensors.length > cases.length);
});

test("the one-dimensional check values hold", (t) => {
  const square = Float32Array.from({ length: 16 }, (_, i) => [1, 2, 4, 8][i % 4] ?? 0);
  const row = (rule: ResampleRule): Float32Array => (
    resamplePositionEmbedding(square, { prefix: 0, from: 4, to: 6 }, rule).subarray(0, 6)
  );
  t.true(distance(row("official"), Float32Array.of(0.9131944, 1.3125, 2.3043981, 3.3831019, 6.1875, 8.3472222)) < 1e-6);
  const antialiased = Float32Array.of(0.9342105, 1.3529412, 2.2523148, 3.5393519, 6.2352941, 8.2631579);
  t.true(distance(row("antialias"), antialiased) < 1e-6);
});

test("the prefix is found from the two counts", (t) => {
  t.deepEqual(gridsOf(197, 577), { prefix: 1, from: 14, to: 24 });
  t.deepEqual(gridsOf(198, 578), { prefix: 2, from: 14, to: 24 });
  t.deepEqual(gridsOf(196, 576), { prefix: 0, from: 14, to: 24 });
  t.is(gridsOf(197, 578), undefined);
});

test("a checkpoint of another grid is resampled, said aloud, and only where it may be", async (t) => {
  const found = cases.find(({ key }) => key === "14_to_24_extra1");
  const data = generated(found?.input ?? "", 197 * 8);
  const chunks = encodeSafetensors([{ name: "pos_embed", shape: [1, 197, 8], data }]);
  const checkpoint = await openCheckpoint(memoryAccess("p", new Uint8Array(Buffer.concat(chunks))));
  const parameter = (shape: readonly number[]): ParameterInfo => (
    { path: "pos_embed", shape, trained: true, decay: false, initializer: { kind: "zeros" } }
  );
  const { sources, notes } = matchWeights(checkpoint, [parameter([1, 577, 8])]);
  const expected = await golden("14_to_24_extra1");
  t.true(distance(await sources[0]?.load() ?? new Float32Array(0), expected ?? new Float32Array(1)) < TOLERANCE);
  t.deepEqual(notes, ["'pos_embed' is resampled from 14 × 14 to 24 × 24 patches (bicubic, a = -0.75)"]);
  t.throws(() => matchWeights(checkpoint, [parameter([1, 578, 8])]), { message: /of another shape/u });
  t.throws(() => matchWeights(checkpoint, [parameter([1, 577, 16])]), { message: /of another shape/u });
});
