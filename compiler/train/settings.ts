/**
 * @file What a recipe says besides its models and its loss, as plain data: the contract has it.
 */
export type {
  Argument, Arguments, CallSetting, Count, TrainingSettings as RecipeSettings,
} from "../../runtime/training.js";
export type { Stepping } from "../../runtime/train/schedule.js";
import type { Stepping } from "../../runtime/train/schedule.js";

export const STEPPINGS = ["epochs", "official", "steps"] as const satisfies readonly Stepping[];
