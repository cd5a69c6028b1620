/**
 * @file Faults to put into the compiled compiler, one at a time: what random programs have to find. Texts are those of
 * `dist/compiler`, where each occurs once.
 */

/** One fault. */
export interface Mutation {
  readonly what: string;
  /** Below `dist`, without `.js`. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** Where it can show: in what the plan computes, or in the text of a family's kernels only. */
  readonly by: "plan" | "scalar" | "tiled";
  /** Why no result changes, where none does. */
  readonly equivalent?: string;
}

const of = (
  by: Mutation["by"], file: string, what: string, from: string, to: string, equivalent?: string,
): Mutation => ({ by, file, what, from, to, ...(equivalent === undefined ? {} : { equivalent }) });

/** Faults that the compiler once had. */
const KNOWN: readonly Mutation[] = [
  of("plan", "compiler/fuse/absorb", "sizes are not compared before a result is stored beside another",
    " && sameDim(d, size));", ");"),
  of("plan", "compiler/lower/plan", "only the root of a prepared kernel gets a slot",
    "prepare.flatMap((k) => k.writes)", "prepare.map((k) => k.fused.root)"),
  of("plan", "compiler/rewrite/rules/recognize", "sum × n is taken for a mean",
    'match.root.op === "mul" ? 1 / n : n', "n"),
  of("plan", "compiler/fuse/fusion", "what is bound twice is counted once", " + readTwice.length", ""),
  of("plan", "compiler/lower/kernel", "operands read what the kernel stores",
    "storedOutside(fused, context), undefined)", "context.stored, undefined)"),
  of("scalar", "runtime/transfer", "packed slots are not cleared",
    "(usage & BufferUsage.storage) !== 0 && buffers.length > 0", "buffers.length < 0"),
  of("tiled", "compiler/targets/tile_operand", "a guard is dropped in a tile",
    "return guards[l] === undefined ? element : `select(0.0, ${element}, ${guards[l]})`;", "return element;"),
  of("plan", "compiler/fuse/absorb", "an axis of one element is stored wherever it is read", "isOne(size) && isZero(index)", "isOne(size)"),
  of("plan", "compiler/ir/indices", "an offset by the batch in rows as long as the batch is lost",
    "constant: { b: i.constant.b, c: 0 }", "constant: { b: 0, c: 0 }"),
  of("scalar", "compiler/lower/operand", "an operand that no guard lets in is read", "?? view.guards", "?? []"),
  of("scalar", "compiler/lower/text", "the first row inside a padding is left out", "`(${text} >= 0)`", "`(${text} > 0)`"),
  of("scalar", "compiler/targets/contraction_scalar", "results are stored without their condition",
    "isMultiple(extent, lanes * count) ? \"\" :", "isMultiple(extent, 1) ? \"\" :"),
];

const FUSION: readonly Mutation[] = [
  of("plan", "compiler/fuse/pull", "broadcasting aligns axes at the left", "at[axis + lead]", "at[axis]"),
  of("plan", "compiler/fuse/pull", "kept axes of a reduction are not counted",
    "const kept = !folded || keep;", "const kept = !folded;"),
  of("plan", "compiler/fuse/fuse", "a fold may stand inside a fold", 'if (name.startsWith("f"))', "if (false)"),
  of("plan", "compiler/fuse/fuse", "a fold may stand around a contraction", "if (puller.folds.length > 0)\n            return \"a fold needs",
    "if (false)\n            return \"a fold needs"),
  of("plan", "compiler/fuse/anchors", "a part of a contraction is taken for all of it", "whole < own", "whole < 0",
    "each element is computed for itself; only that the rest would be computed elsewhere speaks against it"),
  of("plan", "compiler/fuse/places", "a parameter is overwritten before its last reader",
    "(lastRead.get(storage(leaf)) ?? -1) <= at", "true"),
  of("plan", "compiler/fuse/places", "a kernel overwrites what its other elements read",
    "value.at.map(indexKey).join() === own", "true"),
  of("plan", "compiler/fuse/absorb", "a result is stored beside another after its readers", "k.root.id < root.id", "false"),
  of("plan", "compiler/fuse/absorb", "an axis is used twice", "|| used.has(own)", "",
    "no view reads a tensor along its diagonal at plain coordinates"),
  of("plan", "compiler/fuse/absorb", "sums are joined although one reads the other", "k.root.id <= later.root.id", "false"),
  of("scalar", "compiler/fuse/operands", "a guard with another number elsewhere is taken for zeros",
    " || value.otherwise.value !== 0", ""),
  of("plan", "compiler/lower/plan", "a slot is free before its last reader", "kernels.forEach((k, step) => k.reads.forEach((n) => last.set(n, step)));",
    "kernels.forEach((k, step) => k.reads.forEach((n) => last.has(n) || last.set(n, step)));"),
  of("plan", "compiler/lower/plan", "a changing value is computed once", "&& kernel.writes.every(mayPrepare)", ""),
  of("scalar", "compiler/lower/index", "kernels with other attributes are taken for equal",
    "${node.op}${JSON.stringify(node.attrs)}${type(node)}(", "${node.op}${type(node)}("),
];

const RULES: readonly Mutation[] = [
  of("plan", "compiler/rewrite/rules/movement", "a slice before a permutation keeps its axes",
    '"a[inverse(p)]", "b[inverse(p)]", "c[inverse(p)]"', '"a[p]", "b[p]", "c[p]"'),
  of("plan", "compiler/rewrite/rules/joining", "parts are joined in any order",
    "sameDim(part.range.start, dim(i))", "true"),
  of("plan", "compiler/rewrite/rules/slicing", "two slices need what the shorter one does",
    "atMost(y.stop, x.stop) ? x.stop", "atMost(y.stop, x.stop) ? y.stop"),
  of("plan", "compiler/rewrite/rules/slicing", "rows of a product are cut from its second operand",
    "return [a.shape.length - 2, undefined];", "return [undefined, b.shape.length - 2];"),
  of("plan", "compiler/rewrite/rules/views", "a shifted range keeps its end", "stop: addDim(range.stop, by)", "stop: range.stop"),
  of("plan", "compiler/rewrite/rules/views", "a reshape passes a permutation that tears neighbours apart",
    "axis !== (axes[i - 1] ?? 0) + 1", "false"),
  of("plan", "compiler/rewrite/rules/sinking", "work sinks below a view of another movement",
    "sameShape(x.shape, y.shape) && JSON.stringify(x.attrs) === JSON.stringify(y.attrs)", "sameShape(x.shape, y.shape)"),
  of("plan", "compiler/rewrite/rules/arithmetic", "a difference is not turned round", '"neg(x - y)", "y - x"', '"neg(x - y)", "x - y"'),
  of("plan", "compiler/rewrite/rules/recognize", "1 + erf(x) is taken for erfc", '"1 + erf(neg(x))"', '"1 + erf(x)"'),
  of("plan", "compiler/rewrite/rules/arithmetic", "two factors are added", '"x * (a * b)"', '"x * (a + b)"'),
];

const TEXT: readonly Mutation[] = [
  of("scalar", "compiler/lower/text", "a guard lets one element more in",
    "`(${text} < ${dimText(g.size)})`", "`(${text} <= ${dimText(g.size)})`"),
  of("scalar", "compiler/lower/text", "an index may lie one behind the end",
    "dimText(subDim(atom.size, dim(1)))", "dimText(atom.size)"),
  of("scalar", "compiler/lower/row", "a row's single results are stored for each column",
    '!variablesOf(offset).has("c")) === whole', 'variablesOf(offset).has("c")) === whole'),
  of("scalar", "compiler/ops/contract", "a convolution's padding has the other sign",
    "constantIndex(-at(pad[axis] ?? [], 0))", "constantIndex(at(pad[axis] ?? [], 0))"),
  of("scalar", "compiler/targets/contraction_scalar", "the last depths are left out", 'const tail = fours ? "" :', 'const tail = true ? "" :'),
  of("scalar", "compiler/targets/tile_lanes", "two exchanges of a quad are swapped", '"quadSwapX", "quadSwapY"', '"quadSwapY", "quadSwapX"'),
  of("scalar", "compiler/targets/attention_scalar", "keys beyond the last have weight",
    "whole ? scaled : `select(${LEAST}, ${scaled}, real_${j}_${x})`", "scaled"),
  of("scalar", "compiler/targets/attention_gradient_scalar", "the slope of the softmax lacks its mean",
    "(slope${g} - delta${mine})", "(slope${g})"),
  of("tiled", "compiler/targets/tile_operand", "a depth too many is loaded", "`((${k}) < ${depth})", "`((${k}) <= ${depth})"),
  of("tiled", "compiler/targets/contraction_tiled", "one barrier is missing", '"workgroupBarrier();",\n        "if (stores) {",', '"if (stores) {",'),
  of("tiled", "compiler/lower/fours", "four columns are taken together wherever they start",
    "every(({ b, c }) => b % 4 === 0 && c % 4 === 0)", "every(() => true)"),
  of("tiled", "compiler/lower/text", "all four columns get the first one's operand",
    "return load(`${four}[${lane.lane}]`);", "return load(`${four}[0]`);"),
  of("tiled", "compiler/lower/row", "the last two threads are not added up", "half >= 1", "half > 1"),
];

const GRADIENTS: readonly Mutation[] = [
  of("plan", "compiler/ops/indexing", "gradients ignore an index outside the axis",
    'return o.unary("int", o.binary("minimum", o.binary("maximum", o.unary("float", indices), 0), last));', "return indices;"),
  of("plan", "compiler/ops/reductions", "the gradient of a variance lacks its factor",
    "o.mul(restoreAxes(ops, dy, x.shape, axes), 2)", "o.mul(restoreAxes(ops, dy, x.shape, axes), 1)"),
  of("plan", "compiler/ops/reductions", "tied extrema get the whole gradient each",
    "o.mul(hit, o.div(dy, o.sum(hit, axes)))", "o.mul(hit, dy)"),
  of("plan", "compiler/ops/reductions", "the gradient of a product keeps the factor itself",
    "o.div(y, o.where(zero, 1, x))", "y"),
  of("plan", "compiler/ops/joins", "a part of a concatenation gets its neighbour's gradient",
    "sliceAxis(ops, dy, axis, start, addDim(start, dimAt(sizes, n)))",
    "sliceAxis(ops, dy, axis, startsOf([...sizes].reverse())[n] ?? start, addDim(startsOf([...sizes].reverse())[n] ?? start, dimAt(sizes, n)))"),
  of("plan", "compiler/ops/views", "the gradient of a permutation is not turned back",
    "order.map((_, axis) => order.indexOf(axis))", "order"),
  of("plan", "compiler/ops/convolution", "kernels are not turned for the gradient of images",
    'ops.call("flip", [weight], { axis: [2, 3] })', "weight"),
  of("plan", "compiler/ops/convolution", "the gradient of a kernel swaps strides and dilations not",
    "stride: dilation, pad, dilation: stride, groups", "stride, pad, dilation, groups"),
  of("plan", "compiler/train/differentiate", "of two paths one counts", 'known ? ops.call("add", [known, fitting]) : fitting', "fitting"),
];

export const MUTATIONS: readonly Mutation[] = [...KNOWN, ...FUSION, ...RULES, ...TEXT, ...GRADIENTS];
