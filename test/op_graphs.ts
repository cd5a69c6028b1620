/**
 * @file The samples of op records as one graph: many ops in one module, so that a slow adapter is asked only once.
 */
import { applyOp, makeOps } from "../compiler/ir/build.js";
import { differentiate } from "../compiler/train/differentiate.js";
import { GraphBuilder, topological, type Graph, type Node } from "../compiler/ir/graph.js";
import { isFault, type OpRecord, type OpSample, type Tensor } from "../compiler/ir/op.js";
import { OPS } from "../compiler/ops/index.js";
import { sampleTensors, sampleTypes } from "../compiler/ops/samples.js";
import { drawn, type Feeds } from "./harness.js";

/** One sample of one record, and the names of the outputs it has in the graph. */
export interface OpCase {
  readonly name: string;
  readonly record: OpRecord;
  readonly sample: OpSample;
}

/** A graph of many cases with the numbers for it. */
export interface OpGraph {
  readonly graph: Graph;
  /** Outputs of each case by its name. */
  readonly outputs: ReadonlyMap<string, readonly string[]>;
  feeds(batch: number): Feeds;
}

/** What draws random numbers has no kernel in inference: nothing in a module gives it any. */
const draws = ({ record, sample }: OpCase): boolean => {
  const node = build(record, sample, "");
  return topological([record.expand?.(makeOps(new GraphBuilder(), { path: "" }), node.inputs, node.attrs) ?? node])
    .some((n) => n.op === "random_uniform");
};

function build(record: OpRecord, sample: OpSample, name: string, builder = new GraphBuilder()): Node {
  const origin = { path: name };
  const ops = makeOps(builder, origin);
  const inputs = sampleTypes(sample).map((t, i) =>
    ops.call("input", [], { name: `${name}/x${i}`, shape: t.shape, dtype: t.dtype }));
  const node = applyOp(builder, record, inputs, sample.attrs ?? {}, origin);
  if (isFault(node)) throw new Error(`${name}: ${node.text}`);
  // Kernels read what a pack holds; it is no output itself.
  return record.pack ? ops.call("neg", [node]) : node;
}

/** Every sample of every record but those that draw random numbers. */
export const opCases: readonly OpCase[] = [...OPS.values()]
  .flatMap((record) => record.samples.map((sample, i): OpCase => ({ record, sample, name: `${record.name} ${i}` })))
  .filter((c) => !draws(c));

const isReal = ({ dtype }: { readonly dtype?: string }): boolean => dtype === undefined || dtype === "f32";
export const gradientCases: readonly OpCase[] =
  opCases.filter(({ record, sample }) => record.gradient !== "none" && sample.inputs.some(isReal));

/** The cases as one graph, each an output of its own. */
export function forwardGraph(cases: readonly OpCase[]): OpGraph {
  const builder = new GraphBuilder();
  const outputs = new Map(cases.map(({ record, sample, name }) => [name, build(record, sample, name, builder)]));
  return graphOf(cases, outputs, new Map(cases.map(({ name }) => [name, [name]])));
}

/** d Σ (op · cotangent) / d input for every f32 input of the cases. */
export function gradientGraph(cases: readonly OpCase[]): OpGraph {
  const builder = new GraphBuilder();
  const outputs = new Map<string, Node>();
  const names = new Map<string, string[]>();
  for (const { record, sample, name } of cases) {
    const ops = makeOps(builder, { path: name });
    const y = build(record, sample, name, builder);
    const cotangent = ops.call("input", [], { name: `${name}/cotangent`, shape: y.shape });
    const loss = ops.call("sum", [ops.call("mul", [y, cotangent])]);
    const by = sampleTypes(sample).flatMap(({ shape, dtype }, i) =>
      dtype === "f32" ? [ops.call("input", [], { name: `${name}/x${i}`, shape, dtype })] : []);
    const { gradients } = differentiate(builder, loss, by);
    const mine = gradients.map((_, i) => `${name} by ${i}`);
    gradients.forEach((gradient, i) => outputs.set(mine[i] ?? "", gradient));
    names.set(name, mine);
  }
  return graphOf(cases, outputs, names);
}

function graphOf(
  cases: readonly OpCase[], outputs: ReadonlyMap<string, Node>, names: OpGraph["outputs"],
): OpGraph {
  const leaves = topological(outputs.values()).filter((n) => n.op === "input");
  const inputs = new Map(leaves.map((n) => [String(n.attrs["name"]), n]));
  const feeds = (batch: number): Feeds => {
    const values = new Map<string, Tensor>();
    for (const { record, sample, name } of cases) {
      sampleTensors(record, sample, 1, batch).forEach((x, i) => values.set(`${name}/x${i}`, x));
    }
    const given = [...inputs].map(([name, node]): [string, Tensor] => [name, values.get(name) ?? drawn(node, name, batch)]);
    return { inputs: new Map(given), parameters: new Map() };
  };
  return { graph: { inputs, parameters: new Map(), outputs, updates: new Map() }, outputs: names, feeds };
}
