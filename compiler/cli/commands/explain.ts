/** @file `deitc explain`: a name, or everything that the compiler decided about a model or a recipe. */
import { Command, InvalidArgumentError } from "commander";
import type { FamilyName } from "../../../runtime/manifest.js";
import { isTraining } from "../../../runtime/training.js";
import { compileProgram, definitionOf, isFolder, openFolder, pathParts } from "../artifact.js";
import { amount, examples, PRECISION, wholeNumber, withSelection, type Finish } from "../command.js";
import { CommandError, Exit, UsageError } from "../exit.js";
import { GPU_NAMES } from "../../gpus.js";
import { compiledOf, kernelsOf, type Explained, type ExplainOptions } from "../explained.js";
import { families, FAMILY_LIST } from "../model.js";
import { readProgram } from "../source.js";
import { namesFor } from "../../targets/index.js";

export const explainCommand = (finish: Finish): Command =>
  withSelection(new Command("explain")
    .description(
      "Explains a name (an op, an error code, a part of recipes, a kernel family, or a block, model or recipe of the " +
      "library), or a model or recipe of a file: its kernels, what was fused and what was not, its memory.",
    )
    .argument("<what>", "a name, FILE.deit, FILE.deit:NAME, or a compiled folder"))
    .option("--family <list>", `kernel families to show: ${FAMILY_LIST}`, families, namesFor("f32").slice(0, 1))
    .option("--kernel <name>",
      "print the WGSL of kernels whose name or path contains this, or of GRAPH/FAMILY/KERNEL")
    .option("--memory",
      "bytes on the device as a function of the batch B; for a recipe, what the backward pass keeps")
    .option("--parameters",
      "every parameter with its shape; for a recipe, everything that is kept from step to step")
    .option("--svg <folder>",
      "write pictures: graph.svg of the kernels in their modules, and plan-FAMILY.svg of the storage over time")
    .option("--gpu <name>", `the least time of each kernel on ${GPU_NAMES.join(", ")}`, gpuName)
    .option("--peak <n>", "with --gpu: operations a second in TFLOP/s, instead of the GPU's own", amount)
    .option("--bandwidth <n>", "with --gpu: bytes a second in GB/s, instead of the GPU's own", amount)
    .option("--batch <n>", "with --gpu: images at once", wholeNumber(1), 64)
    .option(...PRECISION)
    .option("--json", "print JSON")
    .addHelpText("after", examples(
      "deitc explain gelu", "deitc explain shape_mismatch", "deitc explain adamw", "deitc explain layer_norm",
      "deitc explain models/deit_ti.deit --memory", "deitc explain models/deit_s.deit --gpu h100 --precision f16",
      "deitc explain models/deit_ti.deit --kernel attn.qkv --family scalar,tiled",
      "deitc explain models/shapes.deit --memory", "deitc explain recipe.deit:hard --kernel train/tiled/matmul_head",
    ))
    .action(async (what: string, options: ExplainOptions) => {
      const isName = !/[./\\]/.test(what) && !isFolder(what);
      const text = isName ? (await import("./explain_name.js")).explainName(what) : await explainFile(what, options);
      if (text !== "") process.stdout.write(text);
      finish(Exit.done);
    });

/** Option parser: a GPU that is known. */
function gpuName(text: string): string {
  if (GPU_NAMES.includes(text)) return text;
  throw new InvalidArgumentError(`The GPUs are ${GPU_NAMES.join(", ")}; --peak and --bandwidth describe another.`);
}

async function explainFile(path: string, options: ExplainOptions): Promise<string> {
  const explained = isFolder(path) ? await openFolder(path, options) : await compileFile(path, options);
  if (options.precision !== undefined && isTraining(explained.manifest)) {
    throw new UsageError(`--precision is for inference; ${explained.manifest.name} is a recipe, which trains in f32`,
      "name its model as FILE.deit:RECIPE.MODEL");
  }
  if (options.svg !== undefined) {
    const { writePictures } = await import("../pictures.js");
    await writePictures(options.svg, compiledOf(explained, "--svg"), options.family);
  }
  if (options.kernel !== undefined) return kernelTexts(explained, options.kernel, options.family);
  if (options.gpu !== undefined) return (await import("./explain_floor.js")).explainFloor(explained, options);
  if (isTraining(explained.manifest)) {
    const { explainRecipe } = await import("./explain_recipe.js");
    return explainRecipe(explained, explained.manifest, options);
  }
  const { explainModel } = await import("./explain_model.js");
  return explainModel(explained, options);
}

async function compileFile(path: string, options: ExplainOptions): Promise<Explained> {
  const { file, target } = pathParts(path, options.target);
  const program = await readProgram(file);
  const precisions = options.precision === undefined ? [] : [options.precision];
  const compiled = await compileProgram(
    program, target === undefined ? options : { ...options, target }, { precisions });
  const { lossText } = await import("./explain_recipe.js");
  return { ...definitionOf(compiled), compiled, loss: lossText(program, compiled.manifest.name) };
}

/** The texts of the kernels that are meant: one by its whole name, else all with a part of their name or of a path. */
async function kernelTexts(
  { manifest, wgsl }: Explained, part: string, names: readonly FamilyName[],
): Promise<string> {
  const all = kernelsOf(manifest);
  const exact = all.filter(({ id }) => id === part);
  const found = exact.length > 0 ? exact : all.filter(({ family, id, paths }) =>
    names.includes(family) && [id, ...paths].some((text) => text.includes(part)));
  if (found.length === 0) {
    throw new CommandError(`no kernel has \`${part}\` in its name or path`, "`deitc explain FILE` lists the kernels");
  }
  const texts = await Promise.all(found.map(async ({ graph, family, name, id }) =>
    `// kernels/${id}.wgsl\n${await wgsl(graph, family, name)}`));
  return texts.join("\n");
}
