/** @file From a path on the command line to a checked program; all mistakes become one fault. */
import type { Diagnostic } from "../../dsl/diagnostics.js";
import type { Program } from "../../dsl/program.js";
import type { Loaded } from "../../dsl/resolve.js";
import type { CompileOptions } from "../pipeline.js";
import { CommandError, DiagnosticsError } from "./exit.js";

/** Throws a DiagnosticsError unless there is nothing to report. */
export function refuse(diagnostics: readonly Diagnostic[]): void {
  if (diagnostics.length > 0) throw new DiagnosticsError(diagnostics);
}

/** Reads `file` and all it imports: what is sound of it, and what is wrong. */
export async function readSources(file: string): Promise<Loaded> {
  const [{ loadProgram }, { language }, { nodeHost }] = await Promise.all([
    import("../../dsl/resolve.js"), import("../language.js"), import("./host.js"),
  ]);
  return loadProgram(file, nodeHost(), language());
}

/** Reads `file` and all it imports. @throws DiagnosticsError */
export async function readProgram(file: string): Promise<Program> {
  const { program, diagnostics } = await readSources(file);
  refuse(diagnostics);
  if (!program) throw new CommandError(`${file} cannot be read`);
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
  if (!compiled) throw new CommandError(`${program.entry.path} was not compiled`);
  return compiled;
}
