/**
 * A thousand random programs, by what fusion and the planner make of them: each forward and with its gradients, fused,
 * and one of the two not fused, against the interpreter. `npm run fuzz:programs` runs any number of others.
 */
import { readFileSync } from "node:fs";
import test from "ava";
import { describeFault, triedByPlan, tryProgram, type Tally } from "./programs/campaign.js";
import { MUTATIONS } from "./programs/mutation_table.js";

const PROGRAMS = 1000;
const AT_ONCE = 100;

for (let from = 0; from < PROGRAMS; from += AT_ONCE) {
  test(`random programs ${from} to ${from + AT_ONCE - 1}`, async (t) => {
    const tally: Tally = { programs: 0, runs: 0, tiled: 0, hopeless: 0, faults: [] };
    for (let seed = from; seed < from + AT_ONCE; seed++) {
      await tryProgram(seed, [{ kind: "plan" }], tally, triedByPlan(seed));
    }
    t.deepEqual(tally.faults.map(describeFault), []);
    t.is(tally.runs, 3 * AT_ONCE);
  });
}

test("every fault that can be put back has its text once in the compiled compiler", (t) => {
  const occurrences = (file: string, text: string): number =>
    readFileSync(new URL(`../${file}.js`, import.meta.url), "utf8").split(text).length - 1;
  t.deepEqual(MUTATIONS.filter(({ file, from }) => occurrences(file, from) !== 1).map(({ what }) => what), []);
});
