/**
 * @file `npm run fuzz -- --count 1000`, or `--seconds 60` for each target; `--only sources,images` for some of them,
 * `--from 5000` for other seeds. Prints every fault with its seed, and a table; the exit code is 1 if there was a fault.
 */
import { parseArgs } from "node:util";
import { faultsOf, fuzz } from "./campaign.js";
import { TARGETS } from "./targets.js";

const { values } = parseArgs({
  options: { count: { type: "string" }, seconds: { type: "string" }, from: { type: "string", default: "0" }, only: { type: "string" } },
});
const names = values.only?.split(",") ?? Object.keys(TARGETS);
const unknown = names.find((name) => !Object.hasOwn(TARGETS, name));
if (unknown !== undefined) {
  process.stderr.write(`error: there is no target ${unknown}; there are ${Object.keys(TARGETS).join(", ")}\n`);
  process.exit(2);
}
const seconds = values.seconds === undefined ? Infinity : Number(values.seconds);
const count = values.count === undefined ? (seconds === Infinity ? 1000 : 2 ** 31) : Number(values.count);
process.stdout.write("target        inputs     taken   refused  crashes  hangs  too large  raw errors  peak MiB\n");
let faults = 0;
for (const name of names) {
  const tally = await fuzz(name, Number(values.from), count, seconds);
  const columns = [tally.inputs, tally.taken, tally.refused, tally.crashes, tally.hangs, tally.tooLarge, tally.raw, tally.peak];
  const widths = [8, 10, 10, 9, 7, 11, 12, 10];
  process.stdout.write(`${name.padEnd(12)}${columns.map((n, i) => String(n).padStart(widths[i] ?? 0)).join("")}\n`);
  for (const fault of tally.faults) process.stdout.write(`  ${fault}\n`);
  faults += faultsOf(tally);
}
process.exitCode = faults > 0 ? 1 : 0;
