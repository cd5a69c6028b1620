/**
 * Models against PyTorch's numbers: DeiT-Ti and DeiT-S at 224, and the micro models, which also run unfused and
 * interpreted. The adapter is the embedded one unless DEITC_ADAPTER names another.
 */
import test from "ava";
import { BATCH as MICRO_BATCH, micro, microData, microFile, microParameter } from "./micro.js";
import type { Compiled, CompileOptions } from "../compiler/pipeline.js";
import { adapterName, type Device } from "../runtime/device.js";
import type { FamilyName } from "../runtime/manifest.js";
import { compileForward, forwardGoldens, nearness, runForward, tapError, withTaps } from "./forward.js";
import { generated, goldenFile, goldenTest, maxAbs, readGolden, relativeL2 } from "./golden.js";
import {
  compileFile, expected, familiesOn, openTestDevice, openUncheckedDevice, runModule, type Feeds,
} from "./harness.js";

let device: Device;
/** For tiled kernels, whose checked accesses take a software adapter a minute to compile. */
let unchecked: Device;
test.before(async (t) => {
  [device, unchecked] = [await openTestDevice(), await openUncheckedDevice()];
  t.log(`on ${adapterName(device.info)}`);
});
test.after.always(() => [device, unchecked].forEach((one) => one?.destroy()));
const deviceOf = (family: FamilyName): Device => (family === "tiled" ? unchecked : device);

const show = (x: number): string => x.toExponential(1);

for (const key of ["deit_tiny_patch16_224", "deit_small_patch16_224"]) {
  const needs = { file: goldenFile(`forward/${key}.safetensors`) };
  goldenTest(`${key}: logits and taps are PyTorch's`, needs, async (t, { file }) => {
    const golden = forwardGoldens[key];
    if (!golden) return t.fail(`the index has no ${key}`);
    const compiled = compileForward(key);
    const { outputs, family } = await runForward(device, compiled, undefined, golden);
    for (const { name, rel, max, sameClass } of nearness(file, golden, outputs)) {
      t.log(`${name}, ${family}: relative ${show(rel)}, greatest difference ${show(max)}`);
      t.true(rel <= 5e-5 && max <= 3e-4 && sameClass, name);
    }
    const tapped = await runForward(device, withTaps(compiled, golden), family, golden);
    for (const [name, tap] of Object.entries(golden.taps)) {
      const error = tapError(tap, tapped.outputs[name]);
      t.log(`${name}: ${show(error)}`);
      t.true(error <= 5e-5, `${name}: ${error}`);
    }
    if (golden.state_dict) {
      const ours = Object.fromEntries(compiled.manifest.parameters.map((p) => [p.path, p.shape]));
      t.deepEqual(ours, golden.state_dict);
    }
  });
}

/** The micro model of a configuration: `plain_h2`, `dist_h1`, `ls_h2`. */
function compileMicro(configuration: string, options: CompileOptions = {}): Compiled {
  const [kind, heads] = configuration.split("_h");
  const overrides = {
    image: 32, patch: 8, dim: 64, depth: 2, heads: Number(heads), classes: 10,
    ...(kind === "dist" ? { distilled: true } : {}),
  };
  return compileFile(kind === "ls" ? "models/deit3.deit" : "models/vit.deit", kind === "ls" ? "deit3" : "vit", { ...options, overrides });
}

const parametersOf = ({ manifest }: Compiled): Feeds["parameters"] =>
  new Map(manifest.parameters.map(({ path, shape }) => [path, microParameter(path, shape)]));
function microFeeds(compiled: Compiled): Feeds {
  const images = microData().get("images");
  return { inputs: new Map(images ? [["images", images]] : []), parameters: parametersOf(compiled) };
}

for (const configuration of ["plain_h1", "plain_h2", "dist_h1", "dist_h2", "ls_h2"]) {
  // The losses of a configuration have their own files, all with the same logits.
  const file = Object.values(micro.gradients).filter((g) => g.config === configuration)
    .map((g) => microFile(g.file)).find((path) => path !== undefined);
  const title = `micro ${configuration}: PyTorch's logits on every family, fused, unfused and interpreted`;
  goldenTest(title, { file }, async (t, found) => {
    const golden = readGolden(found.file);
    const names = configuration.startsWith("dist") ? ["logits", "logits_dist"] : ["logits"];
    const check = (what: string, results: ReadonlyMap<string, { readonly length: number }>): void => {
      for (const name of names) {
        const got = results.get(name) as Float32Array; // f32 outputs
        const want = golden.get(name)?.data ?? [];
        const [rel, max] = [relativeL2(got, want), maxAbs(got, want)];
        t.log(`${what} ${name}: relative ${show(rel)}, greatest difference ${show(max)}`);
        t.true(rel <= 1e-5 && max <= 3e-5, `${what} ${name}: ${rel} ${max}`);
      }
    };
    for (const fuse of [true, false]) {
      const compiled = compileMicro(configuration, fuse ? {} : { without: ["fusion"] });
      const feeds = microFeeds(compiled);
      for (const family of familiesOn(device, compiled)) {
        // The tiled kernels of other head counts differ in no more than sizes.
        if (family === "tiled" && !(configuration === "dist_h2" && fuse)) continue;
        check(`${family}${fuse ? "" : ", not fused"}`, await runModule(deviceOf(family), compiled, family, MICRO_BATCH, feeds));
      }
      if (!fuse) continue;
      const oracle = expected(compiled.model.graph, MICRO_BATCH, feeds);
      check("interpreted", new Map([...oracle].map(([name, { data }]) => [name, data])));
    }
  });
}

test.serial("one module at batch 1, 3 and 8 gives each image the same bits", async (t) => {
  const compiled = compileMicro("plain_h2");
  const [pixels, classes] = [3 * 32 * 32, 10];
  const images = generated("batches", 8 * pixels, 0, 1);
  const feeds = (from: number, count: number): Feeds => ({
    parameters: parametersOf(compiled),
    inputs: new Map([["images", { shape: [count, 3, 32, 32], data: images.slice(from * pixels, (from + count) * pixels) }]]),
  });
  for (const family of familiesOn(device, compiled)) {
    const logits = async (from: number, count: number): Promise<Int32Array> => {
      const results = await runModule(deviceOf(family), compiled, family, count, feeds(from, count));
      const data = results.get("logits") ?? new Float32Array();
      return new Int32Array(data.buffer.slice(0, 4 * count * classes));
    };
    const eight = await logits(0, 8);
    const three = await logits(2, 3);
    t.deepEqual(three, eight.slice(2 * classes, 5 * classes), `${family}: 3 of 8`);
    const one = await logits(5, 1);
    t.deepEqual(one, eight.slice(5 * classes, 6 * classes), `${family}: 1 of 8`);
  }
});
