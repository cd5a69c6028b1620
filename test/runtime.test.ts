/** @file The runtime on a hand-written module of three kernels: numbers, batches, faults, exit. Embedded adapter. */
import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { mock } from "node:test";
import { promisify } from "node:util";
import test, { type ExecutionContext } from "ava";
import { emitArtifact } from "../compiler/emit/index.js";
import { Device } from "../runtime/device.js";
import { AdapterError, DeitcError, DestroyedError, InputError, OutOfMemoryError } from "../runtime/errors.js";
import type { Family, Manifest, Size, Step } from "../runtime/manifest.js";
import { largestBatch, memoryUse, planMemory } from "../runtime/memory.js";
import { inferenceOf, load, openAdapter, openArtifact, openDevice, type LoadOptions } from "../runtime/node/index.js";
import { kernelsOf, type Artifact, type ModuleDefinition } from "../runtime/artifact.js";
import { readTar } from "../runtime/node/swiftshader.js";
import { encodeSafetensors } from "../runtime/weights/safetensors.js";

const WIDTH = 5;
const size = (b: number, c: number): Size => ({ b, c });
const step = (kernel: number, path: string, bindings: Step["bindings"], grid: Step["grid"]): Step => ({
  kernel, path, bindings, grid, flops: size(WIDTH, 0), bytes: size(8 * WIDTH, 0),
});

/** y = Σ x·2w and z = x·2w, where 2w is derived once: derived, activation, parameter, input, output all occur. */
const family: Family = {
  rank: 10, suits: "software", requires: { features: [], lanes: 0 },
  kernels: [
    { name: "double", bindings: ["read", "read_write"], workgroupSize: 8, workgroupBytes: 0, features: [] },
    { name: "scale", bindings: ["read", "read", "read_write"], workgroupSize: 1, workgroupBytes: 0, features: [] },
    { name: "sum", bindings: ["read", "read_write"], workgroupSize: 4, workgroupBytes: 0, features: [] },
    { name: "copy", bindings: ["read", "read_write"], workgroupSize: 1, workgroupBytes: 0, features: [] },
  ],
  slots: [
    { kind: "derived", bytes: size(0, 4 * WIDTH), tensors: ["doubled"] },
    { kind: "activation", bytes: size(4 * WIDTH, 0), tensors: ["scaled"] },
  ],
  programs: {
    prepare: [
      step(0, "doubled", [{ kind: "parameter", index: 1 }, { kind: "slot", index: 0 }],
        [{ size: size(0, WIDTH), per: 8 }]),
    ],
    run: [
      step(1, "scaled",
        [{ kind: "input", index: 0 }, { kind: "slot", index: 0 }, { kind: "slot", index: 1 }],
        [{ size: size(1, 0), per: 1 }, { size: size(0, WIDTH), per: 1 }]),
      step(2, "y", [{ kind: "slot", index: 1 }, { kind: "output", index: 0 }], [{ size: size(1, 0), per: 4 }]),
      step(3, "z", [{ kind: "slot", index: 1 }, { kind: "output", index: 1 }],
        [{ size: size(1, 0), per: 1 }, { size: size(0, WIDTH), per: 1 }]),
    ],
  },
  copies: [],
};

/** Kernels of software adapters, with narrow and wide subgroups, and of GPUs. */
const familiesOf = (software: Family, hardware: Family): Manifest["families"] => ({
  scalar: software, wide: { ...software, rank: 20, requires: { features: ["subgroups"], lanes: 8 } },
  tiled: { ...hardware, rank: 30, suits: "hardware" },
});

const parameter = (path: string, count: number) => ({
  path, shape: [count], trained: true, decay: true, initializer: { kind: "uniform", bound: 1 } as const,
});

const manifest: Manifest = {
  name: "tiny",
  inputs: [{ name: "x", shape: [size(1, 0), size(0, WIDTH)], dtype: "f32" }],
  outputs: [
    { name: "y", shape: [size(1, 0)], dtype: "f32" },
    { name: "z", shape: [size(1, 0), size(0, WIDTH)], dtype: "f32" },
  ],
  // The first is there so that the second lies at an offset.
  parameters: [parameter("unused", 3), parameter("w", WIDTH)],
  families: familiesOf(family, family),
};

const storage = (binding: number, access: string, name: string): string =>
  `@group(0) @binding(${binding}) var<storage, ${access}> ${name}: array<f32>;\n`;
const main = (workgroup: number, body: string): string => `
@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u,
        @builtin(local_invocation_index) lid: u32) {
  let i = i32((wid.x + wid.y * nwg.x) * ${workgroup}u + lid);
  ${body}
}`;
const texts: Readonly<Record<string, string>> = {
  double: storage(0, "read", "w") + storage(1, "read_write", "d")
    + main(8, `if (i < ${WIDTH}) { d[i] = 2.0 * w[i]; }`),
  scale: "override B: i32;\n" + storage(0, "read", "x") + storage(1, "read", "d") + storage(2, "read_write", "s")
    + main(1, `if (i < B * ${WIDTH}) { s[i] = x[i] * d[i % ${WIDTH}]; }`),
  sum: "override B: i32;\n" + storage(0, "read", "s") + storage(1, "read_write", "y")
    + main(4, `if (i < B) { var a = 0.0; for (var k = 0; k < ${WIDTH}; k++) { a += s[i * ${WIDTH} + k]; } y[i] = a; }`),
  copy: "override B: i32;\n" + storage(0, "read", "s") + storage(1, "read_write", "z")
    + main(1, `if (i < B * ${WIDTH}) { z[i] = s[i]; }`),
};
const definition: ModuleDefinition = { manifest, wgsl: async (_, kernel) => texts[kernel] ?? "" };

const w = Float32Array.from({ length: WIDTH }, (_, i) => i - 1.5);
const weights = new Map([["unused", new Float32Array(3)], ["w", w]]);
const options: LoadOptions = { weights, adapter: "swiftshader", checked: true, poison: true };
const images = (count: number): Float32Array =>
  Float32Array.from({ length: count * WIDTH }, (_, i) => Math.fround(Math.sin(i + 1)));

/** The module's outputs by plain arithmetic, rounded as f32 does. */
function expected(x: Float32Array): { y: Float32Array; z: Float32Array } {
  const z = x.map((value, i) => Math.fround(value * Math.fround(2 * (w[i % WIDTH] ?? 0))));
  const y = Float32Array.from({ length: x.length / WIDTH }, (_, b) =>
    z.subarray(b * WIDTH, (b + 1) * WIDTH).reduce((sum, v) => Math.fround(sum + v), 0));
  return { y, z };
}

async function failure(t: ExecutionContext, work: Promise<unknown>): Promise<DeitcError> {
  const error = await t.throwsAsync(work);
  if (error instanceof DeitcError) return error;
  throw error ?? new Error("nothing was thrown");
}

for (const batch of [1, 3, 8, 20000]) {
  test.serial(`batch ${batch}: exact numbers, the same twice, and for fewer images`, async (t) => {
    const model = await load(definition, { ...options, batch });
    for (const count of new Set([batch, batch, Math.ceil(batch / 2)])) {
      const x = images(count);
      const first = await model.infer({ x });
      t.deepEqual(first, expected(x));
      t.deepEqual(await model.infer({ x }), first);
    }
    model.destroy();
  });
}

test.serial("unchecked runs give the bits of checked ones", async (t) => {
  const model = await load(definition, { ...options, checked: false, batch: 3 });
  const x = images(3);
  t.deepEqual(await model.infer({ x }), expected(x));
  model.destroy();
});

test.serial("calls made at once run in order", async (t) => {
  await using model = await load(definition, { ...options, batch: 2 });
  const inputs = [1, 2, 3].map((k) => images(2).map((v) => v * k));
  const results = await Promise.all(inputs.map((x) => model.infer({ x })));
  t.deepEqual(results, inputs.map(expected));
});

test.serial("parameters are replaced and read back, and what derives from them follows", async (t) => {
  await using model = await load(definition, options);
  t.deepEqual(await model.readParameters(), weights);
  const twice = w.map((v) => 2 * v);
  await model.setParameters(new Map([["w", twice]]));
  t.deepEqual((await model.readSlot(0)).subarray(0, WIDTH), twice.map((v) => 2 * v));
  const x = images(1);
  t.deepEqual((await model.infer({ x })).z, expected(x).z?.map((v) => 2 * v));
  t.true((await failure(t, model.setParameters(new Map([["v", w]])))) instanceof InputError);
});

test.serial("poison shows in storage that no kernel wrote", async (t) => {
  await using model = await load(definition, { ...options, batch: 2 });
  const slot = await model.readSlot(1);
  t.true(slot.length >= 2 * WIDTH && slot.every(Number.isNaN));
});

test.serial("random weights depend on the seed alone", async (t) => {
  const read = async (seed: number) => {
    await using model = await load(definition, { adapter: "swiftshader", checked: true, randomWeights: { seed } });
    return model.readParameters();
  };
  const first = await read(1);
  t.deepEqual(await read(1), first);
  t.notDeepEqual(await read(2), first);
});

test.serial("a profile has a row a dispatch, by timestamps", async (t) => {
  await using model = await load(definition, { ...options, batch: 3 });
  await model.infer({ x: images(3) });
  const { clock, rows } = await model.profile();
  t.is(clock, "timestamps");
  t.deepEqual(rows.map(({ path, kernel }) => [path, kernel]), [["scaled", "scale"], ["y", "sum"], ["z", "copy"]]);
  t.true(rows.every(({ ms, gbs }) => ms > 0 && gbs > 0));
});

test.serial("memory is told by kind", async (t) => {
  await using model = await load(definition, { ...options, batch: 3 });
  // Sizes round up to 16 bytes: w lies at 256 behind `unused`, x and z hold 3·5 floats, y 3.
  t.deepEqual(model.memory, {
    parameters: 256 + 32, derived: 32, activations: 64, inputs: 64, outputs: 16 + 64, staging: 16 + 64, total: 608,
  });
});

test.serial("a batch beyond a limit is refused before allocation, with the largest that fits", async (t) => {
  const error = await failure(t, load(definition, { ...options, batch: 2 ** 26 }));
  t.true(error instanceof OutOfMemoryError);
  t.regex(error.message, /'scaled' needs 1342177280 bytes \(1\.3 GiB\) at batch 67108864, .* at most 1073741824/);
  t.regex(error.help ?? "", /the largest batch that fits is 53687091$/);
  t.true((await failure(t, load(definition, { ...options, batch: 0 }))) instanceof InputError);
});

test("the memory plan keeps tensors whole, aligned, and in buffers within the limits", (t) => {
  const limits = { maxBufferSize: 4096, maxStorageBufferBindingSize: 2048 };
  const parameters = [3, 500, 4, 60, 60, 512].map((n, i) => parameter(`p${i}`, n));
  const plan = planMemory({ ...manifest, parameters }, "scalar", 2, limits);
  t.deepEqual(plan.parameters, [
    { buffer: 0, offset: 0, bytes: 12 }, { buffer: 1, offset: 0, bytes: 2000 },
    { buffer: 2, offset: 0, bytes: 16 }, { buffer: 2, offset: 256, bytes: 240 }, { buffer: 2, offset: 512, bytes: 240 },
    { buffer: 3, offset: 0, bytes: 2048 },
  ]);
  t.deepEqual(plan.parameterBuffers, [16, 2000, 752, 2048]);
  t.is(memoryUse(plan, family).parameters, 16 + 2000 + 752 + 2048);
  t.is(largestBatch(manifest, "scalar", limits), 102);
  const large = { ...manifest, parameters: [parameter("head.weight", 513)] };
  t.throws(() => planMemory(large, "scalar", 1, limits), {
    instanceOf: OutOfMemoryError, message: /parameter 'head.weight' needs 2052 bytes/,
  });
});

const wrongInputs: readonly [string, Readonly<Record<string, Float32Array | Int32Array>>, RegExp][] = [
  ["a missing input", {}, /input 'x' is missing; tiny takes x \[B, 5\]/],
  ["an unknown name", { image: images(1) }, /no input 'image'; it takes x \[B, 5\]/],
  ["a broken length", { x: new Float32Array(7) }, /'x' \[B, 5\] has 5 values per image \(1 × 5\), got 7/],
  ["no image", { x: new Float32Array(0) }, /got 0/],
  ["too many images", { x: images(3) }, /holds 3 images, but the model was loaded for 2/],
  ["another type", { x: new Int32Array(5) }, /'x' \[B, 5\] must be a Float32Array/],
];
for (const [name, inputs, message] of wrongInputs) {
  test.serial(`wrong input: ${name}`, async (t) => {
    await using model = await load(definition, { ...options, batch: 2 });
    const error = await failure(t, model.infer(inputs));
    t.true(error instanceof InputError);
    t.regex(error.message, message);
    t.deepEqual((await model.infer({ x: images(1) })).z, expected(images(1)).z);
  });
}

test.serial("weights: none, both kinds, missing paths, wrong lengths", async (t) => {
  const { adapter } = options;
  t.regex((await failure(t, load(definition, { adapter }))).help ?? "", /randomWeights/);
  t.regex((await failure(t, load(definition, { ...options, randomWeights: { seed: 1 } }))).message, /not both/);
  t.regex((await failure(t, load(definition, { ...options, weights: new Map([["w", w]]) }))).message, /lack 'unused'/);
  const short = new Map([...weights, ["w", new Float32Array(4)] as const]);
  t.regex((await failure(t, load(definition, { ...options, weights: short }))).message, /'w' \[5\] has 5 .* got 4/);
});

test.serial("a module and a checkpoint on disk give what they give in memory", async (t) => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "deitc-test-"));
  try {
    const artifact: Artifact = { format: 3, compiler: "test", name: "tiny", doc: "", graphs: { infer: manifest } };
    const wgsl = new Map(kernelsOf(artifact).map((name) => [name, texts[path.basename(name)] ?? ""]));
    for (const [name, text] of await emitArtifact({ manifest: artifact, wgsl }, async () => ({ ts: "", js: "", dts: "" }))) {
      await fs.mkdir(path.dirname(path.join(folder, name)), { recursive: true });
      await fs.writeFile(path.join(folder, name), text);
    }
    const tensors = [...weights].map(([name, data]) => ({ name: `module.${name}`, shape: [data.length], data }));
    const bytes = Buffer.concat(encodeSafetensors(tensors));
    const file = path.join(folder, "tiny.safetensors");
    await fs.writeFile(file, bytes);
    for (const source of [file, new Uint8Array(bytes)]) {
      await using model = await load(inferenceOf(await openArtifact(folder)), { ...options, weights: source });
      t.deepEqual(await model.infer({ x: images(1) }), expected(images(1)));
    }
    const error = await failure(t, load(definition, { ...options, weights: Buffer.concat(encodeSafetensors(tensors.slice(1))) }));
    t.is(error.code, "weights_mismatch");
    t.regex(error.message, /missing in the file \(1\): unused/);
    t.is((await failure(t, load(definition, { ...options, weights: `${file}x` }))).code, "file_missing");
    t.is((await failure(t, openArtifact(path.join(folder, "kernels")))).code, "file_missing");
    await fs.writeFile(path.join(folder, "manifest.json"), '{"format":1}');
    t.is((await failure(t, openArtifact(folder))).code, "file_not_recognized");
  } finally {
    await fs.rm(folder, { recursive: true });
  }
});

test.serial("an adapter that is not there: the error lists those that are", async (t) => {
  const error = await failure(t, load(definition, { ...options, adapter: "voodoo" }));
  t.true(error instanceof AdapterError);
  t.is(error.exitKind, "device");
  t.regex(error.message, /no adapter matches 'voodoo'; available: .*'SwiftShader/);
});

test.serial("a kernel that does not compile is named with the compiler's words", async (t) => {
  const broken = "fn main() { let a = b; }";
  const wgsl = async (_: string, kernel: string) => (kernel === "sum" ? broken : texts[kernel] ?? "");
  for (const checked of [true, false]) {
    const error = await failure(t, load({ manifest, wgsl }, { ...options, checked }));
    t.is(error.code, "kernel");
    t.regex(error.message, /kernel 'sum' \(scalar\) does not compile on SwiftShader.*unresolved value 'b'/);
  }
});

test.serial("a kernel that needs what the adapter lacks: the other family, or an error naming it", async (t) => {
  const needy: Family = { ...family, kernels: family.kernels.map((k) => ({ ...k, features: ["shader-f16"] })) };
  const some = { ...definition, manifest: { ...manifest, families: familiesOf(needy, family) } };
  await using model = await load(some, options);
  t.is(model.family, "tiled");
  const error = await failure(t, load(some, { ...options, family: "scalar" }));
  t.true(error instanceof AdapterError);
  t.regex(error.message, /'double' needs the feature shader-f16/);
});

test.serial("a shared device outlives a model; after destroy calls reject", async (t) => {
  const device = await openDevice({ adapter: "swiftshader", checked: true });
  const one = await load(definition, { ...options, device });
  const two = await load(definition, { ...options, device });
  one.destroy();
  await t.throwsAsync(one.infer({ x: images(1) }), { message: /the model tiny was destroyed: load it again/u });
  t.deepEqual(await two.infer({ x: images(1) }), expected(images(1)));
  const pending = two.infer({ x: images(1) });
  device.destroy();
  t.true((await failure(t, pending)) instanceof DestroyedError);
  t.true((await failure(t, two.infer({ x: images(1) }))) instanceof DestroyedError);
  two.destroy();
});

test.serial("the device's own faults are typed", async (t) => {
  await using device = await Device.open(await openAdapter({ adapter: "swiftshader", checked: true }));
  const work = device.scoped("a buffer", () => device.gpu.createBuffer({ size: 2 ** 40, usage: 0x80 }));
  const error = await failure(t, work);
  t.is(error.code, "validation");
  t.regex(error.message, /^a buffer: Buffer size/);
});

test.serial("a program thought slow is cut into submits, and no more once it was measured", async (t) => {
  const run = family.programs.run.map((s) => ({ ...s, flops: size(0, 2e9) }));
  const scalar = { ...family, programs: { ...family.programs, run } };
  const slow = { ...manifest, families: familiesOf(scalar, family) };
  await using model = await load({ ...definition, manifest: slow }, options);
  let now = 0; // a millisecond more each time that the clock is read
  const { mock: clock } = mock.method(performance, "now", () => ++now);
  t.teardown(() => clock.restore());
  for (const submits of [[1, 3], [3]]) {
    const seen: number[] = [];
    t.deepEqual(await model.infer({ x: images(1) }, { onProgress: (n) => void seen.push(n) }), expected(images(1)));
    t.deepEqual(seen, submits);
  }
});

test.serial("a run can be stopped between submits", async (t) => {
  await using model = await load(definition, options);
  const signal = AbortSignal.abort(new Error("stop"));
  await t.throwsAsync(model.infer({ x: images(1) }, { signal }), { message: "stop" });
  t.deepEqual(await model.infer({ x: images(1) }), expected(images(1)));
});

/** A program that loads the module, prints one result and forgets everything. */
const program = `
  import { load } from ${JSON.stringify(new URL("../runtime/node/index.js", import.meta.url).href)};
  const texts = ${JSON.stringify(texts)};
  const definition = { manifest: ${JSON.stringify(manifest)}, wgsl: async (_, kernel) => texts[kernel] };
  const weights = new Map([["unused", new Float32Array(3)], ["w", Float32Array.of(${w.join()})]]);
  const model = await load(definition, { weights, adapter: "swiftshader" });
  const { y } = await model.infer({ x: Float32Array.of(${images(1).join()}) });
  model.destroy();
  globalThis.gc();
  console.log(y[0]);`;

/** What `program` prints, with DEITC_CACHE set; throws if it says more or does not end by itself (in half an hour). */
async function runProgram(cache: string): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath, ["--expose-gc", "--input-type=module", "-e", program],
    { timeout: 1_800_000, env: { ...process.env, DEITC_CACHE: cache, TMPDIR: path.dirname(cache) } },
  );
  // Dawn warns about limits of other adapters that it lists.
  const said = stderr.replace(/^Warning: .*\n/gm, "");
  if (said !== "") throw new Error(said);
  return stdout.trim();
}

test.serial("processes that start at once unpack one copy, run, and end by themselves after destroy", async (t) => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "deitc-test-"));
  const cache = path.join(folder, "cache");
  try {
    const results = await Promise.all([1, 2, 3].map(() => runProgram(cache)));
    t.deepEqual(results, results.map(() => String(expected(images(1)).y[0])));
    const { devDependencies } = JSON.parse(await fs.readFile("package.json", "utf8")) as {
      readonly devDependencies: Readonly<Record<string, string>>;
    };
    t.deepEqual(await fs.readdir(cache), [`swiftshader-${devDependencies["@sparticuz/chromium"]}`]);
    // A cache that cannot be written: a file stands where the folder should be.
    const file = path.join(folder, "file");
    await fs.writeFile(file, "");
    t.is(await runProgram(file), results[0] ?? "");
    t.is((await fs.readdir(folder)).filter((name) => /^deitc-/.test(name)).length, 1);
  } finally {
    await fs.rm(folder, { recursive: true });
  }
});

test("a tar archive is read by base name, and a cut one refused", (t) => {
  const record = (name: string, size: number): Buffer => {
    const block = Buffer.alloc(512);
    block.write(name, 0);
    block.write(`${size.toString(8).padStart(11, "0")} `, 124);
    block.write("0", 156);
    return block;
  };
  const body = Buffer.alloc(1024, "a");
  const second = [record("two", 3), body.subarray(0, 512)];
  const archive = Buffer.concat([record("dir/one", 600), body, ...second, Buffer.alloc(1024)]);
  const files = readTar(archive);
  t.deepEqual([...files].map(([name, bytes]) => [name, bytes.length]), [["one", 600], ["two", 3]]);
  t.throws(() => readTar(archive.subarray(0, 900)), { message: /cut short at 'dir\/one'/ });
});
