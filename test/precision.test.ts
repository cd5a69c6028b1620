/**
 * f16 products: models against PyTorch's float64 numbers and against the interpreter that rounds as they do. They run on
 * an adapter with `shader-f16` alone; DEITC_ADAPTER names one.
 */
import test from "ava";
import { compileFile, openUncheckedDevice } from "./harness.js";
import { FORWARD_MODELS, forwardGoldens, nearness, runForward } from "./forward.js";
import { goldenFile, goldenTest } from "./golden.js";
import type { Device } from "../runtime/device.js";

let device: Device;
test.before(async () => { device = await openUncheckedDevice(); });
test.after.always(() => device?.destroy());

for (const key of Object.keys(FORWARD_MODELS)) {
  const needs = { file: goldenFile(`forward/${key}.safetensors`) };
  for (const family of ["wide", "tiled"]) {
    goldenTest(`${key}: f16 logits by ${family} kernels`, needs, async (t, { file }) => {
      const golden = forwardGoldens[key];
      const [name, target] = FORWARD_MODELS[key] ?? [];
      if (!golden) return t.fail(`the index has no ${key}`);
      const compiled = compileFile(`models/${name}.deit`, target, { precision: "f16" });
      const { outputs } = await runForward(device, compiled, family, golden);
      for (const { name: output, rel, max, sameClass } of nearness(file, golden, outputs)) {
        t.log(`${output}: relative ${rel.toExponential(1)}, greatest difference ${max.toExponential(1)}`);
        t.true(rel <= 3e-3 && sameClass, output);
      }
    });
  }
}
