/** Every target of `npm run fuzz` on fixed seeds, and the campaign itself on targets that are broken on purpose. */
import test from "ava";
import { faultsOf, fuzz, type Tally } from "./fuzz/campaign.js";
import { TARGETS } from "./fuzz/targets.js";

/** Seeds of each target. */
const COUNTS: Readonly<Record<string, number>> = {
  sources: 300, manifests: 400, recipes: 150, safetensors: 2000, pytorch: 2000, states: 2000, metrics: 2000, images: 1000, programs: 100,
};

for (const [name, count] of Object.entries(COUNTS)) {
  test.serial(`fuzz ${name}: ${count} inputs without a fault`, async (t) => {
    const tally = await fuzz(name, 0, count);
    t.deepEqual(tally.faults, []);
    t.is(faultsOf(tally), 0);
    t.is(tally.inputs, count);
    t.true(tally.taken > 0, "an input is taken now and then, so that what follows is tried too");
    t.log(`${tally.taken} taken, ${tally.refused} refused, ${tally.peak} MiB`);
  });
}

test("every target has its seeds", (t) => t.deepEqual(Object.keys(COUNTS), Object.keys(TARGETS)));

const SEEN: Readonly<Record<string, keyof Tally>> = { crash: "crashes", hang: "hangs", raw: "raw", unhandled: "raw", memory: "tooLarge" };
for (const [name, kind] of Object.entries(SEEN)) {
  test.serial(`a campaign counts a target with a fault of kind ${name}, and goes on after it`, async (t) => {
    const tally = await fuzz(name, 0, 6, Infinity, { memory: 512, seconds: 5 });
    t.is(tally[kind], 1);
    t.is(faultsOf(tally), 1);
    t.true(tally.refused >= 5);
    t.regex(tally.faults[0] ?? "", new RegExp(`^${name} 3: `, "u"));
  });
}
