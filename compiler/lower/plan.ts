/**
 * @file From lowered kernels to a family of the manifest: which program a kernel belongs to, where every tensor lives,
 * and which kernels are one pipeline.
 *
 * Each slot is one GPU buffer. A tensor's slot is never among the buffers its kernel reads, because those tensors are
 * alive then, so no dispatch reads and writes one buffer; and Dawn, which tracks hazards by buffer, sees the real ones.
 */
import type { Copy, Family, KernelInfo, Ref, Size, SlotInfo, Step } from "../../runtime/manifest.js";
import { showShape } from "../ir/dim.js";
import { bytesOf, ELEMENT_TYPES, STORAGE_GRAIN, storageBytesOf } from "../ir/dtype.js";
import type { Graph, Node } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import { pathOf, type FusedKernel } from "../fuse/fusion.js";
import { changingParameters } from "../fuse/lasting.js";
import type { LoweredKernel } from "./kernel.js";
import { isOp, type OpRecord } from "../ir/op.js";
import { input, pathOf as parameterPath } from "../ops/leaves.js";
import type { Target } from "../targets/index.js";
import { NO_PLACES, type Places } from "../fuse/places.js";

export interface PlannedFamily {
  readonly family: Family;
  /** Kernel name → complete WGSL. */
  readonly wgsl: ReadonlyMap<string, string>;
  /** Slot of every stored tensor that is neither leaf nor output. */
  readonly slotOf: ReadonlyMap<Node, number>;
  /** The step of every kernel, in either program. */
  readonly stepOf: ReadonlyMap<FusedKernel, Step>;
}

interface PlanOptions {
  /** What the headers call the module, e.g. `deit_b (vit.deit)`. */
  readonly title: string;
  readonly records: ReadonlyMap<string, OpRecord>;
  readonly target: Target;
  /** Where next values of parameters go. None unless given. */
  readonly places?: Places;
}

export function plan(graph: Graph, lowered: readonly LoweredKernel[], options: PlanOptions): PlannedFamily {
  return new Planner(graph, lowered, options).run();
}

interface Slot {
  kind: SlotInfo["kind"];
  bytes: { b: number; c: number };
  tensors: string[];
}

class Planner {
  readonly #parameters: ReadonlyMap<string, number>;
  readonly #inputs: ReadonlyMap<string, number>;
  readonly #outputs = new Map<Node, number>();
  readonly #slots: Slot[] = [];
  readonly #slotOf = new Map<Node, number>();
  readonly #places: Places;
  /** Part of a pack → its place in there, in bytes. */
  readonly #packed = new Map<Node, { readonly pack: Node; readonly offset: number }>();
  /** Paths of parameters that a run changes. */
  readonly #changing: ReadonlySet<string>;

  constructor(
    readonly graph: Graph,
    readonly lowered: readonly LoweredKernel[],
    readonly options: PlanOptions,
  ) {
    this.#places = options.places ?? NO_PLACES;
    this.#changing = changingParameters(graph);
    this.#parameters = new Map([...graph.parameters.keys()].map((path, i) => [path, i]));
    this.#inputs = new Map([...graph.inputs.keys()].map((name, i) => [name, i]));
    [...graph.outputs.values()].forEach((node, i) => {
      if (!this.#outputs.has(node)) this.#outputs.set(node, i);
    });
  }

  run(): PlannedFamily {
    const [prepare, run] = this.#programs();
    for (const node of prepare.flatMap((k) => k.writes)) this.#slotOf.set(node, this.#newSlot("derived", node));
    for (const { reads } of run) reads.forEach((node) => this.#pack(node));
    this.#assign(run);
    const pipelines = this.#pipelines([...prepare, ...run]);
    const stepOf = new Map<FusedKernel, Step>();
    const steps = (kernels: readonly LoweredKernel[]): Step[] => kernels.map((k): Step => {
      const index = pipelines.of.get(k);
      invariant(index !== undefined, "every kernel has a pipeline");
      const step: Step = {
        kernel: index,
        bindings: [...k.reads.map((n) => this.#read(n)), ...k.writes.map((n) => this.#written(n))],
        grid: k.grid.map(({ dim, per }) => ({ size: dim, per })),
        path: pathOf(k.fused),
        flops: k.flops,
        bytes: k.bytes,
      };
      stepOf.set(k.fused, step);
      return step;
    });
    const slots = this.#slots.map(({ kind, bytes, tensors }): SlotInfo => ({ kind, bytes, tensors }));
    const copies = this.#places.copies.map(({ from, to }): Copy => ({
      from: this.#read(from), to: { kind: "parameter", index: known(this.#parameters, to) },
      bytes: bytesOf(from).c,
    }));
    const { rank, suits, requires } = this.options.target;
    const family: Family = {
      rank, suits, requires, kernels: pipelines.infos, slots,
      programs: { prepare: steps(prepare), run: steps(run) }, copies,
    };
    return { family, wgsl: pipelines.wgsl, slotOf: this.#slotOf, stepOf };
  }

  /** `prepare` holds what depends on parameters alone that a run does not change; outputs and updates excepted. */
  #programs(): [prepare: LoweredKernel[], run: LoweredKernel[]] {
    const derived = new Set<Node>();
    const prepare: LoweredKernel[] = [];
    const run: LoweredKernel[] = [];
    const lasting = (n: Node): boolean =>
      (n.op === "parameter" ? !this.#changing.has(parameterPath(n)) : derived.has(n));
    const updates = new Set(this.graph.updates.values());
    const packs = this.lowered.flatMap((k) => k.reads.filter((n) => this.#packing(n)));
    const parts = new Set(packs.flatMap((n) => n.inputs));
    for (const kernel of this.lowered) {
      const mayPrepare = (node: Node): boolean => node.shape.every((d) => d.b === 0)
        && !this.#outputs.has(node) && !updates.has(node) && !parts.has(node);
      if (kernel.reads.every(lasting) && kernel.writes.every(mayPrepare)) {
        for (const node of kernel.writes) derived.add(node);
        prepare.push(kernel);
      } else run.push(kernel);
    }
    return [prepare, run];
  }

  #packing(node: Node): readonly number[] | undefined {
    return this.options.records.get(node.op)?.pack?.(node);
  }

  /** A slot of its own for a tensor that others are parts of; what lies between them stays zero. */
  #pack(node: Node): void {
    const offsets = this.#slotOf.has(node) ? undefined : this.#packing(node);
    if (!offsets) return;
    this.#slotOf.set(node, this.#newSlot("packed", node));
    const { bytes } = ELEMENT_TYPES[node.dtype];
    node.inputs.forEach((part, i) => this.#packed.set(part, { pack: node, offset: bytes * (offsets[i] ?? 0) }));
  }

  /** Gives every activation a slot that is free from its kernel to its last reader. */
  #assign(kernels: readonly LoweredKernel[]): void {
    const last = new Map<Node, number>();
    kernels.forEach((k, step) => k.reads.forEach((n) => last.set(n, step)));
    for (const { from } of this.#places.copies) last.set(from, kernels.length);
    const free = new Set<number>();
    kernels.forEach((kernel, step) => {
      // What is read last by this kernel is freed after it has got its own slots.
      const unread: number[] = [];
      for (const node of kernel.writes) {
        if (this.#outputs.has(node) || this.#packed.has(node) || this.#places.inPlace.has(node)) continue;
        const slot = this.#takeSlot(node, free);
        this.#slotOf.set(node, slot);
        if (!last.has(node)) unread.push(slot);
      }
      for (const slot of unread) free.add(slot);
      for (const read of new Set(kernel.reads)) {
        const slot = this.#slotOf.get(read);
        if (slot !== undefined && last.get(read) === step && this.#slots[slot]?.kind === "activation") free.add(slot);
      }
    });
  }

  /** The free slot that fits best; else the largest free one, grown; else a new one. */
  #takeSlot(node: Node, free: Set<number>): number {
    const need = storageBytesOf(node);
    const total = (s: Size): number => s.b + s.c;
    const sorted = [...free].sort((x, y) => total(this.#at(x).bytes) - total(this.#at(y).bytes) || x - y);
    const fits = sorted.find((i) => this.#at(i).bytes.b >= need.b && total(this.#at(i).bytes) >= total(need));
    const chosen = fits ?? sorted[sorted.length - 1];
    if (chosen === undefined) return this.#newSlot("activation", node);
    const slot = this.#at(chosen);
    free.delete(chosen);
    slot.bytes = { b: Math.max(slot.bytes.b, need.b), c: Math.max(slot.bytes.c, need.c) };
    slot.tensors.push(nameOf(node));
    return chosen;
  }

  #newSlot(kind: Slot["kind"], node: Node): number {
    this.#slots.push({ kind, bytes: storageBytesOf(node), tensors: [nameOf(node)] });
    return this.#slots.length - 1;
  }

  #at(i: number): Slot {
    return this.#slots[i] as Slot; // slots are only ever added
  }

  #read(node: Node): Ref {
    const leaf = this.#leaf(node);
    return leaf ?? this.#written(node);
  }

  #leaf(node: Node): Ref | undefined {
    if (node.op === "parameter") return { kind: "parameter", index: known(this.#parameters, parameterPath(node)) };
    if (isOp(input, node)) return { kind: "input", index: known(this.#inputs, node.attrs.name) };
    return undefined;
  }

  #written(node: Node): Ref {
    const output = this.#outputs.get(node);
    if (output !== undefined) return { kind: "output", index: output };
    const onto = this.#places.inPlace.get(node);
    if (onto) return { kind: "parameter", index: known(this.#parameters, parameterPath(onto)) };
    const packed = this.#packed.get(node);
    if (packed) {
      const index = this.#slotOf.get(packed.pack);
      invariant(index !== undefined, "a pack has its slot before its parts");
      return { kind: "slot", index, offset: packed.offset, bytes: Math.max(STORAGE_GRAIN, storageBytesOf(node).c) };
    }
    const slot = this.#slotOf.get(node);
    invariant(slot !== undefined, `%${node.id} ${node.op} (${node.origin.path}) is stored`);
    return { kind: "slot", index: slot };
  }

  /** Equal texts are one pipeline, named after the first step that uses it. */
  #pipelines(
    kernels: readonly LoweredKernel[],
  ): { infos: KernelInfo[]; wgsl: Map<string, string>; of: Map<LoweredKernel, number> } {
    const groups = new Map<string, LoweredKernel[]>();
    for (const kernel of kernels) {
      const group = groups.get(kernel.wgsl);
      if (group) group.push(kernel);
      else groups.set(kernel.wgsl, [kernel]);
    }
    const infos: KernelInfo[] = [];
    const wgsl = new Map<string, string>();
    const of = new Map<LoweredKernel, number>();
    for (const [text, group] of groups) {
      const [first] = group as [LoweredKernel, ...LoweredKernel[]]; // groups start with one
      const base = kernelName(first);
      let name = base;
      for (let n = 2; wgsl.has(name); n++) name = `${base}_${n}`;
      for (const kernel of group) of.set(kernel, infos.length);
      infos.push({
        name,
        bindings: [...first.reads.map(() => "read" as const), ...first.writes.map(() => "read_write" as const)],
        workgroupSize: first.workgroupSize,
        workgroupBytes: first.workgroupBytes,
        features: first.features,
        ...(first.subgroup === undefined ? {} : { subgroup: first.subgroup }),
      });
      wgsl.set(name, `${this.#header(group)}${text}`);
    }
    return { infos, wgsl, of };
  }

  #header(group: readonly LoweredKernel[]): string {
    const [first] = group as [LoweredKernel, ...LoweredKernel[]]; // groups start with one
    const { root, members, anchor } = first.fused;
    const paths = group.map((kernel) => pathOf(kernel.fused));
    const more = paths.length > 3 ? ` and ${paths.length - 3} more` : "";
    const inputs = first.reads.map((n) => `${nameOf(n)} ${showShape(n.shape)}`).join(", ");
    const ops = members.map((n) => n.op).join(" ");
    const lines = [
      `${this.options.title}: ${paths.slice(0, 3).join(", ")}${more}`,
      `${anchor ? `${anchor.op} kernel` : `${first.fused.kind} kernel`} of ${ops}`,
      `${inputs} -> ${showShape(root.shape)}`,
      `${showSize(first.flops)} FLOP, ${showSize(first.bytes)} bytes`,
      ...(root.origin.span ? [sourceLine(root)] : []),
    ];
    return lines.map((l) => `// ${l.length > 400 ? `${l.slice(0, 397)}...` : l}\n`).join("");
  }
}

function known(map: ReadonlyMap<string, number>, name: string): number {
  const index = map.get(name);
  invariant(index !== undefined, `${name} is declared`);
  return index;
}

const nameOf = (node: Node): string => node.origin.path || (isOp(input, node) ? node.attrs.name : node.op);

/** `contraction_blocks.i.attn.qkv`: block numbers are left out, since blocks share kernels. */
function kernelName(kernel: LoweredKernel): string {
  const { fused } = kernel;
  const path = pathOf(fused).replace(/(^|\.)\d+(?=\.|$)/g, "$1i").replace(/[^\w.]+/g, "_");
  const what = fused.anchor ? fused.anchor.op : fused.kind;
  return path ? `${what}_${path}` : what;
}

const showSize = (s: Size): string => (s.b === 0 ? String(s.c) : s.c === 0 ? `${s.b}·B` : `${s.b}·B + ${s.c}`);

function sourceLine(node: Node): string {
  const span = node.origin.span;
  if (!span) return "";
  const before = span.source.text.slice(0, span.start);
  const line = before.split("\n").length;
  const text = span.source.text.slice(span.start, span.end).replace(/\s+/g, " ");
  const file = span.source.path.split(/[\\/]/).pop() ?? "";
  return `${file}:${line}  ${text}`;
}
