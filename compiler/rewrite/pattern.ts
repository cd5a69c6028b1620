/**
 * @file Patterns of rewrite rules, written in the language's expression syntax, and the graphs they match.
 *
 * - A name in tensor position is a metavariable: it binds a node, and the same name must meet the same node again.
 * - A name in attribute position (`axis = a`) binds the attribute's value; a number there must be equal. A negative
 *   axis counts from the end, and `[n]` equals `n`. Attributes that are not given match anything.
 * - A number in tensor position matches a 0-d constant (or a view of one) of the same f32 value.
 * - A metavariable that the replacement uses in attribute position (`scale = s`) only binds such constants.
 * - `+` and `*` match modulo order and association; the other commutative ops modulo order.
 */
import type { Expr } from "../../dsl/ast.js";
import { renderDiagnostics } from "../../dsl/diagnostics.js";
import { parseExpression } from "../../dsl/parse.js";
import type { Attr, Node } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import { isOp } from "../ir/op.js";
import { constant } from "../ops/leaves.js";
import { power } from "../ir/power.js";

type Pattern =
  | { readonly kind: "variable"; readonly name: string; readonly scalar: boolean }
  | { readonly kind: "number"; readonly value: number }
  | OpPattern;
export interface OpPattern {
  readonly kind: "op";
  readonly op: string;
  /** "any": whatever the op has, bound as "0", "1", …. */
  readonly inputs: readonly Pattern[] | "any";
  readonly attrs: readonly (readonly [name: string, value: AttrPattern])[];
}
type AttrPattern = { readonly kind: "variable"; readonly name: string } | {
  readonly kind: "value"; readonly value: Attr
};

/** What a pattern met: metavariables, and the op nodes it spells out (the root among them). */
export interface Match {
  readonly root: Node;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly attrs: ReadonlyMap<string, Attr>;
  readonly interior: ReadonlySet<Node>;
}

/** The op behind an operator of the expression syntax. */
export const OPERATORS: Readonly<Record<string, string>> = {
  "+": "add", "-": "sub", "*": "mul", "/": "div", "^": "pow",
  "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", and: "and", or: "or",
};
const ASSOCIATIVE: ReadonlySet<string> = new Set(["add", "mul"]);
const COMMUTATIVE: ReadonlySet<string> = new Set(["add", "mul", "maximum", "minimum", "eq", "ne", "and", "or"]);

/** The expression `text`; rules are ours, so a mistake in one is a bug. */
export function parseRule(text: string): Expr {
  const { tree, diagnostics } = parseExpression({ path: "rule", text });
  invariant(tree !== undefined && diagnostics.length === 0, `the rule parses:\n${renderDiagnostics(diagnostics)}`);
  return tree;
}

/** @param scalars metavariables that may only bind 0-d constants. */
export function compilePattern(expr: Expr, scalars: ReadonlySet<string>): Pattern {
  const number = constantExpression(expr);
  if (number !== undefined) return { kind: "number", value: number };
  const sub = (e: Expr): Pattern => compilePattern(e, scalars);
  switch (expr.kind) {
    case "name":
      return { kind: "variable", name: expr.name, scalar: scalars.has(expr.name) };
    case "unary":
      return op(expr.operator === "-" ? "neg" : "not", [sub(expr.operand)]);
    case "binary": {
      const name = OPERATORS[expr.operator];
      invariant(name !== undefined, `a pattern may use the operator ${expr.operator}`);
      return op(name, [sub(expr.left), sub(expr.right)]);
    }
    case "call": {
      const inputs = expr.args.filter((a) => a.name === undefined).flatMap((a) => (
        a.value.kind === "list" ? a.value.items : [a.value]
      ));
      const attrs = expr.args.flatMap((a) => (a.name ? [[a.name.text, attrPattern(a.value)] as const] : []));
      return op(expr.callee.text, inputs.map(sub), attrs);
    }
    default:
      invariant(false, `a pattern is made of names, numbers, operators and calls, not ${expr.kind}`);
  }
}

/** Nested sums and products become one chain, the most telling operands first: they fail early. */
function op(name: string, inputs: readonly Pattern[], attrs: OpPattern["attrs"] = []): OpPattern {
  if (!COMMUTATIVE.has(name)) return { kind: "op", op: name, inputs, attrs };
  const nested = (p: Pattern): readonly Pattern[] => (
    p.kind === "op" && p.op === name && p.inputs !== "any" ? p.inputs : [p]
  );
  const flat = ASSOCIATIVE.has(name) ? inputs.flatMap(nested) : inputs;
  const rank = { op: 0, number: 1, variable: 2 };
  return { kind: "op", op: name, inputs: [...flat].sort((x, y) => rank[x.kind] - rank[y.kind]), attrs };
}

function attrPattern(expr: Expr): AttrPattern {
  if (expr.kind === "name") return { kind: "variable", name: expr.name };
  return { kind: "value", value: literalAttr(expr) };
}

function literalAttr(expr: Expr): Attr {
  const number = constantExpression(expr);
  if (number !== undefined) return number;
  switch (expr.kind) {
    case "bool": return expr.value;
    case "none": return null;
    case "string": return expr.parts.join("");
    case "list": return expr.items.map(literalAttr);
    default: invariant(false, `an attribute pattern is a name or a literal, not ${expr.kind}`);
  }
}

/** The value of `sqrt(2 / 3.14)` and the like, undefined where a name is in it. */
export function constantExpression(expr: Expr): number | undefined {
  switch (expr.kind) {
    case "number":
      return expr.value;
    case "unary": {
      const x = constantExpression(expr.operand);
      return x === undefined || expr.operator !== "-" ? undefined : -x;
    }
    case "binary": {
      const x = constantExpression(expr.left);
      const y = constantExpression(expr.right);
      return x === undefined || y === undefined ? undefined : arithmetic(expr.operator, x, y);
    }
    case "call": {
      const [only, ...more] = expr.args;
      const x = only && more.length === 0 && !only.name ? constantExpression(only.value) : undefined;
      return x !== undefined && expr.callee.text === "sqrt" ? Math.sqrt(x) : undefined;
    }
    default:
      return undefined;
  }
}

export function arithmetic(operator: string, x: number, y: number): number | undefined {
  switch (operator) {
    case "+": return x + y;
    case "-": return x - y;
    case "*": return x * y;
    case "/": return x / y;
    case "^": return power(x, y);
    default: return undefined;
  }
}

const VIEWS: ReadonlySet<string> = new Set(["reshape", "permute", "slice", "expand"]);

/** Whether a node is nothing but elements of its input in another place. */
export const isView = (node: Node): boolean => VIEWS.has(node.op);

/** The number a node stands for everywhere: a 0-d constant or a view that repeats one. */
export function constantValue(node: Node): number | undefined {
  if (isOp(constant, node)) return node.attrs.value;
  const [input] = node.inputs;
  return isView(node) && input ? constantValue(input) : undefined;
}

/** Whether two numbers are one f32 value, up to the last digit a user may have left out. */
export const sameNumber = (x: number, y: number): boolean => x === y || Math.abs(x - y) <= 1.2e-7 * Math.abs(y);

/**
 * Bindings so far and the op nodes met, newest first: trying another order just forgets the newest.
 */
type Bound = { readonly rest: Bound | undefined } & (
  | { readonly kind: "met"; readonly node: Node }
  | { readonly kind: "node"; readonly name: string; readonly node: Node }
  | { readonly kind: "attr"; readonly name: string; readonly value: Attr }
);
type Next = (bound: Bound | undefined) => boolean;

/** All ways in which `pattern` fits at `root`, tried in order until `accept` takes one. */
export function matchAll(pattern: Pattern, root: Node, accept: (match: Match) => boolean): boolean {
  return fit(pattern, root, undefined, (bound) => {
    const nodes = new Map<string, Node>();
    const attrs = new Map<string, Attr>();
    const interior = new Set<Node>();
    for (let b = bound; b; b = b.rest) {
      if (b.kind === "met") interior.add(b.node);
      else if (b.kind === "node") nodes.set(b.name, b.node);
      else attrs.set(b.name, b.value);
    }
    return accept({ root, nodes, attrs, interior });
  });
}

function fit(pattern: Pattern, node: Node, bound: Bound | undefined, next: Next): boolean {
  switch (pattern.kind) {
    case "number": {
      const value = constantValue(node);
      return value !== undefined && sameNumber(value, pattern.value) && next(bound);
    }
    case "variable": {
      if (pattern.scalar && constantValue(node) === undefined) return false;
      const known = find(pattern.name, bound);
      if (known) return known.kind === "node" && known.node === node && next(bound);
      return next({ kind: "node", name: pattern.name, node, rest: bound });
    }
    case "op": {
      if (node.op !== pattern.op) return false;
      const withAttrs = fitAttrs(pattern, node, bound);
      if (!withAttrs) return false;
      const { inputs } = pattern;
      if (inputs === "any") return next(numbered(node, withAttrs.bound));
      if (!COMMUTATIVE.has(pattern.op)) {
        return node.inputs.length === inputs.length && inOrder(inputs, node.inputs, withAttrs.bound, 0, node, next);
      }
      if (inputs.length === 2) return inAnyOrder(inputs, node.inputs, met(node, withAttrs.bound), 0, 0, next);
      for (const chain of chains(node, pattern.op, inputs.length)) {
        const seen = chain.interior.reduce((b, n) => met(n, b), withAttrs.bound);
        if (inAnyOrder(inputs, chain.operands, seen, 0, 0, next)) return true;
      }
      return false;
    }
    default:
      return pattern satisfies never;
  }
}

const met = (node: Node, rest: Bound | undefined): Bound | undefined => ({ kind: "met", node, rest });

const numbered = (node: Node, bound: Bound | undefined): Bound | undefined =>
  node.inputs.reduce<Bound | undefined>((rest, input, i) => ({ kind: "node", name: String(i), node: input, rest }),
    met(node, bound));

function inOrder(
  ps: readonly Pattern[], ns: readonly Node[], bound: Bound | undefined, at: number, node: Node, next: Next
): boolean {
  const p = ps[at];
  const n = ns[at];
  if (!p || !n) return next(met(node, bound));
  return fit(p, n, bound, (b) => inOrder(ps, ns, b, at + 1, node, next));
}

/** @param used bit set of the operands already given away. */
function inAnyOrder(
  ps: readonly Pattern[], ns: readonly Node[], bound: Bound | undefined, at: number, used: number, next: Next
): boolean {
  const p = ps[at];
  if (!p) return next(bound);
  for (const [i, n] of ns.entries()) {
    if ((used & (1 << i)) === 0 && fit(p, n, bound, (b) => inAnyOrder(
      ps, ns, b, at + 1, used | (1 << i), next
    ))) return true;
  }
  return false;
}

/** Every way to read `node` as a chain of `count` operands of one associative op. */
function chains(node: Node, opName: string, count: number): {
  readonly operands: readonly Node[]; readonly interior: readonly Node[]
}[] {
  const [left, right] = node.inputs;
  if (!left || !right) return [];
  if (count > 2 && left.op !== opName && right.op !== opName) return [];
  const parts = (n: Node, k: number) => (k === 1 ? [{
    operands: [n], interior: []
  }] : n.op === opName ? chains(n, opName, k) : []);
  return Array.from({ length: count - 1 }, (_, i) => i + 1).flatMap((k) =>
    parts(left, k).flatMap((l) =>
      parts(right, count - k).map((r) => ({ operands: [...l.operands, ...r.operands], interior: [
        node, ...l.interior, ...r.interior
      ] })),
    ),
  );
}

function fitAttrs(pattern: OpPattern, node: Node, bound: Bound | undefined): { bound: Bound | undefined } | undefined {
  let b = bound;
  for (const [name, wanted] of pattern.attrs) {
    const actual = attrOf(node, name);
    if (actual === undefined) return undefined;
    if (wanted.kind === "value") {
      if (!sameAttr(actual, isAxis(name) ? fromEnd(wanted.value, node) : wanted.value)) return undefined;
      continue;
    }
    const known = find(wanted.name, b);
    if (known && (known.kind !== "attr" || !sameAttr(known.value, actual))) return undefined;
    if (!known) b = { kind: "attr", name: wanted.name, value: actual, rest: b };
  }
  return { bound: b };
}

const isAxis = (name: string): boolean => name === "axis" || name === "axes";

/** An attribute by the name it has in the text; `axis` is `axes` where an op folds several. */
function attrOf(node: Node, name: string): Attr | undefined {
  const value = node.attrs[name];
  if (value !== undefined || !isAxis(name)) return value;
  return node.attrs[name === "axis" ? "axes" : "axis"];
}

function fromEnd(axis: Attr, node: Node): Attr {
  const rank = node.inputs[0]?.shape.length ?? 0;
  if (typeof axis === "number") return axis < 0 ? axis + rank : axis;
  return Array.isArray(axis) ? axis.map((a: Attr) => fromEnd(a, node)) : axis;
}

function sameAttr(x: Attr, y: Attr): boolean {
  if (typeof x === "number" && typeof y === "number") return sameNumber(x, y);
  const one = (a: Attr): Attr => (Array.isArray(a) && a.length === 1 ? (a[0] as Attr) : a); // length 1: there is a [0]
  return JSON.stringify(one(x)) === JSON.stringify(one(y));
}

function find(name: string, bound: Bound | undefined): Exclude<Bound, { kind: "met" }> | undefined {
  for (let b = bound; b; b = b.rest) if (b.kind !== "met" && b.name === name) return b;
  return undefined;
}
