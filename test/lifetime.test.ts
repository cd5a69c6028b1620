/** @file Calls and the end of what they use: models, trainers and devices destroyed at any time. Embedded adapter. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import test from "ava";
import { DestroyedError } from "../runtime/errors.js";
import { Lifetime } from "../runtime/lifetime.js";
import { load } from "../runtime/node/index.js";
import type { Session } from "../runtime/session.js";
import { ORDER_NAMES } from "./call_orders.js";
import { SMALL } from "./cli_process.js";
import { compileText, openUncheckedDevice, sourceOf } from "./harness.js";

const PROGRAM = fileURLToPath(new URL("call_orders.js", import.meta.url));
const PIXELS = 3072;

/** How a process of `call_orders` ends: a signal is a crash. */
async function end(...args: string[]): Promise<{ code: number | null; signal: string | null; out: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args]);
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.resume();
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    void child.on("close", (...how) => resolve(how)));
  return { code, signal, out };
}

for (const name of ORDER_NAMES) {
  test.serial(`destroying ${name} rejects the call and crashes nothing`, async (t) => {
    const { code, signal, out } = await end(`--order=${name}`);
    t.deepEqual([code, signal], [0, null], out);
    t.regex(out, /DestroyedError: .+ was destroyed: (?:load|open)/u);
  });
}

test.serial("calls in a random order end right or as destroyed", async (t) => {
  const { code, signal, out } = await end("--seeds=24");
  t.deepEqual([code, signal], [0, null], out);
  t.is(out.match(/: right$/gmu)?.length, 24);
});

test("a lifetime frees once, when it is closed and the last call has ended", async (t) => {
  const freed: string[] = [];
  const parent = new Lifetime({ message: "the device is gone", free: () => { freed.push("parent"); } });
  const child = new Lifetime({ message: "the model is gone", free: () => { freed.push("child"); }, parent });
  let finish = (): void => undefined;
  const running = child.use(() => new Promise<void>((resolve) => { finish = resolve; }));
  const waiting = child.queue(async () => "ran");
  t.is(await waiting, "ran");
  const signal = child.signal({ aborted: false, throwIfAborted: () => undefined });
  t.false(signal.aborted);
  parent.close();
  child.close();
  child.close();
  t.true(signal.aborted);
  t.throws(() => signal.throwIfAborted(), { instanceOf: DestroyedError, message: "the model is gone" });
  t.deepEqual(freed, []);
  await t.throwsAsync(child.use(async () => 1), { instanceOf: DestroyedError, message: "the model is gone" });
  await t.throwsAsync(parent.use(async () => 1), { instanceOf: DestroyedError, message: "the device is gone" });
  finish();
  await running;
  await Promise.all([child.ended, parent.ended]);
  t.deepEqual(freed, ["child", "parent"]);
});

test("calls of a queue run one after another, also after one that fails", async (t) => {
  const lifetime = new Lifetime({ message: "gone", free: () => undefined });
  const seen: string[] = [];
  const call = (name: string): Promise<string> => lifetime.queue(async () => {
    seen.push(`${name} begins`);
    await null;
    seen.push(`${name} ends`);
    if (name === "one") throw new Error("fails");
    return name;
  });
  const [one, two] = [call("one"), call("two")];
  t.false(lifetime.idle);
  await t.throwsAsync(one, { message: "fails" });
  t.is(await two, "two");
  t.deepEqual(seen, ["one begins", "one ends", "two begins", "two ends"]);
  t.true(lifetime.idle);
});

/** A small model on a device of its own. */
async function open(): Promise<{ model: Session; end: () => void }> {
  const device = await openUncheckedDevice();
  const model = await load(sourceOf(compileText(SMALL)), { device, randomWeights: { seed: 1 } });
  return { model, end: () => device.destroy() };
}

const scores = async (model: Session, images: Float32Array): Promise<Float32Array | undefined> =>
  (await model.infer({ images }))["prediction"];

test.serial("the inputs of a call are those at the time of the call", async (t) => {
  const { model, end: close } = await open();
  const [first, second] = [new Float32Array(PIXELS).fill(0.25), new Float32Array(PIXELS).fill(-0.5)];
  const wanted = [await scores(model, first), await scores(model, second)];
  t.notDeepEqual(wanted[0], wanted[1]);
  const given = new Float32Array(first);
  const at = scores(model, given);
  given.set(second);
  const after = scores(model, given);
  given.fill(9);
  t.deepEqual([await at, await after], wanted);
  // A call that waits behind another leaves the last inputs as they were.
  const values = await model.readParameters();
  const changed = new Map([...values].map(([path, data]) => [path, data.slice()]));
  const setting = model.setParameters(changed);
  for (const data of changed.values()) data.fill(0);
  await setting;
  t.deepEqual(await scores(model, first), wanted[0]);
  close();
});

test.serial("inputs and weights may lie in memory that threads share", async (t) => {
  const { model, end: close } = await open();
  const plain = new Float32Array(PIXELS).map((_, i) => Math.sin(i));
  const shared = new Float32Array(new SharedArrayBuffer(plain.byteLength));
  shared.set(plain);
  const wanted = await scores(model, plain);
  const running = scores(model, shared);
  shared.fill(3);
  t.deepEqual(await running, wanted);
  const values = new Map([...await model.readParameters()].map(([path, data]) => {
    const copy = new Float32Array(new SharedArrayBuffer(data.byteLength));
    copy.set(data);
    return [path, copy] as const;
  }));
  const other = await load(sourceOf(compileText(SMALL)), { device: model.device, weights: values });
  t.deepEqual(await scores(other, plain), wanted);
  close();
});
