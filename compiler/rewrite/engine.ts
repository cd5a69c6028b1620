/**
 * @file The rewrite engine: applies rules to a graph, inputs before users, sweep after sweep, until none fires.
 *
 * A sweep rebuilds what changed. Rules that only look below their root run on the rebuilt node at once; rules that ask
 * for users (their guard would be wrong on a graph still being built) match the graph the sweep started from, and build
 * their replacement from the rebuilt metavariables. Both ways every replacement equals what it replaces, so overlapping
 * matches cannot do harm. Nodes nothing refers to any more are left behind.
 */
import { makeOps } from "../ir/build.js";
import { sameShape, showShape } from "../ir/dim.js";
import { GraphBuilder, rootsOf, topological, type Graph, type Node, type Origin } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import { copyGraph, overImages, rebuild } from "../ir/map.js";
import { attempt, type Attempt, type Context, type Rule } from "./rule.js";
import type { Match } from "./pattern.js";

/** A rule that fits somewhere but was held back. */
export interface Refusal {
  readonly rule: string;
  readonly origin: Origin;
  readonly reason: string;
}

export interface Rewritten {
  readonly graph: Graph;
  /** How often each rule fired, in the order of the rules; rules that did not fire are left out. */
  readonly firings: ReadonlyMap<string, number>;
  /** What was held back in the resulting graph, in its order. */
  readonly refusals: readonly Refusal[];
}

/** Far above what any terminating rule set needs; reaching it means that two rules undo each other. */
const SWEEPS = 400;
const STEPS_AT_A_NODE = 64;

/** The graph at the fixed point of `rules`, its nodes numbered densely. Throws a CompilerBug if they never settle. */
export function rewrite(graph: Graph, rules: readonly Rule[]): Rewritten {
  const rewriter = new Rewriter(rules);
  let current = copyGraph(graph, rewriter.builder);
  let sweeps = 0;
  for (;;) {
    const next = rewriter.sweep(current);
    if (next === current) break;
    current = next;
    invariant(++sweeps < SWEEPS, `rewriting ends; still firing: ${[...rewriter.lastFired].join(", ")}`);
  }
  const alive = topological(rootsOf(current));
  const refusals = alive.flatMap((node) => [...(rewriter.refusals.get(node)?.values() ?? [])]);
  const order = rules.map((r) => r.name);
  const firings = new Map([...rewriter.firings].sort(([x], [y]) => order.indexOf(x) - order.indexOf(y)));
  return { graph: copyGraph(current, new GraphBuilder()), firings, refusals };
}

class Rewriter {
  readonly builder = new GraphBuilder();
  readonly firings = new Map<string, number>();
  readonly refusals = new Map<Node, Map<Rule, Refusal>>();
  lastFired = new Set<string>();
  /** What context-free rules make of a node in the end: nodes do not change, so it stays so. */
  readonly #settled = new Map<Node, Node>();
  readonly #local: ReadonlyMap<string, readonly Rule[]>;
  readonly #contextual: ReadonlyMap<string, readonly Rule[]>;

  constructor(rules: readonly Rule[]) {
    this.#local = byRoot(rules.filter((r) => !r.context));
    this.#contextual = byRoot(rules.filter((r) => r.context));
  }

  /** One pass over the graph; the same graph when nothing fired. */
  sweep(graph: Graph): Graph {
    this.lastFired = new Set();
    const order = topological(rootsOf(graph));
    const context = contextOf(graph, order, this.builder);
    const image = new Map<Node, Node>();
    let changed = false;
    for (const node of order) {
      const now = this.#settle(this.#contextually(node, context, image) ?? this.#rebuilt(node, image), context);
      image.set(node, now);
      changed ||= now !== node;
    }
    return changed ? overImages(graph, (node) => image.get(node) ?? node) : graph;
  }

  /** `node` over the images of its inputs. */
  #rebuilt(node: Node, image: ReadonlyMap<Node, Node>): Node {
    const inputs = node.inputs.map((input) => {
      const found = image.get(input);
      invariant(found, "inputs come before users");
      return found;
    });
    return inputs.every((input, i) => input === node.inputs[i]) ? node : rebuild(this.builder, node, inputs);
  }

  #contextually(node: Node, context: Context, image: ReadonlyMap<Node, Node>): Node | undefined {
    for (const candidate of this.#contextual.get(node.op) ?? []) {
      const match = this.#take(candidate, node, attempt(candidate, node, context));
      if (!match) continue;
      const nodes = new Map([...match.nodes].map(([name, n]) => [name, image.get(n) ?? n] as const));
      const built = this.#fire(candidate, node, { ...match, nodes }, context);
      if (built) return built;
    }
    return undefined;
  }

  /** Context-free rules at `node`, at new nodes below it, and at what they gave, until none fires. */
  #settle(node: Node, context: Context): Node {
    const known = this.#settled.get(node);
    if (known) return known;
    let now = node;
    for (let step = 0; ; step++) {
      invariant(
        step < STEPS_AT_A_NODE, `rules come to rest at a node; still firing: ${[...this.lastFired].join(", ")}`
      );
      const inputs = now.inputs.map((input) => this.#settle(input, context));
      if (inputs.some((input, i) => input !== now.inputs[i])) now = rebuild(this.builder, now, inputs);
      const next = this.#settled.get(now) ?? this.#once(now, context) ?? now;
      if (next === now) break;
      now = next;
    }
    this.#settled.set(node, now).set(now, now);
    return now;
  }

  #once(node: Node, context: Context): Node | undefined {
    for (const candidate of this.#local.get(node.op) ?? []) {
      const match = this.#take(candidate, node, attempt(candidate, node, context));
      const built = match && this.#fire(candidate, node, match, context);
      if (built) return built;
    }
    return undefined;
  }

  /** The match of a successful attempt; keeps account of refusals. */
  #take(candidate: Rule, node: Node, result: Attempt): Match | undefined {
    const known = this.refusals.get(node);
    if (result.kind === "refused") {
      const refusal = { rule: candidate.name, origin: node.origin, reason: result.reason };
      this.refusals.set(node, new Map(known).set(candidate, refusal));
    } else {
      known?.delete(candidate);
    }
    return result.kind === "fits" ? result.match : undefined;
  }

  #fire(candidate: Rule, root: Node, match: Match, context: Context): Node | undefined {
    const built = candidate.build(makeOps(this.builder, root.origin), match, context);
    if (!built || built === root) return undefined;
    invariant(
      sameShape(built.shape, root.shape) && built.dtype === root.dtype,
      `rule ${candidate.name} keeps the type ${root.dtype} ${showShape(root.shape)}, not ${built.dtype} ` +
        `${showShape(built.shape)}`,
    );
    this.firings.set(candidate.name, (this.firings.get(candidate.name) ?? 0) + 1);
    this.lastFired.add(candidate.name);
    return built;
  }
}

function byRoot(rules: readonly Rule[]): ReadonlyMap<string, readonly Rule[]> {
  const table = new Map<string, Rule[]>();
  for (const r of rules) {
    for (const op of new Set(r.patterns.map((p) => p.op))) table.set(op, [...(table.get(op) ?? []), r]);
  }
  return table;
}

function contextOf(graph: Graph, order: readonly Node[], builder: GraphBuilder): Context {
  const roots = new Set(rootsOf(graph));
  let table: ReadonlyMap<Node, readonly Node[]> | undefined;
  return {
    users: (node) => (table ??= usersOf(order)).get(node) ?? [],
    isRoot: (node) => roots.has(node),
    opsAt: (node) => makeOps(builder, node.origin),
  };
}

function usersOf(order: readonly Node[]): ReadonlyMap<Node, readonly Node[]> {
  const users = new Map<Node, Node[]>();
  for (const node of order) {
    for (const [i, input] of node.inputs.entries()) {
      if (node.inputs.indexOf(input) < i) continue;
      const known = users.get(input);
      if (known) known.push(node);
      else users.set(input, [node]);
    }
  }
  return users;
}
