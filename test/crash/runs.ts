/** @file Trainings of a linear classifier with injected faults, resumed and compared with one left alone. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describeError } from "../../runtime/errors.js";
import { HOME, keptIn } from "../../runtime/node/train/kept.js";
import { loadState } from "../../runtime/node/train/resume.js";
import { streamOf, uniformAt } from "../../runtime/random.js";
import type { TrainingState } from "../../runtime/train/state.js";

const CHILD = fileURLToPath(new URL("../training_child.js", import.meta.url));
const FAULTS = new URL("faults.js", import.meta.url).href;
/** Calls that change files in an undisturbed run, about: faults fall on any of them. */
const CALLS = 530;

/** What may be injected: see `faults.ts`; `damage` is a kill, and a byte of the newest checkpoint that changes. */
export const KINDS = ["kill", "part", "full", "full-once", "sync", "rename", "clock", "damage"] as const;

/** One training with its faults. */
interface CrashRun {
  readonly kind: (typeof KINDS)[number];
  readonly faults: readonly string[];
  /** How many of them ended the process. */
  readonly ended: number;
  /** What differs from the run left alone; nothing may. */
  readonly differences: readonly string[];
  readonly folder: string;
}

/** A process that trains in `folder` to the end, unless the fault ends it. */
async function child(folder: string, fault: string): Promise<{ readonly done: boolean; readonly err: string }> {
  const line = ["--import", FAULTS, CHILD, "finish", folder];
  const process_ = spawn(process.execPath, line, { env: { ...process.env, FAULT: fault }, stdio: ["ignore", "ignore", "pipe"] });
  let err = "";
  process_.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  await once(process_, "close");
  return { done: process_.exitCode === 0, err };
}

/** What of a run is the same in every one of them: no time. */
function figures({ step, engine, records, best, sums }: TrainingState): Readonly<Record<string, string>> {
  return {
    step: String(step), best: JSON.stringify(best), sums: JSON.stringify([sums.loss, sums.steps]),
    counters: JSON.stringify(engine.counters),
    records: JSON.stringify(records.map(({ imagesPerSecond: _, seconds: __, ...record }) => record)),
    ...Object.fromEntries(engine.tensors.map(({ role, path, data }) =>
      [`${role}/${path}`, Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64")])),
  };
}

async function result(folder: string): Promise<Readonly<Record<string, string>>> {
  const { state, damaged } = await loadState(folder, { recipe: "linear" });
  const file = (name: string): string => readFileSync(join(folder, `${name}.safetensors`)).toString("base64");
  return { ...figures(state), damaged: String(damaged.length), last: file("last"), best_weights: file("best") };
}

/** Changes a byte of the newest checkpoint, unless it is the only one. @param which file, and where in it: in [0, 1) */
async function damage(folder: string, which: number, where: number): Promise<void> {
  const kept = await keptIn(folder);
  const newest = kept.at(-1);
  if (newest === undefined || kept.length < 2) return;
  const files = ["model.safetensors", "ema.safetensors", "state.safetensors", "checkpoint.json"];
  const path = join(folder, HOME, newest.name, files[Math.floor(which * files.length)] ?? "");
  const bytes = readFileSync(path);
  const at = Math.floor(where * bytes.length);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

/** Yields each run as it ends. The faults are a function of the seed; where a kill falls in time is not. */
export async function* crashRuns(runs: number, seed: number): AsyncGenerator<CrashRun, void> {
  const alone = await mkdtemp(join(tmpdir(), "deitc-crash-alone-"));
  const undisturbed = await child(alone, "");
  if (!undisturbed.done) throw new Error(`the run left alone failed: ${undisturbed.err}`);
  const want = await result(alone);
  for (let run = 0; run < runs; run++) {
    const random = (at: number): number => uniformAt({ seed, stream: streamOf("crash"), step: run }, at);
    const kind = KINDS[run % KINDS.length] ?? "kill";
    const folder = await mkdtemp(join(tmpdir(), `deitc-crash-${kind}-`));
    const faults: string[] = [];
    let ended = 0;
    for (let count = 1 + Math.floor(3 * random(0)); faults.length < count;) {
      // A later fault has fewer calls left before the end.
      const fault = `${kind === "damage" ? "kill" : kind}:${Math.floor((random(1 + faults.length) * CALLS) / (1 + faults.length))}`;
      faults.push(fault);
      if (!(await child(folder, fault)).done) ended++;
      if (kind === "damage") await damage(folder, random(10 + faults.length), random(20 + faults.length));
    }
    const last = await child(folder, "");
    const differences: string[] = [];
    if (!last.done) differences.push(`the last process failed: ${last.err.trim()}`);
    try {
      const got = await result(folder);
      differences.push(...Object.keys(want).filter((name) => got[name] !== want[name]).map((name) => `${name} differs`));
    } catch (error) {
      differences.push(describeError(error));
    }
    yield { kind, faults, ended, differences, folder };
  }
}
