/** @file `deitc train`: a recipe to a trained model, with a bar, checkpoints, records and a report. */
import { Command } from "commander";
import { redraws } from "../../../runtime/node/last_line.js";
import type { TrainerOptions } from "../../../runtime/node/train/options.js";
import type { Trainer } from "../../../runtime/node/train/trainer.js";
import { jsonText, printableLines } from "../../../runtime/text.js";
import type { TrainingEvent, TrainingOutcome } from "../../../runtime/train/loop.js";
import { amount, examples, noteLines, wholeNumber, type Finish } from "../command.js";
import { CommandError, Exit, type ExitCode } from "../exit.js";
import { showSeconds, withLoading, withStatus } from "../progress.js";
import type { OpenedRecipe } from "../artifact.js";
import { withRecipeOptions, type RecipeOptions } from "../recipe.js";
import { table } from "../table.js";

interface TrainOptions extends RecipeOptions {
  readonly out?: string;
  readonly resume?: string | true;
  readonly force?: boolean;
  readonly allowHeadMismatch?: boolean;
  readonly steps?: number;
  readonly passes?: number;
  readonly logEvery?: number;
  readonly saveEvery?: number;
  readonly keep?: number;
  readonly fallback?: string;
}

export const trainCommand = (finish: Finish): Command =>
  withRecipeOptions(new Command("train")
    .description("Trains a recipe: a .deit file compiled on the fly, or a folder that deitc compile wrote.")
    .argument("<recipe>", "FILE.deit, FILE.deit:NAME, or the folder of a compiled recipe")
    .option("--out <folder>", "where checkpoints, records and the report go (default: runs/<recipe>)")
    .option("--resume [folder]", "resume the run in --out, or from another folder or checkpoint, with the options it " +
      "was started with; `auto` resumes the run in --out if there is one, and starts one otherwise")
    .option("--force", "resume even with another recipe or other data, and in a folder that another host has locked")
    .option("--allow-head-mismatch", "start the classifier anew where --weights or the recipe gives weights whose " +
      "classes have other names than the data's (with another number of classes, it always starts anew)")
    .option("--steps <n>", "optimizer steps of the whole run, in place of the recipe's length; with --resume, it may " +
      "be more than was planned", wholeNumber(1))
    .option("--passes <n>", "minimum number of passes that a step's batch is split into", wholeNumber(1))
    .option("--log-every <n>", "steps between two records (default: about fifty records per epoch)", wholeNumber(1))
    .option("--save-every <seconds>", "time between checkpoints, besides the end of each epoch (default: 600)", amount)
    .option("--keep <n>", "checkpoints to keep (default: 2)", wholeNumber(1))
    .option("--fallback <folder>", "where checkpoints go if --out cannot be written"))
    .addHelpText("after", examples(
      "deitc train recipe.deit",
      "deitc train recipe.deit:hard --data /data/imagenet --weights teacher=regnety_160.safetensors",
      "deitc train recipe.deit --resume",
    ))
    .action(async (recipe: string, options: TrainOptions) => {
      finish(await trainRecipe(recipe, options));
    });

async function trainRecipe(path: string, options: TrainOptions): Promise<ExitCode> {
  const { openTraining, resumeCommand } = await import("../resumption.js");
  const { recipe, selection } = await withStatus("compiling", () => openTraining(path, options), true);
  if (options.checkData) {
    const [{ openData }, { checkData }] = await Promise.all([
      import("../../../runtime/node/train/datasets.js"), import("../check_data.js"),
    ]);
    const { training, evaluation } = await openData(recipe.definition.manifest, trainerOptions(options, recipe));
    return checkData([training, evaluation], options.json);
  }
  const [{ onInterrupt }, { Trainer }] = await Promise.all([
    import("../../../runtime/node/train/interrupt.js"), import("../../../runtime/node/train/trainer.js"),
  ]);
  const stop = new AbortController();
  const notes: string[] = [];
  const trainer = await withLoading("loading", (onProgress, onCheck) => Trainer.open(recipe.definition, {
    ...trainerOptions(options, recipe), selection, onProgress, onCheck, signal: stop.signal,
    onNote: (note) => void notes.push(note),
  }));
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  // On a terminal the line holds what it shows of Ctrl-C.
  const anew = redraws(process.stderr) ? "\r\x1b[K" : "\n";
  // Until there are steps to stop after, a signal ends the process as it ends any other command.
  using interrupt = onInterrupt(({ text, exitCode }) => {
    process.exitCode = exitCode;
    stop.abort();
    const again = text === "Ctrl-C" ? "; press Ctrl-C again to quit immediately" : "";
    say(`${anew}${text}: stopping after this step, then a checkpoint is saved${again}`);
  });
  try {
    if (!options.json) head(trainer, recipe, notes);
    const outcome = options.json ? await printEvents(trainer) : await showEvents(trainer);
    // What nobody reads on standard output goes where somebody may.
    const readable = interrupt.reason?.exitCode === Exit.input ? process.stderr : process.stdout;
    const print = (text: string): void => void readable.write(`${printableLines(text)}\n`);
    if (options.json) print(jsonText(await outcomeOf(trainer, outcome)));
    else print(await summary(trainer, outcome));
    if (outcome.finished) return Exit.done;
    const reason = interrupt.reason;
    if (outcome.checkpoint === undefined) say("nothing was saved: no step was done");
    else if (!options.json) {
      print(`resume with: ${await resumeCommand(path, options, trainer.folder ?? "", outcome.checkpoint)}`);
    }
    if (reason?.exitCode === Exit.input) throw new CommandError(`the run was stopped: ${reason.text}`);
    return reason?.exitCode ?? Exit.bug;
  } finally {
    trainer.destroy();
  }
}

/** The options that are given, under the trainer's names. */
export function trainerOptions(options: TrainOptions, { base }: OpenedRecipe): TrainerOptions {
  const { resume, saveEvery } = options;
  const names = [
    "out", "force", "data", "evalData", "onBadImage", "weights", "adapter", "family", "batch", "passes", "steps",
    "logEvery", "keep", "fallback", "allowHeadMismatch",
  ] as const satisfies readonly (keyof TrainOptions)[];
  const given = Object.fromEntries(
    names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])));
  return {
    ...given, base,
    ...(resume === undefined ? {} : { resume }),
    ...(saveEvery === undefined ? {} : { saveEvery: { seconds: saveEvery } }),
  };
}

function head(trainer: Trainer, { seconds }: OpenedRecipe, notes: readonly string[]): void {
  process.stdout.write(table(trainer.facts.map((row) => [...row])));
  process.stdout.write(`compiled in ${showSeconds(seconds)}\n`);
  process.stdout.write(noteLines(notes));
  if (trainer.engine.device.software) process.stdout.write("note: no GPU is used: the adapter computes on the CPU\n");
  if (trainer.startStep > 0) process.stdout.write(`resuming after step ${trainer.startStep}\n`);
}

/** A bar on a terminal, lines elsewhere. */
async function showEvents(trainer: Trainer): Promise<TrainingOutcome> {
  const { TrainingProgress } = await import("../../../runtime/node/train/progress.js");
  const progress = new TrainingProgress(trainer.plan.steps);
  try {
    return await eachEvent(trainer, (event) => progress.show(event));
  } finally {
    progress.end();
  }
}

/** An event a line, for programs. Steps are left out: their records say more. */
const printEvents = (trainer: Trainer): Promise<TrainingOutcome> =>
  eachEvent(trainer, (event) => {
    if (event.kind !== "step") process.stdout.write(`${jsonText(event)}\n`);
  });

async function eachEvent(trainer: Trainer, take: (event: TrainingEvent) => void): Promise<TrainingOutcome> {
  const course = trainer.run();
  for (;;) {
    const { value, done } = await course.next();
    if (done === true) return value;
    take(value);
  }
}

async function outcomeOf(trainer: Trainer, { records: _, ...outcome }: TrainingOutcome): Promise<object> {
  return { kind: "outcome", folder: trainer.folder, ...outcome, files: await trainer.files(outcome) };
}

/** What there is now. */
export async function summary(trainer: Trainer, outcome: TrainingOutcome): Promise<string> {
  const { showDuration, showNumber } = await import("../../../runtime/node/train/progress.js");
  const { records, best, step, finished } = outcome;
  const last = records.at(-1);
  const files = await trainer.files(outcome);
  const lines: string[] = [];
  const { steps } = trainer.plan;
  if (last !== undefined) {
    lines.push(`${finished ? "trained" : "stopped after"} ${step} of ${steps} steps in ${showDuration(last.seconds)} ` +
      `of training, mean loss ${showNumber(last.loss)}`);
  } else lines.push(finished ? `nothing to do: all ${steps} steps are done` : "stopped before the first step");
  if (best !== undefined) {
    const what = best.weights === "ema" ? "the moving average" : "the weights";
    const { top1, loss, count } = best.evaluation;
    lines.push(`best: ${(100 * top1).toFixed(2)} % of ${count} held-out images (loss ${showNumber(loss)}), ` +
      `${what} after step ${best.step}: ${files.best ?? "its weights were not kept"}`);
  }
  if (files.last !== undefined) lines.push(`last: ${files.last}`);
  if (last !== undefined && files.report !== undefined) lines.push(`report: ${files.report}`);
  return lines.join("\n");
}
