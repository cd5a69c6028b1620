/** @file `deitc compile`: a model or a recipe to a folder that a program can import. */
import { join } from "node:path";
import { Command } from "commander";
import type { Program } from "../../../dsl/program.js";
import { RANKED_NAMES } from "../../targets/index.js";
import type { CompiledArtifact } from "../../artifact.js";
import { classesOf, parameterCount } from "../../emit/facts.js";
import { inferenceGraph } from "../../../runtime/artifact.js";
import type { Manifest, Precision } from "../../../runtime/manifest.js";
import type { Compiled, PassRecord } from "../../pipeline.js";
import type { Optimization } from "../../optimizations.js";
import {
  examples, leftOut, named, precision, printJsonValue, withLeftOut, withSelection, type Finish, type LeftOut,
} from "../command.js";
import { compileModelOf, compileProgram, sourceParts, type Selection } from "../artifact.js";
import { DiagnosticsError, Exit, reportFault, type ExitCode } from "../exit.js";
import { stepCounts } from "../model.js";
import { Printer } from "../printer.js";
import { showSeconds } from "../progress.js";
import { readProgram } from "../source.js";
import { showBytes, showCount, table } from "../table.js";

interface Options extends LeftOut, Omit<Selection, "precision"> {
  readonly precision?: readonly Precision[];
  readonly out?: string;
  readonly watch?: boolean;
  readonly verify?: boolean;
  readonly adapter?: string;
  readonly dump?: string | true;
  readonly time?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

export const compileCommand = (finish: Finish): Command =>
  withLeftOut(withSelection(new Command("compile")
    .description("Compiles a model or a recipe to a folder: index.js, index.d.ts, a manifest and WGSL kernels.")
    .argument("<file>", "FILE.deit or FILE.deit:NAME"))
    .option("--out <folder>", "the folder to write (default: out/<name>)", named("A folder's name"))
    .option("--precision <list>", "precisions of inference, separated by commas: f32, which is always there, and f16",
      precisions)
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

/** Option parser: precisions with commas between. */
const precisions = (text: string): Precision[] => text.split(",").map((part) => precision(part.trim()));

/** Compiles and writes. @throws DiagnosticsError */
async function compileOnce(path: string, options: Options): Promise<ExitCode> {
  const start = performance.now();
  const { file, selection } = selected(path, options);
  const printer = new Printer();
  try {
    return await compileRead(await readProgram(file), printer, selection, start);
  } finally {
    await printer.end();
  }
}

/** The file, and the options with the target that the path names. */
function selected(path: string, options: Options): { readonly file: string; readonly selection: Options } {
  const { file, target } = sourceParts(path, options.target, "compile");
  return { file, selection: target === undefined ? options : { ...options, target } };
}

/** @param options with the target that the path names */
async function compileRead(
  program: Program, printer: Printer, options: Options, start: number,
): Promise<ExitCode> {
  const [{ emitArtifact }, { writeFolder }] = await Promise.all([
    import("../../emit/index.js"), import("../folder.js"),
  ]);
  const { precision: wanted, ...selection } = options;
  const compiled = await compileProgram(program, selection, { without: leftOut(options), precisions: wanted });
  for (const one of options.verify ? new Set<Precision>(["f32", ...wanted ?? []]) : []) {
    const graph = compiled.graphs[inferenceGraph(one)];
    const compile = (without: readonly Optimization[]): Promise<Compiled> =>
      compileModelOf(program, { ...selection, precision: one }, { without });
    if (graph && !(await isVerified(graph, compile, { ...selection, precision: one }))) return Exit.device;
  }
  const emitting = performance.now();
  const files = await emitArtifact(compiled, (manifest) => printer.print(manifest));
  const writing = performance.now();
  const out = options.out ?? join("out", compiled.manifest.name);
  const written = await writeFolder(out, files, options.force ?? false);
  const end = performance.now();
  const several = Object.keys(compiled.graphs).length > 1;
  const passes = [
    ...Object.entries(compiled.graphs).flatMap(([graph, made]) =>
      made.passes.map(({ name, ms }) => ({ name: several ? `${graph}: ${name}` : name, ms }))),
    { name: "emit", ms: writing - emitting }, { name: "write", ms: end - writing },
  ];
  if (options.dump !== undefined) await writeDump(options.dump === true ? `${out}.dump` : options.dump, compiled);
  const bytes = [...files.values()].reduce((n, text) => n + Buffer.byteLength(text), 0);
  const { parameters, kernels } = summary(compiled);
  if (options.json) {
    const told = { out, written, ms: end - start, files: files.size, bytes, parameters, kernels };
    printJsonValue(options.time ? { ...told, passes } : told);
    return Exit.done;
  }
  if (options.time) process.stdout.write(table(passes.map(({ name, ms }) => [name, `${ms.toFixed(1)} ms`]), [1]));
  const { model, recipe } = classesOf(compiled.manifest);
  const counts = (graph: string): string =>
    Object.entries(kernels[graph] ?? {}).map(([name, n]) => `${n} ${name}`).join(", ");
  const step = kernels["train"] ? "train" : "gather";
  process.stdout.write(
    `${out}: ${written}, ${recipe === undefined ? model : `recipe ${recipe} of model ${model}`} with ` +
    `${showCount(parameters)} parameters, ${counts("infer")} kernels per forward pass, ` +
    (recipe === undefined ? "" : `${counts(step)} per training pass, `) +
    `${files.size} files, ${showBytes(bytes)}, ${showSeconds((end - start) / 1000)}\n`,
  );
  return Exit.done;
}

/** Whether the kernels are right on the adapter; tells what is wrong where they are not. */
async function isVerified(
  compiled: Compiled, compile: (without: readonly Optimization[]) => Promise<Compiled>,
  options: Omit<Options, "precision"> & Pick<Selection, "precision">,
): Promise<boolean> {
  const [{ verifyOn }, { report }] = await Promise.all([import("../verification.js"), import("./verify.js")]);
  const found = await verifyOn(compiled, compile, options);
  const isRight = found.wrong === 0;
  if (isRight && !options.json) process.stdout.write(`verified: ${report(found).trimEnd().split("\n").at(-1)}\n`);
  if (!isRight) process.stderr.write(`${report(found)}nothing was written\n`);
  return isRight;
}

/** Trained parameters, and dispatches by graph and family. */
function summary({ manifest: { graphs } }: CompiledArtifact): {
  readonly parameters: number; readonly kernels: Readonly<Record<string, Readonly<Record<string, number>>>>;
} {
  const kernels = Object.fromEntries(Object.entries(graphs).map(([name, graph]: [string, Manifest]) =>
    [name, stepCounts(graph)]));
  return { parameters: parameterCount(graphs.infer), kernels };
}

/**
 * `01-elaborate.txt` and so on, each pass's result or the word that it changed nothing, and the drawings; of several
 * graphs with the graph's name in front.
 */
async function writeDump(folder: string, artifact: CompiledArtifact): Promise<void> {
  const { graphs } = artifact;
  const { writeFileSync } = await import("node:fs");
  const [{ writePictures }, { makeFolder }] = await Promise.all([
    import("../pictures.js"), import("../../../runtime/node/files.js"),
  ]);
  await makeFolder(folder);
  const several = Object.keys(graphs).length > 1;
  for (const [graph, compiled] of Object.entries(graphs)) {
    const at = (name: string): string => join(folder, several ? `${graph}-${name}` : name);
    let before: string | undefined;
    compiled.passes.forEach((pass: PassRecord, i) => {
      const text = pass.dump();
      const name = `${String(i + 1).padStart(2, "0")}-${pass.name.replaceAll(" ", "-")}.txt`;
      writeFileSync(at(name), text === before ? "unchanged\n" : text);
      before = text;
    });
  }
  await writePictures(folder, artifact, RANKED_NAMES);
}

/** Compiles after every change of a source, until the process is ended. Mistakes are shown and waited out. */
async function watchAndCompile(path: string, options: Options): Promise<never> {
  const { file, selection } = selected(path, options);
  const [{ statSync }, { nodeHost }] = await Promise.all([import("node:fs"), import("../host.js")]);
  const host = nodeHost();
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
      await compileRead(program, printer, selection, start);
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
