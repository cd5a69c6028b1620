/**
 * f16 products: models against PyTorch's float64 numbers, and what the precision pass makes of a graph. Kernels run on
 * an adapter with `shader-f16`, which every adapter with subgroup matrices has.
 */
import test from "ava";
import { roundToHalf } from "../compiler/ir/half.js";
import { topological, rootsOf } from "../compiler/ir/graph.js";
import type { Device } from "../runtime/device.js";
import { forwardGoldens, FORWARD_MODELS, nearness, runForward } from "./forward.js";
import { FULL, goldenFile } from "./golden.js";
import { compileFile, compileText, openUncheckedDevice } from "./harness.js";
import { matrixTest } from "./matrices.js";
import { MATRICES } from "./matrix_driver.js";

let device: Device;
test.before(async () => {
  if (MATRICES !== undefined) device = await openUncheckedDevice();
});
test.after.always(() => device?.destroy());

test("numbers are rounded to f16 as IEEE 754 says", (t) => {
  const bits = (sign: number, exponent: number, fraction: number): number =>
    sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
  for (let exponent = 0; exponent < 31; exponent++) {
    for (let fraction = 0; fraction < 1024; fraction += 7) {
      const [here, next] = [bits(1, exponent, fraction), bits(1, exponent, fraction + 1)];
      const middle = (here + next) / 2;
      t.is(roundToHalf(here), here);
      t.is(roundToHalf(-here), -here);
      t.is(roundToHalf(middle), next > 65504 ? Infinity : fraction % 2 === 0 ? here : next);
      t.is(roundToHalf(middle * (1 - 2 ** -40)), here);
      t.is(roundToHalf(middle * (1 + 2 ** -40)), next > 65504 ? Infinity : next);
    }
  }
  t.is(roundToHalf(65519.99), 65504);
  t.is(roundToHalf(-65520), -Infinity);
  t.is(roundToHalf(Infinity), Infinity);
  t.true(Number.isNaN(roundToHalf(NaN)));
  t.true(Object.is(roundToHalf(-0), -0) && Object.is(roundToHalf(-1e-9), -0));
});

test("operands of products are f16, and all else is f32", (t) => {
  const { expanded, manifest, fusion } = compileFile("models/deit_ti.deit", undefined, { precision: "f16", verify: true });
  const products = topological(rootsOf(expanded)).filter(({ op }) => ["matmul", "attention", "conv2d_last"].includes(op));
  t.true(products.length > 12 * 4);
  for (const { inputs, dtype } of products) {
    t.true(inputs.every((input) => input.dtype === "f16"));
    t.is(dtype, "f32");
  }
  t.deepEqual([...manifest.inputs, ...manifest.outputs].map(({ dtype }) => dtype), ["f32", "f32", "f32"]);
  // What is rounded is stored in f16 by the kernel that makes it: no kernel of a pass only converts, but of the images.
  const passes = fusion.kernels.filter(({ root }) => root.shape.some(({ b }) => b > 0));
  t.deepEqual(passes.filter(({ members }) => members.every(({ op }) => op === "half")).map(({ root }) => root.origin.path), ["images"]);
  t.is(passes.length, 88);
});

test("views stay views of what is rounded", (t) => {
  const { fusion } = compileText(`model m() {
    input x: [B, 6, 8]
    output y = matmul(reshape(x, shape = [B, 3, 2, 8])[:, 1:, 0], transpose(x))
  }`, "m", { precision: "f16", verify: true });
  t.deepEqual(fusion.kernels.map(({ root }) => `${root.op} ${root.dtype}`), ["half f16", "matmul f32"]);
});

/** Models that CI runs; the others run in `npm run test:full`. */
const QUICK = ["deit_tiny_patch16_224"];
for (const key of Object.keys(FORWARD_MODELS)) {
  const file = goldenFile(`forward/${key}.safetensors`);
  if (file === undefined || !(FULL || QUICK.includes(key))) continue;
  for (const family of ["wide", "tiled"]) {
    matrixTest(`${key}: f16 logits by ${family} kernels are near PyTorch's float64`, async (t) => {
      const golden = forwardGoldens[key];
      const [name, target] = FORWARD_MODELS[key] ?? [];
      if (!golden) return t.fail(`the index has no ${key}`);
      const compiled = compileFile(`models/${name}.deit`, target, { precision: "f16", targets: [family] });
      const { outputs } = await runForward(device, compiled, family, golden);
      for (const { name: output, rel, max, sameClass } of nearness(file, golden, outputs)) {
        t.log(`${output}: relative ${rel.toExponential(1)}, greatest difference ${max.toExponential(1)}`);
        t.true(rel <= 3e-3 && sameClass, output);
      }
    });
  }
}
