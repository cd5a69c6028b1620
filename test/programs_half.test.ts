/**
 * Random programs whose products are in f16: by what fusion and the planner make of them, and, on an adapter with
 * subgroup matrices, by wide and tiled kernels and by those of matrices.
 */
import test from "ava";
import { tensorTarget } from "../compiler/targets/tensor.js";
import { targetNamed } from "../compiler/targets/index.js";
import type { Device } from "../runtime/device.js";
import { openUncheckedDevice, soil } from "./harness.js";
import { matrixTest } from "./matrices.js";
import { MATRICES } from "./matrix_driver.js";
import { tryHalf, type HalfEngine, type HalfResult } from "./programs/half.js";

let device: Device;
test.before(async () => {
  if (MATRICES !== undefined) device = await openUncheckedDevice();
});
test.after.always(() => device?.destroy());

/** Programs by seed, forward and with gradients in turn. */
async function tried(count: number, engine: HalfEngine): Promise<readonly HalfResult[]> {
  const results: HalfResult[] = [];
  for (let seed = 0; seed < count; seed++) {
    if (engine.kind === "device" && seed % 20 === 0) await soil(engine.device);
    results.push(await tryHalf(seed, seed % 2 === 1, engine));
  }
  return results;
}
const counted = (results: readonly HalfResult[], is: (one: HalfResult) => boolean): number => results.filter(is).length;

test("300 random programs in f16 by their plan", async (t) => {
  const results = await tried(300, { kind: "plan" });
  t.deepEqual(results.flatMap(({ faults }) => faults), []);
  t.true(counted(results, ({ halved }) => halved) >= 100);
});

const TILE = { m: 16, n: 16, k: 16, down: 2, across: 1 };
const MATRIX = tensorTarget("tensor_8", "", 50, { m: 8, n: 8, k: 8, lanes: 8 }, [TILE, TILE], { subgroups: 2, keys: 8 });
for (const [target, programs, least] of [[targetNamed("wide"), 60, 0], [targetNamed("tiled"), 60, 0], [MATRIX, 100, 5]] as const) {
  matrixTest(`${programs} random programs in f16 by ${target.name} kernels`, async (t) => {
    const results = await tried(programs, { kind: "device", device, target });
    t.deepEqual(results.flatMap(({ faults }) => faults), []);
    t.log(`${counted(results, ({ halved }) => halved)} have products, ${counted(results, ({ matrices }) => matrices)} by matrices`);
    t.true(counted(results, ({ matrices }) => matrices) >= least);
  });
}
