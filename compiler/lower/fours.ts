/** @file Whether four neighbours along a variable lie side by side, so that kernels may take them at once. */
import { dim, isOne, type Dim } from "../ir/dim.js";
import { addIndex, scaleIndex, substitute, variable, variablesOf } from "../ir/indices.js";
import type { Index } from "../ir/value.js";

const INNER = "inner";

/** An index with `name` written as four times a variable and `INNER`. */
function inFours(index: Index, name: string, size: Dim): Index {
  const four = variable("four", { b: size.b / 4, c: size.c / 4 });
  return substitute(index, new Map([[name, addIndex(scaleIndex(four, 4), variable(INNER, 4))]]));
}

/** Whether an index differs between the four neighbours of `name` from a multiple of four on. */
export function tellsFoursApart(index: Index, name: string, size: Dim): boolean {
  if (size.b % 4 !== 0 || size.c % 4 !== 0) return true;
  return variablesOf(inFours(index, name, size)).has(INNER);
}

/** Whether, from a multiple of four of `name` on, four offsets follow each other from a multiple of four on. */
export function runsInFours(offset: Index, name: string, size: Dim): boolean {
  if (size.b % 4 !== 0 || size.c % 4 !== 0 || isOne(size)) return false;
  const moved = inFours(offset, name, size);
  const adjacent = moved.terms.filter((t) => variablesOf({ terms: [t], constant: dim(0) }).has(INNER));
  const [only] = adjacent;
  if (adjacent.length !== 1 || !only || only.atom.kind !== "variable" || !isOne(only.coefficient)) return false;
  const rest = moved.terms.filter((t) => t !== only);
  return [...rest.map((t) => t.coefficient), moved.constant].every(({ b, c }) => b % 4 === 0 && c % 4 === 0);
}
