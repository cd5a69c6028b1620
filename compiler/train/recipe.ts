/**
 * @file Elaboration of a recipe: its settings, its models, its loss as a graph, and the graph it is evaluated by.
 */
import type * as ast from "../../dsl/ast.js";
import { diagnose, type Diagnostic } from "../../dsl/diagnostics.js";
import { isCode } from "../../dsl/messages.js";
import type { Declared, Program } from "../../dsl/program.js";
import { membersOf, type RecipeMember } from "../../dsl/recipe.js";
import { checkData } from "./data.js";
import { differentiate } from "./differentiate.js";
import { evaluate } from "../elaborate/evaluate.js";
import { Session } from "../elaborate/frame.js";
import {
  elaborationOf, graphOf, valuesOf, withinLimits, type ElaboratedModel, type Elaboration, type Overrides,
} from "../elaborate/index.js";
import type { Instance } from "../elaborate/instantiate.js";
import { topological, type Graph, type Node, type Parameter } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import type { OpRecord } from "../ir/op.js";
import { evaluated, membersOfRecipe, predictionOf, preparationOf, recorded, tensorsOf, type Member,
  type RecipeInstance } from "./instances.js";
import { lossOf } from "./loss.js";
import { RecipeValues } from "./members.js";
import type { Optimizer } from "./optimizer.js";
import { adapterFor, normalizationOf } from "./preparation.js";
import { settingsOf } from "./readings.js";
import type { RecipeSettings } from "./settings.js";

/** A recipe, checked: nothing in it can fail any more but the data, the weights and the device. */
export interface ElaboratedRecipe {
  readonly name: string;
  readonly doc: string;
  readonly settings: RecipeSettings;
  readonly optimizer: Optimizer;
  /** In order; the first that is not frozen is the one evaluated. */
  readonly instances: readonly RecipeInstance[];
  /** Length of the prediction's last axis where that is [B, C]; such a recipe has accuracies. */
  readonly classes?: number;
  /** Inputs: the loss's parameters. Output: `loss`. Updates: buffers of the trained models. */
  readonly training: Graph;
  /** Outputs of the evaluated model where the loss first calls it. */
  readonly predictions: ReadonlyMap<string, Node>;
  /** The evaluated model as for inference. */
  readonly model: ElaboratedModel;
}

/** What a recipe is elaborated with. */
export interface RecipeOptions {
  readonly ops: ReadonlyMap<string, OpRecord>;
  /** Names of tensors that a program of its own brings to the loss besides images, labels and targets. */
  readonly others?: readonly string[];
  /** Values of header parameters of the model that is evaluated, stronger than the text's. */
  readonly overrides?: Overrides;
}

/** A recipe, absent when there is a diagnostic. */
export interface RecipeElaboration {
  readonly recipe?: ElaboratedRecipe;
  readonly diagnostics: readonly Diagnostic[];
}

/** Elaborates the recipe `target` of the entry file, or its only one. Nothing throws but bugs of ours. */
export function elaborateRecipe(
  program: Program, target: string | undefined, options: RecipeOptions,
): RecipeElaboration {
  const chosen = choose(program, target);
  if ("code" in chosen) return { diagnostics: [chosen] };
  const [training, evaluation] = [new Session(options.ops, evaluate), new Session(options.ops, evaluate)];
  const made = withinLimits(() => build(chosen, training, evaluation, options));
  const found = [training, evaluation].flatMap((session) => session.diagnostics);
  const diagnostics = found.filter((d, i) => found.findIndex((e) => sameFault(d, e)) === i);
  return made && diagnostics.length === 0 ? { recipe: made, diagnostics } : { diagnostics };
}

/**
 * One model of a recipe by itself, as for inference: under its own paths, so that its checkpoints load.
 * @param member its name in the recipe; the model that is evaluated unless given
 */
export function elaborateMember(
  program: Program, target: string | undefined, member: string | undefined, options: RecipeOptions,
): Elaboration {
  const chosen = choose(program, target);
  if ("code" in chosen) return { diagnostics: [chosen] };
  const session = new Session(options.ops, evaluate);
  const all = membersOf(chosen);
  const values = valuesOf(options.overrides);
  const members = membersOfRecipe(all, new RecipeValues(session, chosen.declaration, all));
  const one = members.find(({ name, frozen }) => (member === undefined ? !frozen : name === member));
  if (!one) {
    const { path } = program.entry;
    const of = (one: string): string => `${chosen.declaration.name.text}.${one}`;
    const [name, known] = [of(member ?? "student"), members.map((other) => of(other.name))];
    if (session.diagnostics.length > 0) return { diagnostics: session.diagnostics };
    return { diagnostics: [diagnose("unknown_target", { name, path, known }, chosen.declaration.name.span)] };
  }
  const instance = withinLimits(() => evaluated(session, { ...one, values, path: "", frozen: false }));
  return elaborationOf(session, one.model.declaration, instance);
}

/** The training graph and the evaluation graph find the same mistakes of a model. */
const sameFault = (x: Diagnostic, y: Diagnostic): boolean =>
  x.code === y.code && x.message === y.message && x.span.source === y.span.source && x.span.start === y.span.start;

function choose(program: Program, target: string | undefined): Declared<ast.Recipe> | Diagnostic {
  const { path } = program.entry;
  const start = { source: program.entry, start: 0, end: 0 };
  const known = program.recipes.map((r) => r.declaration.name.text);
  const [only, more] = program.recipes;
  if (target === undefined) return only && !more ? only : diagnose("ambiguous_target", { path, known }, start);
  const named = program.recipes.find((r) => r.declaration.name.text === target);
  return named ?? diagnose("unknown_target", { name: target, path, known }, start);
}

/** One recipe on its way: everything the checks look at. */
interface Draft {
  readonly recipe: ast.Recipe;
  readonly all: ReadonlyMap<string, RecipeMember>;
  readonly values: RecipeValues;
  readonly session: Session;
}

function build(
  chosen: Declared<ast.Recipe>, session: Session, other: Session, { others = [], overrides }: RecipeOptions,
): ElaboratedRecipe | undefined {
  const recipe = chosen.declaration;
  const all = membersOf(chosen);
  const values = new RecipeValues(session, recipe, all);
  const draft: Draft = { recipe, all, values, session };
  const lacks = (member: string, example: string): void => session.report(
    diagnose("missing_member", { recipe: recipe.name.text, member, example }, recipe.name.span));
  const read = settingsOf(values, lacks);
  const members = membersOfRecipe(all, values, valuesOf(overrides));
  const student = members.find((member) => !member.frozen);
  const loss = all.get("loss");
  if (!student) lacks("student", "student: NAME_OF_A_MODEL");
  if (!loss) lacks("loss", "loss(images: [B, 3, H, W], labels: i32[B]) { … }");
  const model = student && evaluated(other, student);
  if (!read || !student || !loss || !model || other.diagnostics.length > 0) return undefined;
  const forward = forwardOf(draft, members, student, loss, model, other.inputs);
  const { model: evaluation } = elaborationOf(other, student.model.declaration, model);
  if (!forward || !evaluation) return undefined;
  checkData({
    values, loss, inputs: forward.graph.inputs, student: student.span, modelInputs: other.inputs,
    preprocess: preparationOf(model), classes: forward.classes, others,
  });
  return {
    name: recipe.name.text, doc: recipe.doc, settings: read.settings, optimizer: read.optimizer,
    instances: members.map((member) => describeInstance(member, member === student ? model : undefined)),
    training: undecayed(draft, forward.graph, read.settings.noWeightDecay),
    predictions: forward.predictions, model: evaluation,
    ...(forward.classes === undefined ? {} : { classes: forward.classes }),
  };
}

function describeInstance(member: Member, run: Instance | undefined): RecipeInstance {
  const { name, model, frozen, path, weights } = member;
  const preprocess = run && preparationOf(run);
  return {
    name, model: model.declaration.name.text, doc: model.declaration.doc, frozen, path,
    ...(weights === undefined ? {} : { weights }), ...(preprocess ? { preprocess } : {}),
  };
}

interface Forward {
  readonly graph: Graph;
  readonly predictions: ReadonlyMap<string, Node>;
  readonly classes: number | undefined;
}

function forwardOf(draft: Draft, members: readonly Member[], student: Member, loss: RecipeMember, model: Instance,
  inputs: ReadonlyMap<string, Node>): Forward | undefined {
  const { session, values } = draft;
  const known = predictionOf(tensorsOf(model.outputs));
  const classes = classesOf(known);
  const runs = new Map(members.map((m): [string, ReadonlyMap<string, Node>[]] => [m.name, []]));
  const [images] = loss.member.kind === "function" ? loss.member.params : [];
  const data = normalizationOf(values.calls.get("augment") ?? [], preparationOf(model));
  const instances = new Map(members.map((m) => {
    const adapt = m.frozen && images ? adapterFor(session, m, images.name.text, data) : undefined;
    return [m.name, recorded(session, m, runs.get(m.name) ?? [], adapt)] as const;
  }));
  const node = lossOf({ member: loss, values, instances, inputs, classes });
  if (!node || session.diagnostics.length > 0) return undefined;
  for (const member of members) checkCalled(draft, member, runs.get(member.name)?.length ?? 0);
  if (session.diagnostics.length > 0) return undefined;
  const graph: Graph = { ...graphOf(session, new Map()), outputs: new Map([["loss", node]]) };
  checkReached(draft, graph, node, members, runs);
  return { graph, classes, predictions: runs.get(student.name)?.[0] ?? new Map<string, Node>() };
}

/** C of a prediction [B, C]. */
function classesOf(prediction: Node | undefined): number | undefined {
  const [batch, last, more] = prediction?.shape ?? [];
  return prediction?.dtype === "f32" && batch?.b === 1 && batch.c === 0 && last?.b === 0 && !more ? last.c : undefined;
}

function checkCalled({ session, all }: Draft, { name, span }: Member, calls: number): void {
  if (calls === 0) session.report(diagnose("unused_constant", { name, known: [...all.keys()] }, span));
}

/** Every trained parameter has a gradient; the first of each model that has none is reported. */
function checkReached({ session, all, recipe }: Draft, graph: Graph, loss: Node, members: readonly Member[],
  runs: ReadonlyMap<string, readonly ReadonlyMap<string, Node>[]>): void {
  const trained = [...graph.parameters.values()].filter((p) => p.trained);
  const { unreached, faults } = differentiate(session.builder, loss, trained.map((p) => p.node));
  for (const { node, fault: { fault, text, help } } of faults) {
    invariant(isCode(fault), `\`${fault}\` is in the catalogue of messages`);
    const span = node.origin.span ?? recipe.name.span;
    session.report({ code: fault, message: text, span, notes: [], chain: [], help });
  }
  if (faults.length > 0) return;
  const lost = trained.find((p) => unreached.includes(p.node));
  if (!lost) return;
  const outputs = members.flatMap((member) => (runs.get(member.name) ?? []).flatMap((run) =>
    [...run].map(([output, node]) => ({ instance: member.name, output, node }))));
  // The output that depends on the fewest operations is the one that is nearest to the parameter.
  const using = outputs.filter(({ node }) => topological([node]).includes(lost.node))
    .sort((x, y) => topological([x.node]).length - topological([y.node]).length)[0];
  const span = all.get("loss")?.member.name.span ?? recipe.name.span;
  const values = { path: lost.path, ...(using ? { instance: using.instance, output: using.output } : {}) };
  session.report(diagnose("no_gradient", values, span));
}

/** The graph with the parameters that the recipe leaves out of weight decay. */
function undecayed({ session, values }: Draft, graph: Graph, ends: readonly string[]): Graph {
  const paths = [...graph.parameters.values()].filter((p) => p.trained).map((p) => p.path);
  const matches = (path: string, end: string): boolean => path === end || path.endsWith(`.${end}`);
  const unknown = ends.find((end) => !paths.some((path) => matches(path, end)));
  if (unknown !== undefined) {
    const names = "ends of paths";
    const known = paths.map((path) => path.split(".").pop() ?? path);
    const text = `no trained parameter ends in \`${unknown}\``;
    session.report(diagnose("unknown_name", { name: unknown, known: new Set(known), text, names },
      values.span("no_weight_decay")));
  }
  const parameters = new Map([...graph.parameters].map(([path, p]): [string, Parameter] =>
    [path, ends.some((end) => matches(path, end)) ? { ...p, decay: false } : p]));
  return { ...graph, parameters };
}
