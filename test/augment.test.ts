import { readFileSync } from "node:fs";
import test from "ava";
import { InputError } from "../runtime/errors.js";
import type { Pixels } from "../runtime/image/resize.js";
import { augment, sortAugmentations, type Augmentation } from "../runtime/train/augment.js";
import { Draws, repeatOrder } from "../runtime/train/draws.js";
import { eraseBoxes } from "../runtime/train/erase.js";
import { cutBox, drawMix, mixImages, softTargets } from "../runtime/train/mix.js";
import { randAugmentOps } from "../runtime/train/rand_augment.js";
import {
  adjustBrightness, adjustColor, adjustContrast, gaussianBlur, grayscale, solarize,
} from "../runtime/train/recolor.js";
import { memoryAccess } from "../runtime/weights/access.js";
import { readSafetensors } from "../runtime/weights/safetensors.js";
import { generated, goldenFile, goldenIndex, goldenTest, maxAbs } from "./golden.js";

const half = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] } as const;
const range = (length: number, from = 0): number[] => Array.from({ length }, (_, i) => from + i);

async function tensors(path: string): Promise<Map<string, { shape: readonly number[]; bytes: Uint8Array }>> {
  const file = await readSafetensors(memoryAccess(path, readFileSync(path)));
  const all = new Map<string, { shape: readonly number[]; bytes: Uint8Array }>();
  for (const { name: key, shape, read } of file.tensors) all.set(key, { shape, bytes: await read() });
  return all;
}
const floats = (bytes: Uint8Array | undefined): Float32Array => new Float32Array(Uint8Array.from(bytes ?? []).buffer);

interface SamplerCase {
  /** 1000 where it is not said, and shuffled. */
  readonly dataset?: number;
  readonly epoch?: number;
  readonly replicas: number;
  readonly rank: number;
  readonly indices: readonly number[];
}

test("repeated augmentation deals indices as the official sampler", (t) => {
  const { repeats, permutation_by_epoch: permutations, cases } = goldenIndex<{
    repeats: number; permutation_by_epoch: Record<string, number[]>; cases: SamplerCase[];
  }>("augment/rasampler.json");
  let compared = 0;
  for (const one of cases) {
    const order = one.dataset === undefined ? permutations[String(one.epoch)] ?? [] : range(one.dataset);
    const got = [...repeatOrder(Uint32Array.from(order), repeats, one.replicas, one.rank)];
    // Under 256 images the official sampler yields nothing; ours a plain epoch.
    if (order.length < 256) t.is(got.length, order.length);
    else t.deepEqual(got, [...one.indices]);
    compared += order.length < 256 ? 0 : 1;
  }
  t.is(compared, 10);
});

const randAugmented = { file: goldenFile("augment/randaugment.safetensors") };
goldenTest("RandAugment, blur, grey, solarize and jitter give Pillow's pixels", randAugmented, async (t, { file }) => {
  const all = await tensors(file);
  const info = goldenIndex<{
    op_list: string[]; levels: number[]; argument_at_level: Record<string, number[]>;
    fill_rgb: [number, number, number];
    outputs: { key: string; op: string; magnitude: number; negated: boolean }[];
  }>("augment/randaugment.json");
  const ops = randAugmentOps(true);
  t.deepEqual(ops.map(({ name }) => name), info.op_list);
  for (const [name, list] of Object.entries(info.argument_at_level)) {
    const op = ops.find((one) => one.name === name);
    list.forEach((want, at) => {
      const got = op?.argument(info.levels[at] ?? 0, false) ?? Number.NaN;
      t.true(Math.abs(got - want) <= 1e-12 * Math.max(1, Math.abs(want)), `${name} at ${info.levels[at]}: ${got}`);
    });
  }
  const source: Pixels = { data: all.get("source")?.bytes ?? new Uint8Array(), width: 64, height: 64 };
  const same = (key: string, got: Pixels): void => {
    t.is(maxAbs(got.data, all.get(key)?.bytes ?? []), 0, key);
  };
  for (const { key, op: name, magnitude, negated } of info.outputs) {
    const op = ops.find((one) => one.name === name);
    if (op === undefined) return t.fail(name);
    same(key, op.apply(source, op.argument(magnitude, negated), info.fill_rgb));
  }
  t.is(info.outputs.length, 39);
  for (const radius of [0.3, 1, 1.9]) same(`GaussianBlur.r${radius}`, gaussianBlur(source, radius));
  same("Solarize128", solarize(source, 128));
  same("Grayscale3", grayscale(source));
  same("adjust_brightness.0.7", adjustBrightness(source, 0.7));
  same("adjust_contrast.1.3", adjustContrast(source, 1.3));
  same("adjust_saturation.0.75", adjustColor(source, 0.75));
  return undefined;
});

interface MixCase {
  readonly name: string;
  readonly cutmix: boolean;
  readonly lam_drawn: number;
  readonly centre_yx: readonly [number, number] | null;
  readonly lam_used: number;
  readonly smoothing: number;
}

goldenTest("mixup and cutmix are timm's", { file: goldenFile("augment/mixup.safetensors") }, async (t, { file }) => {
  const all = await tensors(file);
  const info = goldenIndex<{ input: string; labels: number[]; classes: number; cases: MixCase[] }>(
    "augment/mixup.json",
  );
  for (const { name, cutmix, lam_drawn: drawn, centre_yx: centre, lam_used: used, smoothing } of info.cases) {
    const images = generated(info.input, 4 * 3 * 256, 0, 1);
    const mix = cutmix ? cutBox(drawn, 16, centre?.[0] ?? 0, centre?.[1] ?? 0) : { share: drawn };
    t.is(mix.share, used, name);
    mixImages(images, 4, 16, mix);
    t.true(maxAbs(images, floats(all.get(`${name}.x`)?.bytes)) <= 1.2e-7, name);
    const targets = softTargets(Int32Array.from(info.labels), info.classes, smoothing, mix.share);
    t.true(maxAbs(targets, floats(all.get(`${name}.target`)?.bytes)) <= 6e-8, name);
  }
  t.is(info.cases.length, 7);
  t.throws(() => mixImages(new Float32Array(3 * 768), 3, 16, { share: 0.5 }), { instanceOf: InputError });
});

test("random erasing takes the official boxes", (t) => {
  const { cases } = goldenIndex<{ cases: {
    height: number; width: number; max_count: number; probability: number; draws: number[]; erased_pixels: number;
    bounding_box_top_left_bottom_right: readonly [number, number, number, number] | null;
  }[] }>("augment/random_erasing.json");
  for (const one of cases) {
    let at = 0;
    const boxes = eraseBoxes(one.height, one.width, { probability: one.probability, count: one.max_count }, () => {
      return one.draws[at++] ?? Number.NaN;
    });
    t.is(at, one.draws.length);
    const erased = new Set(boxes.flatMap(({ top, left, width, height }) =>
      range(height, top).flatMap((y) => range(width, left).map((x) => y * one.width + x))));
    t.is(erased.size, one.erased_pixels);
    const edge = (pick: "min" | "max", value: (box: (typeof boxes)[number]) => number): number =>
      Math[pick](...boxes.map(value));
    t.deepEqual([
      edge("min", (b) => b.top), edge("min", (b) => b.left), edge("max", (b) => b.top + b.height),
      edge("max", (b) => b.left + b.width),
    ], [...one.bounding_box_top_left_bottom_right ?? []]);
  }
  t.is(cases.length, 24);
});

test("draws have the distributions they are named for", (t) => {
  const list = (make: (draws: Draws) => number): number[] =>
    range(4000).map((position) => make(new Draws({ seed: 2, stream: 3, step: 0 }, position)));
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const spread = (values: readonly number[]): number => mean(values.map((v) => (v - mean(values)) ** 2));
  for (const alpha of [0.2, 0.8, 1, 3]) {
    const beta = list((draws) => draws.beta(alpha));
    t.true(Math.abs(mean(beta) - 0.5) < 0.02, `mean of Beta(${alpha})`);
    t.true(Math.abs(spread(beta) - 1 / (4 * (2 * alpha + 1))) < 0.008, `variance of Beta(${alpha})`);
  }
  t.true(Math.abs(spread(list((draws) => draws.normal())) - 1) < 0.07);
  const kinds = list((draws) => {
    const mix = drawMix({ mixup: 0.8, cutmix: 1, probability: 0.5, switch: 0.5 }, 32, draws);
    return mix === undefined ? 0 : mix.box === undefined ? 1 : 2;
  });
  for (const [kind, want] of [[0, 2000], [1, 1000], [2, 1000]] as const) {
    t.true(Math.abs(kinds.filter((one) => one === kind).length - want) < 120, `kind ${kind}`);
  }
});

const grid: Pixels = { data: Uint8Array.from({ length: 12 * 10 * 3 }, (_, i) => (i * 7) % 251), width: 12, height: 10 };

/** What steps make of the grid, as bytes: normalization is undone. */
function stepped(pixels: readonly Augmentation[], size: number, position = 0): number[] {
  const target = new Float32Array(3 * size * size);
  const draws = new Draws({ seed: 1, stream: 1, step: 1 }, position);
  augment(grid, { pixels, numbers: [], mean: [0, 0, 0], std: [1, 1, 1], size }, draws, target);
  return [...target].map((value) => Math.round(value * 255));
}

test("crops and flips move the right pixels", (t) => {
  const plane = (image: Pixels, left: number, top: number, size: number, across = false): number[] =>
    [0, 1, 2].flatMap((c) => range(size).flatMap((y) => range(size).map((x) => {
      const column = left + (across ? size - 1 - x : x);
      const inside = column >= 0 && column < image.width && top + y >= 0 && top + y < image.height;
      return inside ? image.data[((top + y) * image.width + column) * 3 + c] ?? 0 : 0;
    })));
  t.deepEqual(stepped([{ kind: "center_crop", size: 8 }], 8), plane(grid, 2, 1, 8));
  const flip: Augmentation = { kind: "horizontal_flip", probability: 1 };
  t.deepEqual(stepped([{ kind: "center_crop", size: 8 }, flip], 8), plane(grid, 2, 1, 8, true));
  const seen = new Set<string>();
  for (let position = 0; position < 60; position++) {
    const got = stepped([{ kind: "random_crop", size: 10, pad: 2, mode: "constant" }], 10, position).join();
    const places = range(7, -2).flatMap((left) => range(5, -2).map((top) => plane(grid, left, top, 10).join()));
    t.true(places.includes(got));
    seen.add(got);
  }
  t.true(seen.size > 20);
  // Reflection repeats no edge pixel.
  const rows = range(20, 0).map((position) =>
    stepped([{ kind: "random_crop", size: 12, pad: 1, mode: "reflect" }], 12, position).slice(0, 12 * 12));
  t.true(rows.some((row) => row.slice(0, 12).join() === row.slice(24, 36).join()));
  t.throws(() => stepped([{ kind: "random_crop", size: 32, pad: 1, mode: "constant" }], 32), {
    message: /does not fit/u,
  });
  t.throws(() => stepped([], 8), { instanceOf: InputError, message: /12 × 10 pixels/u });
});

test("solarize and gaussian_blur change as many images as they say, as Pillow's operations do", (t) => {
  const plain = (image: Pixels): string => range(3).flatMap((c) => range(100).map((i) => image.data[3 * i + c])).join();
  const square: Pixels = { data: grid.data.slice(0, 100 * 3), width: 10, height: 10 };
  const made = (step: Augmentation, position: number): string => {
    const target = new Float32Array(300);
    augment(square, { pixels: [step], numbers: [], mean: [0, 0, 0], std: [1, 1, 1], size: 10 },
      new Draws({ seed: 1, stream: 1, step: 1 }, position), target);
    return [...target].map((value) => Math.round(value * 255)).join();
  };
  for (const threshold of [0, 100, 256]) {
    t.is(made({ kind: "solarize", threshold, probability: 1 }, 0), plain(solarize(square, threshold)), String(threshold));
  }
  t.is(made({ kind: "solarize", threshold: 256, probability: 1 }, 0), plain(square));
  t.is(made({ kind: "gaussian_blur", sigma: [1.5, 1.5], probability: 1 }, 0), plain(gaussianBlur(square, 1.5)));
  t.true(new Set(range(20).map((at) => made({ kind: "gaussian_blur", sigma: [1, 2], probability: 1 }, at))).size > 15);
  const rare: readonly Augmentation[] =
    [{ kind: "solarize", threshold: 50, probability: 0.3 }, { kind: "gaussian_blur", sigma: [1, 2], probability: 0.3 }];
  for (const step of rare) {
    const changed = range(400).filter((at) => made(step, at) !== plain(square)).length;
    t.true(Math.abs(changed - 120) < 40, `${step.kind} changed ${changed} of 400`); // four standard deviations
  }
});

test("a random resized crop has the size asked for, also where no crop fits", (t) => {
  const step = { kind: "random_resized_crop", size: 6, interpolation: "bicubic", ratio: [0.75, 4 / 3] } as const;
  const seen = new Set(range(20).map((p) => stepped([{ ...step, scale: [0.08, 1] }], 6, p).join()));
  t.true(seen.size > 12, String(seen.size));
  t.is(new Set(range(20).map((p) => stepped([{ ...step, scale: [4, 5] }], 6, p).join())).size, 1);
});

test("an augment list is sorted, and nonsense refused", (t) => {
  const sorted = sortAugmentations([
    { kind: "repeat", times: 3 }, { kind: "horizontal_flip", probability: 0.5 }, { kind: "normalize", ...half },
    { kind: "random_erase", probability: 0.25, mode: "pixel", count: 1 },
    { kind: "mixup", alpha: 0.8, probability: 1, switch: 0.5 }, { kind: "label_smoothing", amount: 0.1 },
  ]);
  t.deepEqual([sorted.pixels.length, sorted.numbers.length, sorted.repeat, sorted.smoothing], [1, 1, 3, 0.1]);
  t.deepEqual(sorted.mix, { mixup: 0.8, cutmix: 0, probability: 1, switch: 0.5 });
  t.throws(() => sortAugmentations([{ kind: "normalize", ...half }, { kind: "horizontal_flip", probability: 1 }]), {
    instanceOf: InputError,
  });
});
