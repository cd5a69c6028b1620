/** @file `deitc compile`: a model to a folder that a program can import. */
import { join } from "node:path";
import { Command } from "commander";
import type { Program } from "../../../dsl/program.js";
import { TARGET_NAMES } from "../../targets/index.js";
import { parameterCount } from "../../emit/facts.js";
import type { Compiled, PassRecord } from "../../pipeline.js";
import type { Optimization } from "../../optimizations.js";
import {
  collectOverride, examples, leftOut, named, printJsonValue, withLeftOut, type Finish,
} from "../command.js";
import { DiagnosticsError, Exit, reportFault, type ExitCode } from "../exit.js";
import { stepCounts } from "../model.js";
import type { CompileOptions as Options } from "./compile_options.js";
import { Printer } from "../printer.js";
import { showSeconds } from "../progress.js";
import { showBytes, showCount, table } from "../table.js";

export const compileCommand = (finish: Finish): Command =>
  withLeftOut(new Command("compile")
    .description("Compiles a model or a recipe to a folder: index.js, index.d.ts, a manifest and WGSL kernels.")
    .argument("<file>", "the .deit file")
    .option("--target <name>", "the model or recipe to compile, if the file has several")
    .option("--out <folder>", "the folder to write (default: out/<name>)", named("A folder's name"))
    .option("--set <name=value>", "a header parameter's value, e.g. classes=10; may be repeated", collectOverride)
    .option("--watch", "compile again whenever a source changes")
    .option("--verify", "compare the kernels with the interpreter on an adapter, and write nothing if one is wrong")
    .option("--adapter <name>", "the adapter of --verify: a part of its name, gpu, lavapipe or swiftshader",
      named("An adapter's name"))
    .option("--dump [folder]", "write the output of every pass to NN-pass.txt (default: <out>.dump)")
    .option("--time", "print milliseconds per pass")
    .option("--force", "replace the folder even if it contains files that deitc did not write")
    .option("--json", "print JSON"))
    .addHelpText("after", examples(
      "deitc compile models/deit_b.deit",
      "deitc compile models/deit_ti.deit --out generated/ti --set classes=10 --watch",
      "deitc compile recipe.deit --target hard",
    ))
    .action(async (file: string, options: Options) => {
      if (options.watch) await watchAndCompile(file, options);
      else finish(await compileOnce(file, options));
    });

/** Compiles and writes; the program tells a watcher what to watch. @throws DiagnosticsError */
async function compileOnce(file: string, options: Options): Promise<ExitCode> {
  const start = performance.now();
  const { readProgram } = await import("../source.js");
  const program = await readProgram(file);
  const printer = new Printer();
  try {
    return await compileRead(program, printer, options, start);
  } finally {
    await printer.end();
  }
}

/** A recipe is meant where it is named, or where the file declares no model. */
const isRecipe = ({ models, recipes }: Program, target: string | undefined): boolean =>
  (target === undefined ? models.length === 0 && recipes.length > 0
    : recipes.some(({ declaration }) => declaration.name.text === target));

async function compileRead(
  program: Program, printer: Printer, options: Options, start: number,
): Promise<ExitCode> {
  if (isRecipe(program, options.target)) {
    const { compileRecipeRead } = await import("./compile_recipe.js");
    await compileRecipeRead(program, printer, options, start);
    return Exit.done;
  }
  const [{ compileProgram }, { compileModel }, { emitModule }, { writeFolder }] = await Promise.all([
    import("../source.js"), import("../../pipeline.js"), import("../../emit/index.js"), import("../folder.js"),
  ]);
  const compile = (without: readonly Optimization[]): Compiled =>
    compileProgram(program, options.target, { overrides: options.set ?? {}, without }, compileModel);
  const compiled = compile(leftOut(options));
  if (options.verify && !(await isVerified(compiled, compile, options))) return Exit.device;
  const emitting = performance.now();
  const files = await emitModule(compiled, (manifest) => printer.print(manifest));
  const writing = performance.now();
  const out = options.out ?? join("out", compiled.manifest.name);
  const written = await writeFolder(out, files, options.force ?? false);
  const end = performance.now();
  const passes = [
    ...compiled.passes.map(({ name, ms }) => ({ name, ms })),
    { name: "emit", ms: writing - emitting }, { name: "write", ms: end - writing },
  ];
  if (options.dump !== undefined) await writeDump(options.dump === true ? `${out}.dump` : options.dump, compiled);
  const bytes = [...files.values()].reduce((n, text) => n + Buffer.byteLength(text), 0);
  if (options.json) {
    const told = { out, written, ms: end - start, files: files.size, bytes, ...summary(compiled) };
    printJsonValue(options.time ? { ...told, passes } : told);
    return Exit.done;
  }
  if (options.time) process.stdout.write(table(passes.map(({ name, ms }) => [name, `${ms.toFixed(1)} ms`]), [1]));
  const { parameters, kernels } = summary(compiled);
  process.stdout.write(
    `${out}: ${written}, ${compiled.manifest.className} with ${showCount(parameters)} parameters, ` +
    `${Object.entries(kernels).map(([name, n]) => `${n} ${name}`).join(", ")} kernels per forward pass, ` +
    `${files.size} files, ${showBytes(bytes)}, ` +
    `${showSeconds((end - start) / 1000)}\n`,
  );
  return Exit.done;
}

/** Whether the kernels are right on the adapter; tells what is wrong where they are not. */
async function isVerified(
  compiled: Compiled, compile: (without: readonly Optimization[]) => Compiled, options: Options,
): Promise<boolean> {
  const [{ verifyOn }, { report }] = await Promise.all([import("../verification.js"), import("./verify.js")]);
  const found = await verifyOn(compiled, compile, options);
  const isRight = found.wrong === 0;
  if (isRight && !options.json) process.stdout.write(`verified: ${report(found).trimEnd().split("\n").at(-1)}\n`);
  if (!isRight) process.stderr.write(`${report(found)}nothing was written\n`);
  return isRight;
}

function summary({ manifest }: Compiled): { parameters: number; kernels: Readonly<Record<string, number>> } {
  return { parameters: parameterCount(manifest), kernels: stepCounts(manifest) };
}

/** `01-elaborate.txt` and so on, each pass's result or the word that it changed nothing, and the two drawings. */
async function writeDump(folder: string, compiled: Compiled): Promise<void> {
  const { writeFileSync } = await import("node:fs");
  const [{ drawGraph }, { drawPlan }, { makeFolder }] = await Promise.all([
    import("../../inspect/picture.js"), import("../../inspect/storage.js"), import("../folder.js"),
  ]);
  makeFolder(folder);
  let before: string | undefined;
  compiled.passes.forEach((pass: PassRecord, i) => {
    const text = pass.dump();
    const name = `${String(i + 1).padStart(2, "0")}-${pass.name.replaceAll(" ", "-")}.txt`;
    writeFileSync(join(folder, name), text === before ? "unchanged\n" : text);
    before = text;
  });
  const pictured = { ...compiled, name: compiled.manifest.name, images: 1 };
  writeFileSync(join(folder, "graph.svg"), drawGraph(pictured, "tiled"));
  for (const family of TARGET_NAMES) writeFileSync(join(folder, `plan-${family}.svg`), drawPlan(compiled, family));
}

/** Compiles after every change of a source, until the process is ended. Mistakes are shown and waited out. */
async function watchAndCompile(file: string, options: Options): Promise<never> {
  const [{ statSync }, { readProgram, sourceHost }] = await Promise.all([import("node:fs"), import("../source.js")]);
  const host = sourceHost();
  const printer = new Printer();
  let watched: readonly string[] = [host.fileOf(file)];
  for (;;) {
    const start = performance.now();
    const stamp = (): string => watched.map((path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0).join();
    let before = stamp();
    try {
      const program = await readProgram(file);
      watched = program.sources.map((source) => host.fileOf(source.path));
      before = stamp();
      await compileRead(program, printer, options, start);
    } catch (error) {
      if (!(error instanceof DiagnosticsError)) throw error;
      reportFault(error);
      // A mistake in an imported file is mended there.
      watched = [...new Set([...watched, ...error.diagnostics.map((d) => host.fileOf(d.span.source.path))])];
      before = stamp();
    }
    process.stderr.write(`watching ${watched.length} file${watched.length === 1 ? "" : "s"}\n`);
    while (stamp() === before) await new Promise((resolve) => void setTimeout(resolve, 200));
  }
}
