/**
 * @file Tests of random programs on the adapter, twenty as one module, in memory that was used before: forward, forward
 * with gradients, and both without fusion, in turn.
 */
import test from "ava";
import { adapterName, type Device } from "../../runtime/device.js";
import { TARGET_NAMES, type TargetName } from "../../compiler/targets/index.js";
import { moduleOf, obstacleOf, openUncheckedDevice, soil } from "../harness.js";
import { describeFault, tryTogether, type Tally } from "./campaign.js";
import { expectationOf, WAYS } from "./check.js";
import { generate } from "./generate.js";

const AT_ONCE = 20;

/** How many programs are tried by the kernels of a family, and how many of them must have some in workgroup memory. */
export interface Amount {
  readonly family: TargetName;
  readonly programs: number;
  readonly tiled?: number;
}

/** Declares a test for each family; one that the adapter cannot run says so. */
export function declareDeviceTests(amounts: readonly Amount[]): void {
  let device: Device;
  test.before(async (t) => {
    device = await openUncheckedDevice();
    t.log(`on ${adapterName(device.info)}`);
  });
  test.after.always(() => device?.destroy());

  for (const { family, programs, tiled = 0 } of amounts) {
    test.serial(`${programs} random programs by ${family} kernels`, async (t) => {
      const obstacle = obstacleOf(device, moduleOf(expectationOf(generate(0), false).graph), family);
      if (obstacle !== undefined) {
        t.log(`not run: ${obstacle}`);
        return void t.pass();
      }
      const tally: Tally = { programs: 0, runs: 0, tiled: 0, hopeless: 0, faults: [] };
      // The same program goes another way in each family.
      const turn = TARGET_NAMES.indexOf(family);
      for (let group = 0; group < programs / AT_ONCE; group++) {
        const way = WAYS[(group + turn) % WAYS.length];
        if (!way) continue;
        await soil(device);
        const seeds = Array.from({ length: AT_ONCE }, (_, i) => group * AT_ONCE + i);
        await tryTogether(seeds, way, { kind: "device", device, family }, tally);
      }
      t.log(`${tally.tiled} of ${tally.programs} programs use workgroup memory`);
      t.deepEqual(tally.faults.map(describeFault), []);
      t.is(tally.programs, programs);
      t.true(tally.tiled >= tiled);
    });
  }
}
