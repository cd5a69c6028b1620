/**
 * @file Kernels around a contraction or attention: gives the hand-tuned templates their operands and epilogue as text.
 */
import { dim, isConstant, isOne, sizeOf, type Dim, type Shape } from "../ir/dim.js";
import type { FusedKernel } from "../fuse/fusion.js";
import {
  addIndex, delinearize, linearize, liveGuards, scaleIndex, substitute, variable, variablesOf, ZERO_INDEX,
} from "../ir/indices.js";
import { invariant } from "../ir/invariant.js";
import { asView, operandsOf } from "../fuse/operands.js";
import type { Puller, PulledAnchor } from "../fuse/pull.js";
import type { Index, Term, Value } from "../ir/value.js";
import { attentionScalar, attentionWide } from "../targets/attention_scalar.js";
import { attentionTiled } from "../targets/attention_tiled.js";
import { contractionScalar, contractionWide } from "../targets/contraction_scalar.js";
import { contractionTiled } from "../targets/contraction_tiled.js";
import {
  assemble, further, operandPullerOf, OUTPUT, pullerOf, sidesOf, type LowerContext, type LoweredKernel,
} from "./kernel.js";
import type { AttentionGradientSpec, AttentionSpec, Extent, ContractionSpec, Operand } from "../targets/template.js";
import { Bindings, dimText, guardText, indexText, Statements, wrap } from "./text.js";

const CONTRACTION = { scalar: contractionScalar, wide: contractionWide, tiled: contractionTiled } as const;
const ATTENTION = { scalar: attentionScalar, wide: attentionWide, tiled: attentionTiled } as const;

export function lowerAnchor(fused: FusedKernel, context: LowerContext): LoweredKernel {
  const { root, anchor: node } = fused;
  invariant(node, "the kernel has an anchor");
  const record = context.records.get(node.op);
  invariant(record, `op ${node.op} has a record`);
  const walk = new Walk(fused);
  const puller = pullerOf(fused, context);
  const value = puller.pull(root, walk.at);
  const anchor = puller.anchors[0];
  invariant(anchor, "pulling the root meets its anchor");
  const bindings = new Bindings();
  const functions = new Map<string, string>();
  const operands = operandsOf(record, anchor, (input, at) =>
    operandPullerOf(fused, context).pull(anchor.node.inputs[input] as Node_, at)); // records read inputs they have
  invariant(operands, `${node.op} says how its operands are read`);
  const finish = epilogueText(fused, context, walk.at, [value, puller], bindings, functions);
  const epilogue: ContractionSpec["epilogue"] = (place) => finish({ ...place, part: "0" });
  const free = (names: readonly string[], i: number): string => names[i] as string; // one name an operand
  if (record.attend) {
    const keys = record.attend.keys(node);
    const width = record.attend.width(node);
    invariant(isConstant(width), "attention's width is constant");
    const columns = sizeOf(walk.colShape);
    invariant(isConstant(columns), "attention's value width is constant");
    const [q, k, v] = operands.map((o, i) => operandOf(o, {
      row: free(["m", "j", "j"], i), depth: free(["k", "k", "n"], i),
      rows: [sizeOf(walk.rowShape), keys, keys][i] as Dim, depths: [width, width, columns][i] as Dim, // three operands
      bindings,
    }));
    const spec: AttentionSpec = {
      batches: extent(sizeOf(walk.batchShape)), queries: extent(sizeOf(walk.rowShape)), keys: extent(keys),
      width: width.c, valueWidth: columns.c, scale: record.attend.scale(node),
      q: q as Operand, k: k as Operand, v: v as Operand, epilogue, // three operands
      ...logSumExp(fused, anchor),
    };
    return assemble(fused, ATTENTION[context.family](spec), bindings, functions, context);
  }
  invariant(record.contract, `${node.op} is a contraction`);
  const depth = record.contract.depth(node);
  const [a, b] = operands.map((o, i) => operandOf(o, {
    row: free(["m", "n"], i), depth: "k",
    rows: [sizeOf(walk.rowShape), sizeOf(walk.colShape)][i] as Dim, // two operands
    depths: depth, bindings,
  }));
  const spec: ContractionSpec = {
    batches: extent(sizeOf(walk.batchShape)), rows: extent(sizeOf(walk.rowShape)), cols: extent(sizeOf(walk.colShape)),
    depth: extent(depth), a: a as Operand, b: b as Operand, epilogue, // two operands
  };
  return assemble(fused, CONTRACTION[context.family](spec), bindings, functions, context);
}

/** Stores the second result of attention: one number a query, at the coordinates of its row. */
function logSumExp({ also = [] }: FusedKernel, { at }: PulledAnchor): Pick<AttentionSpec, "logSumExp"> {
  const node = also.find((side) => !side.at)?.node;
  if (!node) return {};
  const offset = linearize(at.slice(0, -1), node.shape);
  const buffer = further(also.findIndex((side) => side.node === node));
  return {
    logSumExp: ({ row, batch, value }) =>
      `${buffer}[${indexText(offset, new Map([["m", wrap(row)], ["z", wrap(batch)]]))}] = ${value};`,
  };
}

type Node_ = PulledAnchor["node"];
export const extent = (d: Dim): Extent => ({ dim: d, wgsl: dimText(d) });

/** The root's coordinates as functions of batch `z`, row `m` and column `n`. */
class Walk {
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

/** Finishes and stores the root's element at `at`, functions of batch `z`, row `m`, column `n` and part `p`. */
export function epilogueText(
  fused: FusedKernel, context: LowerContext, at: readonly Index[], [value, puller]: readonly [Value, Puller],
  bindings: Bindings, functions: Map<string, string>,
): AttentionGradientSpec["epilogue"] {
  const sides = sidesOf(fused, puller, at);
  const emit = (
    { part, row, col, batch, value: accumulator }: Parameters<AttentionGradientSpec["epilogue"]>[0],
  ): string => {
    const names = new Map([["m", row], ["n", col], ["z", batch], ["p", part]]);
    const code = new Statements(
      context.records, bindings, functions, names, new Map([["accumulator", accumulator]]), "e",
    );
    code.store(OUTPUT, code.index(linearize(at, fused.root.shape)), fused.root, value);
    for (const side of sides) code.store(side.buffer, code.index(side.offset), side.node, side.value);
    return `{\n${code.text()}\n}`;
  };
  return emit;
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
  const guards = liveGuards(view.guards) ?? [];
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
    buffer,
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

/** Whether an index differs between the four neighbours of `name` from a multiple of four on. */
function tellsFoursApart(index: Index, name: string, size: Dim): boolean {
  if (size.b % 4 !== 0 || size.c % 4 !== 0) return true;
  return variablesOf(inFours(index, name, size)).has(INNER);
}

/** An index with `name` written as four times a variable and `INNER`. */
function inFours(index: Index, name: string, size: Dim): Index {
  const four = variable("four", { b: size.b / 4, c: size.c / 4 });
  return substitute(index, new Map([[name, addIndex(scaleIndex(four, 4), variable(INNER, 4))]]));
}
const INNER = "inner";

/** The axis along which four neighbours lie side by side from a multiple of four on. */
function vectorAxis(offset: Index, site: OperandSite): Operand["vector"] {
  for (const [axis, name, size] of [["depth", site.depth, site.depths], ["row", site.row, site.rows]] as const) {
    if (size.b % 4 !== 0 || size.c % 4 !== 0 || isOne(size)) continue;
    const moved = inFours(offset, name, size);
    const adjacent = moved.terms.filter((t) => variablesOf({ terms: [t], constant: dim(0) }).has(INNER));
    const [only] = adjacent;
    if (adjacent.length !== 1 || !only || only.atom.kind !== "variable" || !isOne(only.coefficient)) continue;
    const rest = moved.terms.filter((t) => t !== only);
    if (rest.every((t) => t.coefficient.b % 4 === 0 && t.coefficient.c % 4 === 0) &&
      moved.constant.b % 4 === 0 && moved.constant.c % 4 === 0) {
      return axis;
    }
  }
  return "none";
}
