/**
 * @file Runs a graph on the CPU by the records' references: the oracle of every kernel.
 *
 * In "f32" each op's result is rounded to f32; within one op, sums (of reductions and contractions) run in float64.
 * In "f64" nothing is rounded but by ops whose purpose it is, such as `half`. Integers and bools are `Int32Array`,
 * bools 0 and 1.
 */
import { dim, evalDim, type Shape } from "../ir/dim.js";
import { GraphBuilder, rootsOf, topological, type Attr, type Attrs, type DType, type Graph, type Node,
  type TensorType } from "../ir/graph.js";
import { makeOps } from "../ir/build.js";
import { invariant } from "../ir/invariant.js";
import { attrsOf, isOp, reducedOf, type OpRecord, type Ops, type Tensor } from "../ir/op.js";
import { isDim } from "../ops/attributes.js";
import { recordOf } from "../ops/index.js";
import { input, parameter, randomUniform, result } from "../ops/leaves.js";
import { foldAxes } from "../ops/reductions.js";
import { broadcastTo, count, type Numbers } from "../ops/strided.js";

export type Precision = "f32" | "f64";

/** `length` numbers uniform in [0, 1) of a stream (the `stream` attribute of the draw). */
export type RandomSource = (stream: Attr, length: number) => Float32Array | Float64Array;

interface InterpretOptions {
  readonly batch: number;
  readonly inputs: ReadonlyMap<string, Tensor>;
  /** Parameters and buffers by path. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly precision: Precision;
  /** Needed where the graph draws random numbers. */
  readonly random?: RandomSource;
  /** Paths whose last node's value is wanted. */
  readonly taps?: ReadonlySet<string>;
}

export interface Interpretation {
  readonly outputs: ReadonlyMap<string, Tensor>;
  /** Next values of buffers, by path. */
  readonly updates: ReadonlyMap<string, Tensor>;
  /** Values of the tapped paths. */
  readonly values: ReadonlyMap<string, Tensor>;
}

/** Throws an `Error` naming an input, parameter or random source that is missing or has another shape. */
export function interpret(graph: Graph, options: InterpretOptions): Interpretation {
  const values = new Map<string, Tensor>();
  const machine = new Machine(options.batch, options.precision, (node) => brought(node, options));
  const results = machine.run(rootsOf(graph), new Map(), (node, tensor) => {
    if (options.taps?.has(node.origin.path)) values.set(node.origin.path, tensor);
  });
  const named = (nodes: ReadonlyMap<string, Node>): Map<string, Tensor> =>
    new Map([...nodes].map(([name, node]) => [name, results.get(node) as Tensor])); // every root has a result
  return { outputs: named(graph.outputs), updates: named(graph.updates), values };
}

/** One op on numbers. @param types of the inputs at a constant batch; shapes are those of the tensors. */
export function evalNode(
  record: OpRecord, attrs: Attrs, inputs: readonly Tensor[], dtypes: readonly DType[], precision: Precision,
  random?: RandomSource,
): Tensor {
  const types = inputs.map((t, i): TensorType => ({ shape: t.shape.map(dim), dtype: dtypes[i] ?? "f32" }));
  const machine = new Machine(1, precision, (node) => drawn(node, random, 1));
  const { root, leaves } = placeholders(types, (ops, nodes) => ops.call(record.name, nodes, attrs));
  // one leaf an input
  const given = new Map(leaves.map((leaf, i) => [leaf, coerce(inputs[i] as Tensor, leaf.dtype, precision)]));
  return machine.run([root], given).get(root) as Tensor; // the root has a result
}

function drawn(node: Node, random: RandomSource | undefined, batch: number): Tensor {
  const { stream } = attrsOf(randomUniform, node);
  if (!random) throw new Error("the graph draws random numbers: pass `random`");
  const shape = shapeAt(node.shape, batch);
  return { shape, data: random(stream, count(shape)) };
}

function brought(node: Node, options: InterpretOptions): Tensor {
  const key = isOp(parameter, node) ? node.attrs.path : isOp(input, node) ? node.attrs.name : undefined;
  if (key === undefined) return drawn(node, options.random, options.batch);
  const tensor = (isOp(parameter, node) ? options.parameters : options.inputs).get(key);
  const shape = shapeAt(node.shape, options.batch);
  if (!tensor) throw new Error(`${node.op} ${key} is missing`);
  if (tensor.shape.join() !== shape.join()) {
    throw new Error(`${node.op} ${key} must have shape [${shape.join(", ")}], got [${tensor.shape.join(", ")}]`);
  }
  return tensor;
}

const shapeAt = (shape: Shape, batch: number): number[] => shape.map((d) => evalDim(d, batch));

/** Dimensions among the attributes at a bound batch. */
function bindAttrs(attrs: Attrs, batch: number): Attrs {
  const bind = (a: Attr): Attr => {
    if (isDim(a)) return dim(evalDim(a, batch));
    return Array.isArray(a) ? (a as readonly Attr[]).map(bind) : a; // isArray does not narrow readonly arrays
  };
  return Object.fromEntries(Object.entries(attrs).map(([key, a]) => [key, bind(a)]));
}

/** What a composite op means, over leaves that stand for its inputs. */
interface Expansion {
  readonly root: Node;
  readonly leaves: readonly Node[];
}

/** A small graph of its own: `build` over inputs of the given types. */
function placeholders(types: readonly TensorType[], build: (ops: Ops, inputs: readonly Node[]) => Node): Expansion {
  const ops = makeOps(new GraphBuilder(), { path: "" });
  const leaves = types.map((t, i) => ops.call("input", [], { name: `#${i}`, shape: t.shape, dtype: t.dtype }));
  return { root: build(ops, leaves), leaves };
}

const isReal = (dtype: DType): boolean => dtype === "f32" || dtype === "f16";

/** Numbers in the array type of their dtype and precision. */
function coerce(tensor: Tensor, dtype: DType, precision: Precision): Tensor {
  const { shape, data } = tensor;
  if (!isReal(dtype)) return data instanceof Int32Array ? tensor : { shape, data: Int32Array.from(data) };
  if (precision === "f64") return data instanceof Float64Array ? tensor : { shape, data: Float64Array.from(data) };
  return data instanceof Float32Array ? tensor : { shape, data: Float32Array.from(data) };
}

const allocate = (dtype: DType, precision: Precision, size: number): Numbers =>
  !isReal(dtype) ? new Int32Array(size) : precision === "f64" ? new Float64Array(size) : new Float32Array(size);

class Machine {
  /** Expansions of composite ops, by op, attributes and input types. */
  readonly #expansions = new Map<string, Expansion>();

  constructor(
    readonly batch: number,
    readonly precision: Precision,
    readonly leaf: (node: Node) => Tensor,
  ) {}

  /** First results of `roots`; others are dropped after their last use. @param given values known beforehand. */
  run(
    roots: readonly Node[], given: ReadonlyMap<Node, Tensor>, visit?: (node: Node, tensor: Tensor) => void,
  ): Map<Node, Tensor> {
    const order = topological(roots);
    const uses = new Map<Node, number>();
    for (const node of order) for (const input of node.inputs) uses.set(input, (uses.get(input) ?? 0) + 1);
    for (const root of roots) uses.set(root, Infinity);
    const values = new Map<Node, readonly Tensor[]>();
    const valueOf = (node: Node, index = 0): Tensor => {
      const tensor = values.get(node)?.[index];
      invariant(tensor !== undefined, `${node.op} (%${node.id}) has been computed, result ${index} too`);
      return tensor;
    };
    for (const node of order) {
      const known = given.get(node);
      const computed = known ? [known]
        // infer has checked
        : isOp(result, node) ? [valueOf(node.inputs[0] as Node, node.attrs.index)]
        : this.#compute(node, node.inputs.map((input) => valueOf(input)));
      values.set(node, computed);
      visit?.(node, valueOf(node));
      for (const input of node.inputs) {
        const left = (uses.get(input) ?? 0) - 1;
        uses.set(input, left);
        if (left === 0) values.delete(input);
      }
    }
    return new Map(roots.map((root) => [root, valueOf(root)]));
  }

  #compute(node: Node, inputs: readonly Tensor[]): readonly Tensor[] {
    const record = recordOf(node.op);
    const types: readonly TensorType[] = [node, ...node.extra];
    const shapes = types.map((t) => shapeAt(t.shape, this.batch));
    const [shape = []] = shapes;
    const attrs = bindAttrs(node.attrs, this.batch);
    if (record.evaluate) {
      return record.evaluate(inputs, attrs, shapes).map((t, i) => coerce(t, types[i]?.dtype ?? "f32", this.precision));
    }
    if (record.scalar) return [this.#elementwise(record.scalar, node.dtype, inputs, shape)];
    if (record.fold) {
      const [x] = inputs;
      invariant(x !== undefined, `${node.op} has an input`);
      return [coerce(foldAxes(x, reducedOf(record, attrs).axes, shape, record.fold), node.dtype, this.precision)];
    }
    if (record.expand) return [this.#expand(record, attrs, node, inputs)];
    return [coerce(this.leaf(node), node.dtype, this.precision)];
  }

  #elementwise(f: (...x: number[]) => number, dtype: DType, inputs: readonly Tensor[],
    shape: readonly number[]): Tensor {
    const out = allocate(dtype, this.precision, count(shape));
    const [a, b, c] = inputs.map((t) => broadcastTo(t, shape).data);
    // The operands have as many elements as the result.
    if (a && b && c) for (let i = 0; i < out.length; i++) out[i] = f(a[i] as number, b[i] as number, c[i] as number);
    else if (a && b) for (let i = 0; i < out.length; i++) out[i] = f(a[i] as number, b[i] as number);
    else if (a) for (let i = 0; i < out.length; i++) out[i] = f(a[i] as number);
    return { shape, data: out };
  }

  #expand(record: OpRecord, attrs: Attrs, node: Node, inputs: readonly Tensor[]): Tensor {
    const types = inputs.map((t, i): TensorType =>
      ({ shape: t.shape.map(dim), dtype: node.inputs[i]?.dtype ?? "f32" }));
    const key = `${record.name}${JSON.stringify([attrs, types])}`;
    let expansion = this.#expansions.get(key);
    if (!expansion) {
      const { expand } = record;
      invariant(expand !== undefined, `${record.name} has an expansion`);
      expansion = placeholders(types, (ops, leaves) => expand(ops, leaves, attrs));
      this.#expansions.set(key, expansion);
    }
    const { root, leaves } = expansion;
    // one leaf an input
    return this.run([root], new Map(leaves.map((leaf, i) => [leaf, inputs[i] as Tensor]))).get(root) as Tensor;
  }
}
