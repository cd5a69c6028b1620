/**
 * @file What an `augment` list has to be as a whole: its order, what stands in it once, the batch and the loss it is
 * for, and the size of the images it makes.
 */
import type { RecipeValues } from "./members.js";
import { showArgument, type CallFault } from "../../runtime/train/vocabulary/record.js";
import { AUGMENTATIONS, type AugmentationRecord, type Stage } from "../../runtime/train/vocabulary/augmentations.js";
import { SOURCES } from "../../runtime/train/vocabulary/sources.js";
import type { CallSetting } from "./settings.js";

/** An augmentation with its arguments. */
interface Step {
  readonly call: CallSetting;
  readonly record: AugmentationRecord;
}

const stepsOf = (values: RecipeValues): readonly Step[] => (values.calls.get("augment") ?? []).flatMap((call) => {
  const record = AUGMENTATIONS.get(call.name);
  return record ? [{ call, record }] : [];
});

/** Stages of which an image passes several steps. */
const REPEATED: readonly Stage[] = ["pixels", "numbers"];

/** Reports what is wrong with the list by itself, and with the batch it is for. */
export function checkAugment(values: RecipeValues): void {
  const steps = stepsOf(values);
  for (const [i, { call, record }] of steps.entries()) {
    const before = steps.slice(0, i);
    const fault = twice(call, record, before) ?? misplaced(call, record, before) ?? uneven(call, record, values)
      ?? disagreement(call, record, before);
    if (fault) values.failCall(call, fault);
  }
}

function twice({ name }: CallSetting, { stage }: AugmentationRecord, before: readonly Step[]): CallFault | undefined {
  if (REPEATED.includes(stage) || !before.some((other) => other.call.name === name)) return undefined;
  return { text: `\`${name}\` is given twice in \`augment\`: only one can take effect`, help: "leave one out" };
}

/** Stages that cannot come before another. */
const LATER: Readonly<Partial<Record<Stage, readonly Stage[]>>> =
  { pixels: ["normalize", "numbers"], normalize: ["numbers"] };

/** Pixels are there before `normalize` and `random_erase`, numbers after. */
function misplaced(
  { name }: CallSetting, { stage }: AugmentationRecord, before: readonly Step[],
): CallFault | undefined {
  const later = LATER[stage] ?? [];
  const found = before.find(({ record }) => later.includes(record.stage));
  if (!found) return undefined;
  const why = stage === "pixels" ? `\`${name}\` works on 8-bit pixels: it cannot come after \`${found.call.name}\``
    : `\`${found.call.name}\` works on normalized images: it cannot come before \`${name}\``;
  return { text: why, help: `move \`${name}\` before \`${found.call.name}\`` };
}

/** Images are mixed in pairs. */
function uneven({ name }: CallSetting, { stage }: AugmentationRecord, values: RecipeValues): CallFault | undefined {
  const batch = values.count("batch")?.value ?? 0;
  if (stage !== "mix" || batch % 2 === 0 || !Number.isInteger(batch)) return undefined;
  return { text: `\`${name}\` mixes images in pairs, and a batch of ${batch} is odd`, help: "make the batch even" };
}

/** One draw decides whether a batch is mixed, and one how: mixup and cutmix cannot differ in them. */
function disagreement(
  call: CallSetting, { stage }: AugmentationRecord, before: readonly Step[],
): CallFault | undefined {
  const other = stage === "mix" ? before.find(({ record }) => record.stage === "mix")?.call : undefined;
  const argument = other && ["probability", "switch"].find((one) => call.arguments[one] !== other.arguments[one]);
  if (!other || argument === undefined) return undefined;
  const [own, theirs] = [call, other].map((one) => showArgument(one.arguments[argument]));
  const text = `\`${argument}\` of \`${call.name}\` is ${own}, that of \`${other.name}\` is ${theirs}: ` +
    "one draw decides for both";
  return { text, help: `give both the same \`${argument}\``, argument };
}

/** Reports augmentations whose targets a loss with these inputs never sees. */
export function checkTargets(values: RecipeValues, inputs: ReadonlySet<string>): void {
  if (inputs.has("targets")) return;
  for (const { call, record } of stepsOf(values)) {
    // A loss without labels learns from the images alone: those may well be mixed.
    if (record.stage !== "targets" && !(record.stage === "mix" && inputs.has("labels"))) continue;
    const what = record.stage === "mix" ? "mixes the targets with the images" : "changes the targets";
    const takes = inputs.has("labels") ? "the loss takes `labels`, which do not change" : "the loss takes none";
    const help = "write `targets: [B, C]` among the loss's parameters, as in `soft_cross_entropy(…, targets)`";
    values.failCall(call, { text: `\`${call.name}\` ${what}, but ${takes}`, help });
  }
}

/** Reports images that come out in another size than the model takes, as far as that is known before they are read. */
export function checkSize(values: RecipeValues, wanted: number): void {
  const [data] = values.calls.get("data") ?? [];
  let side = (data && SOURCES.get(data.name)?.side) ?? NaN;
  let last = data;
  for (const { call, record } of stepsOf(values)) {
    if (!record.side) continue;
    const next = record.side(call.arguments, side);
    if (typeof next !== "number") return values.failCall(call, next);
    [side, last] = [next, call];
  }
  if (Number.isNaN(side) || side === wanted || !last) return;
  const images = last === data ? `the images of \`${last.name}\`` : `the images after \`${last.name}\``;
  values.failCall(last, {
    text: `${images} have ${side} × ${side} pixels, but the model takes ${wanted} × ${wanted}`,
    help: `finish resizing in \`augment\` with \`random_resized_crop(${wanted})\` or \`random_crop(${wanted})\``,
  });
}
