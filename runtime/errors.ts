/** @file Every run-time error that is not a bug in deitc: typed, with a fix. */

import { printable, printableLines } from "./text.js";

/** Who has to act: the user, on the input (exit code 1), or the machine's owner (exit code 3). */
export type ExitKind = "input" | "device";

/** Why a file cannot be used: missing, not readable, not writable, cut short, of another kind, malformed, or unsafe. */
export type FileFault =
  | "missing" | "unreadable" | "unwritable" | "truncated" | "not_recognized" | "malformed" | "refused";

/** Every code of a run-time error, spelled as those of the language are. */
export type RuntimeCode =
  | "input" | "adapter" | "out_of_memory" | "device_lost" | "destroyed" | "validation" | "device" | "kernel"
  | "diverged" | "dependency"
  | `file_${FileFault}` | `image_${FileFault}` | `weights_${FileFault | "mismatch"}`;

/** What an error may carry besides its message. */
export interface ErrorDetail {
  /** How to fix it, as a sentence. */
  readonly help?: string;
  /** The underlying error, for debugging. */
  readonly cause?: unknown;
}

/** The base class of all run-time errors; `code` is stable, for programs; the message is for people. */
export class DeitcError extends Error {
  override readonly name: string = "DeitcError";
  readonly code: RuntimeCode;
  readonly exitKind: ExitKind;
  readonly help: string | undefined;

  constructor(code: RuntimeCode, exitKind: ExitKind, message: string, detail: ErrorDetail = {}) {
    // Names in files that were read are in it: what acts on a terminal is not passed on.
    super(printableLines(message), detail.cause === undefined ? undefined : { cause: detail.cause });
    this.code = code;
    this.exitKind = exitKind;
    this.help = detail.help === undefined ? undefined : printableLines(detail.help);
  }
}

/** An argument of a run-time call is wrong: a missing input, a length that does not fit the shape, a bad option. */
export class InputError extends DeitcError {
  override readonly name = "InputError";
  constructor(message: string, detail: ErrorDetail = {}) {
    super("input", "input", message, detail);
  }
}

/** What a file error may carry: the file, and the fault as one word. */
export interface FileErrorDetail extends ErrorDetail {
  /** As the caller named it. */
  readonly file: string;
  readonly fault: FileFault | "mismatch";
}

/** A file could not be read or written at all; the formats have classes of their own. */
export class FileError extends DeitcError {
  override readonly name = "FileError";
  readonly file: string;
  readonly fault: FileFault;
  constructor(message: string, detail: ErrorDetail & { readonly file: string; readonly fault: FileFault }) {
    super(`file_${detail.fault}`, "input", `${printable(detail.file)}: ${message}`, detail);
    this.file = detail.file;
    this.fault = detail.fault;
  }
}

/** A weights file is broken or unsafe, or does not hold what the model needs (`mismatch`). */
export class WeightsError extends DeitcError {
  override readonly name = "WeightsError";
  readonly file: string;
  readonly fault: FileFault | "mismatch";
  /** The tensor at fault, when it is one. */
  readonly tensor: string | undefined;
  constructor(message: string, detail: FileErrorDetail & { readonly tensor?: string }) {
    const file = printable(detail.file);
    const where = detail.tensor === undefined ? file : `${file}: tensor '${printable(detail.tensor)}'`;
    super(`weights_${detail.fault}`, "input", `${where}: ${message}`, detail);
    this.file = detail.file;
    this.fault = detail.fault;
    this.tensor = detail.tensor;
  }
}

/** An image cannot be decoded, or its pixels are not what was said. */
export class ImageError extends DeitcError {
  override readonly name = "ImageError";
  readonly file: string;
  readonly fault: FileFault;
  constructor(message: string, detail: ErrorDetail & { readonly file: string; readonly fault: FileFault }) {
    super(`image_${detail.fault}`, "input", `${printable(detail.file)}: ${message}`, detail);
    this.file = detail.file;
    this.fault = detail.fault;
  }
}

/** No adapter, or none with the limits and features that the module needs. */
export class AdapterError extends DeitcError {
  override readonly name = "AdapterError";
  constructor(message: string, detail: ErrorDetail = {}) {
    super("adapter", "device", message, detail);
  }
}

/** The device or the process has not enough memory for the batch asked for. */
export class OutOfMemoryError extends DeitcError {
  override readonly name = "OutOfMemoryError";
  constructor(message: string, detail: ErrorDetail = {}) {
    super("out_of_memory", "device", message, detail);
  }
}

/** The device went away: its driver was reset or crashed. */
export class DeviceLostError extends DeitcError {
  override readonly name = "DeviceLostError";
  constructor(message: string, detail: ErrorDetail = {}) {
    super("device_lost", "device", message, detail);
  }
}

/** A model, a trainer or a device is used after its `destroy()`. */
export class DestroyedError extends DeitcError {
  override readonly name = "DestroyedError";
  constructor(message: string, detail: ErrorDetail = {}) {
    super("destroyed", "input", message, detail);
  }
}

/** The message and, on its own line, the help of any error, as the command line prints it. */
export function describeError(error: unknown): string {
  if (error instanceof DeitcError && error.help !== undefined) return `${error.message}\n  help: ${error.help}`;
  return error instanceof Error ? error.message : String(error);
}
