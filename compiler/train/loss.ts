/**
 * @file The loss of a recipe as a graph: its parameters become inputs, their sizes those of the trained model.
 */
import type * as ast from "../../dsl/ast.js";
import type { RecipeMember } from "../../dsl/recipe.js";
import { applyOp, asTensor } from "../elaborate/apply.js";
import { bindDims, checkDims, expectedDims } from "../elaborate/dimensions.js";
import { Frame, type Callable } from "../elaborate/frame.js";
import { run } from "../elaborate/statements.js";
import { describe, isBroken, number, showType, tensor } from "../elaborate/values.js";
import type { Shape } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import type { RecipeValues } from "./members.js";

/** What the loss is built with. */
interface LossContext {
  readonly member: RecipeMember;
  readonly values: RecipeValues;
  readonly instances: ReadonlyMap<string, Callable>;
  /** Inputs of the trained model, by name: where `H` and `W` come from. */
  readonly inputs: ReadonlyMap<string, Node>;
  /** `C`: how many classes its prediction has. */
  readonly classes: number | undefined;
}

/** The 0-d f32 loss; undefined after diagnostics. */
export function lossOf(context: LossContext): Node | undefined {
  const { member: { member, scope, recipe }, values, instances } = context;
  if (member.kind !== "function") return undefined;
  const outer = values.frame(context.member);
  const frame = new Frame({
    ...outer.outside(), scope, label: `loss of recipe ${recipe.name.text}`, path: "loss", span: member.name.span,
    doc: member.doc, instances,
  });
  for (const [name, value] of values.values) frame.names.set(name, value);
  if (!bindSizes(frame, member.params, context)) return undefined;
  for (const param of member.params) bindParam(frame, param);
  run(frame, member.body);
  const { result } = frame;
  if (!result) {
    if (!frame.broken) frame.fail("missing_return", { what: "loss", name: member.name.text }, member.name.span);
    return undefined;
  }
  if (isBroken(result.value)) return undefined;
  const node = asTensor(frame, result.value, result.span);
  if (node && node.shape.length === 0 && node.dtype === "f32") return node;
  const got = node ? `a tensor ${showType(node)}` : describe(result.value);
  const help = node ? { help: "take its mean: `mean(…)`" } : {};
  frame.fail("wrong_type", { text: `a loss must be a single number, got ${got}`, ...help }, result.span);
  return undefined;
}

/**
 * Binds the capitals of parameters that are inputs of the trained model, by name, else the input at the same place;
 * then `C`, unless one of them has. @returns whether they fit.
 */
function bindSizes(frame: Frame, params: readonly ast.Param[], { inputs, classes }: LossContext): boolean {
  let fits = true;
  const inOrder = [...inputs.values()];
  for (const [i, param] of params.entries()) {
    if (param.type?.kind !== "tensor") continue;
    const input = inputs.get(param.name.text) ?? inOrder[i];
    if (!input || input.dtype !== param.type.dtype) continue;
    const named = inputs.has(param.name.text);
    if (!named && input.shape.length !== param.type.dims.length) continue;
    const subject = { name: param.name.text, owner: frame.label, span: param.type.span, reporter: frame };
    fits = bindDims(frame, param.type, input.shape, subject) && checkDims(frame, param.type, input.shape, subject)
      && fits;
  }
  if (classes !== undefined && !frame.names.has("C")) frame.names.set("C", number(classes));
  return fits;
}

/** An input of the graph for a tensor; a constant of the loss for a parameter with a default. */
function bindParam(frame: Frame, param: ast.Param): void {
  const name = param.name.text;
  if (param.type?.kind !== "tensor") {
    if (param.initial) frame.names.set(name, frame.evaluate(param.initial));
    else {
      const text = `\`${name}\` of a loss must be a tensor that the data provides`;
      const value = frame.fail("wrong_type", { text, help: `write its shape, as in \`${name}: [B, C]\`` }, param.span);
      frame.names.set(name, value);
    }
    return;
  }
  const shape = shapeOf(frame, param.type);
  const attrs = shape && { name, shape, ...(param.type.dtype === "f32" ? {} : { dtype: param.type.dtype }) };
  frame.target = name;
  const value = attrs ? applyOp(frame, param.type.span, "input", [], attrs) : undefined;
  frame.names.set(name, value ?? { kind: "error" });
  if (value?.kind === "tensor") {
    frame.session.inputs.set(name, value.node);
    frame.names.set(name, tensor(value.node));
  }
}

function shapeOf(frame: Frame, type: ast.TensorType): Shape | undefined {
  const open = type.dims.find((d) => d.kind !== "expr" || isUnbound(frame, d.expr));
  if (open) {
    const text = `the size \`${frame.text(open.span)}\` in \`${frame.text(type.span)}\` is unknown`;
    const help = "sizes come from the trained model's inputs of the same name; `C` is its number of classes";
    frame.fail("value_error", { text, help }, open.span);
    return undefined;
  }
  const dims = expectedDims(frame, type);
  return dims && dims.every((d) => d !== undefined) ? dims : undefined;
}

const isUnbound = (frame: Frame, expr: ast.Expr): boolean =>
  expr.kind === "name" && /^[A-Z]/.test(expr.name) && expr.name !== "B" && !frame.names.has(expr.name);
