import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { crc32, deflateSync, gunzipSync } from "node:zlib";
import test from "ava";
import sharp from "sharp";
import { FileError, ImageError, InputError } from "../runtime/errors.js";
import { crop, resize, type Filter, type Pixels } from "../runtime/image/resize.js";
import { evaluationPixels, normalize, preprocess, roundHalfEven } from "../runtime/image/transform.js";
import { decodeImage, loadImages, readImage } from "../runtime/node/images.js";
import { deitc } from "./cli_process.js";
import { goldenFile, goldenIndex, goldenTest } from "./golden.js";

interface Evaluated {
  readonly sha256: string;
  readonly normalized_nchw: { readonly first64: readonly number[]; readonly l2: number; readonly mean: number };
}

interface Index {
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  readonly images: readonly {
    readonly file: string; readonly width: number; readonly height: number;
    readonly decoded_sha256: string;
    readonly at_224: Evaluated; readonly at_384: Evaluated;
  }[];
  readonly resized_crops: readonly {
    readonly file: string; readonly image: string; readonly interpolation: Filter; readonly size: number;
    readonly left: number; readonly top: number; readonly width: number; readonly height: number;
  }[];
}

const index = goldenIndex<Index>("images.json");
const { mean, std } = index;

function sha256(bytes: Uint8Array | Uint8ClampedArray): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The number of pixels' samples that differ from those in `file`. */
function differences({ data }: Pixels, file: string): number {
  const expected = gunzipSync(readFileSync(file));
  if (data.length !== expected.length) return Infinity;
  return expected.reduce((count, value, i) => count + (value === data[i] ? 0 : 1), 0);
}

for (const image of index.images) {
  const needs = { file: goldenFile(image.file) };
  goldenTest(`${image.file} is decoded, resized and normalized exactly`, needs, async (t, { file }) => {
    const pixels = await readImage(file);
    t.is(pixels.width, image.width);
    t.is(pixels.height, image.height);
    t.is(sha256(pixels.data), image.decoded_sha256);
    for (const [size, side, expected] of [[224, 256, image.at_224], [384, 438, image.at_384]] as const) {
      const evaluated = evaluationPixels(pixels, { size, resize: side });
      t.is(sha256(evaluated.data), expected.sha256);
      const input = preprocess(pixels, { size, resize: side, mean, std });
      t.is(input.length, 3 * size * size);
      t.deepEqual([...input.subarray(0, 64)], expected.normalized_nchw.first64.map(Math.fround));
      const l2 = Math.sqrt(input.reduce((sum, value) => sum + value * value, 0));
      t.true(Math.abs(l2 / expected.normalized_nchw.l2 - 1) < 1e-6);
    }
  });
}

for (const box of index.resized_crops) {
  const needs = { source: goldenFile(`images/${box.image}.JPEG`), cropped: goldenFile(box.file) };
  const title = `${box.file} is cropped and then resized (${box.interpolation}) exactly`;
  goldenTest(title, needs, async (t, { source, cropped }) => {
    const pixels = await readImage(source);
    t.is(differences(resize(crop(pixels, box), box.size, box.size, box.interpolation), cropped), 0);
  });
}

/** A pattern without symmetry. */
function pattern(width: number, height: number): Pixels {
  return { width, height, data: Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 7919) % 251) };
}

test("a region of a resize is that part of the whole", (t) => {
  const source = pattern(61, 40);
  const box = { left: 5, top: 9, width: 20, height: 11 };
  t.deepEqual([...resize(source, 33, 29, "bicubic", box).data], [...crop(resize(source, 33, 29), box).data]);
  t.deepEqual([...resize(source, 61, 40).data], [...source.data]);
});

test("sizes that make no sense are refused", (t) => {
  const source = pattern(8, 8);
  t.throws(() => resize(source, 0, 4), { instanceOf: InputError });
  t.throws(() => resize(source, 4.5, 4), { instanceOf: InputError });
  t.throws(() => resize({ ...source, width: 9 }, 4, 4), { instanceOf: InputError });
  t.throws(() => crop(source, { left: 5, top: 0, width: 4, height: 1 }), { instanceOf: InputError });
  t.throws(() => evaluationPixels(source, { size: 5, resize: 4 }), { instanceOf: InputError });
  t.throws(() => normalize(source, { mean, std }, new Float32Array(5)), { instanceOf: InputError });
});

test("halves are rounded to even", (t) => {
  t.deepEqual([0.5, 1.5, 2.5, 16, 2.4, 2.6].map(roundHalfEven), [0, 2, 2, 16, 2, 3]);
});

const cobra = goldenFile("images/n01748264_Indian_cobra.JPEG");

goldenTest("a JPEG cut anywhere fails and names the file", { cobra }, async (t, found) => {
  const jpeg = readFileSync(found.cobra);
  for (const share of [0, 0.001, 0.1, 0.5, 0.9, 0.99]) {
    const cut = jpeg.subarray(0, Math.floor(jpeg.length * share));
    const error = await t.throwsAsync(decodeImage(cut, "cut.jpg"), { instanceOf: ImageError }, `cut at ${share}`);
    t.true(error?.message.startsWith("cut.jpg: "));
  }
});

test("a cut PNG, a cut WebP and what is no image fail", async (t) => {
  const { data, width, height } = pattern(200, 150);
  const raw = sharp(data, { raw: { width, height, channels: 3 } });
  for (const whole of [await raw.clone().png().toBuffer(), await raw.clone().webp({ lossless: true }).toBuffer()]) {
    t.deepEqual([...(await decodeImage(whole, "whole")).data], [...data]);
    await t.throwsAsync(decodeImage(whole.subarray(0, whole.length >> 1), "cut"), { instanceOf: ImageError });
  }
  const text = new TextEncoder().encode("not an image at all");
  const error = await t.throwsAsync(decodeImage(text, "text"), { instanceOf: ImageError });
  t.is(error?.fault, "not_recognized");
  await t.throwsAsync(readImage("no/such.jpg"), { instanceOf: FileError });
});

/** A square black PNG, one bit a pixel: a small file of a great image. */
function blackPng(size: number): Buffer {
  const number = (x: number): Buffer => Buffer.from([x >>> 24, x >>> 16, x >>> 8, x]);
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type), data]);
    return Buffer.concat([number(data.length), body, number(crc32(body))]);
  };
  const rows = deflateSync(Buffer.alloc(size * (1 + Math.ceil(size / 8))));
  return Buffer.concat([
    Buffer.from("89504e470d0a1a0a", "hex"), chunk("IHDR", Buffer.concat([number(size), number(size), Buffer.of(1, 0, 0, 0, 0)])),
    chunk("IDAT", rows), chunk("IEND", Buffer.alloc(0)),
  ]);
}

test("an image of more pixels than memory should hold is refused with its size and the limit", async (t) => {
  t.is((await decodeImage(blackPng(9), "small.png")).width, 9);
  const error = await t.throwsAsync(decodeImage(blackPng(16_385), "huge.png"), { instanceOf: ImageError });
  t.is(error?.fault, "refused");
  t.regex(error?.message ?? "", /huge\.png: 16385 × 16385 pixels exceed the limit of 268,435,456/u);
  t.regex(error?.help ?? "", /scale/u);
});

test("grey becomes RGB, alpha is dropped, 16 bits keep the upper byte", async (t) => {
  const grey = await sharp(Uint8Array.of(7, 200), { raw: { width: 2, height: 1, channels: 1 } }).png().toBuffer();
  t.deepEqual([...(await decodeImage(grey, "grey")).data], [7, 7, 7, 200, 200, 200]);
  const rgba = Uint8Array.of(10, 20, 30, 0);
  const clear = await sharp(rgba, { raw: { width: 1, height: 1, channels: 4 } }).png().toBuffer();
  t.deepEqual([...(await decodeImage(clear, "alpha")).data], [10, 20, 30]);
  const both = await sharp(Uint8Array.of(90, 128), { raw: { width: 1, height: 1, channels: 2 } }).png().toBuffer();
  t.deepEqual([...(await decodeImage(both, "grey with alpha")).data], [90, 90, 90]);
  const deep = Uint16Array.of(0x12ff, 0x8000, 0xfffe);
  const rgb16 = await sharp(deep, { raw: { width: 1, height: 1, channels: 3 } })
    .toColourspace("rgb16").png().toBuffer();
  t.is((await sharp(rgb16).metadata()).depth, "ushort");
  t.deepEqual([...(await decodeImage(rgb16, "deep")).data], [0x12, 0x80, 0xff]);
  const grey16 = await sharp(deep, { raw: { width: 3, height: 1, channels: 1 } })
    .toColourspace("grey16").png().toBuffer();
  t.deepEqual([...(await decodeImage(grey16, "deep grey")).data], [0x12, 0x12, 0x12, 0x80, 0x80, 0x80, 255, 255, 255]);
});

/** A JPEG without its APP14 segment, which says that Adobe's rules hold. */
function withoutAdobe(jpeg: Buffer): Buffer {
  const at = jpeg.indexOf(Uint8Array.of(0xff, 0xee));
  return Buffer.concat([jpeg.subarray(0, at), jpeg.subarray(at + 2 + jpeg.readUInt16BE(at + 2))]);
}

test("CMYK has Pillow's colours, with and without Adobe's mark, in JPEG and in TIFF", async (t) => {
  const { jpeg, rgb, width, height } = goldenIndex<{
    readonly jpeg: string; readonly rgb: readonly number[]; readonly width: number; readonly height: number;
  }>("cmyk.json");
  const bytes = Buffer.from(jpeg, "base64");
  const plain = withoutAdobe(bytes);
  t.is(plain.length, bytes.length - 16);
  // Pillow takes every CMYK JPEG as Adobe's: the pixels are the same without the mark.
  for (const one of [bytes, plain]) {
    t.deepEqual(await decodeImage(one, "cmyk.jpg"), { data: Uint8Array.from(rgb), width, height });
  }
  const tiff = await sharp(bytes, { ignoreIcc: true }).pipelineColourspace("cmyk").toColourspace("cmyk")
    .tiff({ compression: "none" }).toBuffer();
  t.is((await sharp(tiff).metadata()).space, "cmyk");
  t.deepEqual([...(await decodeImage(tiff, "cmyk.tif")).data], rgb);
});

test("a package sharp without its binary is one error with the fix", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "deitc-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "one.png"), blackPng(9));
  const hidden = `import Module from "node:module"; const load = Module._load; Module._load = (name, ...more) => {
    if (name.includes("sharp-")) throw Object.assign(new Error("Cannot find module"), { code: "MODULE_NOT_FOUND" });
    return load(name, ...more); };`;
  const { code, err } = await deitc(folder, ["predict", resolve("models/shapes.deit"), "--random-weights", "one.png"], {
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hidden)}`,
  });
  t.is(code, 3, err);
  t.regex(err, /the package sharp, which reads images, does not load on \w+ \w+\n/u);
  t.regex(err, /help: run `npm install --include=optional sharp` on this system/u);
  t.notRegex(err, /bug|one\.png/u);
});

const spider = goldenFile("images/n01773549_barn_spider.JPEG");

const two = { cobra, spider };
goldenTest("several files make one batch in their order; a broken one is named", two, async (t, found) => {
  const folder = mkdtempSync(join(tmpdir(), "deitc-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const how = { size: 224, resize: 256, mean, std };
  const paths = [found.spider, found.cobra, found.spider];
  const batch = await loadImages(paths, how);
  for (const [i, path] of paths.entries()) {
    const one = preprocess(await readImage(path), how);
    t.deepEqual(batch.subarray(i * one.length, (i + 1) * one.length), one);
  }
  const broken = join(folder, "broken.jpg");
  writeFileSync(broken, readFileSync(found.cobra).subarray(0, 9000));
  await t.throwsAsync(loadImages([found.spider, broken], how), { instanceOf: ImageError, message: /broken\.jpg/u });
});
