/**
 * @file Where everything a module needs lives on the device: sizes at a batch, checked against the adapter's limits
 * before the first byte is allocated. Pure arithmetic; nothing here touches a device.
 */
import { elementBytes } from "./dtype.js";
import { InputError, OutOfMemoryError } from "./errors.js";
import { familyNamed } from "./families.js";
import type { DType, Family, FamilyName, Manifest, ParameterInfo, Size, TensorInfo } from "./manifest.js";

/** Parameters share buffers of at most this many bytes: some drivers fail single allocations far below their limit. */
const PARAMETER_BUFFER_BYTES = 256 * 2 ** 20;
/** Bind offsets are multiples of this on every adapter (`minStorageBufferOffsetAlignment` is at most 256). */
const ALIGNMENT = 256;
/** Smallest storage: one `vec4f`, so that a kernel may view any tensor as vectors. */
const GRAIN = 16;

/** A kernel knows the batch as an i32. */
const MOST_IMAGES = 2 ** 31 - 1;

/** The limits of a device that bound a single allocation or binding, in bytes. */
export interface MemoryLimits {
  readonly maxBufferSize: number;
  readonly maxStorageBufferBindingSize: number;
}

/** A tensor's bytes inside one of several buffers. */
export interface Place {
  readonly buffer: number;
  readonly offset: number;
  readonly bytes: number;
}

/** A tensor of a parameter store. */
export interface StoredTensor {
  readonly path: string;
  readonly shape: readonly number[];
  /** f32 unless it says otherwise. */
  readonly dtype?: DType;
  /** Position of the lane it lies in, and where it starts there, in elements. */
  readonly inside?: { readonly index: number; readonly offset: number };
  /** Has a buffer of its own: a dispatch may write it, and must not read another tensor of the same buffer then. */
  readonly alone: boolean;
}

/** Every allocation of a program at one batch, in bytes. */
export interface MemoryPlan {
  readonly batch: number;
  /** Sizes of the buffers that parameters are packed into, in order, none split. */
  readonly parameterBuffers: readonly number[];
  /** Where each parameter lies, in the manifest's order. */
  readonly parameters: readonly Place[];
  readonly slots: readonly number[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/** Bytes on the device by kind; `staging` is what results are read back through. */
export interface MemoryUse {
  readonly parameters: number;
  readonly derived: number;
  readonly activations: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly staging: number;
  readonly total: number;
}

/** b·B + c at batch `B`. */
export const sizeAt = (size: Size, batch: number): number => size.b * batch + size.c;

/** `value` rounded up to a multiple of `step`. */
const roundUp = (value: number, step: number): number => Math.ceil(value / step) * step;

/** Number of elements of a tensor at batch `B`. */
export const elementsAt = (info: TensorInfo, batch: number): number =>
  info.shape.reduce((n, d) => n * sizeAt(d, batch), 1);

/** Number of elements of a parameter. */
export const parameterElements = (info: Pick<ParameterInfo, "shape">): number => info.shape.reduce((n, d) => n * d, 1);

/** Bytes of a parameter's elements. */
export const parameterBytes = (info: Pick<ParameterInfo, "shape" | "dtype">): number =>
  elementBytes(info.dtype) * parameterElements(info);

/** `[B, 3, 224, 224]`. */
export function showShape(shape: readonly Size[]): string {
  const show = ({ b, c }: Size): string => {
    if (b === 0) return String(c);
    const head = b === 1 ? "B" : `${b}·B`;
    return c === 0 ? head : `${head} ${c < 0 ? "-" : "+"} ${Math.abs(c)}`;
  };
  return `[${shape.map(show).join(", ")}]`;
}

/** `86,567,656`: digits in groups of three. */
export const showCount = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

/** `1.2 GiB`, `34.0 MiB`, `512 bytes`. */
export function showBytes(bytes: number): string {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(bytes >= 100 * size ? 0 : 1)} ${unit}`;
  }
  return `${bytes} bytes`;
}

/** One allocation that grows with the batch, and what to call it in a message. */
interface Demand {
  readonly what: string;
  readonly bytesAt: (batch: number) => number;
}

/** The allocations of one buffer each: slots, inputs, outputs. */
function demandsOf(manifest: Manifest, family: Family): { slots: Demand[]; inputs: Demand[]; outputs: Demand[] } {
  const tensor = (kind: string) => (info: TensorInfo): Demand => ({
    what: `${kind} '${info.name}' ${showShape(info.shape)}`,
    bytesAt: (batch) => (info.sameAs === undefined
      ? roundUp(Math.max(elementBytes(info.dtype) * elementsAt(info, batch), GRAIN), GRAIN) : GRAIN),
  });
  return {
    slots: family.slots.map((slot) => ({
      what: nameSlot(slot.tensors),
      bytesAt: (batch) => roundUp(Math.max(sizeAt(slot.bytes, batch), GRAIN), GRAIN),
    })),
    inputs: manifest.inputs.map(tensor("input")),
    outputs: manifest.outputs.map(tensor("output")),
  };
}

/** `tensor 'blocks.0.attn.qkv' (shares its storage with 11 more)`. */
function nameSlot(tensors: readonly string[]): string {
  const [first, ...rest] = tensors;
  if (first === undefined) return "an unnamed slot";
  return rest.length === 0 ? `tensor '${first}'` : `tensor '${first}' (shares its storage with ${rest.length} more)`;
}

/**
 * The largest batch whose every tensor fits `limits`; 0 when not even one image does. The total is not considered:
 * no adapter reports how much memory it has.
 */
export function largestBatch(manifest: Manifest, family: FamilyName, limits: MemoryLimits): number {
  const { slots, inputs, outputs } = demandsOf(manifest, familyNamed(manifest, family));
  const demands = [...slots, ...inputs, ...outputs];
  const limit = tensorLimit(limits);
  const fits = (batch: number): boolean => demands.every((d) => d.bytesAt(batch) <= limit);
  let low = 0;
  let high = MOST_IMAGES;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

const tensorLimit = (limits: MemoryLimits): number =>
  Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);

/**
 * Sizes of every buffer at `batch`.
 * @throws InputError when the batch is not a whole number ≥ 1.
 * @throws OutOfMemoryError naming the first tensor that the device cannot hold, its bytes, the limit and the largest
 * batch that fits.
 * @param shared whether parameters are allocated elsewhere
 */
export function planMemory(
  manifest: Manifest, family: FamilyName, batch: number, limits: MemoryLimits, shared = false,
): MemoryPlan {
  if (!Number.isInteger(batch) || batch < 1 || batch > MOST_IMAGES) {
    throw new InputError(`the batch must be a whole number from 1 to ${MOST_IMAGES}, got ${batch}`);
  }
  const limit = tensorLimit(limits);
  const demands = demandsOf(manifest, familyNamed(manifest, family));
  const place = (list: readonly Demand[]): number[] =>
    list.map((demand) => {
      const bytes = demand.bytesAt(batch);
      if (bytes > limit) throw tooLarge(demand.what, bytes, limit, batch, largestBatch(manifest, family, limits));
      return bytes;
    });
  return {
    batch,
    ...(shared ? { parameterBuffers: [], parameters: [] } : packParameters(storedParameters(manifest, family), limit)),
    slots: place(demands.slots),
    inputs: place(demands.inputs),
    outputs: place(demands.outputs),
  };
}

function tooLarge(what: string, bytes: number, limit: number, batch: number, largest: number): OutOfMemoryError {
  return new OutOfMemoryError(
    `${what} needs ${bytes} bytes (${showBytes(bytes)}) at batch ${batch}, ` +
      `but this adapter binds at most ${limit} (${showBytes(limit)})`,
    { help: largest === 0 ? "use a smaller model or another adapter" : `the largest batch that fits is ${largest}` },
  );
}

/** Parameters that some dispatch of a family writes, by position. */
export function writtenParameters(manifest: Manifest, family: FamilyName): ReadonlySet<number> {
  const { kernels, programs } = familyNamed(manifest, family);
  const refs = [...programs.prepare, ...programs.run].flatMap((step) =>
    step.bindings.filter((_, i) => kernels[step.kernel]?.bindings[i] === "read_write"));
  return new Set(refs.flatMap((ref) => (ref.kind === "parameter" ? [ref.index] : [])));
}

/** The parameters of a manifest as they are stored when no other program shares them. */
export function storedParameters(manifest: Manifest, family: FamilyName): StoredTensor[] {
  const written = writtenParameters(manifest, family);
  return manifest.parameters.map(({ path, shape, dtype, inside }, i) => ({
    path, shape, dtype, alone: written.has(i),
    inside: inside && { index: inside.parameter, offset: inside.offset },
  }));
}

/**
 * Packs tensors in order, each 256-byte aligned, into buffers of at most 256 MiB; one larger than that is alone, and so
 * are lanes and what is written.
 * @throws OutOfMemoryError naming a tensor that exceeds `limit`, in bytes
 */
export function packParameters(
  tensors: readonly StoredTensor[],
  limit: number,
): { parameterBuffers: number[]; parameters: Place[] } {
  const capacity = Math.min(PARAMETER_BUFFER_BYTES, limit);
  const lanes = new Set(tensors.flatMap(({ inside }) => (inside ? [inside.index] : [])));
  const parameterBuffers: number[] = [];
  /** The buffer that is being filled, if any. */
  let open: number | undefined;
  const places: Place[] = [];
  for (const [i, info] of tensors.entries()) {
    const bytes = parameterBytes(info);
    const lane = info.inside && places[info.inside.index];
    if (info.inside) {
      if (!lane) throw new InputError(`'${info.path}' lies in a lane that does not come before it`);
      places.push({ buffer: lane.buffer, offset: lane.offset + elementBytes(info.dtype) * info.inside.offset, bytes });
      continue;
    }
    const reserved = roundUp(bytes, GRAIN);
    if (reserved > limit) throw tooLarge(`parameter '${info.path}'`, bytes, limit, 1, 0);
    const alone = info.alone || lanes.has(i);
    const aligned = roundUp(open === undefined ? Infinity : parameterBuffers[open] ?? Infinity, ALIGNMENT);
    const fits = !alone && aligned + reserved <= capacity;
    const buffer = fits && open !== undefined ? open : parameterBuffers.length;
    const offset = fits ? aligned : 0;
    parameterBuffers[buffer] = offset + reserved;
    if (!alone) open = buffer;
    places.push({ buffer, offset, bytes });
  }
  return { parameterBuffers, parameters: places };
}

/** Bytes by kind of a plan. @param parameters bytes of a store that the program shares */
export function memoryUse(plan: MemoryPlan, family: Family, parameters = 0): MemoryUse {
  const sum = (list: readonly number[]): number => list.reduce((n, bytes) => n + bytes, 0);
  const derived = sum(plan.slots.filter((_, i) => family.slots[i]?.kind === "derived"));
  const use = {
    parameters: parameters + sum(plan.parameterBuffers),
    derived,
    activations: sum(plan.slots) - derived,
    inputs: sum(plan.inputs),
    outputs: sum(plan.outputs),
    staging: sum(plan.outputs),
  };
  return { ...use, total: sum(Object.values(use)) };
}
