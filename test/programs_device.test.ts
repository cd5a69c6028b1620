/**
 * Random programs on the adapter, twenty as one module, each family of kernels in turn, forward and with gradients, fused
 * and not, in memory that was used before. `npm run test:full` runs a thousand.
 */
import test from "ava";
import { adapterName, type Device } from "../runtime/device.js";
import { TARGET_NAMES, type TargetName } from "../compiler/targets/index.js";
import { moduleOf, obstacleOf, openUncheckedDevice, soil } from "./harness.js";
import { describeFault, tryTogether, type Tally } from "./programs/campaign.js";
import { expectationOf, WAYS } from "./programs/check.js";
import { generate } from "./programs/generate.js";

const AT_ONCE = 20;
const full = process.env["DEITC_FULL"] !== undefined;
/** A software adapter takes seconds to compile kernels with workgroup memory. */
const PROGRAMS: Readonly<Record<TargetName, number>> = full
  ? { scalar: 1000, wide: 1000, tiled: 1000 } : { scalar: 240, wide: 240, tiled: 80 };

let device: Device;
test.before(async (t) => {
  device = await openUncheckedDevice();
  t.log(`on ${adapterName(device.info)}`);
});
test.after.always(() => device?.destroy());

for (const family of TARGET_NAMES) {
  test.serial(`random programs by ${family} kernels`, async (t) => {
    const obstacle = obstacleOf(device, moduleOf(expectationOf(generate(0), false).graph), family);
    if (obstacle !== undefined) {
      t.log(`not run: ${obstacle}`);
      return void t.pass();
    }
    const tally: Tally = { programs: 0, runs: 0, hopeless: 0, faults: [] };
    for (let group = 0; group < PROGRAMS[family] / AT_ONCE; group++) {
      const way = WAYS[group % WAYS.length];
      if (!way) continue;
      await soil(device);
      const seeds = Array.from({ length: AT_ONCE }, (_, i) => group * AT_ONCE + i);
      await tryTogether(seeds, way, { kind: "device", device, family }, tally);
    }
    t.deepEqual(tally.faults.map(describeFault), []);
    t.is(tally.programs, PROGRAMS[family]);
  });
}
