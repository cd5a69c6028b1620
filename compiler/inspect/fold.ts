/**
 * @file The boxes of a picture: kernels by the modules in their paths, and runs of equal blocks folded into one.
 *
 * A box holds kernels that run one after the other, so that no path through the graph leaves it and comes back. Blocks
 * are folded where their paths count on (`blocks.0`, `blocks.1`, …), what they compute is equal, each reads what the
 * one before it wrote, and the rest of the graph cannot tell them apart but by their order.
 */
import type { Kernel, Network, Source } from "./network.js";

/** A module. */
export interface Box {
  /** `blocks.0` */
  readonly path: string;
  readonly items: readonly Item[];
  /** Where it stands for several: their paths, and how many kernels have other constants from block to block. */
  readonly repeated?: { readonly paths: readonly string[]; readonly varying: number };
}
export type Item = Kernel | Box;

export const isBox = (item: Item): item is Box => "items" in item;

export interface Folded {
  readonly items: readonly Item[];
  /** The kernel that is drawn for one that is not. */
  standsFor(kernel: Kernel): Kernel;
  /** Whether `reader` is in the block after that of `source`, in a run that is drawn as one. */
  isLoop(source: Kernel, reader: Kernel): boolean;
}

/** Kernels of other modules that a box may hold between its own: what is written to a shared place for it. */
const MOST_GUESTS = 2;

export function fold(network: Network): Folded {
  return new Folding(network).run();
}

/** Before folding: every segment of a path is a box. */
interface Module {
  readonly path: string;
  readonly segment: string;
  readonly items: readonly (Kernel | Module)[];
  /** In an order that equal blocks share, whichever of two independent kernels runs first. */
  readonly kernels: readonly Kernel[];
}

class Folding {
  readonly #readers = new Map<Source, (Kernel | string)[]>();
  readonly #modules = new Map<string, Module[]>();
  /** Kernels that are not drawn → what is drawn for them, which may itself not be. */
  readonly #image = new Map<Kernel, Kernel>();
  /** Kernel → its block's place in each run that the block is in. */
  readonly #places = new Map<Kernel, { readonly run: object; readonly place: number }[]>();

  constructor(readonly network: Network) {
    for (const kernel of network.kernels) {
      for (const source of kernel.sources) this.#readers.set(source, [...(this.#readers.get(source) ?? []), kernel]);
    }
    for (const [kernel, names] of network.outputs) {
      this.#readers.set(kernel, [...(this.#readers.get(kernel) ?? []), ...names.map((name) => `output ${name}`)]);
    }
  }

  run(): Folded {
    const items = this.#itemsOf(this.#split(this.network.kernels, ""));
    const standsFor = (kernel: Kernel): Kernel => {
      const image = this.#image.get(kernel);
      return image ? standsFor(image) : kernel;
    };
    const isLoop = (source: Kernel, reader: Kernel): boolean => (this.#places.get(source) ?? []).some(
      ({ run, place }) => (this.#places.get(reader) ?? []).some((other) => other.run === run && other.place !== place));
    return { items, standsFor, isLoop };
  }

  // ---- Modules ----

  #split(kernels: readonly Kernel[], parent: string): (Kernel | Module)[] {
    const depth = parent === "" ? 0 : parent.split(".").length;
    const segmentOf = ({ path }: Kernel): string | undefined =>
      (parent === "" || path === parent || path.startsWith(`${parent}.`) ? path.split(".")[depth] : undefined);
    const items: (Kernel | Module)[] = [];
    for (let from = 0; from < kernels.length;) {
      const first = kernels[from] as Kernel; // the loop's condition
      const segment = segmentOf(first);
      let end = from + 1;
      for (let at = end; segment && at < kernels.length && at - end <= MOST_GUESTS; at++) {
        if (segmentOf(kernels[at] as Kernel) === segment) end = at + 1; // at is in the list
      }
      items.push(segment ? this.#module(kernels.slice(from, end), parent, segment) : first);
      from = end;
    }
    return items;
  }

  #module(kernels: readonly Kernel[], parent: string, segment: string): Module {
    const path = parent === "" ? segment : `${parent}.${segment}`;
    const module = { path, segment, kernels: inSharedOrder(kernels, path), items: this.#split(kernels, path) };
    this.#modules.set(path, [...(this.#modules.get(path) ?? []), module]);
    return module;
  }

  // ---- Runs ----

  #itemsOf(modules: readonly (Kernel | Module)[]): Item[] {
    const items: Item[] = [];
    for (let from = 0; from < modules.length;) {
      const first = modules[from] as Kernel | Module; // the loop's condition
      if (!("segment" in first)) {
        items.push(first);
        from += 1;
        continue;
      }
      const run = this.#runFrom(first, modules.slice(from + 1));
      items.push(...this.#boxOf(first, run));
      from += run.length;
    }
    return items;
  }

  /** A module as a box of its own where it holds more than one thing, or where it stands for several. */
  #boxOf(first: Module, run: readonly Module[]): readonly Item[] {
    run.forEach(({ kernels }, place) => kernels.forEach((kernel, i) => {
      if (place > 0) this.#image.set(kernel, first.kernels[i] as Kernel); // blocks of a run have as many kernels
      if (run.length > 1) this.#places.set(kernel, [...(this.#places.get(kernel) ?? []), { run, place }]);
    }));
    const items = this.#itemsOf(first.items);
    if (run.length === 1) return items.length === 1 ? items : [{ path: first.path, items }];
    const varying = first.kernels.filter((kernel, i) => run.some(({ kernels }) => kernels[i]?.name !== kernel.name));
    return [{ path: first.path, items, repeated: { paths: run.map(({ path }) => path), varying: varying.length } }];
  }

  /** The longest run of equal blocks that `first` begins, itself included. */
  #runFrom(first: Module, rest: readonly (Kernel | Module)[]): Module[] {
    const run = [first];
    let step: number | undefined;
    for (const next of rest) {
      const last = run[run.length - 1] as Module; // it has its first
      if (!("segment" in next)) break;
      const by = counted(last.segment, next.segment);
      if (by === undefined || (step !== undefined && by !== step) || !this.#follows(run, next)) break;
      step = by;
      run.push(next);
    }
    while (run.length > 1 && !this.#ends(run)) run.pop();
    return run;
  }

  #follows(run: readonly Module[], next: Module): boolean {
    const [before, last] = [run[run.length - 2], run[run.length - 1] as Module]; // it has its first
    if (this.#signature(last) !== this.#signature(next)) return false;
    const [had, has] = [outside(last), outside(next)];
    const sources = has.map((source) => this.#described(source, next, last));
    const links = sources.filter((source) => source.startsWith("previous"));
    const same = had.every((source, k) => {
      const [now, then] = [sources[k], this.#described(source, last, before)];
      return now === then || (before === undefined && now?.startsWith("previous"));
    });
    return links.length > 0 && same && (before === undefined || last.kernels.every((kernel, i) =>
      this.#readOutside(kernel, last, next).join() === this.#readOutside(before.kernels[i], before, last).join()));
  }

  /** Whether the last block is read by all that reads the others; more may read it, since the network goes on there. */
  #ends(run: readonly Module[]): boolean {
    const [before, last] = run.slice(-2) as [Module, Module]; // it has two at least
    return last.kernels.every((kernel, i) => {
      const readers = this.#readOutside(kernel, last);
      return this.#readOutside(before.kernels[i], before, last).every((reader) => readers.includes(reader));
    });
  }

  /** What is computed in a module, by what its kernels read of each other, and of how many tensors from outside. */
  #signature({ path, kernels }: Module): string {
    const others = outside({ kernels });
    const relative = (name: string): string => within(name, path);
    return kernels.map((kernel) => {
      const sources = kernel.sources.map((source) =>
        (typeof source !== "string" && kernels.includes(source)
          ? `own ${kernels.indexOf(source)}` : `outside ${others.indexOf(source)}`));
      return [relative(kernel.path), kernel.structure, ...sources, ...kernel.parameters.map(relative)].join("\n");
    }).join("\n\n");
  }

  /** A source by its place in the block before, in another part of the same block, or in the graph. */
  #described(source: Source, { path }: Module, previous: Module | undefined): string {
    if (typeof source === "string") {
      const readers = this.#readers.get(source) ?? [];
      const isOwn = readers.every((reader) => typeof reader !== "string" && this.#inTwin(reader, path) !== undefined);
      return isOwn ? "input of its own" : `input ${source}`;
    }
    const place = previous?.kernels.indexOf(source) ?? -1;
    if (place >= 0) return `previous ${place}`;
    return this.#inTwin(source, path) ?? `kernel ${source.id}`;
  }

  /** A block's backward pass is another module of the same path as its forward pass; it may read the next block's. */
  #inTwin(kernel: Kernel, path: string): string | undefined {
    for (const by of [0, 1, -1]) {
      const shifted = path.replace(/\d+$/u, (digits) => String(Number(digits) + by));
      const twins = this.#modules.get(shifted) ?? [];
      const which = twins.findIndex(({ kernels }) => kernels.includes(kernel));
      const others = twins[which]?.kernels.filter((other) => other.path === kernel.path);
      if (others) return `twin ${by}, ${which}: ${others.indexOf(kernel)} ${within(kernel.path, shifted)}`;
    }
    return undefined;
  }

  /** What reads a kernel outside its block and the next: modules of the block elsewhere, kernels, outputs. */
  #readOutside(kernel: Kernel | undefined, own: Module, next?: Module): string[] {
    const readers = (kernel && this.#readers.get(kernel)) ?? [];
    return [...new Set(readers.flatMap((reader) => {
      if (typeof reader === "string") return [reader];
      if (own.kernels.includes(reader) || next?.kernels.includes(reader)) return [];
      return [this.#inTwin(reader, own.path)?.split(":")[0] ?? `kernel ${reader.id}`];
    }))].sort();
  }
}

/** A path from a module on, or all of it. */
const within = (path: string, module: string): string =>
  (path === module || path.startsWith(`${module}.`) ? path.slice(module.length) : `/${path}`);

/** By the length of the way to a kernel inside the module, then by what it is. */
function inSharedOrder(kernels: readonly Kernel[], path: string): Kernel[] {
  const depths = new Map<Source, number>();
  for (const kernel of kernels) depths.set(kernel, 1 + Math.max(0, ...kernel.sources.map((s) => depths.get(s) ?? 0)));
  const keys = new Map(kernels.map((kernel) => [kernel, `${within(kernel.path, path)}\n${kernel.structure}`] as const));
  const order = (x: string | undefined = "", y: string | undefined = ""): number => (x < y ? -1 : x > y ? 1 : 0);
  return kernels.toSorted((x, y) =>
    (depths.get(x) ?? 0) - (depths.get(y) ?? 0) || order(keys.get(x), keys.get(y)) || x.id - y.id);
}

/** What the kernels read from elsewhere, each once. */
function outside({ kernels }: Pick<Module, "kernels">): Source[] {
  const sources = kernels.flatMap((kernel) => kernel.sources);
  return [...new Set(sources.filter((source) => typeof source === "string" || !kernels.includes(source)))];
}

/** 1 or -1 where two segments differ in their number alone and it counts up or down by one. */
function counted(before: string, after: string): number | undefined {
  const [was, is] = [before, after].map((segment) => /^(.*?)(\d+)$/u.exec(segment));
  if (!was || !is || was[1] !== is[1]) return undefined;
  const by = Number(is[2]) - Number(was[2]);
  return Math.abs(by) === 1 ? by : undefined;
}
