/**
 * @file The whole vocabulary of calls that recipes are written with, by family and name.
 */
import type { CallFamily, RecipeCalls } from "../../dsl/vocabulary.js";
import { CLIPS } from "./clip.js";
import { OPTIMIZERS } from "./optimizer.js";
import { AUGMENTATIONS } from "../../runtime/train/vocabulary/augmentations.js";
import type { CallRecord } from "../../runtime/train/vocabulary/record.js";
import { SCHEDULES } from "../../runtime/train/vocabulary/schedules.js";
import { SOURCES } from "../../runtime/train/vocabulary/sources.js";

/** Every call of every family by its name. */
export const CALLS: Readonly<Record<CallFamily, ReadonlyMap<string, CallRecord>>> = {
  source: SOURCES, optimizer: OPTIMIZERS, schedule: SCHEDULES, clip: CLIPS, augmentation: AUGMENTATIONS,
};

/** What the language has to know of the vocabulary: signatures by family and name. */
export const RECIPE_CALLS: RecipeCalls = {
  source: signatures("source"), optimizer: signatures("optimizer"), schedule: signatures("schedule"),
  clip: signatures("clip"), augmentation: signatures("augmentation"),
};

function signatures(family: CallFamily): Readonly<Record<string, string>> {
  return Object.fromEntries([...CALLS[family].values()].map(({ name, signature }) => [name, signature]));
}
