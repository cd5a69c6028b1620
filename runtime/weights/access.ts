/** @file Bytes at random places: all that the weight readers know of a file, so that they work in a browser too. */

import { WeightsError } from "../errors.js";
import { printable } from "../text.js";

/** A file, a Blob or a block of memory that can be read in pieces. */
export interface RandomAccess {
  /** What messages call it: a path or an address. */
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** Bytes [offset, offset + length); the caller owns the result. Callers stay inside [0, size). */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Gives the file back; no read may follow. */
  close?(): Promise<void>;
}

/** Bytes already in memory as a file; reads are views, not copies. */
export function memoryAccess(name: string, bytes: Uint8Array): RandomAccess {
  return {
    name,
    size: bytes.byteLength,
    read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
  };
}

/** Reads [offset, offset + length), or says that the file is cut short in the middle of `what`. */
export async function readRange(
  file: RandomAccess, offset: number, length: number, what: string, tensor?: string,
): Promise<Uint8Array> {
  const inside = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  const bytes = inside && offset + length <= file.size ? await file.read(offset, length) : undefined;
  if (bytes?.byteLength === length) return bytes;
  const message = `${printable(what)} lies at bytes ${offset} to ${offset + length}, but the file has ${file.size}`;
  throw new WeightsError(message, {
    file: file.name, fault: "truncated", tensor, help: "download or copy the file again",
  });
}
