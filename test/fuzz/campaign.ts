/** @file Seeds of a target in child processes, and a count of what went wrong: crashes, hangs, raw errors, memory. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const CHILD = join(dirname(fileURLToPath(import.meta.url)), "child.js");
/** MiB that a child may take, and seconds that an input or the preparation may. */
interface Limits {
  readonly memory: number;
  readonly seconds: number;
}
const LIMITS: Limits = { memory: 2048, seconds: 120 };
/** Milliseconds between two looks at a child's memory. */
const LOOK = 250;

/** What a target came to. */
export interface Tally {
  inputs: number;
  taken: number;
  refused: number;
  crashes: number;
  hangs: number;
  /** Children that were ended for their memory. */
  tooLarge: number;
  raw: number;
  /** MiB. */
  peak: number;
  /** Each fault: its seed, and what was seen. */
  readonly faults: string[];
}

export const faultsOf = ({ crashes, hangs, tooLarge, raw }: Tally): number => crashes + hangs + tooLarge + raw;

/** MiB that a process holds now; 0 where the system does not tell. */
function memoryOf(pid: number | undefined): number {
  try {
    const [, kib = "0"] = /^VmRSS:\s+(\d+)/mu.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return Number(kib) / 1024;
  } catch {
    return 0;
  }
}

/** Tries seeds in one child until they are done, it ends, or is ended. @returns the seed to go on with */
async function inChild(
  target: string, from: number, count: number, until: number, tally: Tally, limits: Limits,
): Promise<number> {
  const child = spawn(process.execPath, ["--max-old-space-size=1024", CHILD, target, String(from), String(count)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [under, began, ended, done, told]: [number, number, string | undefined, boolean, string] =
    [from, performance.now(), undefined, false, ""];
  const stop = (why: string): void => {
    ended ??= why;
    child.kill("SIGKILL");
  };
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => { told = (told + chunk).slice(-600); });
  const watch = setInterval(() => {
    const memory = memoryOf(child.pid);
    tally.peak = Math.max(tally.peak, Math.round(memory));
    if (memory > limits.memory) stop("memory");
    else if (performance.now() - began > 1000 * limits.seconds) stop("hang");
    else if (performance.now() > until) stop("time");
  }, LOOK);
  const closed = new Promise<string>((resolve) => child.on("close", (code, signal) => resolve(signal ?? String(code))));
  for await (const line of createInterface({ input: child.stdout })) {
    const [word = "", number = "", ...rest] = line.split(" ");
    if (word === "try") [under, began] = [Number(number), performance.now()];
    if (word === "peak") [tally.peak, done] = [Math.max(tally.peak, Number(number)), true];
    if (word === "taken" || word === "refused") [tally.inputs, tally[word]] = [tally.inputs + 1, tally[word] + 1];
    if (word === "raw") {
      [tally.inputs, tally.raw] = [tally.inputs + 1, tally.raw + 1];
      tally.faults.push(`${target} ${number}: ${rest.join(" ")}`);
    }
  }
  clearInterval(watch);
  const how = await closed;
  if (done || ended === "time") return done ? from + count : Infinity;
  tally.inputs++;
  if (ended === "memory") tally.tooLarge++;
  else if (ended === "hang") tally.hangs++;
  else tally.crashes++;
  tally.faults.push(`${target} ${under}: ${ended ?? `ended with ${how}`} ${told}`);
  return under + 1;
}

/** Tries seeds `from` to `from + count`, or for so many seconds; every crash costs a child and one seed. */
export async function fuzz(
  target: string, from: number, count: number, seconds = Infinity, limits = LIMITS,
): Promise<Tally> {
  const tally: Tally = { inputs: 0, taken: 0, refused: 0, crashes: 0, hangs: 0, tooLarge: 0, raw: 0, peak: 0, faults: [] };
  const until = performance.now() + 1000 * seconds;
  const end = from + count;
  for (let seed = from; seed < end && performance.now() < until && faultsOf(tally) < 100;) {
    // A fresh child now and then, so that what a target keeps does not add up.
    seed = await inChild(target, seed, Math.min(20_000, end - seed), until, tally, limits);
  }
  return tally;
}
