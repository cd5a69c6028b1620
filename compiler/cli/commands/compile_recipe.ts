/** @file `deitc compile` of a recipe. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Program } from "../../../dsl/program.js";
import type { TrainingManifest } from "../../../runtime/training.js";
import type { CompiledRecipe } from "../../train/compile.js";
import { leftOut, printJsonValue } from "../command.js";
import type { CompileOptions as Options } from "./compile_options.js";
import { CommandError, UsageError } from "../exit.js";
import type { Printer } from "../printer.js";
import { showSeconds } from "../progress.js";
import { refuse, verifiesPasses } from "../source.js";
import { showBytes, showCount, table } from "../table.js";
import { familyNamed } from "../../../runtime/families.js";
import { TARGET_NAMES } from "../../targets/index.js";

/** Compiles a recipe of a program and writes its folder. @throws DiagnosticsError, UsageError */
export async function compileRecipeRead(
  program: Program, printer: Printer, options: Options, start: number,
): Promise<void> {
  if (options.set !== undefined) {
    throw new UsageError("--set changes a model's header", "write the values into the recipe: `student: NAME { … }`");
  }
  if (options.verify) {
    throw new UsageError("--verify compares models, this is a recipe", "verify the model: `--target MODEL --verify`");
  }
  const [{ compileRecipe }, { emitRecipe }, { makeFolder, writeFolder }] = await Promise.all([
    import("../../train/compile.js"), import("../../emit/index.js"), import("../folder.js"),
  ]);
  const { compiled, diagnostics } = compileRecipe(program, options.target, {
    without: leftOut(options), verify: verifiesPasses(),
  });
  refuse(diagnostics);
  if (!compiled) throw new CommandError(`${program.entry.path} was not compiled`);
  const emitting = performance.now();
  const files = await emitRecipe(compiled, (manifest) => printer.print(manifest));
  const { manifest } = compiled;
  const out = options.out ?? join("out", manifest.name);
  const written = await writeFolder(out, files, options.force ?? false);
  const end = performance.now();
  if (options.dump !== undefined) {
    const folder = options.dump === true ? `${out}.dump` : options.dump;
    makeFolder(folder);
    writeDump(folder, compiled);
  }
  const bytes = [...files.values()].reduce((n, text) => n + Buffer.byteLength(text), 0);
  const [parameters, dispatches] = [trainedCount(manifest), dispatchesOf(manifest)];
  const passes = [
    ...Object.entries(compiled.graphs).flatMap(([graph, made]) =>
      (made?.passes ?? []).map(({ name, ms }) => ({ name: `${graph}: ${name}`, ms }))),
    { name: "emit and write", ms: end - emitting },
  ];
  if (options.json) {
    const told = { out, written, ms: end - start, files: files.size, bytes, parameters, dispatches };
    return printJsonValue(options.time ? { ...told, passes } : told);
  }
  if (options.time) process.stdout.write(table(passes.map(({ name, ms }) => [name, `${ms.toFixed(1)} ms`]), [1]));
  process.stdout.write(
    `${out}: ${written}, recipe ${manifest.className} with ${showCount(parameters)} trained parameters, ` +
    `${Object.entries(dispatches).map(([name, n]) => `${n} ${name}`).join(", ")} dispatches per pass, ` +
    `${files.size} files, ${showBytes(bytes)}, ${showSeconds((end - start) / 1000)}\n`,
  );
}

const trainedCount = ({ states }: TrainingManifest): number =>
  states.filter(({ trained }) => trained).reduce((n, { shape }) => n + shape.reduce((m, d) => m * d, 1), 0);

/** Dispatches by family of one pass over data, and the optimizer where it is a program of its own. */
function dispatchesOf({ graphs: { train, gather, apply } }: TrainingManifest): Record<string, number> {
  const steps = [train ?? gather, train ? undefined : apply].filter((graph) => graph !== undefined);
  return Object.fromEntries(TARGET_NAMES.map((name) =>
    [name, steps.reduce((n, graph) => n + familyNamed(graph, name).programs.run.length, 0)]));
}

/** What every pass made of every graph, as `GRAPH-NN-pass.txt`. */
function writeDump(folder: string, { graphs }: CompiledRecipe): void {
  for (const [graph, compiled] of Object.entries(graphs)) {
    for (const [i, pass] of (compiled?.passes ?? []).entries()) {
      const name = `${graph}-${String(i + 1).padStart(2, "0")}-${pass.name.replaceAll(" ", "-")}.txt`;
      writeFileSync(join(folder, name), pass.dump());
    }
  }
}
