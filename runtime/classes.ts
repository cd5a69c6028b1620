/**
 * @file Which class of a model each class of the data is. This is the only place that decides it: by name wherever both
 * have names, by position where only the numbers of classes are known.
 */
import type { Dataset } from "./data/loader.js";
import { InputError } from "./errors.js";
import { counted, printable, someNames } from "./text.js";

/** The classes of a model, in the order of its logits. */
export interface ModelClasses {
  /** What messages call their owner: the file of a checkpoint, or a model. */
  readonly owner: string;
  readonly count: number;
  /** As many as `count`. */
  readonly names?: readonly string[] | undefined;
  /**
   * The names are only the model's `class_names`, no checkpoint's: data may call all of its classes otherwise, as a
   * folder of ImageNet does.
   */
  readonly stated?: boolean;
}

/** The classes of data, which are folders where it has files. */
type DataClasses = Pick<Dataset, "name" | "classes" | "files">;

/** What to do about classes that do not fit. */
export interface MatchOptions {
  /** Said after "name the classes of the data as …": another way out. */
  readonly help?: string;
  /** Classes whose names do not fit take the places that are left, in order. */
  readonly force?: boolean;
}

/** Where the data's classes are among the model's. */
export interface MatchedClasses {
  /** By the data's label: the position of its logit. */
  readonly places: readonly number[];
  /** Names in the order of the logits: the data's, and the model's for classes that the data lacks. */
  readonly names: readonly string[];
  /** Sentences worth saying. */
  readonly notes: readonly string[];
}

/** Names of a list that a message shows: enough to find one that should not be there. */
const SHOWN = 12;

/** Equal for names that look alike: file systems differ in how they store accents. */
const key = (name: string): string => printable(name).normalize("NFC");

/** Names that only count, which data without names has. */
const onlyCounts = (names: readonly string[]): boolean => names.every((name, i) => name === String(i));

/** The positions of names; a name that several classes have stands for none of them. */
function positions(names: readonly string[]): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  const twice = new Set<string>();
  for (const [at, name] of names.map(key).entries()) {
    if (found.has(name)) twice.add(name);
    found.set(name, at);
  }
  for (const name of twice) found.delete(name);
  return found;
}

/** Whether two lists name the same classes in the same order. */
const sameClasses = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((name, i) => key(name) === key(b[i] ?? ""));

/**
 * Finds each class of the data among a model's. Data may lack classes of a model with names, and have them in another
 * order.
 * @throws InputError with both lists where names do not fit, or with both numbers where there are no names
 */
export function matchClasses(
  given: ModelClasses, found: DataClasses, { help, force = false }: MatchOptions = {},
): MatchedClasses {
  const [model, data] = [{ ...given, owner: printable(given.owner) }, { ...found, name: printable(found.name) }];
  const { owner, count, names, stated = false } = model;
  const { classes } = data;
  const inOrder = [...classes.keys()];
  if (names === undefined) return byNumber(model, data, inOrder);
  if (sameClasses(names, classes)) return { places: inOrder, names, notes: [] };
  const known = positions(names);
  const places = classes.map((name) => known.get(key(name)));
  const missing = classes.filter((_, label) => places[label] === undefined);
  if (missing.length === 0 && new Set(places).size === classes.length) {
    const part = `${data.name} has ${classes.length} of the ${count} classes of ${owner}`;
    return { places: places.flatMap((at) => at ?? []), names, notes: classes.length < count ? [part] : [] };
  }
  if (onlyCounts(names) || onlyCounts(classes)) return byNumber(model, data, inOrder);
  if (stated && missing.length === classes.length && classes.length === count) {
    const note = `${data.name} names none of its classes as ${owner} does: they are taken in their order`;
    return { places: inOrder, names: classes, notes: [note] };
  }
  if (force && classes.length <= count) return filled(model, data, places);
  const here = new Set(classes.map(key));
  const lacking = names.filter((name) => !here.has(key(name)));
  throw new InputError([
    `the classes of ${data.name} are not those of ${owner}`,
    `  ${data.name} (${classes.length}): ${someNames(classes, SHOWN)}`,
    `  ${owner} (${count}): ${someNames(names, SHOWN)}`,
    `  only in ${data.name} (${missing.length}): ${someNames(missing, SHOWN)}`,
    ...(lacking.length === 0 ? [] : [`  only in ${owner} (${lacking.length}): ${someNames(lacking, SHOWN)}`]),
  ].join("\n"), { help: `name the classes of the data as ${owner} does${help === undefined ? "" : `; ${help}`}` });
}

/** Where names say nothing: the same number of classes, in the same order. */
function byNumber(
  { owner, count }: ModelClasses, { name, classes, files }: DataClasses, places: readonly number[],
): MatchedClasses {
  if (classes.length === count) return { places, names: classes, notes: [] };
  const number = counted(classes.length, "class", "classes");
  throw new InputError(`${name} has ${number} (${someNames(classes, SHOWN)}), but ${owner} predicts ${count}`, {
    help: `give the model ${number}, or the data those that the model knows` +
      (files !== undefined && classes.length > count ? ": remove the folders that are none" : ""),
  });
}

/** By force: what fits by name, and the others at the places that are left, in order. */
function filled(
  { owner, names = [] }: ModelClasses, { name, classes }: DataClasses,
  found: readonly (number | undefined)[],
): MatchedClasses {
  const taken = new Set(found);
  const free = names.flatMap((_, at) => (taken.has(at) ? [] : [at]));
  const all = [...names];
  const said: string[] = [];
  const places = classes.map((own, label) => {
    const at = found[label] ?? free.shift() ?? 0;
    if (found[label] === undefined) said.push(`'${printable(own)}' for '${printable(all[at] ?? "")}'`);
    all[at] = own;
    return at;
  });
  const more = said.length > SHOWN ? ` and ${said.length - SHOWN} more` : "";
  return { places, names: all, notes: [
    `classes of ${name} that ${owner} does not have were taken by force: ${said.slice(0, SHOWN).join(", ")}${more}`,
  ] };
}

/** A data set whose labels, those of images that cannot be read too, are the positions of a model's logits. */
export function relabelled(dataset: Dataset, { places, names }: Pick<MatchedClasses, "places" | "names">): Dataset {
  return {
    ...dataset, classes: names,
    read: async (indices) => (await dataset.read(indices)).map((sample) =>
      ({ ...sample, label: places[sample.label] ?? sample.label })),
  };
}

/** The classes of data that several models are evaluated on, each with classes in an order of its own. */
export class EvaluatedClasses {
  readonly #data: Dataset;
  readonly #names: string[];

  constructor(data: Dataset) {
    [this.#data, this.#names] = [data, [...data.classes]];
  }

  /** Those of the data by label, then others that the models so far predict. */
  get names(): readonly string[] {
    return this.#names;
  }

  /**
   * By the position of a model's logit: its class, as the place of its name in `names`. Throws `InputError` where the
   * model's classes do not fit the data's.
   */
  of(model: ModelClasses): { readonly classes: readonly number[]; readonly notes: readonly string[] } {
    const help = "or name the model's classes as the data does with --labels FILE, in the order of the logits";
    const { places, names, notes } = matchClasses(model, this.#data, { help });
    const labels = new Map(places.map((at, label) => [at, label]));
    const others = new Map(this.#names.map((name, i) => [key(name), i]));
    const classes = names.map((name, at) => {
      const known = labels.get(at) ?? others.get(key(name));
      return known ?? this.#names.push(name) - 1;
    });
    return { classes, notes };
  }
}
