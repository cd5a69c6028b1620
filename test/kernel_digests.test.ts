/**
 * @file Every kernel of the shipped models and recipes by a digest, so that a change of the compiler shows which kernels
 * it changed. `UPDATE_GOLDEN=1` writes test/golden/kernels.txt anew, one line a model: dispatches, then the digest of
 * each kernel of each family. Comments in kernels do not count.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import test from "ava";
import { nodeHost } from "../compiler/cli/host.js";
import { language } from "../compiler/index.js";
import type { CompiledGraph } from "../compiler/pipeline.js";
import { compileRecipe } from "../compiler/train/compile.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { loadProgram } from "../dsl/resolve.js";
import { FORWARD_MODELS } from "./forward.js";
import { bare, compileFile } from "./harness.js";
import { compileTeacher, teacherGoldens } from "./teachers.js";

const FILE = "test/golden/kernels.txt";
const UPDATE = process.env["UPDATE_GOLDEN"] === "1";

/** What is compiled, by the name of its lines: a model has one line, a recipe one for each of its graphs. */
const COMPILED: readonly (readonly [name: string, compile: () => Readonly<Record<string, CompiledGraph>>])[] = [
  // Models of 384 pixels have the kernels of the others with larger numbers in them.
  ...Object.values(FORWARD_MODELS).filter((model) => !model.some((part) => part?.endsWith("_384")))
    .map(([file, target]) => [target ?? file, () => ({ infer: compileFile(`models/${file}.deit`, target) })] as const),
  ...Object.entries(teacherGoldens).map(([key, golden]) => [key, () => ({ infer: compileTeacher(key, golden) })] as const),
  ["deit_shapes", () => ({ infer: compileFile("models/shapes.deit", "deit_shapes") })],
  ["cifar_resnet20", () => ({ infer: compileFile("models/cifar_resnet.deit", "cifar_resnet20") })],
  ...["shapes.deit shapes", "cifar.deit plain", "cifar.deit soft", "cifar.deit hard", "cifar.deit hard_token", "recipe.deit hard",
    "recipe.deit soft"].map((recipe) => [`recipe ${recipe}`, () => recipeGraphs(recipe)] as const),
];

function recipeGraphs(recipe: string): Readonly<Record<string, CompiledGraph>> {
  const [file = "", name] = recipe.split(" ");
  const { program, diagnostics } = loadProgram(`models/${file}`, nodeHost(resolve("models")), language());
  const made = program ? compileRecipe(program, name, { verify: true }) : { diagnostics };
  if (!made.compiled) throw new Error(renderDiagnostics(made.diagnostics));
  return made.compiled.graphs;
}

/** `0 prepare + 87 run | scalar 1b2c3d … | wide … | tiled …`, digests sorted. */
function digest(compiled: CompiledGraph): string {
  const { wgsl, families } = compiled;
  const counts = [...families.values()].map(({ planned }) => planned.family.programs)
    .map(({ prepare, run }) => `${prepare.length} prepare + ${run.length} run`);
  const kernels = [...families.keys()].map((family) => [family, ...[...wgsl].filter(([name]) => name.startsWith(`${family}/`))
    .map(([, text]) => createHash("sha256").update(bare(text)).digest("hex").slice(0, 6)).sort()].join(" "));
  return [[...new Set(counts)].join(" / "), ...kernels].join(" | ");
}

/** What differs between two lines, in words: nothing where they are equal. */
function differences(name: string, was: string | undefined, is: string): string[] {
  if (was === undefined) return [`${name} is new: UPDATE_GOLDEN=1 writes ${FILE} anew`];
  const [[counts, ...kernels], [nowCounts, ...nowKernels]] = [was.split(" | "), is.split(" | ")];
  const dispatches = counts === nowCounts ? [] : [`${name}: ${nowCounts} dispatches, there were ${counts}`];
  return [...dispatches, ...nowKernels.flatMap((line, i) => {
    const [[family, ...now], [, ...old]] = [line.split(" "), (kernels[i] ?? "").split(" ")];
    const left = [...old];
    const fresh = now.filter((one) => {
      const at = left.indexOf(one);
      if (at >= 0) left.splice(at, 1);
      return at < 0;
    });
    if (fresh.length === 0 && left.length === 0) return [];
    return [`${name}, ${family}: ${fresh.length} of ${now.length} kernels differ; ${left.length} of ${old.length} there were are gone`];
  })];
}

const lines = !existsSync(FILE) ? [] : readFileSync(FILE, "utf8").trim().split("\n").map((line) => {
  const at = line.indexOf(": ");
  return [line.slice(0, at), line.slice(at + 2)] as const;
});
const golden = new Map(lines);
const made = new Map<string, string>();

for (const [name, compile] of COMPILED) {
  test(`kernels of ${name}`, (t) => {
    const found: string[] = [];
    for (const [graph, compiled] of Object.entries(compile())) {
      const line = graph === "infer" ? name : `${name}, ${graph}`;
      made.set(line, digest(compiled));
      if (!UPDATE) found.push(...differences(line, golden.get(line), made.get(line) ?? ""));
    }
    t.deepEqual(found, []);
  });
}

test("a line for every model, and no other", (t) => {
  if (UPDATE) writeFileSync(FILE, [...made].map(([name, line]) => `${name}: ${line}\n`).join(""));
  t.deepEqual(UPDATE ? [...made.keys()] : [...golden.keys()], [...made.keys()]);
});

test("a line of differences names the model, the family and how many kernels", (t) => {
  const was = "0 prepare + 2 run | scalar aa bb | wide aa bb | tiled aa bb";
  t.deepEqual(differences("m", was, was), []);
  t.deepEqual(differences("m", was, "0 prepare + 3 run | scalar aa bb cc | wide aa bb | tiled aa cc"), [
    "m: 0 prepare + 3 run dispatches, there were 0 prepare + 2 run",
    "m, scalar: 1 of 3 kernels differ; 0 of 2 there were are gone",
    "m, tiled: 1 of 2 kernels differ; 1 of 2 there were are gone",
  ]);
});
