/** @file The options that train and eval share. */
import { InvalidArgumentError, type Command } from "commander";
import { BAD_IMAGE_POLICIES, type BadImagePolicy } from "../../runtime/data/check.js";
import type { FamilyName } from "../../runtime/manifest.js";
import type { Selection } from "./artifact.js";
import { TRUST, wholeNumber, withSelection } from "./command.js";
import { families, FAMILY_LIST } from "./model.js";

/** Options of every command that runs a recipe. */
export interface RecipeOptions extends Selection {
  readonly data?: string;
  readonly evalData?: string;
  readonly onBadImage?: BadImagePolicy;
  readonly checkData?: boolean;
  readonly weights?: Readonly<Record<string, string>>;
  readonly adapter?: string;
  readonly family?: FamilyName;
  readonly batch?: number;
  readonly json?: boolean;
}

/** Option parser: one kernel family. */
function oneFamily(text: string): FamilyName {
  const [family, more] = families(text);
  if (family === undefined || more !== undefined) throw new InvalidArgumentError("Expected one family.");
  return family;
}

/** Option parser: what is done about an image that cannot be read. */
function badImagePolicy(text: string): BadImagePolicy {
  const found = BAD_IMAGE_POLICIES.find((policy) => policy === text);
  if (found === undefined) throw new InvalidArgumentError(`Expected ${BAD_IMAGE_POLICIES.join(" or ")}.`);
  return found;
}

/** Option parser, called once a use: `teacher=path`. */
function collectWeights(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const [, name, path] = /^([A-Za-z_]\w*)=(.+)$/s.exec(text) ?? [];
  if (name === undefined || path === undefined) throw new InvalidArgumentError("Expected NAME=FILE.");
  return { ...before, [name]: path };
}

/** Adds the options of `RecipeOptions`. */
export const withRecipeOptions = (command: Command): Command =>
  withSelection(command)
    .option("--data <path>", "path of the training data (default: the recipe's)")
    .option("--eval-data <path>", "path of the evaluation data (default: the recipe's)")
    .option("--check-data", "decode every image, list those that cannot be read, and end: nothing is run")
    .option("--on-bad-image <error|skip>", "what to do about images that cannot be read: end with an error when one " +
      "is needed, or read all images first and leave those out (default: error)", badImagePolicy)
    .option("--weights <name=file>", "the checkpoint that a model starts from; may be repeated", collectWeights)
    .option("--batch <n>", "images per optimizer step (default: the recipe's); the learning rate is not rescaled",
      wholeNumber(1))
    .option("--adapter <name>", "part of an adapter's name, or gpu, lavapipe, swiftshader (see deitc doctor)")
    .option("--family <name>", `kernels to use: one of ${FAMILY_LIST} (default: chosen for the adapter)`, oneFamily)
    .option(...TRUST)
    .option("--json", "print JSON: one event per line, then the outcome");
