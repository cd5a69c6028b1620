/**
 * @file How a command ends: the exit codes, and what is printed for each kind of fault. A user's mistake never shows a
 * stack trace; ours says what to report.
 */
import { renderDiagnostics, type Diagnostic } from "../../dsl/diagnostics.js";
import { DeitcError, describeError } from "../../runtime/errors.js";
import { printable, printableLines } from "../../runtime/text.js";
import { CompilerBug, UserError } from "../ir/invariant.js";
import { paintFor } from "./colour.js";

/**
 * 0 done, 1 the user's input is at fault, 2 wrong usage, 3 the device, 70 a bug of deitc; a training that was stopped:
 * 128 and the number of the signal.
 */
export const Exit = {
  done: 0, input: 1, usage: 2, device: 3, bug: 70, hungUp: 129, interrupted: 130, terminated: 143,
} as const;
export type ExitCode = (typeof Exit)[keyof typeof Exit];

/** The command line itself is wrong in a way commander cannot see: exit code 2. */
export class UsageError extends UserError {
  override readonly name = "UsageError";
}

/** What a command was given cannot be used: exit code 1. */
export class CommandError extends UserError {
  override readonly name = "CommandError";
}

/** Mistakes in `.deit` text: exit code 1. */
export class DiagnosticsError extends Error {
  override readonly name = "DiagnosticsError";
  readonly diagnostics: readonly Diagnostic[];
  constructor(diagnostics: readonly Diagnostic[]) {
    super(renderDiagnostics(diagnostics));
    this.diagnostics = diagnostics;
  }
}

/** What the operating system says, in words. */
const SYSTEM_FAULTS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EISDIR: "is a folder, expected a file",
  EEXIST: "already exists",
  ENOTEMPTY: "is a folder that is not empty",
  ENOTDIR: "a part of the path is a file, not a folder",
  ENOSPC: "no space left on the disk",
  EROFS: "the file system is read-only",
  EMFILE: "too many open files",
  ELOOP: "too many symbolic links",
  ENAMETOOLONG: "the name is too long",
};

/** The fault of a system call in words, with the path it was about where the system says so. */
function systemFault(x: unknown): string | undefined {
  if (!(x instanceof Error) || !("code" in x) || typeof x.code !== "string" || !("syscall" in x)) return undefined;
  // Node's own words stand between code and call: `EXDEV: cross-device link not permitted, rename 'a' -> 'b'`.
  const text = SYSTEM_FAULTS[x.code] ?? /^[A-Z0-9]+: ([^,]+)/.exec(x.message)?.[1] ?? x.code;
  return "path" in x && typeof x.path === "string" ? `${printable(x.path)}: ${text}` : text;
}

const write = (text: string): void => void process.stderr.write(text);

/** Writes a fault as all are written: what it is, the sentence, and how to fix it on a line of its own. */
function tell(title: string, message: string, help?: string): void {
  const paint = paintFor(process.stderr);
  // Names in files that were read are in it: what acts on a terminal is not passed on.
  const [shown, advice] = [printableLines(message), printableLines(help ?? "")];
  write(`${paint("error", title)}: ${shown}\n${help === undefined ? "" : `  ${paint("help", `help: ${advice}`)}\n`}`);
}

/** Prints what went wrong to standard error and gives the exit code. */
export function reportFault(error: unknown): ExitCode {
  if (process.env["DEITC_DEBUG"] === "1" && error instanceof Error) write(`${error.stack ?? error.message}\n`);
  if (error instanceof DeitcError) {
    tell(`error[${error.code}]`, error.message, error.help);
    return error.exitKind === "device" ? Exit.device : Exit.input;
  }
  if (error instanceof DiagnosticsError) {
    write(`${renderDiagnostics(error.diagnostics, paintFor(process.stderr))}\n`);
    return Exit.input;
  }
  if (error instanceof UserError) {
    tell("error", error.message, error.help);
    return error instanceof UsageError ? Exit.usage : Exit.input;
  }
  const fault = systemFault(error);
  if (fault !== undefined) {
    tell("error", fault);
    return Exit.input;
  }
  tell("error[bug]", error instanceof CompilerBug
    ? `internal error: invariant violated: ${error.message}` : describeError(error));
  write("  This is a bug in deitc. Please report the command line, the .deit file, the output of\n");
  write("  `deitc doctor`, and what the same command prints with DEITC_DEBUG=1 set.\n");
  return Exit.bug;
}
