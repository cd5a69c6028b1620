/**
 * @file Writes a compiled module's folder as a whole: beside its place first, then by rename, so that it is never half
 * there. A folder that deitc did not write is left alone.
 */
import {
  existsSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, statSync,
} from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { makeFolder } from "../../runtime/node/files.js";
import { PACKAGE_FILE, PACKAGE_TEXT } from "../emit/package.js";
import { CommandError } from "./exit.js";
import { isInside } from "./host.js";

/** What became of the folder. */
export type Written = "created" | "replaced" | "unchanged";

const ELSEWHERE = "choose another --out, or replace all of it with --force";

/** Files that show a folder to be somebody's project: never replaced, not even by force. */
const PROJECT_MARKS = [PACKAGE_FILE, ".git", "node_modules"];

/** The file that shows a folder to be a compiled model or recipe. */
const MANIFEST = "manifest.json";

/** Relative paths, with `/`, of all files below `folder`, sorted. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1).split(sep).join("/"))
    .sort();
}

/** Whether deitc writes files of this relative path, and of a `package.json` whether it wrote this one. */
const isOurs = (folder: string, path: string): boolean =>
  path === PACKAGE_FILE
    ? statSync(join(folder, path)).isFile() && readFileSync(join(folder, path), "utf8") === PACKAGE_TEXT
    : ["index.js", "index.d.ts", "src/index.ts", MANIFEST].includes(path) || /^kernels\/.+\.wgsl$/.test(path);

/** Refuses to replace what is not a compiled module. @throws CommandError */
function checkReplaceable(folder: string, shown: string, force: boolean): void {
  if (!statSync(folder).isDirectory()) {
    throw new CommandError(`${shown}: is a file, expected a folder`, "choose another --out");
  }
  const mark = PROJECT_MARKS.find((name) => existsSync(join(folder, name)) && !isOurs(folder, name));
  if (mark !== undefined || isInside(folder, realpathSync(process.cwd()))) {
    const why = mark === undefined ? "is the current folder or a parent of it" : `contains ${mark}`;
    throw new CommandError(`${shown}: ${why} and will not be replaced`, "choose another folder with --out");
  }
  if (force) return;
  const files = filesBelow(folder);
  const foreign = files.find((path) => !isOurs(folder, path));
  if (foreign !== undefined) {
    throw new CommandError(`${shown}: contains ${foreign}, which deitc did not write`, ELSEWHERE);
  }
  if (files.length > 0 && !files.includes(MANIFEST)) {
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
async function writeAll(folder: string, files: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
  for (const path of new Set([...files.keys()].map((file) => dirname(join(folder, file))))) await makeFolder(path);
  const options = { flag: "wx", flush: true, signal };
  const writes = [...files].map(([path, text]) => writeFile(join(folder, path), text, options));
  // All have ended before a fault is told, so that none writes into a folder that is being removed.
  const failed = (await Promise.allSettled(writes)).find((outcome) => outcome.status === "rejected");
  if (failed) throw failed.reason;
}

/** Signals that end the process are kept back while a folder is written, so that nothing half done stays. */
class Interrupt {
  readonly #controller = new AbortController();
  #caught: NodeJS.Signals | undefined;

  constructor() {
    for (const name of SIGNALS) process.on(name, this.#catch);
  }

  /** Aborted once a signal has come. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Lets signals through again, the one that came too: it ends the process. */
  release(): void {
    for (const name of SIGNALS) process.off(name, this.#catch);
    if (this.#caught) process.kill(process.pid, this.#caught);
  }

  readonly #catch = (name: NodeJS.Signals): void => {
    this.#caught ??= name;
    this.#controller.abort();
  };
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Milliseconds after which a folder that a killed process left is removed, in case it runs on another machine. */
const FORGOTTEN = 600_000;

/** Removes what earlier processes, killed while they wrote `folder`, left beside it. */
function sweep(folder: string): void {
  const parent = dirname(folder);
  const left = readdirSync(parent).filter((name) => {
    const suffix = name.startsWith(`.${basename(folder)}.`) ? name.slice(basename(folder).length + 2) : "";
    const [, process] = /^(?:new|old)-(\d+)$/.exec(suffix) ?? [];
    return process !== undefined && !isAlive(Number(process));
  });
  for (const path of left.map((name) => join(parent, name))) {
    const stat = statSync(path, { throwIfNoEntry: false });
    const forgotten = stat?.isDirectory() === true && Date.now() - stat.mtimeMs > FORGOTTEN;
    if (forgotten && filesBelow(path).every((file) => isOurs(path, file))) {
      rmSync(path, { recursive: true, force: true });
    }
  }
}

/** Whether a process of this number runs, whoever's it is. */
function isAlive(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}

/**
 * Makes `target` hold exactly `files` (relative path → text), all at once; on any fault the old folder stays.
 * @throws CommandError when `target` holds something else and `force` is not given
 */
export async function writeFolder(
  target: string, files: ReadonlyMap<string, string>, force: boolean,
): Promise<Written> {
  // The empty path is the current folder for `resolve`, and nothing for the file system.
  const place = resolve(target);
  const there = existsSync(place);
  const folder = there ? realpathSync(place) : place;
  if (there) {
    checkReplaceable(folder, target, force);
    if (sameContent(folder, files)) return "unchanged";
  }
  const interrupt = new Interrupt();
  try {
    await makeFolder(dirname(folder));
    await exchange(folder, files, there, interrupt.signal);
  } finally {
    interrupt.release();
  }
  sweep(folder);
  return there ? "replaced" : "created";
}

/** Writes the files beside `folder`, then puts them in its place. @param there whether it exists */
async function exchange(
  folder: string, files: ReadonlyMap<string, string>, there: boolean, signal: AbortSignal,
): Promise<void> {
  const named = (what: "new" | "old"): string =>
    join(dirname(folder), `.${basename(folder)}.${what}-${process.pid}`);
  const [beside, old] = [named("new"), named("old")];
  try {
    await writeAll(beside, files, signal);
    if (there) renameSync(folder, old);
    try {
      renameSync(beside, folder);
    } catch (error) {
      if (there) renameSync(old, folder);
      throw error;
    }
    rmSync(old, { recursive: true, force: true });
  } finally {
    rmSync(beside, { recursive: true, force: true });
  }
}
