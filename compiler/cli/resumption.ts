/** @file A training that is resumed from the command line: which recipe it was, and how it is resumed again. */
import { hasCheckpoints } from "../../runtime/node/train/kept.js";
import { outOf, resumedFrom } from "../../runtime/node/train/options.js";
import { stateHeader } from "../../runtime/node/train/resume.js";
import type { RecipeSelection } from "../../runtime/train/run_facts.js";
import {
  openRecipe, readArtifact, targetIn, type OpenedRecipe, type ReadSource, type Selection,
} from "./artifact.js";

/** What of a command line says which run is meant. */
interface RunArguments extends Selection {
  readonly out?: string;
  readonly resume?: string | true;
  readonly fallback?: string;
}

/** A recipe, and what it was compiled with. */
interface OpenedTraining {
  readonly recipe: OpenedRecipe;
  readonly selection: RecipeSelection;
}

/** Compiles the recipe to train; that of a resumed run as it was compiled then, unless the command line says more. */
export async function openTraining(path: string, args: RunArguments): Promise<OpenedTraining> {
  const { set, target, trust } = args;
  const read = await readArtifact(path, { set, target, trust });
  if ("folder" in read) return { recipe: await openRecipe(read), selection: {} };
  const saved = await savedSelection(read, args);
  const selection: RecipeSelection = {
    target: read.selection.target ?? saved?.target,
    set: saved?.set === undefined ? set : { ...saved.set, ...set },
  };
  return { recipe: await openRecipe({ ...read, selection }), selection };
}

/** What the run that is resumed was compiled with, as its newest state says. */
async function savedSelection(
  { program, selection }: ReadSource, { out, resume, fallback }: RunArguments,
): Promise<RecipeSelection | undefined> {
  if (resume === undefined) return undefined;
  // Without --out, a run lies in a folder that has the recipe's name; one that is resumed from elsewhere needs none.
  const isHere = resume === true || resume === "auto";
  const folder = isHere ? out ?? outOf({}, (await targetIn(program, selection.target)).name) : out;
  const from = await resumedFrom({ resume, fallback }, folder);
  return from === undefined ? undefined : (await stateHeader(from))?.run?.options.selection;
}

/** A word of a command line as a shell takes it. */
const quoted = (word: string): string => (/^[\w./:=@%+,-]+$/u.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** The options that a run does not remember: they are about the machine, or are stated anew each time. */
interface ResumedWith extends Pick<Selection, "trust"> {
  readonly adapter?: string;
  readonly family?: string;
}

/**
 * The command that resumes a run; the checkpoint holds the other options, as which folder it falls back to. Where the
 * run's own folder has no checkpoint, the one that has is named.
 * @param checkpoint the newest one
 */
export async function resumeCommand(
  path: string, { adapter, family, trust }: ResumedWith, folder: string, checkpoint: string,
): Promise<string> {
  const machine = [["--adapter", adapter], ["--family", family]]
    .flatMap(([name, value]) => (name === undefined || value === undefined ? [] : [name, value]));
  const trusted = trust === true ? ["--trust"] : [];
  const from = await hasCheckpoints(folder) ? [] : [checkpoint];
  return ["deitc", "train", path, "--out", folder, ...machine, ...trusted, "--resume", ...from].map(quoted).join(" ");
}
