/**
 * @file What the data brings, and whether the loss and the trained model take just that: images, labels and targets in
 * their sizes and types. The trainer finds the same, but only when it runs.
 */
import type * as ast from "../../dsl/ast.js";
import type { RecipeMember } from "../../dsl/recipe.js";
import type { Preprocess } from "../../runtime/manifest.js";
import { BATCH, dim, sameDim, type Shape } from "../ir/dim.js";
import { showType } from "../elaborate/values.js";
import type { Node, TensorType } from "../ir/graph.js";
import { checkSize, checkTargets } from "./augment.js";
import type { RecipeValues } from "./members.js";
import { SOURCES } from "../../runtime/train/vocabulary/sources.js";

/** What the checks look at. */
interface DataContext {
  readonly values: RecipeValues;
  readonly loss: RecipeMember;
  /** The loss's parameters that are tensors, by name. */
  readonly inputs: ReadonlyMap<string, Node>;
  /** Where the trained model stands, and its inputs in order. */
  readonly student: ast.Span;
  readonly modelInputs: ReadonlyMap<string, Node>;
  readonly preprocess: Preprocess | undefined;
  /** How many classes it predicts, if any. */
  readonly classes: number | undefined;
  /** Names of tensors that other data brings besides, of any shape. */
  readonly others: readonly string[];
}

/** Reports what the recipe's data does not bring, or brings otherwise. */
export function checkData(context: DataContext): void {
  const { values, loss, inputs, others } = context;
  checkClasses(context);
  const [images] = loss.member.kind === "function" ? loss.member.params : [];
  // Whoever brings the images brings them as the model takes them.
  if (images && others.includes(images.name.text)) return checkTargets(values, new Set(inputs.keys()));
  const size = sideOf(context);
  if (size === undefined) return;
  checkSize(values, size);
  checkTargets(values, new Set(inputs.keys()));
  checkModel(context, size);
  const params = loss.member.kind === "function" ? loss.member.params : [];
  for (const [i, { name, type, span }] of params.entries()) {
    const node = inputs.get(name.text);
    if (!node || type?.kind !== "tensor" || others.includes(name.text)) continue;
    const brought = broughtAs(name.text, i === 0, size, context);
    const what = `the loss takes \`${name.text}\``;
    if (!brought) report(context, span, `${what}, which the data does not provide`,
      "the data provides the images, which are the loss's first parameter, `labels: i32[B]` and `targets: [B, C]`");
    else if (!isSame(node, brought)) report(context, type.span,
      `${what} as ${showType(node)}, but the data provides ${showType(brought)}`);
  }
}

const report = ({ values, loss }: DataContext, span: ast.Span, text: string, help?: string): void =>
  void values.frame(loss).fail("value_error", help === undefined ? { text } : { text, help }, span);

const isSame = (x: TensorType, y: TensorType): boolean => x.dtype === y.dtype && x.shape.length === y.shape.length
  && x.shape.every((size, axis) => sameDim(size, y.shape[axis] ?? BATCH));

/** A tensor of a batch by its name in the loss; undefined for none. */
function broughtAs(name: string, first: boolean, size: number, { classes }: DataContext): TensorType | undefined {
  switch (name) {
    case "labels": return { shape: [BATCH], dtype: "i32" };
    case "targets": return classes === undefined ? undefined : { shape: [BATCH, dim(classes)], dtype: "f32" };
    default: return first || name === "images" ? { shape: imagesOf(size), dtype: "f32" } : undefined;
  }
}

const imagesOf = (size: number): Shape => [BATCH, dim(3), dim(size), dim(size)];

/** The side of the images that the trained model takes: as its `preprocess` says, else as its first input is. */
function sideOf(context: DataContext): number | undefined {
  const [first] = context.modelInputs.values();
  const side = context.preprocess?.size ?? first?.shape[2]?.c ?? 0;
  if (first && isSame(first, { shape: imagesOf(side), dtype: "f32" })) return side;
  const got = first ? `, it takes ${showType(first)}` : "";
  report(context, context.student,
    `the trained model must take square RGB images${side > 0 ? ` [B, 3, ${side}, ${side}]` : ""}${got}`,
    "data sets provide nothing else");
  return undefined;
}

/** An evaluation gives the trained model what the data brings, nothing else. */
function checkModel(context: DataContext, size: number): void {
  for (const [name, node] of [...context.modelInputs].slice(1)) {
    if (context.others.includes(name)) continue;
    const brought = broughtAs(name, false, size, context);
    if (brought && isSame(node, brought)) continue;
    report(context, context.student, `the trained model takes \`${name}\` ${showType(node)}, which the data lacks`);
  }
}

/** Data with a known number of classes fits the prediction. */
function checkClasses({ values, classes }: DataContext): void {
  for (const member of ["data", "eval"]) {
    const [call] = values.calls.get(member) ?? [];
    const own = call && SOURCES.get(call.name)?.classes;
    if (!call || own === undefined || classes === undefined || own === classes) continue;
    values.failCall(call, {
      text: `\`${call.name}\` has ${own} classes, but the trained model predicts ${classes}`,
      help: `give the model ${own} classes`,
    });
  }
}
