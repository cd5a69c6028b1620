/** @file From a path on the command line to a checked program or a compiled model; all mistakes become one fault. */
import type { Diagnostic } from "../../dsl/diagnostics.js";
import type { Program } from "../../dsl/program.js";
import { loadProgram, type Loaded } from "../../dsl/resolve.js";
import type { Compiled, CompileOptions } from "../pipeline.js";
import { CommandError, DiagnosticsError } from "./exit.js";
import { nodeHost, type NodeHost } from "./host.js";
import { modelsFolder } from "./package.js";

/** Throws a DiagnosticsError unless there is nothing to report. */
export function refuse(diagnostics: readonly Diagnostic[]): void {
  if (diagnostics.length > 0) throw new DiagnosticsError(diagnostics);
}

/** File access relative to the current folder. */
export const sourceHost = (): NodeHost => nodeHost(modelsFolder());

/** Reads `file` and all it imports: what is sound of it, and what is wrong. */
export async function readSources(file: string): Promise<Loaded> {
  const { language } = await import("../index.js");
  return loadProgram(file, sourceHost(), language());
}

/** Reads `file` and all it imports. @throws DiagnosticsError */
export async function readProgram(file: string): Promise<Program> {
  const { program, diagnostics } = await readSources(file);
  refuse(diagnostics);
  if (!program) throw new CommandError(`${file} cannot be read`);
  return program;
}

/** Whether compilers look over their graphs after every pass: where a bug of a pass is to be found. */
export const verifiesPasses = (): boolean => process.env["DEITC_DEBUG"] === "1";

/** Compiles one model of a file. @throws DiagnosticsError */
export async function compileFile(
  file: string, target: string | undefined, options: CompileOptions = {},
): Promise<Compiled> {
  const [program, { compileModel }] = await Promise.all([readProgram(file), import("../pipeline.js")]);
  return compileProgram(program, target, options, compileModel);
}

/** Compiles one model of a program that is read already. @throws DiagnosticsError */
export function compileProgram(
  program: Program, target: string | undefined, options: CompileOptions,
  compileModel: typeof import("../pipeline.js").compileModel,
): Compiled {
  const { compiled, diagnostics } = compileModel(program, target, { verify: verifiesPasses(), ...options });
  refuse(diagnostics);
  if (!compiled) throw new CommandError(`${program.entry.path} was not compiled`);
  return compiled;
}
