/**
 * @file Rewrite rules: each fires on its own examples, none changes a value, and they leave the forms later passes
 * expect.
 *
 * Values are compared in float64, relative to 1 + |value|. Rules re-associate and cancel, so the bound is a few hundred
 * float64 roundings, 1e-12; where an example types a constant to eight digits only, those digits are the bound.
 */
import test from "ava";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { elaborateModel, FUNCTIONS, type Overrides } from "../compiler/elaborate/index.js";
import { printGraph, rootsOf, topological, type Graph, type Node } from "../compiler/ir/graph.js";
import { dim } from "../compiler/ir/dim.js";
import { CompilerBug } from "../compiler/ir/invariant.js";
import { OPS } from "../compiler/ops/index.js";
import { rewrite } from "../compiler/rewrite/engine.js";
import { rule, type RuleExample } from "../compiler/rewrite/rule.js";
import { lastingIn } from "../compiler/fuse/lasting.js";
import { layoutRules } from "../compiler/rewrite/rules/layout.js";
import { recognize, recognizeRules } from "../compiler/rewrite/rules/recognize.js";
import { simplify, simplifyRules } from "../compiler/rewrite/rules/simplify.js";
import { loadProgram } from "../dsl/resolve.js";
import { distance, exampleGraph, randomGraph, run } from "./random_graphs.js";
import { RECIPE_CALLS } from "../compiler/train/vocabulary.js";

const BOUND = 1e-12;
const BATCHES = [1, 3];
const nodesOf = (graph: Graph): Node[] => topological(rootsOf(graph));
const countOf = (graph: Graph, op: string): number => nodesOf(graph).filter((n) => n.op === op).length;
const example = (text: string, inputs: RuleExample["inputs"], parameters: readonly string[] = []): Graph =>
  exampleGraph({ text, inputs, parameters });

/** How far apart the outputs of two graphs of one interface are, over the batches. */
function difference(before: Graph, after: Graph, range?: readonly [number, number]): number {
  return Math.max(...BATCHES.flatMap((batch) => {
    const [x, y] = [run(before, batch, range), run(after, batch, range)];
    return [...x].map(([name, tensor]) => {
      const other = y.get(name);
      return other ? distance(tensor, other) : Infinity;
    });
  }));
}

/** As the compiler runs them. */
function settle(graph: Graph): { graph: Graph; firings: Map<string, number> } {
  const firings = new Map<string, number>();
  let now = graph;
  for (const pass of [simplify, recognize, simplify]) {
    const result = pass(now);
    now = result.graph;
    for (const [name, n] of result.firings) firings.set(name, (firings.get(name) ?? 0) + n);
  }
  return { graph: now, firings };
}

for (const [passName, rules, pass] of [
  ["simplify", simplifyRules, simplify], ["recognize", recognizeRules, recognize],
  ["lay out", layoutRules(() => true), (graph: Graph) => rewrite(graph, [...layoutRules(lastingIn(graph)), ...simplifyRules])],
] as const) {
  for (const [i, one] of rules.entries()) {
    test(`${passName} ${i}, ${one.name}: fires on its examples and keeps their values`, (t) => {
      for (const shown of one.examples) {
        const before = exampleGraph(shown);
        const { graph, firings } = pass(before);
        t.true((firings.get(one.name) ?? 0) > 0, `fires on ${shown.text}`);
        const apart = difference(before, graph, shown.range);
        t.true(apart <= BOUND, `${shown.text} is off by ${apart}`);
      }
    });
  }
}

test("constants typed to eight digits are recognised", (t) => {
  for (const [text, op] of [
    ["x * (0.5 * (1 + erf(x * 0.70710678)))", "gelu"], [
      "0.5 * x * (1 + tanh(0.79788456 * (x + 0.044715 * x ^ 3)))", "gelu_tanh"
    ],
  ] as const) {
    const before = example(text, { x: ["B", 5] });
    const { graph } = recognize(before);
    t.deepEqual(nodesOf(graph).map((n) => n.op), ["input", op]);
    t.true(difference(before, graph) < 1e-8);
  }
  t.is(countOf(recognize(example("0.5 * x * (1 + erf(x * 0.7071))", { x: ["B", 5] })).graph, "gelu"), 0);
});

test("a sum is a mean only when it is divided by its number of elements", (t) => {
  for (const [text, means] of [
    ["sum(x, axis = [1]) / 8", 1], ["sum(x, axis = [1]) * 0.125", 1], ["sum(x, axis = [1]) * 8", 0],
    ["sum(x, axis = [1]) / 0.125", 0], ["sum(x, axis = [1]) / 4", 0], ["sum(x, axis = [0]) / 8", 0],
  ] as const) {
    const before = example(text, { x: [2, 8] });
    const { graph } = recognize(before);
    t.is(countOf(graph, "mean"), means, text);
    t.true(difference(before, graph) <= BOUND, text);
  }
});

test("an empty part of every other element is empty", (t) => {
  for (const [start, stop] of [[0, 0], [1, 1], [3, 3]]) {
    const text = `slice(slice(x, starts = [0, 0], stops = [B, 6], steps = [1, 2]), starts = [0, ${start}], stops = [B, ${stop}], steps = [1, 1])`;
    const { graph } = simplify(example(text, { x: ["B", 6] }));
    t.deepEqual(graph.outputs.get("y")?.shape[1], dim(0), text);
  }
});

test("240 random graphs keep their values at batch 1 and 3", (t) => {
  const fired = new Map<string, number>();
  for (let seed = 1; seed <= 240; seed++) {
    const before = randomGraph(seed, 10 + (seed % 16));
    const after = settle(before);
    const apart = difference(before, after.graph);
    t.true(apart <= BOUND, `seed ${seed} is off by ${apart}`);
    for (const [name, n] of after.firings) fired.set(name, (fired.get(name) ?? 0) + n);
  }
  // The draw reaches the rules: else equal values would say nothing.
  for (const name of [
    "sink movement", "hoist slice", "join permutations", "slice before reshape", "attention", "fold constants"
  ]) {
    t.true((fired.get(name) ?? 0) >= 10, `${name} fired ${fired.get(name) ?? 0} times`);
  }
});

test("a rewritten graph is dense, deterministic and at rest", (t) => {
  const before = randomGraph(11, 25);
  const { graph } = simplify(before);
  const ids = nodesOf(graph).map((n) => n.id);
  t.is(Math.max(...ids) + 1 - ids.length, [...graph.inputs.values(), ...[
    ...graph.parameters.values()
  ].map((p) => p.node)].filter((n) => !ids.includes(n.id)).length);
  t.is(printGraph(simplify(before).graph), printGraph(graph));
  const again = simplify(graph);
  t.is(printGraph(again.graph), printGraph(graph));
  t.is(again.firings.size, 0);
});

test("rules that undo each other are a bug, not a hang", (t) => {
  const options = { doc: "", examples: [{ text: "sin(x)", inputs: { x: ["B" as const] } }] as [RuleExample] };
  const rules = [rule("there", "sin(x)", "cos(x)", options), rule("back", "cos(x)", "sin(x)", options)];
  t.throws(() => rewrite(example("sin(x)", { x: ["B"] }), rules), { instanceOf: CompilerBug, message: /there|back/ });
});

test("a rule must keep the dtype and the shape", (t) => {
  const wrong = rule("wrong", "exp(x)", "x > 0", { doc: "", examples: [{ text: "exp(x)", inputs: { x: [3] } }] });
  t.throws(() => rewrite(example("exp(x)", { x: [3] }), [wrong]), {
    instanceOf: CompilerBug, message: /keeps the type f32 \[3\]/
  });
});

const HEADS = { q: ["B", 2, 5, 4], k: ["B", 2, 7, 4], v: ["B", 2, 7, 3] } as const;
const REFUSED: readonly (readonly [string, RuleExample["inputs"], RegExp])[] = [
  [
    "sum(softmax(matmul(q, transpose(k)), axis = -1)) + matmul(softmax(matmul(q, transpose(k)), axis = -1), v)",
    HEADS, /softmax at test is also read by sum at test/,
  ],
  ["matmul(softmax(matmul(q, transpose(k)) * s, axis = -1), v)", { ...HEADS, s: ["B", 1, 1, 1] }, /scaled by a tensor/],
  [
    "matmul(softmax(matmul(q, transpose(q)), axis = -1), q)", { q: ["B", 3, 257] },
    /head width is 257, the kernel holds 256/,
  ],
];
for (const [text, inputs, reason] of REFUSED) {
  test(`attention is refused with its reason: ${reason.source}`, (t) => {
    const { graph, refusals } = recognize(simplify(example(text, inputs)).graph);
    t.is(countOf(graph, "attention"), 0);
    t.true(refusals.some(
      (r) => r.rule === "attention" && reason.test(r.reason)
    ), refusals.map((r) => r.reason).join("; "));
  });
}

test("replacements keep the place they come from", (t) => {
  const { graph } = recognize(example("0.5 * x * (1 + erf(x / sqrt(2)))", { x: ["B", 4] }));
  t.deepEqual(nodesOf(graph).map((n) => n.origin.path), ["test", "test"]);
});

test("patch embedding is one matrix product with its bias, and no permutation after it", (t) => {
  const embed = "permute(reshape(conv2d(x, w, stride = 4) + reshape(b, shape = [1, 6, 1, 1]), shape = [B, 6, " +
    "6]), order = [0, 2, 1])";
  const before = example(embed, { x: ["B", 3, 8, 12], w: [6, 3, 4, 4], b: [6] }, ["w", "b"]);
  const { graph } = settle(before);
  const y = graph.outputs.get("y");
  t.is(y?.op, "add");
  t.deepEqual(y?.inputs.map((n) => n.op), ["matmul", "parameter"]);
  t.true(difference(before, graph) <= BOUND);
  const pixel = settle(example("conv2d(x, w)", { x: ["B", 3, 4, 4], w: [5, 3, 1, 1] }, ["w"]));
  t.is(countOf(pixel.graph, "conv2d"), 1);
});

const ROW = "starts = [0, 0, 0], stops = [B, 1, 4], steps = [1, 1, 1]";

test("slices are hoisted to the source of a chain that only they read", (t) => {
  const before = example(`slice(matmul(gelu(matmul(standardize(x, axis = [-1]), u)), w) + x, ${ROW})`, {
    x: ["B", 9, 4], u: [4, 8], w: [8, 4]
  }, ["u", "w"]);
  const { graph } = simplify(before);
  const slices = nodesOf(graph).filter((n) => n.op === "slice");
  t.deepEqual(slices.map((n) => n.inputs[0]?.op), ["input"]);
  t.true(nodesOf(graph).filter((n) => n.op === "matmul").every((n) => n.shape[1]?.c === 1));
  t.true(difference(before, graph) <= BOUND);
});

test("slicing never makes a value be computed twice", (t) => {
  // exp(x) is needed whole by the sum: its slice stays a view of it.
  const shared = simplify(example(`slice(exp(x), ${ROW}) + sum(exp(x))`, { x: ["B", 6, 4] })).graph;
  t.is(countOf(shared, "exp"), 1);
  // Two rows read: both are computed by one product.
  const other = ROW.replace("starts = [0, 0, 0], stops = [B, 1, 4]", "starts = [0, 1, 0], stops = [B, 2, 4]");
  const two = simplify(example(`slice(matmul(x, w), ${ROW}) - slice(matmul(x, w), ${other})`, {
    x: ["B", 9, 5], w: [5, 4]
  })).graph;
  t.deepEqual(nodesOf(two).filter((n) => n.op === "matmul").map((n) => n.shape[1]?.c), [2]);
  // Attention mixes rows: keys and values stay whole, queries do not.
  const mixed = simplify(example(`slice(attention(sin(x), cos(x), x, scale = 0.5), ${ROW})`, { x: ["B", 9, 4] })).graph;
  t.deepEqual(nodesOf(mixed).find((n) => n.op === "attention")?.inputs.map((n) => n.shape[1]?.c), [1, 9, 9]);
});

const MODELS = fileURLToPath(new URL("../../models/", import.meta.url));

function elaborated(file: string, target: string, overrides: Overrides = {}): Graph {
  const host: Parameters<typeof loadProgram>[1] = {
    read: (path) => ({ text: readFileSync(path, "utf8") }),
    resolve: (from, spec) => ({ path: from === undefined ? spec : join(dirname(from), spec) }),
  };
  const callable = [...OPS.values()].filter((op) => op.internal !== true).map((op) => op.name);
  const opNames = new Set([...callable, ...FUNCTIONS.keys()]);
  const { program, diagnostics } = loadProgram(join(MODELS, file), host, { opNames, calls: RECIPE_CALLS });
  if (!program) throw new Error(diagnostics.map((d) => d.message).join("; "));
  const made = elaborateModel(program, target, { training: false, overrides, ops: OPS });
  if (!made.model) throw new Error(made.diagnostics.map((d) => d.message).join("; "));
  return made.model.graph;
}

for (const [file, target, heads] of [
  ["deit_ti.deit", "deit_ti", 1], ["deit_ti_distilled.deit", "deit_ti_distilled", 2], ["deit3.deit", "deit3_s", 1],
] as const) {
  test(`${target}: 12 attentions, 25 norms, 12 GELUs; the last block for ${heads} of its tokens`, (t) => {
    const { graph, firings } = settle(elaborated(file, target));
    t.is(firings.get("attention"), 12);
    t.is(firings.get("tiling convolution"), 1);
    t.deepEqual(["attention", "standardize", "gelu", "softmax", "conv2d", "transpose"].map(
      (op) => countOf(graph, op)
    ), [12, 25, 12, 0, 0, 0]);
    t.is(countOf(graph, "matmul"), 1 + 4 * 12 + heads);
    const rows = nodesOf(graph).filter((n) => n.op === "gelu").map((n) => n.shape[1]?.c ?? 0);
    t.is(rows.at(-1), heads);
    t.true(rows.slice(0, -1).every((n) => n > 190));
  });
}

for (const [file, target] of [["deit_ti_distilled.deit", "deit_ti_distilled"], ["deit3.deit", "deit3_s"]] as const) {
  test(`a small ${target} keeps its values`, (t) => {
    const before = elaborated(file, target, { image: 16, patch: 4, dim: 12, depth: 2, heads: 3, classes: 5 });
    const { graph } = settle(before);
    t.is(countOf(graph, "attention"), 2);
    const apart = difference(before, graph, [-0.5, 0.5]);
    t.true(apart <= BOUND, `off by ${apart}`);
  });
}
