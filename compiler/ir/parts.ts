/** @file What values are made of. */
import type { Index, Value } from "./value.js";

/** Values that an index is computed from. */
const valuesIn = ({ terms }: Index): readonly Value[] => terms.flatMap(({ atom }) =>
  (atom.kind === "dynamic" ? [atom.value] : atom.kind === "variable" ? [] : valuesIn(atom.of)));

/** The values that a value is made from, those of computed positions among them. */
function partsOf(value: Value): readonly Value[] {
  switch (value.kind) {
    case "constant":
    case "accumulator":
      return [];
    case "load":
      return value.at.flatMap(valuesIn);
    case "apply":
      return value.args;
    case "select":
      return [...value.guards.flatMap(({ index }) => valuesIn(index)), value.then, value.otherwise];
    case "index":
      return valuesIn(value.index);
    case "fold":
      return [value.body];
    default:
      return value satisfies never;
  }
}

/** Every value that `value` is made of, itself among them. */
export function allParts(value: Value, into = new Set<Value>()): ReadonlySet<Value> {
  if (into.has(value)) return into;
  into.add(value);
  for (const part of partsOf(value)) allParts(part, into);
  return into;
}
