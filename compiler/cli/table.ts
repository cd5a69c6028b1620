/** @file Plain text tables and numbers for people. */
import { showCount } from "../../runtime/memory.js";
import { printable } from "../../runtime/text.js";

export { showCount };

/** Columns padded to their widest cell; those named in `right` are flush right. One line a row, no trailing blanks. */
export function table(cells: readonly (readonly string[])[], right: readonly number[] = []): string {
  // Names of classes and folders are among them.
  const rows = cells.map((row) => row.map(printable));
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, [...cell].length)));
  const pad = (cell: string, i: number): string => {
    const blanks = " ".repeat((widths[i] ?? 0) - [...cell].length);
    return right.includes(i) ? blanks + cell : cell + blanks;
  };
  return rows.map((row) => `${row.map(pad).join("  ").trimEnd()}\n`).join("");
}

/** `1.5 KiB`, `346 MiB`. */
export function showBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  let x = bytes;
  while (x >= 1024 && power < units.length - 1) {
    x /= 1024;
    power += 1;
  }
  return `${power === 0 || x >= 100 ? Math.round(x) : x.toFixed(1)} ${units[power] ?? ""}`;
}

/** Three significant digits: `12.3`, `0.0456`, `1230`. */
export const showNumber = (x: number): string =>
  (x === 0 ? "0" : x >= 1000 ? x.toFixed(0) : String(Number(x.toPrecision(3))));

/** `17,408·B + 576`. */
export const showAffine = ({ b, c }: { readonly b: number; readonly c: number }): string =>
  (b === 0 ? showCount(c) : `${showCount(b)}·B${c === 0 ? "" : ` + ${showCount(c)}`}`);
