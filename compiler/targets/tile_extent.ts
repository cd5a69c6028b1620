/**
 * @file Arithmetic of extents in kernel text: constants fold, the batch stays an expression.
 */
import { dim, evalDim, isConstant, sameDim } from "../ir/dim.js";
import { invariant } from "../ir/invariant.js";
import type { AttentionGradientSpec, Extent, Grid, Operand } from "./template.js";

/** Is the extent a multiple of `n` at every batch? */
export const isMultiple = ({ dim }: Extent, n: number): boolean => dim.b % n === 0 && dim.c % n === 0;

/** The i32 expression ⌈extent / per⌉. */
function tilesOf({ dim, wgsl }: Extent, per: number): string {
  if (isConstant(dim)) return String(Math.ceil(dim.c / per));
  return isMultiple({ dim, wgsl }, per) ? `((${wgsl}) / ${per})` : `((${wgsl} + ${per - 1}) / ${per})`;
}

/** `index`, clamped to the extent less `span` unless tiles of `per` cover it exactly. */
export const clamped = (index: string, extent: Extent, per: number, span = 1): string =>
  isMultiple(extent, per) ? index : `min(${index}, ${lessOf(extent, span)})`;

/** The i32 expression extent − n. */
const lessOf = ({ dim, wgsl }: Extent, n: number): string =>
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

/** One of the two kinds of workgroup in the gradients of attention. */
export interface GradientRole {
  /** The extent whose rows are owned, and the one that is passed over. */
  readonly own: Extent;
  readonly others: Extent;
  /** Owned operands: what makes scores, what makes their slopes; and their partners. */
  readonly owned: readonly [Operand, Operand];
  readonly passing: readonly [Operand, Operand];
  /** Are the owned rows queries? */
  readonly queries: boolean;
}

/**
 * The same for the gradients of attention: declares `tile` and `batch`, and `choose` makes the kernel's statements from
 * those of a workgroup that owns queries and of one that owns keys. Where both are there, the two kinds take turns.
 */
export function gradientWorkgroups(
  { parts, batches, queries, keys, q, k, v, dy }: AttentionGradientSpec, perQuery: number, perKey: number,
): { readonly setup: string; readonly grid: Grid; choose(statements: (role: GradientRole) => string): string } {
  const ofQueries: GradientRole = { own: queries, others: keys, owned: [q, dy], passing: [k, v], queries: true };
  const ofKeys: GradientRole = { own: keys, others: queries, owned: [k, v], passing: [q, dy], queries: false };
  const batch: Axis = { name: "batch", extent: batches, per: 1 };
  if (parts !== "all") {
    const owned = parts === "queries" ? { extent: queries, per: perQuery } : { extent: keys, per: perKey };
    const role = parts === "queries" ? ofQueries : ofKeys;
    return { ...workgroups([{ name: "tile", ...owned }, batch]), choose: (statements) => statements(role) };
  }
  invariant(sameDim(queries.dim, keys.dim) && perQuery === perKey, "as many keys as queries, in equal tiles");
  const kind: Axis = { name: "kind", extent: { dim: dim(2), wgsl: "2" }, per: 1 };
  const all = workgroups([kind, { name: "tile", extent: queries, per: perQuery }, batch]);
  return {
    ...all,
    choose: (statements) => `if (kind == 0) {\n${statements(ofQueries)}\n} else {\n${statements(ofKeys)}\n}`,
  };
}
