/**
 * @file What holds of every graph between two passes. A pass that breaks it has a bug, which this finds at the pass and
 * at the node, where a wrong kernel or a wrong number would show it much later.
 */
import { atMost, dim, isConstant, isEmpty, sameShape, showShape, sizeOf } from "./dim.js";
import { rootsOf, showAttr, topological, type Graph, type Node, type Parameter, type TensorType } from "./graph.js";
import { CompilerBug } from "./invariant.js";
import { isFault, isOp, type OpRecord } from "./op.js";
import { input, parameter as parameterOp } from "../ops/leaves.js";

type Records = ReadonlyMap<string, OpRecord>;

/** @throws CompilerBug for the first thing that does not hold. @param pass what made the graph. */
export function verifyGraph(graph: Graph, pass: string, records: Records): void {
  for (const violation of violationsOf(graph, records)) throw new CompilerBug(`after ${pass}: ${violation}`);
}

function* violationsOf(graph: Graph, records: Records): Generator<string> {
  yield* leafViolations(graph);
  const leaves = [...graph.inputs.values(), ...[...graph.parameters.values()].map((p) => p.node)];
  const numbered = new Map<number, Node>();
  for (const node of topological([...leaves, ...rootsOf(graph)])) {
    const other = numbered.get(node.id);
    if (other) yield violation(node, `the number of ${other.op} at ${where(other)}`, "a number of its own");
    numbered.set(node.id, node);
    yield* nodeViolations(node, records);
    yield* nameViolations(node, graph);
  }
  yield* updateViolations(graph);
}

const violation = (node: Node, found: string, wanted: string): string =>
  `%${node.id} ${node.op} at ${where(node)}: found ${found}, expected ${wanted}`;

const where = ({ origin: { path } }: Node): string => (path === "" ? "the top" : path);
const showType = ({ dtype, shape }: TensorType): string => `${dtype} ${showShape(shape)}`;
const showTypes = (types: readonly TensorType[]): string => types.map(showType).join(", ");
const sameType = (x: TensorType, y: TensorType | undefined): boolean =>
  y !== undefined && x.dtype === y.dtype && sameShape(x.shape, y.shape);

/** What the graph declares is a leaf of that name and nothing else. */
function* leafViolations(graph: Graph): Generator<string> {
  for (const [name, node] of graph.inputs) {
    if (!isOp(input, node) || node.attrs.name !== name) {
      yield violation(node, `input ${name} declared to be it`, "the input of that name");
    }
  }
  for (const [path, parameter] of graph.parameters) {
    const { node } = parameter;
    if (!isOp(parameterOp, node) || node.attrs.path !== path || parameter.path !== path) {
      yield violation(node, `parameter ${path} declared to be it`, "the parameter of that path");
    }
    if (!node.shape.every(isConstant)) yield violation(node, showShape(node.shape), "a shape without B");
    else yield* storageViolations(parameter, graph);
  }
}

/** A parameter starts with as many numbers as it has, and lies in its lane. */
function* storageViolations({ node, initializer, inside }: Parameter, graph: Graph): Generator<string> {
  const size = sizeOf(node.shape);
  if (initializer.kind === "values" && initializer.values.length !== size.c) {
    yield violation(node, `${initializer.values.length} first values`, `${size.c}`);
  }
  if (!inside) return;
  const lane = graph.parameters.get(inside.lane)?.node;
  const end = dim(inside.offset + size.c);
  if (!lane) yield violation(node, `no lane ${inside.lane}`, "the lane it lies in");
  else if (inside.offset < 0 || !atMost(end, sizeOf(lane.shape))) {
    yield violation(node, `elements ${inside.offset} to ${end.c} of ${inside.lane}`, `a place in ${showType(lane)}`);
  }
}

/** A leaf that is used is declared, and no two leaves have one name. */
function* nameViolations(node: Node, graph: Graph): Generator<string> {
  const name = isOp(input, node) ? node.attrs.name : isOp(parameterOp, node) ? node.attrs.path : undefined;
  if (name === undefined) return;
  const declared = isOp(input, node) ? graph.inputs.get(name) : graph.parameters.get(name)?.node;
  if (declared === node) return;
  yield violation(node, declared ? `${name} defined a second time` : `${name} not declared`,
    declared ? `%${declared.id} alone` : `the ${node.op}s of the graph to name it`);
}

/** A node is what its op's record makes of its inputs and attributes. */
function* nodeViolations(node: Node, records: Records): Generator<string> {
  const record = records.get(node.op);
  if (!record) return yield violation(node, "an op without a record", "one of the ops");
  const later = node.inputs.find((input) => input.id >= node.id);
  if (later) yield violation(node, `input %${later.id}`, "inputs that were made earlier");
  const empty = node.inputs.find((input) => isEmpty(input.shape));
  if (empty && !isEmpty(node.shape)) {
    yield violation(node, `input %${empty.id} without elements, ${showType(empty)}`, "inputs that have some");
  }
  const types: readonly TensorType[] = [{ shape: node.shape, dtype: node.dtype }, ...node.extra];
  const wide = types.find(({ shape }) => shape.filter((d) => !isConstant(d)).length > 1);
  if (wide) yield violation(node, showShape(wide.shape), "a shape that holds B once at most");
  const attrs = record.canonical(node.inputs, node.attrs);
  if (isFault(attrs)) return yield violation(node, attrs.text, "attributes that fit the inputs");
  if (attrsKey(attrs) !== attrsKey(node.attrs)) {
    yield violation(node, `attributes ${showAttr(node.attrs)}`, `the canonical ${showAttr(attrs)}`);
  }
  const inferred = record.infer(node.inputs, node.attrs);
  if (isFault(inferred)) return yield violation(node, inferred.text, "inputs that fit the op");
  if (inferred.length !== types.length || !types.every((type, i) => sameType(type, inferred[i]))) {
    yield violation(node, showTypes(types), showTypes(inferred));
  }
}

/** A text by which equal attributes are equal. */
const attrsKey = (attrs: Node["attrs"]): string =>
  JSON.stringify(Object.entries(attrs).sort(([x], [y]) => (x < y ? -1 : 1)));

/** A next value is of the type of what it replaces. */
function* updateViolations(graph: Graph): Generator<string> {
  for (const [path, node] of graph.updates) {
    const parameter = graph.parameters.get(path)?.node;
    if (!parameter) yield violation(node, `an update of ${path}`, "a parameter of that path");
    else if (!sameType(node, parameter)) {
      yield violation(node, `an update of ${path} by ${showType(node)}`, showType(parameter));
    }
  }
}
