/**
 * @file What the generated module says of its model: types, shapes and counts, as TypeScript text.
 */
import type { Artifact } from "../../runtime/artifact.js";
import type { DType, Manifest, Preprocess, Size, TensorInfo } from "../../runtime/manifest.js";
import { showShape } from "../ir/dim.js";
import { invariant } from "../ir/invariant.js";

/** The typed array that carries a tensor between a program and the model. */
export function arrayType(dtype: DType): "Float32Array" | "Int32Array" {
  switch (dtype) {
    case "f32":
    case "f16":
      return "Float32Array";
    case "i32":
    case "bool":
      return "Int32Array";
    default:
      dtype satisfies never;
      invariant(false, `the element type ${String(dtype)} is known`);
  }
}

/** `` `f32 [B, 3, 224, 224]`, row-major. `` with the tensor's own words in front. */
export function tensorDoc(info: TensorInfo): string {
  const shape = `\`${info.dtype} ${showShape(info.shape)}\`, row-major.`;
  return info.doc === undefined || info.doc === "" ? shape : `${info.doc}\n${shape}`;
}

/** Names the generated text itself refers to: a class of one of them would stand in its own way. */
const TAKEN: readonly string[] = [
  "AsyncGenerator", "Evaluation", "Float32Array", "InferOptions", "Int32Array", "LoadOptions", "Preprocess", "Profile",
  "Promise", "Run", "Session", "Symbol", "Trainer", "TrainerOptions", "TrainingEvent", "TrainingOutcome", "URL",
];

/** The classes of a module: `deit_b` becomes `DeitB`, or `ModelDeitB` where that is taken or no name. */
export function classesOf(artifact: Artifact): { readonly model: string; readonly recipe?: string } {
  const recipe = "settings" in artifact ? className(artifact.name, "Recipe", TAKEN) : undefined;
  const model = className(artifact.graphs.infer.name, "Model", [...TAKEN, recipe ?? ""]);
  return recipe === undefined ? { model } : { model, recipe };
}

function className(name: string, prefix: string, taken: readonly string[]): string {
  const own = name.split("_").filter(Boolean).map((part) => part.charAt(0).toUpperCase() + part.slice(1)).join("");
  return /^[A-Za-z]\w*$/.test(own) && !taken.includes(own) ? own : `${prefix}${own}`;
}

/** A property name, quoted where the language asks for it. */
export const key = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));

/** `"B"` where a size is the batch itself, a number where it is constant, else its text. */
const size = (s: Size): string => (s.b === 0 ? String(s.c) : JSON.stringify(showShape([s]).slice(1, -1)));
const sizes = (info: TensorInfo): string => `[${info.shape.map(size).join(", ")}]`;

/** `{ images: { shape: ["B", 3, 224, 224], dtype: "f32" } }`: an expression. */
export const shapesValue = (tensors: readonly TensorInfo[]): string =>
  `{ ${tensors.map((t) => `${key(t.name)}: { shape: ${sizes(t)}, dtype: ${JSON.stringify(t.dtype)} }`).join(", ")} }`;

/** The same as a type. */
export const shapesType = (tensors: readonly TensorInfo[]): string =>
  `{ ${tensors
    .map(
      (t) =>
        `readonly ${key(t.name)}: { readonly shape: readonly ${sizes(t)}; readonly dtype: ${JSON.stringify(t.dtype)} }`
    )
    .join("; ")} }`;

/** Number of trained values. */
export const parameterCount = (manifest: Manifest): number =>
  manifest.parameters.filter((p) => p.trained).reduce((n, p) => n + p.shape.reduce((m, d) => m * d, 1), 0);

/** Length of a row of `prediction`, else of the first output, when there is one row an image. */
export function classCount(manifest: Manifest): number | undefined {
  const output = manifest.outputs.find((o) => o.name === "prediction") ?? manifest.outputs[0];
  const [rows, columns, ...rest] = output?.shape ?? [];
  if (rows === undefined || columns === undefined || rest.length > 0) return undefined;
  return rows.b === 1 && rows.c === 0 && columns.b === 0 ? columns.c : undefined;
}

/** An expression of the evaluation transform. */
export function preprocessValue({ size, resize, mean, std }: Preprocess): string {
  return `{ size: ${size}, resize: ${resize}, mean: [${mean.join(", ")}], std: [${std.join(", ")}] }`;
}
