/** @file The option `--labels`: class names from a file, one a line or as a JSON list. */
import { printable } from "../../runtime/text.js";
import { CommandError } from "./exit.js";

/** The option's words, for the commands that have it. */
export const LABELS = [
  "--labels <file>",
  "class names in the order of the logits: one per line, or a JSON list (default: the checkpoint's, else the model's)",
] as const;

/**
 * The names in a file, `classes` of them. Control characters in them, which could act on a terminal, are replaced.
 * @throws FileError for a file that cannot be read, CommandError for a line without a name, or another number of names
 */
export async function readLabels(file: string, classes: number): Promise<readonly string[]> {
  const { readFileBytes } = await import("../../runtime/node/files.js");
  const text = new TextDecoder().decode(await readFileBytes(file));
  const names = text.trimStart().startsWith("[") ? listIn(text, file) : text.trimEnd().split(/\r?\n/u);
  const empty = names.findIndex((name) => name.trim() === "");
  if (empty >= 0) throw new CommandError(`${file}: class ${empty} has no name`, "write one name per class");
  if (names.length !== classes) {
    throw new CommandError(`${file}: has ${names.length} names, the model predicts ${classes} classes`,
      "write one name per class, in the order of the logits");
  }
  return names.map((name) => printable(name.trim()));
}

function listIn(text: string, file: string): readonly string[] {
  let names: unknown;
  try {
    names = JSON.parse(text);
  } catch {
    names = undefined;
  }
  if (Array.isArray(names) && names.every((name): name is string => typeof name === "string")) return names;
  throw new CommandError(`${file}: starts with \`[\` but is not a JSON list of strings`,
    'write ["first class", "second class"], or one name per line');
}
