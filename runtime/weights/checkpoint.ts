/** @file Opens a weights file of any kind, recognized by its content, and finds the state dict in it. */

import { WeightsError, type FileFault } from "../errors.js";
import { printable } from "../text.js";
import { readRange, type RandomAccess } from "./access.js";
import type { StoredTensor } from "./dtype.js";
import { averageKeys, stripPrefixes, wrapperKeys } from "./names.js";
import type { PickleValue } from "./pickle.js";
import { legacyPrefix, readPytorchLegacy, readPytorchZip, TensorView, type PytorchFile } from "./pytorch.js";
import { readSafetensors } from "./safetensors.js";

/** The state dict of a file; tensors are read when asked for, so the file must stay open until then. */
export interface Checkpoint {
  /** As the caller named it. */
  readonly file: string;
  readonly format: "safetensors" | "pytorch-zip" | "pytorch-legacy";
  /** By name, without the prefixes that wrappers of a module put in front, in the order of the file. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Of a safetensors file; else empty. */
  readonly metadata: ReadonlyMap<string, string>;
  /** What was found besides or chosen, as sentences worth saying aloud. */
  readonly notes: readonly string[];
}

/** How to open a checkpoint. */
export interface CheckpointOptions {
  /** Take the moving average of the weights that training kept; an error when the file has none. */
  readonly ema?: boolean;
  /** Opens the average of weights whose own file does not have it. @throws WeightsError if no file has it */
  readonly averageOf?: (weights: Checkpoint) => Promise<Checkpoint>;
}

/** The bytes that tell a format, and what to say about formats that are not weights. */
const HEAD_BYTES = 64;

function startsWith(head: Uint8Array, bytes: readonly number[]): boolean {
  return bytes.every((byte, index) => head[index] === byte);
}

function ascii(text: string): number[] {
  return [...text].map((character) => character.charCodeAt(0));
}

/** Files that people take for weights, by their first bytes. */
const otherFormats: readonly { readonly prefix: readonly number[]; readonly what: string; readonly help: string }[] = [
  {
    prefix: ascii("version https://git-lfs"), what: "a git-lfs pointer, not the weights themselves",
    help: "fetch the file itself with `git lfs pull`",
  },
  { prefix: ascii("<"), what: "a web page or XML, not weights", help: "download the file itself, not its page" },
  { prefix: [0x1f, 0x8b], what: "a gzip file", help: "unpack it first" },
  { prefix: ascii("GGUF"), what: "a GGUF file", help: "convert it to safetensors" },
  { prefix: [0x89, 0x48, 0x44, 0x46], what: "an HDF5 file", help: "convert it to safetensors" },
  { prefix: [0x93, 0x4e, 0x55, 0x4d], what: "a NumPy array", help: "convert it to safetensors" },
];

function fault(file: RandomAccess, kind: FileFault, message: string, help?: string): WeightsError {
  return new WeightsError(printable(message), { file: file.name, fault: kind, help });
}

/** A pickle of protocol 2 to 5 begins so. */
function isPickle(head: Uint8Array): boolean {
  return head[0] === 0x80 && head[1] !== undefined && head[1] >= 2 && head[1] <= 5;
}

/** A header length under 4 GiB, then the header's brace. */
function isSafetensors(head: Uint8Array): boolean {
  return head[8] === 0x7b && [4, 5, 6, 7].every((index) => head[index] === 0);
}

/**
 * Opens safetensors and PyTorch files (zip and legacy) by their content. Throws `WeightsError` with fault `truncated`,
 * `malformed`, `refused` or `not_recognized`.
 */
export async function openCheckpoint(file: RandomAccess, options: CheckpointOptions = {}): Promise<Checkpoint> {
  if (file.size === 0) throw fault(file, "truncated", "the file is empty", "download or copy the file again");
  const head = await readRange(file, 0, Math.min(HEAD_BYTES, file.size), "the file's beginning");
  if (startsWith(head, ascii("PK"))) return fromPytorch(file, await readPytorchZip(file), options);
  if (startsWith(head, legacyPrefix) || isPickle(head)) {
    return fromPytorch(file, await readPytorchLegacy(file), options);
  }
  if (isSafetensors(head)) return fromSafetensors(file, options);
  const other = otherFormats.find(({ prefix }) => startsWith(head, prefix));
  if (other !== undefined) throw fault(file, "not_recognized", `this is ${other.what}`, other.help);
  throw fault(file, "not_recognized", "neither a safetensors file nor a PyTorch checkpoint",
    "give a .safetensors, .pth, .pt, .th or .bin file; its name does not matter, its content does");
}

async function fromSafetensors(file: RandomAccess, options: CheckpointOptions): Promise<Checkpoint> {
  const { tensors, metadata } = await readSafetensors(file);
  const weights: Checkpoint = {
    file: file.name, format: "safetensors", tensors: byName(file, tensors), metadata, notes: [],
  };
  if (options.ema !== true) return weights;
  // A training run says of its files which weights they hold.
  if (metadata.get("weights") === "ema") return { ...weights, notes: [`${file.name} is the moving average itself`] };
  if (options.averageOf) return options.averageOf(weights);
  throw fault(file, "not_recognized", "the moving average was asked for, but the file has only the weights");
}

/** Under the names that their owners use. Throws when two tensors differ in a wrapper's prefix alone. */
function byName(file: RandomAccess, tensors: Iterable<StoredTensor>): Map<string, StoredTensor> {
  const result = new Map<string, StoredTensor>();
  for (const tensor of tensors) {
    const name = stripPrefixes(tensor.name);
    if (result.has(name)) throw fault(file, "malformed", `two tensors are called '${name}' once prefixes are stripped`);
    result.set(name, tensor);
  }
  return result;
}

/** The tensors of a dictionary by their keys; undefined when it is no dictionary or holds none. */
function tensorsOf(value: PickleValue | undefined): StoredTensor[] | undefined {
  if (!(value instanceof Map)) return undefined;
  const tensors: StoredTensor[] = [];
  for (const [key, item] of value) {
    if (typeof key === "string" && item instanceof TensorView) tensors.push(item.as(key));
  }
  return tensors.length === 0 ? undefined : tensors;
}

/** The first of `keys` that leads to a state dict. */
function wrapped(value: PickleValue, keys: readonly string[]): { key: string; tensors: StoredTensor[] } | undefined {
  if (!(value instanceof Map)) return undefined;
  for (const key of keys) {
    const tensors = tensorsOf(value.get(key));
    if (tensors !== undefined) return { key, tensors };
  }
  return undefined;
}

function fromPytorch(file: RandomAccess, { format, value }: PytorchFile, options: CheckpointOptions): Checkpoint {
  const average = wrapped(value, averageKeys);
  const notes: string[] = [];
  let tensors: StoredTensor[] | undefined;
  if (options.ema === true) {
    if (average === undefined) {
      const looked = averageKeys.map((key) => `'${key}'`).join(" or ");
      throw fault(file, "not_recognized", `the moving average was asked for, but the file has no ${looked}`);
    }
    tensors = average.tensors;
    notes.push(`used the moving average of the weights, '${average.key}'`);
  } else {
    tensors = wrapped(value, wrapperKeys)?.tensors ?? tensorsOf(value);
    if (average !== undefined) notes.push(`the file also holds a moving average, '${average.key}': not used`);
  }
  if (tensors === undefined) {
    throw fault(file, "not_recognized", "a PyTorch file, but without a state dict (a dictionary of tensors)",
      "save model.state_dict()");
  }
  return {
    file: file.name, format: format === "zip" ? "pytorch-zip" : "pytorch-legacy",
    tensors: byName(file, tensors), metadata: new Map(), notes,
  };
}
