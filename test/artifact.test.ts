/**
 * What a command line names means the same to every command: a file, a model or a recipe of it, a model of a recipe,
 * a compiled folder.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import test from "ava";
import type { Artifact } from "../runtime/artifact.js";
import { inside, type Outcome } from "./cli_process.js";

const home = mkdtempSync(join(tmpdir(), "deitc-artifact-"));
const before = process.env["DEITC_ADAPTER"];
process.env["DEITC_ADAPTER"] ??= "swiftshader";
test.after.always(() => {
  if (before === undefined) delete process.env["DEITC_ADAPTER"];
  rmSync(home, { recursive: true, force: true });
});

const MODEL = `import { vit } from "deitc/vit.deit"
import { cross_entropy, hard_distillation } from "deitc/losses.deit"
model tiny extends vit { image = 32  patch = 16  dim = 16  depth = 1  heads = 2  classes = 8 }
`;
const RECIPE = `/// A pupil that is wider than the model it is made of.
recipe lesson {
  pupil: tiny { dim = 24 }
  data = shapes(train = 32, test = 16)
  batch = 8 images
  length = 2 steps
  optimizer = sgd(lr = 1e-3)
  schedule = constant()
  loss(images: [B, 3, H, W], labels: i32[B]) { return cross_entropy(pupil(images).logits, labels) }
}
`;
const TAUGHT = `recipe taught extends lesson {
  master: tiny { depth = 2 } frozen from "master.safetensors"
  loss(images: [B, 3, H, W], labels: i32[B]) {
    return hard_distillation(pupil(images).logits, master(images).logits)
  }
}
`;
writeFileSync(join(home, "lesson.deit"), MODEL + RECIPE);
writeFileSync(join(home, "tiny.deit"), MODEL);
writeFileSync(join(home, "two.deit"), MODEL + RECIPE + TAUGHT);

const run = (...args: readonly string[]): Promise<Outcome> => inside(home, args);
/** What a command prints with --json. */
async function json<T>(...args: readonly string[]): Promise<T> {
  const { code, out, err } = await run(...args, "--json");
  if (code !== 0) throw new Error(err);
  return JSON.parse(out) as T;
}
interface Predicted {
  readonly model: string;
  readonly images: readonly { readonly classes: readonly { readonly label: string; readonly score: number }[] }[];
}
const predict = (name: string, ...more: readonly string[]): Promise<Predicted> =>
  json("predict", name, "--random-weights", "--generated-shapes", "2", ...more);
const parameters = async (name: string, ...more: readonly string[]): Promise<number> => {
  const { err, out } = await run("explain", name, "--parameters", ...more);
  if (err !== "") throw new Error(err);
  const sizes = out.trimEnd().split("\n").filter((line) => !line.startsWith("ema") && !/ buffer|optimizer|lane/.test(line))
    .map((line) => JSON.parse(/\[[\d, ]*\]/.exec(line)?.[0] ?? "[]") as number[]);
  return sizes.reduce((sum, shape) => sum + shape.reduce((n, d) => n * d, 1), 0);
};

test.before(async () => {
  for (const [file, out] of [["lesson.deit", "lesson"], ["lesson.deit:tiny", "tiny"]] as const) {
    const { code, err } = await run("compile", file, "--out", out);
    if (code !== 0) throw new Error(err);
  }
});

const manifestOf = (folder: string): Artifact =>
  JSON.parse(readFileSync(join(home, folder, "manifest.json"), "utf8")) as Artifact;

test.serial("a model is an artifact with one graph, a recipe one with those of its training as well", (t) => {
  t.deepEqual(Object.keys(manifestOf("tiny").graphs), ["infer"]);
  t.deepEqual(Object.keys(manifestOf("lesson").graphs).sort(), ["evaluate", "infer", "train"]);
  for (const folder of ["tiny", "lesson"]) {
    for (const [graph, { families }] of Object.entries(manifestOf(folder).graphs as Artifact["graphs"])) {
      for (const [family, { kernels }] of Object.entries(families)) {
        for (const { name } of kernels) t.true(existsSync(join(home, folder, "kernels", graph, family, `${name}.wgsl`)));
      }
    }
  }
});

test.serial("a recipe's model is predicted with by the file, by names, and by its folder, overrides and all", async (t) => {
  const expected = await predict("lesson.deit");
  for (const name of ["lesson.deit:lesson", "lesson.deit:lesson.pupil", "lesson", "two.deit:taught", "two.deit:taught.pupil"]) {
    t.deepEqual((await predict(name)).images, expected.images, name);
  }
  t.deepEqual((await predict("lesson.deit", "--target", "lesson.pupil")).images, expected.images);
  const plain = await predict("tiny");
  for (const name of ["lesson.deit:tiny", "tiny.deit"]) t.deepEqual((await predict(name)).images, plain.images, name);
  t.notDeepEqual(plain.images, expected.images);
  const master = await predict("two.deit:taught.master");
  t.notDeepEqual(master.images, plain.images);
  t.deepEqual(master.images, (await predict("tiny.deit", "--set", "depth=2")).images);
  t.deepEqual((await predict("tiny.deit", "--set", "dim=24")).images, expected.images);
});

test.serial("compile, explain, bench, verify and predict mean the same by a file's name", async (t) => {
  const compiled = await json<{ parameters: number; kernels: Record<string, Record<string, number>> }>(
    "compile", "lesson.deit", "--out", "again");
  t.deepEqual(Object.keys(compiled.kernels).sort(), ["evaluate", "infer", "train"]);
  t.true((await run("explain", "lesson.deit")).out.startsWith("lesson: a recipe\n"));
  const bench = await json<{ model: string }>("bench", "lesson.deit", "--rounds", "1");
  t.is(bench.model, "tiny");
  t.is((await json<{ model: string }>("bench", "lesson", "--rounds", "1")).model, "tiny");
  const verified = await run("verify", "lesson.deit", "--family", "scalar");
  t.is(verified.code, 0, verified.err);
  t.regex(verified.out, /^tiny on /);
  t.is(compiled.parameters, await parameters("tiny.deit", "--set", "dim=24"));
});

test.serial("explain tells of a folder what its file would, but how kernels came about", async (t) => {
  for (const [folder, file] of [["tiny", "tiny.deit"], ["lesson", "lesson.deit"]] as const) {
    for (const what of ["--parameters", "--kernel"]) {
      const more = what === "--kernel" ? ["--kernel", "scalar/", "--family", "scalar"] : [what];
      const [a, b] = [await run("explain", folder, ...more), await run("explain", file, ...more)];
      t.is(a.code, 0, a.err);
      t.is(a.out.replace(/\(\w+\.deit\)/g, ""), b.out.replace(/\(\w+\.deit\)/g, ""), `${folder} ${what}`);
    }
    const [told, all] = [(await run("explain", folder)).out, (await run("explain", file)).out];
    t.regex(told, folder === "tiny" ? /\d+ dispatches per forward pass/ : /Dispatches: `train` is a step/);
    t.true(all.length > told.length);
  }
  const refused = await run("explain", "lesson", "--memory");
  t.is(refused.code, 1);
  t.is(refused.err, "error: --memory needs the source of lesson, not a compiled folder\n  help: name the .deit file\n");
});

test.serial("--set changes the header of the model, of a recipe that of the model which is trained", async (t) => {
  const { images } = await predict("lesson.deit", "--set", "classes=3");
  t.is(images[0]?.classes.length, 3);
  const { err, code } = await run("train", "lesson.deit", "--set", "classes=3", "--out", "three");
  t.is(code, 1);
  t.regex(err, /8 classes|classes/);
  t.is((await run("train", "lesson.deit", "--set", "dim=32", "--set", "depth=2", "--out", "run")).code, 0);
  const wrong = await run("eval", "lesson.deit", "run/last.safetensors");
  t.is(wrong.code, 1, "the checkpoint is of a wider model");
  const right = await run("eval", "lesson.deit", "run/last.safetensors", "--set", "dim=32", "--set", "depth=2");
  t.is(right.code, 0, right.err);
  const seen = await run("predict", "lesson.deit", "--weights", "run/last.safetensors", "--set", "dim=32", "--set", "depth=2",
    "--generated-shapes", "1");
  t.is(seen.code, 0, seen.err);
  const unknown = await run("predict", "lesson.deit", "--random-weights", "--generated-shapes", "1", "--set", "width=3");
  t.regex(unknown.err, /error\[unknown_override\]: .*`width`/);
});

test.serial("what cannot be chosen is refused, and says what can", async (t) => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [["compile", "two.deit"], /several models or recipes[^]*choose one with `--target`: `lesson`, `taught` or `tiny`/],
    [["predict", "two.deit", "--random-weights", "--generated-shapes", "1"], /several models or recipes/],
    [["explain", "two.deit:lessen"], /has no model or recipe `lessen`[^]*did you mean `lesson`/],
    [["bench", "two.deit:taught.teacher"], /has no model or recipe `taught\.teacher`[^]*`taught\.master`, `taught\.pupil`/],
    [["train", "lesson.deit:tiny"], /error\[not_a_recipe\]: `tiny` in `lesson\.deit` is a model[^]*--target`: `lesson`/],
    [["train", "tiny.deit"], /error\[not_a_recipe\][^]*recipe my_recipe \{ student: tiny … \}/],
    [["train", "tiny"], /tiny is a model, not a recipe/],
    [["predict", "tiny", "--target", "tiny", "--random-weights", "--generated-shapes", "1"], /a compiled folder has only one/],
    [["verify", "tiny"], /verify needs a \.deit file, and `tiny` is a folder/],
    [["compile", "lesson"], /compile needs a \.deit file, and `lesson` is a folder/],
    [["bench", "tiny", "--set", "depth=2"], /this folder is compiled already/],
    [["explain", "lesson.deit:lesson", "--target", "tiny"], /two targets are given at once: lesson and tiny/],
  ];
  for (const [args, expected] of cases) {
    const { code, err } = await run(...args);
    t.true(code === 1 || code === 2, args.join(" "));
    t.regex(err, expected, args.join(" "));
  }
});

test.serial("the module of a recipe has a class that trains and one that infers", async (t) => {
  const text = readFileSync(join(home, "lesson", "index.js"), "utf8");
  const runtime = new URL("../runtime/node/index.js", import.meta.url).href;
  writeFileSync(join(home, "lesson", "here.mjs"), text.replaceAll("deitc/runtime", runtime));
  const module = await import(pathToFileURL(join(home, "lesson", "here.mjs")).href) as {
    Lesson: { recipe: string }; Trainer: unknown;
    Tiny: { load(options: object): Promise<{ infer(x: object): Promise<{ prediction: Float32Array }>; destroy(): void }> };
  };
  t.is(module.Lesson.recipe, "lesson");
  t.is(module.Trainer, module.Lesson);
  const model = await module.Tiny.load({ randomWeights: { seed: 0 }, adapter: process.env["DEITC_ADAPTER"] });
  t.is((await model.infer({ images: new Float32Array(3 * 32 * 32) })).prediction.length, 8);
  model.destroy();
});

test.serial("a model of a recipe tells of each pass, its elaboration too, as a model by itself does", async (t) => {
  const passes = async (name: string): Promise<string[]> => {
    const { passes: all } = await json<{ passes: { name: string }[] }>("compile", name, "--time", "--out", "timed", "--force");
    return all.map((pass) => pass.name);
  };
  const own = await passes("lesson.deit:tiny");
  t.is(own[0], "elaborate");
  t.deepEqual(await passes("lesson.deit:lesson.pupil"), own);
});
