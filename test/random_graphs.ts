/**
 * @file Small graphs for tests of rewriting: those of rules' examples, and random ones from a seed.
 */
import { makeOps } from "../compiler/ir/build.js";
import { BATCH, dim, evalDim, isConstant, sizeOf, type Dim, type Shape } from "../compiler/ir/dim.js";
import { GraphBuilder, type Attrs, type Graph, type Node, type Parameter } from "../compiler/ir/graph.js";
import { instantiate } from "../compiler/rewrite/instantiate.js";
import { interpret } from "../compiler/inspect/interpret.js";
import type { Ops, Tensor } from "../compiler/ir/op.js";
import { parseRule } from "../compiler/rewrite/pattern.js";
import type { RuleExample } from "../compiler/rewrite/rule.js";

const toDim = (d: number | "B"): Dim => (d === "B" ? BATCH : dim(d));

/** Inputs, parameters and results under construction. */
export class GraphUnderTest {
  readonly ops: Ops = makeOps(new GraphBuilder(), { path: "test" });
  readonly inputs = new Map<string, Node>();
  readonly parameters = new Map<string, Parameter>();

  leaf(name: string, shape: Shape, isParameter: boolean): Node {
    const dims = shape.map((d) => ({ b: d.b, c: d.c }));
    const node = this.ops.call(isParameter ? "parameter" : "input", [], { [
      isParameter ? "path" : "name"
    ]: name, shape: dims });
    if (isParameter) this.parameters.set(name, {
      path: name, node, trained: true, decay: true, initializer: { kind: "zeros" }, doc: ""
    });
    else this.inputs.set(name, node);
    return node;
  }

  graph(outputs: ReadonlyMap<string, Node>): Graph {
    return { inputs: this.inputs, parameters: this.parameters, outputs, updates: new Map() };
  }
}

/** The graph a rule's example describes, its value the output `y`. */
export function exampleGraph(example: RuleExample): Graph {
  const test = new GraphUnderTest();
  const nodes = new Map<string, Node>();
  for (const [name, shape] of Object.entries(example.inputs)) {
    nodes.set(name, test.leaf(name, shape.map(toDim), example.parameters?.includes(name) === true));
  }
  const y = instantiate(parseRule(example.text), { node: (name) => nodes.get(name), attr: () => undefined }, test.ops);
  return test.graph(new Map([["y", y]]));
}

/** Numbers in [0, 1) from a seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** The graph's outputs in float64 on numbers drawn from a seed by name, so that a rewritten graph meets the same. */
export function run(
  graph: Graph, batch: number, range: readonly [number, number] = [-2, 2]
): ReadonlyMap<string, Tensor> {
  const draw = (name: string, shape: Shape): Tensor => {
    const next = random([...name].reduce((h, c) => Math.imul(h, 31) + c.charCodeAt(0), 7));
    const size = evalDim(sizeOf(shape), batch);
    return { shape: shape.map((d) => evalDim(d, batch)), data: Float64Array.from(
      { length: size }, () => range[0] + (range[1] - range[0]) * next()
    ) };
  };
  const tensors = (nodes: Iterable<readonly [string, Node]>) => new Map([...nodes].map(([name, n]) => [
    name, draw(name, n.shape)
  ] as const));
  const parameters = [...graph.parameters].map(([path, p]) => [path, p.node] as const);
  return interpret(graph, {
    batch, inputs: tensors(graph.inputs), parameters: tensors(parameters), precision: "f64"
  }).outputs;
}

/** The greatest |x − y| / (1 + |x|); NaN in one place alone counts as infinite. */
export function distance(x: Tensor, y: Tensor): number {
  if (x.shape.join() !== y.shape.join()) return Infinity;
  let worst = 0;
  for (const [i, a] of x.data.entries()) {
    const b = y.data[i] ?? NaN;
    if (Object.is(a, b) || (Number.isNaN(a) && Number.isNaN(b))) continue;
    const d = a === b ? 0 : Math.abs(a - b) / (1 + Math.abs(a));
    worst = Number.isNaN(d) ? Infinity : Math.max(worst, d);
  }
  return worst;
}

/** One random step: a node made from those there are, or nothing where the draw does not fit. */
type Step = (draw: Draw) => Node | undefined;

class Draw {
  readonly test = new GraphUnderTest();
  readonly nodes: Node[] = [];
  constructor(readonly next: () => number) {}

  below(n: number): number {
    return Math.floor(this.next() * n);
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T; // lists are not empty
  }
  node(): Node {
    return this.nodes[Math.max(0, this.nodes.length - 1 - this.below(this.nodes.length))] as Node; // there are inputs
  }
  call(op: string, inputs: readonly Node[], attrs: Attrs = {}): Node {
    return this.test.ops.call(op, inputs, attrs);
  }
}

const dims = (shape: Shape) => shape.map((d) => ({ b: d.b, c: d.c }));
const shuffled = (draw: Draw, n: number): number[] => {
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = draw.below(i + 1);
    [order[i], order[j]] = [order[j] as number, order[i] as number]; // both in range
  }
  return order;
};

const UNARY = ["neg", "exp", "sin", "square", "abs", "sigmoid", "tanh", "gelu", "relu", "erf"];
const BINARY = ["add", "sub", "mul", "maximum", "minimum"];
const NUMBERS = [0, 1, -1, 2, 0.5, 0.3, 4];

const STEPS: readonly Step[] = [
  (d) => d.call(d.pick(UNARY), [squashed(d, d.node())]),
  (d) => d.call(d.pick(BINARY), shuffledPair(d, d.node(), d.test.ops.constant(d.pick(NUMBERS)))),
  (d) => d.call("div", [d.node(), d.test.ops.constant(d.pick([1, 2, 3, 0.5, -1]))]),
  (d) => d.call("pow", [d.call("sigmoid", [d.node()]), d.test.ops.constant(d.pick([1, 2, 0.5, -0.5]))]),
  (d) => {
    const x = d.node();
    const alike = d.nodes.filter((n) => n.shape.length === x.shape.length && n.shape.every(
      (s, i) => s.b === x.shape[i]?.b && s.c === x.shape[i]?.c
    ));
    return d.call(d.pick(BINARY), shuffledPair(d, x, d.pick(alike)));
  },
  (d) => {
    // A parameter that broadcasts.
    const x = d.node();
    const shape = x.shape.map((s) => (isConstant(s) && d.below(2) === 0 ? s : dim(1))).slice(d.below(x.shape.length));
    const flat = d.test.leaf(`p${d.nodes.length}`, [sizeOf(shape)], true);
    return d.call(d.pick(BINARY), shuffledPair(d, x, d.call("reshape", [flat], { shape: dims(shape) })));
  },
  (d) => {
    const x = d.node();
    return d.call("permute", [x], { order: shuffled(d, x.shape.length) });
  },
  (d) => {
    const x = d.node();
    return x.shape.length < 2 ? undefined : d.call("transpose", [x]);
  },
  (d) => {
    const x = d.node();
    return d.call("reshape", [x], { shape: dims(regrouped(d, x.shape)) });
  },
  sliced, sliced,
  (d) => {
    const x = d.node();
    return d.call("concat", [x, d.call("sin", [x]), x], { axis: d.below(x.shape.length) });
  },
  (d) => {
    const x = d.node();
    return x.shape.length > 4 ? undefined : d.call("expand", [d.call("unsqueeze", [x], { axis: 0 })], { shape: dims(
      [dim(2), ...x.shape]
    ) });
  },
  (d) => {
    const x = d.node();
    return d.call(d.pick(["sum", "max", "mean", "variance", "logsumexp"]), [squashed(d, x)], { axis: [
      d.below(x.shape.length)
    ], keep: d.below(2) === 0 });
  },
  (d) => {
    const x = d.node();
    return d.call(d.pick(["softmax", "log_softmax", "standardize"]), [squashed(d, x)], { axis: [
      d.below(x.shape.length)
    ] });
  },
  product, product,
];

/** Kept within [−1, 1], so that exponentials of exponentials stay finite. */
const squashed = (d: Draw, x: Node): Node => d.call("sin", [x]);
const shuffledPair = (d: Draw, x: Node, y: Node): Node[] => (d.below(2) === 0 ? [x, y] : [y, x]);

/** Neighbouring constant axes joined, or one split, or 1s put in. */
function regrouped(d: Draw, shape: Shape): Shape {
  const at = d.below(shape.length);
  const [x, y] = [shape[at], shape[at + 1]];
  if (!x) return shape;
  const kind = d.below(3);
  if (kind === 0 && y && (isConstant(x) || isConstant(y))) return [
    ...shape.slice(0, at), sizeOf([x, y]), ...shape.slice(at + 2)
  ];
  if (kind === 1 && isConstant(x) && x.c % 2 === 0) return [
    ...shape.slice(0, at), dim(2), dim(x.c / 2), ...shape.slice(at + 1)
  ];
  return shape.length > 5 ? shape : [...shape.slice(0, at), dim(1), ...shape.slice(at)];
}

function sliced(d: Draw): Node {
  const x = d.node();
  const axis = d.below(x.shape.length);
  const starts = x.shape.map(() => 0);
  const stops: Attrs[string][] = dims(x.shape);
  const steps = x.shape.map(() => 1);
  const size = x.shape[axis];
  if (size && isConstant(size)) {
    starts[axis] = d.below(size.c);
    stops[axis] = (starts[axis] ?? 0) + 1 + d.below(size.c - (starts[axis] ?? 0));
    steps[axis] = 1 + d.below(2);
  }
  return d.call("slice", [x], { starts, stops, steps });
}

function product(d: Draw): Node | undefined {
  const x = d.node();
  const [rows, depth] = x.shape.slice(-2);
  if (!rows || !depth) return undefined;
  if (d.below(3) === 0) return isConstant(depth) ? d.call("matmul", [x, d.test.leaf(
    `w${d.nodes.length}`, [depth, dim(3)], true
  )]) : undefined;
  const square = isConstant(rows) && isConstant(depth);
  return square ? d.call("matmul", [d.call("softmax", [d.call("matmul", [
    x, d.call("transpose", [x])
  ])]), x]) : undefined;
}

/** A graph of about `steps` ops over odd shapes with a symbolic batch; every value nothing reads is an output. */
export function randomGraph(seed: number, steps: number): Graph {
  const draw = new Draw(random(seed));
  draw.nodes.push(draw.test.leaf("x", [BATCH, dim(5), dim(6)], false));
  draw.nodes.push(draw.test.leaf("y", [dim(3), BATCH, dim(4)], false));
  for (let i = 0; i < steps; i++) {
    const made = draw.pick(STEPS)(draw);
    const size = made && sizeOf(made.shape);
    if (made && size && size.b + size.c < 2000 && made.shape.length > 0) draw.nodes.push(made);
  }
  const read = new Set(draw.nodes.flatMap((n) => n.inputs));
  const ends = draw.nodes.filter((n) => !read.has(n)).slice(-4);
  return draw.test.graph(new Map(ends.map((n, i) => [`out${i}`, n] as const)));
}
