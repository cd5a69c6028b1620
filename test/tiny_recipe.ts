/**
 * @file A compiled recipe written by hand: the linear classifier of `cpu_engine.ts` with momentum and a moving average
 * in lanes, updated in place; a buffer whose next value is copied; random numbers; evaluation with a prepared tensor.
 */
import type { Family, KernelInfo, Manifest, Ref, Size, SlotInfo, Step } from "../runtime/manifest.js";
import type { GraphName, TrainingDefinition } from "../runtime/train/programs.js";
import type { StateInfo, StateRole, TrainingManifest, TrainingSettings } from "../runtime/training.js";

export const CLASSES = 8;
export const FEATURES = 3072;
const COUNT = CLASSES * FEATURES;

const size = (b: number, c: number): Size => ({ b, c });
const ref = (kind: "parameter" | "slot" | "input" | "output", index: number): Ref => ({ kind, index });

/** A kernel's text, and how often it runs. */
interface Kernel {
  readonly name: string;
  readonly bindings: readonly (readonly [access: "read" | "read_write", name: string, type?: string])[];
  readonly threads: Size;
  readonly body: string;
}

const WORKGROUP = 64;

const text = ({ bindings, body }: Kernel): string => [
  "override B: i32;",
  ...bindings.map(([access, name, type = "f32"], i) =>
    `@group(0) @binding(${i}) var<storage, ${access}> ${name}: array<${type}>;`),
  `@compute @workgroup_size(${WORKGROUP})`,
  "fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u,",
  "        @builtin(local_invocation_index) lid: u32) {",
  `  let i = i32((wid.x + wid.y * nwg.x) * ${WORKGROUP}u + lid);`,
  `  let unused = B; ${body}`,
  "}",
].join("\n");

/** The scores of row i as `p`, made to sum to 1, with `w` and `x`. */
const SOFTMAX = `
  var p: array<f32, ${CLASSES}>; var top = -1e30; var total = 0.0;
  for (var c = 0; c < ${CLASSES}; c++) {
    var a = 0.0; for (var f = 0; f < ${FEATURES}; f++) { a += w[c * ${FEATURES} + f] * x[i * ${FEATURES} + f]; }
    p[c] = a; top = max(top, a);
  }
  for (var c = 0; c < ${CLASSES}; c++) { p[c] = exp(p[c] - top); total += p[c]; }
  for (var c = 0; c < ${CLASSES}; c++) { p[c] /= total; }`;

const FORWARD: Kernel = {
  name: "forward", threads: size(1, 0),
  bindings: [["read", "w"], ["read", "x"], ["read", "y"], ["read_write", "error"], ["read_write", "row"]],
  body: `if (i >= B) { return; } ${SOFTMAX} var loss = 0.0; var best = 0; var truth = 0;
  for (var c = 0; c < ${CLASSES}; c++) {
    let t = y[i * ${CLASSES} + c]; loss -= t * log(p[c] + 1e-9); error[i * ${CLASSES} + c] = (p[c] - t) / f32(B);
    if (p[c] > p[best]) { best = c; } if (t > y[i * ${CLASSES} + truth]) { truth = c; }
  }
  row[2 * i] = loss; row[2 * i + 1] = select(0.0, 1.0, best == truth);`,
};
const LOSS: Kernel = {
  name: "loss", threads: size(0, 1), bindings: [["read", "row"], ["read_write", "loss"], ["read_write", "correct"]],
  body: `if (i > 0) { return; } var a = 0.0; var n = 0.0;
  for (var b = 0; b < B; b++) { a += row[2 * b]; n += row[2 * b + 1]; } loss[0] = a / f32(B); correct[0] = n;`,
};
const GRADIENT: Kernel = {
  name: "gradient", threads: size(0, COUNT), bindings: [["read", "error"], ["read", "x"], ["read_write", "g"]],
  body: `if (i >= ${COUNT}) { return; } let c = i / ${FEATURES}; let f = i % ${FEATURES}; var a = 0.0;
  for (var b = 0; b < B; b++) { a += error[b * ${CLASSES} + c] * x[b * ${FEATURES} + f]; } g[i] = a;`,
};
const GATHER: Kernel = {
  name: "gather", threads: size(0, COUNT), bindings: [["read", "g"], ["read", "share"], ["read_write", "sum"]],
  body: `if (i < ${COUNT}) { sum[i] += share[0] * g[i]; }`,
};
const NORM: Kernel = {
  name: "norm", threads: size(0, 1), bindings: [["read", "g"], ["read_write", "norm"]],
  body: `if (i > 0) { return; } var a = 0.0; for (var k = 0; k < ${COUNT}; k++) { a += g[k] * g[k]; } norm[0] = sqrt(a);`,
};
const UPDATE: Kernel = {
  name: "update", threads: size(0, COUNT),
  bindings: [["read", "g"], ["read", "lr"], ["read_write", "w"], ["read_write", "v"], ["read_write", "ema"]],
  body: `if (i >= ${COUNT}) { return; } v[i] = 0.9 * v[i] + g[i]; w[i] = w[i] - lr[0] * v[i];
  ema[i] = 0.9 * ema[i] + 0.1 * w[i];`,
};
const CLEAR: Kernel = {
  name: "clear", threads: size(0, COUNT), bindings: [["read_write", "g"]], body: `if (i < ${COUNT}) { g[i] = 0.0; }`,
};
/** Counts runs, and keeps the first random number of the last. */
const SEEN: Kernel = {
  name: "seen", threads: size(0, 1), bindings: [["read", "seen"], ["read", "noise"], ["read_write", "next"]],
  body: "if (i > 0) { return; } next[0] = seen[0] + 1.0; next[1] = noise[0]; next[2] = noise[B - 1];",
};
const KEEP: Kernel = {
  name: "keep", threads: size(0, COUNT), bindings: [["read", "w"], ["read_write", "copy"]],
  body: `if (i < ${COUNT}) { copy[i] = w[i]; }`,
};
const PREDICT: Kernel = {
  name: "predict", threads: size(1, 0),
  bindings: [["read", "w"], ["read", "x"], ["read", "labels", "i32"], ["read", "mask"], ["read_write", "prediction"],
    ["read_write", "row"]],
  body: `if (i >= B) { return; } ${SOFTMAX} let own = p[labels[i]]; var above = 0;
  for (var c = 0; c < ${CLASSES}; c++) { prediction[i * ${CLASSES} + c] = p[c]; if (p[c] > own) { above++; } }
  row[4 * i] = -log(own + 1e-9) * mask[i]; row[4 * i + 1] = select(0.0, mask[i], above < 1);
  row[4 * i + 2] = select(0.0, mask[i], above < 5); row[4 * i + 3] = mask[i];`,
};
const SUMS: Kernel = {
  name: "sums", threads: size(0, 1),
  bindings: [["read", "row"], ["read_write", "loss"], ["read_write", "right"], ["read_write", "five"],
    ["read_write", "count"]],
  body: `if (i > 0) { return; } var a = vec4f(0.0);
  for (var b = 0; b < B; b++) { a += vec4f(row[4 * b], row[4 * b + 1], row[4 * b + 2], row[4 * b + 3]); }
  loss[0] = a.x; right[0] = a.y; five[0] = a.z; count[0] = a.w;`,
};

const infoOf = ({ name, bindings }: Kernel): KernelInfo =>
  ({ name, bindings: bindings.map(([access]) => access), workgroupSize: WORKGROUP, workgroupBytes: 0, features: [] });

type Call = readonly [kernel: Kernel, ...bindings: Ref[]];

/** A graph as a manifest, and the text of its kernels. */
interface Graph {
  readonly manifest: Manifest;
  readonly kernels: readonly Kernel[];
}

function graph(
  name: string, inputs: Manifest["inputs"], outputs: Manifest["outputs"],
  slots: readonly SlotInfo[], run: readonly Call[], prepare: readonly Call[] = [], copies: Family["copies"] = [],
): Graph {
  const kernels = [...prepare, ...run].map(([kernel]) => kernel);
  const step = ([kernel, ...bindings]: Call): Step => ({
    kernel: kernels.indexOf(kernel), bindings, grid: [{ size: kernel.threads, per: WORKGROUP }], path: kernel.name,
    flops: size(COUNT, 0), bytes: size(0, 4 * COUNT),
  });
  const family: Family = {
    rank: 10, suits: "software", requires: { features: [], lanes: 0 },
    kernels: kernels.map(infoOf), slots, copies, programs: { prepare: prepare.map(step), run: run.map(step) },
  };
  const manifest: Manifest = {
    name, inputs, outputs,
    parameters: STATES.map(({ path, shape, trained, decay, inside, initial }) => ({
      path, shape, trained, decay, initializer: initial.kind === "copy" ? { kind: "zeros" } : initial,
      ...(inside ? { inside: { parameter: inside.state, offset: inside.offset } } : {}),
    })),
    families: { scalar: family, tiled: { ...family, rank: 30, suits: "hardware" } },
  };
  return { manifest, kernels };
}

const state = (path: string, role: StateRole, of: string, more: Partial<StateInfo> = {}): StateInfo => ({
  path, role, of, shape: [CLASSES, FEATURES], dtype: "f32", initial: { kind: "zeros" }, trained: false, decay: false,
  ...more,
});
const lane = (path: string): StateInfo => state(path, "lane", path, { shape: [COUNT + 1024] });
/** Members start behind a gap, so that their place in the lane matters. */
const within = (of: number): Pick<StateInfo, "inside"> => ({ inside: { state: of, offset: 128 } });
const [W, V, EMA, SUM, SEEN_AT] = [1, 3, 5, 7, 8];
const STATES: readonly StateInfo[] = [
  lane("lane/parameter.0"),
  state("head.weight", "parameter", "head.weight",
    { ...within(0), initial: { kind: "normal", std: 0.01 }, trained: true, decay: true }),
  lane("lane/sgd.momentum.0"), state("sgd.momentum/head.weight", "optimizer", "head.weight", within(2)),
  lane("lane/ema.0"), state("ema/head.weight", "ema", "head.weight", { ...within(4), initial: { kind: "copy" } }),
  lane("lane/gradient.0"), state("gradient/head.weight", "gradient", "head.weight", within(6)),
  state("seen", "buffer", "seen", { shape: [3] }),
];

const slot = (b: number, c: number, name: string, kind: SlotInfo["kind"] = "activation"): SlotInfo =>
  ({ kind, bytes: size(4 * b, 4 * c), tensors: [name] });
const tensor = (name: string, shape: readonly Size[], dtype: "f32" | "i32" = "f32"): Manifest["inputs"][number] =>
  ({ name, shape, dtype });
const BATCH = size(1, 0);
const IMAGES = tensor("images", [BATCH, size(0, 3), size(0, 32), size(0, 32)]);
const TARGETS = tensor("targets", [BATCH, size(0, CLASSES)]);
const NOISE = tensor("random.0", [BATCH]);
const seenNext: Family["copies"] = [{ from: ref("slot", 3), to: ref("parameter", SEEN_AT), bytes: 12 }];

const forward: readonly Call[] = [
  [FORWARD, ref("parameter", W), ref("input", 0), ref("input", 1), ref("slot", 0), ref("slot", 1)],
  [LOSS, ref("slot", 1), ref("output", 0), ref("output", 1)],
  [GRADIENT, ref("slot", 0), ref("input", 0), ref("slot", 2)],
  [SEEN, ref("parameter", SEEN_AT), ref("input", 3), ref("slot", 3)],
];
const passSlots = [slot(CLASSES, 0, "error"), slot(2, 0, "rows"), slot(0, COUNT, "gradient"), slot(0, 4, "seen")];
const update = (from: Ref, lr: number): Call =>
  [UPDATE, from, ref("input", lr), ref("parameter", W), ref("parameter", V), ref("parameter", EMA)];

const graphs: Readonly<Record<Exclude<GraphName, "infer_f16">, Graph>> = {
  infer: graph(
    "linear", [tensor("pixels", IMAGES.shape), tensor("labels", [BATCH], "i32"), tensor("mask", [BATCH])],
    [tensor("prediction", TARGETS.shape)], [slot(0, COUNT, "kept", "derived"), slot(4, 0, "rows")],
    [[PREDICT, ref("slot", 0), ref("input", 0), ref("input", 1), ref("input", 2), ref("output", 0), ref("slot", 1)]],
    [[KEEP, ref("parameter", W), ref("slot", 0)]],
  ),
  train: graph(
    "train", [IMAGES, TARGETS, tensor("step.lr", []), NOISE],
    [tensor("loss", []), tensor("correct", []), tensor("grad_norm", [])], passSlots,
    [...forward, [NORM, ref("slot", 2), ref("output", 2)], update(ref("slot", 2), 2)], [], seenNext,
  ),
  gather: graph(
    "gather", [IMAGES, TARGETS, tensor("step.share", []), NOISE], [tensor("loss", []), tensor("correct", [])], passSlots,
    [...forward, [GATHER, ref("slot", 2), ref("input", 2), ref("parameter", SUM)]], [], seenNext,
  ),
  apply: graph("apply", [tensor("step.lr", [])], [tensor("grad_norm", [])], [], [
    [NORM, ref("parameter", SUM), ref("output", 0)], update(ref("parameter", SUM), 0), [CLEAR, ref("parameter", SUM)],
  ]),
  evaluate: graph(
    "evaluate", [tensor("pixels", IMAGES.shape), tensor("labels", [BATCH], "i32"), tensor("mask", [BATCH])],
    [tensor("prediction", TARGETS.shape), ...["loss", "correct", "correct5", "count"].map((name) => tensor(name, []))],
    [slot(0, COUNT, "kept", "derived"), slot(4, 0, "rows")],
    [
      [PREDICT, ref("slot", 0), ref("input", 0), ref("input", 1), ref("input", 2), ref("output", 0), ref("slot", 1)],
      [SUMS, ref("slot", 1), ref("output", 1), ref("output", 2), ref("output", 3), ref("output", 4)],
    ],
    [[KEEP, ref("parameter", W), ref("slot", 0)]],
  ),
};

const settings: TrainingSettings = {
  data: { name: "shapes", arguments: { seed: 0, train: 160, test: 40 } }, batch: 16, accumulate: 1,
  length: { value: 25, unit: "steps" },
  augment: [
    { name: "random_crop", arguments: { size: 32, pad: 2, mode: "constant" } },
    { name: "horizontal_flip", arguments: { probability: 0.5 } },
    { name: "mixup", arguments: { alpha: 0.8, probability: 1, switch: 0.5 } },
    { name: "label_smoothing", arguments: { amount: 0.1 } },
  ],
  optimizer: { name: "sgd", arguments: { lr: 1e-3, momentum: 0.9, weight_decay: 0, nesterov: false } },
  schedule: {
    name: "cosine",
    arguments: { warmup: { value: 5, unit: "steps" }, warmup_lr: 1e-6, min_lr: 1e-5, stepping: "steps" },
  },
  ema: 0.9, seed: 5, precision: "f32", noWeightDecay: [],
};

/** The recipe's manifest. @param changes to its settings */
export const tinyManifest = (changes: Partial<TrainingSettings> = {}): TrainingManifest => ({
  format: 3, compiler: "test", name: "linear", doc: "A linear classifier.", states: STATES,
  graphs: {
    train: graphs.train.manifest, gather: graphs.gather.manifest, apply: graphs.apply.manifest,
    evaluate: graphs.evaluate.manifest, infer: graphs.infer.manifest,
  },
  data: ["images", "targets"],
  scalars: [{ name: "lr", kind: "learning_rate" }, { name: "share", kind: "share" }],
  randoms: [{ input: "random.0", stream: "noise" }],
  models: [{
    name: "student", model: "linear", doc: "", frozen: false, path: "",
    preprocess: { size: 32, resize: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] },
  }],
  classes: CLASSES, settings: { ...settings, ...changes }, digest: "linear 1",
});

/** Texts by `GRAPH/FAMILY/KERNEL`. */
export const tinyTexts: ReadonlyMap<string, string> = new Map(Object.entries(graphs).flatMap(([name, { kernels }]) =>
  ["scalar", "wide", "tiled"].flatMap((family) =>
    kernels.map((kernel) => [`${name}/${family}/${kernel.name}`, text(kernel)] as const))));

export const tinyRecipe = (changes: Partial<TrainingSettings> = {}): TrainingDefinition => ({
  manifest: tinyManifest(changes),
  wgsl: async (name, family, kernel) => tinyTexts.get(`${name}/${family}/${kernel}`) ?? "",
});
