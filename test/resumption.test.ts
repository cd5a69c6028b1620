/** Which recipe `deitc train` compiles when it resumes a run, and the command that it says resumes it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { openTraining, resumeCommand } from "../compiler/cli/resumption.js";
import { deitc } from "./cli_process.js";

/** A recipe that does not compile without `--set classes=8`, and one beside it. */
const RECIPE = `import { linear } from "deitc/nn.deit"
import { cross_entropy } from "deitc/losses.deit"
model tiny(classes, width = 8) {
  input images: [B, 3, 32, 32]
  fc1 = linear(reshape(images, [B, 3072]), width)
  fc2 = linear(gelu(fc1), classes)
  output prediction = fc2
}
recipe small {
  student: tiny
  data = shapes(train = 8, test = 4)
  batch = 4 images
  length = 4 steps
  optimizer = adamw(lr = 2e-3)
  schedule = constant()
  loss(images: [B, 3, 32, 32], labels: i32[B]) { return cross_entropy(student(images).prediction, labels) }
}
`;

const home = mkdtempSync(join(tmpdir(), "deitc-resumption-"));
const here = process.cwd();
test.before(() => {
  mkdirSync(join(home, "several"));
  writeFileSync(join(home, "small.deit"), RECIPE);
  writeFileSync(join(home, "several/two.deit"), `${RECIPE}recipe other extends small { batch = 2 images }\n`);
  process.chdir(home);
});
test.after.always(() => {
  process.chdir(here);
  rmSync(home, { recursive: true, force: true });
});

test.serial("a run is resumed with the header that it was started with, in any folder", async (t) => {
  const args = ["train", "small.deit", "--set", "classes=8", "--set", "width=4"];
  for (const where of [[], ["--out", "mine"]]) {
    const started = await deitc(home, [...args, ...where, "--steps", "1", "--json"]);
    t.is(started.code, 0, started.err);
    const resumed = await deitc(home, ["train", "small.deit", ...where, "--resume", "--steps", "2", "--json"]);
    t.is(resumed.code, 0, resumed.err);
    t.regex(resumed.out, /"step":2/u);
  }
});

test.serial("what the command line says of a header is added to what the run was started with", async (t) => {
  for (const where of [{ resume: true }, { resume: "auto" }, { resume: "runs/small" }, { out: "mine", resume: true }] as const) {
    t.deepEqual((await openTraining("small.deit", where)).selection.set, { classes: 8, width: 4 });
    const { selection, recipe } = await openTraining("small.deit", { ...where, set: { width: 6 } });
    t.deepEqual(selection.set, { classes: 8, width: 6 });
    t.deepEqual(recipe.definition.manifest.states.find(({ path }) => path === "fc1.weight")?.shape, [6, 3072]);
  }
});

test.serial("a file of several recipes needs a name only where none is known yet", async (t) => {
  const file = "several/two.deit";
  const { code, err } = await deitc(home, ["train", `${file}:other`, "--set", "classes=8", "--steps", "1", "--json"]);
  t.is(code, 0, err);
  await t.throwsAsync(openTraining(file, { resume: true }), { message: /ambiguous_target/u });
  const { selection, recipe } = await openTraining(file, { resume: "runs/other" });
  t.deepEqual([selection, recipe.definition.manifest.name], [{ set: { classes: 8 }, target: "other" }, "other"]);
});

test.serial("the kernels of a compiled recipe are checked unless it is trusted, and resuming says so again", async (t) => {
  const compiled = await deitc(home, ["compile", "small.deit", "--set", "classes=8", "--out", "folder"]);
  t.is(compiled.code, 0, compiled.err);
  for (const [args, checked] of [[{}, true], [{ trust: true }, false]] as const) {
    const { recipe, selection } = await openTraining("folder", args);
    t.is(recipe.definition.checked, checked);
    t.deepEqual(selection, {});
  }
  await t.throwsAsync(openTraining("folder", { set: { classes: 4 } }), { message: /compiled already/u });
  t.is(await resumeCommand("folder", { trust: true, adapter: "my gpu" }, "runs/small", "runs/small/checkpoints/1"),
    "deitc train folder --out runs/small --adapter 'my gpu' --trust --resume");
  t.is(await resumeCommand("small.deit:small", { family: "scalar" }, "a run", "away/checkpoints/1"),
    "deitc train small.deit:small --out 'a run' --family scalar --resume away/checkpoints/1");
});
