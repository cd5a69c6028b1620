/** @file The files of a data set, on disk and decoded by sharp in its own threads. */

import { readdir } from "node:fs/promises";
import { resolve } from "node:path";
import type { DataFiles } from "../../data/folder.js";
import { FileError } from "../../errors.js";
import { readFileBytes, systemCode } from "../files.js";

/** Paths are relative to `base`, the working folder unless given. */
export function diskFiles(base = "."): DataFiles {
  return {
    async entries(path) {
      try {
        const found = await readdir(resolve(base, path), { withFileTypes: true });
        return found.map((entry) => ({
          // A link may lead to a folder: what is not a plain image file by its name is looked into.
          name: entry.name, folder: entry.isDirectory() || (entry.isSymbolicLink() && !entry.name.includes(".")),
        }));
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
