/**
 * Elaboration: names, shapes and counts of models against timm's, golden diagnostics, limits, and models as a user
 * writes them.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import test from "ava";
import { isConstant, showShape } from "../compiler/ir/dim.js";
import { callable, instantiate } from "../compiler/elaborate/instantiate.js";
import { evaluate } from "../compiler/elaborate/evaluate.js";
import { Frame, Session } from "../compiler/elaborate/frame.js";
import { printGraph, topological, rootsOf } from "../compiler/ir/graph.js";
import { OPS } from "../compiler/ops/index.js";
import type * as ast from "../dsl/ast.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { parseExpression } from "../dsl/parse.js";
import { codes, count, elaborate, load, modelOf, sizes, written, writtenModel } from "./elaborated.js";
import { goldenIndex } from "./golden.js";

const GOLDEN = "test/elaborate";

// Counts of deit.md §1.1 and §1.3: [header values, parameters].
const VITS: readonly [string, Readonly<Record<string, number | boolean>>, number][] = [
  ["deit_tiny_patch16_224", { dim: 192, heads: 3 }, 5_717_416],
  ["deit_small_patch16_224", { dim: 384, heads: 6 }, 22_050_664],
  ["deit_base_patch16_224", {}, 86_567_656],
  ["deit_base_patch16_384", { image: 384 }, 86_859_496],
  ["deit_tiny_distilled_patch16_224", { dim: 192, heads: 3, distilled: true }, 5_910_800],
  ["deit_small_distilled_patch16_224", { dim: 384, heads: 6, distilled: true }, 22_436_432],
  ["deit_base_distilled_patch16_224", { distilled: true }, 87_338_192],
  ["deit_base_distilled_patch16_384", { image: 384, distilled: true }, 87_630_032],
  ["vit_tiny_patch16_384", { dim: 192, heads: 3, image: 384 }, 5_790_376],
  ["vit_small_patch32_224", { dim: 384, heads: 6, patch: 32 }, 22_878_952],
  ["vit_small_patch32_384", { dim: 384, heads: 6, patch: 32, image: 384 }, 22_915_432],
  ["vit_small_patch16_384", { dim: 384, heads: 6, image: 384 }, 22_196_584],
  ["vit_base_patch32_224", { patch: 32 }, 88_224_232],
  ["vit_base_patch32_384", { patch: 32, image: 384 }, 88_297_192],
  ["vit_base_patch8_224", { patch: 8 }, 86_576_872],
  ["vit_large_patch32_384", { dim: 1024, depth: 24, heads: 16, patch: 32, image: 384 }, 306_632_680],
  ["vit_large_patch16_224", { dim: 1024, depth: 24, heads: 16 }, 304_326_632],
  ["vit_large_patch16_384", { dim: 1024, depth: 24, heads: 16, image: 384 }, 304_715_752],
  ["vit_large_patch14_224", { dim: 1024, depth: 24, heads: 16, patch: 14 }, 304_203_752],
  // The table's figure is without the head of 1000 classes: 630 764 800 + 1280·1000 + 1000.
  ["vit_huge_patch14_224", { dim: 1280, depth: 32, heads: 16, patch: 14 }, 632_045_800],
];

for (const [name, overrides, parameters] of VITS) {
  test(`${name} has ${parameters} parameters`, (t) => {
    t.is(count(modelOf(load("models/vit.deit"), "vit", { overrides })), parameters);
  });
}

test("deit_ti has the names and shapes of the state dict", (t) => {
  const golden = goldenIndex<Record<string, { parameters: number; state_dict?: Record<string, number[]> }>>(
    "forward/index.json",
  );
  const expected = golden["deit_tiny_patch16_224"]?.state_dict ?? {};
  const model = modelOf(load("models/deit_ti.deit"));
  t.deepEqual(Object.fromEntries([...sizes(model)].sort()), Object.fromEntries(Object.entries(expected).sort()));
  for (const [name, , parameters] of VITS) t.is(golden[name]?.parameters ?? parameters, parameters, name);
  for (const [, parameters, name] of DEIT3) if (name) t.is(golden[name]?.parameters, parameters, name);
});

test("the eight DeiT files elaborate, with their preprocessing", (t) => {
  const expected: Readonly<Record<string, [number, number]>> = {
    deit_ti: [5_717_416, 224], deit_s: [22_050_664, 224], deit_b: [86_567_656, 224], deit_b_384: [86_859_496, 384],
    deit_ti_distilled: [5_910_800, 224], deit_s_distilled: [22_436_432, 224], deit_b_distilled: [87_338_192, 224],
    deit_b_distilled_384: [87_630_032, 384],
  };
  for (const [name, [parameters, side]] of Object.entries(expected)) {
    const model = modelOf(load(`models/${name}.deit`), name);
    t.is(count(model), parameters, name);
    t.is(model.preprocess?.size, side, name);
    t.deepEqual(model.preprocess?.mean, [0.485, 0.456, 0.406]);
    t.is(showShape([...model.graph.inputs.values()][0]?.shape ?? []), `[B, 3, ${side}, ${side}]`);
  }
});

// deit.md §1.2, and the fixture that has the same figure.
const DEIT3: readonly [string, number, string | undefined][] = [
  ["deit3_s", 22_059_496, "deit_small_patch16_LS_224"], ["deit3_s_384", 22_205_416, "deit_small_patch16_LS_384"],
  ["deit3_m", 38_849_512, undefined], ["deit3_b", 86_585_320, "deit_base_patch16_LS_224"],
  ["deit3_b_384", 86_877_160, "deit_base_patch16_LS_384"], ["deit3_l", 304_374_760, undefined],
  ["deit3_l_384", 304_763_880, undefined], ["deit3_h", 632_126_440, undefined],
];

test("DeiT III has timm's counts", (t) => {
  const program = load("models/deit3.deit");
  for (const [name, parameters] of DEIT3) t.is(count(modelOf(program, name)), parameters, name);
  const model = modelOf(program, "deit3_s");
  t.deepEqual(sizes(model).get("pos_embed"), [1, 196, 384]);
  t.deepEqual(sizes(model).get("blocks.11.ls2.gamma"), [384]);
  t.is([...model.graph.parameters.values()].filter((p) => p.decay).length, 50);
});

test("decay: one-dimensional parameters and no_decay are left out, as the official code does", (t) => {
  // deit.md §1.7: tensors (values) without decay and with, of the distilled tiny model.
  const model = modelOf(load("models/deit_ti_distilled.deit"));
  const all = [...model.graph.parameters.values()];
  t.is(all.filter((p) => !p.decay).length, 103);
  t.is(all.filter((p) => p.decay).length, 52);
  t.true(model.graph.parameters.get("dist_token")?.decay);
  t.deepEqual(model.graph.parameters.get("pos_embed")?.initializer, { kind: "trunc_normal", std: 0.02 });
  const stem = model.graph.parameters.get("patch_embed.proj.weight")?.initializer;
  t.is(stem?.kind, "uniform");
  t.true(stem?.kind === "uniform" && Math.abs(stem.bound - 0.0360844) < 1e-7);
});

for (const [file, target, parameters] of [
  ["resnet", "resnet50", 25_557_032], ["regnet", "regnety_160", 83_590_140],
    ["efficientnet", "efficientnet_b0", 5_288_548],
] as const) {
  test(`${target} has ${parameters} parameters`, (t) => {
    t.is(count(modelOf(load(`models/${file}.deit`), target)), parameters);
  });
}

test("batch statistics are updated in the train graph only", (t) => {
  const program = load("models/resnet.deit");
  const [infer, train] = [modelOf(program, "resnet50"), modelOf(program, "resnet50", { training: true })];
  t.is(infer.graph.updates.size, 0);
  t.is(train.graph.updates.size, 106);
  t.true(topological(rootsOf(train.graph)).some((n) => n.op === "size"));
  t.deepEqual([...sizes(infer)], [...sizes(train)]);
});

// Golden diagnostics
for (const file of readdirSync(GOLDEN).filter((name) => name.endsWith(".deit")).sort()) {
  test(`golden ${file}`, (t) => {
    const place = `${GOLDEN}/${file}`;
    const { diagnostics } = elaborate(load(place), file.replace(".deit", ""), { training: true });
    // The renderer prints the first twenty; goldens hold all.
    const text = diagnostics.map((d) => renderDiagnostics([d])).join("\n\n") + "\n";
    const golden = place.replace(".deit", ".txt");
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(golden, text);
    t.is(text, readFileSync(golden, "utf8"));
    t.true(diagnostics.length > 0);
  });
}

// Models as a user writes them
const MIXER = `
import { conv, layer_norm, linear } from "./models/nn.deit"
block mlp(x: [.., D], hidden: int) -> [.., D] {
  fc1 = linear(x, hidden)
  fc2 = linear(gelu(fc1), D)
  return fc2
}
block mixer(x: [B, N, D], tokens: int, channels: int) -> [B, N, D] {
  norm1 = layer_norm(x)
  mlp_tokens = mlp(transpose(norm1), tokens)
  x = x + transpose(mlp_tokens)
  norm2 = layer_norm(x)
  mlp_channels = mlp(norm2, channels)
  return x + mlp_channels
}
model mixer_s16(image = 224, patch = 16, dim = 512, depth = 8, classes = 1000) {
  input images: [B, 3, image, image]
  stem = conv(images, dim, kernel = patch, stride = patch, pad = 0, bias = true)
  x = permute(reshape(stem, [B, dim, (image / patch)^2]), [0, 2, 1])
  for i in 0..depth { x = mixer(x, dim / 2, dim * 4) as "blocks.{i}" }
  norm = layer_norm(x)
  head = linear(mean(norm, axis = 1), classes)
  output logits = head
}`;

test("an MLP-Mixer has timm's names and count", (t) => {
  const model = writtenModel(MIXER);
  t.is(count(model), 18_528_264);
  t.deepEqual(sizes(model).get("blocks.7.mlp_tokens.fc1.weight"), [256, 196]);
  t.is(showShape(model.graph.outputs.get("logits")?.shape ?? []), "[B, 1000]");
  t.is(model.instances.filter((i) => i.block === "mixer").length, 8);
});

const CLASS_ATTENTION = `
import { layer_norm, linear } from "./models/nn.deit"
/// One query, the class token, over all tokens.  Source: Touvron et al. 2021 (CaiT), §2.
block class_attention(x: [B, N, D], heads: int) -> [B, 1, D] {
  q = linear(x[:, 0:1], D)
  k = linear(x, D)
  v = linear(x, D)
  qh = permute(reshape(q, [B, 1, heads, D / heads]), [0, 2, 1, 3]) * (D / heads)^-0.5
  kh = permute(reshape(k, [B, N, heads, D / heads]), [0, 2, 1, 3])
  vh = permute(reshape(v, [B, N, heads, D / heads]), [0, 2, 1, 3])
  attn = softmax(matmul(qh, transpose(kh)), axis = -1)
  proj = linear(reshape(permute(matmul(attn, vh), [0, 2, 1, 3]), [B, 1, D]), D)
  return proj
}
model cait_head(tokens = 196, dim = 64, heads = 4, classes = 10) {
  input patches: [B, tokens, dim]
  param cls_token: [1, 1, dim] ~ trunc_normal(0.02) no_decay
  param gamma_1: [dim] ~ constant(1e-5)
  x = concat([expand(cls_token, [B, 1, dim]), patches], axis = 1)
  norm1 = layer_norm(x)
  attn = class_attention(norm1, heads)
  cls = x[:, :1] + gamma_1 * attn
  norm = layer_norm(cls)
  head = linear(norm[:, 0], classes)
  output logits = head
}`;

test("a class-attention head elaborates", (t) => {
  const model = writtenModel(CLASS_ATTENTION);
  t.deepEqual([...sizes(model)].slice(0, 4).map(([name]) => name),
    ["cls_token", "gamma_1", "norm1.weight", "norm1.bias"]);
  const [token, gamma, norms, projections, head] = [64, 64, 2 * 2 * 64, 4 * (64 * 64 + 64), 64 * 10 + 10];
  t.is(count(model), token + gamma + norms + projections + head);
  t.is(showShape(model.graph.outputs.get("logits")?.shape ?? []), "[B, 10]");
});

test("fixed buffers start from lists and expressions", (t) => {
  const model = writtenModel(`model m(n = 3) {
    input x: [B, n, n]
    buffer mask: [n, n] ~ where(reshape(arange(n), [n, 1]) >= arange(n), 0, -1)
    buffer table: [2, 2] ~ [[1, 2], [3, 4]]
    output y = x + mask
    output z = table * 2
  }`);
  t.deepEqual(model.graph.parameters.get("mask")?.initializer,
    { kind: "values", values: [0, -1, -1, 0, 0, -1, 0, 0, 0] });
  t.deepEqual(model.graph.parameters.get("table")?.initializer, { kind: "values", values: [1, 2, 3, 4] });
  t.false(model.graph.parameters.get("mask")?.trained);
});

test("compile-time functions fold", (t) => {
  const model = writtenModel(`model m(widths = [8, 16, 32]) {
    input x: [B, 4]
    a = sum(widths) + len(range(2, 6)) + max(widths) - min(3, 2) + round(2.5) + round(3.5) + floor(2.7) + ceil(2.1)
    b = linspace(0, 1, 5)[1] * 8 + abs(-3) + sqrt(16) + exp(0) + log(1) + cos(0) + sin(0) + 7 % 4 + (-7) % 4 + relu(-2)
    param w: [a, b] ~ zeros
    output y = x
  }`);
  t.deepEqual(sizes(model).get("w"), [56 + 4 + 32 - 2 + 2 + 4 + 2 + 3, 2 + 3 + 4 + 1 + 0 + 1 + 0 + 3 + 1]);
});

test("two draws of random numbers are two", (t) => {
  const model = writtenModel(`model m(n = 3) {
    input x: [B, n]
    output y = x * bernoulli(0.5, [B, 1]) * bernoulli(0.5, [B, 1])
  }`, { training: true });
  t.is(topological(rootsOf(model.graph)).filter((n) => n.op === "bernoulli").length, 2);
});

test("overrides beat the chain, and are checked", (t) => {
  const program = load("models/deit_ti.deit");
  t.is(count(modelOf(program, undefined, { overrides: { depth: 2 } })), 5_717_416 - 10 * (12 * 192 ** 2 + 13 * 192));
  t.deepEqual(codes(elaborate(program, undefined, { overrides: { dpth: 2 } })), ["unknown_override"]);
  t.deepEqual(codes(elaborate(program, undefined, { overrides: { distilled: 1 } })), ["wrong_type"]);
  t.deepEqual(codes(elaborate(program, undefined, { overrides: { preprocess: [1, 2] } })), ["wrong_type"]);
  const small = elaborate(program, undefined, { overrides: { preprocess: [32, 36, [0, 0, 0], [1, 1, 1]] } });
  t.deepEqual(codes(small), ["value_error"]);
  t.is(small.diagnostics[0]?.message,
    "`preprocess` makes images of [3, 32, 32], but the input `images` is [B, 3, 224, 224]");
  t.deepEqual(codes(elaborate(program, "deit_tj")), ["unknown_target"]);
  t.deepEqual(codes(elaborate(load("models/resnet.deit"))), ["ambiguous_target"]);
});

// Limits. Without them these would not end; more are in elaborate_limits.test.ts, and timed by `npm run bench`.
test("what asks for too much is stopped", (t) => {
  const vit = load("models/vit.deit");
  t.deepEqual(codes(elaborate(vit, "vit", { overrides: { depth: 1_000_000_000 } })), ["too_many"]);
  t.deepEqual(codes(elaborate(vit, "vit", { overrides: { dim: 12_000_000_000, heads: 12 } })).slice(0, 1), ["too_large"]);
  const wide = "model m(n = 3) { input x: [B, n] a = expand(reshape(x, [B, n, 1]), [B, n, 2000000000]) output y = x }";
  t.deepEqual(codes(written(wide)), ["too_large"]);
  const id = "block id(x: [B, N]) -> [B, N] { return x }";
  const calls = `${id} model m(n = 3) { input x: [B, n] for i in 0..30000 { a = id(x) } output y = x }`;
  t.deepEqual(codes(written(calls)), ["too_many"]);
  // As deep as the language lets blocks nest.
  const chain = Array.from({ length: 190 }, (_, i) =>
    `block b${i}(x: [B, N]) -> [B, N] { return b${i + 1}(x) }`).join("\n");
  const last = "block b190(x: [B, N]) -> [B, N] { return x }";
  const deep = `${chain}\n${last}\nmodel m(n = 3) { input x: [B, n] output y = b0(x) }`;
  t.deepEqual(codes(written(deep)), []);
});

test("an error in a block is reported once, whatever instance finds it", (t) => {
  const found = written(`
block bad(x: [B, N, D]) -> [B, N, D] { return matmul(x, x) }
model m(n = 3) { input x: [B, n, 7] for i in 0..5 { a = bad(x) } b = bad(x) output y = a + b }`);
  t.deepEqual(codes(found), ["shape_mismatch"]);
});

// Seam of recipes
test("a model instance can be called twice in a loss and shares its parameters", (t) => {
  const program = load("models/deit_ti_distilled.deit");
  const [model] = program.models;
  const source: ast.Source = { path: "loss", text: "student(images).logits" };
  const { tree } = parseExpression(source);
  const callee = tree?.kind === "member" ? tree.object : undefined;
  if (!model || callee?.kind !== "call") throw new Error("the entry file has a model and the text is a call");
  const session = new Session(OPS, evaluate);
  const at = { source, start: 0, end: 1 };
  const recipe = new Frame({
    session, scope: program.scope, label: "recipe", path: "", span: at, training: true, frozen: false, doc: "",
  });
  const images = instantiate(session, { model, path: "first", training: true, frozen: false });
  const input = session.inputs.get("images");
  t.truthy(images);
  if (!input) throw new Error("the model has an input");
  recipe.names.set("images", { kind: "tensor", node: input });
  const student = callable(session, { model, path: "", training: true, frozen: false });
  const teacher = callable(session, { model, path: "teacher", training: true, frozen: true });
  const [one, two, other] = [student(recipe, callee), student(recipe, callee), teacher(recipe, callee)];
  t.deepEqual(session.diagnostics, []);
  t.true(one.kind === "outputs" && two.kind === "outputs" && other.kind === "outputs");
  t.is(session.parameters.size, 3 * 155);
  t.true(session.parameters.get("head.weight")?.parameter.trained);
  t.false(session.parameters.get("teacher.head.weight")?.parameter.trained);
  t.false(session.parameters.get("teacher.head.weight")?.parameter.decay);
});

test("the graph is the same every time", (t) => {
  const program = load("models/deit_ti.deit");
  const text = printGraph(modelOf(program).graph);
  t.is(printGraph(modelOf(program).graph), text);
  t.true(text.includes("// blocks.11.mlp.fc2"));
  t.true([...modelOf(program).graph.parameters.values()].every((p) => p.node.shape.every(isConstant)));
});
