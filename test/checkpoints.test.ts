import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { DestroyedError, FileError, InputError, WeightsError } from "../runtime/errors.js";
import { CheckpointFolder } from "../runtime/node/train/checkpoints.js";
import { loadState } from "../runtime/node/train/resume.js";
import { openFile } from "../runtime/node/files.js";
import { openCheckpoint } from "../runtime/weights/checkpoint.js";
import { TrainingLoader } from "../runtime/data/loader.js";
import { shapes } from "../runtime/data/shapes.js";
import {
  DivergedError, train, type CheckpointStore, type TrainingEvent, type TrainingOutcome, type TrainingPlan,
} from "../runtime/train/loop.js";
import { schedule } from "../runtime/train/schedule.js";
import { CpuEngine, type CpuEngineOptions } from "./cpu_engine.js";
import { stateOf, trainLinear } from "./training_child.js";

const CHILD = fileURLToPath(new URL("training_child.js", import.meta.url));
const folder = (): Promise<string> => mkdtemp(join(tmpdir(), "deitc-checkpoints-"));

async function values(path: string): Promise<{ first: number; step: string | undefined }> {
  const file = await openFile(path);
  try {
    const { tensors, metadata } = await openCheckpoint(file);
    const bytes = await tensors.get("head.weight")?.read();
    const view = new DataView(bytes?.buffer ?? new ArrayBuffer(4), bytes?.byteOffset ?? 0);
    return { first: view.getFloat32(0, true), step: metadata.get("step") };
  } finally {
    await file.close();
  }
}

test("a state comes back as it was, and weights have the names of their parameters", async (t) => {
  const path = await folder();
  const store = await CheckpointFolder.open(path);
  const given = stateOf(7);
  const saved = await store.save(given, "ema");
  const loaded = await loadState(path, { recipe: "r" });
  t.deepEqual(loaded.state, given);
  t.is(loaded.path, join(saved.path, "state.safetensors"));
  t.deepEqual(await values(join(path, "last.safetensors")), { first: 7, step: "7" });
  t.deepEqual(await values(join(path, "best.safetensors")), { first: 7, step: "7" });
  t.deepEqual((await loadState(saved.path, { recipe: "r" })).state, given);
  t.deepEqual((await loadState(loaded.path, { recipe: "r" })).state, given);
});

test("old checkpoints go, the best stays", async (t) => {
  const path = await folder();
  const store = await CheckpointFolder.open(path, { keep: 3 });
  for (let step = 1; step <= 8; step++) await store.save(stateOf(step), step === 2 ? "model" : undefined);
  t.deepEqual(await readdir(join(path, "checkpoints")), ["000006-step-6", "000007-step-7", "000008-step-8"]);
  t.deepEqual((await readdir(path)).sort(), ["best.safetensors", "checkpoints", "last.safetensors", "run.lock"]);
  t.is((await values(join(path, "best.safetensors"))).first, 2);
  t.is((await values(join(path, "last.safetensors"))).first, 8);
});

test("another recipe is refused unless forced; no checkpoint and damaged ones are told", async (t) => {
  const path = await folder();
  await t.throwsAsync(loadState(path, { recipe: "r" }), { instanceOf: FileError, message: /no checkpoint/u });
  const store = await CheckpointFolder.open(path);
  await store.save(stateOf(1), undefined);
  const { path: newest } = await store.save(stateOf(2), undefined);
  await t.throwsAsync(loadState(path, { recipe: "other" }), { instanceOf: InputError, message: /another recipe/u });
  const forced = await loadState(path, { recipe: "other", force: true });
  t.is(forced.state.step, 2);
  t.regex(forced.notes.join(), /by force/u);
  const file = join(newest, "state.safetensors");
  await writeFile(file, (await readFile(file)).subarray(0, 5000));
  const older = await loadState(path, { recipe: "r" });
  t.is(older.state.step, 1);
  t.regex(older.notes.join(), /has 5000 bytes instead of \d+: the checkpoint before it is used/u);
  await t.throwsAsync(loadState(file, { recipe: "r" }), { instanceOf: WeightsError });
  await t.throwsAsync(loadState(join(newest, "model.safetensors"), { recipe: "r" }), {
    instanceOf: WeightsError, message: /not a training state/u,
  });
});

test("an unwritable folder is told before training", async (t) => {
  const path = await folder();
  const file = join(path, "file");
  await writeFile(file, "");
  await t.throwsAsync(CheckpointFolder.open(join(file, "run")), { instanceOf: FileError, message: /is a file/u });
  if (process.getuid?.() === 0) return t.log("root may write anywhere: the closed folder is not tried");
  const closed = join(path, "closed");
  await mkdir(closed);
  await chmod(closed, 0o500);
  await t.throwsAsync(CheckpointFolder.open(closed), { instanceOf: FileError, message: /permission|written/u });
  return undefined;
});

test("a write that fails keeps what was there, in the folder or in the fallback", async (t) => {
  const path = await folder();
  const limited = spawnSync("sh", ["-c", `ulimit -f 128; exec "${process.execPath}" "${CHILD}" limit "${path}"`], {
    encoding: "utf8",
  });
  t.regex(limited.stdout, /^refused: /u, limited.stderr);
  t.is((await loadState(path, { recipe: "r" })).state.step, 1);
  t.is((await values(join(path, "last.safetensors"))).step, "1");
  t.deepEqual(await readdir(join(path, "checkpoints")), ["000001-step-1"]);
  // The checkpoint folder itself is lost during the run.
  const other = await folder();
  const store = await CheckpointFolder.open(path, { fallback: other });
  await rm(path, { recursive: true });
  await writeFile(path, "a file now");
  const saved = await store.save(stateOf(3), "model");
  t.true(saved.path.startsWith(other));
  t.regex(saved.notes.join(), /instead/u);
  t.is((await loadState(other, { recipe: "r" })).state.step, 3);
  // Both folders are lost: both are told.
  await rm(other, { recursive: true });
  await writeFile(other, "another file");
  const error = await t.throwsAsync(store.save(stateOf(4), undefined), { instanceOf: FileError, code: "file_unwritable" });
  t.true(error.message.startsWith(`${path}: `) && error.message.includes(`the fallback failed too: ${other}: `), error.message);
});

/** Kills a process that writes a line a checkpoint some way into one after the first `count`. */
async function killLater(child: ChildProcess, count: number): Promise<void> {
  let [told, first] = [0, 0];
  await new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.stdout?.on("data", (chunk: Buffer) => {
      told += String(chunk).split("\n").length - 1;
      first ||= performance.now();
      if (told > count) resolve();
    });
  });
  // At the pace so far, so that a busy machine is killed in other places too than the start of a checkpoint.
  const pace = (performance.now() - first) / count;
  await new Promise((done) => { setTimeout(done, 2 * pace * Math.random()); });
  child.kill("SIGKILL");
}

test("a process killed at any moment leaves whole pairs", async (t) => {
  const path = await folder();
  let before = 0;
  for (let round = 0; round < 24; round++) {
    const child = spawn(process.execPath, [CHILD, "save", path], { stdio: ["ignore", "pipe", "inherit"] });
    const exit = once(child, "exit");
    await killLater(child, 1 + Math.floor(Math.random() * 4));
    await exit;
    const kept = (await readdir(join(path, "checkpoints"))).filter((one) => !one.startsWith("."));
    for (const name of kept) {
      const home = join(path, "checkpoints", name);
      const { state } = await loadState(home, { recipe: "r" });
      const { step } = state;
      t.true(state.engine.tensors.every(({ data }) => data[0] === step && data[4095] === step));
      for (const which of ["model", "ema"]) {
        t.deepEqual(await values(join(home, `${which}.safetensors`)), { first: step, step: String(step) });
      }
    }
    const { state } = await loadState(path, { recipe: "r" });
    t.true(state.step > before);
    before = state.step;
  }
  t.log(`24 kills, ${before} checkpoints`);
  await CheckpointFolder.open(path);
  t.true((await readdir(join(path, "checkpoints"))).every((name) => !name.startsWith(".")));
  t.is((await values(join(path, "last.safetensors"))).first, before);
});

test("a run killed at random steps and resumed ends bit for bit like one left alone", async (t) => {
  const alone = await folder();
  await trainLinear(alone, 0);
  const want = (await loadState(alone, { recipe: "linear" })).state;
  t.is(want.step, 25);
  t.is(want.records.filter(({ kind }) => kind === "epoch").length, 3);
  const figures = (state: typeof want): unknown => state.records.map(({ kind, step, lr, loss, ...rest }) => {
    return [kind, step, lr, loss, "model" in rest ? [rest.model, rest.ema] : undefined];
  });
  const killed = await folder();
  const at: number[] = [];
  for (let round = 0; round < 7; round++) {
    // Seven rounds never reach the last of the 25 steps.
    const steps = 1 + Math.floor(Math.random() * 3);
    const line = [CHILD, "train", killed, String(steps)];
    const { signal, stdout, stderr } = spawnSync(process.execPath, line, { encoding: "utf8" });
    t.is(signal, "SIGKILL", stderr);
    at.push(Number(stdout.trim().split("\n").at(-1)));
  }
  t.log(`killed after steps ${at.join(", ")}`);
  await trainLinear(killed, 0);
  const got = (await loadState(killed, { recipe: "linear" })).state;
  t.deepEqual(got.engine, want.engine);
  t.deepEqual(figures(got), figures(want));
  t.deepEqual(got.best, want.best);
  for (const name of ["last", "best"]) {
    const file = `${name}.safetensors`;
    t.deepEqual(await readFile(join(killed, file)), await readFile(join(alone, file)));
  }
});

const plan: TrainingPlan = {
  recipe: "r", steps: 12, stepsPerEpoch: 4, batch: 8, logEvery: 2,
  schedule: schedule({ kind: "constant", lr: 1e-3, length: 3 }),
};

function loader(): TrainingLoader {
  const preprocess = { size: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] } as const;
  return new TrainingLoader(shapes({ length: 33, split: "train" }), { batch: 8, seed: 1, preprocess });
}

async function run(
  store: CheckpointStore | undefined, options: CpuEngineOptions = {}, stopAfter = Infinity, events: TrainingEvent[] = [],
): Promise<{ events: TrainingEvent[]; outcome: TrainingOutcome }> {
  const controller = new AbortController();
  const engine = new CpuEngine(8, 3072, options);
  const course = train(plan, {
    engine, training: loader(), signal: controller.signal, ...(store === undefined ? {} : { store }),
  });
  for (;;) {
    const { value, done } = await course.next();
    if (done === true) return { events, outcome: value };
    events.push(value);
    if (value.kind === "step" && value.step >= stopAfter) controller.abort();
  }
}

test("a run that is asked to stop finishes its step and saves", async (t) => {
  const path = await folder();
  const { events, outcome } = await run(await CheckpointFolder.open(path), {}, 5);
  t.false(outcome.finished);
  t.is(outcome.step, 5);
  t.is(events.filter(({ kind }) => kind === "step").length, 5);
  t.is((await loadState(outcome.checkpoint ?? "", { recipe: "r" })).state.step, 5);
});

test("a run that diverges says where and keeps the last good checkpoint", async (t) => {
  const path = await folder();
  const error = await t.throwsAsync(run(await CheckpointFolder.open(path), { diverges: 6 }), {
    instanceOf: DivergedError,
  });
  t.regex(error.message, /step 6: 'head.weight' .* the last good checkpoint is .*000001-step-4/u);
  t.is((await loadState(path, { recipe: "r" })).state.step, 4);
  const none = await t.throwsAsync(run(undefined, { diverges: 1 }), { instanceOf: DivergedError });
  t.regex(none.message, /step 1: .* no checkpoint was kept/u);
});

test("a checkpoint that fails inside a run is a warning, the next one too or one at its end an error", async (t) => {
  const saved: number[] = [];
  const fails = (steps: readonly number[]): CheckpointStore => ({
    save(state) {
      if (steps.includes(state.step)) {
        return Promise.reject(new FileError("no space is left on the disk", { file: "run", fault: "unreadable" }));
      }
      saved.push(state.step);
      return Promise.resolve({ path: `run/${state.step}`, notes: [] });
    },
  });
  const warnings = (events: readonly TrainingEvent[]): string[] =>
    events.flatMap((event) => (event.kind === "warning" ? [event.text] : []));
  const { events, outcome } = await run(fails([4]));
  t.true(outcome.finished);
  t.deepEqual(saved, [8, 12]);
  t.is(warnings(events).length, 1);
  t.regex(warnings(events)[0] ?? "", /step 4: run: no space .* training goes on, and stops if the next one cannot be kept either$/u);
  await t.throwsAsync(run(fails([12])), { instanceOf: FileError });
  const until: TrainingEvent[] = [];
  const stopped = run(fails([4, 8]), {}, Infinity, until);
  await t.throwsAsync(stopped, { instanceOf: FileError, message: "run: no space is left on the disk" });
  t.is(until.filter(({ kind }) => kind === "step").length, 8);
  t.deepEqual(warnings(until).slice(1), ["training stops at step 8: two checkpoints in a row were not kept"]);
  let calls = 0;
  const closed: CheckpointStore = {
    save: (state) => (calls++ === 0 ? Promise.reject(new DestroyedError("the run was closed")) : fails([]).save(state, undefined)),
  };
  await t.throwsAsync(run(closed), { instanceOf: DestroyedError }, "a run that was destroyed does not go on");
});
