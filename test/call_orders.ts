/**
 * @file Calls of models, trainers and devices in a random order, destruction among them, on a device that skips
 * validation: a command on something freed crashes such a process. It is therefore a process of its own.
 *   node dist/test/call_orders.js [--seeds=24] [--first=0]
 *   node dist/test/call_orders.js --order=NAME      one of ORDERS, with which such processes once crashed
 * Every call has to end, with the right result or as destroyed. Prints a line per seed; exits with 1 at a wrong one.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate, setTimeout as later } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { ModuleDefinition } from "../runtime/artifact.js";
import type { Device } from "../runtime/device.js";
import { DestroyedError } from "../runtime/errors.js";
import { load, openDevice } from "../runtime/node/index.js";
import { Trainer } from "../runtime/node/train/trainer.js";
import type { Session } from "../runtime/session.js";
import { SMALL } from "./cli_process.js";
import { compileText, sourceOf } from "./harness.js";
import { tinyRecipe } from "./tiny_recipe.js";

/** Numbers in [0, 1) by a seed. Source: mulberry32. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const ADAPTER = process.env["DEITC_ADAPTER"] ?? "swiftshader";
const PIXELS = 3072;
const CALLS = 24;
/** Milliseconds after which a call counts as one that never ends. */
const LONGEST = 60_000;

/** What calls are made of. */
interface World {
  readonly definition: ModuleDefinition;
  readonly folder: string;
  readonly device: Device;
  readonly models: Session[];
  readonly trainers: Trainer[];
  /** What the model gives for images of 0.5. */
  readonly wanted: Float32Array;
}

/** A call, and the error other than destruction that it may end with. */
interface Call {
  readonly name: string;
  readonly weight: number;
  readonly make: (world: World, random: () => number) => Promise<unknown> | undefined;
  readonly may?: RegExp;
}

const images = (): Float32Array => new Float32Array(PIXELS).fill(0.5);
const pick = <T>(list: readonly T[], random: () => number): T | undefined => list[Math.floor(random() * list.length)];

async function predicts(model: Session, wanted: Float32Array): Promise<void> {
  const given = images();
  const running = model.infer({ images: given });
  given.fill(7);
  const { prediction } = await running;
  if (prediction?.join() !== wanted.join()) throw new Error(`predicts ${prediction?.join()}, not ${wanted.join()}`);
}

async function runs(trainer: Trainer): Promise<void> {
  for await (const event of trainer.run()) {
    if (event.kind === "record" && !Number.isFinite(event.record.loss)) throw new Error("the loss is not finite");
  }
}

const loads = async ({ definition, models, device }: World): Promise<void> => {
  models.push(await load(definition, { device, randomWeights: { seed: 1 } }));
};
/** On a device of its own, which goes with it. */
const loadsAlone = async ({ definition, models }: World): Promise<void> => {
  models.push(await load(definition, { adapter: ADAPTER, randomWeights: { seed: 1 } }));
};
const opens = async ({ trainers, device }: World): Promise<void> => {
  trainers.push(await Trainer.open(tinyRecipe(), { device, out: false }));
};

const CALLS_TO_MAKE: readonly Call[] = [
  { name: "load", weight: 2, make: loads },
  { name: "load alone", weight: 1, make: loadsAlone },
  { name: "open", weight: 2, make: opens },
  { name: "infer", weight: 8, make: ({ models, wanted }, random) => {
    const model = pick(models, random);
    return model && predicts(model, wanted);
  } },
  { name: "profile", weight: 2, make: ({ models }, random) => pick(models, random)?.profile() },
  { name: "readParameters", weight: 2, make: ({ models }, random) => pick(models, random)?.readParameters() },
  { name: "setParameters", weight: 1, make: ({ models }, random) => {
    const model = pick(models, random);
    return model?.readParameters().then((values) => model.setParameters(values));
  } },
  { name: "run", weight: 4, may: /runs only once/u, make: ({ trainers }, random) => {
    const trainer = pick(trainers, random);
    return trainer && runs(trainer);
  } },
  { name: "evaluate", weight: 3, make: ({ trainers }, random) => pick(trainers, random)?.evaluate() },
  { name: "save", weight: 2, make: ({ trainers, folder }, random) =>
    pick(trainers, random)?.save(join(folder, "weights.safetensors")) },
  { name: "destroy model", weight: 3, make: async ({ models }, random) => pick(models, random)?.destroy() },
  { name: "destroy trainer", weight: 2, make: async ({ trainers }, random) => pick(trainers, random)?.destroy() },
  { name: "destroy device", weight: 0.5, make: async ({ device }) => device.destroy() },
];

function draw(random: () => number): Call {
  let left = random() * CALLS_TO_MAKE.reduce((n, { weight }) => n + weight, 0);
  return CALLS_TO_MAKE.find(({ weight }) => (left -= weight) < 0) ?? CALLS_TO_MAKE[0] as Call;
}

/** Lets other calls go on: for no time, some turns of the event loop or some milliseconds. */
async function pause(random: () => number): Promise<void> {
  const kind = random();
  if (kind < 0.3) return;
  if (kind < 0.6) for (let turns = Math.floor(random() * 30); turns > 0; turns--) await null;
  else if (kind < 0.8) for (let turns = Math.floor(random() * 5); turns > 0; turns--) await setImmediate();
  else await later(random() * 30);
}

/** What is wrong with the calls of a seed: empty when nothing is. */
async function order(seed: number, world: World): Promise<readonly string[]> {
  const random = numbers(seed);
  const made: { readonly name: string; readonly ended: Promise<string | undefined> }[] = [];
  const follow = ({ name, may }: Call, call: Promise<unknown>): void => {
    const ended = call.then(() => undefined, (error: unknown) => {
      if (error instanceof DestroyedError) return undefined;
      const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      return may?.test(text) === true ? undefined : `${name} ends with ${text}`;
    });
    const late = later(LONGEST, `${name} does not end`, { ref: false });
    made.push({ name, ended: Promise.race([ended, late]) });
  };
  for (let i = 0; i < CALLS; i++) {
    const call = draw(random);
    const running = call.make(world, random);
    if (running !== undefined) follow(call, running);
    await pause(random);
  }
  for (const one of [...world.models, ...world.trainers, world.device]) one.destroy();
  const wrong = (await Promise.all(made.map(({ ended }) => ended))).filter((text) => text !== undefined);
  for (const one of [...world.models, ...world.trainers]) one.destroy();
  const after = await Promise.all([...world.models.map((one) => one.infer({ images: images() })),
    ...world.trainers.map((one) => runs(one)), load(world.definition, { device: world.device, randomWeights: { seed: 1 } }),
  ].map((call) => call.then(() => "a call works after destruction", (error: unknown) =>
    (error instanceof DestroyedError ? undefined : `a call after destruction ends with ${String(error)}`))));
  return [...wrong, ...after.filter((text) => text !== undefined)];
}

/** Orders that once crashed the process, by what is destroyed and when; each returns what the call ends with. */
const ORDERS: Readonly<Record<string, (world: World) => Promise<unknown>>> = {
  "a model in the turn of the call": async ({ models: [model], wanted }) => {
    const running = model && predicts(model, wanted);
    running?.catch(() => undefined);
    await null;
    model?.destroy();
    return running;
  },
  "a trainer between two steps": async ({ trainers: [trainer] }) => {
    for await (const { kind } of trainer?.run() ?? []) if (kind === "step") trainer?.destroy();
  },
  "a trainer while a step runs": async ({ trainers: [trainer] }) => {
    setTimeout(() => trainer?.destroy(), 40);
    return trainer && runs(trainer);
  },
  "a device while a model is loaded": async (world) => {
    const loading = loads(world);
    await setImmediate();
    world.device.destroy();
    return loading;
  },
  "a device while its trainer runs": async ({ trainers: [trainer], device }) => {
    setTimeout(() => device.destroy(), 40);
    return trainer && runs(trainer);
  },
};

/** @returns whether the order of that name ends with the error of what is destroyed */
async function isRejected(name: string, world: World): Promise<boolean> {
  try {
    const end = await ORDERS[name]?.(world);
    process.stdout.write(`${name}: no error, ${String(end)}\n`);
    return false;
  } catch (error) {
    process.stdout.write(`${name}: ${String(error)}\n`);
    return error instanceof DestroyedError;
  } finally {
    for (const one of [...world.models, ...world.trainers, world.device]) one.destroy();
    await world.device.lifetime.ended;
  }
}

export const ORDER_NAMES: readonly string[] = Object.keys(ORDERS);

async function main(first: number, seeds: number, named: string | undefined): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "deitc-orders-"));
  const definition = sourceOf(compileText(SMALL));
  let wanted: Float32Array | undefined;
  for (let seed = first; seed < first + seeds; seed++) {
    const device = await openDevice({ adapter: ADAPTER });
    const model = await load(definition, { device, randomWeights: { seed: 1 } });
    wanted ??= (await model.infer({ images: images() }))["prediction"] ?? new Float32Array();
    const world: World = { definition, folder, device, models: [model], trainers: [], wanted };
    await opens(world);
    if (named !== undefined) {
      process.exitCode = await isRejected(named, world) ? 0 : 1;
      continue;
    }
    process.stdout.write(`seed ${seed}: `);
    const wrong = await order(seed, world);
    await device.lifetime.ended;
    process.stdout.write(`${wrong.length === 0 ? "right" : wrong.join("; ")}\n`);
    if (wrong.length > 0) process.exitCode = 1;
  }
  rmSync(folder, { recursive: true });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ options: { seeds: text, first: text, order: text } });
  await main(Number(values.first ?? 0), values.order === undefined ? Number(values.seeds ?? 24) : 1, values.order);
}
