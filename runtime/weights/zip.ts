/**
 * @file The directory of a ZIP container with Zip64, for archives whose entries are stored, not compressed. Sizes and
 * places come from the central directory: local headers may hold zeros. Source: PKWARE APPNOTE 6.3.9, §4.3–4.5.
 */

import { WeightsError, type FileFault } from "../errors.js";
import { printable } from "../text.js";
import { readRange, type RandomAccess } from "./access.js";

/** A stored entry. */
export interface ZipEntry {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Where its local header starts. */
  readonly header: number;
}

const END = 0x06054b50;
const END64_LOCATOR = 0x07064b50;
const END64 = 0x06064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
/** The end record and the longest comment. */
const TAIL = 22 + 65535;
const DIRECTORY_LIMIT = 64 * 2 ** 20;

function fault(file: RandomAccess, kind: FileFault, message: string, help?: string): WeightsError {
  return new WeightsError(printable(message), { file: file.name, fault: kind, help });
}

function dataView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function safe(file: RandomAccess, value: bigint): number {
  if (value > Number.MAX_SAFE_INTEGER) throw fault(file, "malformed", "the zip directory contains an invalid number");
  return Number(value);
}

interface Directory {
  readonly offset: number;
  readonly bytes: number;
  readonly entries: number;
}

async function locate(file: RandomAccess): Promise<Directory> {
  const start = Math.max(0, file.size - TAIL);
  const view = dataView(await readRange(file, start, file.size - start, "the end of the zip archive"));
  let at = view.byteLength - 22;
  // A comment may contain the signature; the true record's comment ends with the file.
  const isEnd = (): boolean => (
    view.getUint32(at, true) === END && view.getUint16(at + 20, true) === view.byteLength - at - 22
  );
  while (at >= 0 && !isEnd()) at--;
  if (at < 0) {
    throw fault(file, "truncated", "the zip archive has no end-of-central-directory record; the file is cut short",
      "download or copy the file again");
  }
  const directory = {
    entries: view.getUint16(at + 10, true), bytes: view.getUint32(at + 12, true), offset: view.getUint32(at + 16, true),
  };
  const saturated = directory.entries === 0xffff || directory.bytes === 0xffffffff || directory.offset === 0xffffffff;
  if (!saturated || at < 20 || view.getUint32(at - 20, true) !== END64_LOCATOR) return directory;
  const end64 = safe(file, view.getBigUint64(at - 20 + 8, true));
  const record = dataView(await readRange(file, end64, 56, "the zip64 end record"));
  if (record.getUint32(0, true) !== END64) throw fault(file, "malformed", "the zip64 end record is misplaced");
  return {
    entries: safe(file, record.getBigUint64(32, true)),
    bytes: safe(file, record.getBigUint64(40, true)),
    offset: safe(file, record.getBigUint64(48, true)),
  };
}

/** Replaces saturated 32-bit fields by those of the Zip64 extra field, which holds only these, in this order. */
function widen(file: RandomAccess, extra: DataView, fields: { size: number; packed: number; header: number }): void {
  for (let at = 0; at + 4 <= extra.byteLength;) {
    const id = extra.getUint16(at, true);
    const end = at + 4 + extra.getUint16(at + 2, true);
    if (id === 1) {
      let next = at + 4;
      for (const key of ["size", "packed", "header"] as const) {
        if (fields[key] !== 0xffffffff) continue;
        if (next + 8 > Math.min(end, extra.byteLength)) throw fault(file, "malformed", "a zip64 field is cut short");
        fields[key] = safe(file, extra.getBigUint64(next, true));
        next += 8;
      }
    }
    at = end;
  }
}

/** All entries by name. Throws `WeightsError` when the directory is broken or an entry is compressed or encrypted. */
export async function readZipDirectory(file: RandomAccess): Promise<Map<string, ZipEntry>> {
  const directory = await locate(file);
  if (directory.bytes > DIRECTORY_LIMIT) throw fault(file, "refused", "the zip directory is over 64 MiB");
  const bytes = await readRange(file, directory.offset, directory.bytes, "the zip directory");
  const view = dataView(bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let index = 0; index < directory.entries; index++) {
    if (at + 46 > bytes.byteLength || view.getUint32(at, true) !== CENTRAL) {
      throw fault(file, "malformed", `the zip directory ends after ${index} of ${directory.entries} entries`);
    }
    const nameEnd = at + 46 + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const end = extraEnd + view.getUint16(at + 32, true);
    if (end > bytes.byteLength) throw fault(file, "malformed", "a zip directory entry is cut short");
    const name = new TextDecoder().decode(bytes.subarray(at + 46, nameEnd));
    const fields = {
      packed: view.getUint32(at + 20, true), size: view.getUint32(at + 24, true), header: view.getUint32(at + 42, true),
    };
    widen(file, dataView(bytes.subarray(nameEnd, extraEnd)), fields);
    checkEntry(file, name, view.getUint16(at + 8, true), view.getUint16(at + 10, true), fields);
    if (entries.has(name)) throw fault(file, "malformed", `the zip archive holds '${name}' twice`);
    entries.set(name, { name, size: fields.size, header: fields.header });
    at = end;
  }
  return entries;
}

function checkEntry(
  file: RandomAccess, name: string, flags: number, method: number,
  fields: { readonly size: number; readonly packed: number; readonly header: number },
): void {
  if ((flags & 1) !== 0) throw fault(file, "refused", `zip entry '${name}' is encrypted`);
  if (method !== 0 || fields.packed !== fields.size) {
    throw fault(file, "refused", `zip entry '${name}' is compressed; PyTorch stores its entries as they are`,
      "unpack the archive and pack it again without compression (zip -0), or save the checkpoint anew");
  }
  if (fields.header + 30 + fields.size > file.size) {
    throw fault(file, "truncated", `zip entry '${name}' reaches beyond the end of the file`,
      "download or copy the file again");
  }
}

/** Where the data of an entry starts. The lengths in the local header count: padding differs from the directory's. */
export async function entryData(file: RandomAccess, entry: ZipEntry): Promise<number> {
  const header = dataView(await readRange(file, entry.header, 30, `zip entry '${entry.name}'`));
  if (header.getUint32(0, true) !== LOCAL) {
    throw fault(file, "malformed", `zip entry '${entry.name}' is not where the directory says`);
  }
  return entry.header + 30 + header.getUint16(26, true) + header.getUint16(28, true);
}
