/**
 * f16 products: models against PyTorch's float64 numbers, and what the precision pass makes of a graph. Kernels run on
 * an adapter with `shader-f16`, which every adapter with subgroup matrices has.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { inferenceOf, type Artifact } from "../runtime/artifact.js";
import { roundToHalf } from "../compiler/ir/half.js";
import { topological, rootsOf } from "../compiler/ir/graph.js";
import type { Device } from "../runtime/device.js";
import { InputError } from "../runtime/errors.js";
import { load, openArtifact } from "../runtime/node/index.js";
import { inside } from "./cli_process.js";
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

const home = mkdtempSync(join(tmpdir(), "deitc-precision-"));
test.after.always(() => rmSync(home, { recursive: true, force: true }));
writeFileSync(join(home, "tiny.deit"), `import { vit } from "deitc/vit.deit"
model tiny extends vit { image = 32  patch = 8  dim = 32  depth = 1  heads = 2  classes = 8 }
`);
const RANDOM = ["--random-weights", "--generated-shapes", "3"];

test.serial("a folder holds inference in f16 where it was compiled for it, and says so where it was not", async (t) => {
  const compiled = await inside(home, ["compile", "tiny.deit", "--precision", "f32,f16", "--out", "both"]);
  t.is(compiled.code, 0, compiled.err);
  const { graphs } = JSON.parse(readFileSync(join(home, "both/manifest.json"), "utf8")) as Artifact;
  t.deepEqual(Object.keys(graphs), ["infer", "infer_f16"]);
  t.deepEqual(Object.keys(graphs.infer_f16?.families ?? {}), ["tensor", "tensor_small", "tiled", "wide"]);
  t.is((await inside(home, ["compile", "tiny.deit", "--out", "plain"])).code, 0);
  const opened = await openArtifact(join(home, "both"));
  await t.throwsAsync(load(inferenceOf(opened), { randomWeights: { seed: 0 }, precision: "f16" }), {
    instanceOf: InputError, message: "the precision f16 is asked for, but tiny was opened in f32",
  });
  const refused = await inside(home, ["predict", "plain", ...RANDOM, "--precision", "f16"]);
  t.is(refused.code, 1);
  t.regex(refused.err, /tiny was not compiled for f16\n  help: compile it again with `--precision f32,f16`/u);
  t.regex((await inside(home, ["predict", "plain", ...RANDOM, "--precision", "f8"])).err, /The precisions are f32 and f16/u);
});

test.serial("explain shows the kernels of a precision, of a file and of a folder; a recipe trains in f32", async (t) => {
  for (const what of ["tiny.deit", "both"]) {
    const [full, half] = [await inside(home, ["explain", what]), await inside(home, ["explain", what, "--precision", "f16"])];
    t.is(half.code, 0, half.err);
    t.false(full.out.includes("map_images"));
    t.regex(half.out, /\ninfer +images +map_images/u);
    t.regex(half.out, /\nprepare +blocks\.0\.attn\.qkv +map_/u);
  }
  const recipe = await inside(".", ["explain", "models/shapes.deit", "--precision", "f16"]);
  t.is(recipe.code, 2);
  t.regex(recipe.err, /--precision is for inference; shapes is a recipe, which trains in f32/u);
});

test.serial("an adapter without f16 is named with the feature that it lacks", async (t) => {
  for (const what of ["tiny.deit", "both"]) {
    const { code, err } = await inside(home, ["predict", what, ...RANDOM, "--precision", "f16", "--adapter", "swiftshader"]);
    t.is(code, 3);
    t.regex(err, /SwiftShader driver .* cannot run tiny: .*it needs the feature shader-f16/u);
  }
});

matrixTest("predictions in f16 are those of f32, and verify finds every tensor as the interpreter does", async (t) => {
  const scores = async (...more: readonly string[]): Promise<number[]> => {
    const { code, out, err } = await inside(home, ["predict", "both", ...RANDOM, "--json", ...more]);
    t.is(code, 0, err);
    const { images } = JSON.parse(out) as { images: { classes: { score: number }[] }[] };
    return images.flatMap(({ classes }) => classes.map(({ score }) => score));
  };
  const [full, half] = [await scores(), await scores("--precision", "f16")];
  t.notDeepEqual(half, full);
  half.forEach((score, i) => t.true(Math.abs(score - (full[i] ?? NaN)) < 1e-3));
  const verified = await inside(home, ["verify", "tiny.deit", "--precision", "f16", "--family", "wide,tiled"]);
  t.is(verified.code, 0, verified.out + verified.err);
  t.regex(verified.out, /all \d+ tensors agree within 0\.005/u);
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
