/** @file `deitc explain`: an op, an error code, or everything the compiler decided about a model or a recipe. */
import type { ExplainOptions } from "./explain_options.js";
import { Command } from "commander";
import type { FamilyName, Manifest, Size } from "../../../runtime/manifest.js";
import { pathOf } from "../../fuse/fusion.js";
import type { OpRecord } from "../../ir/op.js";
import type { Compiled } from "../../pipeline.js";
import type { Program } from "../../../dsl/program.js";
import { examples, printJsonValue, type Finish } from "../command.js";
import { CommandError, Exit } from "../exit.js";
import { families, stepCounts } from "../model.js";
import { showAffine, showBytes, table } from "../table.js";
import { familyNamed } from "../../../runtime/families.js";
import { parameterBytes } from "../../../runtime/memory.js";

/** What of a model or recipe is shown. */
export const explainCommand = (finish: Finish): Command =>
  new Command("explain")
    .description(
      "Explains an op, an error code, a model or a recipe: its kernels, what was fused and what was not, its memory.",
    )
    .argument("<what>", "an op's name, an error code, or FILE.deit or FILE.deit:NAME (its recipe, where it has one)")
    .option("--target <name>", "the model or recipe to explain, if the file has several")
    .option("--family <list>", "kernel families to show: scalar,wide,tiled", families, ["tiled"])
    .option("--kernel <name>",
      "print the WGSL of kernels whose name or path contains this; for a recipe, GRAPH/FAMILY/KERNEL")
    .option("--memory",
      "bytes on the device as a function of the batch B; for a recipe, what the backward pass keeps")
    .option("--parameters",
      "every parameter with its shape; for a recipe, everything that is kept from step to step")
    .option("--svg <folder>",
      "write pictures: graph.svg of the kernels in their modules, and plan-FAMILY.svg of the storage over time")
    .option("--json", "print JSON")
    .addHelpText("after", examples(
      "deitc explain gelu", "deitc explain shape_mismatch", "deitc explain models/deit_ti.deit --memory",
      "deitc explain models/deit_ti.deit --kernel attn.qkv --family scalar,tiled",
      "deitc explain models/shapes.deit --memory", "deitc explain recipe.deit:hard --kernel train/tiled/matmul_head",
    ))
    .action(async (what: string, options: ExplainOptions) => {
      const text = (await explainName(what)) ?? (await explainFile(what, options));
      if (text !== "") process.stdout.write(text);
      finish(Exit.done);
    });

/** Text of an op or an error code; undefined for what can only be a file. */
async function explainName(what: string): Promise<string | undefined> {
  if (/[./\\]/.test(what)) return undefined;
  const [{ OPS }, { FUNCTIONS }, { isCode, messages }, { suggest }] = await Promise.all([
    import("../../ops/index.js"), import("../../elaborate/index.js"),
    import("../../../dsl/messages.js"), import("../../../dsl/suggest.js"),
  ]);
  const op = OPS.get(what);
  if (op) return explainOp(op);
  const builtin = FUNCTIONS.get(what);
  if (builtin) return `${builtin.name}${builtin.signature}\n\nComputed while the model is compiled.\n`;
  if (isCode(what)) return `error[${what}]\n\n${messages[what].explain}\n`;
  const near = suggest(
    what, [...OPS.keys(), ...FUNCTIONS.keys(), ...Object.keys(messages)], "ops, functions and codes",
  );
  throw new CommandError(`\`${what}\` is not an operation, an error code or a .deit file`, near);
}

function explainOp(op: OpRecord): string {
  const gradients = new Map<unknown, string>([["none", "none"], ["expand", "from its expansion"]]);
  const gradient = gradients.get(op.gradient) ?? "its own rule";
  const computed = op.scalar ?? op.evaluate ?? op.fold;
  const meaning = op.expand ? "defined by simpler ops" : computed ? "a reference in TypeScript" : "given by its kind";
  const operands = ["a", "b", "c"].slice(0, Math.max(1, op.samples[0]?.inputs.length ?? 1));
  const wgsl = op.wgsl?.(...operands);
  const rows = [
    ["kind", op.kind], ["meaning", meaning], ["gradient", gradient], ...(wgsl === undefined ? [] : [["WGSL", wgsl]]),
    ...(op.internal ? [["", "created by the compiler; not callable from .deit files"]] : []),
  ];
  return `${op.name}${op.signature}\n\n${op.doc}\n\n${table(rows)}`;
}

/** A recipe is meant where it is named, or where the file has but one; else a model. */
const isRecipe = ({ models, recipes }: Program, target: string | undefined): boolean =>
  (target === undefined ? recipes.length === 1 || (models.length === 0 && recipes.length > 0)
    : recipes.some(({ declaration }) => declaration.name.text === target));

async function explainFile(path: string, options: ExplainOptions): Promise<string> {
  const [{ compileProgram, readProgram, refuse }, { recipeParts }] = await Promise.all([
    import("../source.js"), import("../recipe.js"),
  ]);
  const { file, target } = recipeParts(path, options.target);
  const program = await readProgram(file);
  if (isRecipe(program, target)) {
    const { explainRecipe } = await import("./explain_recipe.js");
    return explainRecipe(program, target, options);
  }
  const known = [...program.recipes, ...program.models].map(({ declaration }) => declaration.name.text);
  if (target !== undefined && !known.includes(target)) {
    const { diagnose } = await import("../../../dsl/diagnostics.js");
    const start = { source: program.entry, start: 0, end: 0 };
    refuse([diagnose("unknown_target", { name: target, path: program.entry.path, known }, start)]);
  }
  const { compileModel } = await import("../../pipeline.js");
  return explainModel(compileProgram(program, target, {}, compileModel), options);
}

async function explainModel(compiled: Compiled, options: ExplainOptions): Promise<string> {
  if (options.svg !== undefined) await draw(options.svg, compiled, options.family);
  if (options.json) {
    printJsonValue(forJson(compiled));
    return "";
  }
  if (options.kernel !== undefined) return kernelText(compiled, options.kernel, options.family);
  if (options.memory) return options.family.map((name) => memoryText(compiled.manifest, name)).join("\n");
  if (options.parameters) return parametersText(compiled.manifest);
  const { summaryText } = await import("../summary.js");
  return summaryText(compiled, options.family);
}

async function draw(folder: string, compiled: Compiled, names: readonly FamilyName[]): Promise<void> {
  const [{ writeFileSync }, { join }, { drawGraph }, { drawPlan }, { makeFolder }] = await Promise.all([
    import("node:fs"), import("node:path"), import("../../inspect/picture.js"), import("../../inspect/storage.js"),
    import("../folder.js"),
  ]);
  makeFolder(folder);
  const pictured = { ...compiled, name: compiled.manifest.name, images: 1 };
  writeFileSync(join(folder, "graph.svg"), drawGraph(pictured, names[0] ?? "tiled"));
  for (const name of names) writeFileSync(join(folder, `plan-${name}.svg`), drawPlan(compiled, name));
}

function kernelText({ manifest, wgsl }: Compiled, part: string, names: readonly FamilyName[]): string {
  const texts = names.flatMap((name) => {
    const family = familyNamed(manifest, name);
    const steps = [...family.programs.prepare, ...family.programs.run];
    const wanted = family.kernels.filter((kernel, i) =>
      kernel.name.includes(part) || steps.some((step) => step.kernel === i && step.path.includes(part)));
    return wanted.map(
      (kernel) => `// kernels/${name}/${kernel.name}.wgsl\n${wgsl.get(`${name}/${kernel.name}`) ?? ""}`
    );
  });
  if (texts.length > 0) return texts.join("\n");
  throw new CommandError(`no kernel has \`${part}\` in its name or path`, "`deitc explain FILE` lists the kernels");
}

const add = (sizes: readonly Size[]): Size => sizes.reduce((x, y) => ({ b: x.b + y.b, c: x.c + y.c }), { b: 0, c: 0 });

/** Bytes by kind, affine in B, and at a few batches. */
function memoryText(manifest: Manifest, name: FamilyName): string {
  const family = familyNamed(manifest, name);
  const slots = (kind: "activation" | "derived"): Size =>
    add(family.slots.filter((s) => s.kind === kind).map((s) => s.bytes));
  const bytes = (shape: readonly Size[]): Size =>
    shape.reduce((n, d) => ({ b: n.b * d.c + n.c * d.b, c: n.c * d.c }), { b: 0, c: 4 });
  const parameters = { b: 0, c: manifest.parameters.reduce((n, p) => n + parameterBytes(p), 0) };
  const rows: [string, Size][] = [
    ["parameters", parameters], ["derived from parameters", slots("derived")], ["activations", slots("activation")],
    ["inputs", add(manifest.inputs.map((t) => bytes(t.shape)))],
    ["outputs", add(manifest.outputs.map((t) => bytes(t.shape)))],
  ];
  rows.push(["peak", add(rows.map(([, size]) => size))]);
  const at = [1, 8, 64];
  const cells = rows.map(
    ([label, size]) => [label, showAffine(size), ...at.map((batch) => showBytes(size.b * batch + size.c))],
  );
  const used = family.slots.reduce((n, slot) => n + slot.tensors.length, 0);
  return `${manifest.name}, ${name}: ${used} tensors share ${family.slots.length} slots\n` +
    table([["", "bytes", ...at.map((batch) => `B = ${batch}`)], ...cells], [1, 2, 3, 4]);
}

function parametersText({ parameters }: Manifest): string {
  return table(parameters.map((p) => {
    const kind = p.trained ? (p.decay ? "" : "no decay") : "buffer";
    return [p.path, `[${p.shape.join(", ")}]`, p.initializer.kind, kind];
  }));
}

function forJson({ manifest, fusion, firings }: Compiled): unknown {
  return {
    model: manifest.name, inputs: manifest.inputs, outputs: manifest.outputs, parameters: manifest.parameters,
    kernels: fusion.kernels.map(
      (kernel) => ({ kind: kernel.kind, path: pathOf(kernel), ops: kernel.members.map((node) => node.op) }),
    ),
    stored: fusion.refusals.map(({ node, reason }) => ({ op: node.op, path: node.origin.path, reason })),
    rules: Object.fromEntries(firings), steps: stepCounts(manifest),
  };
}

