/**
 * @file What fusion makes: kernels, each with the tensors it stores and how their axes are walked.
 */
import type { Node } from "../ir/graph.js";
import type { OpRecord } from "../ir/op.js";
import type { Index } from "../ir/value.js";

/** One kernel: the stored tensor it makes, and how the axes of that tensor are walked. */
export interface FusedKernel {
  /** `map`: element by element; `row`: with folds; else the name of the kind of its anchor. */
  readonly kind: string;
  readonly root: Node;
  readonly anchor?: Node;
  /** Axes of the root: of the batch of a contraction, of its rows (or the rows of a fold), of its columns. */
  readonly batchAxes: readonly number[];
  readonly rowAxes: readonly number[];
  readonly colAxes: readonly number[];
  readonly partAxis?: number;
  /** What it stores besides its root. */
  readonly also?: readonly SideResult[];
  /** Everything computed inside, in topological order, the root last. */
  readonly members: readonly Node[];
  /** Stored tensors and leaves it reads. */
  readonly reads: readonly Node[];
  /** Those of them that the anchor reads and the epilogue as well: one as vectors, the other not, is two bindings. */
  readonly readTwice?: readonly Node[];
}

/** A tensor that a kernel computes on its way and stores as well. */
export interface SideResult {
  readonly node: Node;
  /** Its element that belongs to the root's at (c0, c1, …); none for a further result of the anchor. */
  readonly at?: readonly Index[];
}

/** A tensor stored although only one kernel consumes it, and why. */
export interface Refusal {
  readonly node: Node;
  readonly reason: string;
}

export interface Fusion {
  /** In execution order. */
  readonly kernels: readonly FusedKernel[];
  readonly refusals: readonly Refusal[];
}

/** A kernel is called by its contraction (`blocks.0.mlp.fc1`), else by the tensor it stores. */
export const pathOf = ({ anchor, root }: FusedKernel): string => (anchor ?? root).origin.path;

/** Tensors a kernel writes: its root, then what it stores besides. */
export const writtenBy = ({ root, also = [] }: FusedKernel): readonly Node[] =>
  [root, ...also.map(({ node }) => node)];

/**
 * Storage buffers a kernel binds at most. @param onto the parameter that a tensor is written onto, which may be read
 * through the same binding
 */
export function bindingsOf(kernel: FusedKernel, onto: (written: Node) => Node | undefined): number {
  const { reads, readTwice = [], anchor, also = [] } = kernel;
  const written = writtenBy(kernel);
  const shared = new Set(written.map(onto));
  // Further results of the anchor that others may ask for.
  const more = (anchor?.extra.length ?? 0) - also.filter(({ at }) => !at).length;
  return reads.filter((node) => !shared.has(node)).length + readTwice.length + written.length + more;
}

/** What kernels write, and the packs that some of it is a part of. */
export function storedBy(kernels: readonly FusedKernel[], records: ReadonlyMap<string, OpRecord>): ReadonlySet<Node> {
  const read = kernels.flatMap((k) => k.reads.filter((n) => records.get(n.op)?.kind === "opaque"));
  return new Set([...kernels.flatMap(writtenBy), ...read]);
}

/**
 * Kernels after those whose tensors they read, each as soon as the program has come to what it computes: a gradient is
 * made while what it is made of is at hand, wherever it is kept.
 */
export function inOrder(kernels: readonly FusedKernel[], records: ReadonlyMap<string, OpRecord>): FusedKernel[] {
  const maker = new Map(kernels.flatMap((k) => writtenBy(k).map((node) => [node, k] as const)));
  const moves = (node: Node): boolean => records.get(node.op)?.kind === "movement";
  const birth = new Map(kernels.map((k) => {
    const computed = k.members.filter((node) => !moves(node)).map((node) => node.id);
    return [k, computed.length > 0 ? Math.max(...computed) : k.root.id] as const;
  }));
  const made = new Set<FusedKernel>();
  const visit = (kernel: FusedKernel | undefined): void => {
    if (!kernel || made.has(kernel)) return;
    for (const read of kernel.reads) {
      const parts = records.get(read.op)?.pack ? read.inputs : [read];
      for (const part of parts) if (maker.get(part) !== kernel) visit(maker.get(part));
    }
    made.add(kernel);
  };
  const at = (kernel: FusedKernel): number => birth.get(kernel) ?? kernel.root.id;
  for (const kernel of [...kernels].sort((x, y) => at(x) - at(y) || x.root.id - y.root.id)) visit(kernel);
  return [...made];
}
