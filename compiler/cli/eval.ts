/** @file `deitc eval`: a checkpoint on the evaluation data of a recipe. */
import { Command } from "commander";
import { examples, printJsonValue, type Finish } from "./command.js";
import { Exit } from "./exit.js";
import { Progress, showSeconds, withStatus } from "./progress.js";
import { openRecipePath, withRecipeOptions, type RecipeOptions } from "./recipe.js";

interface Options extends RecipeOptions {
  readonly ema?: boolean;
}

export const evalCommand = (finish: Finish): Command =>
  withRecipeOptions(new Command("eval")
    .description("Evaluates a checkpoint of a recipe's model on the recipe's evaluation data.")
    .argument("<recipe>", "FILE.deit, FILE.deit:NAME, or the folder of a compiled recipe")
    .argument("<checkpoint>", "a .safetensors, .pth, .pt or .th file, such as runs/NAME/best.safetensors")
    .option("--ema", "take the moving average of the weights that training kept in the checkpoint"))
    .addHelpText("after", examples("deitc eval recipe.deit runs/tiny/best.safetensors"))
    .action(async (recipe: string, checkpoint: string, options: Options) => {
      await evaluate(recipe, checkpoint, options);
      finish(Exit.done);
    });

async function evaluate(path: string, checkpoint: string, options: Options): Promise<void> {
  const recipe = await withStatus("compiling", () => openRecipePath(path, options.target));
  const [{ Trainer }, { adapterName }, { trainerOptions }] = await Promise.all([
    import("../../runtime/node/train/trainer.js"), import("../../runtime/device.js"), import("./train.js"),
  ]);
  const notes: string[] = [];
  const model = recipe.definition.manifest.models.find(({ frozen }) => !frozen)?.name ?? "";
  const trainer = await withStatus("loading", () => Trainer.open(recipe.definition, {
    ...trainerOptions(options, recipe), out: false, weights: { ...options.weights, [model]: checkpoint },
    ...(options.ema === undefined ? {} : { ema: options.ema }), onNote: (note) => void notes.push(note),
  }));
  try {
    const start = performance.now();
    const progress = new Progress("evaluating", 1, "");
    const found = await trainer.evaluate({ onBatch: (done, total) => progress.update(done / total) });
    progress.end();
    const seconds = (performance.now() - start) / 1000;
    const adapter = adapterName(trainer.engine.device.info);
    if (options.json) return printJsonValue({ checkpoint, adapter, seconds, ...found });
    for (const note of notes) process.stdout.write(`note: ${note}\n`);
    const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
    process.stdout.write(
      `${checkpoint}: ${percent(found.top1)} of ${found.count} images right, ${percent(found.top5)} among five, ` +
      `loss ${found.loss.toFixed(4)} (${adapter}, ${showSeconds(seconds)})\n`,
    );
  } finally {
    trainer.destroy();
  }
}
