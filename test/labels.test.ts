/** Where the names of classes come from: a file, the checkpoint, the model; never from the number of classes. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import anyTest, { type TestFn } from "ava";
import { moduleOf } from "../compiler/cli/artifact.js";
import { packageFolder } from "../compiler/cli/package.js";
import { InputError } from "../runtime/errors.js";
import { load } from "../runtime/node/index.js";
import { deitc, inside } from "./cli_process.js";
import { compileFile } from "./harness.js";

const test = anyTest as TestFn<{ folder: string }>;

test.beforeEach((t) => {
  t.context.folder = mkdtempSync(join(tmpdir(), "deitc-labels-"));
});
test.afterEach.always((t) => rmSync(t.context.folder, { recursive: true, force: true }));

/** One linear layer on 8 × 8 images, with these words in its header. */
const linear = (header: string): string => `import { linear } from "deitc/nn.deit"
model one(classes = 3, class_names = none, preprocess = [8, 8, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]) {
  input images: [B, 3, 8, 8]
  fc = linear(reshape(images, [B, 192]), classes)
  output logits = fc
}
model mine extends one { ${header} }
`;

/** What `predict` calls the classes 0, 1, … of an untrained model; its standard error where it fails. */
async function predicted(folder: string, header: string, more: readonly string[] = []): Promise<readonly string[] | string> {
  writeFileSync(join(folder, "mine.deit"), linear(header));
  const { code, out, err } = await deitc(folder, [
    "predict", "mine.deit", "--target", "mine", "--random-weights", "--generated-photo", "--top", "2000", "--json", ...more,
  ]);
  if (code !== 0) return err;
  const { images } = JSON.parse(out) as { images: { classes: { index: number; label: string }[] }[] };
  return (images[0]?.classes ?? []).sort((a, b) => a.index - b.index).map(({ label }) => label);
}

test("a model without names has none, whatever number of classes it has", async (t) => {
  const thousand = await predicted(t.context.folder, "classes = 1000");
  t.is(thousand.length, 1000);
  t.is(thousand[17], "class 17");
  t.is((await predicted(t.context.folder, "classes = 10"))[9], "class 9");
});

test("a model's own names, and those of a known data set", async (t) => {
  const { folder } = t.context;
  t.deepEqual(await predicted(folder, 'class_names = ["left", "right", "up"]'), ["left", "right", "up"]);
  t.is((await predicted(folder, 'classes = 1000  class_names = "imagenet"'))[17], "jay");
  t.is((await predicted(folder, 'classes = 10  class_names = "cifar10"'))[9], "truck");
  t.is((await predicted(folder, 'classes = 5  class_names = "cifar10"'))[4], "class 4", "another head has other classes");
});

test("names that cannot be the model's are an error at compile time", async (t) => {
  const { folder } = t.context;
  const wrong = async (header: string): Promise<string> => {
    writeFileSync(join(folder, "mine.deit"), linear(header));
    return (await inside(folder, ["check", "mine.deit"])).err;
  };
  t.regex(await wrong('class_names = ["left", "right"]'), /error\[wrong_type\]: `class_names` has 2 names, the model predicts 3 classes/);
  t.regex(await wrong('class_names = "imagenet21k"'), /must be "imagenet", "cifar10" or a list of names, got "imagenet21k"/);
  t.regex(await wrong('class_names = ["left", 2, "up"]'), /must be "imagenet", "cifar10" or a list of names, got \["left", 2, "up"\]/);
});

test("--labels names the classes, one a line or as JSON, exactly as many as there are", async (t) => {
  const { folder } = t.context;
  const file = (name: string, text: string): readonly string[] => {
    writeFileSync(join(folder, name), text);
    return ["--labels", name];
  };
  const header = 'class_names = ["left", "right", "up"]';
  t.deepEqual(await predicted(folder, header, file("a.txt", "ant\r\nbee, wild\r\ncow\r\n")), ["ant", "bee, wild", "cow"]);
  t.deepEqual(await predicted(folder, header, file("a.json", '["ant", "bee", "c\\u001bw"]')), ["ant", "bee", "c\ufffdw"]);
  for (const [text, says] of [
    ["ant\nbee\n", /labels\.txt: has 2 names, the model predicts 3 classes/],
    ["ant\n\ncow\n", /labels\.txt: class 1 has no name/],
    ["", /labels\.txt: class 0 has no name/],
    ["[1, 2, 3]", /labels\.txt: starts with `\[` but is not a JSON list of strings/],
  ] as const) t.regex(String(await predicted(folder, header, file("labels.txt", text))), says);
  t.regex(String(await predicted(folder, header, ["--labels", "none.txt"])), /error\[file_missing\]: none\.txt: there is no such file/);
});

test("a program's labels are as many as the classes", async (t) => {
  const file = join(t.context.folder, "mine.deit");
  writeFileSync(file, linear('class_names = ["left", "right", "up"]'));
  const definition = moduleOf(compileFile(file, "mine"));
  await t.throwsAsync(load(definition, { randomWeights: { seed: 0 }, labels: ["left", "right"] }), {
    instanceOf: InputError, message: /mine predicts 3 classes, got 2 labels/,
  });
});

test("the shipped models that have published weights name their classes, as long as they keep them", async (t) => {
  const named = async (file: string, target?: string, classes?: number): Promise<unknown> => {
    const path = join(packageFolder(), "models", file);
    return compileFile(path, target, classes === undefined ? {} : { overrides: { classes } }).manifest.classNames;
  };
  t.is(await named("deit_ti.deit"), "imagenet");
  t.is(await named("deit_s_distilled.deit"), "imagenet");
  t.is(await named("deit_ti.deit", undefined, 37), undefined);
  t.is(await named("resnet.deit", "resnet18"), "imagenet");
  t.is(await named("regnet.deit", "regnety_002"), "imagenet");
  t.is(await named("efficientnet.deit", "efficientnet_b0"), "imagenet");
  t.is(await named("cifar_resnet.deit", "cifar_resnet20"), "cifar10");
  t.is(await named("vit.deit"), undefined);
});
