/**
 * @file Elaboration: a resolved program to the forward graph of one of its models, with the batch symbolic.
 */
import type * as ast from "../../dsl/ast.js";
import { diagnose, type Diagnostic } from "../../dsl/diagnostics.js";
import type { Declared, Program } from "../../dsl/program.js";
import type { Graph, Node, Parameter } from "../ir/graph.js";
import type { OpRecord } from "../ir/op.js";
import type { Manifest, Preprocess } from "../../runtime/manifest.js";
import { classNamesOf } from "./class_names.js";
import { evaluate } from "./evaluate.js";
import { Session, type BlockInstance } from "./frame.js";
import { FUNCTIONS as COMPILE_TIME } from "./functions.js";
import { instantiate, type Instance } from "./instantiate.js";
import { LimitReached } from "./limits.js";
import { LIST_OPS } from "./list_ops.js";
import { preprocessOf } from "./preprocess.js";
import { fromPlain, type Plain, type Value } from "./values.js";

export { builtins } from "./call.js";
export type { BlockInstance } from "./frame.js";
export type { Plain, Value } from "./values.js";

/** A built-in that is no op: what `explain` says of it. */
export interface BuiltinFunction {
  readonly name: string;
  readonly signature: string;
  readonly doc: string;
}

/** Compile-time functions, initializers and calls that give lists of tensors, by name. */
export const FUNCTIONS: ReadonlyMap<string, BuiltinFunction> =
  new Map<string, BuiltinFunction>([...COMPILE_TIME, ...LIST_OPS]);

/** A model as a graph, with what the manifest and `explain` say of it. */
export interface ElaboratedModel {
  readonly name: string;
  readonly doc: string;
  readonly graph: Graph;
  /** Every header parameter with its value after overrides, in order. */
  readonly header: ReadonlyMap<string, Value>;
  /** Types of inputs and expressions of outputs as the text writes them, by name. */
  readonly inputDocs: ReadonlyMap<string, string>;
  readonly outputDocs: ReadonlyMap<string, string>;
  /** How an image becomes the first input, where the header says so. */
  readonly preprocess?: Preprocess;
  /** What its classes are called, where the header says so. */
  readonly classNames?: Manifest["classNames"];
  /** Every call of a block, in the order they end. */
  readonly instances: readonly BlockInstance[];
}

/** Values of header parameters by name, as JSON has them. */
export type Overrides = Readonly<Record<string, Plain>>;

export interface ElaborateOptions {
  /** The value of `training`: the train graph, or the infer graph. */
  readonly training: boolean;
  /** Values of header parameters, stronger than the text's. */
  readonly overrides?: Overrides;
  readonly ops: ReadonlyMap<string, OpRecord>;
}

export interface Elaboration {
  /** Absent when there is a diagnostic. */
  readonly model?: ElaboratedModel;
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Elaborates the model `target` of the entry file, or its only one. Mistakes are diagnostics, by position; nothing
 * throws but bugs of ours.
 */
export function elaborateModel(program: Program, target: string | undefined, options: ElaborateOptions): Elaboration {
  const chosen = choose(program, target);
  if ("code" in chosen) return { diagnostics: [chosen] };
  const session = new Session(options.ops, evaluate);
  const instance = withinLimits(() => instantiate(session, {
    model: chosen, values: valuesOf(options.overrides), path: "", training: options.training, frozen: false,
  }));
  return elaborationOf(session, chosen.declaration, instance);
}

/** Values of header parameters as the language has them. */
export const valuesOf = (overrides: Overrides = {}): ReadonlyMap<string, Value> =>
  new Map(Object.entries(overrides).map(([name, plain]) => [name, fromPlain(plain)]));

/** What a run of a model in a session of its own has come to. */
export function elaborationOf(session: Session, declaration: ast.Model, instance: Instance | undefined): Elaboration {
  const preprocess = instance && preprocessOf(instance.frame, instance.header);
  const classNames = instance && classNamesOf(instance);
  const { diagnostics } = session;
  if (diagnostics.length > 0 || !instance) return { diagnostics };
  const { header, outputs, frame } = instance;
  const model: ElaboratedModel = {
    name: declaration.name.text, doc: declaration.doc, graph: graphOf(session, outputs), header,
    instances: session.instances, inputDocs: frame.inputDocs, outputDocs: frame.outputDocs,
    ...(preprocess ? { preprocess } : {}), ...(classNames ? { classNames } : {}),
  };
  return { model, diagnostics };
}

/** Runs `f`, which may end early once a limit is reached; that has been reported. */
export function withinLimits<T>(f: () => T): T | undefined {
  try {
    return f();
  } catch (error) {
    if (error instanceof LimitReached) return undefined;
    throw error;
  }
}

/** The graph a session built, with these outputs. */
export function graphOf(session: Session, outputs: ReadonlyMap<string, Value>): Graph {
  const roots = new Map<string, Node>();
  for (const [name, value] of outputs) if (value.kind === "tensor") roots.set(name, value.node);
  const parameters = new Map([...session.parameters].map(([path, d]): [string, Parameter] => [path, d.parameter]));
  return { inputs: session.inputs, parameters, outputs: roots, updates: session.updates };
}

function choose(program: Program, target: string | undefined): Declared<ast.Model> | Diagnostic {
  const { path } = program.entry;
  const start = { source: program.entry, start: 0, end: 0 };
  const known = program.models.map((m) => m.declaration.name.text);
  const [only, more] = program.models;
  if (target === undefined) return only && !more ? only : diagnose("ambiguous_target", { path, known }, start);
  const named = program.models.find((m) => m.declaration.name.text === target);
  return named ?? diagnose("unknown_target", { name: target, path, known }, start);
}
