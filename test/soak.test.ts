/** @file Short runs of `soak`: neither models on devices of their own nor steps of training pile anything up. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import test from "ava";
import type { Held } from "./soak.js";

const PROGRAM = fileURLToPath(new URL("soak.js", import.meta.url));

async function rows(...args: string[]): Promise<readonly Held[]> {
  const child = spawn(process.execPath, ["--expose-gc", PROGRAM, "--json", ...args]);
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.resume();
  const code = await new Promise<number | null>((resolve) => void child.on("close", resolve));
  if (code !== 0) throw new Error(`soak ends with ${code}: ${out}`);
  return out.trim().split("\n").map((line) => JSON.parse(line) as Held); // Its own rows.
}

/** What was added between the row after `done` of them and the last. */
function growth(held: readonly Held[], done: number): Pick<Held, "resident" | "descriptors" | "threads"> {
  const [from, to] = [held.find((row) => row.done >= done), held.at(-1)];
  if (from === undefined || to === undefined) throw new Error("soak has measured nothing");
  return {
    resident: to.resident - from.resident, descriptors: to.descriptors - from.descriptors,
    threads: to.threads - from.threads,
  };
}

test("devices that come and go leave no threads, descriptors or memory behind", async (t) => {
  const grown = growth(await rows("--cycles=40", "--steps=0"), 10);
  // A device that stays has a thread at least, two on two cores: 60 over 30 cycles. One that is still going is fine.
  t.true(grown.threads <= 8, JSON.stringify(grown));
  t.true(grown.descriptors <= 2, JSON.stringify(grown));
  // MiB: measured, 9; the allocator's mood counts for some.
  t.true(grown.resident <= 60, JSON.stringify(grown));
});

test("steps of training with checkpoints leave no descriptors or memory behind", async (t) => {
  const grown = growth(await rows("--cycles=0", "--steps=120"), 40);
  t.true(grown.threads <= 4, JSON.stringify(grown));
  t.true(grown.descriptors <= 2, JSON.stringify(grown));
  t.true(grown.resident <= 80, JSON.stringify(grown));
});
