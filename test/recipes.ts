/**
 * @file Recipes in tests: texts beside the shipped models, and steps run by the interpreter.
 */
import { resolve } from "node:path";
import { nodeHost } from "../compiler/cli/host.js";
import { language } from "../compiler/index.js";
import { interpret, type Interpretation } from "../compiler/inspect/interpret.js";
import type { Tensor } from "../compiler/ir/op.js";
import { OPS } from "../compiler/ops/index.js";
import type { ScalarInfo } from "../runtime/training.js";
import { elaborateRecipe, type RecipeElaboration } from "../compiler/train/recipe.js";
import { scalarInput, type TrainingGraph } from "../compiler/train/step.js";
import { loadProgram, type SourceHost } from "../dsl/resolve.js";
import { BATCH, microParameter } from "./micro.js";

export type Tensors = ReadonlyMap<string, Tensor>;

export const length = (x: ArrayLike<number>): number => Math.sqrt(Array.from(x).reduce((sum, v) => sum + v * v, 0));
export const relative = (got: number, want: number): number => Math.abs(got - want) / Math.abs(want);
export const numbersOf = (tensors: Tensors, name: string): Tensor["data"] => {
  const tensor = tensors.get(name);
  if (!tensor) throw new Error(`there is a tensor ${name}`);
  return tensor.data;
};
export const numberOf = (tensors: Tensors, name: string): number => numbersOf(tensors, name)[0] ?? NaN;

/** State at the start: parameters as generated, averages as their parameters, the rest zero. */
export function start({ states }: TrainingGraph): Map<string, Tensor> {
  return new Map(states.map(({ path, of, shape, initial }) =>
    [path, initial.kind === "zeros" && path !== of ? { shape, data: new Float32Array(shape.reduce((n, d) => n * d, 1)) }
      : microParameter(of, shape)]));
}

/** The value of a per-step scalar at step `step`, counted from 1. */
export function scalarAt(scalar: ScalarInfo, step: number, lr: number, passes: number): number {
  switch (scalar.kind) {
    case "learning_rate": return lr;
    case "bias_correction": return 1 - scalar.beta ** step;
    case "share": return 1 / passes;
    default: return scalar satisfies never;
  }
}

/** One run of a graph at step `step`, counted from 1; changes `state`. */
export function advance(made: TrainingGraph, state: Map<string, Tensor>, data: Tensors, step: number, lr: number,
  passes = 1, batch = BATCH): Interpretation {
  const inputs = new Map([...made.graph.inputs.keys()].flatMap((name): [string, Tensor][] => {
    const tensor = data.get(name);
    return tensor ? [[name, tensor]] : [];
  }));
  for (const scalar of made.scalars) {
    inputs.set(scalarInput(scalar), { shape: [], data: Float32Array.of(scalarAt(scalar, step, lr, passes)) });
  }
  const result = interpret(made.graph, { batch, inputs, parameters: state, precision: "f32" });
  for (const [path, next] of result.updates) state.set(path, next);
  return result;
}

/** Elaborates a text beside the shipped models. */
export function elaborate(text: string, target?: string): RecipeElaboration {
  const real = nodeHost(resolve("."));
  const host: SourceHost = {
    read: (path) => (path === "test/train/case.deit" ? { text } : real.read(path)),
    resolve: (from, spec) => (spec === "test/train/case.deit" ? { path: spec } : real.resolve(from, spec)),
  };
  const loaded = loadProgram("test/train/case.deit", host, language());
  return loaded.program ? elaborateRecipe(loaded.program, target, { ops: OPS })
    : { diagnostics: loaded.diagnostics };
}

const HEAD = `
import { vit } from "../../models/vit.deit"
import { cross_entropy, hard_distillation, soft_cross_entropy } from "../../models/losses.deit"
model tiny extends vit { image = 8  patch = 4  dim = 8  depth = 2  heads = 2  classes = 8 }
model tiny_distilled extends tiny { distilled = true }
`;
export const LOSS =
  "loss(images: [B, 3, H, W], labels: i32[B]) { return cross_entropy(student(images).logits, labels) }";
export const recipeText = (changes: Readonly<Record<string, string>> = {}): string => {
  const parts = {
    student: "student: tiny", data: "data = image_folder(\"images\")", batch: "batch = 64 images", length: "length = 5 epochs",
    optimizer: "optimizer = adamw(lr = 1e-3)", loss: LOSS, ...changes,
  };
  return `${HEAD}recipe r {\n${Object.values(parts).join("\n")}\n}\n`;
};
