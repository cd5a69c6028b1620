/** @file `deitc eval`: a recipe's checkpoint on the recipe's data, or models on any, alone or against each other. */
import { Command, InvalidArgumentError } from "commander";
import {
  examples, named, noteLines, PRECISION, printJsonValue, tokenChoice, wholeNumber, type Finish,
} from "../command.js";
import type { ModelArgument } from "./compare.js";
import { Exit, UsageError, type ExitCode } from "../exit.js";
import { LABELS } from "../labels.js";
import { EMA } from "../model.js";
import { Progress, showSeconds, withLoading, withStatus } from "../progress.js";
import { isRecipe, openRecipe, readArtifact, type ReadArtifact } from "../artifact.js";
import { printable } from "../../../runtime/text.js";
import { withRecipeOptions, type RecipeOptions } from "../recipe.js";
import type { TokenChoice } from "../../inspect/tokens.js";

interface Options extends RecipeOptions {
  readonly ema?: boolean;
  readonly compare?: readonly ModelArgument[];
  readonly limit?: number;
  readonly labels?: string;
  readonly heads?: readonly string[];
  readonly tokens?: TokenChoice | boolean;
  readonly predictions?: string;
  readonly svg?: string;
}

/** Of models only. */
const MODEL_OPTIONS = ["compare", "limit", "labels", "heads", "predictions", "svg", "precision"] as const;
/** Of recipes only. */
const RECIPE_OPTIONS = [["evalData", "--eval-data"], ["weights", "--weights"]] as const;

const NO_IMAGES = ["no images given", "name a folder with one subfolder of images per class: --data DIR"] as const;

export const evalCommand = (finish: Finish): Command =>
  withRecipeOptions(new Command("eval")
    .description(
      "Evaluates a checkpoint: of a recipe's model on the recipe's data, or of any model on a folder of images. " +
      "Compares models and their heads on the same images.",
    )
    .argument("[model]", "FILE.deit, FILE.deit:NAME, or the folder of a compiled recipe or model")
    .argument("[checkpoint]", "a .safetensors, .pth, .pt or .th file, such as runs/NAME/best.safetensors")
    .option(...EMA)
    .option(...PRECISION)
    .option("--compare <[name=]model,checkpoint>", "a model to compare; may be repeated", collectModel)
    .option("--limit <n>", "number of images to use, spread evenly over the data (default: all)", wholeNumber(1))
    .option(...LABELS)
    .option("--heads <list>", "only these heads, such as logits,student.logits_dist", headNames)
    .option("--tokens <paths:row,row>", "tensors whose two tokens are compared, such as 'blocks.*:0,1' " +
      "(default: if each head reads one token, those tokens after every block)", tokenChoice)
    .option("--no-tokens", "do not compare tokens")
    .option("--predictions <file>", "write every image's predicted class as a line of JSON", named("A file's name"))
    .option("--svg <file>", "write the comparison as an SVG drawing", named("A file's name")))
    .addHelpText("after", "\n--data of models: a folder with one subfolder per class, or a data set by its name, " +
      "such as cifar10:FOLDER or shapes:COUNT (generated). --batch is then the number of images at once.")
    .addHelpText("after", examples(
      "deitc eval recipe.deit runs/tiny/best.safetensors",
      "deitc eval models/cifar_resnet.deit:cifar_resnet20 resnet20-12fca82f.th --data cifar/test",
      "deitc eval --data cifar/test --compare teacher=models/cifar_resnet.deit:cifar_resnet20,resnet20-12fca82f.th " +
      "--compare plain=mine.deit:plain,runs/plain/best.safetensors --svg compared.svg",
      "deitc eval --data cifar/test --check-data",
    ))
    .action(async (model: string | undefined, checkpoint: string | undefined, options: Options) => {
      finish(await evaluate(model, checkpoint, options));
    });

/** Option parser, called once a use: `name=FILE.deit:NAME,weights.th`, the name optional. */
function collectModel(text: string, before: readonly ModelArgument[] = []): readonly ModelArgument[] {
  const [, name, model, weights] = /^(?:([\w-]+)=)?(.+),([^,]+)$/s.exec(text) ?? [];
  if (model === undefined || weights === undefined) {
    throw new InvalidArgumentError("Expected MODEL,CHECKPOINT or NAME=MODEL,CHECKPOINT.");
  }
  return [...before, { model, weights, ...(name === undefined ? {} : { name }) }];
}

/** Option parser: names with commas between. */
function headNames(text: string): readonly string[] {
  const names = text.split(",").map((name) => name.trim());
  if (names.includes("")) throw new InvalidArgumentError("Expected names of heads, separated by commas.");
  return names;
}

async function evaluate(
  path: string | undefined, checkpoint: string | undefined, options: Options,
): Promise<ExitCode> {
  if (options.checkData) return checkOnly(path, options);
  const compared = [...options.compare ?? []];
  if (path === undefined && compared.length === 0) throw new UsageError("name a model or a recipe, and a checkpoint");
  if (path !== undefined && checkpoint === undefined) throw new UsageError(`name a checkpoint for ${path}`);
  if (path !== undefined && checkpoint !== undefined) {
    const read = await readArtifact(path, options);
    if (await isRecipe(read)) {
      await evaluateRecipe(path, read, checkpoint, options);
      return Exit.done;
    }
    compared.unshift({ model: path, read, weights: checkpoint });
  }
  const foreign = RECIPE_OPTIONS.find(([name]) => options[name] !== undefined);
  if (foreign) throw new UsageError(`${foreign[1]} is for recipes; a model takes its images from --data`);
  if (options.data === undefined) {
    throw new UsageError(...NO_IMAGES);
  }
  const { tokens, data } = options;
  const { compareModels } = await import("./compare.js");
  // `--no-tokens` is false, and its absence true.
  await compareModels(compared, { ...options, data, tokens: tokens === true ? undefined : tokens });
  return Exit.done;
}

/** Checks the images that would be evaluated on: of a recipe its evaluation data, else those of `--data`. */
async function checkOnly(path: string | undefined, options: Options): Promise<ExitCode> {
  const { data, json } = options;
  const [{ openData, openDataset }, { checkData }] = await Promise.all([
    import("../../../runtime/node/train/datasets.js"), import("../check_data.js"),
  ]);
  const read = path === undefined ? undefined : await readArtifact(path, options);
  if (read !== undefined && await isRecipe(read)) {
    const recipe = await withStatus("compiling", () => openRecipe(read), true);
    const { trainerOptions } = await import("./train.js");
    const { evaluation } = await openData(recipe.definition.manifest, trainerOptions(options, recipe));
    return checkData([evaluation], json);
  }
  if (data === undefined) throw new UsageError(...NO_IMAGES);
  return checkData([await openDataset(data)], json);
}

async function evaluateRecipe(
  path: string, read: ReadArtifact, checkpoint: string, options: Options,
): Promise<void> {
  const foreign = MODEL_OPTIONS.find((name) => options[name] !== undefined);
  if (foreign !== undefined) {
    throw new UsageError(`--${foreign} is for models; ${path} is a recipe`, "name its model as FILE.deit:MODEL");
  }
  const recipe = await withStatus("compiling", () => openRecipe(read), true);
  const [{ Trainer }, { adapterName }, { trainerOptions }] = await Promise.all([
    import("../../../runtime/node/train/trainer.js"), import("../../../runtime/device.js"), import("./train.js"),
  ]);
  const notes: string[] = [];
  const model = recipe.definition.manifest.models.find(({ frozen }) => !frozen)?.name ?? "";
  const trainer = await withLoading("loading", (onProgress, onCheck) => Trainer.open(recipe.definition, {
    ...trainerOptions(options, recipe), out: false, weights: { ...options.weights, [model]: checkpoint },
    ...(options.ema === undefined ? {} : { ema: options.ema }), onNote: (note) => void notes.push(note),
    onProgress, onCheck, evaluateOnly: true,
  }));
  try {
    const start = performance.now();
    const progress = new Progress("evaluating", 1, "");
    const found = await trainer.evaluate({ onBatch: (done, total) => progress.update(done / total) });
    progress.end();
    const seconds = (performance.now() - start) / 1000;
    const adapter = adapterName(trainer.engine.device.info);
    if (options.json) return printJsonValue({ checkpoint, adapter, seconds, ...found });
    process.stdout.write(noteLines(notes));
    const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
    process.stdout.write(
      `${printable(checkpoint)}: ${percent(found.top1)} of ${found.count} images correct, ` +
      `${percent(found.top5)} in the top five, loss ${found.loss.toFixed(4)} (${adapter}, ${showSeconds(seconds)})\n`,
    );
  } finally {
    trainer.destroy();
  }
}
