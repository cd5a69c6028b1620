/**
 * @file From a recipe's values to its settings: every member with its default, numbers in their ranges.
 */
import { members as schema } from "../../dsl/vocabulary.js";
import { invariant } from "../ir/invariant.js";
import { checkAugment } from "./augment.js";
import type { RecipeValues } from "./members.js";
import { OPTIMIZERS, type Optimizer } from "./optimizer.js";
import type { CallSetting, RecipeSettings } from "./settings.js";
import { SOURCES } from "../../runtime/train/vocabulary/sources.js";

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
  const [evalData, clip, ema] = [call("eval"), call("clip"), given.number("ema")];
  if (given.words.get("precision") === "mixed") {
    given.fail("precision", "`precision = mixed` is not available yet: this version trains in f32",
      "write `precision = f32` or leave it out");
  }
  checkAugment(given);
  const schedule = given.calls.has("schedule") ? call("schedule") : CONSTANT;
  const optimizer = chosen && optimizerOf(chosen);
  if (!data || !batch || !length || !chosen || !optimizer || !schedule) return undefined;
  const settings: RecipeSettings = {
    data, batch: batch.value, length, optimizer: chosen, schedule,
    accumulate: given.count("accumulate")?.value ?? 1, augment: given.calls.get("augment") ?? [],
    seed: given.number("seed") ?? 0, precision: "f32", noWeightDecay: stringsOf(given, "no_weight_decay"),
    ...(evalData ? { eval: evalData } : {}), ...(clip ? { clip } : {}), ...(ema === undefined ? {} : { ema }),
  };
  return checkBatch(given, settings) ? { settings, optimizer } : undefined;
}

/** The learning rate of a recipe that states no schedule. */
const CONSTANT: CallSetting =
  { name: "constant", arguments: { warmup: { value: 0, unit: "epochs" }, warmup_lr: 0, stepping: "epochs" } };

/** Whether a batch splits into its passes, and the data has enough images for one. */
function checkBatch(given: RecipeValues, { batch, accumulate, data }: RecipeSettings): boolean {
  if (!Number.isInteger(batch)) return true; // it has been reported
  const images = SOURCES.get(data.name)?.images?.(data.arguments) ?? Infinity;
  if (batch > images) {
    given.fail("batch", `a batch of ${batch} images is more than the ${images} that \`${data.name}\` trains on`,
      "make the batch smaller");
  }
  if (batch % accumulate === 0) return batch <= images;
  given.fail("accumulate", `a batch of ${batch} images does not split into ${accumulate} equal passes`,
    "`accumulate` must divide `batch`");
  return false;
}

function stringsOf(given: RecipeValues, name: string): readonly string[] {
  const value = given.values.get(name);
  return value?.kind === "list" ? value.items.flatMap((item) => (item.kind === "string" ? [item.value] : [])) : [];
}

function optimizerOf({ name, arguments: numbers }: CallSetting): Optimizer {
  const record = OPTIMIZERS.get(name);
  invariant(record !== undefined, `\`${name}\` is an optimizer`);
  return record.create(numbers);
}
