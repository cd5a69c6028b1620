/**
 * A manifest is checked whole before anything of it is used: every change below was made to a compiled folder, and some
 * of them crashed the process once.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import test from "ava";
import { emitArtifact } from "../compiler/index.js";
import { artifactFault } from "../runtime/check/artifact.js";
import { placeOf } from "../runtime/check/schema.js";
import { FileError } from "../runtime/errors.js";
import { inferenceOf, openArtifact } from "../runtime/node/index.js";
import { compiledSmall, type Json } from "./small_artifacts.js";

const home = mkdtempSync(join(tmpdir(), "deitc-manifest-"));
test.after.always(() => rmSync(home, { recursive: true, force: true }));

/** The manifest of the small recipe, with one change. */
async function changed(change: (manifest: Json) => void): Promise<Json> {
  const { manifest } = await compiledSmall("recipe");
  const copy = JSON.parse(manifest) as Json;
  change(copy);
  return copy;
}

/** A change of a field by its path, and the message on it. */
type Case = readonly [path: string, value: unknown, expected: RegExp];
const INFER = "graphs.infer.families.scalar";
const TRAIN = "graphs.train.families.scalar";
const CASES: readonly Case[] = [
  [`${INFER}.programs.run.3.bindings`, [], /^`graphs\.infer\.families\.scalar\.programs\.run\[3\]\.bindings` must have \d+ entries, one for each binding of kernel '.*', got 0$/],
  [`${INFER}.programs.run.0.bindings.0.kind`, "buffer", /run\[0\]\.bindings\[0\]\.kind` must be "parameter" or "slot" or "input" or "output", got "buffer"$/],
  [`${INFER}.programs.run.0.bindings.0.index`, 99, /bindings\[0\]\.index` must be the position of one of 1 inputs, got 99$/],
  [`${INFER}.programs.run.0.bindings.0.index`, -1, /index` must be a whole number of at least 0, got -1$/],
  [`${INFER}.programs.run.1.bindings.0.offset`, 2 ** 31, /bindings\[0\]\.offset` reaches to byte 2147483652 of slot \d+, which has \d+$/],
  [`${INFER}.programs.run.1.bindings.0.offset`, 4, /offset` must be a multiple of 256, got 4$/],
  [`${INFER}.programs.run.0.kernel`, 1000, /run\[0\]\.kernel` must be the position of one of \d+ kernels, got 1000$/],
  [`${INFER}.programs.run.0.grid.0.per`, 0, /grid\[0\]\.per` must be a whole number from 1 to \d+, got 0$/],
  [`${INFER}.programs.run.0.grid.0.size`, { b: 0, c: 0 }, /grid\[0\]\.size` must be above 0, got 0$/],
  [`${INFER}.programs.run.0.grid.0.size`, { b: 0, c: 2 ** 40 }, /grid` makes \d+ workgroups at a batch of 1, but the step writes \d+ elements$/],
  [`${INFER}.programs.run`, [], /programs\.run` writes nothing to output 0, 'logits'$/],
  [`${INFER}.programs.run.0.path`, "a\u001b[31m", /path` must be a text without control characters, got/],
  [`${INFER}.kernels.0.name`, "../../../etc/passwd", /kernels\[0\]\.name` must be a name of letters, digits, `_`, `-` and single dots, got "\.\.\/\.\.\/\.\.\/etc\/passwd"$/],
  [`${INFER}.kernels.0.name`, "a..b", /kernels\[0\]\.name` must be a name/],
  [`${INFER}.kernels.0.workgroupSize`, 0, /workgroupSize` must be a whole number from 1 to 65536, got 0$/],
  [`${INFER}.kernels.0.features`, ["root"], /features\[0\]` must be "subgroups" or "shader-f16", got "root"$/],
  [`${INFER}.kernels.0.bindings.0`, "read_write", /bindings\[0\]` is an input, and the kernel writes this binding$/],
  [`${INFER}.slots.0.bytes.b`, 2 ** 60, /slots\[0\]\.bytes\.b` must be a whole number from 0 to \d+, got \d+$/],
  [`${INFER}.slots.0.kind`, "heap", /slots\[0\]\.kind` must be "activation" or "derived" or "packed", got "heap"$/],
  [`${INFER}.copies`, [{ from: { kind: "slot", index: 0 }, to: { kind: "parameter", index: 0 }, bytes: 2 ** 40 }],
    /copies\[0\]\.bytes` is 1099511627776, but `from` has \d+ bytes$/],
  [`${INFER}.copies`, [{ from: { kind: "parameter", index: 1 }, to: { kind: "input", index: 0 }, bytes: 4 }],
    /copies\[0\]\.to` is an input, which no run changes$/],
  ["graphs.infer.outputs.1.sameAs", 1, /outputs\[1\]\.sameAs` must be the position of an earlier output, got 1$/],
  ["graphs.infer.outputs.1.shape.1.c", 7, /outputs\[1\]\.sameAs` names output 0, f32 \[B, 8\], and this is f32 \[B, 7\]$/],
  ["graphs.infer.inputs.0.shape", [...Array<object>(31).fill({ b: 0, c: 2 ** 48 }), { b: 1, c: -1 }],
    /inputs\[0\]\.shape` must be of at most \d+ elements an image, got a list of 32$/],
  ["graphs.infer.parameters.0.shape", [2 ** 50], /parameters\[0\]\.shape\[0\]` must be a whole number from 1 to/],
  ["graphs.infer.parameters.0.shape", [0], /parameters\[0\]\.shape\[0\]` must be a whole number from 1 to \d+, got 0$/],
  ["graphs.infer.families", {}, /graphs\.infer\.families` must have at least one family$/],
  ["graphs.train.parameters.2.inside.offset", 2 ** 40, /parameters\[2\]\.inside\.offset` ends at byte \d+ of position \d+, which has \d+$/],
  ["graphs.train.parameters.2.inside.parameter", 2, /parameters\[2\]\.inside` names position 2, which does not come before it$/],
  [`${TRAIN}.programs.run.0.bindings.0`, { kind: "slot", index: 2 }, /bindings\[0\]` reads slot 2, which no step before writes$/],
  ["graphs.train.parameters.2.path", "elsewhere", /graphs\.train\.parameters\[2\]\.path` does not fit the states: "elsewhere"$/],
  ["states.10.of", "nobody", /states\[10\].of` names no state, got "nobody"$/],
  ["states.10.inside.state", 4000, /states\[10\].inside` names position 4000, which does not come before it$/],
  ["settings.batch", 0.5, /settings\.batch` must be a whole number from 1 to \d+, got 0\.5$/],
  ["settings.data.arguments.train", { value: 1, unit: "years" }, /train\.unit` must be "images" or "epochs" or "steps", got "years"$/],
  ["settings.augment", 3, /settings\.augment` must be a list, got 3$/],
  ["models.0.preprocess.size", 0, /preprocess\.size` must be a whole number from 1 to 65536, got 0$/],
  ["models.0.preprocess.size", 31, /^`models\[0\]\.preprocess\.size` is 31, and the first input takes no such images$/],
  ["graphs.infer.preprocess", { size: 16384, resize: 16384, mean: [0, 0, 0], std: [1, 1, 1] },
    /^`graphs\.infer\.preprocess\.size` is 16384, and the first input takes no such images$/],
  ["name", "../../../x", /^`name` must be a name of letters, digits and `_`, got "\.\.\/\.\.\/\.\.\/x"$/],
  ["name", "x\ny", /^`name` must be a name/],
  ["sha256", {}, /^`sha256\["infer\/scalar\/.*"\]` is missing$/],
  ["surprise", 1, /^`surprise` is not a field that belongs here$/],
  ["graphs", null, /^`graphs` must be an object, got null$/],
];

for (const [path, value, expected] of CASES) {
  test(`a manifest with another ${path}: ${String(JSON.stringify(value)).slice(0, 40)}`, async (t) => {
    const keys = path.split(".");
    const manifest = await changed((all) => {
      const owner = keys.slice(0, -1).reduce<Json>((at, key) => at[key] as Json, all);
      owner[keys.at(-1) ?? ""] = value;
    });
    const found = artifactFault(manifest);
    t.regex(found ? `${placeOf(found)} ${found.message}` : "nothing is wrong", expected);
  });
}

test("what the compiler makes is without fault", async (t) => {
  for (const kind of ["model", "recipe"] as const) {
    t.is(artifactFault(JSON.parse((await compiledSmall(kind)).manifest)), undefined);
  }
});

test("a field that is missing is named", async (t) => {
  const manifest = await changed((all) => delete all["settings"]);
  t.deepEqual(artifactFault(manifest)?.path, ".data");
  t.is(artifactFault(await changed((all) => delete all["doc"]))?.message, "is missing");
});

/** A compiled folder. */
async function folder(name: string, change: (files: Map<string, string>) => void): Promise<string> {
  const { compiled } = await compiledSmall("model");
  const files = new Map(await emitArtifact(compiled));
  change(files);
  for (const [path, text] of files) {
    mkdirSync(dirname(join(home, name, path)), { recursive: true });
    writeFileSync(join(home, name, path), text);
  }
  return join(home, name);
}

test("a folder opens by path as data, by URL as code; a changed kernel and a changed manifest are refused", async (t) => {
  const path = await folder("plain", () => undefined);
  const opened = await openArtifact(path);
  t.is(inferenceOf(opened).checked, true);
  t.is(inferenceOf(await openArtifact(pathToFileURL(`${path}/`))).checked, false);
  const [kernel] = opened.manifest.graphs.infer.families["scalar"]?.kernels ?? [];
  const file = join(path, "kernels", "infer", "scalar", `${kernel?.name}.wgsl`);
  const text = readFileSync(file, "utf8");
  t.is(await opened.wgsl("infer", "scalar", kernel?.name ?? ""), text);
  writeFileSync(file, `${text} `);
  const error = await t.throwsAsync(opened.wgsl("infer", "scalar", kernel?.name ?? ""), { instanceOf: FileError });
  t.is(error?.fault, "malformed");
  t.regex(error?.message ?? "", /its SHA-256 digest is [0-9a-f]{64}, but manifest\.json says [0-9a-f]{64}$/);
  const broken = await folder("broken", (files) => files.set("manifest.json",
    (files.get("manifest.json") ?? "").replace('"name": "small"', '"name": "../small"')));
  const refused = await t.throwsAsync(openArtifact(broken), { instanceOf: FileError });
  t.is(refused?.code, "file_malformed");
  t.regex(refused?.message ?? "", /manifest\.json: `name` must be a name of letters, digits and `_`, got "\.\.\/small"$/);
});
