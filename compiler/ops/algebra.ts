/**
 * @file Tensor algebra in few letters, for gradients and expansions: numbers stand for 0-d constants.
 */
import type { Attrs, Node } from "../ir/graph.js";
import type { Ops } from "../ir/op.js";

export type Term = Node | number;

/** The operations gradients are written in. Shapes broadcast. */
export interface Algebra {
  add(a: Term, b: Term): Node;
  sub(a: Term, b: Term): Node;
  mul(a: Term, b: Term): Node;
  div(a: Term, b: Term): Node;
  lt(a: Term, b: Term): Node;
  gt(a: Term, b: Term): Node;
  eq(a: Term, b: Term): Node;
  le(a: Term, b: Term): Node;
  where(c: Node, a: Term, b: Term): Node;
  /** A binary op by its name. */
  binary(name: string, a: Term, b: Term): Node;
  /** A unary op by its name. */
  unary(name: string, x: Term): Node;
  /** Over `axes`, keeping them as 1. */
  sum(x: Node, axes: readonly number[]): Node;
  mean(x: Node, axes: readonly number[]): Node;
  max(x: Node, axes: readonly number[]): Node;
}

export function algebra(ops: Ops): Algebra {
  const node = (x: Term): Node => (typeof x === "number" ? ops.constant(x) : x);
  const binary = (name: string) => (a: Term, b: Term): Node => ops.call(name, [node(a), node(b)]);
  const reduce = (name: string) => (x: Node, axes: readonly number[]): Node => ops.call(name, [x], keepAttrs(axes));
  return {
    add: binary("add"), sub: binary("sub"), mul: binary("mul"), div: binary("div"),
    lt: binary("lt"), gt: binary("gt"), eq: binary("eq"), le: binary("le"),
    where: (c, a, b) => ops.call("where", [c, node(a), node(b)]),
    binary: (name, a, b) => binary(name)(a, b),
    unary: (name, x) => ops.call(name, [node(x)]),
    sum: reduce("sum"), mean: reduce("mean"), max: reduce("max"),
  };
}

const keepAttrs = (axes: readonly number[]): Attrs => ({ axes, keep: true });
