/** @file What is fuzzed: each target makes an input from a seed and tries it. What it throws is a fault. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import sharp from "sharp";
import { loadProgram } from "../../dsl/resolve.js";
import { nodeHost } from "../../compiler/cli/host.js";
import { elaborateModel } from "../../compiler/elaborate/index.js";
import { language } from "../../compiler/index.js";
import { OPS } from "../../compiler/ops/index.js";
import { elaborateRecipe } from "../../compiler/train/recipe.js";
import { renderDiagnostics } from "../../dsl/diagnostics.js";
import { DeitcError } from "../../runtime/errors.js";
import { decodeImage } from "../../runtime/node/images.js";
import { parseMetrics } from "../../runtime/train/metrics.js";
import { decodeState, encodeState } from "../../runtime/train/state.js";
import { memoryAccess } from "../../runtime/weights/access.js";
import { openCheckpoint } from "../../runtime/weights/checkpoint.js";
import { toFloat32 } from "../../runtime/weights/dtype.js";
import { encodeSafetensors } from "../../runtime/weights/safetensors.js";
import { describeFault, triedByPlan, tryProgram, type Tally } from "../programs/campaign.js";
import { manifestTarget } from "./manifests.js";
import { Dice, mutateBytes, mutateJson, mutateText } from "./mutate.js";

/** What became of an input: it was taken, or refused with an error that says so. */
export type Outcome = "taken" | "refused";

/** Tries the input of a seed; throws what is a fault. */
export type Try = (seed: number) => Promise<Outcome>;

/** A target, prepared once a process. */
type Target = () => Promise<Try>;

/** Codes of errors that no input may cause: the device went away, or called what it was given wrong. */
const NEVER = new Set(["device_lost", "device", "validation"]);

/** Whether `read` takes its input; a typed error is a refusal, every other one a fault. */
export async function outcomeOf(read: () => unknown): Promise<Outcome> {
  try {
    await read();
    return "taken";
  } catch (error) {
    if (!(error instanceof DeitcError) || NEVER.has(error.code)) throw error;
    if (error.message.length > 2000) throw new RangeError(`a message of ${error.message.length} characters`);
    return "refused";
  }
}

/** Sources of the shipped models, changed: parsed, checked, and two declarations of each elaborated. */
const sources: Target = async () => {
  const host = nodeHost(resolve("models"));
  const files = readdirSync("models").filter((name) => name.endsWith(".deit")).sort();
  const texts = files.map((name) => readFileSync(join("models", name), "utf8"));
  return async (seed) => {
    const dice = new Dice(seed);
    const at = dice.below(files.length);
    const [path, text] = [join("models", files[at] ?? ""), mutateText(texts[at] ?? "", dice)];
    const { program, diagnostics } = loadProgram(path, {
      resolve: (from, name) => (from === undefined ? { path } : host.resolve(from, name)),
      read: (name) => (name === path ? { text } : host.read(name)),
    }, language());
    renderDiagnostics(diagnostics);
    if (!program || diagnostics.length > 0) return "refused";
    const found = [];
    const [models, recipes] = [program.models, program.recipes].map((all) => all.map((one) => one.declaration.name.text));
    if (models && models.length > 0) {
      found.push(...elaborateModel(program, dice.pick(models), { training: false, overrides: {}, ops: OPS }).diagnostics);
    }
    if (recipes && recipes.length > 0) found.push(...elaborateRecipe(program, dice.pick(recipes), { ops: OPS }).diagnostics);
    renderDiagnostics(found);
    return found.length > 0 ? "refused" : "taken";
  };
};

/** Reads all of a checkpoint. */
async function readAll(bytes: Uint8Array): Promise<void> {
  const { tensors } = await openCheckpoint(memoryAccess("fuzz", bytes));
  for (const tensor of tensors.values()) toFloat32(tensor.dtype, await tensor.read());
}

const bytesTarget = (all: readonly Uint8Array[], read: (bytes: Uint8Array) => unknown): Try => (seed) => {
  const dice = new Dice(seed);
  const bytes = mutateBytes(dice.pick(all), dice);
  return outcomeOf(() => read(bytes));
};

const whole = (chunks: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(chunks));

const safetensors: Target = async () => {
  const data = new Float32Array(6);
  const half = { dtype: "F16", bytes: new Uint8Array(8) } as const;
  return bytesTarget([
    whole(encodeSafetensors([{ name: "w", shape: [2, 3], data }, { name: "h", shape: [4], data: half }])),
    whole(encodeSafetensors([{ name: "a.b", shape: [], data: new Float32Array(1) }], { format: "pt", classes: '["x","y"]' })),
  ], readAll);
};

const pytorch: Target = async () => {
  const home = "test/golden/pth";
  return bytesTarget(readdirSync(home).filter((name) => name.endsWith(".pth")).sort()
    .map((name) => new Uint8Array(readFileSync(join(home, name)))).filter(({ length }) => length > 0), readAll);
};

const EVALUATION = { loss: 1, top1: 0.5, top5: 0.75, count: 8 };
const RECORDS = [
  { kind: "step", step: 1, epoch: 0.5, lr: 0.1, loss: 2, imagesPerSecond: 3, seconds: 4, gradNorm: 5, accuracy: 0.5 },
  { kind: "epoch", step: 2, epoch: 1, lr: 0.1, loss: 2, imagesPerSecond: 3, seconds: 4, model: EVALUATION, ema: EVALUATION },
] as const;

/** Training states: their bytes changed, or the JSON of their descriptions. */
const states: Target = async () => {
  const tensors = [{ role: "parameter", path: "w", shape: [2], data: new Float32Array(2) }] as const;
  const sums = { loss: 0, steps: 0, seconds: 0, total: 0 };
  const best = { step: 1, weights: "ema", evaluation: EVALUATION } as const;
  const good = whole(encodeState({ recipe: "r", step: 2, engine: { tensors, counters: { n: 1 } }, records: RECORDS, sums, best }));
  const decode = (bytes: Uint8Array): unknown => decodeState(memoryAccess("fuzz", bytes));
  const byBytes = bytesTarget([good], decode);
  return (seed) => {
    if (seed % 2 === 0) return byBytes(seed);
    const described = { sums, best, counters: { n: 1 }, lines: structuredClone(RECORDS) as unknown as unknown[] };
    const changed = structuredClone(described) as Record<string, unknown>;
    mutateJson(changed, new Dice(seed));
    const { lines: some } = changed;
    const lines = (Array.isArray(some) ? some : [some]).map((line) => JSON.stringify(line) ?? "").join("\n");
    const data = { dtype: "U8", bytes: new TextEncoder().encode(lines) } as const;
    return outcomeOf(() => decode(whole(encodeSafetensors([{ name: "metrics.jsonl", shape: [data.bytes.length], data }], {
      format: "deitc training state 1", recipe: "r", step: "1", ...Object.fromEntries(
        (["sums", "best", "counters"] as const).map((key) => [key, JSON.stringify(changed[key] ?? null)])),
    }))));
  };
};

const metrics: Target = async () => (seed) => {
  const dice = new Dice(seed);
  const lines = structuredClone(RECORDS) as unknown as Record<string, unknown>[];
  mutateJson(lines, dice);
  const text = lines.map((line) => JSON.stringify(line)).join("\n");
  return outcomeOf(() => parseMetrics(dice.below(3) === 0 ? mutateText(text, dice) : text));
};

const images: Target = async () => {
  const pixels = Buffer.from(Uint8Array.from({ length: 48 * 40 * 3 }, (_, i) => (i * 31) % 251));
  const image = sharp(pixels, { raw: { width: 48, height: 40, channels: 3 } });
  const all = await Promise.all([
    image.clone().png().toBuffer(), image.clone().png({ palette: true }).toBuffer(), image.clone().jpeg().toBuffer(),
    image.clone().jpeg({ progressive: true }).toBuffer(), image.clone().webp().toBuffer(),
    image.clone().gif().toBuffer(), image.clone().tiff().toBuffer(),
  ]);
  return bytesTarget(all.map((one) => new Uint8Array(one)), (bytes) => decodeImage(bytes, "fuzz"));
};

/** Random programs by their plan, against the interpreter. */
const programs: Target = async () => async (seed) => {
  const tally: Tally = { programs: 0, runs: 0, tiled: 0, hopeless: 0, faults: [] };
  await tryProgram(seed, [{ kind: "plan" }], tally, triedByPlan(seed));
  const [fault] = tally.faults;
  if (fault) throw new Error(describeFault(fault));
  return "taken";
};

/** Every target by its name. */
export const TARGETS: Readonly<Record<string, Target>> = {
  sources, manifests: () => manifestTarget("model"), recipes: () => manifestTarget("recipe"),
  safetensors, pytorch, states, metrics, images, programs,
};
