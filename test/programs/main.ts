/**
 * @file `npm run fuzz:programs -- --from 0 --count 100000`: random programs by the plan on the CPU, or with
 * `--family scalar,tiled` on the adapter too; with `--one-way`, each in one way that its seed chooses, mostly fused.
 * Prints a line every few seconds, every fault as it is found, and a table.
 */
import { parseArgs } from "node:util";
import type { FamilyName } from "../../runtime/manifest.js";
import { openUncheckedDevice, soil } from "../harness.js";
import { describeFault, tryProgram, type Tally } from "./campaign.js";
import type { Engine, Way } from "./check.js";

const { values } = parseArgs({
  options: {
    from: { type: "string", default: "0" }, count: { type: "string", default: "1000" }, family: { type: "string" },
    "one-way": { type: "boolean", default: false },
  },
});
const [from, count] = [Number(values.from), Number(values.count)];
/** One in eight is not fused: plain kernels are rarely wrong. The last two bits of a seed decide on training. */
const isChosen = (seed: number) => ({ fuse, gradient }: Way): boolean =>
  !values["one-way"] || (fuse === ((seed >> 3) % 8 !== 0) && gradient === ((seed >> 2) % 2 === 1));
const families = (values.family?.split(",") ?? []) as FamilyName[]; // a wrong name is told when it is looked for
const device = families.length > 0 ? await openUncheckedDevice() : undefined;
const engines: Engine[] = [
  { kind: "plan" }, ...(device ? families.map((family): Engine => ({ kind: "device", device, family })) : []),
];
const tally: Tally = { programs: 0, runs: 0, tiled: 0, hopeless: 0, faults: [] };
const began = performance.now();
let told = began;
for (let seed = from; seed < from + count; seed++) {
  const before = tally.faults.length;
  if (device && seed % 50 === 0) await soil(device);
  await tryProgram(seed, engines, tally, isChosen(seed));
  for (const fault of tally.faults.slice(before)) process.stdout.write(`${describeFault(fault)}\n`);
  if (performance.now() - told < 10_000) continue;
  told = performance.now();
  process.stderr.write(`${tally.programs} of ${count} programs, ${tally.faults.length} faults\n`);
}
const seconds = (performance.now() - began) / 1000;
const cpu = process.cpuUsage();
process.stdout.write(`${tally.programs} programs (seeds ${from} to ${from + count - 1}), ${tally.runs} runs, ` +
  `${tally.faults.length} faults, ${tally.hopeless} values too ill-conditioned to compare, ${seconds.toFixed(0)} s, ` +
  `${((cpu.user + cpu.system) / 1e6).toFixed(0)} s of CPU\n`);
device?.destroy();
process.exitCode = tally.faults.length > 0 ? 1 : 0;
