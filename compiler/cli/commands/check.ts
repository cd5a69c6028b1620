/** @file `deitc check`: reads and checks files without writing anything. */
import { Command } from "commander";
import type { Diagnostic, Paint } from "../../../dsl/diagnostics.js";
import type { Program } from "../../../dsl/program.js";
import type { Loaded } from "../../../dsl/resolve.js";
import { printable } from "../../../runtime/text.js";
import type { ElaboratedRecipe } from "../../train/recipe.js";
import { sizeOf } from "../../ir/dim.js";
import type { Graph } from "../../ir/graph.js";
import { pathParts } from "../artifact.js";
import { paintFor } from "../colour.js";
import { examples, printJsonValue, type Finish } from "../command.js";
import { DiagnosticsError, Exit, reportFault, type ExitCode } from "../exit.js";
import { showCount } from "../table.js";

interface Options {
  readonly target?: string;
  readonly json?: boolean;
}

/**
 * What is found of one declaration: `status` is "base" for one that only others complete, "unchecked" for one that uses
 * something with errors.
 */
interface Checked {
  readonly file: string;
  readonly kind: "block" | "model" | "recipe";
  readonly name: string;
  readonly status: "ok" | "base" | "wrong" | "unchecked";
  /** Trained parameters and their tensors, of models and recipes that are sound. */
  readonly parameters?: number;
  readonly tensors?: number;
  /** What else there is to say of a sound recipe. */
  readonly facts?: readonly string[];
}

/** A file's declarations, and all that is wrong in it. */
interface CheckedFile {
  readonly declarations: readonly Checked[];
  readonly diagnostics: readonly Diagnostic[];
}

export const checkCommand = (finish: Finish): Command =>
  new Command("check")
    .description(
      "Checks .deit files: grammar and names; the shapes and parameter paths of every model; the members, the loss, " +
      "the gradients and the data of every recipe.",
    )
    .argument("<files...>", "FILE.deit, or FILE.deit:NAME to check this model or recipe alone")
    .option("--target <name>", "check this model or recipe alone: NAME, or RECIPE.MODEL")
    .option("--json", "print JSON: the declarations and a list of diagnostics")
    .addHelpText("after", examples(
      "deitc check models/deit_b.deit", "deitc check models/recipe.deit:soft",
      "deitc check --json models/*.deit",
    ))
    .action(async (files: string[], options: Options) => finish(await check(files, options)));

async function check(paths: readonly string[], options: Options): Promise<ExitCode> {
  const [{ diagnosticJson }, { readSources }] = await Promise.all([
    import("../../../dsl/diagnostics.js"), import("../source.js"),
  ]);
  const declarations: Checked[] = [];
  const diagnostics: Diagnostic[] = [];
  for (const path of paths) {
    const { file, target } = pathParts(path, options.target);
    const found = await checkFile(file, await readSources(file), target);
    declarations.push(...found.declarations);
    if (!options.json) {
      const paint = paintFor(process.stdout);
      process.stdout.write(linesOf(found, paint).map((line) => `${printable(file)}: ${line}\n`).join(""));
      if (found.diagnostics.length > 0) {
        if (diagnostics.length > 0) process.stderr.write("\n");
        reportFault(new DiagnosticsError(found.diagnostics));
      }
    }
    diagnostics.push(...found.diagnostics);
  }
  if (options.json) printJsonValue({ declarations, diagnostics: diagnostics.map(diagnosticJson) });
  return diagnostics.length > 0 ? Exit.input : Exit.done;
}

/** Elaborates every model and every recipe that nothing is known to be wrong with yet, or the one named. */
async function checkFile(file: string, read: Loaded, target: string | undefined): Promise<CheckedFile> {
  const [{ Diagnostics }, { targetOf }, { checkModel, checkRecipe, checkMember }] = await Promise.all([
    import("../../../dsl/diagnostics.js"), import("../../artifact.js"), elaborators(),
  ]);
  const all = new Diagnostics();
  all.addAll(read.diagnostics);
  const { sound: program } = read;
  if (program === undefined) return { declarations: [], diagnostics: all.list() };
  const leftOut = read.leftOut.map(({ declaration: { kind, name }, faulty }): Found =>
    ({ kind, name: name.text, status: faulty ? "wrong" : "unchecked", diagnostics: [] }));
  const unsound = (kind: Checked["kind"]): typeof read.leftOut =>
    read.leftOut.filter(({ declaration }) => declaration.kind === kind);
  const wanted = target === undefined ? undefined : targetOf({
    entry: program.entry, models: [...program.models, ...unsound("model")],
    recipes: [...program.recipes, ...unsound("recipe")],
  }, target);
  if (wanted && "code" in wanted) {
    all.add(wanted);
    return { declarations: [], diagnostics: all.list() };
  }
  const isWanted = (kind: Checked["kind"], name: string): boolean =>
    wanted === undefined || (wanted.kind === kind && wanted.name === name);
  const names = (kind: Checked["kind"], list: Program["blocks" | "models" | "recipes"]): string[] =>
    list.map(({ declaration }) => declaration.name.text).filter((name) => isWanted(kind, name));
  const declared = [
    ...names("block", program.blocks).map((name): Found => ({ kind: "block", name, status: "ok", diagnostics: [] })),
    ...names("model", program.models).map((name) => checkModel(program, name)),
    ...names("recipe", program.recipes).map((name) => checkRecipe(program, name)),
    ...leftOut.filter(({ kind, name }) => isWanted(kind, name)),
    ...(wanted?.kind === "member" ? [checkMember(program, wanted.recipe, wanted.name)] : []),
  ];
  for (const { diagnostics } of declared) all.addAll(diagnostics);
  return { declarations: declared.map(({ diagnostics: _, ...rest }) => ({ file, ...rest })), diagnostics: all.list() };
}

type Found = Omit<Checked, "file"> & { readonly diagnostics: readonly Diagnostic[] };

/** What checks a model, a recipe, and a model as a recipe has it. */
interface Elaborators {
  readonly checkModel: (program: Program, name: string) => Found;
  readonly checkRecipe: (program: Program, name: string) => Found;
  readonly checkMember: (program: Program, recipe: string, member: string) => Found;
}

async function elaborators(): Promise<Elaborators> {
  const [{ elaborateModel }, { elaborateMember, elaborateRecipe }, { OPS }] = await Promise.all([
    import("../../elaborate/index.js"), import("../../train/recipe.js"), import("../../ops/index.js"),
  ]);
  return {
    checkModel(program, name) {
      const one = program.models.find(({ declaration }) => declaration.name.text === name)?.declaration;
      // A model with parameters that have no default is a base for others: it is checked where it is extended.
      if (one?.definition?.params.some((param) => param.initial === undefined)) {
        return { kind: "model", name, status: "base", diagnostics: [] };
      }
      const [infer, train] = [false, true].map((training) => elaborateModel(program, name, { training, ops: OPS }));
      const diagnostics = [...infer?.diagnostics ?? [], ...train?.diagnostics ?? []];
      // The same of one that extends such a base without giving all of them a value.
      const lacks = ({ code, span }: Diagnostic): boolean =>
        code === "missing_argument" && span.start === one?.name.span.start && span.source === one.name.span.source;
      if (diagnostics.length > 0 && diagnostics.every(lacks)) {
        return { kind: "model", name, status: "base", diagnostics: [] };
      }
      const graph = infer?.model?.graph;
      return { kind: "model", name, status: graph && train?.model ? "ok" : "wrong", diagnostics,
        ...(graph ? countOf(graph) : {}) };
    },
    checkRecipe(program, name) {
      const { recipe, diagnostics } = elaborateRecipe(program, name, { ops: OPS });
      // Only a recipe that others extend may lack a member, as the front end has seen.
      const isBase = !recipe && diagnostics.length > 0 && diagnostics.every(({ code }) => code === "missing_member");
      if (isBase) return { kind: "recipe", name, status: "base", diagnostics: [] };
      if (!recipe) return { kind: "recipe", name, status: "wrong", diagnostics };
      return { kind: "recipe", name, status: "ok", diagnostics, ...countOf(recipe.training), facts: factsOf(recipe) };
    },
    checkMember(program, recipe, member) {
      const name = `${recipe}.${member}`;
      const isSound = program.recipes.some(({ declaration }) => declaration.name.text === recipe);
      if (!isSound) return { kind: "model", name, status: "unchecked", diagnostics: [] };
      const { model, diagnostics } = elaborateMember(program, recipe, member, { ops: OPS });
      return {
        kind: "model", name, status: model ? "ok" : "wrong", diagnostics, ...(model ? countOf(model.graph) : {}),
      };
    },
  };
}

function countOf(graph: Graph): { readonly parameters: number; readonly tensors: number } {
  const trained = [...graph.parameters.values()].filter((p) => p.trained);
  const parameters = trained.reduce((n, { node }) => n + sizeOf(node.shape).c, 0);
  return { parameters, tensors: trained.length };
}

function factsOf({ instances, settings, classes }: ElaboratedRecipe): readonly string[] {
  const { batch, accumulate, length: { value, unit }, data, optimizer, schedule } = settings;
  return [
    ...instances.map(({ name, model, frozen }) => `${name} ${model}${frozen ? " frozen" : ""}`),
    `batch ${batch}${accumulate === 1 ? "" : ` in ${accumulate} passes`}`,
    `${value} ${value === 1 ? unit.slice(0, -1) : unit}`,
    data.name, optimizer.name, schedule.name, ...(classes === undefined ? [] : [`${classes} classes`]),
  ];
}

/** A line a model and a recipe, one for all blocks. */
function linesOf({ declarations, diagnostics }: CheckedFile, paint: Paint): readonly string[] {
  const isSoundBlock = ({ kind, status }: Checked): boolean => kind === "block" && status === "ok";
  const blocks = declarations.filter(isSoundBlock).map(({ name }) => name);
  const others = declarations.filter((one) => !isSoundBlock(one));
  const lines = others.map((one) => `${one.kind} ${one.name}: ${said(one, paint)}`);
  if (blocks.length > 0) {
    const names = `block${blocks.length === 1 ? "" : "s"} ${blocks.join(", ")}`;
    lines.unshift(`${names}: names ${paint("ok", "OK")}, shapes are checked in the models that call them`);
  }
  return lines.length === 0 && diagnostics.length === 0 ? ["no declarations"] : lines;
}

function said(
  { kind, status, parameters = 0, tensors = 0, facts = [] }: Checked, paint: Paint,
): string {
  if (status === "wrong") return paint("error", "has errors");
  if (status === "unchecked") return "not checked, because something that it uses has errors";
  if (status === "base") return `a base, checked where another ${kind} extends it`;
  const count = `${showCount(parameters)} ${kind === "recipe" ? "trained parameters" : "parameters"} in ` +
    `${tensors} tensor${tensors === 1 ? "" : "s"}`;
  const [first, ...rest] = facts;
  return [paint("ok", "OK"), ...(first === undefined ? [] : [first]), count, ...rest].join(", ");
}
