/** @file The files of a data set, on disk and decoded by sharp in its own threads. */

import type { Dirent } from "node:fs";
import { readdir, readlink, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { DataFiles, FolderEntry } from "../../data/folder.js";
import { mapLimited } from "../../data/limited.js";
import { FileError } from "../../errors.js";
import { readFileBytes, systemCode } from "../files.js";

/** Links followed at a time. */
const AT_ONCE = 64;

/** What a name in a folder is, links followed. */
async function entryOf(folder: string, entry: Dirent): Promise<FolderEntry> {
  const { name } = entry;
  if (!entry.isSymbolicLink()) return { name, folder: entry.isDirectory() };
  const path = resolve(folder, name);
  const found = await stat(path).catch(() => undefined);
  if (found !== undefined) return { name, folder: found.isDirectory() };
  return { name, folder: false, dangling: await readlink(path).catch(() => "") };
}

/** Paths are relative to `base`, the working folder unless given. */
export function diskFiles(base = "."): DataFiles {
  return {
    async entries(path) {
      try {
        const home = resolve(base, path);
        return await mapLimited(await readdir(home, { withFileTypes: true }), AT_ONCE, (entry) => entryOf(home, entry));
      } catch (error) {
        const code = systemCode(error);
        if (code === "ENOENT" || code === "ENOTDIR") return undefined;
        throw new FileError("the folder cannot be read", { file: path, fault: "unreadable", cause: error });
      }
    },
    read: (path) => readFileBytes(resolve(base, path)),
    // sharp takes long to load: it comes with the first image.
    decode: async (bytes, name) => (await import("../images.js")).decodeImage(bytes, name),
  };
}
