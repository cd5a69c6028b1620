/** A run's folder against other processes, damage, other data and full disks; trainings with injected faults. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, readdir, rename, rm, truncate, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import test from "ava";
import { diskFiles } from "../runtime/node/train/files.js";
import { imageFolder } from "../runtime/data/folder.js";
import { DestroyedError, FileError, WeightsError } from "../runtime/errors.js";
import { CheckpointFolder } from "../runtime/node/train/checkpoints.js";
import { dataDifferences, packData } from "../runtime/node/train/fingerprint.js";
import { loadState } from "../runtime/node/train/resume.js";
import { crashRuns, KINDS } from "./crash/runs.js";
import { stateOf } from "./training_child.js";

const CHILD = fileURLToPath(new URL("training_child.js", import.meta.url));
const folder = (): Promise<string> => mkdtemp(join(tmpdir(), "deitc-run-folder-"));

test("a folder that another process writes into is refused; the lock of one that is gone is taken over", async (t) => {
  const path = await folder();
  const child = spawn(process.execPath, [CHILD, "save", path], { stdio: ["ignore", "pipe", "inherit"] });
  const exit = once(child, "exit");
  await once(child.stdout, "data");
  const error = await t.throwsAsync(CheckpointFolder.open(path, { force: true }), { instanceOf: FileError, code: "file_unwritable" });
  t.regex(error.message, new RegExp(`another training .* process ${child.pid} on ${hostname()} since 20`, "u"));
  child.kill("SIGKILL");
  await exit;
  const store = await CheckpointFolder.open(path);
  t.regex(store.notes.join(), new RegExp(`process ${child.pid} .* no longer runs: the lock was taken over`, "u"));
  await t.throwsAsync(CheckpointFolder.open(path), { message: new RegExp(`process ${process.pid} `, "u") });
  store.close();
  const again = await CheckpointFolder.open(path);
  t.deepEqual(again.notes, []);
  again.close();
});

test("the lock of another host, and one that cannot be read, is taken over by force alone", async (t) => {
  const path = await folder();
  const lock = join(path, "run.lock");
  const foreign = JSON.stringify({ host: "elsewhere", pid: 7, since: "2026-01-02T03:04:05.000Z", token: "x" });
  for (const [content, says] of [[foreign, /process 7 on elsewhere since 2026-01-02/u], ["{", /run.lock cannot be read/u]] as const) {
    await writeFile(lock, content);
    const error = await t.throwsAsync(CheckpointFolder.open(path), { instanceOf: FileError, message: says });
    t.regex(error.help ?? "", /--force/u);
    const store = await CheckpointFolder.open(path, { force: true });
    t.regex(store.notes.join(), /taken over by force/u);
    // Taken over in turn: the first one writes nothing more.
    await writeFile(lock, foreign);
    await t.throwsAsync(store.save(stateOf(1), undefined), { message: /taken over by process 7 on elsewhere/u });
    store.close();
    t.is(await readFile(lock, "utf8"), foreign, "another's lock is left alone");
  }
  await rm(lock);
  await mkdir(join(lock, "inside"), { recursive: true });
  await t.throwsAsync(CheckpointFolder.open(path), { instanceOf: FileError, message: /run.lock cannot be read/u });
  (await CheckpointFolder.open(path, { force: true })).close();
  t.deepEqual(await readdir(path), ["checkpoints"]);
});

test("a folder that many ask for at once has one holder at a time, and the others are told who it is", async (t) => {
  const path = await folder();
  let [holders, opened] = [0, 0];
  const ask = async (): Promise<void> => {
    const store = await CheckpointFolder.open(path).catch((error: unknown) => {
      t.regex(String(error), /another training writes into this folder: process/u);
    });
    if (store === undefined) return;
    [holders, opened] = [holders + 1, opened + 1];
    t.is(holders, 1);
    await store.save(stateOf(opened), undefined);
    holders--;
    store.close();
  };
  await Promise.all(Array.from({ length: 8 }, async () => { for (let i = 0; i < 40; i++) await ask(); }));
  t.true(opened > 0);
  t.deepEqual((await readdir(path)).filter((name) => name.startsWith(".")), []);
});

test("a folder that is closed during a save is let go when the save has ended", async (t) => {
  const path = await folder();
  const store = await CheckpointFolder.open(path);
  const saving = store.save(stateOf(1, 2 ** 18), undefined);
  store.close();
  await t.throwsAsync(CheckpointFolder.open(path), { instanceOf: FileError, message: /another training writes/u });
  t.deepEqual((await saving).notes, []);
  await t.throwsAsync(store.save(stateOf(2), undefined), { instanceOf: DestroyedError, message: /was closed/u });
  (await CheckpointFolder.open(path)).close();
  t.is((await loadState(path, { recipe: "r" })).state.step, 1);
});

/** What may happen to a file. */
const DAMAGE: readonly (readonly [name: string, act: (path: string) => Promise<void>, says: RegExp])[] = [
  ["changed", async (path) => {
    const bytes = await readFile(path);
    const at = bytes.length - 9;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(path, bytes);
  }, /has changed since it was written|checkpoint\.json is damaged|instead of/u],
  ["cut", (path) => truncate(path, 40), /has 40 bytes instead of|is damaged/u],
  ["gone", (path) => rm(path), /there is no such file|cannot be read/u],
];

test("a checkpoint with any defect is passed over, set aside, and never published", async (t) => {
  const whole = await folder();
  const first = await CheckpointFolder.open(whole);
  for (const step of [1, 2]) await first.save(stateOf(step), "ema");
  first.close();
  for (const file of ["model.safetensors", "ema.safetensors", "state.safetensors", "checkpoint.json"]) {
    for (const [name, act, says] of DAMAGE) {
      const path = await folder();
      await cp(whole, path, { recursive: true });
      const bad = join(path, "checkpoints/000002-step-2");
      await act(join(bad, file));
      const loaded = await loadState(path, { recipe: "r" });
      t.is(loaded.state.step, 1, `${file} ${name}`);
      t.regex(loaded.notes.join(), says, `${file} ${name}`);
      t.true(loaded.notes.join().includes(join(bad, file)), loaded.notes.join());
      await t.throwsAsync(loadState(bad, { recipe: "r" }), { message: file === "state.safetensors" && name === "gone" ? /no checkpoint to resume from/u : says });
      const store = await CheckpointFolder.open(path);
      t.regex((await store.repair(loaded)).join(), /renamed to .*000002-step-2\.damaged/u);
      t.deepEqual(await readFile(join(path, "last.safetensors")), await readFile(join(path, "checkpoints/000001-step-1/model.safetensors")));
      store.close();
      await act(join(path, "checkpoints/000001-step-1", file));
      await t.throwsAsync(loadState(path, { recipe: "r" }), { instanceOf: WeightsError, message: /no checkpoint is sound/u });
    }
  }
});

test("images and classes that are added, removed or renamed are named", async (t) => {
  const root = await folder();
  for (const name of ["ant", "bee", "cat"]) {
    await mkdir(join(root, name));
    for (let i = 0; i < 4; i++) await writeFile(join(root, name, `${name}${i}.png`), "x".repeat(i + 1));
  }
  const pack = async (): Promise<Uint8Array> => {
    const [training, evaluation] = [await imageFolder(diskFiles(), root, { valShare: 0 }), await imageFolder(diskFiles(), root, { valShare: 0 })];
    return packData({ training, evaluation });
  };
  const before = await pack();
  t.deepEqual(await pack(), before);
  for (const bad of [new Uint8Array([1, 2, 3]), gzipSync("null"), gzipSync(`{"training":{"files":{}}}`)]) {
    t.deepEqual(dataDifferences(bad, before), ["the state's list of images cannot be read"]);
  }
  const told = async (): Promise<string | undefined> => dataDifferences(before, await pack())[0];
  t.is(await told(), undefined);
  await rename(join(root, "ant"), join(root, "zebra"));
  t.is(await told(), "training data: class 'ant' was renamed to 'zebra'");
  await rename(join(root, "zebra"), join(root, "ant"));
  await rm(join(root, "bee/bee1.png"));
  t.is(await told(), "training data: 1 image removed: 'bee/bee1.png'");
  await writeFile(join(root, "bee/bee1.png"), "longer");
  t.is(await told(), "training data: 1 image has another size: 'bee/bee1.png'");
  await writeFile(join(root, "bee/bee1.png"), "xx");
  const split = async (): Promise<Uint8Array> => {
    const [training, evaluation] = [await imageFolder(diskFiles(), root, { valShare: 0.3 }), await imageFolder(diskFiles(), root, { valShare: 0.3, split: "val" })];
    return packData({ training, evaluation });
  };
  const drawn = await split();
  await rename(join(root, "ant"), join(root, "zebra"));
  t.deepEqual(dataDifferences(drawn, await split()), ["class 'ant' was renamed to 'zebra'"]);
  await rename(join(root, "zebra"), join(root, "ant"));
  for (let i = 4; i < 9; i++) await writeFile(join(root, "cat", `cat${i}.png`), "");
  t.is(await told(), "training data: 5 images added: 'cat/cat4.png', 'cat/cat5.png', 'cat/cat6.png' and 2 more");
});

test("a disk without room is told before the first step; where the state does not fit, the weights are kept", async (t) => {
  const path = await folder();
  const store = await CheckpointFolder.open(path);
  await t.throwsAsync(store.checkRoom(2 ** 60), { code: "file_unwritable", message: /no room for a checkpoint: it takes 1073741824 GiB, .* left/u });
  t.is(await store.checkRoom(1), undefined);
  store.close();
  // 400 KiB hold the weights, and not the state of twice their size.
  const line = `ulimit -f 400; exec "${process.execPath}" "${CHILD}" weights "${path}"`;
  const { stdout, stderr } = spawnSync("bash", ["-c", line], { encoding: "utf8" });
  t.regex(stdout, /refused: .*larger than the system allows; the weights alone were kept in .*weights-step-2\.safetensors; the last checkpoint is .*000001-step-1/u, stderr);
  t.true((await readdir(path)).includes("weights-step-2.safetensors"));
});

test("trainings with injected faults end with the bits of one left alone", async (t) => {
  for await (const { faults, differences } of crashRuns(2 * KINDS.length, 5)) t.deepEqual(differences, [], faults.join(" then "));
});
