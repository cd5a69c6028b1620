import { readFileSync } from "node:fs";
import { basename } from "node:path";
import test from "ava";
import { WeightsError } from "../runtime/errors.js";
import { memoryAccess, type RandomAccess } from "../runtime/weights/access.js";
import { openCheckpoint } from "../runtime/weights/checkpoint.js";
import { toFloat32, type ElementType } from "../runtime/weights/dtype.js";
import { Inert, readPickle, Tuple, type PickleValue } from "../runtime/weights/pickle.js";
import { readPytorchLegacy, readPytorchZip, TensorView } from "../runtime/weights/pytorch.js";
import { goldenFile, goldenIndex, goldenTest, sharedData } from "./golden.js";

type Contents =
  | { readonly value: unknown }
  | { readonly list: readonly Contents[] }
  | { readonly dict: Readonly<Record<string, Contents>>; readonly object?: string }
  | { readonly tensor: TensorContents };

interface TensorContents {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
  readonly storage_offset: number;
  readonly values: readonly unknown[];
}

interface Index {
  readonly files: Readonly<Record<string, {
    readonly format: "zip" | "legacy"; readonly contents: Contents; readonly shared_storage: readonly string[][];
  }>>;
  readonly refuse: Readonly<Record<string, string>>;
  readonly broken: Readonly<Record<string, string>>;
}

const index = goldenIndex<Index>("pth/index.json");
const checkpoint = (name: string): string | undefined => goldenFile(`pth/${name}`);
const bytesOf = (file: string): Uint8Array => new Uint8Array(readFileSync(file));
const access = (file: string): RandomAccess => memoryAccess(basename(file), bytesOf(file));

const torchNames: Readonly<Record<ElementType, string>> = {
  F64: "float64", F32: "float32", F16: "float16", BF16: "bfloat16", F8_E4M3: "float8_e4m3fn", F8_E5M2: "float8_e5m2",
  I64: "int64", U64: "uint64", I32: "int32", U32: "uint32", I16: "int16", U16: "uint16", I8: "int8", U8: "uint8",
  BOOL: "bool",
};

/** A number as the fixture writes it. */
function written(value: number | bigint): unknown {
  if (typeof value === "bigint") return value >= -(2n ** 53n) && value <= 2n ** 53n ? Number(value) : String(value);
  return Object.is(value, -0) ? "-0" : Number.isFinite(value) ? value : String(value);
}

function elements(dtype: ElementType, source: Uint8Array): unknown[] {
  const { buffer } = source.slice();
  if (dtype === "I64") return [...new BigInt64Array(buffer)].map((value) => written(value));
  if (dtype === "F64") return [...new Float64Array(buffer)].map((value) => written(value));
  if (dtype === "I32") return [...new Int32Array(buffer)];
  const values = [...toFloat32(dtype, source)];
  return dtype === "BOOL" ? values.map((value) => value === 1) : values.map((value) => written(value));
}

/** What was read in the terms of the fixture. */
async function describe(value: PickleValue): Promise<Contents> {
  if (value instanceof TensorView) {
    const { dtype, shape, read } = value.as("tensor");
    const { stride, offset } = value;
    const values = elements(dtype, await read());
    return { tensor: { dtype: torchNames[dtype], shape, stride, storage_offset: offset, values } };
  }
  if (value instanceof Map) return { dict: await describeAll(value) };
  if (value instanceof Inert) return { object: value.type, dict: await describeAll(value.fields) };
  if (value instanceof Tuple) return { list: await Promise.all(value.items.map(describe)) };
  if (Array.isArray(value)) return { list: await Promise.all(value.map(describe)) };
  return { value };
}

async function describeAll(map: ReadonlyMap<PickleValue, PickleValue>): Promise<Record<string, Contents>> {
  const entries = [...map].map(async ([key, value]) => [String(key), await describe(value)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

for (const [name, expected] of Object.entries(index.files)) {
  goldenTest(`reads ${name} exactly`, { path: checkpoint(name) }, async (t, { path }) => {
    const read = expected.format === "zip" ? readPytorchZip : readPytorchLegacy;
    const file = await read(access(path));
    t.deepEqual(await describe(file.value), expected.contents);
    for (const names of expected.shared_storage) {
      const dict = file.value instanceof Map ? file.value : new Map<PickleValue, PickleValue>();
      const keys = names.map((key) => {
        const view = dict.get(key);
        return view instanceof TensorView ? view.storageKey : undefined;
      });
      t.is(new Set(keys).size, 1);
      t.not(keys[0], undefined);
    }
  });
}

const refusals: Readonly<Record<string, RegExp>> = {
  "refuse_eval.pth": /'builtins\.eval'/u,
  "refuse_getattr.pth": /'builtins\.getattr'/u,
  "refuse_legacy_os_system.pth": /'os\.system'/u,
  "refuse_nested.pth": /'posix\.system'/u,
  "refuse_os_system.pth": /'os\.system'/u,
  "refuse_posix_system.pth": /'posix\.system'/u,
};

for (const name of Object.keys(index.refuse)) {
  goldenTest(`refuses ${name} by the name of what it calls`, { path: checkpoint(name) }, async (t, { path }) => {
    const error = await t.throwsAsync(openCheckpoint(access(path)), { instanceOf: WeightsError });
    t.is(error?.fault, "refused");
    t.regex(error?.message ?? "", refusals[name] ?? /^$/u);
    t.true(error?.message.startsWith(name));
  });
}

const faults: Readonly<Record<string, string>> = {
  "broken_truncated_zip.pth": "truncated",
  "broken_truncated_legacy.pth": "truncated",
  "broken_not_a_checkpoint.pth": "not_recognized",
  "broken_empty.pth": "truncated",
  "broken_shape_beyond_storage.pth": "malformed",
};

for (const name of Object.keys(index.broken)) {
  goldenTest(`fails on ${name}`, { path: checkpoint(name) }, async (t, { path }) => {
    const error = await t.throwsAsync(openCheckpoint(access(path)), { instanceOf: WeightsError });
    t.is(String(error?.fault), faults[name] ?? "a fault this test knows");
  });
}

for (const name of Object.keys(index.files)) {
  const title = `survives ${name} cut anywhere and with any byte changed`;
  goldenTest(title, { path: checkpoint(name) }, async (t, { path }) => {
    const whole = bytesOf(path);
    for (let at = 0; at < whole.length; at += 7) {
      const changed = whole.slice();
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      for (const bytes of [whole.slice(0, at), changed]) {
        try {
          const { tensors } = await openCheckpoint(memoryAccess(name, bytes));
          for (const tensor of tensors.values()) await tensor.read();
        } catch (error) {
          if (!(error instanceof WeightsError)) throw error;
        }
      }
    }
    t.pass();
  });
}

const context = { file: "x.pth", globals: new Map() };

test("a pickle that nests or repeats without end is refused", (t) => {
  const deep = new Uint8Array(5000).fill(0x28);
  t.throws(() => readPickle(deep, 0, context), { instanceOf: WeightsError, message: /nests deeper/u });
  const wide = new Uint8Array(2_000_000).fill(0x4e);
  t.throws(() => readPickle(wide, 0, context), { instanceOf: WeightsError, message: /values on the pickle stack/u });
});

test("an opcode outside the list is refused by its name", (t) => {
  const inst = new TextEncoder().encode("(ios\nsystem\n.");
  t.throws(() => readPickle(inst, 0, context), { instanceOf: WeightsError, message: /INST \(0x69\)/u });
});

test("numbers are read with their signs", (t) => {
  const read = (...bytes: number[]): PickleValue => readPickle(Uint8Array.of(...bytes, 0x2e), 0, context).value;
  t.is(read(0x8a, 1, 0xff), -1);
  t.is(read(0x8a, 0), 0);
  t.is(read(0x8a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1), 2n ** 64n);
  t.is(read(0x4a, 0xfe, 0xff, 0xff, 0xff), -2);
  t.is(read(0x47, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0), 1.5);
});

/** A state dict alone. */
const plain = checkpoint("zip_state_dict.pth");
const training = checkpoint("zip_training_checkpoint.pth");

goldenTest("the moving average is taken when asked for", { plain, training }, async (t, found) => {
  const average = await openCheckpoint(access(found.training), { ema: true });
  t.regex(average.notes.join(), /model_ema/u);
  await t.throwsAsync(openCheckpoint(access(found.plain), { ema: true }), { message: /moving average/u });
});

const wrapped = checkpoint("zip_module_prefix.th");
goldenTest("prefixes of wrapped modules are stripped", { wrapped }, async (t, found) => {
  const { tensors } = await openCheckpoint(access(found.wrapped));
  t.true(tensors.size > 0);
  t.false([...tensors.keys()].some((name) => name.startsWith("module.")));
});

const published = sharedData("cifar10-resnet/resnet20-12fca82f.th");
goldenTest("a published checkpoint of the legacy format reads in full", { published }, async (t, found) => {
  const { tensors, format } = await openCheckpoint(access(found.published));
  t.is(format, "pytorch-legacy");
  t.is(tensors.size, 97);
  const kernel = tensors.get("conv1.weight");
  t.deepEqual(kernel?.shape, [16, 3, 3, 3]);
  const values = kernel ? toFloat32(kernel.dtype, await kernel.read()) : new Float32Array(0);
  t.true(values.length === 432 && values.every((value) => Math.abs(value) < 10) && values.some((value) => value !== 0));
});

/** The same archive with every number of its directory moved to the Zip64 fields. */
function asZip64(zip: Uint8Array): Uint8Array {
  const view = new DataView(zip.buffer, zip.byteOffset, zip.byteLength);
  let end = zip.length - 22;
  while (view.getUint32(end, true) !== 0x06054b50) end--;
  const count = view.getUint16(end + 10, true);
  const start = view.getUint32(end + 16, true);
  const pieces: Uint8Array[] = [zip.subarray(0, start)];
  for (let at = start, index = 0; index < count; index++) {
    const name = view.getUint16(at + 28, true);
    const extra = view.getUint16(at + 30, true);
    const next = at + 46 + name + extra + view.getUint16(at + 32, true);
    const wide = new Uint8Array(28);
    const fields = new DataView(wide.buffer);
    fields.setUint16(0, 1, true);
    fields.setUint16(2, 24, true);
    [24, 20, 42].forEach((field, place) => {
      fields.setBigUint64(4 + 8 * place, BigInt(view.getUint32(at + field, true)), true);
    });
    const head = zip.slice(at, at + 46);
    for (const field of [20, 24, 42]) head.fill(0xff, field, field + 4);
    new DataView(head.buffer).setUint16(30, extra + 28, true);
    new DataView(head.buffer).setUint16(32, 0, true);
    pieces.push(head, zip.subarray(at + 46, at + 46 + name + extra), wide);
    at = next;
  }
  const directory = pieces.slice(1).reduce((sum, piece) => sum + piece.length, 0);
  const tail = new Uint8Array(56 + 20 + 22);
  const record = new DataView(tail.buffer);
  record.setUint32(0, 0x06064b50, true);
  record.setBigUint64(32, BigInt(count), true);
  record.setBigUint64(40, BigInt(directory), true);
  record.setBigUint64(48, BigInt(start), true);
  record.setUint32(56, 0x07064b50, true);
  record.setBigUint64(64, BigInt(start + directory), true);
  record.setUint32(76, 0x06054b50, true);
  tail.fill(0xff, 84, 96);
  return new Uint8Array(Buffer.concat([...pieces, tail]));
}

goldenTest("a Zip64 archive reads as the plain one", { plain }, async (t, found) => {
  const file = await readPytorchZip(memoryAccess("wide.pth", asZip64(bytesOf(found.plain))));
  t.deepEqual(await describe(file.value), index.files["zip_state_dict.pth"]?.contents);
});

goldenTest("a compressed entry is refused by name", { plain }, async (t, found) => {
  const bytes = bytesOf(found.plain);
  const at = Buffer.from(bytes.buffer).indexOf(Buffer.from([0x50, 0x4b, 1, 2]));
  bytes[at + 10] = 8;
  await t.throwsAsync(openCheckpoint(memoryAccess("z", bytes)), { message: /data\.pkl' is compressed/u });
});
