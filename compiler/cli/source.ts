/** @file From a path on the command line to a checked program; all mistakes become one fault. */
import { renderDiagnostics, type Diagnostic } from "../../dsl/diagnostics.js";
import type { Program } from "../../dsl/program.js";
import { loadProgram } from "../../dsl/resolve.js";
import type { CompileOptions } from "../pipeline.js";
import { DiagnosticsError } from "./exit.js";
import { nodeHost, type NodeHost } from "./host.js";
import { modelsFolder } from "./package.js";

/** Throws a DiagnosticsError unless there is nothing to report. */
export function refuse(diagnostics: readonly Diagnostic[]): void {
  if (diagnostics.length > 0) throw new DiagnosticsError(renderDiagnostics(diagnostics), diagnostics);
}

/** File access relative to the current folder. */
export const sourceHost = (): NodeHost => nodeHost(modelsFolder());

/** Reads `file` and all it imports. @throws DiagnosticsError */
export async function readProgram(file: string): Promise<Program> {
  const { language } = await import("../index.js");
  const { program, diagnostics } = loadProgram(file, sourceHost(), language());
  refuse(diagnostics);
  if (!program) throw new DiagnosticsError(`error: ${file} cannot be read\n`, []);
  return program;
}

/** Whether compilers look over their graphs after every pass: where a bug of a pass is to be found. */
const verifiesPasses = (): boolean => process.env["DEITC_DEBUG"] === "1";

/** What a compiler makes of a program, with the passes verified where that is asked for. @throws DiagnosticsError */
export function compiledOr<Result, Options extends CompileOptions>(
  program: Program, target: string | undefined, options: Options,
  compile: (program: Program, target: string | undefined, options: Options) =>
    { readonly compiled?: Result; readonly diagnostics: readonly Diagnostic[] },
): Result {
  const { compiled, diagnostics } = compile(program, target, { ...options, verify: verifiesPasses() });
  refuse(diagnostics);
  if (!compiled) throw new DiagnosticsError(`error: ${program.entry.path} was not compiled\n`, []);
  return compiled;
}
