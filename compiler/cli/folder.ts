/**
 * @file Writes a compiled module's folder as a whole: beside its place first, then by rename, so that it is never half
 * there. A folder that deitc did not write is left alone.
 */
import {
  existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, statSync,
} from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { CommandError } from "./exit.js";

/** What became of the folder. */
export type Written = "created" | "replaced" | "unchanged";

const ELSEWHERE = "choose another --out, or replace all of it with --force";

/** Files that show a folder to be somebody's project: never replaced, not even by force. */
const PROJECT_MARKS = ["package.json", ".git", "node_modules"];

/** Of a model, and of a recipe: one of them shows a folder to be a compiled module. */
const MANIFESTS = ["manifest.json", "training.json"];

/** Relative paths, with `/`, of all files below `folder`, sorted. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1).split(sep).join("/"))
    .sort();
}

/** Whether deitc writes files of this relative path. */
const isOurs = (path: string): boolean =>
  ["index.js", "index.d.ts", "src/index.ts", ...MANIFESTS].includes(path) || /^kernels\/.+\.wgsl$/.test(path);

/** Refuses to replace what is not a compiled module. @throws CommandError */
function checkReplaceable(folder: string, shown: string, force: boolean): void {
  if (!statSync(folder).isDirectory()) {
    throw new CommandError(`${shown}: is a file, a folder is written`, "choose another --out");
  }
  const mark = PROJECT_MARKS.find((name) => existsSync(join(folder, name)));
  if (mark !== undefined || `${process.cwd()}${sep}`.startsWith(`${folder}${sep}`)) {
    const why = mark === undefined ? "is the current folder or one around it" : `holds ${mark}`;
    throw new CommandError(`${shown}: ${why} and is not replaced`, "choose a folder of its own with --out");
  }
  if (force) return;
  const files = filesBelow(folder);
  const foreign = files.find((path) => !isOurs(path));
  if (foreign !== undefined) {
    throw new CommandError(`${shown}: holds ${foreign}, which deitc did not write`, ELSEWHERE);
  }
  if (files.length > 0 && !MANIFESTS.some((name) => files.includes(name))) {
    throw new CommandError(`${shown}: is not a compiled module`, ELSEWHERE);
  }
}

function sameContent(folder: string, files: ReadonlyMap<string, string>): boolean {
  const there = filesBelow(folder);
  if (there.length !== files.size) return false;
  return there.every((path) => {
    const text = files.get(path);
    return text !== undefined && readFileSync(join(folder, path), "utf8") === text;
  });
}

/** Writes all files below `folder`, several at a time, and waits until they are on the disk. */
async function writeAll(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  for (const path of files.keys()) mkdirSync(dirname(join(folder, path)), { recursive: true });
  const writes = [...files].map(([path, text]) => writeFile(join(folder, path), text, { flag: "wx", flush: true }));
  // All have ended before a fault is told, so that none writes into a folder that is being removed.
  const failed = (await Promise.allSettled(writes)).find((outcome) => outcome.status === "rejected");
  if (failed) throw failed.reason;
}

/**
 * Makes `target` hold exactly `files` (relative path → text), all at once; on any fault the old folder stays.
 * @throws CommandError when `target` holds something else and `force` is not given
 */
export async function writeFolder(
  target: string, files: ReadonlyMap<string, string>, force: boolean,
): Promise<Written> {
  const there = existsSync(target);
  const folder = there ? realpathSync(target) : resolve(target);
  if (there) {
    checkReplaceable(folder, target, force);
    if (sameContent(folder, files)) return "unchanged";
  }
  const parent = dirname(folder);
  mkdirSync(parent, { recursive: true });
  const beside = join(parent, `.${basename(folder)}.new-${process.pid}`);
  const old = join(parent, `.${basename(folder)}.old-${process.pid}`);
  try {
    await writeAll(beside, files);
    if (there) renameSync(folder, old);
    try {
      renameSync(beside, folder);
    } catch (error) {
      if (there) renameSync(old, folder);
      throw error;
    }
  } finally {
    rmSync(beside, { recursive: true, force: true });
  }
  rmSync(old, { recursive: true, force: true });
  return there ? "replaced" : "created";
}
