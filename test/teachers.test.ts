/**
 * Convnets against PyTorch's numbers: names, counts, logits, and the last feature map. One of them always, the rest in
 * `npm run test:full` on the best adapter there is.
 */
import test from "ava";
import { adapterName, type Device } from "../runtime/device.js";
import { openDevice } from "../runtime/node/adapters.js";
import { tapError } from "./forward.js";
import { FULL, fullTest, goldenFile, goldenTest } from "./golden.js";
import { openTestDevice } from "./harness.js";
import { compileTeacher, runTeacher, teacherGoldens, teacherNearness, withFeatures } from "./teachers.js";

/** Runs on every adapter in seconds. */
const SMALL = "regnety_004";
const KEYS = [
  SMALL, "resnet18", "resnet50", "efficientnet_b0", "efficientnet_b3", "regnety_040", "regnety_080", "regnety_160",
];

let device: Device;
test.before(async (t) => {
  device = FULL ? await openDevice({ checked: true }) : await openTestDevice();
  t.log(`on ${adapterName(device.info)}`);
});
test.after.always(() => device?.destroy());

for (const key of KEYS) {
  const add = key === SMALL ? goldenTest : fullTest;
  const needs = { file: goldenFile(`teachers/${key}.safetensors`) };
  add(`${key}: names, counts, logits and features are PyTorch's`, needs, async (t, { file }) => {
    const golden = teacherGoldens[key];
    if (!golden) return t.fail(`the index has no ${key}`);
    const compiled = compileTeacher(key, golden);
    const { parameters } = compiled.manifest;
    const count = parameters.filter((p) => p.trained).reduce((n, p) => n + p.shape.reduce((m, d) => m * d, 1), 0);
    t.is(count, golden.parameters, "parameters");
    t.deepEqual(Object.fromEntries(parameters.map((p) => [p.path, p.shape])), golden.state_dict);
    const { outputs, family, seconds } = await runTeacher(device, withFeatures(compiled), golden);
    const { rel, max, sameClass } = teacherNearness(file, golden, outputs["logits"] ?? new Float32Array());
    const features = tapError(golden.features, outputs["features"]);
    t.log(`${key} (${family}): logits ${rel.toExponential(1)} max ${max.toExponential(1)} of ` +
      `${golden.f32_vs_f64.max_abs_value.toFixed(1)}, features ${features.toExponential(1)}; ` +
      `PyTorch's float32 ${golden.f32_vs_f64.rel_l2.toExponential(1)}; ${seconds.toFixed(1)} s`);
    t.true(rel <= (key.startsWith("efficientnet") ? 1e-3 : 1e-4) && sameClass, "logits");
    t.true(features <= 5e-5, "features");
  });
}
