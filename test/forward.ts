/**
 * @file The transformers of the golden forward passes: which model of ours each is, its weights, and how near it comes.
 */
import { rootsOf, topological, type Graph, type Node } from "../compiler/ir/graph.js";
import type { Compiled } from "../compiler/pipeline.js";
import type { Device } from "../runtime/device.js";
import type { FamilyName } from "../runtime/manifest.js";
import { Session } from "../runtime/session.js";
import { argMax, generated, goldenIndex, maxAbs, parameterValue, readGolden, relativeL2 } from "./golden.js";
import { compileFile, moduleOf, sourceOf, type Module } from "./harness.js";

/** What PyTorch's float64 run has inside. */
export interface TapGolden {
  readonly shape: readonly number[];
  readonly first64: readonly number[];
  readonly l2: number;
  readonly mean: number;
}
export interface ForwardGolden {
  readonly img_size: number;
  readonly batch: number;
  readonly depth: number;
  readonly prefix: string;
  readonly input: string;
  readonly distilled: boolean;
  readonly parameters: number;
  readonly taps: Readonly<Record<string, TapGolden>>;
  readonly state_dict?: Readonly<Record<string, readonly number[]>>;
}

/** Our model of each golden one: its file, and its name where the file has several. */
export const FORWARD_MODELS: Readonly<Record<string, readonly [file: string, target?: string]>> = {
  deit_tiny_patch16_224: ["deit_ti"],
  deit_tiny_distilled_patch16_224: ["deit_ti_distilled"],
  deit_small_patch16_224: ["deit_s"],
  deit_small_distilled_patch16_224: ["deit_s_distilled"],
  deit_base_patch16_224: ["deit_b"],
  deit_base_distilled_patch16_224: ["deit_b_distilled"],
  deit_small_patch16_LS_224: ["deit3", "deit3_s"],
  deit_base_patch16_LS_224: ["deit3", "deit3_b"],
  deit_base_patch16_384: ["deit_b_384"],
  deit_base_distilled_patch16_384: ["deit_b_distilled_384"],
  deit_small_patch16_LS_384: ["deit3", "deit3_s_384"],
  deit_base_patch16_LS_384: ["deit3", "deit3_b_384"],
  vit_large_patch16_224: ["plain_vit", "vit_l_16"],
};

/** The goldens by name. */
export const forwardGoldens = goldenIndex<Readonly<Record<string, ForwardGolden>>>("forward/index.json");

export function compileForward(key: string): Compiled {
  const [file, target] = FORWARD_MODELS[key] ?? [];
  if (file === undefined) throw new Error(`no model of ours is ${key}`);
  return compileFile(`models/${file}.deit`, target);
}

/** The same model with the tensors that the goldens tap as further outputs. */
export function withTaps({ model, manifest }: Compiled, { depth }: ForwardGolden): Module {
  const taps = new Map([...model.graph.outputs, ...tapsOf(model.graph, depth)]);
  return moduleOf({ ...model.graph, outputs: taps }, manifest.name);
}

/** A tensor is what the norm behind it standardizes; the last norm's own result is what its last op makes. */
function tapsOf(graph: Graph, depth: number): ReadonlyMap<string, Node> {
  const nodes = topological(rootsOf(graph));
  const before = (norm: string): Node => {
    const found = nodes.find((n) => n.op === "standardize" && n.origin.path === norm)?.inputs[0];
    if (!found) throw new Error(`nothing standardizes at ${norm}`);
    return found;
  };
  const last = nodes.findLast((n) => n.origin.path === "norm");
  if (!last || depth < 2) throw new Error("the model ends with a norm behind two blocks or more");
  return new Map([
    ["embed_plus_pos", before("blocks.0.norm1")], ["block_0", before("blocks.1.norm1")],
    ["block_last", before("norm")], ["norm", last],
  ]);
}

/** Outputs of a module with the golden weights and input. @param images how many of the golden's; all unless given */
export async function runForward(
  device: Device, module: Module, family: FamilyName | undefined, golden: ForwardGolden, images = golden.batch,
): Promise<{ readonly outputs: Readonly<Record<string, Float32Array>>; readonly family: FamilyName }> {
  const { prefix, img_size: side, batch, input } = golden;
  const session = await Session.load(sourceOf(module), {
    device, batch: images, poison: true, weights: ({ path, shape }) => parameterValue(prefix, path, shape),
    ...(family === undefined ? {} : { family }),
  });
  try {
    const pixels = generated(prefix + input, batch * 3 * side * side, 0, 1).slice(0, images * 3 * side * side);
    return { outputs: await session.infer({ images: pixels }), family: session.family };
  } finally {
    session.destroy();
  }
}

/** How near an output is to float64. */
export interface Nearness {
  readonly name: string;
  readonly rel: number;
  readonly max: number;
  /** Whether every image's greatest logit is the golden's. */
  readonly sameClass: boolean;
}

/** Our outputs and those in the golden's `file` that they are: the class head alone, the distillation head, both. */
export function nearness(
  file: string, golden: ForwardGolden, outputs: Readonly<Record<string, Float32Array>>,
): Nearness[] {
  const tensors = readGolden(file);
  const names = golden.distilled
    ? [["logits", "logits_cls"], ["logits_dist", "logits_dist"], ["prediction", "logits"]] as const
    : [["logits", "logits"], ["prediction", "logits"]] as const;
  return names.map(([ours, theirs]) => {
    const got = outputs[ours] ?? new Float32Array();
    const want = tensors.get(`${theirs}_f64`)?.data ?? tensors.get(theirs)?.data;
    if (!want) throw new Error(`${file} has no ${theirs}`);
    const classes = want.length / golden.batch;
    const row = (x: Float32Array | Float64Array | Uint8Array, i: number) => x.subarray(i * classes, (i + 1) * classes);
    const sameClass = Array.from({ length: golden.batch }, (_, i) => argMax(row(got, i)) === argMax(row(want, i)));
    return { name: ours, rel: relativeL2(got, want), max: maxAbs(got, want), sameClass: sameClass.every(Boolean) };
  });
}

/** Distance of a tapped tensor: of its first 64 values, and of its length and mean, relative to its length. */
export function tapError(tap: TapGolden, got: Float32Array | undefined): number {
  const size = tap.shape.reduce((n, d) => n * d, 1);
  if (got?.length !== size) return Infinity;
  let [square, sum] = [0, 0];
  for (const x of got) [square, sum] = [square + x * x, sum + x];
  const scale = tap.l2 / Math.sqrt(size);
  return Math.max(
    relativeL2(got.subarray(0, 64), tap.first64),
    Math.abs(Math.sqrt(square) - tap.l2) / tap.l2,
    Math.abs(sum / size - tap.mean) / scale,
  );
}
