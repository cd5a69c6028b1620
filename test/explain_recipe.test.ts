/** `deitc explain` of a recipe: what it says of memory against what the runtime allocates, its texts, its faults. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { definitionOf } from "../compiler/cli/artifact.js";
import { MEMORY_KINDS, passImages, passOf, RecipeMemory, sumOf } from "../compiler/cli/recipe_memory.js";
import { compiledRecipe, type CompiledRecipe } from "../compiler/train/compile.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { namesFor } from "../compiler/targets/index.js";
import { familyNamed } from "../runtime/families.js";
import type { FamilyName, Manifest } from "../runtime/manifest.js";
import { sizeAt } from "../runtime/memory.js";
import { Program } from "../runtime/program.js";
import { ParameterStore } from "../runtime/store.js";
import { DeviceEngine } from "../runtime/train/engine.js";
import { storedStates } from "../runtime/train/states.js";
import { inside } from "./cli_process.js";
import { openTestDevice } from "./harness.js";
import { elaborate, recipeText } from "./recipes.js";

const device = openTestDevice();
const folder = mkdtempSync(join(tmpdir(), "deitc-explain-"));
test.after.always(async () => {
  (await device).destroy();
  rmSync(folder, { recursive: true, force: true });
});

function compile(changes: Readonly<Record<string, string>>): CompiledRecipe {
  const { recipe, diagnostics } = elaborate(recipeText(changes));
  if (!recipe) throw new Error(renderDiagnostics(diagnostics));
  return compiledRecipe(recipe, { verify: true });
}

const DISTILLED = `loss(images: [B, 3, H, W], labels: i32[B]) {
  out = student(images)
  return 0.5 * cross_entropy(out.logits, labels)
    + 0.5 * hard_distillation(out.logits_dist, teacher(images).logits)
}`;
const RECIPES: Readonly<Record<string, CompiledRecipe>> = {
  plain: compile({}),
  everything: compile({ more: "clip = global_norm(1.0)  ema = 0.99  accumulate = 4 steps" }),
  "momentum, averaged": compile({ optimizer: "optimizer = sgd(lr = 0.1, momentum = 0.9)", more: "ema = 0.9" }),
  distilled: compile({ student: "student: tiny_distilled  teacher: tiny frozen from \"t.safetensors\"", loss: DISTILLED }),
};

// ---- Memory ----

type Allocated = Readonly<Record<"states" | "activations" | "inputs" | "outputs" | "evaluation" | "total", number>>;

/** What the runtime allocates for a recipe, as the engine adds it up. */
async function allocated(recipe: CompiledRecipe, family: FamilyName, images: number): Promise<Allocated> {
  const { graphs } = recipe.manifest;
  const whole = passOf(recipe) === "train";
  const parts: (readonly [Manifest | undefined, number])[] = [
    [whole ? graphs.train : graphs.gather, images], [whole ? undefined : graphs.apply, 1], [graphs.evaluate, images],
  ];
  const used = parts.flatMap(([manifest, batch]) => (manifest ? [{ manifest, batch }] : []));
  const users = used.map(({ manifest }) => ({ manifest, family }));
  const store = await ParameterStore.allocate(await device, storedStates(recipe.manifest, users));
  const programs: Program[] = [];
  for (const { manifest, batch } of used) {
    programs.push(await Program.allocate(await device, manifest, { family, batch, store }));
  }
  const sum = (list: readonly Program[], kind: keyof Program["memory"]): number =>
    list.reduce((n, { memory }) => n + memory[kind], 0);
  const steps = programs.slice(0, -1);
  const found = {
    states: store.bytes, activations: sum(steps, "activations") + sum(steps, "derived"), inputs: sum(steps, "inputs"),
    outputs: sum(steps, "outputs") + sum(steps, "staging"),
    evaluation: sum(programs.slice(-1), "total") - store.bytes,
    total: sum(programs, "total") - (programs.length - 1) * store.bytes,
  };
  for (const one of [...programs, store]) one.destroy();
  return found;
}

for (const [name, recipe] of Object.entries(RECIPES)) {
  test.serial(`${name}: bytes by kind are those of the programs, formula and all`, async (t) => {
    for (const family of namesFor("f32")) {
      const memory = new RecipeMemory(recipe, family);
      const formula = memory.affine();
      for (const images of [1, 3, 4, 16]) {
        const [told, real] = [memory.at(images), await allocated(recipe, family, images)];
        t.is(sumOf(told), real.total, `${family} at ${images}`);
        t.is(told.inputs, real.inputs);
        t.is(told.outputs, real.outputs);
        t.is(told.evaluation, real.evaluation);
        const states = told.parameters + told["frozen models"] + told.optimizer + told.average + told.gradients;
        t.is(states + told["saved activations"] + told.workspace, real.states + real.activations);
        for (const kind of MEMORY_KINDS) {
          t.true(told[kind] >= 0);
          const byFormula = sizeAt(formula[kind], images);
          if (images % 4 === 0) t.is(told[kind], byFormula, `${family}, ${kind} at ${images}`);
          else t.true(told[kind] >= byFormula && told[kind] - byFormula < 12 * 100, `${family}, ${kind} at ${images}`);
        }
      }
    }
  });
}

test.serial("an engine's total is the peak told", async (t) => {
  const recipe = RECIPES["everything"] as CompiledRecipe; // one of the above
  const engine = await DeviceEngine.open(definitionOf(recipe), { device: await device, family: "scalar", batch: 16 });
  t.is(engine.passes, 4);
  t.is(engine.memory.total, sumOf(new RecipeMemory(recipe, "scalar").at(4)));
  engine.destroy();
});

test("states by kind: two of a parameter's size for adamw, one for momentum and for the average", (t) => {
  const at = (name: string): Readonly<Record<string, number>> =>
    new RecipeMemory(RECIPES[name] as CompiledRecipe, "tiled").at(8); // one of the above
  // Lanes are as long as what is side by side in them; parameters have alignment and what is not trained besides.
  const { parameters: own = 0, optimizer: two = 0 } = at("plain");
  t.true(two > 1.9 * own && two <= 2 * own, `${two} for ${own}`);
  const { optimizer: one = 0, average = 0, parameters = 0 } = at("momentum, averaged");
  t.is(average, one);
  t.true(one > 0.9 * parameters && one <= parameters);
  t.is(at("plain")["average"], 0);
  t.true((at("distilled")["frozen models"] ?? 0) > 1000);
  t.is(at("plain")["frozen models"], 0);
  t.true((at("everything")["gradients"] ?? 0) >= 2 * one, "sums of passes, and a pass's own");
});

for (const [name, recipe] of Object.entries(RECIPES)) {
  test(`${name}: kept is what a step of the backward pass reads before it is written anew`, (t) => {
    for (const family of namesFor("f32")) {
      const manifest = recipe.manifest.graphs[passOf(recipe)];
      if (!manifest) return t.fail("there is a pass");
      const { programs: { run }, kernels, slots } = familyNamed(manifest, family);
      const begin = run.findIndex(({ path }) => path === "loss.grad" || path.endsWith(".grad"));
      const kept = new Set<number>();
      for (const slot of slots.keys()) {
        if (slots[slot]?.kind !== "activation") continue;
        const touches = run.map(({ bindings, kernel }, i) => {
          const at = bindings.findIndex((ref) => ref.kind === "slot" && ref.index === slot);
          return { i, how: kernels[kernel]?.bindings[at] };
        }).filter(({ how }) => how !== undefined);
        const next = touches.find(({ i }) => i >= begin);
        if (touches.some(({ i }) => i < begin) && next?.how === "read") kept.add(slot);
      }
      const told = new RecipeMemory(recipe, family).slots.filter((slot) => slot.kept).map(({ index }) => index);
      t.deepEqual(told, [...kept]);
      t.true(told.length > 5);
    }
    return undefined;
  });
}

// ---- The command ----

const FILE = `import { vit } from "deitc/vit.deit"
import { cross_entropy, soft_distillation } from "deitc/losses.deit"
model tiny extends vit { image = 32  patch = 16  dim = 16  depth = 2  heads = 2  classes = 8 }
/// Eight shapes.
recipe small {
  student: tiny
  teacher: tiny frozen from "t.safetensors"
  data = shapes(train = 64, test = 16)
  batch = 24 images
  length = 20 steps
  augment = [random_crop(32, pad = 2), horizontal_flip()]
  optimizer = adamw(lr = 2e-3)
  schedule = cosine(warmup = 4 steps, stepping = "steps")
  clip = global_norm(1.5)
  ema = 0.75
  loss(images: [B, 3, H, W], labels: i32[B]) {
    return cross_entropy(student(images).prediction, labels)
      + soft_distillation(student(images).prediction, teacher(images).prediction, 0.5)
  }
}
recipe passes extends small { accumulate = 4 steps }
`;
writeFileSync(join(folder, "two.deit"), FILE);
writeFileSync(join(folder, "one.deit"), FILE.slice(0, FILE.indexOf("recipe passes")));
writeFileSync(join(folder, "bad.deit"), FILE.replace("ema = 0.75", "ema = 0.75 steps"));

const explain = (...args: readonly string[]): ReturnType<typeof inside> => inside(folder, ["explain", ...args]);

test.serial("a file's one recipe is explained; a name chooses among several, a model too", async (t) => {
  const { out, code, err } = await explain("one.deit");
  t.is(code, 0, err);
  t.regex(out, /^small: a recipe\nEight shapes\.\nstudent +tiny, trained\nteacher +tiny, frozen, from t\.safetensors\n/u);
  t.regex(out, /\naugment +random_crop\(.*\), horizontal_flip\(.*\)\nbatch +24 images\nlength +20 steps\ntrained +19,128 parameters/u);
  t.regex(out, /\noptimizer +adamw\(lr = 0\.002.*\nschedule +cosine\(warmup = 4 steps, .*stepping = "steps"\)\nclip +global_norm\(limit = 1\.5\)\nema +0\.75\n/u);
  t.regex(out, /\nno decay .* in \d+ tensors: .*blocks\.\*\.norm1\.bias.*\nloss +loss\(images: .*soft_distillation/u);
  t.regex(out, /Dispatches: `train` is a step[^]*\ntrain +scalar +\d+ +\d+ +0 [^]*\nevaluate +tiled/u);
  t.regex(out, /\ntrain: \d+ [^]*Fused: [^]*global|adamw[^]*Not fused: [^]*several consumers[^]*Rewrite rules[^]*\nevaluate: \d+ /u);
  const other = await explain("two.deit:passes");
  t.regex(other.out, /^passes: a recipe[^]*24 images in 4 passes of 6[^]*a step is 4 times `gather`, then `apply`/u);
  t.regex(other.out, /\ngather: \d+ [^]*\napply: \d+ [^]*\nevaluate: \d+ /u);
  t.regex((await explain("two.deit", "--target", "tiny")).out, /^tiny: 19,128 parameters/u);
  t.regex((await explain("two.deit")).err, /several models or recipes[^]*choose one with `--target`: `small`, `passes` or `tiny`/u);
});

test.serial("memory is a formula, a table up to the recipe's batch, and the largest slots", async (t) => {
  const { out } = await explain("one.deit", "--memory", "--family", "scalar,tiled");
  t.regex(out, /^small, scalar: bytes on the device, B images of a pass\n/u);
  t.regex(out, /\nsaved activations +[\d,]+·B(?: \+ [\d,]+)?\nworkspace .*·B[^]*\npeak +[\d,]+·B \+ [\d,]+\n/u);
  t.deepEqual([...out.matchAll(/^ *(\d+) +\d[\d.]* [KM]iB .*iB$/gmu)].map(([, b]) => Number(b)),
    [1, 2, 4, 8, 16, 24, 1, 2, 4, 8, 16, 24]);
  const slots = out.slice(out.indexOf("The largest of"), out.indexOf("small, tiled")).split("\n").slice(2, -2);
  t.is(slots.length, 20);
  t.regex(slots.join("\n"), / blocks\.0\.attn\.qkv +blocks\.0\.attn\.qkv/u);
  const passes = await explain("two.deit:passes", "--memory");
  t.regex(passes.out, /a batch of 24 is 4 passes[^]*\n *6 .*iB\n\nThe largest/u);
});

test.serial("one kernel by its whole name, all with a part of their name; none is told", async (t) => {
  const several = await explain("one.deit", "--kernel", "matmul_head");
  t.deepEqual([...several.out.matchAll(/^\/\/ kernels\/(.*)\.wgsl$/gmu)].map(([, id]) => id),
    ["infer/tiled/matmul_head", ...["", ".grad", ".grad_2"].map((end) => `train/tiled/matmul_head${end}`),
      "evaluate/tiled/matmul_head"]);
  const one = await explain("one.deit", "--kernel", "evaluate/scalar/matmul_head");
  t.regex(one.out, /^\/\/ kernels\/evaluate\/scalar\/matmul_head\.wgsl\n[^]*@compute/u);
  t.regex((await explain("one.deit", "--kernel", "lane_parameter.i.adamw_2")).out, /kernels\/train\/tiled\/map_.*adamw_2/u);
  const none = await explain("one.deit", "--kernel", "nothing");
  t.is(none.code, 1);
  t.regex(none.err, /^error: no kernel has `nothing` in its name or path\n {2}help: /u);
});

test.serial("JSON says all of it; drawings are written a graph", async (t) => {
  const made = JSON.parse((await explain("two.deit:passes", "--json")).out) as {
    recipe: string; undecayed: string[]; dispatches: { graph: string; run: number }[];
    graphs: Record<string, { stored: { reason: string }[] }>; kernels: { id: string }[];
    memory: { family: string; formula: Record<string, { b: number; c: number }>; at: { batch: number; peak: number }[] }[];
  };
  t.is(made.recipe, "passes");
  t.true(made.undecayed.includes("blocks.0.norm1.weight"));
  t.deepEqual(Object.keys(made.graphs), ["gather", "apply", "evaluate"]);
  t.true((made.graphs["gather"]?.stored.length ?? 0) > 5 && made.dispatches.every(({ run }) => run > 0));
  t.true(made.kernels.every(({ id }) => /^(infer|gather|apply|evaluate)\/tiled\//u.test(id)));
  const [tiled] = made.memory;
  const at = tiled?.at.find(({ batch }) => batch === 4);
  const peak = Object.values(tiled?.formula ?? {}).reduce((n, { b, c }) => n + 4 * b + c, 0);
  t.is(at?.peak, peak);
  t.is((await explain("one.deit", "--svg", "drawn", "--parameters")).code, 0);
  const files = ["evaluate", "infer", "train"].flatMap((graph) => [`${graph}-graph.svg`, `${graph}-plan-tiled.svg`]);
  t.deepEqual(readdirSync(join(folder, "drawn")).sort(), files);
  t.regex(readFileSync(join(folder, "drawn/train-graph.svg"), "utf8"), /<title>small, train: \d+ kernels/u);
});

test.serial("what is wrong is one clear error", async (t) => {
  const cases: readonly (readonly [readonly string[], number, RegExp])[] = [
    [["bad.deit"], 1, /^error\[\w+\]: [^]*bad\.deit:\d+:\d+[^]*ema = 0\.75 steps/u],
    [["none.deit:other"], 1, /^error/u],
    [["two.deit:other"], 1, /^error\[unknown_target\]: .* no model or recipe `other`[^]*`small`/u],
    [["two.deit:small", "--target", "passes"], 2, /^error: two targets are given at once: small and passes/u],
    [["none.deit"], 1, /^error/u],
    [["one.deit", "--family", "huge"], 2, /families are/u],
  ];
  for (const [args, code, wanted] of cases) {
    const outcome = await explain(...args);
    t.is(outcome.code, code, args.join(" "));
    t.regex(outcome.err, wanted);
    t.is(outcome.out, "");
    t.is(outcome.err.match(/^error/gmu)?.length, 1, outcome.err);
  }
});

test("images of a pass", (t) => {
  t.is(passImages((RECIPES["everything"] as CompiledRecipe).manifest), 16); // one of the above
});
