/** `deitc train` as a user meets it: killed at random steps and resumed, interrupted, refused. Embedded adapter. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { loadState } from "../runtime/node/train/resume.js";

const main = fileURLToPath(new URL("../compiler/cli/main.js", import.meta.url));
const home = mkdtempSync(join(tmpdir(), "deitc-train-"));
test.after.always(() => rmSync(home, { recursive: true, force: true }));

const RECIPE = `import { vit } from "deitc/vit.deit"
import { soft_cross_entropy } from "deitc/losses.deit"
model tiny extends vit { image = 32  patch = 16  dim = 16  depth = 2  heads = 2  classes = 8 }
/// Eight shapes.
recipe small {
  student: tiny { drop_path = 0.2 }
  data = shapes(train = 64, test = 16)
  batch = 8 images
  length = 20 steps
  augment = [random_crop(32, pad = 2), horizontal_flip(), mixup(0.8)]
  optimizer = adamw(lr = 2e-3)
  schedule = cosine(warmup = 4 steps, stepping = "steps")
  clip = global_norm(1.0)
  ema = 0.9
  loss(images: [B, 3, H, W], targets: [B, C]) { return soft_cross_entropy(student(images).prediction, targets) }
}
recipe wild extends small { optimizer = sgd(lr = 1e30)  schedule = constant()  clip = global_norm(1e30) }
`;
writeFileSync(join(home, "small.deit"), RECIPE);

const dying = fileURLToPath(new URL("die_after.js", import.meta.url));

/** @param steps after which the process is killed in the middle of one; never if undefined */
function start(args: readonly string[], steps?: number): ChildProcess {
  const before = steps === undefined ? [] : ["--import", dying];
  return spawn(process.execPath, [...before, main, ...args], {
    cwd: home,
    env: { ...process.env, DIE_AFTER: String(steps), DEITC_ADAPTER: process.env["DEITC_ADAPTER"] ?? "swiftshader" },
  });
}

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs to the end. @param steps as of `start` */
async function deitc(args: readonly string[], steps?: number): Promise<Outcome> {
  const child = start(args, steps);
  let [out, err] = ["", ""];
  child.stdout?.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (err += chunk.toString()));
  await once(child, "close");
  return { code: child.exitCode, out, err };
}

const FAST = ["--json", "--log-every", "1", "--save-every", "0"];

test.serial("killed at random steps and resumed ends bit for bit like one left alone", async (t) => {
  t.is((await deitc(["compile", "small.deit", "--target", "small", "--out", "small"])).code, 0);
  const alone = await deitc(["train", "small", "--out", "alone", ...FAST]);
  t.is(alone.code, 0, alone.err);
  const at: string[] = [];
  let resume: readonly string[] = [];
  // Five rounds never reach the last of the 20 steps.
  for (let round = 0; round < 5; round++) {
    const steps = 1 + Math.floor(Math.random() * 3);
    const { code, out, err } = await deitc(["train", "small", "--out", "killed", ...resume, ...FAST], steps);
    t.is(code, null, err);
    at.push(/"step":(\d+)(?!.*"step")/su.exec(out)?.[1] ?? "?");
    resume = readdirSync(home).includes("killed") && readdirSync(join(home, "killed/checkpoints"))
      .some((name) => !name.startsWith(".")) ? ["--resume"] : [];
  }
  t.log(`killed after steps ${at.join(", ")}`);
  const last = await deitc(["train", "small", "--out", "killed", ...resume, ...FAST]);
  t.is(last.code, 0, last.err);
  const recipe = JSON.parse(readFileSync(join(home, "small/manifest.json"), "utf8")) as { digest: string };
  const [got, want] = await Promise.all(["killed", "alone"].map((run) =>
    loadState(join(home, run), { recipe: recipe.digest })));
  t.is(want?.state.step, 20);
  t.deepEqual(got?.state.engine, want?.state.engine);
  for (const name of ["last", "best"]) {
    t.deepEqual(readFileSync(join(home, "killed", `${name}.safetensors`)),
      readFileSync(join(home, "alone", `${name}.safetensors`)));
  }
});

test.serial("Ctrl-C finishes the step, saves, and says how to go on; a checkpoint is evaluated", async (t) => {
  let asked = false;
  const args = ["train", "small.deit:small", "--out", "runs/stopped", "--log-every", "1", "--steps", "4000"];
  const child = start(args);
  let [out, err] = ["", ""];
  child.stdout?.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => {
    err += chunk.toString();
    if (!asked && /\d+\/4000/u.test(err)) asked = child.kill("SIGINT");
  });
  await once(child, "close");
  t.is(child.exitCode, 130, err);
  t.regex(err, /Ctrl-C: stopping after this step, then a checkpoint is saved/u);
  t.regex(out, /stopped after \d+ of 4000 steps/u);
  t.regex(out, /resume with: deitc train small\.deit:small --out runs\/stopped --resume/u);
  const found = await deitc(["eval", "small.deit", "runs/stopped/last.safetensors", "--target", "small", "--json"]);
  t.is(found.code, 0, found.err);
  t.is((JSON.parse(found.out) as { count: number }).count, 16);
});

test.serial("what cannot be is told in one error before training", async (t) => {
  writeFileSync(join(home, "a file"), "");
  const cases: readonly (readonly [readonly string[], number, RegExp])[] = [
    [["train", "small.deit"], 1, /ambiguous_target.*small/su],
    [["train", "small.deit:large"], 1, /unknown_target.*large/su],
    [["train", "small.deit:small", "--target", "wild"], 2, /at once/u],
    [["train", "small.deit:small", "--out", "a file/run"], 1, /file_unwritable.*a file: this is a file, not a folder/su],
    [["train", "small.deit:small", "--resume", "nowhere"], 1, /file_missing.*no checkpoint/su],
    [["train", "small.deit:small", "--passes", "3"], 1, /does not split into 3|steps of one pass/u],
    [["train", "small.deit:small", "--weights", "teacher=x.pth"], 1, /no model 'teacher'/u],
    [["train", "nothing.deit"], 1, /file_not_found/u],
    [["train", "."], 1, /manifest\.json/u],
  ];
  for (const [args, code, says] of cases) {
    const found = await deitc(args);
    t.is(found.code, code, `${args.join(" ")}\n${found.err}`);
    t.regex(found.err, says);
    t.notRegex(found.err, /at .*\.(js|ts):\d/u);
  }
});

test.serial("a run that diverges stops with step, tensor and the last good checkpoint", async (t) => {
  const { code, err } = await deitc(["train", "small.deit:wild", "--out", "runs/wild", "--log-every", "1"]);
  t.is(code, 1, err);
  t.regex(err, /error\[diverged\]: training diverged at step \d+: '[\w./]+' is the first tensor/u);
  t.regex(err, /help: lower the learning rate/u);
});
