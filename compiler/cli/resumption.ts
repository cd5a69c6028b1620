/** @file A training that is resumed from the command line: which recipe it was, and how it is resumed again. */
import { hasCheckpoints } from "../../runtime/node/train/kept.js";
import { outOf, resumedFrom } from "../../runtime/node/train/options.js";
import { stateHeader } from "../../runtime/node/train/resume.js";
import type { RecipeSelection } from "../../runtime/train/run_facts.js";
import { isFolder, openRecipe, pathParts, type OpenedRecipe, type Selection } from "./artifact.js";

/** What of a command line says which run is meant. */
interface RunArguments extends Selection {
  readonly out?: string;
  readonly resume?: string | true;
}

/** A recipe, and what it was compiled with. */
interface OpenedTraining {
  readonly recipe: OpenedRecipe;
  readonly selection: RecipeSelection;
}

/** What the run that is resumed was compiled with, where it is known yet. @param recipe its name */
async function savedSelection(args: RunArguments, recipe: string | undefined): Promise<RecipeSelection | undefined> {
  const { out, resume } = args;
  if (resume === undefined || (recipe === undefined && out === undefined && (resume === true || resume === "auto"))) {
    return undefined;
  }
  const folder = outOf(out === undefined ? {} : { out }, recipe ?? "");
  const from = await resumedFrom({ resume }, folder);
  if (from === undefined || (from === folder && !await hasCheckpoints(from))) return undefined;
  return (await stateHeader(from))?.run?.options.selection;
}

/** Compiles the recipe to train; that of a resumed run as it was compiled then, unless the command line says more. */
export async function openTraining(path: string, args: RunArguments): Promise<OpenedTraining> {
  const { set, target } = args;
  const own: RecipeSelection = { ...(target === undefined ? {} : { target }), ...(set === undefined ? {} : { set }) };
  if (isFolder(path)) return { recipe: await openRecipe(path, own), selection: own };
  const { target: named } = pathParts(path, target);
  const merged = (saved: RecipeSelection | undefined): RecipeSelection =>
    ({ ...saved, ...own, ...(named === undefined ? {} : { target: named }) });
  const early = await savedSelection(args, undefined);
  const recipe = await openRecipe(path, merged(early));
  if (early !== undefined || set !== undefined) return { recipe, selection: merged(early) };
  // A run without --out lies in a folder that has the recipe's name.
  const late = await savedSelection(args, recipe.definition.manifest.name);
  if (late?.set === undefined) return { recipe, selection: merged(late) };
  return { recipe: await openRecipe(path, merged(late)), selection: merged(late) };
}

/** A word of a command line as a shell takes it. */
const quoted = (word: string): string => (/^[\w./:=@%+,-]+$/u.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/**
 * The command that resumes a run; the checkpoint holds the other options, as which folder it falls back to. Where the
 * run's own folder has no checkpoint, the one that has is named.
 * @param checkpoint the newest one
 */
export async function resumeCommand(
  path: string, { adapter, family }: { readonly adapter?: string; readonly family?: string }, folder: string,
  checkpoint: string,
): Promise<string> {
  const machine = [["--adapter", adapter], ["--family", family]]
    .flatMap(([name, value]) => (name === undefined || value === undefined ? [] : [name, value]));
  const from = await hasCheckpoints(folder) ? [] : [checkpoint];
  return ["deitc", "train", path, "--out", folder, ...machine, "--resume", ...from].map(quoted).join(" ");
}
