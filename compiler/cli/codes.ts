/** @file What the error codes outside of the language mean, for `deitc explain CODE`. */
import type { FileFault, RuntimeCode } from "../../runtime/errors.js";

const FILE_FAULTS: Readonly<Record<FileFault, string>> = {
  missing: "does not exist",
  unreadable: "cannot be read: the system refuses it, or the path is a folder",
  unwritable: "cannot be written: the disk is full, the system refuses it, or another training writes there",
  truncated: "ends before its data does: it was not copied or downloaded in full",
  not_recognized: "is of a kind or version that deitc does not read",
  malformed: "contradicts itself or the format it claims to have",
  refused: "asks for something that would not be safe, such as executing code",
};

/** The codes of faults of one kind of file. */
function ofFiles<K extends string>(kind: K, what: string): Record<`${K}_${FileFault}`, string> {
  const entries = Object.entries(FILE_FAULTS).map(([fault, text]) => [`${kind}_${fault}`, `${what} ${text}.`]);
  // The keys are those of FILE_FAULTS behind `kind`, which Object.entries does not tell the compiler.
  return Object.fromEntries(entries) as Record<`${K}_${FileFault}`, string>;
}

/** Every code outside of the language's catalogue with the rule behind it. */
export const RUN_CODES: Readonly<Record<RuntimeCode | "bug", string>> = {
  input: "An argument of a call is wrong: a missing input, data that does not fit its shape, or a bad option.",
  adapter: "There is no adapter, or none with the limits and features that are needed. `deitc doctor` lists them.",
  out_of_memory:
    "The device or the process has too little memory for this batch; the message names the largest that fits.",
  device_lost: "The device is gone: its driver was reset or crashed.",
  destroyed: "A model, a trainer or a device was used after its `destroy()`.",
  validation: "WebGPU refused a call of deitc: a bug in deitc.",
  device: "The driver failed in a way that it does not explain.",
  kernel: "The driver does not compile a kernel: a bug in the driver or in deitc.",
  dependency: "A package that deitc needs does not load: it is missing, or was installed for another system.",
  diverged: "The loss or a tensor is no longer finite; nothing of that step was saved.",
  ...ofFiles("file", "A file"), ...ofFiles("image", "An image"), ...ofFiles("weights", "A file of weights"),
  weights_mismatch: "A file of weights does not have the tensors, or the shapes, that the model needs.",
  bug: "A fault of deitc itself. Please report the command line, the .deit file and the output of `deitc doctor`.",
};
