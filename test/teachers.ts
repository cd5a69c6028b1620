/**
 * @file The convnets of the golden forward passes: which model of ours each is, and how near it comes.
 */
import { rootsOf, topological, type Node } from "../compiler/ir/graph.js";
import type { Compiled } from "../compiler/pipeline.js";
import type { Device } from "../runtime/device.js";
import type { FamilyName } from "../runtime/manifest.js";
import { Session } from "../runtime/session.js";
import { argMax, blocky, goldenIndex, maxAbs, parameterValue, readGolden, relativeL2 } from "./golden.js";
import { compileFile, moduleOf, sourceOf, type Module } from "./harness.js";
import type { Nearness, TapGolden } from "./forward.js";

export interface TeacherGolden {
  readonly img_size: number;
  readonly batch: number;
  readonly prefix: string;
  readonly input: string;
  readonly conv_gain: number;
  readonly parameters: number;
  readonly features: TapGolden;
  readonly state_dict: Readonly<Record<string, readonly number[]>>;
  /** How far plain float32 is from float64 in PyTorch. */
  readonly f32_vs_f64: { readonly max_abs: number; readonly rel_l2: number; readonly max_abs_value: number };
}

/** Side of the squares of one colour in the golden input. */
const BLOCK = 32;

/** File of ours for each golden model; ours have timm's names. */
const FILES: Readonly<Record<string, string>> = { resnet: "resnet", regnety: "regnet", efficientnet: "efficientnet" };

/** The goldens by name. */
export const teacherGoldens = goldenIndex<Readonly<Record<string, TeacherGolden>>>("teachers/index.json");

export function compileTeacher(key: string, { img_size: image }: TeacherGolden): Compiled {
  const file = FILES[/^[a-z]+/.exec(key)?.[0] ?? ""];
  if (file === undefined) throw new Error(`no file of ours has ${key}`);
  return compileFile(`models/${file}.deit`, key, { overrides: { image } });
}

/** The same model with its last feature map, what is pooled over the image, as a further output. */
export function withFeatures({ model, manifest }: Compiled): Module {
  const pooled = topological(rootsOf(model.graph)).findLast((n) => n.op === "mean" && n.inputs[0]?.shape.length === 4);
  const [features] = pooled?.inputs ?? [];
  if (!features) throw new Error("the model takes the mean of a feature map");
  const outputs = new Map<string, Node>([...model.graph.outputs, ["features", features]]);
  return moduleOf({ ...model.graph, outputs }, manifest.name);
}

/** Outputs of a module with the golden weights and input. */
export async function runTeacher(
  device: Device, module: Module, golden: TeacherGolden, family?: FamilyName,
): Promise<{ readonly outputs: Readonly<Record<string, Float32Array>>; readonly family: FamilyName; seconds: number }> {
  const { prefix, img_size: side, batch, input, conv_gain: gain } = golden;
  const session = await Session.load(sourceOf(module), {
    device, batch, poison: true, weights: ({ path, shape }) => parameterValue(prefix, path, shape, gain),
    ...(family === undefined ? {} : { family }),
  });
  try {
    const start = performance.now();
    const outputs = await session.infer({ images: blocky(prefix + input, [batch, 3, side, side], BLOCK) });
    return { outputs, family: session.family, seconds: (performance.now() - start) / 1000 };
  } finally {
    session.destroy();
  }
}

/** How near the logits are to those of float64 in the golden's `file`. */
export function teacherNearness(file: string, golden: TeacherGolden, logits: Float32Array): Nearness {
  const want = readGolden(file).get("logits_f64")?.data;
  if (!want) throw new Error(`${file} has no logits_f64`);
  const classes = want.length / golden.batch;
  const row = (x: Float32Array | Float64Array | Uint8Array, i: number) => x.subarray(i * classes, (i + 1) * classes);
  const sameClass = Array.from({ length: golden.batch }, (_, i) => argMax(row(logits, i)) === argMax(row(want, i)));
  return { name: "logits", rel: relativeL2(logits, want), max: maxAbs(logits, want), sameClass: sameClass.every(Boolean) };
}
