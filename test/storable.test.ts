/** What may be stored beside a kernel's root: the predicate by itself, case by case. */
import test from "ava";
import { isStorableBeside } from "../compiler/fuse/absorb.js";
import { BATCH, dim, type Dim } from "../compiler/ir/dim.js";
import { GraphBuilder, type Node } from "../compiler/ir/graph.js";
import { addIndex, constantIndex, quotient, remainder, scaleIndex, variable, ZERO_INDEX } from "../compiler/ir/indices.js";
import type { Index } from "../compiler/ir/value.js";

const builder = new GraphBuilder();
const tensor = (name: string, ...shape: Dim[]): Node =>
  builder.add("input", [], { name, shape: shape.map((d) => ({ ...d })) }, [{ shape, dtype: "f32" }], { path: name });

const [four, eight] = [dim(4), dim(8)];
const root = tensor("root", BATCH, four, eight);
const c = (axis: number): Index => variable(`c${axis}`, root.shape[axis] ?? dim(1));
const [c0, c1, c2] = [c(0), c(1), c(2)];

/** A kernel that computes one element at a time, and one that walks rows (axes 0 and 1) over columns (axis 2). */
const map = { root, kind: "map", rowAxes: [0, 1, 2], colAxes: [] } as const;
const row = { root, kind: "row", rowAxes: [0, 1], colAxes: [2] } as const;

interface Case {
  readonly title: string;
  readonly node: Node;
  readonly at: readonly Index[];
  readonly inMap: boolean;
  readonly inRow: boolean;
}

const cases: readonly Case[] = [
  { title: "the root's own coordinates", node: tensor("same", BATCH, four, eight), at: [c0, c1, c2], inMap: true, inRow: true },
  { title: "the axes in another order", node: tensor("turned", eight, BATCH, four), at: [c2, c0, c1], inMap: true, inRow: true },
  {
    title: "axes of size 1 between", node: tensor("ones", BATCH, dim(1), four, eight, dim(1)),
    at: [c0, ZERO_INDEX, c1, c2, ZERO_INDEX], inMap: true, inRow: true,
  },
  {
    title: "a shorter axis, as a concatenation or a pad has behind it", node: tensor("shorter", BATCH, four, dim(5)),
    at: [c0, c1, c2], inMap: false, inRow: false,
  },
  {
    title: "a longer axis, of which a slice takes the first", node: tensor("longer", BATCH, four, dim(9)),
    at: [c0, c1, c2], inMap: false, inRow: false,
  },
  {
    title: "a longer batch", node: tensor("batches", { b: 2, c: 0 }, four, eight), at: [c0, c1, c2],
    inMap: false, inRow: false,
  },
  {
    title: "an offset", node: tensor("offset", BATCH, four, eight), at: [c0, c1, addIndex(c2, constantIndex(-1))],
    inMap: false, inRow: false,
  },
  {
    title: "an axis of size 1 at an offset, as a pad has around it", node: tensor("single", BATCH, four, dim(1), eight),
    at: [c0, c1, addIndex(c2, constantIndex(-1)), c2], inMap: false, inRow: false,
  },
  {
    title: "every second element", node: tensor("step", BATCH, four, dim(16)), at: [c0, c1, scaleIndex(c2, 2)],
    inMap: false, inRow: false,
  },
  {
    title: "one axis split into two", node: tensor("split", BATCH, four, dim(2), four),
    at: [c0, c1, quotient(c2, four), remainder(c2, four)], inMap: false, inRow: false,
  },
  {
    title: "two axes joined", node: tensor("joined", BATCH, dim(32)), at: [c0, addIndex(scaleIndex(c1, 8), c2)],
    inMap: false, inRow: false,
  },
  {
    title: "one coordinate twice: a diagonal", node: tensor("diagonal", BATCH, four, four), at: [c0, c1, c1],
    inMap: false, inRow: false,
  },
  { title: "one number a row", node: tensor("rows", BATCH, four), at: [c0, c1], inMap: false, inRow: true },
  { title: "one number a batch: repeated over rows", node: tensor("repeated", BATCH), at: [c0], inMap: false, inRow: false },
  { title: "one number a column: repeated over rows", node: tensor("columns", eight), at: [c2], inMap: false, inRow: false },
  {
    title: "a fold's own coordinates", node: tensor("folded", BATCH, four, eight),
    at: [c0, c1, variable("f3_2", 8)], inMap: false, inRow: false,
  },
];

for (const { title, node, at, inMap, inRow } of cases) {
  test(title, (t) => {
    t.is(isStorableBeside(node, at, map), inMap, "one element at a time");
    t.is(isStorableBeside(node, at, row), inRow, "rows");
  });
}

test("sizes that coincide hide nothing: a square read turned is stored turned", (t) => {
  const square = tensor("square", four, four);
  const kernel = { root: square, kind: "map", rowAxes: [0, 1], colAxes: [] } as const;
  const [x, y] = [variable("c0", 4), variable("c1", 4)];
  t.true(isStorableBeside(tensor("turned square", four, four), [y, x], kernel));
  t.false(isStorableBeside(tensor("half square", four, dim(2)), [x, y], kernel));
});
