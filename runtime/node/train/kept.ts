/**
 * @file What a kept checkpoint is on disk: `checkpoints/000007-step-120/{model,ema,state}.safetensors`, and an index,
 * `checkpoint.json`, with the size and digest of each, so that damage is noticed before it is trained on.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { DeitcError } from "../../errors.js";
import { openFile, writeFileAtomic } from "../files.js";

/** The folder of checkpoints in a run's folder, and the files of a checkpoint. */
export const HOME = "checkpoints";
export const STATE = "state.safetensors";
const INDEX = "checkpoint.json";
const FORMAT = "deitc checkpoint 1";
/** Bytes hashed at a time. */
const CHUNK = 1 << 24;

const pattern = /^(\d{6,})-step-(\d+)$/u;

/** A kept checkpoint. */
interface Kept {
  readonly name: string;
  readonly sequence: number;
  readonly step: number;
}

/** The checkpoints in a run's folder, oldest first. */
export async function keptIn(folder: string): Promise<Kept[]> {
  const names = await readdir(join(folder, HOME)).catch(() => []);
  return names
    .flatMap((name) => {
      const [, sequence, step] = pattern.exec(name) ?? [];
      return sequence === undefined ? [] : [{ name, sequence: Number(sequence), step: Number(step) }];
    })
    .sort((a, b) => a.sequence - b.sequence);
}

/** Whether a run's folder holds checkpoints. */
export const hasCheckpoints = async (folder: string): Promise<boolean> => (await keptIn(folder)).length > 0;

/** What an index says of a file. */
interface FileFacts {
  readonly bytes: number;
  /** SHA-256 in hexadecimal. */
  readonly sha256: string;
}

/** Writes the files of a checkpoint into a folder, then their index. Throws `FileError`. */
export class CheckpointWriter {
  readonly #folder: string;
  readonly #files: Record<string, FileFacts> = {};

  constructor(folder: string) {
    this.#folder = folder;
  }

  async write(name: string, chunks: readonly Uint8Array[]): Promise<void> {
    const hash = createHash("sha256");
    let bytes = 0;
    const hashed = function* (): Generator<Uint8Array> {
      for (const chunk of chunks) {
        hash.update(chunk);
        bytes += chunk.byteLength;
        yield chunk;
      }
    };
    await writeFileAtomic(join(this.#folder, name), hashed());
    this.#files[name] = { bytes, sha256: hash.digest("hex") };
  }

  /** Writes the index. @param step optimizer steps done */
  async end(step: number): Promise<void> {
    const text = JSON.stringify({ format: FORMAT, step, files: this.#files }, undefined, 2);
    await writeFileAtomic(join(this.#folder, INDEX), [new TextEncoder().encode(`${text}\n`)]);
  }
}

/** The files of an index by name; undefined for a text that is none. */
function filesOf(text: string): ReadonlyMap<string, FileFacts> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || !("format" in value) || value.format !== FORMAT) return undefined;
  if (!("files" in value) || typeof value.files !== "object" || value.files === null) return undefined;
  const isFacts = (x: unknown): x is FileFacts => typeof x === "object" && x !== null &&
    "bytes" in x && typeof x.bytes === "number" && "sha256" in x && typeof x.sha256 === "string";
  const files = new Map<string, FileFacts>();
  for (const [name, facts] of Object.entries<unknown>({ ...value.files })) {
    if (!isFacts(facts) || /[/\\]/u.test(name)) return undefined;
    files.set(name, facts);
  }
  return files.has(STATE) ? files : undefined;
}

/** What is wrong with a checkpoint, as a sentence about its files; undefined for a sound one. */
export async function defectOf(home: string): Promise<string | undefined> {
  const path = join(home, INDEX);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch {
    return `${path} cannot be read, so the checkpoint cannot be verified`;
  }
  const files = filesOf(text);
  if (files === undefined) return `${path} is damaged`;
  for (const [name, facts] of files) {
    const defect = await fileDefect(join(home, name), facts).catch((error: unknown) => {
      if (error instanceof DeitcError) return error.message;
      throw error;
    });
    if (defect !== undefined) return defect;
  }
  return undefined;
}

async function fileDefect(path: string, { bytes, sha256 }: FileFacts): Promise<string | undefined> {
  const file = await openFile(path);
  try {
    if (file.size !== bytes) return `${path} has ${file.size} bytes instead of ${bytes}`;
    const hash = createHash("sha256");
    for (let at = 0; at < bytes; at += CHUNK) hash.update(await file.read(at, Math.min(CHUNK, bytes - at)));
    return hash.digest("hex") === sha256 ? undefined : `the content of ${path} has changed since it was written`;
  } finally {
    await file.close();
  }
}
