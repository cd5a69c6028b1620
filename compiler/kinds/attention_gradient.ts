/**
 * @file Gradients of attention from dy, the logarithm of each query's sum of exponentials and Δ = Σ dy·y.
 */
import { at1, dim, isConstant, isOne, sizeOf, type Dim, type Shape } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { delinearize, linearize, liveGuards, variable, variablesOf, ZERO_INDEX } from "../ir/indices.js";
import { invariant } from "../ir/invariant.js";
import type { OpRecord } from "../ir/op.js";
import type { Index, Value } from "../ir/value.js";
import { sameAxes, type AnchorWalk } from "../fuse/anchors.js";
import type { FusedKernel } from "../fuse/fusion.js";
import { asView } from "../fuse/operands.js";
import type { PulledAnchor } from "../fuse/pull.js";
import { assemble } from "../lower/kernel.js";
import { extent, operandOf } from "../lower/operand.js";
import { indexText, wrap, type Bindings } from "../lower/text.js";
import { templateOf } from "../targets/index.js";
import type { AttentionGradientSpec, Operand } from "../targets/template.js";
import { scaled } from "./flops.js";
import { defineKind, guarded, type Read } from "./kind.js";
import { openedWith } from "./opened.js";

type Hook = NonNullable<OpRecord["attendBack"]>;

function operandsOf(hook: Hook, { node, at }: PulledAnchor, read: Read): readonly Value[] {
  const { queries, keys, width, partAxis, read: places } = hook;
  const lead = at.slice(0, -2).filter((_, axis) => axis !== partAxis(node));
  const [i, j, d] = [variable("i", queries(node)), variable("j", keys(node)), variable("k", width(node))];
  const load = guarded(node, read);
  return places(node, lead, i, j, d).map((where, input) => load(input, where));
}

export const attentionGradient = defineKind<Hook>({
  name: "attention_gradient", words: "gradient of attention",
  hookOf: ({ attendBack }) => attendBack,
  walk: ({ partAxis }, root, anchor) => walkOfGradient(root, anchor, partAxis(anchor.node)),
  operands: operandsOf,
  flops({ queries, keys, width, parts, partAxis }, node) {
    // Five products of queries, keys and columns; the part with the scores is computed twice.
    const each = parts(node) === "queries" ? 3 : parts(node) === "keys" ? 4 : 7;
    const batch = sizeOf(node.shape.slice(0, -2).filter((_, axis) => axis !== partAxis(node)));
    const { b, c } = [queries(node), keys(node), width(node)].reduce(scaled, batch);
    return { b: 2 * each * b, c: 2 * each * c };
  },
  lower(hook, fused, context) {
    const batchShape = fused.batchAxes.map((a) => fused.root.shape[a] as Dim); // axes of the root
    const { anchor: { node }, operands: values, bindings, functions, finish } =
      openedWith(fused, context, (...read) => operandsOf(hook, ...read), coordinates(fused, batchShape));
    invariant(values.length === 6, "the gradient of attention has six inputs");
    const [queries, keys, width] = [hook.queries(node), hook.keys(node), hook.width(node)];
    invariant(isConstant(width), "attention's width is constant");
    const operand = (i: number, row: string, rows: Dim): Operand =>
      operandOf(values[i] as Value, { row, rows, depth: "k", depths: width, bindings }); // six values
    // The result counts the parts it has: without the queries' the keys' are its first.
    const first = hook.parts(node) === "keys" ? 1 : 0;
    const spec: AttentionGradientSpec = {
      batches: extent(sizeOf(batchShape)), queries: extent(queries), keys: extent(keys), width: width.c,
      scale: hook.scale(node), parts: hook.parts(node),
      q: operand(0, "i", queries), k: operand(1, "j", keys), v: operand(2, "j", keys), dy: operand(3, "i", queries),
      logSumExp: statistic(values[4] as Value, bindings), delta: statistic(values[5] as Value, bindings), // six values
      epilogue: (place) => finish({ ...place, part: String(Number(place.part) - first) }),
    };
    return assemble(fused, templateOf("attention_gradient", context.target).template(spec), bindings, functions);
  },
});

/** The anchor's own axes, wherever they are in the root. */
function walkOfGradient(root: Node, { node, at }: PulledAnchor, parts: number | undefined): AnchorWalk | string {
  const [whole, own] = [at1(sizeOf(root.shape)), at1(sizeOf(node.shape))];
  if (whole !== own || !sameAxes({ node, at })) return "the attention kernel writes its result in its own order";
  const last = node.shape.length - 1;
  const axes = { batchAxes: [] as number[], rowAxes: [] as number[], colAxes: [] as number[] };
  let partAxis: number | undefined;
  for (const [axis, size] of root.shape.entries()) {
    if (isOne(size)) continue;
    const from = at.findIndex((i) => variablesOf(i).has(`c${axis}`));
    if (from === parts) partAxis = axis;
    else (from === last ? axes.colAxes : from === last - 1 ? axes.rowAxes : axes.batchAxes).push(axis);
  }
  return { ...axes, partAxis };
}

/** The root's coordinates as functions of part `p`, batch `z`, row `m` and column `n`. */
function coordinates({ root, batchAxes, rowAxes, colAxes, partAxis }: FusedKernel, batchShape: Shape): Index[] {
  const at: Index[] = root.shape.map(() => ZERO_INDEX);
  const batch = delinearize(variable("z", sizeOf(batchShape)), batchShape);
  batchAxes.forEach((axis, i) => (at[axis] = batch[i] ?? ZERO_INDEX));
  for (const [name, axes] of [["m", rowAxes], ["n", colAxes]] as const) {
    for (const axis of axes) at[axis] = variable(name, root.shape[axis] ?? dim(1));
  }
  if (partAxis !== undefined) at[partAxis] = variable("p", root.shape[partAxis] ?? dim(1));
  return at;
}

/** The load of one number a query. */
function statistic(value: Value, bindings: Bindings): (query: string, batch: string) => string {
  const view = asView(value);
  invariant(view && (liveGuards(view.guards)?.length ?? 0) === 0, "statistics of queries are stored");
  const { node, at } = view.load;
  const buffer = bindings.use(node);
  const offset = linearize(at, node.shape);
  return (query, batch) => `${buffer}[${indexText(offset, new Map([["i", wrap(query)], ["z", wrap(batch)]]))}]`;
}
