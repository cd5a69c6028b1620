/**
 * @file The embedded software adapter: SwiftShader and a Vulkan loader, unpacked once into a cache folder. The build
 * copies their archive, 3.5 MB, beside this file out of `@sparticuz/chromium`, which holds a browser of 60 MB besides.
 */
import { createRequire } from "node:module";
import { constants as access, existsSync } from "node:fs";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { brotliDecompress } from "node:zlib";
import { makeFolder } from "./files.js";

/** The archive beside this file, and in the package that it comes from, for a clone that was only partly built. */
const SHIPPED = fileURLToPath(new URL("swiftshader.tar.br", import.meta.url));
const PACKAGE = "@sparticuz/chromium";
/** Its version, which names the unpacked files: those of two versions lie side by side. */
const VERSION = "147.0.0";
const ARCHIVE = path.join(PACKAGE, "bin", "swiftshader.tar.br");
/** The files of the archive that are needed. */
const LIBRARY = "libvk_swiftshader.so";
const LOADER = "libvulkan.so.1";
/** Written by us, with an absolute path: the archive's own is relative to the working folder of some loaders. */
const ICD = "icd.json";

/** SwiftShader on disk. */
export interface SwiftShader {
  /** The ICD description for `VK_DRIVER_FILES`. */
  readonly icd: string;
  /** A Vulkan loader, for machines that have none. */
  readonly loader: string;
}

/** Why there is no embedded adapter, as a sentence that says what to do. */
export interface Absent {
  readonly absent: string;
}

/** Finds or unpacks SwiftShader. Never throws: what is in the way comes back as a sentence. */
export async function findSwiftShader(): Promise<SwiftShader | Absent> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return { absent: `the embedded adapter is for Linux on x64, this is ${process.platform} on ${process.arch}` };
  }
  const archive = findArchive();
  if (archive === undefined) {
    return { absent: "the embedded adapter's archive is missing: install deitc again, or, in a clone, run `npm ci`" };
  }
  try {
    return await unpacked(archive, `swiftshader-${VERSION}`);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return { absent: `the embedded adapter cannot be unpacked: ${reason}` };
  }
}

/** The archive: the one beside this file, else the package's, found as Node does, without running its code. */
function findArchive(): string | undefined {
  const folders = createRequire(import.meta.url).resolve.paths(PACKAGE) ?? [];
  return [SHIPPED, ...folders.map((folder) => path.join(folder, ARCHIVE))].find((file) => existsSync(file));
}

/** Folders to keep unpacked files in, best first: `DEITC_CACHE`, the user's cache, a temporary one. */
function cacheFolders(): readonly string[] {
  const { DEITC_CACHE, XDG_CACHE_HOME } = process.env;
  const user = XDG_CACHE_HOME ? path.join(XDG_CACHE_HOME, "deitc") : path.join(os.homedir(), ".cache", "deitc");
  // In the shared temporary folder the name carries the user: another's files are not to be loaded as code.
  return [DEITC_CACHE || user, path.join(os.tmpdir(), `deitc-${process.getuid?.() ?? "user"}`)];
}

/** The files under `name` in the first cache folder that has them or can be written. */
async function unpacked(archive: string, name: string): Promise<SwiftShader> {
  let failure: unknown;
  for (const cache of cacheFolders()) {
    try {
      return await unpackedIn(cache, archive, name);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

async function unpackedIn(cache: string, archive: string, name: string): Promise<SwiftShader> {
  const folder = path.join(path.resolve(cache), name);
  const result = { icd: path.join(folder, ICD), loader: path.join(folder, LOADER) };
  if (folder.includes(path.delimiter)) throw new Error(`${folder} cannot be part of a list of paths`);
  await makeFolder(path.resolve(cache), 0o700);
  if (!(await isOurs(cache))) throw new Error(`${cache} belongs to another user`);
  if (await isComplete(folder)) return result;
  const fresh = await fs.mkdtemp(path.join(cache, `${name}.`));
  try {
    const files = readTar(await promisify(brotliDecompress)(await fs.readFile(archive)));
    for (const file of [LIBRARY, LOADER]) {
      const bytes = files.get(file);
      if (!bytes) throw new Error(`${archive} has no ${file}`);
      await writeDurably(path.join(fresh, file), bytes, 0o755);
    }
    const driver = { library_path: path.join(folder, LIBRARY), api_version: "1.1.0" };
    const icd = JSON.stringify({ file_format_version: "1.0.0", ICD: driver });
    await writeDurably(path.join(fresh, ICD), Buffer.from(icd), 0o644);
    await fs.rename(fresh, folder);
  } catch (error) {
    await fs.rm(fresh, { recursive: true, force: true });
    // Another process was faster: a folder that is not empty cannot be renamed over, and it is complete.
    if (!(await isComplete(folder))) throw error;
  }
  return result;
}

/** Whether a folder belongs to this user or to root: nothing another user may change is loaded as code. */
async function isOurs(folder: string): Promise<boolean> {
  const { uid } = await fs.stat(folder);
  return uid === 0 || uid === (process.getuid?.() ?? uid);
}

/** Whether the unpacked files are all there, and nobody else's. */
async function isComplete(folder: string): Promise<boolean> {
  try {
    for (const file of [LIBRARY, LOADER, ICD]) await fs.access(path.join(folder, file), access.R_OK);
    return await isOurs(folder);
  } catch {
    return false;
  }
}

async function writeDurably(file: string, bytes: Uint8Array, mode: number): Promise<void> {
  const handle = await fs.open(file, "wx", mode);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Regular files of a tar archive by base name. Source: POSIX.1-1988 ustar, 512-byte records. */
export function readTar(archive: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const text = (from: number, length: number): string =>
    Buffer.from(archive.subarray(from, from + length)).toString("latin1").replace(/\0.*$/s, "");
  for (let at = 0; at + 512 <= archive.length; ) {
    const name = text(at, 100);
    if (name === "") break;
    const size = Number.parseInt(text(at + 124, 12).trim(), 8);
    const end = at + 512 + size;
    if (!Number.isInteger(size) || end > archive.length) throw new Error(`a tar archive is cut short at '${name}'`);
    const kind = text(at + 156, 1);
    if (kind === "" || kind === "0") files.set(path.posix.basename(name), archive.subarray(at + 512, end));
    at = at + 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}
