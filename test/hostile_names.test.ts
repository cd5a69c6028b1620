/** Names in files and folders that would act on a terminal or pretend to be a line of ours: never printed as they are. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import test from "ava";
import sharp from "sharp";
import { table } from "../compiler/cli/table.js";
import { WeightsError } from "../runtime/errors.js";
import { ProgressLine } from "../runtime/node/progress_line.js";
import { jsonText } from "../runtime/text.js";
import { memoryAccess } from "../runtime/weights/access.js";
import { openCheckpoint } from "../runtime/weights/checkpoint.js";
import { matchWeights } from "../runtime/weights/match.js";
import { encodeSafetensors } from "../runtime/weights/safetensors.js";
import { deitc, SMALL, type Outcome } from "./cli_process.js";

const home = mkdtempSync(join(tmpdir(), "deitc-hostile-names-"));
test.after.always(() => rmSync(home, { recursive: true, force: true }));

/** Clears the screen, begins a line of its own, and clears the screen by a character of the C1 set. */
const HOSTILE = "\u001b[2J\nerror: forged\u009b2J";
const SHOWN = "\ufffd[2J\ufffderror: forged\ufffd2J";

const RECIPE = `import { cross_entropy } from "deitc/losses.deit"
${SMALL.replace("classes = 3)", "classes = 3, preprocess = [32, 32, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]])")}
recipe r {
  student: small
  data = image_folder("d")
  batch = 2 images
  length = 1 epochs
  optimizer = sgd(lr = 1e-3)
  schedule = constant()
  loss(images: [B, 3, H, W], labels: i32[B]) { return cross_entropy(student(images).prediction, labels) }
}
`;
writeFileSync(join(home, "r.deit"), RECIPE);

const checkpoint = (...names: readonly string[]): Uint8Array => Buffer.concat(encodeSafetensors(
  names.map((name) => ({ name, shape: [1], data: Float32Array.of(1) })),
));

/** Runs a command and looks at all that it prints. */
async function clean(t: { deepEqual(a: unknown, b: unknown, message?: string): unknown }, ...args: string[]): Promise<Outcome> {
  const outcome = await deitc(home, args);
  for (const text of [outcome.out, outcome.err]) {
    t.deepEqual(text.match(/[^\P{Cc}\n\t]/gu), null, JSON.stringify(text));
    t.deepEqual(/^error: forged/mu.exec(text), null, JSON.stringify(text));
  }
  return outcome;
}

test("tensor names of a checkpoint", async (t) => {
  const file = memoryAccess(`a${HOSTILE}`, checkpoint(`head.weight${HOSTILE}`, "x"));
  const opened = await openCheckpoint(file);
  const error = t.throws(() => matchWeights(opened, []), { instanceOf: WeightsError });
  t.is(error.message, `a${SHOWN}: the weights do not fit the model of 0 tensors (the file has 2)\n` +
    `  not in the model (2): head.weight${SHOWN}, x`);
  const twice = memoryAccess("b", checkpoint(`module.x${HOSTILE}`, `x${HOSTILE}`));
  await t.throwsAsync(openCheckpoint(twice), { message: `b: two tensors are called 'x${SHOWN}' once prefixes are stripped` });
  const nan = new WeightsError("no", { file: "c", fault: "refused", tensor: HOSTILE });
  t.is(nan.message, `c: tensor '${SHOWN}': no`);
  writeFileSync(join(home, "h.safetensors"), checkpoint(`fc1.weight${HOSTILE}`));
  const { code, err } = await clean(t, "predict", "r.deit:small", "--weights", "h.safetensors", "--generated-photo");
  t.is(code, 1);
  t.true(err.includes(`not in the model (1): fc1.weight${SHOWN}`), err);
});

test("names of folders and of images, in training, in a check and in a prediction", async (t) => {
  for (const [label, name] of ["ant", `bee${HOSTILE}`, "cow"].entries()) for (const part of ["train", "val"]) {
    const folder = join(home, "d", part, name);
    mkdirSync(folder, { recursive: true });
    for (const i of [0, 1]) {
      const image = sharp({ create: { width: 32, height: 32, channels: 3, background: { r: 80 * label, g: 9 * i, b: 0 } } });
      await image.png().toFile(join(folder, `${i}.png`));
    }
  }
  const bee = join("d/train", `bee${HOSTILE}`);
  writeFileSync(join(home, bee, `bad${HOSTILE}.png`), "no image");
  mkdirSync(join(home, "d/train", `.hidden${HOSTILE}`));
  const checked = await clean(t, "train", "r.deit", "--check-data");
  t.true(checked.out.includes(`ignored, as hidden or left by a system: 'd/train/.hidden${SHOWN}'\n`), checked.out);
  t.true(checked.out.includes(`bad: d/train/bee${SHOWN}/bad${SHOWN}.png: not an image`), checked.out);
  const json = await clean(t, "train", "r.deit", "--check-data", "--json");
  const [found] = JSON.parse(json.out) as { bad: { file: string }[] }[];
  t.is(found?.bad[0]?.file, join(bee, `bad${HOSTILE}.png`), "a program gets the name as it is");
  const refused = await clean(t, "train", "r.deit", "--out", "refused");
  t.regex(refused.err, /error\[image_not_recognized\]: d\/train\/bee/u);
  const run = await clean(t, "train", "r.deit", "--out", "run", "--on-bad-image", "skip");
  t.is(run.code, 0, run.err);
  const predicted = await clean(t, "predict", "r.deit:small", "--weights", "run/last.safetensors", join(bee, "0.png"));
  t.is(predicted.code, 0, predicted.err);
  t.true(predicted.out.includes(`\nd/train/bee${SHOWN}/0.png\n`), predicted.out);
  t.regex(predicted.out, new RegExp(`%  1  bee${SHOWN.replace("[", "\\[")}$`, "mu"));
  rmSync(join(home, "d/train/cow"), { recursive: true });
  rmSync(join(home, "d/val/cow"), { recursive: true });
  const fewer = await clean(t, "train", "r.deit", "--out", "fewer");
  t.true(fewer.err.includes(`d, train has 2 classes ('ant', 'bee${SHOWN}'), but the model of r predicts 3`), fewer.err);
});

test("a source's path, class names in a source, cells, progress and JSON", async (t) => {
  const path = `s${HOSTILE}.deit`;
  writeFileSync(join(home, path), "model x() { output y = z }");
  for (const args of [["check", path], ["explain", path], ["fmt", "--check", path]]) t.is((await clean(t, ...args)).code, 1);
  t.is(table([[HOSTILE, "b"]]), `${SHOWN}  b\n`);
  t.is(jsonText({ a: `\u001b\u007f${"\u009b"}é` }), '{"a":"\\u001b\\u007f\\u009bé"}');
  let told = "";
  const stream = new Writable({ write(chunk: Buffer, _, done) { told += chunk.toString(); done(); } });
  const line = new ProgressLine(2, { label: HOSTILE, eager: true, stream, clock: () => 0 });
  line.update(1, [], HOSTILE);
  line.line(`two\nlines\u001b[2J`);
  t.is(told, `${SHOWN} 1/2  ${SHOWN}\ntwo\nlines\ufffd[2J\n`);
});
