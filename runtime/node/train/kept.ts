/**
 * @file What a kept checkpoint is on disk: `checkpoints/000007-step-120/{model,ema,state}.safetensors`, and an index,
 * `checkpoint.json`, with the size and digest of each, so that damage is noticed before it is trained on.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { and, fault, matching, object, record, text, whole, word } from "../../check/schema.js";
import { DeitcError } from "../../errors.js";
import { openFile, writeFileAtomic } from "../files.js";

/** The folder of checkpoints in a run's folder, and in each the state and the index of its files. */
export const HOME = "checkpoints";
export const STATE = "state.safetensors";
export const INDEX = "checkpoint.json";
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

interface Index {
  readonly format: typeof FORMAT;
  readonly step: number;
  readonly files: Readonly<Record<string, FileFacts>>;
}

const indexCheck = and(
  object<Index>({
    format: word({ [FORMAT]: 0 }), step: whole(0),
    files: record(matching("a file's name", /^[^/\\]+$/u), object<FileFacts>({ bytes: whole(0), sha256: text })),
  }),
  ({ files }) => (Object.hasOwn(files, STATE) ? undefined : fault("an index of a state", files)),
);

/** The files of an index by name; undefined if the text is not an index. */
function filesOf(content: string): Index["files"] | undefined {
  try {
    const value: unknown = JSON.parse(content);
    return indexCheck(value) === undefined ? (value as Index).files : undefined; // as the check says
  } catch {
    return undefined;
  }
}

/** What is wrong with a checkpoint, as a sentence about its files; undefined for a sound one. */
export async function defectOf(home: string): Promise<string | undefined> {
  const path = join(home, INDEX);
  const content = await readFile(path, "utf8").catch(() => undefined);
  if (content === undefined) return `${path} cannot be read, so the checkpoint cannot be verified`;
  const files = filesOf(content);
  if (files === undefined) return `${path} is damaged`;
  for (const [name, facts] of Object.entries(files)) {
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
