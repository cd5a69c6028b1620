/**
 * @file What a recipe says besides its models and its loss, as plain data: the contract has it.
 */
export type {
  Argument, Arguments, CallSetting, Count, TrainingSettings as RecipeSettings,
} from "../../runtime/training.js";
