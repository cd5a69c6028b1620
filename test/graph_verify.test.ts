/**
 * Graphs broken by hand in each way the verifier knows, sound graphs of random programs, and passes as functions: twice
 * the same, their argument left alone.
 */
import test from "ava";
import { makeOps } from "../compiler/ir/build.js";
import { BATCH, dim } from "../compiler/ir/dim.js";
import { GraphBuilder, printGraph, type Graph, type Node, type Parameter } from "../compiler/ir/graph.js";
import { CompilerBug } from "../compiler/ir/invariant.js";
import { copyGraph } from "../compiler/ir/map.js";
import { verifyGraph } from "../compiler/ir/verify.js";
import type { Ops } from "../compiler/ir/op.js";
import { OPS } from "../compiler/ops/index.js";
import { compileGraph } from "../compiler/pipeline.js";
import { expandComposites } from "../compiler/rewrite/expand.js";
import { layOut } from "../compiler/rewrite/rules/layout.js";
import { recognize } from "../compiler/rewrite/rules/recognize.js";
import { simplify } from "../compiler/rewrite/rules/simplify.js";
import { compiledRecipe } from "../compiler/train/compile.js";
import { prepareForward } from "../compiler/train/forward.js";
import { compileFile } from "./harness.js";
import { graphOf, withGradients } from "./programs/check.js";
import { generate } from "./programs/generate.js";
import { textOf } from "./programs/program.js";
import { unionOf } from "./programs/union.js";
import { elaborate, recipeText } from "./recipes.js";

// ---- Broken graphs ----

/** softmax(x · w) of x[B, 4], w[4, 3], with an update of the buffer s[3]. */
interface Small {
  readonly ops: Ops;
  readonly x: Node;
  readonly w: Parameter;
  readonly s: Parameter;
  readonly product: Node;
  readonly graph: Graph;
}

function small(): Small {
  const ops = makeOps(new GraphBuilder(), { path: "head" });
  const x = ops.call("input", [], { name: "x", shape: [{ ...BATCH }, 4] });
  const parameter = (path: string, shape: readonly number[]): Parameter => ({
    path, node: ops.call("parameter", [], { path, shape }), trained: true, decay: true,
    initializer: { kind: "zeros" }, doc: "",
  });
  const [w, s] = [parameter("w", [4, 3]), parameter("s", [3])];
  const product = ops.call("matmul", [x, w.node]);
  const y = ops.call("softmax", [product], { axis: -1 });
  const next = ops.call("add", [s.node, ops.constant(1)]);
  const graph: Graph = {
    inputs: new Map([["x", x]]), parameters: new Map([["w", w], ["s", s]]), outputs: new Map([["y", y]]),
    updates: new Map([["s", next]]),
  };
  return { ops, x, w, s, product, graph };
}

const outputs = (graph: Graph, node: Node): Graph => ({ ...graph, outputs: new Map([["y", node]]) });
const declared = (graph: Graph, ...parameters: readonly Parameter[]): Graph =>
  ({ ...graph, parameters: new Map([...graph.parameters, ...parameters.map((p) => [p.path, p] as const)]) });

/** How a graph is broken, and what is said of it; `…` stands for the words of an op. */
const BROKEN: readonly (readonly [title: string, broken: (from: Small) => Graph, message: string])[] = [
  ["a shape", ({ graph, product }) => outputs(graph, { ...product, shape: [BATCH, dim(5)] }),
    "%3 matmul at head: found f32 [B, 5], expected f32 [B, 3]"],
  ["a dtype", ({ graph, product }) => outputs(graph, { ...product, dtype: "i32" }),
    "%3 matmul at head: found i32 [B, 3], expected f32 [B, 3]"],
  ["a result too many", ({ graph, product }) => outputs(graph, { ...product, extra: [{ shape: [], dtype: "f32" }] }),
    "%3 matmul at head: found f32 [B, 3], f32 [], expected f32 [B, 3]"],
  ["inputs that do not fit", ({ graph, product, w }) => outputs(graph, { ...product, inputs: [w.node, w.node] }),
    "%3 matmul at head: found …, expected inputs that fit the op"],
  ["an unknown op", ({ graph, product }) => outputs(graph, { ...product, op: "matmull" }),
    "%3 matmull at head: found an op without a record, expected one of the ops"],
  ["attributes as no record has them", ({ graph, product }) => outputs(graph, { ...product, id: 9, op: "softmax", inputs: [product],
    attrs: { axes: [-1] } }),
    "%9 softmax at head: found attributes {\"axes\":[-1]}, expected the canonical {\"axes\":[1]}"],
  ["an axis out of range", ({ graph, product }) => outputs(graph, { ...product, id: 9, op: "softmax", inputs: [product],
    attrs: { axes: [2] } }),
    "%9 softmax at head: found …, expected attributes that fit the inputs"],
  ["a slice out of bounds", ({ graph, product }) => outputs(graph, { ...product, id: 9, op: "slice", inputs: [product],
    attrs: { starts: [dim(0), dim(1)], stops: [BATCH, dim(4)], steps: [1, 1] } }),
    "%9 slice at head: found …1:4…, expected inputs that fit the op"],
  ["a view of other elements", ({ graph, product }) => outputs(graph, { ...product, id: 9, op: "reshape", inputs: [product],
    attrs: { shape: [BATCH, dim(4)] } }),
    "%9 reshape at head: found …[B, 4]…, expected inputs that fit the op"],
  ["an axis twice", ({ graph, product }) => outputs(graph, { ...product, id: 9, op: "permute", inputs: [product],
    attrs: { order: [1, 1] } }),
    "%9 permute at head: found …[1, 1]…, expected attributes that fit the inputs"],
  ["a number twice", ({ graph, product }) => outputs(graph, { ...product, id: 2 }),
    "%2 matmul at head: found the number of parameter at head, expected a number of its own"],
  ["inputs that were made later", ({ graph, product, ops }) => outputs(graph, { ...product, id: 4, op: "neg", attrs: {},
    inputs: [ops.call("exp", [product])] }),
    "%4 neg at head: found input %7, expected inputs that were made earlier"],
  ["elements out of none", ({ graph, product }) => {
    const none: Node = { ...product, id: 8, op: "slice", inputs: [product], shape: [BATCH, dim(0)],
      attrs: { starts: [dim(0), dim(1)], stops: [BATCH, dim(1)], steps: [1, 1] } };
    return outputs(graph, { ...product, id: 9, op: "sum", inputs: [none], shape: [BATCH], attrs: { axes: [1], keep: false } });
  }, "%9 sum at head: found input %8 without elements, f32 [B, 0], expected inputs that have some"],
  ["B twice", ({ graph, product }) => outputs(graph, { ...product, shape: [BATCH, BATCH] }),
    "%3 matmul at head: found [B, B], expected a shape that holds B once at most"],
  ["a dead input", ({ graph, product }) => ({ ...graph, inputs: new Map([["x", product]]) }),
    "%3 matmul at head: found input x declared to be it, expected the input of that name"],
  ["an input under another name", ({ graph, x }) => ({ ...graph, inputs: new Map([["z", x]]) }),
    "%0 input at head: found input z declared to be it, expected the input of that name"],
  ["an input that is not declared", ({ graph }) => ({ ...graph, inputs: new Map() }),
    "%0 input at head: found x not declared, expected the inputs of the graph to name it"],
  ["a name defined twice", ({ graph, ops }) => outputs(graph, ops.call("exp", [ops.call("input", [], { name: "x", shape: [2] })])),
    "%7 input at head: found x defined a second time, expected %0 alone"],
  ["a path defined twice", ({ graph, ops }) => outputs(graph, ops.call("parameter", [], { path: "w", shape: [2] })),
    "%7 parameter at head: found w defined a second time, expected %1 alone"],
  ["a node that is not a parameter", ({ graph, w, product }) => declared(graph, { ...w, node: product }),
    "%3 matmul at head: found parameter w declared to be it, expected the parameter of that path"],
  ["a parameter with a batch", ({ graph, ops, w }) => declared(graph, { ...w, path: "p",
    node: ops.call("parameter", [], { path: "p", shape: [{ ...BATCH }, 2] }) }),
    "%7 parameter at head: found [B, 2], expected a shape without B"],
  ["too few first values", ({ graph, s }) => declared(graph, { ...s, initializer: { kind: "values", values: [1, 2] } }),
    "%2 parameter at head: found 2 first values, expected 3"],
  ["no lane", ({ graph, s }) => declared(graph, { ...s, inside: { lane: "lane", offset: 0 } }),
    "%2 parameter at head: found no lane lane, expected the lane it lies in"],
  ["a place beyond the lane", ({ graph, s }) => declared(graph, { ...s, inside: { lane: "w", offset: 64 } }),
    "%2 parameter at head: found elements 64 to 67 of w, expected a place in f32 [4, 3]"],
  ["an update of nothing", ({ graph, product }) => ({ ...graph, updates: new Map([["t", product]]) }),
    "%3 matmul at head: found an update of t, expected a parameter of that path"],
  ["an update of another type", ({ graph, product }) => ({ ...graph, updates: new Map([["s", product]]) }),
    "%3 matmul at head: found an update of s by f32 [B, 3], expected f32 [3]"],
];

for (const [title, broken, message] of BROKEN) {
  test(`the verifier finds ${title}`, (t) => {
    const from = small();
    t.notThrows(() => verifyGraph(from.graph, "simplify", OPS));
    const graph = broken(from);
    const parts = `after recognize: ${message}`.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    t.throws(() => verifyGraph(graph, "recognize", OPS), {
      instanceOf: CompilerBug, message: new RegExp(`^${parts.join(".*")}$`, "u"),
    });
  });
}

test("compileGraph looks over graphs where it is asked to", (t) => {
  const { graph, s, product } = small();
  const short = declared(graph, { ...s, initializer: { kind: "values", values: [1, 2] } });
  t.notThrows(() => compileGraph(graph, "m", { verify: true }));
  t.throws(() => compileGraph(outputs(graph, { ...product, shape: [BATCH, dim(5)] }), "m", { verify: true }),
    { instanceOf: CompilerBug, message: "after elaborate: %3 matmul at head: found f32 [B, 5], expected f32 [B, 3]" });
  t.throws(() => compileGraph(short, "m", { verify: true }), { instanceOf: CompilerBug, message: /^after elaborate: %2 parameter/u });
  t.notThrows(() => compileGraph(short, "m"));
});

// ---- Copies ----

test("a copy is the graph, and a renamed one keeps what belongs together", (t) => {
  const { graph, s } = small();
  const whole = declared(graph, { ...s, inside: { lane: "w", offset: 0 } });
  t.is(printGraph(copyGraph(whole, new GraphBuilder())), printGraph(copyGraph(copyGraph(whole, new GraphBuilder()), new GraphBuilder())));
  const renamed = copyGraph(whole, new GraphBuilder(), { rename: (name) => `part/${name}` });
  t.notThrows(() => verifyGraph(renamed, "rename", OPS));
  t.deepEqual([...renamed.parameters.keys(), ...renamed.updates.keys()], ["part/w", "part/s", "part/s"]);
  t.is(renamed.parameters.get("part/s")?.inside?.lane, "part/w");
  t.is(renamed.outputs.get("part/y")?.origin.path, "part/head");
});

test("programs side by side are one sound graph", (t) => {
  const graphs = Array.from({ length: 10 }, (_, seed) => randomGraphs(seed)).flat();
  const union = unionOf(graphs);
  t.notThrows(() => verifyGraph(union, "union", OPS));
  t.is(union.outputs.size, graphs.reduce((n, graph) => n + graph.outputs.size, 0));
});

// ---- Sound graphs, and passes as functions ----

const PROGRAMS = 60;

/** What the passes of random programs start from: forward and with gradients. */
function randomGraphs(seed: number): Graph[] {
  const program = generate(seed);
  const forward = prepareForward(graphOf(textOf(program), program.training));
  return [forward, withGradients(forward)];
}

test(`${PROGRAMS} random programs keep sound through all passes`, (t) => {
  for (let seed = 0; seed < PROGRAMS; seed++) {
    for (const graph of randomGraphs(seed)) t.notThrows(() => compileGraph(graph, "m", { verify: true }), `seed ${seed}`);
  }
});

for (const [title, changes] of [
  ["in passes", { more: "accumulate = 2 steps  ema = 0.99" }],
  ["by lamb", { optimizer: "optimizer = lamb(lr = 0.005, weight_decay = 0.02)", more: "clip = global_norm(1.0)" }],
  ["by sgd", { optimizer: "optimizer = sgd(lr = 0.01, weight_decay = 0.05, nesterov = true)" }],
] as const) {
  test(`the graphs of training ${title} keep sound, with lanes and without`, (t) => {
    const { recipe } = elaborate(recipeText(changes));
    if (!recipe) return t.fail("the recipe is sound");
    for (const lanes of [true, false]) t.notThrows(() => compiledRecipe(recipe, { lanes, verify: true }));
  });
}

/** The passes that make a graph, in their order. */
const PASSES: readonly (readonly [name: string, pass: (graph: Graph) => Graph])[] = [
  ["simplify", (graph) => simplify(graph).graph],
  ["recognize", (graph) => recognize(graph).graph],
  ["simplify again", (graph) => simplify(graph).graph],
  ["lay out", (graph) => layOut(graph).graph],
  ["expand", (graph) => expandComposites(graph, OPS)],
];

/** Passes that do not give the same twice, or change what they are given. */
function impure(source: Graph): string[] {
  let graph = source;
  return PASSES.flatMap(([name, pass]) => {
    const before = printGraph(graph);
    const [once, twice] = [pass(graph), pass(graph)];
    const found = [
      ...(printGraph(graph) === before ? [] : [`${name} changes its argument`]),
      ...(printGraph(once) === printGraph(twice) ? [] : [`${name} gives another graph the second time`]),
    ];
    graph = once;
    return found;
  });
}

for (const [file, target] of [
  ["shapes", "deit_shapes"], ["deit_ti_distilled"], ["cifar_resnet", "cifar_resnet20"], ["regnet", "regnety_002"],
] as const) {
  test(`passes are functions: ${target ?? file}`, (t) => {
    t.deepEqual(impure(compileFile(`models/${file}.deit`, target).model.graph), []);
  });
}

test("passes are functions: random programs", (t) => {
  for (let seed = 0; seed < PROGRAMS; seed++) {
    for (const graph of randomGraphs(seed)) t.deepEqual(impure(graph), [], `seed ${seed}`);
  }
});
