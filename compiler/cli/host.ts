/**
 * @file The front end's file access in Node: where imports may reach, and what a readable source is.
 */
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { MOST_CHARACTERS } from "../../dsl/limits.js";
import type { ReadError, SourceHost } from "../../dsl/resolve.js";
import { packageFolder } from "./package.js";

/** How shipped models are imported, and how they are called where they lie outside the current folder. */
const SHIPPED = "deitc/";

/** A source host that also knows a path's place on the disk, for watching. */
interface NodeHost extends SourceHost {
  /** Absolute path of a path that `resolve` gave. */
  fileOf(path: string): string;
}

/** Whether `path` is `folder` or lies in it; both absolute. */
export function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way === "" || (way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way));
}

/** The nearest folder around `folder` with a `package.json`, or `folder` itself. */
function projectOf(folder: string): string {
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, "package.json"))) return at;
    if (dirname(at) === at) return folder;
  }
}

/** A path with all links followed; undefined if nothing is there. */
function real(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

const errorCode = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";

/** Reads a UTF-8 text of at most 1 MiB; never a folder, pipe or device. */
function readSource(file: string): { readonly text: string } | { readonly error: ReadError } {
  try {
    const stat = statSync(file);
    if (stat.isDirectory()) return { error: "directory" };
    if (!stat.isFile()) return { error: "unreadable" };
    if (stat.size > MOST_CHARACTERS) return { error: "too_large" };
    const bytes = readFileSync(file);
    if (bytes.includes(0)) return { error: "binary" };
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch (error) {
    if (error instanceof TypeError) return { error: "binary" };
    return {
      error: ["ENOENT", "ENOTDIR", "ENAMETOOLONG", "ELOOP"].includes(errorCode(error)) ? "not_found" : "unreadable"
    };
  }
}

/**
 * File access for `loadProgram`. Paths are told relative to `workingFolder`; shipped models outside it as
 * `deitc/NAME.deit`.
 * @param modelsFolder absolute path of the shipped models
 */
export function nodeHost(
  modelsFolder: string = join(packageFolder(), "models"), workingFolder: string = process.cwd(),
): NodeHost {
  const here = real(workingFolder) ?? resolve(workingFolder);
  const models = real(modelsFolder) ?? resolve(modelsFolder);
  const show = (file: string): string => {
    if (isInside(models, file) && !isInside(here, file)) return SHIPPED + relative(models, file).split(sep).join("/");
    return isInside(here, file) ? relative(here, file).split(sep).join("/") || "." : file;
  };
  const fileOf = (path: string): string => {
    const plain = resolve(here, path);
    return path.startsWith(SHIPPED) && !existsSync(plain) ? resolve(models, path.slice(SHIPPED.length)) : plain;
  };
  const entry = (spec: string): { readonly path: string } | { readonly error: "not_found" } => {
    const found = real(fileOf(spec));
    return found === undefined ? { error: "not_found" } : { path: show(found) };
  };
  const imported = (from: string, spec: string): ReturnType<SourceHost["resolve"]> => {
    const shipped = spec.startsWith(SHIPPED);
    const folder = shipped ? models : dirname(fileOf(from));
    const root = shipped ? models : projectOf(folder);
    const wanted = resolve(folder, shipped ? spec.slice(SHIPPED.length) : spec);
    // Decided by the words alone, before the disk is touched; then again with links followed.
    if (!isInside(root, wanted)) return { error: "outside" };
    const found = real(wanted);
    if (found === undefined) return { error: "not_found" };
    return isInside(root, found) ? { path: show(found) } : { error: "outside" };
  };
  return {
    fileOf,
    read: (path) => readSource(fileOf(path)),
    library: () => readdirSync(models).filter((name) => name.endsWith(".deit")).sort().map((name) => SHIPPED + name),
    resolve: (from, spec) => (from === undefined ? entry(spec) : imported(from, spec)),
  };
}
