/**
 * @file Tries the seeds of one target in a process of its own: `node child.js TARGET FROM COUNT`. A line before each
 * seed and one after it, written at once, so that whoever reads them knows which seed ended the process.
 */
import { writeSync } from "node:fs";
import { BROKEN } from "./broken.js";
import { TARGETS } from "./targets.js";

const [name = "", from = "0", count = "0"] = process.argv.slice(2);
const say = (line: string): void => void writeSync(1, `${line}\n`);
const prepare = TARGETS[name] ?? BROKEN[name];
if (prepare === undefined) throw new Error(`there is no target ${name}; there are ${Object.keys(TARGETS).join(", ")}`);
let seed = Number(from);
// What nobody waits for is a fault of the seed under way.
process.on("unhandledRejection", (error) => say(`raw ${seed} ${describe(error)}`));
const attempt = await prepare();
for (; seed < Number(from) + Number(count); seed++) {
  say(`try ${seed}`);
  try {
    say(`${await attempt(seed)} ${seed}`);
  } catch (error) {
    say(`raw ${seed} ${describe(error)}`);
  }
}
say(`peak ${Math.round(process.resourceUsage().maxRSS / 1024)}`);
process.exit(0);

function describe(error: unknown): string {
  return JSON.stringify(error instanceof Error ? error.stack ?? error.message : String(error)).slice(0, 1500);
}
