/**
 * @file Rewrite rules as data: a pattern, a replacement, a guard and examples. `pattern.ts` says what patterns mean.
 */
import type { Expr } from "../../dsl/ast.js";
import { sameShape } from "../ir/dim.js";
import type { Attr, Node } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import { instantiate, scopeOf } from "./instantiate.js";
import type { Ops } from "../ir/op.js";
import { recordOf } from "../ops/index.js";
import { compilePattern, matchAll, parseRule, type Match, type OpPattern } from "./pattern.js";

/** What the engine knows beyond the nodes below a match. */
export interface Context {
  /** Nodes that read `node`, each once. */
  users(node: Node): readonly Node[];
  /** Whether `node` is an output or an update of the graph, which keeps it alive whatever its users. */
  isRoot(node: Node): boolean;
  /** Makes nodes that come from where `node` does; replacements come from where their root does. */
  opsAt(node: Node): Ops;
}

/** Text in the expression syntax, or code that builds the replacement; undefined: the rule does not apply after all. */
type Replacement = string | ((ops: Ops, match: Match, context: Context) => Node | undefined);

/** True: replace. False: the pattern does not really apply. Text: it applies but is refused, for this reason. */
export type Guard = (match: Match, context: Context) => boolean | string;

/** A small graph on which a rule must fire: an expression of inputs with these shapes ("B" is the batch). */
export interface RuleExample {
  readonly text: string;
  readonly inputs: Readonly<Record<string, readonly (number | "B")[]>>;
  /** Names of `inputs` that are parameters, whose shapes hold no batch. */
  readonly parameters?: readonly string[];
  /** Values are drawn from [low, high); default [-2, 2). */
  readonly range?: readonly [number, number];
}

export interface RuleOptions {
  readonly doc: string;
  readonly when?: Guard;
  /**
   * The replaced inner values must have no other reader, else the rule is refused: it would compute them twice.
   */
  readonly exclusive?: boolean;
  /** Metavariables of attribute position that may bind any node: the guard checks that they are numbers. */
  readonly judged?: readonly string[];
  /** The guard asks for users. Implied by `exclusive`. */
  readonly context?: boolean;
  readonly examples: readonly [RuleExample, ...RuleExample[]];
}

export interface Rule {
  readonly name: string;
  readonly doc: string;
  readonly patterns: readonly OpPattern[];
  readonly context: boolean;
  readonly exclusive: boolean;
  readonly when: Guard | undefined;
  readonly examples: readonly RuleExample[];
  build(ops: Ops, match: Match, context: Context): Node | undefined;
}

/** A rewrite of any of the patterns `from` into `to`. */
export function rule(name: string, from: string | readonly string[], to: Replacement, options: RuleOptions): Rule {
  const replacement = typeof to === "string" ? parseRule(to) : undefined;
  const scalars = replacement ? attributeNames(replacement) : new Set<string>();
  options.judged?.forEach((judged) => scalars.delete(judged));
  const patterns = [from].flat().map((text) => {
    const pattern = compilePattern(parseRule(text), scalars);
    invariant(pattern.kind === "op", `the pattern of ${name} starts with an op`);
    return pattern;
  });
  return finish(name, patterns, options, (ops, match, context) => {
    if (typeof to !== "string") return to(ops, match, context);
    invariant(replacement, "text replacements are parsed");
    return widened(ops, instantiate(replacement, scopeOf(match), ops), match.root);
  });
}

/** A rewrite at any of the ops `roots`, whatever their inputs, which are bound as "0", "1", …. */
export const ruleAt = (
  name: string, roots: readonly string[], to: Exclude<Replacement, string>, options: RuleOptions,
): Rule => finish(name, roots.map((op) => ({ kind: "op", op, inputs: "any", attrs: [] })), options, to);

/** A rewrite of the ops `roots` into what they are made of, as their records say. */
export const ruleByExpansion = (name: string, roots: readonly string[], options: RuleOptions): Rule =>
  ruleAt(name, roots, (ops, { root }) => recordOf(root.op).expand?.(ops, root.inputs, root.attrs), options);

function finish(name: string, patterns: readonly OpPattern[], options: RuleOptions, build: Rule["build"]): Rule {
  const { doc, when, exclusive = false, context = false, examples } = options;
  return { name, doc, patterns, context: exclusive || context, exclusive, when, examples, build };
}

/** A literal in a pattern may have been a repeated one that gave the result its shape: `x * ones` is x, repeated. */
function widened(ops: Ops, node: Node, root: Node): Node {
  return sameShape(node.shape, root.shape) ? node : ops.call("expand", [node], { shape: root.shape });
}

/** Names an expression uses in attribute position. */
function attributeNames(expr: Expr): Set<string> {
  const names = new Set<string>();
  const walk = (e: Expr, inAttribute: boolean): void => {
    switch (e.kind) {
      case "name": if (inAttribute) names.add(e.name); break;
      case "unary": walk(e.operand, inAttribute); break;
      case "binary": walk(e.left, inAttribute); walk(e.right, inAttribute); break;
      case "list": e.items.forEach((item) => walk(item, inAttribute)); break;
      case "index": walk(e.object, inAttribute); break;
      case "call": e.args.forEach((a) => walk(a.value, inAttribute || a.name !== undefined)); break;
      default: break;
    }
  };
  walk(expr, false);
  return names;
}

/** The outcome of trying a rule at a node. */
export type Attempt =
  | { readonly kind: "fits"; readonly match: Match }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "none" };

/** The first match of `rule` at `root` that its guards accept, or the reason of the last refusal. */
export function attempt(candidate: Rule, root: Node, context: Context): Attempt {
  let found: Match | undefined;
  let refusal: string | undefined;
  for (const pattern of candidate.patterns) {
    const fits = matchAll(pattern, root, (match) => {
      const verdict = judge(candidate, match, context);
      if (typeof verdict === "string") refusal = verdict;
      if (verdict === true) found = match;
      return verdict === true;
    });
    if (fits && found) return { kind: "fits", match: found };
  }
  return refusal === undefined ? { kind: "none" } : { kind: "refused", reason: refusal };
}

function judge(candidate: Rule, match: Match, context: Context): boolean | string {
  const verdict = candidate.when?.(match, context) ?? true;
  if (verdict !== true || !candidate.exclusive) return verdict;
  for (const node of match.interior) {
    if (node === match.root) continue;
    if (context.isRoot(node)) return `its ${node.op} at ${where(node)} is an output of the graph`;
    const other = context.users(node).find((user) => !match.interior.has(user));
    if (other) return `its ${node.op} at ${where(node)} is also read by ${other.op} at ${where(other)}`;
  }
  return true;
}

const where = (node: Node): string => (node.origin.path === "" ? "the top" : node.origin.path);

/** The attribute a metavariable bound; rules call it for names their pattern has in attribute position. */
export function attrNamed(match: Match, name: string): Attr {
  const value = match.attrs.get(name);
  invariant(value !== undefined, `the pattern binds the attribute ${name}`);
  return value;
}

/** The node a metavariable bound. */
export function nodeNamed(match: Match, name: string): Node {
  const node = match.nodes.get(name);
  invariant(node, `the pattern binds ${name}`);
  return node;
}
