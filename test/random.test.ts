import test from "ava";
import { InputError } from "../runtime/errors.js";
import { classNames, topK } from "../runtime/labels.js";
import type { Initializer } from "../runtime/manifest.js";
import { normalAt, philox4x32_10, randomWords, streamOf, uniformAt, type Words4 } from "../runtime/random.js";
import { initialize } from "../runtime/weights/initialize.js";

// Source: Random123, kat_vectors, philox4x32 10.
const known: readonly (readonly [Words4, readonly [number, number], Words4])[] = [
  [[0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
];

for (const [counter, key, expected] of known) {
  test(`philox of ${counter.map((word) => word.toString(16)).join(" ")} is as published`, (t) => {
    t.deepEqual(philox4x32_10(counter, key), expected);
  });
}

test("seed, stream, step, block and attempt each make other words", (t) => {
  const base = { seed: 1, stream: 2, step: 3 };
  const words = [
    randomWords(base, 4), randomWords({ ...base, seed: 2 }, 4), randomWords({ ...base, seed: 1 + 2 ** 32 }, 4),
    randomWords({ ...base, stream: 3 }, 4), randomWords({ ...base, step: 4 }, 4), randomWords(base, 5),
    randomWords(base, 4, 1),
  ];
  t.is(new Set(words.map(String)).size, words.length);
  t.deepEqual(randomWords(base, 4), words[0]);
  t.is(streamOf("cls_token"), 0x10388cb9);
});

function moments(values: ArrayLike<number>): { mean: number; std: number; least: number; greatest: number } {
  const list = Array.from(values);
  const mean = list.reduce((a, b) => a + b, 0) / list.length;
  const variance = list.reduce((a, b) => a + (b - mean) ** 2, 0) / list.length;
  return {
    mean, std: Math.sqrt(variance), least: list.reduce((a, b) => Math.min(a, b)),
    greatest: list.reduce((a, b) => Math.max(a, b)),
  };
}

test("uniform and normal draws have their moments", (t) => {
  const key = { seed: 0, stream: 1, step: 0 };
  const count = 40_000;
  const uniform = moments(Array.from({ length: count }, (_, i) => uniformAt(key, i)));
  // Five standard errors of the mean: 5 · 0.289 / 200.
  t.true(Math.abs(uniform.mean - 0.5) < 0.0073 && Math.abs(uniform.std - Math.sqrt(1 / 12)) < 0.005);
  t.true(uniform.least >= 0 && uniform.greatest < 1);
  const normal = moments(Array.from({ length: count }, (_, i) => normalAt(key, i)));
  t.true(Math.abs(normal.mean) < 0.025 && Math.abs(normal.std - 1) < 0.018);
});

function initial(initializer: Initializer, shape = [100, 100], path = "a.weight", seed = 0): Float32Array {
  return initialize({ path, shape, trained: true, decay: true, initializer }, seed);
}

test("initializers draw from their distributions", (t) => {
  t.true(initial({ kind: "zeros" }).every((value) => value === 0));
  t.true(initial({ kind: "ones" }).every((value) => value === 1));
  t.true(initial({ kind: "constant", value: 0.25 }).every((value) => value === 0.25));
  t.deepEqual([...initial({ kind: "values", values: [1, 2] }, [2])], [1, 2]);
  t.throws(() => initial({ kind: "values", values: [1] }, [2]), { instanceOf: InputError });
  const uniform = moments(initial({ kind: "uniform", bound: 0.5 }));
  t.true(uniform.least >= -0.5 && uniform.greatest < 0.5 && Math.abs(uniform.std - 0.5 / Math.sqrt(3)) < 0.01);
  t.true(Math.abs(moments(initial({ kind: "normal", std: 3 })).std - 3) < 0.11);
  t.true(Math.abs(moments(initial({ kind: "trunc_normal", std: 0.02 })).std - 0.02) < 0.0008);
});

// Of N(0, s²) cut at ±2: s · √(1 − 2 a φ(a) / (2 Φ(a) − 1)) with a = 2 / s.
for (const [std, expected] of [[1, 0.8796], [4, 1.1316]] as const) {
  test(`trunc_normal(${std}) is cut at ±2, not at two deviations`, (t) => {
    const values = initial({ kind: "trunc_normal", std });
    const cut = moments(values);
    t.true(cut.least >= -2 && cut.greatest <= 2 && cut.greatest > 1.9);
    t.true(Math.abs(cut.std - expected) < 0.03 && Math.abs(cut.mean) < 0.06);
    t.true(new Set(values).size > 9990);
  });
}

test("initial values depend on seed and path alone", (t) => {
  const normal: Initializer = { kind: "normal", std: 1 };
  t.deepEqual(initial(normal), initial(normal));
  t.deepEqual(initial(normal, [10]), initial(normal).subarray(0, 10).slice());
  t.notDeepEqual(initial(normal, [4]), initial(normal, [4], "b.weight"));
  t.notDeepEqual(initial(normal, [4]), initial(normal, [4], "a.weight", 1));
  t.throws(() => initial(normal, [4], "a", -1), { instanceOf: InputError });
});

test("class names are those of the data sets", (t) => {
  const imagenet = classNames("imagenet");
  t.is(imagenet.length, 1000);
  t.is(imagenet[0], "tench, Tinca tinca");
  t.is(imagenet[999], "toilet tissue, toilet paper, bathroom tissue");
  t.is(new Set(imagenet).size, 999); // "crane" is a bird and a machine
  t.is(classNames("cifar10")[9], "truck");
});

test("topK gives the best classes with softmax scores", (t) => {
  const best = topK(Float32Array.of(1000, 1001, 1000, 999), 3, ["a", "b", "c", "d"]);
  t.deepEqual(best.map(({ index, label }) => [index, label]), [[1, "b"], [0, "a"], [2, "c"]]);
  const sum = 1 + 2 / Math.E + Math.exp(-2);
  t.true(Math.abs((best[0]?.score ?? 0) - 1 / sum) < 1e-12);
  t.is(topK([1, 2], 5).length, 2);
  t.is(topK([1, 2], 1)[0]?.label, "class 1");
  // As many classes as a known data set has do not make them its classes.
  t.is(topK(Float32Array.from({ length: 1000 }, (_, i) => (i === 730 ? 5 : 0)), 1)[0]?.label, "class 730");
  t.is(topK(Float32Array.from({ length: 1000 }, (_, i) => (i === 730 ? 5 : 0)), 1, classNames("imagenet"))[0]?.label,
    "plow, plough");
  t.is(topK([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1, [..."abcdefghij"])[0]?.label, "a");
  t.throws(() => topK([1, NaN], 1), { instanceOf: InputError, message: /logit 1 is NaN/u });
  t.throws(() => topK([], 1), { instanceOf: InputError });
  t.throws(() => topK([1], 0), { instanceOf: InputError });
  t.throws(() => topK([1], 1, ["a", "b"]), { instanceOf: InputError });
});
