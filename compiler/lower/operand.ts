/**
 * @file What the hand-tuned templates are given as text: coordinates and operands.
 */
import { dim, sizeOf, type Dim, type Shape } from "../ir/dim.js";
import type { FusedKernel } from "../fuse/fusion.js";
import { delinearize, linearize, liveGuards, variable, variablesOf, ZERO_INDEX } from "../ir/indices.js";
import { invariant } from "../ir/invariant.js";
import { asView } from "../fuse/operands.js";
import type { Index, Term, Value } from "../ir/value.js";
import type { Extent, Operand } from "../targets/template.js";
import { runsInFours, tellsFoursApart } from "./fours.js";
import { dimText, guardText, indexText, wrap, type Bindings } from "./text.js";

export const extent = (d: Dim): Extent => ({ dim: d, wgsl: dimText(d) });

/** The root's coordinates as functions of batch `z`, row `m` and column `n`. */
export class Walk {
  readonly batchShape: Shape;
  readonly rowShape: Shape;
  readonly colShape: Shape;
  readonly at: readonly Index[];

  constructor({ root, batchAxes, rowAxes, colAxes }: FusedKernel) {
    const sizes = (axes: readonly number[]): Shape => axes.map((a) => root.shape[a] as Dim); // axes of the root
    this.batchShape = sizes(batchAxes);
    this.rowShape = sizes(rowAxes);
    this.colShape = sizes(colAxes);
    const parts = [
      [batchAxes, delinearize(variable("z", sizeOf(this.batchShape)), this.batchShape)],
      [rowAxes, delinearize(variable("m", sizeOf(this.rowShape)), this.rowShape)],
      [colAxes, delinearize(variable("n", sizeOf(this.colShape)), this.colShape)],
    ] as const;
    const at: Index[] = root.shape.map(() => ZERO_INDEX);
    for (const [axes, coordinates] of parts) axes.forEach((axis, i) => (at[axis] = coordinates[i] ?? ZERO_INDEX));
    this.at = at;
  }
}

interface OperandSite {
  /** Variables of the operand's free axis and of the axis that is summed (or, for attention's v, its column). */
  readonly row: string;
  readonly depth: string;
  readonly rows: Dim;
  readonly depths: Dim;
  readonly bindings: Bindings;
}

export function operandOf(value: Value, site: OperandSite): Operand {
  const view = asView(value);
  invariant(view, "a contraction's operands are views");
  const { row, depth } = site;
  const offset = linearize(view.load.at, view.load.node.shape);
  // Where one never holds the operand is zero: the guards stay, and say so.
  const guards = liveGuards(view.guards) ?? view.guards;
  const rowGuards = guards.filter((g) => !variablesOf(g.index).has(depth));
  const elementGuards = guards.filter((g) => variablesOf(g.index).has(depth));
  const found = vectorAxis(offset, site);
  const parted = found === "row" ? rowGuards.length + elementGuards.length > 0
    : elementGuards.some((g) => tellsFoursApart(g.index, depth, site.depths));
  // Four neighbours are loaded together, so a guard may not tell them apart.
  const vector = parted ? "none" : found;
  const buffer = site.bindings.use(view.load.node, vector !== "none");
  const [ofDepth, others, mixed] = partition(offset, depth);
  const names = (r: string, d: string, z: string): Map<string, string> =>
    new Map([[row, wrap(r)], [depth, wrap(d)], ["z", wrap(z)]]);
  return {
    buffer, dtype: view.load.node.dtype,
    separable: mixed.terms.length === 0,
    base: (r, z) => indexText(others, names(r, "0", z)),
    step: (d) => indexText(ofDepth, names("0", d, "0")),
    offset: (r, d, z) => indexText(offset, names(r, d, z)),
    ...(rowGuards.length > 0 ? { guard: (r: string, z: string) => guardText(rowGuards, names(r, "0", z)) } : {}),
    ...(elementGuards.length > 0
      ? { elementGuard: (r: string, d: string, z: string) => guardText(elementGuards, names(r, d, z)) } : {}),
    vector,
  };
}

/** The parts of an offset that depend on the depth alone, not on it, and on both. */
function partition(offset: Index, depth: string): [ofDepth: Index, others: Index, mixed: Index] {
  const parts: [Term[], Term[], Term[]] = [[], [], []];
  for (const term of offset.terms) {
    const uses = variablesOf({ terms: [term], constant: dim(0) });
    const part = !uses.has(depth) ? 1 : uses.size === 1 ? 0 : 2;
    parts[part].push(term);
  }
  return [
    { terms: parts[0], constant: dim(0) },
    { terms: parts[1], constant: offset.constant },
    { terms: parts[2], constant: dim(0) },
  ];
}

/** The axis along which four neighbours lie side by side from a multiple of four on. */
function vectorAxis(offset: Index, site: OperandSite): Operand["vector"] {
  const axes = [["depth", site.depth, site.depths], ["row", site.row, site.rows]] as const;
  return axes.find(([, name, size]) => runsInFours(offset, name, size))?.[0] ?? "none";
}
