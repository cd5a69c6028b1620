/**
 * `deitc check` of recipes: every mistake is told where it stands, and what is sound is named with its facts. What
 * `check` lets through, `train` does not refuse: for data, weights and devices alone it has to run.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import anyTest, { type TestFn } from "ava";
import { inside } from "./cli_process.js";

const test = anyTest as TestFn<{ folder: string }>;

test.beforeEach((t) => {
  t.context.folder = mkdtempSync(join(tmpdir(), "deitc-check-"));
});
test.afterEach.always((t) => rmSync(t.context.folder, { recursive: true, force: true }));

const HEAD = `import { vit } from "deitc/vit.deit"
import { cross_entropy, hard_distillation, soft_cross_entropy } from "deitc/losses.deit"
model tiny extends vit { image = 32  patch = 8  dim = 8  depth = 1  heads = 2  classes = 8 }
model other extends tiny { distilled = true }
`;
const LABELS = "loss(images: [B, 3, H, W], labels: i32[B]) { return cross_entropy(student(images).logits, labels) }";
const TARGETS = "loss(images: [B, 3, H, W], targets: [B, C]) { return soft_cross_entropy(student(images).logits, targets) }";

/** A sound recipe with some members replaced or added, one a line. */
function recipe(changes: Readonly<Record<string, string>>): string {
  const members = {
    student: "student: tiny", data: "data = shapes()", batch: "batch = 64 images", length: "length = 5 epochs",
    optimizer: "optimizer = adamw(lr = 1e-3)", loss: LABELS, ...changes,
  };
  return `${HEAD}recipe r {\n${Object.values(members).map((line) => `  ${line}`).join("\n")}\n}\n`;
}

/** What is wrong in a recipe, the code, and a part of the message. `@@` stands where the mistake is. */
const WRONG: readonly (readonly [string, Readonly<Record<string, string>>, code: string, said: RegExp])[] = [
  ["mixed precision", { more: "precision = @@mixed" }, "value_error", /`precision = mixed` is not available yet: this version trains in f32/u],
  ["shards", { data: 'data = @@shards("data")' }, "value_error", /`shards\(…\)` is not available yet/u],
  ["hue", { more: "augment = [color_jitter(0.1, hue = @@0.1)]" }, "value_error", /`hue` is not available yet/u],
  ["an unknown schedule", { more: "schedule = @@plateau()" }, "unknown_name", /`plateau`/u],
  ["an unknown optimizer", { optimizer: "optimizer = @@adam(lr = 1)" }, "unknown_name", /`adam`/u],
  ["two mixups", { more: "augment = [mixup(0.2), @@mixup(0.8)]", loss: TARGETS }, "value_error", /`mixup` is given twice/u],
  ["two cutmixes", { more: "augment = [cutmix(), mixup(), @@cutmix()]", loss: TARGETS }, "value_error", /`cutmix` is given twice/u],
  ["mixup and cutmix at odds", { more: "augment = [mixup(switch = 0.5), cutmix(switch = @@0.7)]", loss: TARGETS }, "value_error",
    /`switch` of `cutmix` is 0\.7, that of `mixup` is 0\.5/u],
  ["smoothing of one", { more: "augment = [label_smoothing(@@1.0)]", loss: TARGETS }, "value_error",
    /`amount` of `label_smoothing` must be at least 0 and below 1, got 1/u],
  ["smoothing below zero", { more: "augment = [label_smoothing(@@-0.1)]", loss: TARGETS }, "value_error", /below 1, got -0\.1/u],
  ["every block dropped", { more: "drop_path = @@1" }, "value_error",
    /`drop_path` must be a number of at least 0 and below 1, got the number 1/u],
  ["a probability of two", { more: "augment = [horizontal_flip(@@2)]" }, "value_error",
    /`probability` of `horizontal_flip` must be between 0 and 1, got 2/u],
  ["mixup without targets", { more: "augment = [@@mixup(0.8)]" }, "value_error", /`mixup` mixes the targets.*takes `labels`/u],
  ["cutmix without targets", { more: "augment = [@@cutmix()]" }, "value_error", /`cutmix` mixes the targets.*takes `labels`/u],
  ["smoothing without targets", { more: "augment = [@@label_smoothing(0.1)]" }, "value_error", /`label_smoothing` changes the targets/u],
  ["an odd batch of mixup", { batch: "batch = 63 images", more: "augment = [@@mixup()]", loss: TARGETS }, "value_error",
    /a batch of 63 is odd/u],
  ["a flip after normalize", { more: "augment = [normalize(), @@horizontal_flip()]" }, "value_error", /works on 8-bit pixels/u],
  ["a crop of another size", { more: "augment = [@@random_crop(24)]" }, "value_error",
    /after `random_crop` have 24 × 24 pixels.* takes 32 × 32/u],
  ["a crop that does not fit", { more: "augment = [@@random_crop(48)]" }, "value_error", /a crop of 48 pixels does not fit an image of 40 × 40/u],
  ["a batch beyond the data", { data: "data = shapes(train = 32)", batch: "batch = @@64 images" }, "value_error",
    /a batch of 64 images is more than the 32 that `shapes` trains on/u],
  ["no steps", { length: "length = @@0 steps" }, "not_an_integer", /`length` must be a positive integer, got 0/u],
  ["a tensor no data brings", { loss: LABELS.replace("labels: i32[B])", "@@weight: [B], labels: i32[B])") }, "value_error",
    /the loss takes `weight`, which the data does not provide/u],
  ["labels as numbers", { loss: "loss(images: [B, 3, H, W], labels: @@[B]) { return mean(student(images).logits) + mean(labels) }" }, "value_error",
    /the loss takes `labels` as \[B\], but the data provides i32 ?\[B\]/u],
  ["classes of the data", { data: 'data = @@cifar10("x")' }, "value_error", /`cifar10` has 10 classes, but the trained model predicts 8/u],
  ["a head the loss leaves out", { student: "student: other", loss: `@@${LABELS}` }, "no_gradient", /`head_dist\.weight` of `student`/u],
  ["another shape", { loss: LABELS.replace("images: [B, 3", "images: @@[B, 1") }, "shape_mismatch", /got \[B, 3, 32, 32\]/u],
  ["an unknown override", { student: "student: tiny { @@widht = 3 }" }, "unknown_override", /no parameter `widht`/u],
  ["a wrong unit", { batch: "batch = @@5 epochs" }, "wrong_unit", /takes images, got epochs/u],
  ["passes that do not divide", { more: "accumulate = @@7 steps" }, "value_error", /does not split into 7 equal passes/u],
  ["a step that never comes", { more: "schedule = step(every = @@0 epochs)" }, "value_error", /`every` of `step` must be more than 0/u],
  ["an unknown mode", { more: 'augment = [random_erase(mode = @@"hole")]' }, "value_error", /`mode` of `random_erase` must be "pixel", "rand" or "const"/u],
];

test("every mistake of a recipe is told where it stands", async (t) => {
  const { folder } = t.context;
  const files = WRONG.map(([, changes], i) => {
    const text = recipe(changes);
    const at = text.indexOf("@@");
    const before = text.slice(0, at).split("\n");
    writeFileSync(join(folder, `r${i}.deit`), text.replace("@@", ""));
    return { file: `r${i}.deit`, line: before.length, column: (before.at(-1) ?? "").length + 1 };
  });
  const { code, out, err } = await inside(folder, ["check", "--json", ...files.map(({ file }) => file)]);
  t.is(code, 1, err);
  interface Found { readonly file: string; readonly line: number; readonly column: number; readonly code: string; readonly message: string }
  const { diagnostics } = JSON.parse(out) as { diagnostics: readonly Found[] };
  for (const [i, [what, , expected, said]] of WRONG.entries()) {
    const own = diagnostics.filter(({ file }) => file === `r${i}.deit`);
    t.deepEqual(own.map((d) => [d.code, d.line, d.column]), [[expected, files[i]?.line, files[i]?.column]], `${what}: ${JSON.stringify(own)}`);
    t.regex(own[0]?.message ?? "", said, what);
  }
});

test("an augmentation that changes targets says which parameter the loss takes them by", async (t) => {
  const { folder } = t.context;
  writeFileSync(join(folder, "mix.deit"), recipe({ more: "augment = [mixup(0.8)]" }));
  t.regex((await inside(folder, ["check", "mix.deit"])).err, /help: write `targets: \[B, C\]` among the loss's parameters/u);
});

test("values of a header that no model can have are told, with the place that gave them", async (t) => {
  const { folder } = t.context;
  const cases: readonly (readonly [string, RegExp])[] = [
    ["model wrong extends tiny { depth = -1 }", /`depth` is -1: a loop cannot run from 0 up to -1[^]*in model wrong \(wrong\.deit:5\)/u],
    ["model wrong extends tiny { drop_path = 1  depth = 2 }", /divides by zero: `1 - rate` is 0[^]*model wrong \(wrong\.deit:5\)/u],
    ["model wrong extends tiny { heads = 0 }", /`D \/ heads` divides by zero: `heads` is 0[^]*model wrong \(wrong\.deit:5\)/u],
    [recipe({ student: "student: tiny { depth = -1 }" }).slice(HEAD.length),
      /`depth` is -1[^]*in model tiny \(wrong\.deit:3\), `depth` of recipe r \(wrong\.deit:6\)/u],
    [recipe({ student: "student: tiny { depth = 2  drop_path = 1 }" }).slice(HEAD.length),
      /divides by zero[^]*model tiny \(wrong\.deit:\d+\), `depth`, `drop_path` of recipe r \(wrong\.deit:6\)/u],
  ];
  for (const [text, says] of cases) {
    writeFileSync(join(folder, "wrong.deit"), `${HEAD}${text}\n`);
    const { code, err } = await inside(folder, ["check", "wrong.deit"]);
    t.is(code, 1, text);
    t.regex(err, says);
    t.regex(err, /^error\[value_error\]/mu);
  }
});

test("all that is wrong in a file is told at once, and what is sound besides", async (t) => {
  const { folder } = t.context;
  const more = "recipe s extends r { length = 0.5 epochs }\nrecipe u extends r { accumulate = 3 steps }\nmodel bad extends tiny { heads = 3 }\n";
  writeFileSync(join(folder, "all.deit"), recipe({}) + more);
  const { code, out, err } = await inside(folder, ["check", "all.deit"]);
  t.is(code, 1);
  t.deepEqual(err.match(/^error\[\w+\]/gmu)?.length, 2, err);
  t.regex(out, /^all\.deit: model tiny: OK, [\d, ]+ parameters in \d+ tensors$/mu);
  t.regex(out, /^all\.deit: model bad: has errors$/mu);
  t.regex(out, /^all\.deit: recipe r: OK, student tiny, [\d, ]+ trained parameters in \d+ tensors, batch 64, 5 epochs, shapes, adamw, constant, 8 classes$/mu);
  t.regex(out, /^all\.deit: recipe s: OK/mu);
  t.regex(out, /^all\.deit: recipe u: has errors$/mu);
  const one = await inside(folder, ["check", "all.deit", "--target", "s"]);
  t.deepEqual([one.code, one.out.split("\n").length, one.err], [0, 2, ""]);
  t.regex((await inside(folder, ["check", "all.deit", "--target", "q"])).err, /error\[unknown_target\]/u);
});

test("what is checked is named as for any other command", async (t) => {
  const { folder } = t.context;
  writeFileSync(join(folder, "all.deit"), `${recipe({})}model bad extends tiny { heads = 3 }\n`);
  const check = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await inside(folder, ["check", ...args]);
    return `${code} ${out}${err.split("\n", 1).join("")}`;
  };
  t.regex(await check("all.deit:tiny"), /^0 all\.deit: model tiny: OK, [\d,]+ parameters in \d+ tensors\n$/u);
  t.regex(await check("all.deit:bad"), /^1 all\.deit: model bad: has errors\nerror\[\w+\]/u);
  t.regex(await check("all.deit:r.student"), /^0 all\.deit: model r\.student: OK, [\d,]+ parameters in \d+ tensors\n$/u);
  t.is(await check("all.deit", "--target", "r.student"), await check("all.deit:r.student"));
  t.regex(await check("all.deit:r.teacher"), /^1 all\.deit: model r\.teacher: has errors\nerror\[unknown_target\]: .*`r\.teacher`/u);
  t.regex(await check("all.deit:tiny", "all.deit:r"), /^0 all\.deit: model tiny: OK.*\nall\.deit: recipe r: OK.*\n$/u);
  t.regex(await check("all.deit:q"), /^1 error\[unknown_target\]/u);
  t.regex(await check("all.deit:tiny", "--target", "r"), /^2 error: two targets are given at once/u);
  writeFileSync(join(folder, "torn.deit"), recipe({ student: "student: tny" }));
  t.regex(await check("torn.deit:r.student"), /model r\.student: not checked, because something that it uses has errors/u);
});

test("a syntax error hides no error of another declaration, and nobody is blamed for it", async (t) => {
  const { folder } = t.context;
  writeFileSync(join(folder, "parts.deit"), [
    "block cut(x: [B, N]) -> [B, N] {", "  y = (x +", "  return y", "}", // a syntax error in another file
    "block whole(x: [B, N]) -> [B, N] { return x * 2 }", "",
  ].join("\n"));
  writeFileSync(join(folder, "many.deit"), [
    'import { cut, whole } from "./parts.deit"', 'import { gone } from "./nowhere.deit"',
    "model head(width = 3, { input x: [B, 4] output y = x }", // its head cannot be read
    "model heir extends head { hight = 4 }", // what its base has is not known
    "model body() { input x: [B, 4] output y = x * * 2 }",
    "model uses_cut() { input x: [B, 4] output y = cut(x) }",
    "model uses_gone() { input x: [B, 4] output y = gone(x) }",
    "model shape() { input x: [B, 4] output y = matmul(x, x) }",
    "model name() { input x: [B, 4] output y = wholee(x) }",
    "model sound() { input x: [B, 4] output y = whole(x) }",
    "recipe r { student: body  data = shapes()  batch = 5 epochs  length = 1 epochs }", "",
  ].join("\n"));
  const { code, out } = await inside(folder, ["check", "--json", "many.deit"]);
  t.is(code, 1);
  const { declarations, diagnostics } = JSON.parse(out) as {
    declarations: readonly { name: string; status: string }[];
    diagnostics: readonly { code: string; file: string; line: number }[];
  };
  t.deepEqual(diagnostics.map(({ file, line, code: found }) => `${file}:${line} ${found}`).sort(), [
    "many.deit:2 import_not_found", "many.deit:3 unexpected_token", "many.deit:5 unexpected_token",
    "many.deit:8 shape_mismatch", "many.deit:9 unknown_name", "parts.deit:3 unexpected_token",
  ]);
  t.deepEqual(declarations.map(({ name, status }) => `${name} ${status}`), [
    "shape wrong", "sound ok", "heir unchecked", "body wrong", "uses_cut unchecked", "uses_gone unchecked", "name wrong",
    "r unchecked",
  ]);
});

test("a name is not unknown where an error may hide its declaration", async (t) => {
  const { folder } = t.context;
  writeFileSync(join(folder, "typo.deit"), [
    "blok twice(x: [B, N]) -> [B, N] { return x * 2 }",
    "model user() { input x: [B, 4] output y = twice(x) }",
    "model shape() { input x: [B, 4] output y = matmul(x, x) }", "",
  ].join("\n"));
  const { out, err } = await inside(folder, ["check", "typo.deit"]);
  t.deepEqual(err.match(/^error\[\w+\]/gmu), ["error[unexpected_token]", "error[shape_mismatch]"], err);
  t.regex(out, /model user: not checked, because something that it uses has errors/u);
});

test("a missing brace is an error of the declaration before it", async (t) => {
  const { folder } = t.context;
  writeFileSync(join(folder, "brace.deit"),
    "model open() {\n  input x: [B, 4]\n  output y = x\nmodel next() { input x: [B, 4] output y = matmul(x, x) }\n");
  const { err } = await inside(folder, ["check", "brace.deit"]);
  t.deepEqual(err.match(/^error\[\w+\]/gmu), ["error[unexpected_token]", "error[shape_mismatch]"], err);
});

test("a recipe that leaves members to others is a base", async (t) => {
  const { folder } = t.context;
  const text = recipe({}).replace("  length = 5 epochs\n", "");
  writeFileSync(join(folder, "base.deit"), `${text}recipe long extends r { length = 9 epochs }\n`);
  const { code, out, err } = await inside(folder, ["check", "base.deit"]);
  t.is(code, 0, err);
  t.regex(out, /recipe r: a base, checked where another recipe extends it\n.*recipe long: OK/u);
});

test("the shipped recipes are sound", async (t) => {
  const files = ["recipe", "cifar", "shapes", "vit"].map((name) => resolve(`models/${name}.deit`));
  const { code, out, err } = await inside(t.context.folder, ["check", "--json", ...files]);
  t.is(code, 0, err);
  const { declarations } = JSON.parse(out) as { declarations: readonly { kind: string; name: string; status: string }[] };
  t.deepEqual(declarations.filter(({ status }) => status !== "ok"), []);
  t.deepEqual(declarations.filter(({ kind }) => kind === "recipe").map(({ name }) => name),
    ["hard", "soft", "plain", "soft", "hard", "hard_token", "shapes"]);
});
