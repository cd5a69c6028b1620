/** @file The safetensors format, read strictly and written. Source: the format page of huggingface/safetensors. */

import { isObject, show } from "../check/schema.js";
import { InputError, WeightsError } from "../errors.js";
import { printable } from "../text.js";
import { readRange, type RandomAccess } from "./access.js";
import { elementBytes, elementCount, isElementType, type ElementType, type StoredTensor } from "./dtype.js";

/** Bytes; the limit of the reference implementation. */
const HEADER_LIMIT = 100_000_000;
/** Characters of a tensor's name, and its axes: what is beyond is no tensor, and no message to read. */
const NAME_LIMIT = 1000;
const RANK_LIMIT = 64;

/** What a safetensors file holds. */
interface Safetensors {
  /** In the order of their data. */
  readonly tensors: readonly StoredTensor[];
  /** `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
}

interface Placed {
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** A name in a message. */
const quoted = (name: string): string => `'${printable(name.length <= 60 ? name : `${name.slice(0, 60)}…`)}'`;

function malformed(file: RandomAccess, message: string, tensor?: string): WeightsError {
  return new WeightsError(message, { file: file.name, fault: "malformed", tensor });
}

/**
 * The first key that some object of a valid JSON text gives twice; `JSON.parse` would keep the last one in silence.
 */
function duplicateKey(json: string): string | undefined {
  const keys: Set<string>[] = [];
  // By hand: a regular expression runs out of stack on a text of some megabytes.
  for (let at = 0; at < json.length; at++) {
    const sign = json[at];
    if (sign === "{") keys.push(new Set());
    else if (sign === "}") keys.pop();
    else if (sign === "\"") {
      const start = at++;
      while (json[at] !== "\"") at += json[at] === "\\" ? 2 : 1;
      let next = at + 1;
      while (/\s/u.test(json[next] ?? "")) next++;
      if (json[next] !== ":") continue;
      const key: unknown = JSON.parse(json.slice(start, at + 1));
      const seen = keys.at(-1);
      if (typeof key !== "string" || seen === undefined) continue;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length <= RANK_LIMIT
    && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function parseHeader(file: RandomAccess, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (cause) {
    throw new WeightsError("the header is not JSON", { file: file.name, fault: "malformed", cause });
  }
  if (!isObject(header) || !text.startsWith("{")) throw malformed(file, "the header is not a JSON object");
  const twice = duplicateKey(text);
  if (twice !== undefined) throw malformed(file, `the header gives the key ${quoted(twice)} twice`);
  return header;
}

function parseMetadata(file: RandomAccess, value: unknown): Map<string, string> {
  const metadata = new Map<string, string>();
  if (value === undefined) return metadata;
  if (!isObject(value)) throw malformed(file, "__metadata__ is not an object");
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") throw malformed(file, `__metadata__ entry ${quoted(key)} is not a string`);
    metadata.set(key, text);
  }
  return metadata;
}

function parseEntry(file: RandomAccess, name: string, entry: unknown, dataBytes: number): Placed {
  if (name.length > NAME_LIMIT) {
    throw malformed(file, `the name ${quoted(name)} has ${name.length} characters, over ${NAME_LIMIT}`);
  }
  if (!isObject(entry)) throw malformed(file, "its header entry is not an object", name);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isElementType(dtype)) throw malformed(file, `its dtype ${show(dtype)} is not supported`, name);
  if (!isSizes(shape)) throw malformed(file, `its shape ${show(shape)} is not a list of sizes`, name);
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw malformed(file, `its data_offsets ${show(offsets)} are not two non-negative whole numbers`, name);
  }
  const [begin = 0, end = 0] = offsets;
  const bytes = elementCount(shape) * elementBytes[dtype];
  if (end - begin !== bytes) {
    const says = `its data_offsets span ${end - begin} bytes`;
    throw malformed(file, `${says}, but ${dtype} [${shape.join(", ")}] takes ${bytes}`, name);
  }
  if (end > dataBytes) {
    const help = "download or copy the file again";
    const message = `its data ends at byte ${end} of the data block, which has ${dataBytes}`;
    throw new WeightsError(message, { file: file.name, fault: "truncated", tensor: name, help });
  }
  return { name, dtype, shape, begin, end };
}

/** Tensors must follow one another without a hole or an overlap and fill the data block. */
function checkLayout(file: RandomAccess, placed: readonly Placed[], dataBytes: number): void {
  let end = 0;
  for (const tensor of placed) {
    if (tensor.begin < end) {
      throw malformed(file, `its data overlaps the tensor before it by ${end - tensor.begin} bytes`, tensor.name);
    }
    if (tensor.begin > end) {
      throw malformed(file, `a hole of ${tensor.begin - end} bytes lies before its data`, tensor.name);
    }
    end = tensor.end;
  }
  if (end !== dataBytes) throw malformed(file, `${dataBytes - end} bytes after the last tensor belong to no tensor`);
}

/** Reads and checks the header; data is read when a tensor is asked for it. Throws `WeightsError`. */
export async function readSafetensors(file: RandomAccess): Promise<Safetensors> {
  const prefix = await readRange(file, 0, 8, "the header length");
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > HEADER_LIMIT) throw malformed(file, `a header of ${length} bytes is over the limit of ${HEADER_LIMIT}`);
  const dataStart = 8 + Number(length);
  const header = parseHeader(file, await readRange(file, 8, Number(length), "the header"));
  const { __metadata__: metadata, ...entries } = header;
  const dataBytes = file.size - dataStart;
  const placed = Object.entries(entries)
    .map(([name, entry]) => parseEntry(file, name, entry, dataBytes))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkLayout(file, placed, dataBytes);
  const tensors = placed.map(({ name, dtype, shape, begin, end }): StoredTensor => ({
    name, dtype, shape, read: () => readRange(file, dataStart + begin, end - begin, "its data", name),
  }));
  return { tensors, metadata: parseMetadata(file, metadata) };
}

/** A tensor to write: float32 values, or raw little-endian elements of another type. */
export interface TensorToWrite {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | { readonly dtype: ElementType; readonly bytes: Uint8Array };
}

/**
 * A safetensors file in pieces to be written one after the other: the header, padded to 8 bytes, then each tensor's
 * own memory, not copied. Throws `InputError` on a name given twice or data that does not fill its shape.
 */
export function encodeSafetensors(
  tensors: readonly TensorToWrite[], metadata: Readonly<Record<string, string>> = {},
): Uint8Array[] {
  const entries = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) entries.set("__metadata__", metadata);
  const chunks: Uint8Array[] = [];
  let begin = 0;
  for (const { name, shape, data } of byAlignment(tensors)) {
    const { dtype, bytes } = data instanceof Float32Array
      ? { dtype: "F32" as const, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) } : data;
    const expected = elementCount(shape) * elementBytes[dtype];
    if (bytes.byteLength !== expected) {
      throw new InputError(`tensor ${quoted(name)} has ${bytes.byteLength} bytes, its shape takes ${expected}`);
    }
    if (name === "__metadata__" || entries.has(name)) {
      throw new InputError(`tensor name ${quoted(name)} is given twice`);
    }
    entries.set(name, { dtype, shape, data_offsets: [begin, begin + expected] });
    chunks.push(bytes);
    begin += expected;
  }
  // Not through an object: integer-like keys would change places.
  const members = [...entries].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  const json = new TextEncoder().encode(`{${members.join(",")}}`);
  const padded = Math.ceil(json.byteLength / 8) * 8;
  const head = new Uint8Array(8 + padded).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, 8);
  return [head, ...chunks];
}

/** Wider elements first, else in the order given, so that every tensor starts at a multiple of its element size. */
function byAlignment(tensors: readonly TensorToWrite[]): readonly TensorToWrite[] {
  const width = ({ data }: TensorToWrite): number => (data instanceof Float32Array ? 4 : elementBytes[data.dtype]);
  return tensors.toSorted((a, b) => width(b) - width(a));
}
