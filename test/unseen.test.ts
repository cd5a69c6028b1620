/**
 * Models that the compiler has never seen, written as a user would: through the whole pipeline, against the
 * interpreter. Dropping a `.deit` file into `test/unseen` adds one.
 */
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import test from "ava";
import { adapterName, type Device } from "../runtime/device.js";
import { namesFor } from "../compiler/targets/index.js";
import {
  compileFile, disagreements, expected, feedsOf, obstacleOf, openTestDevice, openUncheckedDevice, runModule,
} from "./harness.js";
import type { Tensor } from "../compiler/ir/op.js";

/** f32 rounding through two or three blocks, as a share of the greatest value. */
const TOLERANCE = 3e-5;
const FOLDER = "test/unseen";

let device: Device;
/** For tiled kernels, whose checked accesses take a software adapter minutes to compile. */
let unchecked: Device;
test.before(async (t) => {
  [device, unchecked] = [await openTestDevice(), await openUncheckedDevice()];
  t.log(`on ${adapterName(device.info)}`);
});
test.after.always(() => [device, unchecked].forEach((one) => one?.destroy()));

/** Matrices of about unit gain, so that depth neither blows up nor dies out; variances and scales positive. */
function settled(path: string, { shape, data }: Tensor): Tensor {
  const fanIn = Math.max(1, shape.slice(1).reduce((n, d) => n * d, 1));
  const scale = shape.length > 1 ? Math.sqrt(0.75 / fanIn) : 0.25;
  const base = /(running_var|weight|gamma)$/.test(path) && shape.length === 1 ? 1 : 0;
  return { shape, data: Float32Array.from(data, (x) => base + scale * x) };
}

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith(".deit")).sort()) {
  test.serial(basename(file, ".deit"), async (t) => {
    const compiled = compileFile(join(FOLDER, file));
    const { graph } = compiled.model;
    for (const family of namesFor("f32")) {
      const obstacle = obstacleOf(device, compiled, family);
      if (obstacle !== undefined) {
        t.log(`${family} skipped: ${obstacle}`);
        continue;
      }
      for (const batch of [1, 3]) {
        // One compile of the tiled kernels is enough for an adapter that takes its time over each.
        if (family === "tiled" && device.software && batch === 1) continue;
        const drawn = feedsOf(graph, batch, { tokens: [0, 29] });
        const feeds = { ...drawn, parameters: new Map([...drawn.parameters].map(([path, x]) => [path, settled(path, x)])) };
        const got = await runModule(family === "tiled" ? unchecked : device, compiled, family, batch, feeds);
        t.deepEqual(disagreements(got, expected(graph, batch, feeds), TOLERANCE), [], `${family}, B = ${batch}`);
      }
    }
  });
}
