/** @file Files on disk: random access for the weight readers, and writes that are whole or not there. */

import { mkdir, open, readlink, rename, stat, unlink, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { randomUUID } from "node:crypto";
import { FileError } from "../errors.js";
import { printable } from "../text.js";
import type { RandomAccess } from "../weights/access.js";

/** A `file:` URL, as Node's `URL` is; not every program's libraries declare that. */
export interface FileUrl {
  readonly href: string;
}

/** A file held open; `close` it, or bind it with `await using`. */
export interface OpenFile extends RandomAccess, AsyncDisposable {
  close(): Promise<void>;
}

/** The system's code of a failed call (`ENOENT`), if it is one. */
export function systemCode(error: unknown): string | undefined {
  const failed = error instanceof Error && "syscall" in error && "code" in error;
  return failed && typeof error.code === "string" ? error.code : undefined;
}

/** What the system's codes mean for a file. */
const FAULTS: Readonly<Record<string, string>> = {
  EISDIR: "this is a folder, not a file", EACCES: "permission denied", EPERM: "permission denied",
  ENOSPC: "no space left on the disk", EDQUOT: "no space left: the user's quota is used up",
  EROFS: "the file system is read-only", EFBIG: "the file would be larger than the system allows",
  EIO: "the disk reports an error", EMFILE: "too many open files", ENAMETOOLONG: "the name is too long",
  ELOOP: "too many symbolic links", ENOTDIR: "a part of the path is a file, not a folder",
  EEXIST: "a part of the path is a file, not a folder", ENOENT: "it cannot be created there",
};

/** A failed call of the system about a path in words. */
export const systemWords = (error: unknown): string =>
  FAULTS[systemCode(error) ?? ""] ?? (error instanceof Error ? error.message : String(error));

/** A system failure about `file` in words. */
function fileError(file: string, error: unknown, fault: "unreadable" | "unwritable"): FileError {
  const code = systemCode(error);
  if (fault === "unreadable" && (code === "ENOENT" || code === "ENOTDIR")) {
    return new FileError("there is no such file", { file, fault: "missing", cause: error, help: "check the path" });
  }
  return new FileError(systemWords(error), { file, fault, cause: error });
}

/**
 * Makes a folder and those above it. Node's own `recursive` never ends where the system denies that a parent exists
 * that is there, as below `/proc`. Throws `FileError` where a file is in the way, else what the system says.
 */
export async function makeFolder(path: string, mode?: number): Promise<void> {
  if ((await stat(path).catch(() => undefined))?.isDirectory() === true) return;
  const parent = dirname(path);
  if (parent !== path) await makeFolder(parent, mode);
  await mkdir(path, mode).catch(async (error: unknown) => {
    const there = await stat(path).catch(() => undefined);
    // Another process may have been faster.
    if (there?.isDirectory() === true) return;
    if (there === undefined) throw error;
    throw new FileError("this is a file, not a folder", {
      file: path, fault: "unwritable", help: "name another folder",
    });
  });
}

/** Opens a file for reading. Throws `FileError` when it is missing, not readable or not a regular file. */
export async function openFile(path: string): Promise<OpenFile> {
  let handle: FileHandle | undefined;
  try {
    // Before opening: to open a pipe would wait for its writer.
    const kind = await stat(path);
    if (kind.isDirectory()) {
      const help = "name a file in it";
      throw new FileError("this is a folder, not a file", { file: path, fault: "unreadable", help });
    }
    if (!kind.isFile()) throw new FileError("this is not a regular file", { file: path, fault: "unreadable" });
    handle = await open(path, "r");
    const { size } = await handle.stat();
    return accessTo(path, handle, size);
  } catch (error) {
    await handle?.close();
    if (error instanceof FileError) throw error;
    const target = systemCode(error) === "ENOENT" ? await readlink(path).catch(() => undefined) : undefined;
    if (target === undefined) throw fileError(path, error, "unreadable");
    const help = "repair the link or remove it";
    throw new FileError(`this is a link to '${printable(target)}', which does not exist`, {
      file: path, fault: "missing", cause: error, help,
    });
  }
}

function accessTo(path: string, handle: FileHandle, size: number): OpenFile {
  const close = (): Promise<void> => handle.close();
  return {
    name: path,
    size,
    close,
    [Symbol.asyncDispose]: close,
    async read(offset, length) {
      // Its own memory: aligned for every element type, and the caller may keep it.
      const bytes = new Uint8Array(length);
      let done = 0;
      try {
        while (done < length) {
          const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, 2 ** 30), offset + done);
          if (bytesRead === 0) break;
          done += bytesRead;
        }
      } catch (error) {
        throw fileError(path, error, "unreadable");
      }
      return bytes.subarray(0, done);
    },
  };
}

/** A whole file in memory. Throws `FileError`. */
export async function readFileBytes(path: string): Promise<Uint8Array> {
  const file = await openFile(path);
  try {
    return await file.read(0, file.size);
  } finally {
    await file.close();
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) {
    const { bytesWritten } = await handle.write(bytes, done, Math.min(bytes.byteLength - done, 2 ** 30));
    done += bytesWritten;
  }
}

/** Makes a rename inside a folder durable; file systems that cannot sync a folder are left as they are. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => undefined);
  try {
    await folder?.sync().catch(() => undefined);
  } finally {
    await folder?.close();
  }
}

/**
 * Writes `chunks` one after the other beside `path`, flushes them to the disk and renames: `path` holds the old bytes
 * or all the new ones, whatever happens. Throws `FileError`; a failure, also one of `chunks`, leaves nothing behind.
 */
export async function writeFileAtomic(
  path: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const beside = join(dirname(path), `.${basename(path)}.${randomUUID()}.partial`);
  let handle: FileHandle | undefined;
  try {
    handle = await open(beside, "wx");
    for await (const chunk of chunks) await writeAll(handle, chunk);
    await handle.sync();
    await handle.close();
    handle = undefined;
    await rename(beside, path);
  } catch (error) {
    await handle?.close().catch(() => undefined);
    await unlink(beside).catch(() => undefined);
    // What the caller's own chunks throw is the caller's.
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") {
      const help = "create the folder first, or choose another path";
      throw new FileError("there is no such folder", { file: dirname(path), fault: "missing", cause: error, help });
    }
    throw code === undefined ? error : fileError(path, error, "unwritable");
  }
  await syncFolder(dirname(path));
}
