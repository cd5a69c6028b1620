/**
 * @file The models of a recipe: what is trained, what is frozen, and the runs of each.
 */
import type * as ast from "../../dsl/ast.js";
import type { Declared } from "../../dsl/program.js";
import type { RecipeMember } from "../../dsl/recipe.js";
import type { Preprocess } from "../../runtime/manifest.js";
import type { ModelInfo } from "../../runtime/training.js";
import { interpolate } from "../elaborate/conditions.js";
import type { Callable, Session } from "../elaborate/frame.js";
import { headerOf, type OverrideRecord } from "../elaborate/header.js";
import { callable, instantiate, type Instance, type Instantiation } from "../elaborate/instantiate.js";
import { preprocessOf } from "../elaborate/preprocess.js";
import type { Value } from "../elaborate/values.js";
import type { Node } from "../ir/graph.js";
import type { RecipeValues } from "./members.js";

/** `teacher: regnety_160 { … } frozen from "…"`, with its model found. */
export interface Member {
  readonly name: string;
  readonly model: Declared<ast.Model>;
  readonly frozen: boolean;
  /** In front of its parameter paths: empty for the first trained model, the member's name for all others. */
  readonly path: string;
  /** The checkpoint it starts from. */
  readonly weights?: string;
  readonly overrides: readonly OverrideRecord[];
  /** Plain values that beat all overrides (the command line's). */
  readonly values: ReadonlyMap<string, Value>;
  readonly span: ast.Span;
}

/** What a model of a recipe is, for the manifest and for `explain`. */
export type RecipeInstance = ModelInfo;

const isModel = (d: Declared | undefined): d is Declared<ast.Model> => d?.declaration.kind === "model";

/** Members of the schema that stand for a header parameter of the same name in every trained model that has it. */
const HEADER_MEMBERS: readonly string[] = ["drop_path"];

/**
 * The models of a recipe in order; reports names that are none.
 * @param plain values for the header of the model that is evaluated
 */
export function membersOfRecipe(
  all: ReadonlyMap<string, RecipeMember>, values: RecipeValues, plain: ReadonlyMap<string, Value> = new Map(),
): Member[] {
  const found: Member[] = [];
  let first = true;
  for (const at of all.values()) {
    const { member } = at;
    if (member.kind !== "instance") continue;
    const frame = values.frame(at);
    const model = at.scope.lookup(member.model.text);
    if (!isModel(model)) {
      const { text, span } = member.model;
      if (model) frame.fail("not_a_model", { name: text, is: model.declaration.kind, wanted: "model" }, span);
      else frame.fail("unknown_name", { name: text, what: "model", known: at.scope.names() }, span);
      continue;
    }
    const weights = member.weights && interpolate(frame, member.weights);
    const name = member.name.text;
    const isEvaluated = first && !member.frozen;
    found.push({
      name, model, frozen: member.frozen, path: isEvaluated ? "" : name, span: member.span,
      values: isEvaluated ? plain : new Map(), overrides: overridesOf(at, member, model, all, values), weights,
    });
    first = first && member.frozen;
  }
  return found;
}

/** Records for the header, weakest first: members of the schema that headers share, then those given at use. */
function overridesOf(at: RecipeMember, member: ast.InstanceMember, model: Declared<ast.Model>,
  all: ReadonlyMap<string, RecipeMember>, values: RecipeValues): OverrideRecord[] {
  const known = new Set((headerOf(model)?.params ?? []).map((param) => param.name.text));
  const names = values.values;
  const records: OverrideRecord[] = [];
  for (const shared of member.frozen ? [] : HEADER_MEMBERS) {
    const stated = all.get(shared);
    if (stated?.member.kind !== "value" || !known.has(shared)) continue;
    const { name, value, span } = stated.member;
    const record: ast.Record_ = { fields: [{ name, value }], span };
    records.push({ record, scope: stated.scope, label: `recipe ${stated.recipe.name.text}`, span, names });
  }
  if (!member.overrides) return records;
  const label = `recipe ${at.recipe.name.text}`;
  return [...records, { record: member.overrides, scope: at.scope, label, span: member.span, names }];
}

const runOf = (member: Member, training: boolean): Omit<Instantiation, "inputs" | "caller"> => ({
  model: member.model, overrides: member.overrides, values: member.values, path: member.path, training,
  frozen: member.frozen,
});

/** A model on inputs of its own, as for inference; undefined after diagnostics. */
export const evaluated = (session: Session, member: Member): Instance | undefined =>
  instantiate(session, runOf(member, false));

/** How the first input is prepared, where the model says so. */
export const preparationOf = (instance: Instance): Preprocess | undefined =>
  preprocessOf(instance.frame, instance.header);

/** A model as the loss calls it; `runs` gathers the outputs of every call. */
export function recorded(
  session: Session, member: Member, runs: ReadonlyMap<string, Node>[], adapt?: Instantiation["adapt"],
): Callable {
  const run = callable(session, { ...runOf(member, true), adapt });
  return (caller, call) => {
    const value = run(caller, call);
    if (value.kind === "outputs") runs.push(tensorsOf(value.outputs));
    return value;
  };
}

/** The nodes of outputs; broken ones left out. */
export function tensorsOf(outputs: ReadonlyMap<string, Value>): ReadonlyMap<string, Node> {
  const nodes = new Map<string, Node>();
  for (const [name, value] of outputs) if (value.kind === "tensor") nodes.set(name, value.node);
  return nodes;
}

/** The output that accuracy is of: `prediction`, else the first. */
export const predictionOf = (outputs: ReadonlyMap<string, Node>): Node | undefined =>
  outputs.get("prediction") ?? [...outputs.values()][0];
