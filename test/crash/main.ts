/**
 * @file `npm run crash`: trainings that are killed, or whose disk, flushes, renames or clock fail at a random moment,
 * and that are then resumed. Each has to end with the same bits as one left alone. `--runs N`, `--seed N`.
 */
import { rmSync } from "node:fs";
import { crashRuns, KINDS } from "./runs.js";

const option = (name: string, otherwise: number): number => {
  const at = process.argv.indexOf(name);
  const value = at < 0 ? otherwise : Number(process.argv[at + 1]);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${name} needs a whole number`);
  return value;
};

const [runs, seed] = [option("--runs", 100), option("--seed", Date.now() % 1_000_000)];
process.stdout.write(`${runs} runs, seed ${seed}\n`);
const rows = new Map(KINDS.map((kind) => [kind, { runs: 0, faults: 0, ended: 0, different: [] as string[] }]));
for await (const { kind, faults, ended, differences, folder } of crashRuns(runs, seed)) {
  const row = rows.get(kind);
  if (row === undefined) continue;
  row.runs++;
  row.faults += faults.length;
  row.ended += ended;
  if (differences.length === 0) rmSync(folder, { recursive: true, force: true });
  else row.different.push(`${folder}, ${faults.join(" then ")}: ${differences.join("; ")}`);
  if (process.stderr.isTTY) process.stderr.write(`\r${[...rows.values()].reduce((n, one) => n + one.runs, 0)}/${runs}`);
}
process.stdout.write("fault       runs  injected  ended the process  different\n");
for (const [kind, { runs: count, faults, ended, different }] of rows) {
  process.stdout.write(`${kind.padEnd(10)}${String(count).padStart(6)}${String(faults).padStart(10)}` +
    `${String(ended).padStart(19)}${String(different.length).padStart(11)}\n`);
}
const different = [...rows.values()].flatMap((row) => row.different);
for (const text of different) process.stdout.write(`${text}\n`);
process.exitCode = different.length === 0 ? 0 : 1;
