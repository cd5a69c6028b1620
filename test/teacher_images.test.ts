/**
 * What a frozen model of a recipe is fed: the batch of the student, brought to its own size and normalization.
 */
import test from "ava";
import { interpret } from "../compiler/inspect/interpret.js";
import type { Tensor } from "../compiler/ir/op.js";
import { trainingGraph } from "../compiler/train/step.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { elaborate, numberOf } from "./recipes.js";

/** The loss is Σ weight·(what the teacher was given), so that it depends on every pixel. */
const text = (teacher: string, augment: string): string => `
import { linear } from "../../models/nn.deit"
model student(classes = 10) {
  input images: [B, 3, 4, 4]
  preprocess_free = linear(reshape(images, [B, 48]), classes)
  output logits = preprocess_free
}
model probe(size = 4, preprocess = none) {
  input images: [B, 3, size, size]
  output seen = images
}
recipe r {
  student: student
  teacher: probe { ${teacher} } frozen from "t.safetensors"
  data = image_folder("data")
  batch = 2 images
  length = 1 steps
  ${augment}
  optimizer = sgd(lr = 0.1)
  loss(images: [B, 3, H, W], labels: i32[B]) {
    s = student(images)
    seen = teacher(images).seen
    row = float(arange(${/size = (\d+)/.exec(teacher)?.[1] ?? 4}))
    return sum(seen * (row + 1)) + 0 * mean(s.logits)
  }
}
`;

const PIXELS = Float32Array.from({ length: 96 }, (_, i) => Math.sin(i * 1.7) + 0.01 * i);

function lossOf(teacher: string, augment = ""): number {
  const { recipe, diagnostics } = elaborate(text(teacher, augment));
  if (!recipe) throw new Error(renderDiagnostics(diagnostics));
  const made = trainingGraph(recipe, {});
  const inputs = new Map<string, Tensor>([
    ["images", { shape: [2, 3, 4, 4], data: PIXELS }], ["labels", { shape: [2], data: Int32Array.of(0, 1) }],
  ]);
  for (const name of made.graph.inputs.keys()) if (!inputs.has(name)) inputs.set(name, { shape: [], data: Float32Array.of(1) });
  const parameters = new Map(made.states.map(({ path, shape }): [string, Tensor] =>
    [path, { shape, data: new Float32Array(shape.reduce((n, d) => n * d, 1)) }]));
  return numberOf(interpret(made.graph, { batch: 2, inputs, parameters, precision: "f64" }).outputs, "loss");
}

/** Σ (column + 1)·pixel over images [2, 3, side, side]. */
const told = (pixels: ArrayLike<number>, side: number): number =>
  Array.from(pixels).reduce((sum, v, i) => sum + v * ((i % side) + 1), 0);
const near = (got: number, want: number): boolean => Math.abs(got - want) <= 1e-9 * Math.max(1, Math.abs(want));

test("the same size and normalization: the very same batch", (t) => {
  t.true(near(lossOf(""), told(PIXELS, 4)));
  const same = "preprocess = [4, 4, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]";
  t.true(near(lossOf(same, 'augment = [normalize("imagenet")]'), told(PIXELS, 4)));
});

test("another normalization is undone and the teacher's own applied", (t) => {
  const [mean, std] = [[0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]];
  const want = PIXELS.map((v, i) => {
    const c = Math.floor(i / 16) % 3;
    return (v * (std[c] ?? NaN) + (mean[c] ?? NaN) - 0.5) / 0.25;
  });
  const got = lossOf("preprocess = [4, 4, [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]]", 'augment = [normalize("cifar10")]');
  t.true(Math.abs(got - told(want, 4)) <= 1e-4 * Math.abs(got), `${got}, not ${told(want, 4)}`);
});

/** Pillow's bicubic of one line, by its definition. */
function resized(line: readonly number[], to: number): number[] {
  const [scale, a] = [line.length / to, -0.5];
  const support = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const weight = line.map((_v, j) => {
      const d = Math.abs((i + 0.5) * scale - 0.5 - j) / support;
      if (d < 1) return (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1;
      return d < 2 ? a * (d ** 3 - 5 * d ** 2 + 8 * d - 4) : 0;
    });
    const all = weight.reduce((x, y) => x + y, 0);
    return line.reduce((sum, v, j) => sum + (v * (weight[j] ?? NaN)) / all, 0);
  });
}

for (const side of [6, 3, 8]) {
  test(`another size: 4 pixels a side become ${side}`, (t) => {
    const want: number[] = [];
    for (let plane = 0; plane < 6; plane++) {
      const rows = Array.from({ length: 4 }, (_, y) =>
        resized(Array.from(PIXELS.subarray(plane * 16 + y * 4, plane * 16 + y * 4 + 4)), side));
      const columns = Array.from({ length: side }, (_, x) => resized(rows.map((row) => row[x] ?? NaN), side));
      for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) want.push(columns[x]?.[y] ?? NaN);
    }
    const got = lossOf(`size = ${side}`);
    t.true(Math.abs(got - told(want, side)) <= 1e-5 * Math.abs(got), `${got}, not ${told(want, side)}`);
  });
}

test("a normalization's name stands for its numbers, unless they are given", (t) => {
  const numbersOf = (call: string): unknown => elaborate(text("", `augment = [${call}]`)).recipe?.settings.augment[0]?.arguments;
  t.deepEqual(numbersOf('normalize("cifar10")'),
    { name: "cifar10", mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] });
  const own = { mean: [0.1, 0.2, 0.3], std: [1, 1, 1] };
  t.deepEqual(numbersOf("normalize(mean = [0.1, 0.2, 0.3], std = [1, 1, 1])"), { name: "imagenet", ...own });
});

test("two teachers averaged, and a name of no normalization", (t) => {
  const two = text("", "").replace("  data =", "  second: probe frozen from \"u.safetensors\"\n  data =")
    .replace("seen = teacher(images).seen", "seen = 0.5 * teacher(images).seen + 0.5 * second(images).seen");
  t.deepEqual(elaborate(two).diagnostics, []);
  const [wrong, more] = elaborate(text("", 'augment = [normalize("imagnet")]')).diagnostics;
  t.is(more, undefined);
  t.regex(wrong?.message ?? "", /unknown normalization "imagnet"/);
});

test("another teacher or another loss is one line of a recipe", (t) => {
  const lines = {
    "a RegNetY": 'teacher: regnety_002 { image = 32  classes = 10 } frozen from "r.safetensors"',
    "another size": 'teacher: resnet18 { image = 64  classes = 10 } frozen from "n.safetensors"',
    "another DeiT": 'teacher: deit_cifar frozen from "d.safetensors"',
    "another loss": `loss(images: [B, 3, H, W], labels: i32[B]) {
      return soft_distillation(student(images).logits, teacher(images).logits, 2.0)
    }`,
  };
  for (const [what, line] of Object.entries(lines)) {
    const { recipe, diagnostics } = elaborate(`
      import { deit_cifar, hard } from "../../models/cifar.deit"
      import { soft_distillation } from "../../models/losses.deit"
      import { regnety_002 } from "../../models/regnet.deit"
      import { resnet18 } from "../../models/resnet.deit"
      recipe mine extends hard { ${line} }
    `);
    t.deepEqual(diagnostics, [], what);
    t.true(recipe !== undefined && trainingGraph(recipe, {}).gradients.size > 50, what);
  }
});
