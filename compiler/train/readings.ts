/**
 * @file From a recipe's values to its settings: every member with its default, numbers in their ranges.
 */
import { members as schema } from "../../dsl/vocabulary.js";
import { isFault } from "../ir/op.js";
import type { RecipeValues } from "./members.js";
import { OPTIMIZERS, type Optimizer } from "./optimizer.js";
import { STEPPINGS, type Argument, type CallSetting, type ClipSetting, type Count, type RecipeSettings,
  type ScheduleSetting, type Stepping } from "./settings.js";

/** Settings and the optimizer they choose; undefined where a member is missing or broken, which has been reported. */
export function settingsOf(
  given: RecipeValues, missing: (member: string, example: string) => void,
): { readonly settings: RecipeSettings; readonly optimizer: Optimizer } | undefined {
  const required = (member: string): void => missing(member, schema[member]?.example ?? member);
  const call = (name: string): CallSetting | undefined => given.calls.get(name)?.[0];
  for (const [member, rule] of Object.entries(schema)) {
    if (rule.required === true && !given.values.has(member) && !given.calls.has(member)) required(member);
  }
  const [data, batch, length, chosen] = [call("data"), given.count("batch"), given.count("length"), call("optimizer")];
  const evalData = call("eval");
  const clip = clipOf(given, call("clip"));
  const schedule = scheduleOf(given, call("schedule"));
  const optimizer = chosen && optimizerOf(given, chosen);
  if (!data || !batch || !length || !chosen || !optimizer || !schedule) return undefined;
  const ema = given.number("ema");
  const settings: RecipeSettings = {
    data, batch: batch.value, length, optimizer: chosen, schedule,
    accumulate: given.count("accumulate")?.value ?? 1, augment: given.calls.get("augment") ?? [],
    seed: given.number("seed") ?? 0, precision: given.words.get("precision") === "mixed" ? "mixed" : "f32",
    noWeightDecay: stringsOf(given, "no_weight_decay"),
    ...(evalData ? { eval: evalData } : {}), ...(clip ? { clip } : {}), ...(ema === undefined ? {} : { ema }),
  };
  // A batch that is no whole number has been reported.
  if (!Number.isInteger(settings.batch) || settings.batch % settings.accumulate === 0) return { settings, optimizer };
  const [images, passes] = [settings.batch, settings.accumulate];
  given.fail("accumulate", `a batch of ${images} images does not split into ${passes} equal passes`,
    "`accumulate` must divide `batch`");
  return undefined;
}

function stringsOf(given: RecipeValues, name: string): readonly string[] {
  const value = given.values.get(name);
  return value?.kind === "list" ? value.items.flatMap((item) => (item.kind === "string" ? [item.value] : [])) : [];
}

function optimizerOf(given: RecipeValues, { name, arguments: numbers }: CallSetting): Optimizer | undefined {
  const made = OPTIMIZERS.get(name)?.create(numbers);
  if (!made || !isFault(made)) return made;
  given.fail("optimizer", made.text, made.help);
  return undefined;
}

function clipOf(given: RecipeValues, call: CallSetting | undefined): ClipSetting | undefined {
  if (!call) return undefined;
  const [amount] = Object.values(call.arguments);
  if (typeof amount !== "number" || !(amount > 0)) {
    given.fail("clip", `\`${call.name}\` takes a positive number, got ${String(amount)}`);
    return undefined;
  }
  switch (call.name) {
    case "global_norm":
    case "value": return { kind: call.name, limit: amount };
    case "adaptive": return { kind: "adaptive", factor: amount };
    default: return undefined;
  }
}

const NOW: Count = { value: 0, unit: "epochs" };

const isCount = (x: Argument | undefined): x is Count =>
  typeof x === "object" && x !== null && !Array.isArray(x) && "unit" in x;

const isStepping = (x: Argument | undefined): x is Stepping => STEPPINGS.some((one) => one === x);

/** The schedule of a recipe; constant where it states none. */
function scheduleOf(given: RecipeValues, call: CallSetting | undefined): ScheduleSetting | undefined {
  if (!call) {
    return given.calls.has("schedule") ? undefined
      : { kind: "constant", stepping: "epochs", warmup: NOW, warmupLr: 0 };
  }
  const { stepping, warmup, warmup_lr: warmupLr, min_lr: minLr, every, factor } = call.arguments;
  if (!isStepping(stepping)) {
    given.fail("schedule", `\`stepping\` is "epochs", "official" or "steps", got ${JSON.stringify(stepping)}`);
    return undefined;
  }
  const rates = [warmupLr, minLr, factor].filter((x) => x !== undefined);
  const times = [warmup, every].filter((x) => x !== undefined);
  const sound = rates.every((x) => typeof x === "number" && x >= 0)
    && times.every((x) => isCount(x) && (x === every ? x.value > 0 : x.value >= 0));
  if (!sound || !isCount(warmup) || typeof warmupLr !== "number") {
    given.fail("schedule", `the numbers of \`${call.name}\` are not negative, and \`every\` is positive`);
    return undefined;
  }
  const common = { stepping, warmup, warmupLr };
  if (call.name === "cosine" && typeof minLr === "number") return { kind: "cosine", ...common, minLr };
  if (call.name === "step" && isCount(every) && typeof factor === "number") {
    return { kind: "step", ...common, every, factor };
  }
  return { kind: "constant", ...common };
}
