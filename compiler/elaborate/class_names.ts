/**
 * @file The header parameter `class_names`: what the classes of the prediction are called, as a list of names or as
 * `"imagenet"` or `"cifar10"`, whose names the runtime has.
 */
import type { LabelSet, Manifest } from "../../runtime/manifest.js";
import type { Instance } from "./instantiate.js";
import { show, type Value } from "./values.js";

/** Number of classes of the sets that the runtime names. */
const SETS: Readonly<Record<LabelSet, number>> = { imagenet: 1000, cifar10: 10 };
const isSet = (name: string): name is LabelSet => Object.hasOwn(SETS, name);

/**
 * What the header calls the classes; undefined where it says nothing, or after a diagnostic. A model that derives from
 * a named one with another number of classes has other classes: a set's names are not its own then.
 */
export function classNamesOf({ frame, header, outputs }: Instance): Manifest["classNames"] {
  const value = header.get("class_names");
  if (!value || value.kind === "none" || value.kind === "error") return undefined;
  const classes = classCountOf(outputs);
  if (value.kind === "string" && isSet(value.value)) return classes === SETS[value.value] ? value.value : undefined;
  const names = value.kind === "list" ? namesIn(value.items) : undefined;
  if (names !== undefined && names.length === classes) return names;
  const text = names === undefined
    ? `\`class_names\` must be "imagenet", "cifar10" or a list of names, got ${show(value)}`
    : `\`class_names\` has ${names.length} names, the model predicts ${classes ?? "no"} classes`;
  frame.fail("wrong_type", { text, help: 'as in `class_names = ["cat", "dog"]`, or `class_names = none`' }, frame.span);
  return undefined;
}

/** Length of a row of `prediction`, else of the first output, where it is [B, classes]. */
function classCountOf(outputs: ReadonlyMap<string, Value>): number | undefined {
  const value = outputs.get("prediction") ?? [...outputs.values()][0];
  const [rows, columns, ...more] = value?.kind === "tensor" ? value.node.shape : [];
  return rows !== undefined && columns?.b === 0 && more.length === 0 ? columns.c : undefined;
}

/** The names, if all items are names. */
function namesIn(items: readonly Value[]): readonly string[] | undefined {
  const names = items.flatMap((item) => (item.kind === "string" ? [item.value] : []));
  return names.length === items.length && names.length > 0 ? names : undefined;
}
