/**
 * All golden forward passes on the best adapter there is: `npm run test:full`. One line a model with the figures
 * reached.
 */
import test from "ava";
import { adapterName, type Device } from "../../runtime/device.js";
import { openDevice } from "../../runtime/node/adapters.js";
import { compileForward, FORWARD_MODELS, forwardGoldens, nearness, runForward, tapError, withTaps } from "../forward.js";
import { SHARED } from "../golden.js";

const full = process.env["DEITC_FULL"] !== undefined;
const reason = full ? "no fixtures" : "only in `npm run test:full`";
const show = (x: number): string => x.toExponential(1);

let device: Device | undefined;
test.before(async (t) => {
  if (!full || SHARED === undefined) return;
  device = await openDevice({ checked: true });
  t.log(`on ${adapterName(device.info)}`);
});
test.after.always(() => device?.destroy());

for (const key of Object.keys(FORWARD_MODELS)) {
  if (!full || SHARED === undefined) {
    test.skip(`${key}: ${reason}`, (t) => t.pass());
    continue;
  }
  const shared = SHARED;
  test.serial(`${key}: names, counts, logits and taps`, async (t) => {
    t.timeout(3_600_000);
    const golden = forwardGoldens(shared)[key];
    if (!device || !golden) return t.fail(`the fixtures have no ${key}`);
    const compiled = compileForward(key);
    const count = compiled.manifest.parameters.reduce((n, p) => n + p.shape.reduce((m, d) => m * d, 1), 0);
    t.is(count, golden.parameters, "parameters");
    if (golden.state_dict) {
      t.deepEqual(Object.fromEntries(compiled.manifest.parameters.map((p) => [p.path, p.shape])), golden.state_dict);
    }
    const { outputs, family } = await runForward(device, compiled, undefined, golden);
    const near = nearness(shared, golden, outputs);
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

if (!full || SHARED === undefined) {
  test.skip(`DeiT-Ti at batch 1 and 3: ${reason}`, (t) => t.pass());
} else {
  const shared = SHARED;
  test.serial("DeiT-Ti at batch 1 and 3 gives each image the same bits", async (t) => {
    t.timeout(3_600_000);
    const golden = forwardGoldens(shared)["deit_tiny_patch16_224"];
    if (!device || !golden) return t.fail("the fixtures have no deit_tiny_patch16_224");
    const compiled = compileForward("deit_tiny_patch16_224");
    const bits = async (images: number): Promise<Int32Array> => {
      const given = { ...golden, batch: 3 };
      const { outputs } = await runForward(device as Device, compiled, undefined, given, images); // checked above
      const data = outputs["logits"] ?? new Float32Array();
      return new Int32Array(data.buffer, data.byteOffset, data.length);
    };
    const three = await bits(3);
    t.is(three.length, 3000);
    t.deepEqual(await bits(1), three.slice(0, 1000));
  });
}
