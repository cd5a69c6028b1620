/**
 * @file "Did you mean": the nearest known name, or the list of all.
 */
import { keywordMeant, stemOf, synonymOf } from "./synonyms.js";

/** Names shown when none is near. */
const LISTED = 16;

/** Edits (insert, delete, replace, swap neighbours) that turn `a` into `b`; stops counting above `limit`. */
export function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) cost = Math.min(cost, (before[j - 2] ?? 0) + 1);
      next.push(cost);
    }
    if (Math.min(...next) > limit) return limit + 1;
    [before, row] = [row, next];
  }
  return row[b.length] ?? limit + 1;
}

/**
 * The known name that is probably meant: what other libraries call by that name; else the one within two edits (one up
 * to four letters, none for a single one), where ties go to the first in the alphabet; else the one with whole words
 * more or fewer.
 */
export function nearest(name: string, known: Iterable<string>): string | undefined {
  if (name.length > 64) return undefined;
  const all = [...new Set(known)].sort();
  return synonymOf(name, all) ?? closest(name, all) ?? stemOf(name, all);
}

/** The known name within two edits. @param known in the order in which ties are decided */
function closest(name: string, known: readonly string[]): string | undefined {
  const limit = name.length <= 1 ? 0 : name.length <= 4 ? 1 : 2;
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of known) {
    const distance = candidate === name ? bestDistance : editDistance(name, candidate, limit);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** `a`, `b` and `c`. */
export function listNames(names: readonly string[], last: "and" | "or" = "and"): string {
  const quoted = names.map((name) => `\`${name}\``);
  return quoted.length < 2 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")} ${last} ${quoted.at(-1)}`;
}

/** A help text for an unknown name: the nearest, else all of them in alphabetical order, capped. */
export function suggest(name: string, known: Iterable<string>, what: string): string {
  const keyword = keywordMeant(name);
  if (keyword !== undefined) return `did you mean \`${keyword}\`?`;
  const near = nearest(name, known);
  if (near !== undefined) return `did you mean \`${near}\`?`;
  const all = [...new Set(known)].sort();
  if (all.length === 0) return `${what}: none`;
  const shown = all.slice(0, LISTED).map((one) => `\`${one}\``).join(", ");
  return `${what}: ${shown}${all.length > LISTED ? `, and ${all.length - LISTED} more` : ""}`;
}
