/** @file The lines of a picture: which kernel reads what another wrote, where repeated blocks are drawn once. */
import type { Folded } from "./fold.js";
import type { Kernel, Network, Source } from "./network.js";

/** `to` reads what `from` wrote. Both are drawn. */
export interface Read {
  readonly from: Source;
  readonly to: Kernel;
  /** What `to` itself reads: `from`, or the kernel of another block that `from` stands for. */
  readonly source: Source;
  /** There is another way from one to the other, through other kernels: a residual connection. */
  readonly skips: boolean;
}

/**
 * Every line once. The way from a block of a run to the next is left out, and so is what would lead back to an earlier
 * kernel: a later run may read each block of an earlier one, in the opposite order.
 */
export function readsOf(network: Network, folded: Folded, order: ReadonlyMap<Kernel, number>): Read[] {
  const found = new Map<Kernel, Map<Source, Source>>();
  const placeOf = (source: Source): number => (typeof source === "string" ? -1 : order.get(source) ?? 0);
  for (const kernel of network.kernels) {
    const to = folded.standsFor(kernel);
    const sources = found.get(to) ?? new Map<Source, Source>();
    for (const source of kernel.sources) {
      // Another block's input is either this one's as well, or stands for one like it.
      if (typeof source === "string" ? kernel !== to : folded.isLoop(source, kernel)) continue;
      const from = typeof source === "string" ? source : folded.standsFor(source);
      if (placeOf(from) < placeOf(to) && !sources.has(from)) sources.set(from, source);
    }
    found.set(to, sources);
  }
  const leadsTo = (from: Source, to: Kernel): boolean => {
    // Backwards from what `to` reads, to no kernel before `from`.
    const seen = new Set<Source>();
    const queue: Source[] = [...(found.get(to)?.keys() ?? [])].filter((source) => source !== from);
    for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
      if (at === from) return true;
      if (seen.has(at) || placeOf(at) <= placeOf(from) || typeof at === "string") continue;
      seen.add(at);
      queue.push(...(found.get(at)?.keys() ?? []));
    }
    return false;
  };
  return [...found].flatMap(([to, sources]) =>
    [...sources].map(([from, source]) => ({ from, to, source, skips: leadsTo(from, to) })));
}
