/**
 * All golden forward passes on the best adapter there is: `npm run test:full`. One line a model with the figures
 * reached.
 */
import test from "ava";
import { adapterName, type Device } from "../../runtime/device.js";
import { openDevice } from "../../runtime/node/adapters.js";
import { compileForward, FORWARD_MODELS, forwardGoldens, nearness, runForward, tapError, withTaps } from "../forward.js";
import { FULL, fullTest, goldenFile } from "../golden.js";

const show = (x: number): string => x.toExponential(1);

let device: Device;
test.before(async (t) => {
  if (!FULL) return;
  device = await openDevice({ checked: true });
  t.log(`on ${adapterName(device.info)}`);
});
test.after.always(() => device?.destroy());

for (const key of Object.keys(FORWARD_MODELS)) {
  const needs = { file: goldenFile(`forward/${key}.safetensors`) };
  fullTest(`${key}: names, counts, logits and taps`, needs, async (t, { file }) => {
    const golden = forwardGoldens[key];
    if (!golden) return t.fail(`the index has no ${key}`);
    const compiled = compileForward(key);
    const count = compiled.manifest.parameters.reduce((n, p) => n + p.shape.reduce((m, d) => m * d, 1), 0);
    t.is(count, golden.parameters, "parameters");
    if (golden.state_dict) {
      t.deepEqual(Object.fromEntries(compiled.manifest.parameters.map((p) => [p.path, p.shape])), golden.state_dict);
    }
    const { outputs, family } = await runForward(device, compiled, undefined, golden);
    const near = nearness(file, golden, outputs);
    const tapped = await runForward(device, withTaps(compiled, golden), family, golden);
    const taps = Object.entries(golden.taps).map(([name, tap]) => ({ name, error: tapError(tap, tapped.outputs[name]) }));
    const line = [
      ...near.map((n) => `${n.name} ${show(n.rel)} max ${show(n.max)}`), ...taps.map((tap) => `${tap.name} ${show(tap.error)}`),
    ];
    t.log(`${key} (${family}): ${line.join(", ")}`);
    for (const { name, rel, max, sameClass } of near) t.true(rel <= 5e-5 && max <= 3e-4 && sameClass, name);
    t.is(taps.length, 4);
    for (const { name, error } of taps) t.true(error <= 5e-5, name);
  });
}

fullTest("DeiT-Ti at batch 1 and 3 gives each image the same bits", {}, async (t) => {
  const golden = forwardGoldens["deit_tiny_patch16_224"];
  if (!golden) return t.fail("the index has no deit_tiny_patch16_224");
  const compiled = compileForward("deit_tiny_patch16_224");
  const bits = async (images: number): Promise<Int32Array> => {
    const { outputs } = await runForward(device, compiled, undefined, { ...golden, batch: 3 }, images);
    const data = outputs["logits"] ?? new Float32Array();
    return new Int32Array(data.buffer, data.byteOffset, data.length);
  };
  const three = await bits(3);
  t.is(three.length, 3000);
  t.deepEqual(await bits(1), three.slice(0, 1000));
});
