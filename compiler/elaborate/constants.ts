/**
 * @file Tensors computed from numbers alone, as numbers: how a buffer starts from an expression.
 */
import { isConstant } from "../dim.js";
import { GraphBuilder, topological, type Attrs, type Node } from "../graph.js";
import { invariant } from "../invariant.js";
import { isFault, type OpRecord, type Ops, type Tensor } from "../op.js";
import { broadcastTo } from "../ops/strided.js";

/** The elements of a node that depends on no parameter, input, draw or batch; undefined for any other. */
export function constantValues(ops: ReadonlyMap<string, OpRecord>, node: Node): readonly number[] | undefined {
  const known = new Map<Node, Tensor>();
  for (const n of topological([node])) {
    const record = ops.get(n.op);
    if (!record || !n.shape.every(isConstant)) return undefined;
    const inputs: Tensor[] = [];
    for (const input of n.inputs) {
      const value = known.get(input);
      if (!value) return undefined;
      inputs.push(value);
    }
    const value = evaluateNode(ops, record, n, inputs);
    if (!value) return undefined;
    known.set(n, value);
  }
  const result = known.get(node);
  return result && [...result.data];
}

function evaluateNode(ops: ReadonlyMap<string, OpRecord>, record: OpRecord, node: Node, inputs: readonly Tensor[]): Tensor | undefined {
  const shape = node.shape.map((d) => d.c);
  if (record.scalar) {
    const wide = inputs.map((x) => broadcastTo(x, shape).data);
    const data = new Float64Array(shape.reduce((n, s) => n * s, 1));
    for (let i = 0; i < data.length; i++) data[i] = record.scalar(...wide.map((x) => x[i] ?? 0));
    return { shape, data };
  }
  if (record.evaluate) return record.evaluate(inputs, node.attrs, [shape])[0];
  if (!record.expand) return undefined;
  // Inputs become tables, so that the expansion is a computation from numbers alone as well.
  const build = builderOf(ops);
  const tables = inputs.map((x, i) => build.call("table", [], {
    values: [...x.data], shape: x.shape.map((c) => ({ b: 0, c })), dtype: node.inputs[i]?.dtype ?? "f32",
  }));
  const values = constantValues(ops, record.expand(build, tables, node.attrs));
  return values && { shape, data: Float64Array.from(values) };
}

function builderOf(ops: ReadonlyMap<string, OpRecord>): Ops {
  const builder = new GraphBuilder();
  const call = (name: string, inputs: readonly Node[], attrs: Attrs = {}): Node => {
    const record = ops.get(name);
    invariant(record, `the op \`${name}\` exists`);
    const canonical = record.canonical?.(inputs, attrs) ?? attrs;
    invariant(!isFault(canonical), `an expansion calls \`${name}\` rightly`);
    const types = record.infer(inputs, canonical);
    invariant(!isFault(types), `an expansion calls \`${name}\` rightly`);
    return builder.add(name, inputs, canonical, types, { path: "" });
  };
  return {
    call,
    constant: (value) => call("constant", [], { value }),
    result: (node, index) => (index === 0 ? node : call("result", [node], { index })),
  };
}
