/**
 * @file In which order the models of a run have the classes of its data: that of the checkpoints which name theirs,
 * else that of the data. All models of a recipe are compared class by class, so there is one order.
 */
import { matchClasses, type MatchedClasses } from "../../classes.js";
import type { Dataset } from "../../data/loader.js";
import { InputError } from "../../errors.js";
import { printable } from "../../text.js";
import type { ModelInfo, TrainingManifest } from "../../training.js";

/** The classes of the state that a run goes on from. */
export interface SavedClasses {
  /** Where the state is. */
  readonly path: string;
  /** Undefined for a state that has none. */
  readonly names: readonly string[] | undefined;
}

/** A checkpoint that a model starts from. */
interface NamedCheckpoint {
  readonly path: string;
  readonly names: readonly string[] | undefined;
  /** Whether the model can do without the classifier in it. */
  readonly dispensable: boolean;
}

const FRESH = "to train on other classes, start the classifier anew: `train … --allow-head-mismatch` " +
  "(in a program `allowHeadMismatch: true`)";

/** Gathers what the checkpoints of a run say of classes. */
export class ClassOrder {
  readonly #manifest: TrainingManifest;
  readonly #data: Dataset;
  readonly #force: boolean;
  #settled: { readonly owner: string; readonly found: MatchedClasses } | undefined;

  /**
   * @param saved of the state that is resumed, if there is one. Data that has changed since is refused when it is
   * compared with the state (`fingerprint.ts`), unless by force: here, what does not fit by name goes by its order.
   */
  constructor(manifest: TrainingManifest, data: Dataset, saved: SavedClasses | undefined) {
    [this.#manifest, this.#data, this.#force] = [manifest, data, saved !== undefined];
    if (saved && saved.names?.length === manifest.classes) this.#settle(saved.path, saved.names, "restore the data");
  }

  /**
   * Takes a model's checkpoint into account, in the order of the recipe.
   * @returns whether its classifier is used
   * @throws InputError for names that do not fit the data's, or another order than that of an earlier one
   */
  add({ frozen }: ModelInfo, { path, names, dispensable }: NamedCheckpoint): boolean {
    if (names?.length !== this.#manifest.classes) return true;
    try {
      this.#settle(path, names, frozen ? undefined : FRESH);
      return true;
    } catch (error) {
      if (!dispensable || !(error instanceof InputError)) throw error;
      return false;
    }
  }

  #settle(owner: string, names: readonly string[] | undefined, help: string | undefined): void {
    if (names === undefined) return;
    const model = { owner, count: names.length, names };
    const how = { force: this.#force, ...(help === undefined ? {} : { help }) };
    const before = this.#settled;
    if (before === undefined) {
      this.#settled = { owner, found: matchClasses(model, this.#data, how) };
      return;
    }
    const others = before.found.names;
    const { places } = matchClasses(model, { name: before.owner, classes: others }, how);
    const moved = places.findIndex((at, i) => at !== i);
    if (moved < 0) return;
    const [here, there] = [names[moved] ?? "", others[moved] ?? ""];
    throw new InputError(
      printable(`class ${moved} is '${here}' in ${owner} and '${there}' in ${before.owner}: `) +
      "the models of a recipe are compared class by class",
      { help: "start them from weights that have their classes in one order" },
    );
  }

  /** The data's classes in the order found. Throws `InputError` for another number than the recipe's models predict. */
  end(): MatchedClasses {
    if (this.#settled) return this.#settled.found;
    const { name, classes: count = this.#data.classes.length } = this.#manifest;
    return matchClasses({ owner: `the model of ${name}`, count }, this.#data);
  }
}
