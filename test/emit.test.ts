/** The emitted folder: exact numbers, the same bytes every time, and a module that a strict program can import. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import ts from "typescript";
import { printJson } from "../compiler/emit/json.js";
import { printManifest } from "../compiler/emit/manifest.js";
import { compileProgram } from "../compiler/cli/artifact.js";
import { readProgram } from "../compiler/cli/source.js";
import { emitArtifact } from "../compiler/emit/index.js";
import { Printer } from "../compiler/cli/printer.js";
import { packageFolder } from "../compiler/cli/package.js";
import type { Manifest } from "../runtime/manifest.js";
import { openArtifact } from "../runtime/node/artifact.js";
import type { CompiledArtifact } from "../compiler/artifact.js";
import { VERSION } from "../compiler/emit/version.js";
import { tinyManifest, tinyTexts } from "./tiny_recipe.js";

const root = packageFolder();
const model = (name: string): string => join(root, "models", `${name}.deit`);
const compileFile = async (file: string): Promise<CompiledArtifact> => compileProgram(await readProgram(file), {});

function scratch(t: { teardown(fn: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), "deitc-emit-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("JSON holds every number exactly", (t) => {
  const numbers = [0, -0, 1e21, 5e-324, 0.1 + 0.2, -1.7976931348623157e308, Infinity, -Infinity, 2 ** 53 - 1];
  const back: unknown = JSON.parse(printJson({ numbers }, []));
  t.deepEqual(back, { numbers });
  t.true(Object.is((back as { numbers: number[] }).numbers[1], -0));
  t.throws(() => printJson([NaN], []), { message: /not NaN/ });
});

test("JSON keys have one order, and lines end before column 120", (t) => {
  const long = Array.from({ length: 500 }, (_, i) => i / 7);
  const text = printJson({ zebra: 1, ant: 2, name: { long }, nothing: undefined }, ["name"]);
  t.deepEqual(Object.keys(JSON.parse(text) as object), ["name", "ant", "zebra"]);
  t.true(text.split("\n").every((line) => line.length <= 120));
  t.is(printJson({ ant: 2, name: { long }, zebra: 1 }, ["name"]), text);
});

test("a manifest reads back as it was", async (t) => {
  const { manifest } = await compileFile(model("deit_ti_distilled"));
  t.deepEqual(JSON.parse(printManifest(manifest)), JSON.parse(JSON.stringify(manifest)));
  t.is(manifest.compiler, VERSION);
  t.is((JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version, VERSION);
});

test("the folder is complete, and the same bytes on every run, from any place", async (t) => {
  const compiled = await compileFile(model("deit_ti"));
  const files = await emitArtifact(compiled);
  const kernels = [...compiled.wgsl.keys()].map((name) => `kernels/${name}.wgsl`);
  const expected = ["index.d.ts", "index.js", "manifest.json", "package.json", "src/index.ts", ...kernels];
  t.deepEqual([...files.keys()], expected.sort());
  for (const [family, { kernels: infos }] of Object.entries(compiled.manifest.graphs.infer.families)) {
    for (const { name } of infos) t.true(files.has(`kernels/infer/${family}/${name}.wgsl`), name);
  }
  const folder = scratch(t);
  const main = fileURLToPath(new URL("../compiler/cli/main.js", import.meta.url));
  execFileSync(process.execPath, [main, "compile", model("deit_ti"), "--out", "ti"], { cwd: folder });
  for (const [path, text] of files) t.is(digest(readFileSync(join(folder, "ti", path), "utf8")), digest(text), path);
  for (const [path, text] of files) t.false(text.includes(root) || text.includes(tmpdir()), path);
});

const digest = (text: string): string => createHash("sha256").update(text).digest("hex");

/**
 * Type errors of a program beside an emitted module, in a project where `deitc` and Node's types are installed: npm's
 * default of CommonJS, every check on, and no library but the language's own.
 */
function typeCheck(folder: string, program: string): string[] {
  mkdirSync(join(folder, "node_modules"), { recursive: true });
  symlinkSync(root, join(folder, "node_modules", "deitc"));
  symlinkSync(join(root, "node_modules", "@types"), join(folder, "node_modules", "@types"));
  writeFileSync(join(folder, "package.json"), '{ "name": "mine", "version": "1.0.0" }');
  writeFileSync(join(folder, "use.ts"), program);
  const options: ts.CompilerOptions = {
    strict: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true,
    target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ["lib.es2023.d.ts"], types: [],
  };
  const checked = ts.createProgram([join(folder, "use.ts"), join(folder, "model", "src", "index.ts")], options);
  return ts.getPreEmitDiagnostics(checked).map((d) => {
    const place = d.file ? `${d.file.fileName}:${d.start ?? 0}: ` : "";
    return place + ts.flattenDiagnosticMessageText(d.messageText, "\n");
  });
}

async function emitInto(folder: string, compiled: Parameters<typeof emitArtifact>[0]): Promise<void> {
  for (const [path, text] of await emitArtifact(compiled)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

test("the module type-checks in a strict program of its own, and knows the model's names", async (t) => {
  const folder = scratch(t);
  await emitInto(join(folder, "model"), await compileFile(model("deit_ti")));
  const problems = typeCheck(folder, `
    import { DeitTi, loadImages, topK } from "./model/index.js";
    export async function best(files: string[]): Promise<string[]> {
      await using model = await DeitTi.load({ weights: "deit_ti.safetensors", batch: 8 });
      const images: Float32Array = await loadImages(files, DeitTi.preprocess);
      const { prediction } = await model.infer({ images });
      const classes: 1000 = DeitTi.classes;
      const side: 224 = DeitTi.inputs.images.shape[2];
      const count: 5717416 = DeitTi.parameterCount;
      // @ts-expect-error the model has no such input
      await model.infer({ pictures: images });
      // @ts-expect-error the model has no such output
      void (await model.infer({ images })).features;
      // @ts-expect-error only load makes one
      new DeitTi();
      return topK(prediction.subarray(0, classes), 5).map((c) => \`\${c.label} \${c.score} \${side} \${count}\`);
    }`);
  t.deepEqual(problems, []);
});

test("the module of a recipe type-checks in a strict program of its own, and opens as it was", async (t) => {
  const folder = scratch(t);
  const manifest = tinyManifest();
  const files = await emitArtifact({ manifest, wgsl: tinyTexts });
  t.deepEqual([...await emitArtifact({ manifest, wgsl: tinyTexts })], [...files]);
  for (const [path, text] of files) {
    mkdirSync(dirname(join(folder, "model", path)), { recursive: true });
    writeFileSync(join(folder, "model", path), text);
  }
  const opened = await openArtifact(join(folder, "model"));
  t.deepEqual(opened.manifest, JSON.parse(JSON.stringify(manifest)));
  t.is(await opened.wgsl("train", "wide", "update"), tinyTexts.get("train/wide/update") ?? "no text");
  const problems = typeCheck(folder, `
    import { Linear, Trainer } from "./model/index.js";
    export async function losses(): Promise<number[]> {
      await using trainer: Linear = await Trainer.open({ out: "run", steps: 10 });
      const found: number[] = [];
      const student: "linear" = Linear.models.student;
      for await (const event of trainer.run()) if (event.kind === "record") found.push(event.record.loss);
      const { top1 } = await trainer.evaluate({ ema: true });
      await trainer.save(student + ".safetensors");
      // @ts-expect-error only open makes one
      new Trainer();
      return [...found, top1];
    }`);
  t.deepEqual(problems, []);
});

test("a model whose name is taken, and inputs of other types, make a module that type-checks", async (t) => {
  const { manifest: artifact } = await compileFile(model("deit_ti"));
  const manifest: Manifest = {
    ...artifact.graphs.infer, name: "session", doc: "Ends a comment: */ and goes on.",
    inputs: [{ name: "ids", shape: [{ b: 1, c: 0 }, { b: 2, c: 1 }], dtype: "i32", doc: "Token numbers." }],
    outputs: [{ name: "mask", shape: [{ b: 1, c: 0 }], dtype: "bool" }],
  };
  const { preprocess: _, ...plain } = manifest;
  const folder = scratch(t);
  await emitInto(join(folder, "model"), { manifest: { ...artifact, graphs: { infer: plain } }, wgsl: new Map() });
  const problems = typeCheck(folder, `
    import { ModelSession } from "./model/index.js";
    export async function run(): Promise<Int32Array> {
      const model = await ModelSession.load({ randomWeights: { seed: 0 } });
      const size: "2·B + 1" = ModelSession.inputs.ids.shape[1];
      const { mask } = await model.infer({ ids: new Int32Array(size.length) });
      model.destroy();
      return mask;
    }`);
  t.deepEqual(problems, []);
});

test("a printer that prints again and again leaves nothing behind", async (t) => {
  const { manifest } = await compileFile("models/deit_ti.deit");
  const warnings: string[] = [];
  const note = ({ message }: Error): void => void warnings.push(message);
  process.on("warning", note);
  const printer = new Printer();
  try {
    const first = await printer.print(manifest);
    // One more than Node takes for a leak.
    for (let i = 0; i < 11; i++) t.deepEqual(await printer.print(manifest), first);
    await new Promise((resolve) => void setImmediate(resolve));
  } finally {
    process.off("warning", note);
    await printer.end();
  }
  t.deepEqual(warnings, []);
});
