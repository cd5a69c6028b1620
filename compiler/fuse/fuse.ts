/**
 * @file Decides which tensors are stored; everything else is computed inside the kernel that needs it.
 *
 * A kernel is what pulling one element of a stored tensor meets. It is legal when that is a plain expression (`map`),
 * folds over one set of axes (`row`), or one contraction or attention with an expression behind it:
 *
 *     x ── matmul ── + bias ── gelu ── [stored]         one `contraction` kernel, the rest its epilogue
 *     x ── mean ─ sub ─ square ─ mean ─ … ── [stored]   one `row` kernel, three passes over a row
 *
 * The algorithm starts from the outputs and stores nothing else. Where a kernel is not legal it stores one tensor more
 * and tries again; each such step is kept with its reason, for `explain`.
 */
import { anchorKindOf } from "../kinds/index.js";
import { distinctAnchors, type AnchorWalk } from "./anchors.js";
import { at1, sizeOf, type Dim } from "../ir/dim.js";
import { topological, type Graph, type Node } from "../ir/graph.js";
import { isComputed, variable, variablesOf } from "../ir/indices.js";
import { invariant } from "../ir/invariant.js";
import { lastingIn } from "./lasting.js";
import { asView } from "./operands.js";
import type { OpRecord } from "../ir/op.js";
import { absorb } from "./absorb.js";
import { inOrder, type FusedKernel, type Fusion } from "./fusion.js";
import { overwritesOf } from "./places.js";
import { Puller, type PulledAnchor } from "./pull.js";

interface FuseOptions {
  readonly records: ReadonlyMap<string, OpRecord>;
  /** Storage buffers a kernel may bind, its output included. */
  readonly maxBindings: number;
  /** Whether a next value may be expected to be written onto its parameter, so that they share a binding. */
  readonly overwrite: boolean;
  /** False: every op is a kernel of its own (`--no-fuse`). */
  readonly enabled: boolean;
  /** Whether a kernel may store what others need beside its own result. */
  readonly joins: boolean;
}

/** Work in multiplications above which a value is not computed twice. */
const RECOMPUTE_LIMIT = 6;
const MAX_MEMBERS = 160;
const PICKED = "its elements are picked by numbers that the kernel would have to load";

export function fuse(graph: Graph, options: FuseOptions): Fusion {
  return new Fuser(graph, options).run();
}

class Fuser {
  readonly #stored = new Set<Node>();
  readonly #kernels = new Map<Node, FusedKernel>();
  readonly #refusals = new Map<Node, string>();
  readonly #consumers = new Map<Node, Node[]>();
  readonly #costs = new Map<Node, number>();
  /** Outputs, and updates but those that are another parameter as it is. */
  readonly #roots: readonly Node[];

  constructor(
    readonly graph: Graph,
    readonly options: FuseOptions,
  ) {
    const updates = [...graph.updates.values()].filter((node) => this.#record(node).kind !== "leaf");
    this.#roots = [...graph.outputs.values(), ...updates];
    invariant(this.#roots.every((n) => !this.#record(n).pack), "a pack is read by kernels, it is no output itself");
  }

  run(): Fusion {
    const nodes = topological(this.#roots);
    for (const node of nodes) for (const input of new Set(node.inputs)) this.#consumersOf(input).push(node);
    for (const root of this.#roots) this.#stored.add(root);
    nodes.forEach((node) => this.#storeShared(node));
    if (this.options.enabled) this.#storeLasting(nodes);
    for (;;) {
      this.#build();
      if (!this.#storeRecomputed(nodes)) break;
    }
    if (this.options.enabled && this.options.joins) {
      absorb(this.#kernels, {
        roots: new Set(this.#roots), records: this.options.records, maxBindings: this.options.maxBindings,
        overwrites: this.options.overwrite ? overwritesOf(this.graph) : new Map(),
        attempt: (root, inside) => {
          const made = this.#attempt(root, new Set([...this.#stored].filter((n) => !inside.has(n))));
          return "root" in made ? made : undefined;
        },
      });
    }
    const kernels = this.#ordered();
    const refusals = [...this.#refusals].filter(([n]) => this.#kernels.has(n))
      .map(([node, reason]) => ({ node, reason }));
    return { kernels, refusals };
  }

  /** A contraction with several consumers, or any op when fusion is off, is stored from the start. */
  #storeShared(node: Node): void {
    const record = this.#record(node);
    const anchor = record.kind === "contraction" || record.kind === "fused";
    if (record.kind === "leaf") return;
    if (record.pack) for (const part of [node, ...node.inputs]) this.#stored.add(part);
    else if (record.name === "result") this.#stored.add(node);
    if (anchor) for (const input of node.inputs) this.#storeOperand(input);
    if (record.pack || record.name === "result") return;
    if (!this.options.enabled && !record.pull) this.#store(node, "fusion is off");
    else if (this.#carriesAnchor(node) && this.#consumersOf(node).length > 1) {
      const users = this.#consumersOf(node).map((c) => c.op).join(", ");
      if (anchor || !this.#record(node).pull) this.#store(node, `several consumers need it (${users})`);
      else this.#store(this.#beneathViews(node), `several consumers need it (${users})`);
    }
  }

  /** What parameters alone decide is computed once, before the first run, where a run reads it. */
  #storeLasting(nodes: readonly Node[]): void {
    const isLasting = lastingIn(this.graph);
    const isRead = (node: Node): boolean => this.#consumersOf(node).some((user) =>
      !isLasting(user) || (this.#record(user).kind === "movement" && isRead(user)));
    for (const node of nodes) {
      const { kind } = this.#record(node);
      const computed = kind === "elementwise" || kind === "reduction";
      if (computed && isLasting(node) && isRead(node)) this.#store(node, "it is computed once, from parameters alone");
    }
  }

  /** An operand that is no view of something stored has to be stored, whatever else becomes of it. */
  #storeOperand(input: Node): void {
    const node = this.#beneathViews(input);
    const { kind } = this.#record(node);
    if (kind !== "elementwise" && kind !== "reduction") return;
    this.#store(node, "a contraction reads its operands many times");
  }

  /** Whether pulling `node` meets a contraction that is not stored. */
  #carriesAnchor(node: Node): boolean {
    if (this.#stored.has(node)) return false;
    const kind = this.#record(node).kind;
    if (kind === "contraction" || kind === "fused") return true;
    if (kind !== "elementwise" && kind !== "movement") return false;
    return node.inputs.some((input) => this.#carriesAnchor(input));
  }

  /** What a chain of views looks at: that is what gets stored, the views cost nothing. */
  #beneathViews(node: Node): Node {
    let below = node;
    while (this.#record(below).kind === "movement" && below.inputs.length === 1 && !this.#stored.has(below)) {
      below = below.inputs[0] as Node; // its length is 1
    }
    return this.#record(below).kind === "leaf" ? node : below;
  }

  #store(node: Node, reason: string): void {
    if (this.#stored.has(node)) return;
    this.#stored.add(node);
    this.#refusals.set(node, reason);
  }

  /** Builds a kernel for every stored tensor in reach, storing more where one is not legal. */
  #build(): void {
    this.#kernels.clear();
    const work = this.#roots.filter((n) => !this.#isBareLeaf(n));
    let budget = 100_000;
    while (work.length > 0) {
      invariant(budget-- > 0, "fusion ends");
      const root = work.pop() as Node; // the loop condition holds
      if (this.#kernels.has(root)) continue;
      const record = this.#record(root);
      if (record.pack) work.push(...root.inputs);
      // Another result of a kernel that its first one brings.
      if (record.pack || record.name === "result") continue;
      const result = this.#attempt(root);
      if ("store" in result) {
        invariant(!this.#stored.has(result.store),
          `storing ${result.store.op} %${result.store.id} is new (${result.reason})`);
        this.#store(result.store, result.reason);
        work.push(root);
        // Kernels already built may have computed that tensor themselves.
        for (const [other, kernel] of [...this.#kernels]) {
          if (!kernel.members.includes(result.store) || other === result.store) continue;
          this.#kernels.delete(other);
          work.push(other);
        }
        continue;
      }
      this.#kernels.set(root, result);
      for (const read of result.reads) if (this.#stored.has(read)) work.push(read);
    }
  }

  #isBareLeaf(node: Node): boolean {
    const record = this.#record(node);
    return record.kind === "leaf" && !record.pull && !this.#roots.includes(node);
  }

  /** Stores what several kernels would compute for themselves at a cost. True when it changed something. */
  #storeRecomputed(nodes: readonly Node[]): boolean {
    const users = new Map<Node, Set<FusedKernel>>();
    for (const kernel of this.#kernels.values()) {
      for (const member of kernel.members) {
        if (member === kernel.root) continue;
        const set = users.get(member) ?? new Set();
        users.set(member, set.add(kernel));
      }
    }
    const shared = (n: Node): boolean => {
      const kernels = users.get(n);
      if (!kernels || this.#stored.has(n) || this.#record(n).kind === "movement") return false;
      return kernels.size + (this.#kernels.has(n) ? 1 : 0) > 1 && this.#cost(n) > RECOMPUTE_LIMIT;
    };
    const chosen = nodes.filter((n) => shared(n) && !this.#consumersOf(n).every((c) => shared(c)));
    for (const node of chosen) this.#store(node, "several kernels need it and it is not cheap");
    return chosen.length > 0;
  }

  /** The kernel that stores `root`, or the one tensor more that has to be stored first. */
  #attempt(root: Node, stored: ReadonlySet<Node> = this.#stored): FusedKernel | { store: Node; reason: string } {
    const puller = new Puller(this.options.records, stored, root);
    const at = root.shape.map((size, axis) => variable(`c${axis}`, size));
    puller.pull(root, at);
    const members = [...puller.members].sort((x, y) => x.id - y.id);
    const reads = [...puller.reads].sort((x, y) => x.id - y.id);
    const refuse = (store: Node | undefined, reason: string): { store: Node; reason: string } => {
      invariant(store && store !== root,
        `a kernel for ${root.op} %${root.id} (${root.origin.path}) can be made: ${reason}`);
      return { store, reason };
    };
    const anchors = distinctAnchors(puller.anchors);
    const [anchor] = anchors;
    if (anchors.length > 1 && anchor) {
      // The largest keeps its epilogue; the others are stored with as much of theirs as they can.
      const sorted = [...anchors].sort((x, y) => this.#flops(x.node) - this.#flops(y.node) || x.node.id - y.node.id);
      const least = (sorted.find((a) => a.node !== root) as PulledAnchor).node; // two anchors: one is not the root
      return refuse(this.#highestLegal(least, root), "a kernel holds one contraction");
    }
    if (anchor) {
      const legal = this.#withAnchor(root, anchor, puller, stored);
      if (typeof legal === "string") return refuse(this.#highestLegal(anchor.node, root), legal);
      if ("operand" in legal) {
        return refuse(this.#operandToStore(legal.operand), "a contraction reads its operands many times");
      }
      const all = <T extends Node>(own: readonly T[], more: ReadonlySet<T>): T[] =>
        [...new Set([...own, ...more])].sort((x, y) => x.id - y.id);
      const { operands, ...walk } = legal;
      return { ...walk, root, anchor: anchor.node, readTwice: reads.filter((node) => operands.reads.has(node)),
        members: all(members, operands.members), reads: all(reads, operands.reads) };
    }
    const blown = this.#blownUp(root, members, puller);
    if (blown) return refuse(blown, "it is smaller than what it is broadcast to, and not cheap");
    if (reads.length + 1 > this.options.maxBindings) {
      return refuse(this.#splitReads(root, members), `a kernel binds at most ${this.options.maxBindings} buffers`);
    }
    if (members.length > MAX_MEMBERS) {
      return refuse(this.#middle(members, root), `a kernel computes at most ${MAX_MEMBERS} nodes`);
    }
    if (puller.folds.length === 0) {
      return { kind: "map", root, batchAxes: [], rowAxes: root.shape.map((_, i) => i), colAxes: [], members, reads };
    }
    return this.#withFolds(root, puller, members, reads, refuse);
  }

  #withFolds(
    root: Node, puller: Puller, members: readonly Node[], reads: readonly Node[],
    refuse: (store: Node | undefined, reason: string) => { store: Node; reason: string },
  ): FusedKernel | { store: Node; reason: string } {
    const axisOf = (name: string): number => Number(name.slice(1));
    const rows = new Set<number>();
    for (const { node, at } of puller.folds) {
      if (at.some(isComputed)) return refuse(node, PICKED);
      for (const name of at.flatMap((i) => [...variablesOf(i)])) {
        if (name.startsWith("f")) return refuse(node, "a fold inside a fold is stored first");
        rows.add(axisOf(name));
      }
    }
    const rowAxes = [...rows].sort((x, y) => x - y);
    const rowCount = sizeOf(rowAxes.map((a) => root.shape[a] as Dim)); // axes of the root
    for (const { node, fold } of puller.folds) {
      const input = node.inputs[0] as Node; // reductions have one input
      const work = at1(rowCount) * fold.variables.reduce((n, v) => n * at1(v.size), 1);
      if (work > 1.5 * at1(sizeOf(input.shape))) {
        if (node !== root) return refuse(node, "the fold would be repeated");
      }
    }
    const colAxes = root.shape.map((_, i) => i).filter((i) => !rows.has(i));
    return { kind: "row", root, batchAxes: [], rowAxes, colAxes, members, reads };
  }

  /** How the axes of `root` are walked around its anchor; a reason when they cannot be; the operand that is no view. */
  #withAnchor(
    root: Node, anchor: PulledAnchor, puller: Puller, stored: ReadonlySet<Node>,
  ): (AnchorWalk & { kind: string; operands: Puller }) | string | { operand: Node } {
    const record = this.#record(anchor.node);
    if (puller.folds.length > 0) return "a fold needs the whole row of the contraction's result";
    if (anchor.at.some(isComputed)) return PICKED;
    if (puller.members.size > MAX_MEMBERS) return `a kernel computes at most ${MAX_MEMBERS} nodes`;
    const reader = new Puller(this.options.records, stored, undefined);
    const kind = anchorKindOf(record);
    const operands = kind.operands(record, anchor, (input, where) =>
      reader.pull(anchor.node.inputs[input] as Node, where)); // an op has the inputs it reads
    for (const [i, operand] of operands.entries()) {
      if (!asView(operand)) return { operand: anchor.node.inputs[i] as Node };
    }
    // Two operands and the result at least, and room for one result more.
    const own = Math.max(4, reader.reads.size + 1 + anchor.node.extra.length);
    if (puller.reads.size + own > this.options.maxBindings && anchor.node !== root) {
      return `a kernel binds at most ${this.options.maxBindings} buffers`;
    }
    const walk = kind.walk(record, root, anchor, operands);
    return typeof walk === "string" ? walk : { ...walk, kind: kind.name, operands: reader };
  }

  /** Between `anchor` and `root`: the node farthest from the anchor that can be a kernel of its own. */
  #highestLegal(anchor: Node, root: Node): Node {
    let best = anchor;
    let node = anchor;
    for (;;) {
      const consumers = this.#consumersOf(node);
      const next = consumers[0];
      if (consumers.length !== 1 || !next || next === root || this.#stored.has(next)) break;
      node = next;
      if (this.#record(node).kind === "movement") continue; // a view is no reason to go on, what follows it may be
      if (this.#record(node).kind !== "elementwise") break;
      const tried = this.#attempt(node);
      if (!("root" in tried) || tried.anchor !== anchor) break;
      best = node;
    }
    return best;
  }

  /** The tensor to store so that a contraction can read its operand as a view. */
  #operandToStore(operand: Node): Node {
    const node = this.#beneathViews(operand);
    return this.#stored.has(node) ? operand : node;
  }

  /** A member far smaller than the root, not of row size in a fold kernel, and worth storing. */
  #blownUp(root: Node, members: readonly Node[], puller: Puller): Node | undefined {
    if (puller.folds.length > 0) return undefined;
    const whole = at1(sizeOf(root.shape));
    return members.findLast((n) => n !== root && !this.#stored.has(n) && this.#record(n).kind === "elementwise"
      && at1(sizeOf(n.shape)) * 8 <= whole && this.#cost(n) > RECOMPUTE_LIMIT);
  }

  /** The member that takes most reads with it without reading too many itself. */
  #splitReads(root: Node, members: readonly Node[]): Node | undefined {
    let best: Node | undefined;
    let most = 1;
    for (const member of members) {
      if (member === root || this.#record(member).kind === "leaf") continue;
      const reads = new Puller(this.options.records, this.#stored, member);
      reads.pull(member, member.shape.map((size, axis) => variable(`c${axis}`, size)));
      if (reads.reads.size > most && reads.reads.size + 1 <= this.options.maxBindings) {
        [best, most] = [member, reads.reads.size];
      }
    }
    return best;
  }

  #middle(members: readonly Node[], root: Node): Node | undefined {
    const half = Math.floor(members.length / 2);
    return members.slice(half).find((n) => n !== root && !this.#stored.has(n) && this.#record(n).kind === "elementwise")
      ?? members.find((n) => n !== root && this.#record(n).kind !== "leaf");
  }

  /** Multiplications to compute one element of `node` from stored tensors. */
  #cost(node: Node): number {
    const known = this.#costs.get(node);
    if (known !== undefined) return known;
    const record = this.#record(node);
    const inputs = node.inputs.reduce((n, i) => n + (this.#stored.has(i) ? 0 : this.#cost(i)), 0);
    const own = record.kind === "elementwise" ? (record.cost ?? 1)
      : record.kind === "movement" || record.kind === "leaf" ? 0 : 1e6;
    const cost = own + inputs;
    this.#costs.set(node, cost);
    return cost;
  }

  #flops(node: Node): number {
    const record = this.#record(node);
    return at1(anchorKindOf(record).flops(record, node));
  }

  /** In order of their roots, each with the further results of its anchor that others read. */
  #ordered(): FusedKernel[] {
    const results = new Set([...this.#kernels.values()].flatMap((k) => k.reads.filter((n) => n.op === "result")));
    const made = [...this.#kernels.values()].map((kernel): FusedKernel => {
      const own = [...results].filter((n) => n.inputs[0] === kernel.anchor);
      for (const node of own) results.delete(node);
      return own.length > 0 ? { ...kernel, also: [...own.map((node) => ({ node })), ...(kernel.also ?? [])] } : kernel;
    });
    invariant(results.size === 0, "further results come from the kernel of the first");
    return inOrder(made, this.options.records);
  }

  #record(node: Node): OpRecord {
    const record = this.options.records.get(node.op);
    invariant(record, `op ${node.op} has a record`);
    return record;
  }

  #consumersOf(node: Node): Node[] {
    let list = this.#consumers.get(node);
    if (!list) this.#consumers.set(node, (list = []));
    return list;
  }
}
