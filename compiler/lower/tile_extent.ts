/**
 * @file Arithmetic of extents in kernel text: constants fold, the batch stays an expression.
 */
import { evalDim, isConstant } from "../dim.js";
import type { Extent, Grid } from "./template.js";

/** Is the extent a multiple of `n` at every batch? */
export const isMultiple = ({ dim }: Extent, n: number): boolean => dim.b % n === 0 && dim.c % n === 0;

/** The i32 expression ⌈extent / per⌉. */
export function tilesOf({ dim, wgsl }: Extent, per: number): string {
  if (isConstant(dim)) return String(Math.ceil(dim.c / per));
  return isMultiple({ dim, wgsl }, per) ? `((${wgsl}) / ${per})` : `((${wgsl} + ${per - 1}) / ${per})`;
}

/** `index`, clamped to the extent less `span` unless tiles of `per` cover it exactly. */
export const clamped = (index: string, extent: Extent, per: number, span = 1): string =>
  isMultiple(extent, per) ? index : `min(${index}, ${lessOf(extent, span)})`;

/** The i32 expression extent − n. */
export const lessOf = ({ dim, wgsl }: Extent, n: number): string =>
  isConstant(dim) ? String(dim.c - n) : `(${wgsl} - ${n})`;

/** The extent at batch 1: what it is at least. */
export const atLeast = ({ dim }: Extent): number => evalDim(dim, 1);

/** One axis of a kernel's workgroups. */
export interface Axis {
  readonly name: string;
  readonly extent: Extent;
  readonly per: number;
}

/**
 * Statements that turn the workgroup's number into one coordinate an axis (named as the axis; the first runs fastest)
 * and leave the kernel beyond the grid, and the grid for the runtime.
 */
export function workgroups(axes: readonly Axis[]): { readonly setup: string; readonly grid: Grid } {
  const counts = axes.map((a) => tilesOf(a.extent, a.per));
  let text = "let group = i32(wid.x + wid.y * nwg.x);\n";
  text += `if (group >= ${counts.join(" * ")}) { return; }\n`;
  let rest = "group";
  axes.forEach(({ name }, i) => {
    const count = counts[i] ?? "1";
    if (i === axes.length - 1) text += `let ${name} = ${rest};\n`;
    else if (count === "1") text += `let ${name} = 0;\n`;
    else {
      text += `let ${name}_rest = ${rest} / ${count};\nlet ${name} = ${rest} - ${name}_rest * ${count};\n`;
      rest = `${name}_rest`;
    }
  });
  return { setup: text, grid: axes.map(({ extent, per }) => ({ dim: extent.dim, per })) };
}
