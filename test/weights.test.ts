import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { FileError, InputError, WeightsError } from "../runtime/errors.js";
import type { ParameterInfo } from "../runtime/manifest.js";
import { openFile, writeFileAtomic } from "../runtime/node/files.js";
import { memoryAccess, type RandomAccess } from "../runtime/weights/access.js";
import { openCheckpoint } from "../runtime/weights/checkpoint.js";
import { toFloat32 } from "../runtime/weights/dtype.js";
import { matchWeights, type MatchOptions, type MatchedWeights } from "../runtime/weights/match.js";
import { encodeSafetensors, readSafetensors, type TensorToWrite } from "../runtime/weights/safetensors.js";

function join8(chunks: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(chunks));
}

function tensor(name: string, shape: readonly number[], first = 0): TensorToWrite {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => first + i);
  return { name, shape, data };
}

function fileOf(tensors: readonly TensorToWrite[]): RandomAccess {
  return memoryAccess("model.safetensors", join8(encodeSafetensors(tensors)));
}

/** A file with this header and so many bytes of data. */
function handMade(header: string, dataBytes: number): RandomAccess {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return memoryAccess("hand.safetensors", bytes);
}

test("safetensors written are read back, with metadata", async (t) => {
  const tensors = [
    tensor("b", [2, 3], 5), tensor("10", [4]), tensor("9", []), tensor("none", [0, 3]),
    { name: "i", shape: [1], data: { dtype: "I64" as const, bytes: Uint8Array.of(7, 0, 0, 0, 0, 0, 0, 0) } },
  ];
  const bytes = join8(encodeSafetensors(tensors, { format: "pt", note: "ü" }));
  t.is(new DataView(bytes.buffer).getUint32(0, true) % 8, 0);
  const { tensors: read, metadata } = await readSafetensors(memoryAccess("x", bytes));
  t.deepEqual([...metadata], [["format", "pt"], ["note", "ü"]]);
  // Wider elements first; the empty tensor shares its place with the one after it.
  t.deepEqual(read.map(({ name }) => name), ["i", "b", "10", "9", "none"]);
  for (const { name, shape, data } of tensors) {
    const found = read.find((candidate) => candidate.name === name);
    t.deepEqual(found?.shape, shape);
    const values = found ? toFloat32(found.dtype, await found.read()) : undefined;
    t.deepEqual(values && [...values], data instanceof Float32Array ? [...data] : [7]);
  }
});

test("aligned float32 data is a view, not a copy", (t) => {
  const bytes = new Uint8Array(16);
  t.is(toFloat32("F32", bytes).buffer, bytes.buffer);
  t.is(toFloat32("F32", bytes.subarray(1, 13)).length, 3);
});

test("every element type reaches float32", (t) => {
  const half = Uint16Array.of(0x3c00, 0xc100, 0x7bff, 0x0001, 0x8000, 0x7c00, 0x7e00);
  t.deepEqual([...toFloat32("F16", new Uint8Array(half.buffer))], [1, -2.5, 65504, 2 ** -24, -0, Infinity, NaN]);
  t.deepEqual([...toFloat32("BF16", new Uint8Array(Uint16Array.of(0x3f80, 0xc020).buffer))], [1, -2.5]);
  t.deepEqual([...toFloat32("F8_E4M3", Uint8Array.of(0x38, 0x7e, 0x01, 0xff))], [1, 448, 2 ** -9, NaN]);
  t.deepEqual([...toFloat32("F8_E5M2", Uint8Array.of(0x3c, 0x7c, 0xc1))], [1, Infinity, -2.5]);
  t.deepEqual([...toFloat32("F64", new Uint8Array(Float64Array.of(1.5, -1e300).buffer))], [1.5, -Infinity]);
  t.deepEqual([...toFloat32("I64", new Uint8Array(BigInt64Array.of(-3n).buffer))], [-3]);
  t.deepEqual([...toFloat32("U64", new Uint8Array(BigUint64Array.of(2n ** 63n).buffer))], [2 ** 63]);
  t.deepEqual([...toFloat32("I32", new Uint8Array(Int32Array.of(-5).buffer))], [-5]);
  t.deepEqual([...toFloat32("U32", new Uint8Array(Uint32Array.of(2 ** 31).buffer))], [2 ** 31]);
  t.deepEqual([...toFloat32("I16", new Uint8Array(Int16Array.of(-300).buffer))], [-300]);
  t.deepEqual([...toFloat32("U16", new Uint8Array(Uint16Array.of(65535).buffer))], [65535]);
  t.deepEqual([...toFloat32("I8", Uint8Array.of(0x80))], [-128]);
  t.deepEqual([...toFloat32("U8", Uint8Array.of(200))], [200]);
  t.deepEqual([...toFloat32("BOOL", Uint8Array.of(0, 1, 2))], [0, 1, 1]);
});

test("many halves are converted as few are", (t) => {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const all = toFloat32("F16", new Uint8Array(bits.buffer));
  for (let i = 0; i < 65536; i += 97) {
    t.deepEqual(all[i], toFloat32("F16", new Uint8Array(bits.slice(i, i + 1).buffer))[0]);
  }
});

const entry = (begin: number, end: number, shape = "[1]", dtype = "F32"): string => (
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`
);

const broken: readonly (readonly [string, RandomAccess, RegExp])[] = [
  ["a header over the limit", memoryAccess("h", Uint8Array.of(0, 0, 0, 8, 0, 0, 0, 0, 0x7b)), /over the limit/u],
  ["a header beyond the file", memoryAccess("h", Uint8Array.of(99, 0, 0, 0, 0, 0, 0, 0, 0x7b)), /the header lies at/u],
  ["no JSON", handMade("{,}", 0), /not JSON/u],
  ["an array", handMade("[]", 0), /not a JSON object/u],
  ["a name given twice", handMade(`{"a":${entry(0, 4)},"\\u0061":${entry(0, 4)}}`, 4), /the key 'a' twice/u],
  ["a member given twice", handMade(`{"a":{"dtype":"F32","dtype":"F32"}}`, 4), /the key 'dtype' twice/u],
  ["an unknown type", handMade(`{"a":${entry(0, 4, "[1]", "C64")}}`, 4), /tensor 'a': its dtype "C64"/u],
  ["a negative size", handMade(`{"a":${entry(0, 4, "[-1]")}}`, 4), /tensor 'a': its shape/u],
  ["a shape of other bytes", handMade(`{"a":${entry(0, 4, "[2]")}}`, 4), /span 4 bytes, but F32 \[2\] takes 8/u],
  ["data beyond the end", handMade(`{"a":${entry(0, 8, "[2]")}}`, 4), /ends at byte 8 of the data block/u],
  ["a negative offset", handMade(`{"a":${entry(-4, 0)}}`, 4),
    /tensor 'a': its data_offsets \[-4,0\] are not two non-negative whole/u],
  ["a hole", handMade(`{"a":${entry(0, 4)},"b":${entry(8, 12)}}`, 12), /tensor 'b': a hole of 4 bytes/u],
  ["an overlap", handMade(`{"a":${entry(0, 8, "[2]")},"b":${entry(4, 8)}}`, 8), /tensor 'b': its data overlaps/u],
  ["bytes of no tensor", handMade(`{"a":${entry(0, 4)}}`, 9), /5 bytes after the last tensor/u],
  ["metadata that is no text", handMade(`{"__metadata__":{"a":1}}`, 0), /__metadata__ entry 'a'/u],
];

for (const [what, file, message] of broken) {
  test(`safetensors with ${what} are refused`, async (t) => {
    const error = await t.throwsAsync(readSafetensors(file), { instanceOf: WeightsError, message });
    t.true(error?.message.startsWith(`${file.name}: `));
  });
}

test("tensors that cannot be written are refused", (t) => {
  t.throws(() => encodeSafetensors([tensor("a", [1]), tensor("a", [1])]), { instanceOf: InputError });
  t.throws(() => encodeSafetensors([{ ...tensor("a", [2]), shape: [3] }]), { instanceOf: InputError });
});

test("what is no checkpoint is named", async (t) => {
  const open = (text: string): Promise<unknown> => openCheckpoint(memoryAccess("f", new TextEncoder().encode(text)));
  await t.throwsAsync(open("version https://git-lfs.github.com/spec/v1\noid"), { message: /git-lfs pointer/u });
  await t.throwsAsync(open("<!DOCTYPE html>"), { message: /web page/u });
  await t.throwsAsync(open(""), { message: /empty/u });
  await t.throwsAsync(open("PK\u0003\u0004 cut"), { message: /zip|end of the/u });
  await t.throwsAsync(open("neither"), { message: /neither/u });
});

function parameter(path: string, shape: readonly number[], more: Partial<ParameterInfo> = {}): ParameterInfo {
  return { path, shape, trained: true, decay: true, initializer: { kind: "zeros" }, ...more };
}

async function match(
  tensors: readonly TensorToWrite[], parameters: readonly ParameterInfo[], options?: MatchOptions,
): Promise<MatchedWeights> {
  return matchWeights(await openCheckpoint(fileOf(tensors)), parameters, options);
}

test("weights come in the order of the parameters", async (t) => {
  const { sources, notes } = await match(
    [tensor("a", [2]), tensor("b", [1], 9)], [parameter("b", [1]), parameter("a", [2])]);
  t.deepEqual(await Promise.all(sources.map(async (source) => [...await source.load()])), [[9], [0, 1]]);
  t.deepEqual(notes, []);
});

test("all that is missing, extra or misshapen is one error, capped", async (t) => {
  const extra = Array.from({ length: 25 }, (_, i) => tensor(`extra${i}`, [1]));
  const stored = [tensor("a", [2]), ...extra, tensor("bn.num_batches_tracked", [])];
  const wanted = [parameter("a", [3]), parameter("b", [1])];
  const error = await t.throwsAsync(match(stored, wanted), { instanceOf: WeightsError });
  t.is(error?.fault, "mismatch");
  const lines = (error?.message ?? "").split("\n");
  t.is(lines[1], "  missing in the file (1): b");
  t.regex(lines[2] ?? "", /not in the model \(25\): extra0, .*extra9, and 15 more$/u);
  t.is(lines[3], "  with a different shape (1): a is [2] in the file, [3] in the model");
  t.is(lines.length, 4);
});

test("the official names of LayerScale are translated", async (t) => {
  const { sources, notes } = await match(
    [tensor("blocks.0.gamma_1", [2], 3), tensor("blocks.0.gamma_2", [2], 5)],
    [parameter("blocks.0.ls1.gamma", [2]), parameter("blocks.0.ls2.gamma", [2])]);
  t.deepEqual(await Promise.all(sources.map(async (source) => (await source.load())[0])), [3, 5]);
  t.deepEqual(notes, ["translated 2 tensor names from the official DeiT code"]);
});

test("a model that itself uses a translated name keeps it", async (t) => {
  const { notes } = await match([tensor("classifier.weight", [2, 2])], [parameter("classifier.weight", [2, 2])]);
  t.deepEqual(notes, []);
});

test("Hugging Face's query, key and value are stacked", async (t) => {
  const layer = "deit.encoder.layer.4.attention.attention";
  const { sources } = await match(
    [
      tensor(`${layer}.value.weight`, [2, 2], 8), tensor(`${layer}.query.weight`, [2, 2]),
      tensor(`${layer}.key.weight`, [2, 2], 4), tensor("deit.encoder.layer.4.output.dense.bias", [2]),
      tensor("cls_classifier.bias", [2]),
    ], [
      parameter("blocks.4.attn.qkv.weight", [6, 2]), parameter("blocks.4.mlp.fc2.bias", [2]),
      parameter("head.bias", [2]),
    ]);
  t.deepEqual([...await sources[0]?.load() ?? []], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  await t.throwsAsync(match([tensor(`${layer}.key.bias`, [2])], [parameter("blocks.4.attn.qkv.bias", [6])]), {
    message: /missing in the file \(1\): blocks\.4\.attn\.qkv\.bias \(only deit/u,
  });
});

test("mmpretrain's names are translated", async (t) => {
  const { notes } = await match(
    [tensor("backbone.layers.1.ffn.layers.0.0.weight", [1]), tensor("backbone.layers.1.attn.gamma1.weight", [1]),
      tensor("backbone.ln1.bias", [1]), tensor("head.layers.head_dist.bias", [1])],
    [parameter("blocks.1.mlp.fc1.weight", [1]), parameter("blocks.1.ls1.gamma", [1]), parameter("norm.bias", [1]),
      parameter("head_dist.bias", [1])]);
  t.deepEqual(notes, ["translated 4 tensor names from mmpretrain"]);
});

test("a head of another class count is an error unless allowed, then a note", async (t) => {
  const stored = [tensor("head.weight", [5, 2], 1)];
  const wanted = [parameter("head.weight", [3, 2], { initializer: { kind: "ones" } })];
  const message = /head\.weight is \[5, 2\] in the file, \[3, 2\] in the model/u;
  const error = await t.throwsAsync(match(stored, wanted), { instanceOf: WeightsError, message });
  t.regex(error?.help ?? "", /--allow-head-mismatch.*--set classes=/u);
  const { sources, notes } = await match(stored, wanted, { allowHeadMismatch: true });
  t.is(sources[0]?.origin, "initializer");
  t.deepEqual([...await sources[0]?.load() ?? []], [1, 1, 1, 1, 1, 1]);
  t.regex(notes.join(), /'head\.weight' has 5 classes in the file, 3 in the model/u);
  await t.throwsAsync(match([tensor("head.weight", [5, 4])], wanted, { allowHeadMismatch: true }));
});

test("computed tables need not be in the file, states must", async (t) => {
  const values = { initializer: { kind: "values" as const, values: [4] }, trained: false };
  const { sources } = await match([], [parameter("mask", [1], values)]);
  t.deepEqual([...await sources[0]?.load() ?? []], [4]);
  await t.throwsAsync(match([], [parameter("bn.running_mean", [1], { trained: false })]), { message: /running_mean/u });
});

test("weights that are no numbers are refused when they are loaded, by file, tensor and element", async (t) => {
  const stored = (x: number): TensorToWrite => ({ name: "fc.bias", shape: [3], data: Float32Array.of(1, x, 2) });
  for (const [x, shown] of [[NaN, "NaN"], [-Infinity, "-Infinity"]] as const) {
    const { sources } = await match([stored(x)], [parameter("fc.bias", [3])]);
    const error = await t.throwsAsync(async () => sources[0]?.load(), { instanceOf: WeightsError });
    t.regex(error?.message ?? "", new RegExp(`^.+: tensor 'fc\\.bias': element 1 is ${shown}`, "u"));
    t.is(error?.exitKind, "input");
    // A table that masks is not one of the weights.
    const table = { initializer: { kind: "values" as const, values: [0, 0, 0] }, trained: false };
    const masked = await match([stored(x)], [parameter("fc.bias", [3], table)]);
    t.deepEqual(await masked.sources[0]?.load(), Float32Array.of(1, x, 2));
  }
});

test("a patch projection stored as a matrix is taken", async (t) => {
  const { sources, notes } = await match(
    [tensor("patch_embed.proj.weight", [2, 12])], [parameter("patch_embed.proj.weight", [2, 3, 2, 2])]);
  t.is((await sources[0]?.load())?.length, 24);
  t.is(notes.length, 1);
});

test("files: written whole or not at all, opened with clear errors", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "deitc-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "m.safetensors");
  writeFileSync(path, "old");
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield Uint8Array.of(1, 2);
    await Promise.resolve();
    throw new RangeError("half way");
  }
  await t.throwsAsync(writeFileAtomic(path, failing()), { instanceOf: RangeError });
  t.is(readFileSync(path, "utf8"), "old");
  await writeFileAtomic(path, encodeSafetensors([tensor("a", [3])]));
  t.deepEqual(readdirSync(folder), ["m.safetensors"]);
  const file = await openFile(path);
  const checkpoint = await openCheckpoint(file);
  t.deepEqual([...toFloat32("F32", await checkpoint.tensors.get("a")?.read() ?? new Uint8Array(0))], [0, 1, 2]);
  await file.close();
  await t.throwsAsync(openFile(folder), { instanceOf: FileError, message: /folder/u });
  await t.throwsAsync(openFile(join(folder, "no")), { instanceOf: FileError, message: /no such file/u });
  const nowhere = join(folder, "no", "x");
  await t.throwsAsync(writeFileAtomic(nowhere, []), { instanceOf: FileError, message: /no: there is no such folder/u });
});
