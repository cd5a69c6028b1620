/** @file Kernels while they are compiled: told, shared, stopped, refused. Embedded adapter. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mock } from "node:test";
import { setImmediate, setTimeout as later } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import test from "ava";
import { openRecipe, readArtifact } from "../compiler/cli/artifact.js";
import { withLoading } from "../compiler/cli/progress.js";
import type { Device } from "../runtime/device.js";
import { DeitcError, DestroyedError, FileError } from "../runtime/errors.js";
import type { ModuleDefinition } from "../runtime/artifact.js";
import { load, openDevice, type LoadOptions } from "../runtime/node/index.js";
import { Trainer } from "../runtime/node/train/trainer.js";
import type { LoadProgress } from "../runtime/pipelines.js";
import { Shared } from "../runtime/shared.js";
import { bare, compileText, sourceOf } from "./harness.js";

const WIDTHS = [8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52];
/** A kernel a layer. */
const MODEL = `import { linear } from "deitc/nn.deit"
model chain() {
  input x: [B, 4]
${WIDTHS.map((width, i) => `  l${i} = linear(${i === 0 ? "x" : `gelu(l${i - 1})`}, ${width})`).join("\n")}
  output y = l${WIDTHS.length - 1}
}`;
const definition = sourceOf(compileText(MODEL));
const KERNELS = definition.manifest.families.scalar?.kernels.length ?? 0;
const X = { x: Float32Array.of(1, -1, 0.5, 2) };

const folder = mkdtempSync(join(tmpdir(), "deitc-compiling-"));
test.after.always(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, "tiny.deit"), `import { linear } from "deitc/nn.deit"
import { cross_entropy } from "deitc/losses.deit"
model tiny() {
  preprocess = [32, 32, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
  input images: [B, 3, 32, 32]
  fc1 = linear(reshape(images, [B, 3072]), 16)
  output prediction = linear(gelu(fc1), 8) as "fc2"
}
recipe small {
  student: tiny
  data = shapes(train = 32, test = 16)
  batch = 8 images
  length = 2 steps
  augment = [normalize("imagenet")]
  optimizer = adamw(lr = 2e-3)
  schedule = constant()
  loss(images: [B, 3, H, W], labels: i32[B]) { return cross_entropy(student(images).prediction, labels) }
}
`);

/** A device that counts the pipelines asked for, and those not made yet. */
async function counting(
  before: (label: string) => Promise<unknown> = () => Promise.resolve(),
): Promise<{ device: Device; made: string[]; pending: () => number }> {
  const device = await openDevice({ adapter: "swiftshader" });
  const made: string[] = [];
  let pending = 0;
  const create = device.gpu.createComputePipelineAsync.bind(device.gpu);
  device.gpu.createComputePipelineAsync = async (descriptor) => {
    made.push(descriptor.label ?? "");
    pending++;
    try {
      await before(descriptor.label ?? "");
      return await create(descriptor);
    } finally {
      pending--;
    }
  };
  return { device, made, pending: () => pending };
}

const open = (device: Device, more: Partial<LoadOptions> = {}, of: ModuleDefinition = definition): ReturnType<typeof load> =>
  load(of, { device, randomWeights: { seed: 1 }, family: "scalar", ...more });

/** The calls about kernels, checked to rise from 0 to the total. */
function counts(seen: readonly LoadProgress[]): number {
  const kernels = seen.filter(({ phase }) => phase === "kernels");
  const rising = kernels.every(({ done, total }, i) => done >= (kernels[i - 1]?.done ?? 0) && total === kernels[0]?.total);
  const [first, last] = [kernels[0], kernels.at(-1)];
  if (!rising || first?.done !== 0 || last?.done !== last?.total) throw new Error(JSON.stringify(kernels));
  return kernels[0]?.total ?? 0;
}

test.serial("progress rises kernel by kernel to the total, in training over all graphs", async (t) => {
  const { device } = await counting();
  const seen: LoadProgress[] = [];
  await open(device, { onProgress: (progress) => void seen.push(progress) });
  t.is(counts(seen), KERNELS);
  t.true(KERNELS >= WIDTHS.length);
  t.is(seen.filter(({ phase }) => phase === "kernels").length, KERNELS + 1);
  const { definition: recipe } = await openRecipe(await readArtifact(join(folder, "tiny.deit")));
  const steps: LoadProgress[] = [];
  await Trainer.open(recipe, { device, out: false, onProgress: (progress) => void steps.push(progress) });
  const { train, evaluate } = recipe.manifest.graphs;
  t.is(counts(steps), [train, evaluate].reduce((n, graph) => n + (graph?.families.scalar?.kernels.length ?? NaN), 0));
  device.destroy();
});

test.serial("equal kernels are one pipeline: of models, of graphs, and whatever the comment above says", async (t) => {
  const { device, made } = await counting();
  const [one, two] = await Promise.all([open(device), open(device)]);
  t.is(made.length, KERNELS);
  t.is(device.pipelines.size, KERNELS);
  const commented = await open(device, {}, {
    ...definition, wgsl: async (...kernel) => `// another model\n// two lines\n${await definition.wgsl(...kernel)}`,
  });
  t.is(made.length, KERNELS);
  t.deepEqual(await commented.infer(X), await one.infer(X));
  one.destroy();
  commented.destroy();
  t.is(device.pipelines.size, KERNELS, "one user is left");
  await two.infer(X);
  // The batch is a constant of most kernels.
  const larger = await open(device, { batch: 2 });
  t.true(made.length > KERNELS);
  larger.destroy();
  two.destroy();
  t.is(device.pipelines.size, 0);
  const before = made.length;
  const again = await open(device);
  t.is(made.length, before + KERNELS, "nothing is kept of what nobody uses");
  again.destroy();

  const { definition: recipe } = await openRecipe(await readArtifact(join(folder, "tiny.deit")));
  const texts = new Set<string>();
  let all = 0;
  for (const name of ["train", "evaluate"] as const) {
    for (const kernel of recipe.manifest.graphs[name]?.families.scalar?.kernels ?? []) {
      texts.add(`${kernel.bindings.join()} ${bare(await recipe.wgsl(name, "scalar", kernel.name))}`);
      all++;
    }
  }
  made.length = 0;
  const trainer = await Trainer.open(recipe, { device, out: false, family: "scalar" });
  t.is(made.length, texts.size);
  t.true(texts.size < all, "evaluation shares kernels with the step");
  trainer.destroy();
  await trainer.engine.ended;
  t.is(device.pipelines.size, 0);
  device.destroy();
});

test.serial("a load is stopped between kernels by its signal, or by the end of its device", async (t) => {
  const unheard: unknown[] = [];
  const hear = (reason: unknown): void => void unheard.push(reason);
  process.on("unhandledRejection", hear);
  t.teardown(() => process.off("unhandledRejection", hear));
  const { device, made, pending } = await counting();
  const stop = new AbortController();
  const onProgress = ({ phase, done }: LoadProgress): void => {
    if (phase === "kernels" && done === 2) stop.abort(new Error("enough"));
  };
  await t.throwsAsync(open(device, { onProgress, signal: stop.signal }), { message: "enough" });
  t.true(made.length < KERNELS, `${made.length} of ${KERNELS}`);
  t.deepEqual([pending(), device.pipelines.size], [0, 0]);
  const { definition: recipe } = await openRecipe(await readArtifact(join(folder, "tiny.deit")));
  const how = { device, out: false, signal: stop.signal } as const;
  await t.throwsAsync(Trainer.open(recipe, how), { message: "enough" });
  const end = ({ phase, done }: LoadProgress): void => {
    if (phase === "kernels" && done === 2) device.destroy();
  };
  made.length = 0;
  const error = await t.throwsAsync(open(device, { onProgress: end }), { instanceOf: DestroyedError });
  t.regex(error.message, /the device was destroyed: open another one/u);
  t.true(made.length < KERNELS, `${made.length} of ${KERNELS}`);
  await device.lifetime.ended;
  await later(20);
  t.deepEqual([pending(), device.pipelines.size, unheard], [0, 0, []]);
});

test.serial("a kernel that is refused is named with the adapter, after the others have ended", async (t) => {
  const unheard: unknown[] = [];
  const hear = (reason: unknown): void => void unheard.push(reason);
  process.on("unhandledRejection", hear);
  t.teardown(() => process.off("unhandledRejection", hear));
  const bad = definition.manifest.families.scalar?.kernels[1]?.name ?? "";
  const { device, made, pending } = await counting(async (label) => {
    if (label === bad) throw new Error("too many registers");
    await later(5);
  });
  const error = await t.throwsAsync(open(device), { instanceOf: DeitcError });
  t.is(error.code, "kernel");
  t.is(error.message, `kernel '${bad}' (scalar) does not compile on SwiftShader driver 5.0.0: too many registers`);
  t.deepEqual([pending(), device.pipelines.size], [0, 0]);
  t.true(made.length < KERNELS, `${made.length} of ${KERNELS}`);
  await later(20);
  t.deepEqual(unheard, []);
  device.destroy();
});

test.serial("where kernels are compiled by their first run, that is part of the load, and changes no number", async (t) => {
  const { device } = await counting();
  const plain = await open(device);
  const wanted = await plain.infer(X);
  plain.destroy();
  Object.defineProperty(device, "compilesAtFirstRun", { value: true });
  const encode = device.gpu.createCommandEncoder.bind(device.gpu);
  let [runs, direct] = [0, 0];
  device.gpu.createCommandEncoder = () => {
    const encoder = encode();
    const begin = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (...how) => {
      const pass = begin(...how);
      const [indirectly, directly] = [pass.dispatchWorkgroupsIndirect.bind(pass), pass.dispatchWorkgroups.bind(pass)];
      pass.dispatchWorkgroupsIndirect = (...size) => (runs++, indirectly(...size));
      pass.dispatchWorkgroups = (...size) => (direct++, directly(...size));
      return pass;
    };
    return encoder;
  };
  const seen: number[] = [];
  const model = await open(device, {
    poison: true, onProgress: ({ phase, done }) => { if (phase === "kernels") seen.push(done - runs); },
  });
  t.is(runs, KERNELS);
  t.true(seen.every((ahead) => ahead <= 0), "none counts before it was run");
  const before = direct;
  t.deepEqual(await model.infer(X), wanted);
  t.true(direct > before);
  await open(device);
  t.is(runs, KERNELS, "those that are there were run");
  model.destroy();
  const stop = new AbortController();
  const onProgress = ({ phase, done }: LoadProgress): void => {
    if (phase === "kernels" && done === 2) stop.abort(new Error("enough"));
  };
  await t.throwsAsync(open(device, { batch: 3, onProgress, signal: stop.signal }), { message: "enough" });
  t.is(runs, KERNELS + 2, "those that wait for their turn are not run");
  // The pipelines are made by then: only first runs are left.
  const end = ({ phase, done }: LoadProgress): void => {
    if (phase === "kernels" && done === KERNELS - 2) device.destroy();
  };
  runs = 0;
  await t.throwsAsync(open(device, { batch: 4, onProgress: end }), { instanceOf: DestroyedError });
  t.is(runs, KERNELS - 2);
});

test.serial("a mistake in the files is told while kernels are compiled, which are given up", async (t) => {
  const { device, made, pending } = await counting();
  const { mock: buffers } = mock.method(device.gpu, "createBuffer");
  const { definition: recipe } = await openRecipe(await readArtifact(join(folder, "tiny.deit")));
  const weights = { student: join(folder, "none.safetensors") };
  await t.throwsAsync(Trainer.open(recipe, { device, out: false, weights }), { instanceOf: FileError });
  t.true(buffers.callCount() > 0, "the device is not waiting for the files");
  // Time in which all of them would be compiled.
  await later(500);
  t.true(made.length <= 8, `no more than those under way are compiled: ${made.length}`);
  device.destroy();
  await device.lifetime.ended;
  t.deepEqual([pending(), device.pipelines.size], [0, 0]);
});

test.serial("what is compiled leaves the event loop, and the core it would keep busy", async (t) => {
  await using device = await openDevice({ adapter: "swiftshader" });
  let waiting = true;
  const work = device.patiently(later(200)).then(() => { waiting = false; });
  let turns = 0;
  while (waiting) {
    await setImmediate();
    turns++;
  }
  await work;
  t.true(turns > 10 && turns <= 250, `${turns} turns in 200 ms`);
});

test("a value is shared as long as it is used", async (t) => {
  const shared = new Shared<number>();
  let made = 0;
  const make = async (): Promise<number> => ++made;
  t.deepEqual(await Promise.all([shared.take("a", make), shared.take("a", make), shared.take("b", make)]), [1, 1, 2]);
  shared.release("a");
  t.is(await shared.take("a", make), 1);
  shared.release("a");
  shared.release("a");
  t.is(shared.size, 1);
  t.is(await shared.take("a", make), 3);
  const failing = shared.take("c", () => Promise.reject(new Error("no")));
  await t.throwsAsync(failing, { message: "no" });
  shared.release("c");
  t.is(await shared.take("c", make), 4);
});

test.serial("a terminal shows which kernels are compiled; a pipe is told once, when it takes long", async (t) => {
  const work = (onProgress: (progress: LoadProgress) => void): Promise<string> => {
    onProgress({ phase: "kernels", done: 0, total: 82 });
    onProgress({ phase: "weights", done: 4, total: 5 });
    onProgress({ phase: "kernels", done: 31, total: 82 });
    clock.tick?.(5000);
    onProgress({ phase: "kernels", done: 82, total: 82 });
    return Promise.resolve("loaded");
  };
  const clock: { tick?: (ms: number) => void } = {};
  const { stderr } = process;
  const [isTTY, term] = [stderr.isTTY, process.env["TERM"]];
  let said = "";
  const write = mock.method(stderr, "write", (chunk: unknown) => ((said += String(chunk)), true));
  t.teardown(() => {
    write.mock.restore();
    mock.timers.reset();
    Object.assign(stderr, { isTTY });
    Object.assign(process.env, { TERM: term });
  });
  Object.assign(stderr, { isTTY: true });
  process.env["TERM"] = "xterm";
  t.is(await withLoading("loading", work), "loaded");
  t.is(said, ["loading …", "compiling 0/82 kernels …", "compiling 31/82 kernels …", "loading …", ""]
    .map((text) => `\r\x1b[K${text}`).join(""));
  said = "";
  await withLoading("loading", (onProgress, onCheck) => {
    onCheck(1, 2);
    onProgress({ phase: "kernels", done: 1, total: 82 });
    onCheck(2, 2);
    onProgress({ phase: "kernels", done: 2, total: 82 });
    return Promise.resolve();
  });
  t.regex(said, /compiling 2\/82 kernels/u);
  t.notRegex(said, /compiling 1\/82 kernels/u, "nothing is drawn over the bar of the images that are checked");
  Object.assign(stderr, { isTTY: false });
  said = "";
  await withLoading("loading", work);
  t.is(said, "");
  mock.timers.enable({ apis: ["setTimeout"] });
  clock.tick = (ms) => mock.timers.tick(ms);
  await withLoading("loading", work);
  t.is(said, "compiling 31/82 kernels …\n");
});

/** Loaded before a process: no kernel is ever compiled, and a signal comes while they are. */
const HANGING = `
  import { Device } from ${JSON.stringify(new URL("../runtime/device.js", import.meta.url).href)};
  const open = Device.open;
  Device.open = async (...given) => {
    const device = await open.call(Device, ...given);
    device.gpu.createComputePipelineAsync = () => new Promise(() => setTimeout(() => process.kill(process.pid, process.env.SEND), 300));
    return device;
  };`;

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test.serial(`${signal} while a training compiles ends it as the signal does`, async (t) => {
    const main = fileURLToPath(new URL("../compiler/cli/main.js", import.meta.url));
    const hook = `data:text/javascript,${encodeURIComponent(HANGING)}`;
    const child = spawn(process.execPath, ["--import", hook, main, "train", "tiny.deit", "--out", `run-${signal}`], {
      cwd: folder, env: { ...process.env, SEND: signal, DEITC_ADAPTER: "swiftshader" }, stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
    const ended = await new Promise<NodeJS.Signals | null>((resolve) => void child.on("close", (_, by) => resolve(by)));
    t.is(ended, signal);
    t.notRegex(said, /stopping/u);
  });
}
