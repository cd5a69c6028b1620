/**
 * @file What is kept over many models and many steps: memory, file descriptors and threads of the process.
 *   node dist/test/soak.js [--cycles=1000] [--steps=50000] [--json]
 * A cycle opens a device, loads a small model, infers and destroys it. The steps are those of a small recipe, with a
 * checkpoint every five hundredth of them. Prints a table of twenty rows for each; 0 leaves one out.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { load } from "../runtime/node/index.js";
import { Trainer } from "../runtime/node/train/trainer.js";
import { SMALL } from "./cli_process.js";
import { compileText, sourceOf } from "./harness.js";
import { tinyRecipe } from "./tiny_recipe.js";

const ADAPTER = process.env["DEITC_ADAPTER"] ?? "swiftshader";
const ROWS = 20;

/** What a process holds after so many cycles or steps. */
export interface Held {
  readonly what: "cycles" | "steps";
  readonly done: number;
  /** MiB. */
  readonly resident: number;
  readonly heap: number;
  /** Of this process; 0 where the system does not list them. */
  readonly descriptors: number;
  readonly threads: number;
  readonly seconds: number;
}

const count = (folder: string): number => {
  try {
    return readdirSync(folder).length;
  } catch {
    return 0;
  }
};

/** Collects what can be, if the process was started with `--expose-gc`, and measures. */
async function held(what: Held["what"], done: number): Promise<Held> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    // What is collected frees its native part in turns of the event loop.
    for (let turn = 0; turn < 10; turn++) await setImmediate();
  }
  const { rss, heapUsed } = process.memoryUsage();
  return {
    what, done, resident: rss / 2 ** 20, heap: heapUsed / 2 ** 20, descriptors: count("/proc/self/fd"),
    threads: count("/proc/self/task"), seconds: performance.now() / 1000,
  };
}

/** Devices of their own, one after another. */
async function cycles(total: number, tell: (row: Held) => void): Promise<void> {
  const definition = sourceOf(compileText(SMALL));
  const every = Math.max(1, Math.floor(total / ROWS));
  for (let done = 1; done <= total; done++) {
    const model = await load(definition, { randomWeights: { seed: 1 }, adapter: ADAPTER });
    await model.infer({ images: new Float32Array(3072) });
    model.destroy();
    if (done % every === 0 || done === total) tell(await held("cycles", done));
  }
}

async function steps(total: number, tell: (row: Held) => void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "deitc-soak-"));
  const every = Math.max(1, Math.floor(total / ROWS));
  try {
    // An epoch of half the run: each ends with an evaluation, a checkpoint and a report.
    const data = { name: "shapes", arguments: { seed: 0, train: 8 * total + 16, test: 40 } };
    const recipe = tinyRecipe({ data, length: { value: total, unit: "steps" } });
    await using trainer = await Trainer.open(recipe, {
      out: join(folder, "run"), adapter: ADAPTER, saveEvery: { steps: Math.max(1, Math.floor(total / 500)) },
    });
    for await (const event of trainer.run()) {
      if (event.kind === "step" && event.step % every === 0) tell(await held("steps", event.step));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function main(): Promise<void> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ options: { cycles: text, steps: text, json: { type: "boolean" } } });
  const cells = ({ what, done, resident, heap, descriptors, threads, seconds }: Held): readonly string[] =>
    [`${done} ${what}`, resident.toFixed(0), heap.toFixed(1), String(descriptors), String(threads), seconds.toFixed(0)];
  const line = (row: readonly string[]): void =>
    void process.stdout.write(`${row.map((cell, i) => (i === 0 ? cell.padEnd(14) : cell.padStart(14))).join("")}\n`);
  const tell = (row: Held): void => {
    if (values.json === true) process.stdout.write(`${JSON.stringify(row)}\n`);
    else line(cells(row));
  };
  if (values.json !== true) line(["after", "resident MiB", "heap MiB", "descriptors", "threads", "seconds"]);
  const wanted = { cycles: Number(values.cycles ?? 1000), steps: Number(values.steps ?? 50_000) };
  if (wanted.cycles > 0) await cycles(wanted.cycles, tell);
  if (wanted.steps > 0) await steps(wanted.steps, tell);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
