/**
 * @file Tests of random programs on the adapter, twenty as one module, in memory that was used before: forward, forward
 * with gradients, and both without fusion, in turn.
 */
import test from "ava";
import { adapterName, type Device } from "../../runtime/device.js";
import type { TargetName } from "../../compiler/targets/index.js";
import { moduleOf, obstacleOf, openUncheckedDevice } from "../harness.js";
import { describeFault, groupsOf, tryTogether, type Tally } from "./campaign.js";
import { expectationOf } from "./check.js";
import { generate } from "./generate.js";

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
      for (const group of groupsOf(family, programs)) {
        await tryTogether(group, { kind: "device", device, family }, tally);
      }
      t.log(`${tally.tiled} of ${tally.programs} programs use workgroup memory`);
      t.deepEqual(tally.faults.map(describeFault), []);
      t.is(tally.programs, programs);
      t.true(tally.tiled >= tiled);
    });
  }
}
