/**
 * @file Joins kernels that fusion has made, where one can store what several need:
 *
 *     mean ─┐                              a kernel that reads another's tensor at its own elements computes it itself,
 *     rstd ─┼─ normalized    one kernel    and stores it as well where others read it;
 *
 *     Σ dy ─ Σ dy·x          one kernel    sums of one shape over rows of one length are made in one walk.
 */
import { isOne, sameDim, sameShape, type Dim } from "../ir/dim.js";
import { bindingsOf, type FusedKernel, type SideResult } from "./fusion.js";
import type { Node } from "../ir/graph.js";
import { variable } from "../ir/indices.js";
import { Puller } from "./pull.js";
import type { OpRecord } from "../ir/op.js";
import type { Index } from "../ir/value.js";

interface AbsorbContext {
  /** Tensors that must be stored: outputs and updates. */
  readonly roots: ReadonlySet<Node>;
  readonly records: ReadonlyMap<string, OpRecord>;
  /** Storage buffers a kernel may bind. */
  readonly maxBindings: number;
  /** Next value → the parameter it is expected to be written onto: one binding for both. */
  readonly overwrites: ReadonlyMap<Node, Node>;
  /** The kernel of `root` that computes `inside` itself, or undefined if there is no such kernel. */
  attempt(root: Node, inside: ReadonlySet<Node>): FusedKernel | undefined;
}

/** Changes `kernels`, from their roots. */
export function absorb(kernels: Map<Node, FusedKernel>, context: AbsorbContext): void {
  new Absorber(kernels, context).run();
}

class Absorber {
  /** What each kernel computes itself although it is stored, by root. */
  readonly #inside = new Map<Node, ReadonlySet<Node>>();
  /** Kernels that read a tensor, parts of a pack included. */
  readonly #readers = new Map<Node, Set<FusedKernel>>();

  constructor(
    readonly kernels: Map<Node, FusedKernel>,
    readonly context: AbsorbContext,
  ) {
    for (const kernel of kernels.values()) this.#watch(kernel);
  }

  run(): void {
    const order = [...this.kernels.keys()].sort((x, y) => x.id - y.id);
    for (const root of order) while (this.kernels.has(root) && this.#absorbOne(root));
    this.#joinSums(order);
  }

  #watch(kernel: FusedKernel): void {
    for (const read of this.#readsOf(kernel)) {
      const set = this.#readers.get(read) ?? new Set();
      this.#readers.set(read, set.add(kernel));
    }
  }

  #forget(kernel: FusedKernel): void {
    for (const read of this.#readsOf(kernel)) this.#readers.get(read)?.delete(kernel);
  }

  /** Reading a pack is reading its parts. */
  #readsOf(kernel: FusedKernel): Node[] {
    return kernel.reads.flatMap((n) => (this.context.records.get(n.op)?.pack ? [n, ...n.inputs] : [n]));
  }

  /** Takes one kernel that `root`'s reads into it. */
  #absorbOne(root: Node): boolean {
    const kernel = this.kernels.get(root) as FusedKernel; // the caller has looked
    for (const read of kernel.reads) {
      const other = this.kernels.get(read);
      if (!other || other === kernel) continue;
      const joined = this.#joined(kernel, other);
      if (!joined) continue;
      this.#replace([kernel, other], joined.kernel);
      this.#inside.set(root, joined.inside);
      return true;
    }
    return false;
  }

  #replace(gone: readonly FusedKernel[], made: FusedKernel): void {
    for (const kernel of gone) {
      this.#forget(kernel);
      this.kernels.delete(kernel.root);
    }
    this.kernels.set(made.root, made);
    this.#watch(made);
  }

  /** `kernel` computing what `other` stores; undefined where it cannot. */
  #joined(kernel: FusedKernel, other: FusedKernel): { kernel: FusedKernel; inside: ReadonlySet<Node> } | undefined {
    const { root } = kernel;
    const made = [other.root, ...(other.also ?? []).map(({ node }) => node)];
    const needed = made.filter((node) => this.context.roots.has(node) || this.#othersRead(node, [kernel, other]));
    // Who else reads it has to come later.
    const readers = needed.flatMap((n) => [...(this.#readers.get(n) ?? [])]);
    const early = readers.some((k) => k !== kernel && k.root.id < root.id);
    if (early || (other.also ?? []).some(({ at }) => !at)) return undefined;
    const inside = new Set([...(this.#inside.get(root) ?? []), ...(this.#inside.get(other.root) ?? []), ...made]);
    const again = this.context.attempt(root, inside);
    if (!again || again.reads.some((n) => n.id >= root.id)) return undefined;
    const stays = [...(kernel.also ?? []).map(({ node }) => node), ...needed];
    const also = stays.map((node) => this.#side(again, node, inside));
    if (also.some((side) => !side)) return undefined;
    const joined = { ...again, also: also as SideResult[] }; // none is missing
    return this.#binds(joined) ? { kernel: joined, inside } : undefined;
  }

  /** Whether what the kernel reads and writes can be bound. */
  #binds(kernel: FusedKernel): boolean {
    const { overwrites, maxBindings } = this.context;
    return bindingsOf(kernel, (node) => overwrites.get(node)) <= maxBindings;
  }

  #othersRead(node: Node, known: readonly FusedKernel[]): boolean {
    return [...(this.#readers.get(node) ?? [])].some((k) => !known.includes(k));
  }

  /** Where the elements of `node` are met when those of the kernel's root are computed, each once. */
  #side(kernel: FusedKernel, node: Node, inside: ReadonlySet<Node>): SideResult | undefined {
    const { root } = kernel;
    const stored = new Set([...kernel.reads].filter((n) => !inside.has(n)));
    const puller = new Puller(this.context.records, stored, root);
    puller.pull(root, root.shape.map((size, axis) => variable(`c${axis}`, size)));
    const at = puller.met.get(node)?.find((place) => isStorableBeside(node, place, kernel));
    return at && { node, at };
  }

  /** Joins sums over the same rows of the same shape, which are gradients of parameters as a rule. */
  #joinSums(order: readonly Node[]): void {
    const groups = new Map<string, FusedKernel[]>();
    for (const root of order) {
      const kernel = this.kernels.get(root);
      const key = kernel && sumKey(kernel, this.context.records);
      if (!kernel || key === undefined) continue;
      const group = groups.get(key) ?? [];
      groups.set(key, [...group, kernel]);
    }
    for (const group of groups.values()) {
      let [open, ...rest] = group as [FusedKernel, ...FusedKernel[]]; // groups have a member
      for (const next of rest) {
        const joined = this.#joinTwo(open, next);
        if (joined) this.#replace([open, next], joined);
        open = joined ?? next;
      }
    }
  }

  /** `later` storing what `earlier` does as well. */
  #joinTwo(earlier: FusedKernel, later: FusedKernel): FusedKernel | undefined {
    const made = [earlier.root, ...(earlier.also ?? []).map(({ node }) => node)];
    const tooLate = made.some((n) => [...(this.#readers.get(n) ?? [])].some((k) => k.root.id <= later.root.id));
    const reads = [...new Set([...earlier.reads, ...later.reads])].sort((x, y) => x.id - y.id);
    const also: SideResult[] = [...(later.also ?? []), { node: earlier.root, at: own(earlier.root) },
      ...(earlier.also ?? [])];
    if (tooLate || !sameShape(earlier.root.shape, later.root.shape)) return undefined;
    if (also.some(({ at }) => !at)) return undefined;
    const members = [...new Set([...earlier.members, ...later.members])].sort((x, y) => x.id - y.id);
    const joined = { ...later, reads, members, also };
    return this.#binds(joined) ? joined : undefined;
  }
}

const own = (node: Node): Index[] => node.shape.map((size, axis) => variable(`c${axis}`, size));

/** A text by which kernels are sums of one shape over the same axes; undefined for other kernels. */
function sumKey(kernel: FusedKernel, records: ReadonlyMap<string, OpRecord>): string | undefined {
  const { root } = kernel;
  if (kernel.kind !== "row" || kernel.colAxes.some((axis) => !isOne(root.shape[axis] as Dim))) return undefined;
  const folds = kernel.members.filter((n) => records.get(n.op)?.kind === "reduction");
  const extents = folds.map((n) => JSON.stringify([n.inputs[0]?.shape, records.get(n.op)?.reduced?.(n.attrs).axes]));
  return new Set(extents).size === 1 ? JSON.stringify([root.shape, extents[0]]) : undefined;
}

/**
 * Whether `node`, read at `at` for the root's element (c0, c1, …), may be stored beside it. It may when walking the
 * root meets each element of `node` and none twice. That is so when
 *
 * - every axis of `node` is read at a coordinate of the root as it is (no sum, quotient, remainder, offset or factor),
 *   each at another one; an axis of one element may be read at 0 as well, but nowhere else: where a pad puts others
 *   around that element, the coordinate is 0 for one element of the root alone;
 * - the two axes have the same size. In a root that is longer, where a concatenation or a pad puts others behind the
 *   node's own, the coordinate runs past the end of the node's axis, into its next row; of one that is shorter, where a
 *   slice leaves some out, elements would not be stored at all. Whether the root's own element comes from `node` only
 *   under a condition does not matter then: each of the node's elements is computed for itself;
 * - every axis of the root is used, for a repeated element would be stored several times. In a `row` kernel what no
 *   column tells apart is stored once a row: then no column's axis is used.
 */
export function isStorableBeside(node: Node, at: readonly Index[], kernel: Walk): boolean {
  const { root, kind, rowAxes, colAxes } = kernel;
  const used = new Set<number>();
  for (const [axis, index] of at.entries()) {
    const size = node.shape[axis] as Dim; // one coordinate an axis
    if (isOne(size) && isZero(index)) continue;
    const name = variableOf(index);
    const own = root.shape.findIndex((d, i) => name === `c${i}` && sameDim(d, size));
    if (own < 0 || used.has(own)) return false;
    used.add(own);
  }
  const needs = (axes: readonly number[]): boolean =>
    axes.every((axis) => isOne(root.shape[axis] as Dim) || used.has(axis)); // axes of the root
  if (kind !== "row") return needs(root.shape.map((_, axis) => axis));
  return needs(rowAxes) && (needs(colAxes) || colAxes.every((axis) => !used.has(axis)));
}

type Walk = Pick<FusedKernel, "root" | "kind" | "rowAxes" | "colAxes">;

const isZero = ({ terms, constant }: Index): boolean => terms.length === 0 && constant.b === 0 && constant.c === 0;

/** Name of the variable that an index is, without factor or offset. */
function variableOf({ terms: [term, more], constant }: Index): string | undefined {
  if (!term || more || term.atom.kind !== "variable" || !isOne(term.coefficient)) return undefined;
  return constant.b === 0 && constant.c === 0 ? term.atom.name : undefined;
}
