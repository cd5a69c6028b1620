/**
 * @file The tensor graph: interned, immutable nodes in topological order. `B` is symbolic in every shape.
 */
import type { Span } from "../../dsl/ast.js";
import type { DType, Initializer } from "../../runtime/manifest.js";
import { showShape, type Dim, type Shape } from "./dim.js";

export type { DType };

/** Compile-time attributes of a node: plain data, so that a node can be interned by its text. */
export type Attr = number | boolean | string | null | Dim | readonly Attr[] | { readonly [key: string]: Attr };
export type Attrs = Readonly<Record<string, Attr>>;

export interface TensorType {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Where a node comes from: the parameter-style path (`blocks.3.attn.qkv`) and the source expression. */
export interface Origin {
  readonly path: string;
  readonly span?: Span;
}

/**
 * One operation. `type` is its first result; an op with several results (attention that saves its log-sum-exp) has
 * the others in `extra`, each selected by a `result` node. `A` is what the record of its op makes of attributes: `isOp`
 * tells a node of an op, and so the types of its attributes.
 */
export interface Node<A extends Attrs = Attrs> extends TensorType {
  /** Position in its builder: inputs have smaller numbers. */
  readonly id: number;
  readonly op: string;
  readonly inputs: readonly Node[];
  readonly attrs: A;
  readonly extra: readonly TensorType[];
  readonly origin: Origin;
}

/** A trained `param` or an untrained `buffer`, by its path. Shape is constant: no B. */
export interface Parameter {
  readonly path: string;
  readonly node: Node;
  readonly trained: boolean;
  /** False for 1-D parameters and those marked `no_decay`. */
  readonly decay: boolean;
  readonly initializer: Initializer;
  readonly doc: string;
  /** The parameter whose storage holds it among others, and where it starts there, in elements. */
  readonly inside?: { readonly lane: string; readonly offset: number };
}

/** A whole computation. Nodes not reachable from outputs or updates do not exist. */
export interface Graph {
  readonly inputs: ReadonlyMap<string, Node>;
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly outputs: ReadonlyMap<string, Node>;
  /** Buffer path → its next value. */
  readonly updates: ReadonlyMap<string, Node>;
}

/** All nodes a graph needs, inputs before users. */
export function topological(roots: Iterable<Node>): Node[] {
  const seen = new Set<Node>();
  const stack: Node[] = [...roots];
  while (stack.length > 0) {
    const node = stack.pop() as Node; // the loop condition holds
    if (seen.has(node)) continue;
    seen.add(node);
    stack.push(...node.inputs);
  }
  return [...seen].sort((x, y) => x.id - y.id);
}

export const rootsOf = (graph: Graph): Node[] => [...graph.outputs.values(), ...graph.updates.values()];

/** `%12 = matmul(%3, %11) : [B, 197, 576]  // blocks.0.attn.qkv`, one line a node. */
export function printGraph(graph: Graph): string {
  const lines = topological(rootsOf(graph)).map((n) => {
    const attrs = Object.entries(n.attrs).map(([k, v]) => `${k} = ${showAttr(v)}`);
    const dtype = n.dtype === "f32" ? "" : `${n.dtype} `;
    return `%${n.id} = ${n.op}(${[...n.inputs.map((i) => `%${i.id}`), ...attrs].join(", ")}) : ` +
      `${dtype}${showShape(n.shape)}  // ${n.origin.path}`;
  });
  for (const [name, node] of graph.outputs) lines.push(`output ${name} = %${node.id}`);
  for (const [name, node] of graph.updates) lines.push(`update ${name} = %${node.id}`);
  return lines.join("\n") + "\n";
}

export function showAttr(a: Attr): string {
  if (a === null) return "none";
  if (Array.isArray(a)) return `[${a.map(showAttr).join(", ")}]`;
  if (typeof a === "object") return "b" in a && "c" in a ? showShape([a as Dim]).slice(1, -1) : JSON.stringify(a);
  return typeof a === "string" ? JSON.stringify(a) : String(a);
}

/** Builds nodes, giving back the existing one when op, inputs and attributes are the same. */
export class GraphBuilder {
  readonly #nodes: Node[] = [];
  readonly #interned = new Map<string, Node>();

  /** @param unique keeps equal-looking nodes apart; parameters and inputs are distinguished by their names. */
  add(
    op: string, inputs: readonly Node[], attrs: Attrs, types: readonly [TensorType, ...TensorType[]], origin: Origin,
  ): Node {
    const key = `${op}(${inputs.map((i) => i.id).join(",")})${JSON.stringify(attrs)}`;
    const known = this.#interned.get(key);
    if (known) return known;
    const [first, ...extra] = types;
    const node: Node = {
      id: this.#nodes.length, op, inputs, attrs, shape: first.shape, dtype: first.dtype, extra, origin,
    };
    this.#nodes.push(node);
    this.#interned.set(key, node);
    return node;
  }

  get size(): number {
    return this.#nodes.length;
  }
}
