/**
 * @file PyTorch checkpoints, zip and legacy stream, read without running anything. Source of both layouts:
 * torch/serialization.py; of the tensor arguments: torch/_utils.py.
 */

import { WeightsError, type FileFault } from "../errors.js";
import { printable } from "../text.js";
import { readRange, type RandomAccess } from "./access.js";
import { elementBytes, elementCount, type ElementType, type StoredTensor } from "./dtype.js";
import { Foreign, Global, Inert, Tuple, readPickle, type PickleContext, type PickleValue } from "./pickle.js";
import { entryData, readZipDirectory, type ZipEntry } from "./zip.js";

/** A checkpoint as it was saved; tensors in it are `TensorView`s. */
export interface PytorchFile {
  readonly format: "zip" | "legacy";
  readonly value: PickleValue;
}

/** One block of elements; several tensors may look into it. */
class Storage extends Foreign {
  constructor(
    readonly key: string, readonly dtype: ElementType, readonly elements: number,
    /** The file offset of the first element. */
    readonly locate: () => Promise<number>,
  ) { super(); }
}

/** A strided look into a storage; offset and strides count elements. */
export class TensorView extends Foreign {
  constructor(
    private readonly file: RandomAccess, private readonly storage: Storage,
    readonly offset: number, readonly shape: readonly number[], readonly stride: readonly number[],
  ) { super(); }

  /** Names the block; views of the same one share memory. */
  get storageKey(): string { return this.storage.key; }

  /** The tensor under a name; reading it gathers the elements in row-major order. */
  as(name: string): StoredTensor {
    return { name, dtype: this.storage.dtype, shape: this.shape, read: () => this.read(name) };
  }

  private async read(name: string): Promise<Uint8Array> {
    const count = elementCount(this.shape);
    if (count === 0) return new Uint8Array(0);
    const width = elementBytes[this.storage.dtype];
    const start = (await this.storage.locate()) + this.offset * width;
    const span = 1 + lastIndex(this.shape, this.stride);
    const bytes = await readRange(this.file, start, span * width, "its data", name);
    return isContiguous(this.shape, this.stride) ? bytes : gather(bytes, width, this.shape, this.stride);
  }
}

/** Index of the last element, relative to the first. */
function lastIndex(shape: readonly number[], stride: readonly number[]): number {
  return shape.reduce((sum, size, axis) => sum + (size - 1) * (stride[axis] ?? 0), 0);
}

function isContiguous(shape: readonly number[], stride: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] ?? 1;
    if (size !== 1 && stride[axis] !== expected) return false;
    expected *= size;
  }
  return true;
}

function gather(source: Uint8Array, width: number, shape: readonly number[], stride: readonly number[]): Uint8Array {
  const result = new Uint8Array(elementCount(shape) * width);
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < result.byteLength; to += width) {
    for (let byte = 0; byte < width; byte++) result[to + byte] = source[from * width + byte] ?? 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      from += stride[axis] ?? 0;
      if (next < (shape[axis] ?? 0)) { index[axis] = next; break; }
      from -= next * (stride[axis] ?? 0);
      index[axis] = 0;
    }
  }
  return result;
}

const storageTypes: ReadonlyMap<string, ElementType> = new Map([
  ["torch.FloatStorage", "F32"], ["torch.HalfStorage", "F16"], ["torch.BFloat16Storage", "BF16"],
  ["torch.DoubleStorage", "F64"], ["torch.LongStorage", "I64"], ["torch.IntStorage", "I32"],
  ["torch.ShortStorage", "I16"], ["torch.CharStorage", "I8"], ["torch.ByteStorage", "U8"],
  ["torch.BoolStorage", "BOOL"],
]);

/** Named in the arguments and states of training checkpoints; an inert record takes their place. */
const inertTypes = [
  "argparse.Namespace", "pathlib.Path", "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath",
  "pathlib.PureWindowsPath", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype",
  "_codecs.encode", "torch.device",
];

/** Named, never called. */
const namedOnly = [
  "torch.float32", "torch.float16", "torch.bfloat16", "torch.float64", "torch.int64", "torch.int32", "torch.int16",
  "torch.int8", "torch.uint8", "torch.bool",
];

/** More elements than this must all lie in the storage: an expanded tensor repeats a few, not billions. */
const EXPANDED_LIMIT = 2 ** 26;
const PICKLE_LIMIT = 128 * 2 ** 20;

/** Everything that a checkpoint may refer to. */
function knownGlobals(file: RandomAccess): ReadonlyMap<string, Global> {
  const globals = [
    new Global("collections.OrderedDict", (args) => orderedDict(file, args)),
    new Global("torch.Size", ([sizes]) => new Tuple(sizes instanceof Tuple ? sizes.items : [])),
    new Global("torch._utils._rebuild_tensor_v2", (args) => rebuildTensor(file, args)),
    new Global("torch._utils._rebuild_tensor", (args) => rebuildTensor(file, args)),
    new Global("torch._utils._rebuild_parameter", ([tensor]) => {
      if (tensor instanceof TensorView) return tensor;
      throw fault(file, "malformed", "a parameter is not made from a tensor");
    }),
    ...[...storageTypes.keys(), ...namedOnly].map((name) => new Global(name)),
    ...inertTypes.map((name) => new Global(name, (args) => new Inert(name, args))),
  ];
  return new Map(globals.map((global) => [global.name, global]));
}

function fault(file: RandomAccess, kind: FileFault, message: string): WeightsError {
  return new WeightsError(printable(message), { file: file.name, fault: kind });
}

function orderedDict(file: RandomAccess, [pairs]: readonly PickleValue[]): Map<PickleValue, PickleValue> {
  const map = new Map<PickleValue, PickleValue>();
  if (pairs === undefined) return map;
  if (!Array.isArray(pairs)) throw fault(file, "malformed", "an ordered dictionary is not made from a list of pairs");
  for (const pair of pairs) {
    const items = pair instanceof Tuple ? pair.items : Array.isArray(pair) ? pair : [];
    if (items.length !== 2) throw fault(file, "malformed", "an ordered dictionary is not made from a list of pairs");
    map.set(items[0] ?? null, items[1] ?? null);
  }
  return map;
}

function isSize(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function sizes(value: PickleValue | undefined): number[] | undefined {
  const items = value instanceof Tuple ? value.items : undefined;
  return items?.every(isSize) === true ? [...items] : undefined;
}

function rebuildTensor(file: RandomAccess, args: readonly PickleValue[]): TensorView {
  const [storage, offset, size, stride] = args;
  const shape = sizes(size);
  const strides = sizes(stride);
  if (!(storage instanceof Storage) || !isSize(offset) || !shape || !strides || shape.length !== strides.length) {
    throw fault(file, "malformed", "a tensor is not made from a storage, an offset, sizes and strides");
  }
  const count = elementCount(shape);
  const end = count === 0 ? 0 : offset + lastIndex(shape, strides) + 1;
  if (end > storage.elements || count > Math.max(EXPANDED_LIMIT, storage.elements)) {
    const view = `a tensor of shape [${shape.join(", ")}], strides [${strides.join(", ")}] at offset ${offset}`;
    throw fault(file, "malformed", `${view} reaches beyond its storage of ${storage.elements} elements`);
  }
  return new TensorView(file, storage, offset, shape, strides);
}

/** ('storage', class, key, device, elements[, view]) with `view` only in the legacy format. */
function storageId(file: RandomAccess, id: PickleValue): { key: string; dtype: ElementType; elements: number } {
  const [kind, type, key, , elements, view = null] = id instanceof Tuple ? id.items : [];
  if (kind === "module") throw fault(file, "refused", "it holds a whole module with its source, not a state_dict");
  const dtype = type instanceof Global ? storageTypes.get(type.name) : undefined;
  if (kind !== "storage" || dtype === undefined || typeof key !== "string" || !isSize(elements)) {
    throw fault(file, "malformed", "a persistent id does not name a storage");
  }
  if (view !== null) throw fault(file, "refused", "it has storages that are views of others (before PyTorch 0.4)");
  return { key, dtype, elements };
}

/** Reads the zip format (PyTorch since 1.6). Throws `WeightsError`. */
export async function readPytorchZip(file: RandomAccess): Promise<PytorchFile> {
  const entries = await readZipDirectory(file);
  const pickles = [...entries.values()].filter(({ name }) => /(^|\/)data\.pkl$/u.test(name));
  const [main] = pickles;
  if (main === undefined || pickles.length > 1) {
    throw fault(file, "not_recognized", "a zip archive, but not a PyTorch checkpoint (it has no data.pkl of its own)");
  }
  const root = main.name.slice(0, -"data.pkl".length);
  if (entries.has(`${root}constants.pkl`)) {
    throw fault(file, "refused", "a TorchScript program, not a checkpoint; save model.state_dict() instead");
  }
  const order = entries.get(`${root}byteorder`);
  if (order !== undefined && new TextDecoder().decode(await entryBytes(file, order)) !== "little") {
    throw fault(file, "refused", "the checkpoint is big-endian");
  }
  if (main.size > PICKLE_LIMIT) throw fault(file, "refused", `data.pkl has ${main.size} bytes, over 128 MiB`);
  const storages = new Map<string, Storage>();
  const persistent = (id: PickleValue): Storage => zipStorage(file, entries, root, id, storages);
  const { value } = readPickle(await entryBytes(file, main), 0, {
    file: file.name, globals: knownGlobals(file), persistent,
  });
  return { format: "zip", value };
}

async function entryBytes(file: RandomAccess, entry: ZipEntry): Promise<Uint8Array> {
  return readRange(file, await entryData(file, entry), entry.size, `zip entry '${entry.name}'`);
}

function zipStorage(
  file: RandomAccess, entries: ReadonlyMap<string, ZipEntry>, root: string, id: PickleValue,
  storages: Map<string, Storage>,
): Storage {
  const { key, dtype, elements } = storageId(file, id);
  const known = storages.get(key);
  if (known?.dtype === dtype && known.elements === elements) return known;
  const entry = entries.get(`${root}data/${key}`);
  if (entry === undefined) throw fault(file, "malformed", `the archive has no storage '${key}'`);
  if (entry.size !== elements * elementBytes[dtype]) {
    const says = `storage '${key}' has ${entry.size} bytes`;
    throw fault(file, "malformed", `${says}, but ${elements} elements of ${dtype} are expected`);
  }
  const storage = new Storage(key, dtype, elements, () => entryData(file, entry));
  storages.set(key, storage);
  return storage;
}

const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;

/** The first bytes of the legacy format: the pickle of its magic number. */
export const legacyPrefix: readonly number[] = [
  0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e,
];

/** Reads the legacy stream (PyTorch before 1.6): five pickles, then the storages. Throws `WeightsError`. */
export async function readPytorchLegacy(file: RandomAccess): Promise<PytorchFile> {
  // The end of the pickles is known only once they are read; most fit into the first mebibyte.
  for (let length = 2 ** 20; ; length *= 8) {
    const bytes = await readRange(file, 0, Math.min(length, PICKLE_LIMIT, file.size), "the file's beginning");
    try {
      return await parseLegacy(file, bytes);
    } catch (error) {
      const cut = error instanceof WeightsError && error.fault === "truncated" && bytes.byteLength < file.size;
      if (!cut || length >= PICKLE_LIMIT) throw error;
    }
  }
}

async function parseLegacy(file: RandomAccess, bytes: Uint8Array): Promise<PytorchFile> {
  const positions = new Map<string, number>();
  const storages = new Map<string, Storage>();
  const globals = knownGlobals(file);
  const persistent = (id: PickleValue): Storage => {
    const { key, dtype, elements } = storageId(file, id);
    const known = storages.get(key);
    if (known?.dtype === dtype && known.elements === elements) return known;
    if (known !== undefined) throw fault(file, "malformed", `storage '${key}' has two types`);
    const storage = new Storage(key, dtype, elements, () => Promise.resolve(positions.get(key) ?? file.size));
    storages.set(key, storage);
    return storage;
  };
  const plain: PickleContext = { file: file.name, globals };
  const magic = readPickle(bytes, 0, plain);
  const protocol = readPickle(bytes, magic.end, plain);
  if (magic.value !== LEGACY_MAGIC || protocol.value !== LEGACY_PROTOCOL) {
    throw fault(file, "not_recognized", "a pickle, but not a PyTorch checkpoint (its magic number is missing)");
  }
  const system = readPickle(bytes, protocol.end, plain);
  if (!(system.value instanceof Map) || system.value.get("little_endian") !== true) {
    throw fault(file, "refused", "the checkpoint is not marked as little-endian");
  }
  const main = readPickle(bytes, system.end, { ...plain, persistent });
  const keys = readPickle(bytes, main.end, plain);
  await placeStorages(file, keys.value, keys.end, storages, positions);
  return { format: "legacy", value: main.value };
}

/** Each storage in the order of `keys`: int64 element count, then the elements. */
async function placeStorages(
  file: RandomAccess, keys: PickleValue, start: number,
  storages: ReadonlyMap<string, Storage>, positions: Map<string, number>,
): Promise<void> {
  if (!Array.isArray(keys)) throw fault(file, "malformed", "the list of storages is not a list");
  let at = start;
  for (const key of keys) {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    if (storage === undefined || positions.has(storage.key)) {
      throw fault(file, "malformed", `the list of storages names '${String(key)}', which no tensor uses or twice`);
    }
    const head = await readRange(file, at, 8, `storage '${storage.key}'`);
    const count = new DataView(head.buffer, head.byteOffset, 8).getBigInt64(0, true);
    if (count !== BigInt(storage.elements)) {
      throw fault(file, "malformed", `storage '${storage.key}' has ${count} elements, expected ${storage.elements}`);
    }
    positions.set(storage.key, at + 8);
    at += 8 + storage.elements * elementBytes[storage.dtype];
    if (at > file.size) {
      throw new WeightsError(`storage '${storage.key}' is cut short: it ends at byte ${at} of ${file.size}`, {
        file: file.name, fault: "truncated", help: "download or copy the file again",
      });
    }
  }
  const absent = [...storages.keys()].find((key) => !positions.has(key));
  if (absent !== undefined) throw fault(file, "malformed", `storage '${absent}' is not in the file`);
}
