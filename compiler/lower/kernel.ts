/**
 * @file A kernel ready to be planned: its text, what it binds, how much it does.
 */
import { addDim, dim, type Dim } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { writtenBy, type FusedKernel } from "../fuse/fusion.js";
import { linearize, substitute } from "../ir/indices.js";
import { Puller } from "../fuse/pull.js";
import type { Index, Value } from "../ir/value.js";
import { bytesOf, ELEMENT_TYPES } from "../ir/dtype.js";
import type { OpRecord } from "../ir/op.js";
import type { Target } from "../targets/index.js";
import type { Bindings } from "./text.js";
import { FEATURES, WORKGROUP_BYTES, type Grid, type KernelText } from "../targets/template.js";

export interface LoweredKernel {
  readonly fused: FusedKernel;
  /** WGSL without the header comment: equal texts are one pipeline. */
  readonly wgsl: string;
  readonly workgroupSize: number;
  readonly workgroupBytes: number;
  readonly features: readonly string[];
  /** Fewest lanes of a subgroup it is right on; absent when it uses none. */
  readonly subgroup?: number;
  /** Tensors read, in binding order; what it writes comes after. */
  readonly reads: readonly Node[];
  /** Tensors written: the root, then further results. */
  readonly writes: readonly Node[];
  readonly grid: Grid;
  readonly flops: Dim;
  readonly bytes: Dim;
}

/** A kernel whose work was not counted yet. */
export type UncountedKernel = Omit<LoweredKernel, "flops">;

/** What a lowering needs to know besides the kernel. */
export interface LowerContext {
  readonly target: Target;
  readonly records: ReadonlyMap<string, OpRecord>;
  readonly stored: ReadonlySet<Node>;
  /** Stored tensor → the parameter it is written onto. */
  readonly inPlace: ReadonlyMap<Node, Node>;
}

/** Name of the output's variable in every kernel. */
export const OUTPUT = "result";
/** Name of the variable of further result `i`, counted from 0. */
export const further = (i: number): string => `${OUTPUT}${i + 1}`;

/** Follows values inside `fused`, which computes what it stores. */
export const pullerOf = (fused: FusedKernel, context: PullContext): Puller =>
  new Puller(context.records, storedOutside(fused, context), fused.root);

/** Follows what the anchor of `fused` reads: it computes views of its own results for itself, too. */
export const operandPullerOf = (fused: FusedKernel, context: PullContext): Puller =>
  new Puller(context.records, storedOutside(fused, context), undefined);

type PullContext = Pick<LowerContext, "records" | "stored">;

/** No kernel reads what it stores. */
function storedOutside(fused: FusedKernel, { stored }: PullContext): ReadonlySet<Node> {
  if (!fused.also) return stored;
  const own = new Set(writtenBy(fused));
  return new Set([...stored].filter((n) => !own.has(n)));
}

/** A tensor stored besides the root: its variable, the offset and the value of the element that is met at `at`. */
export interface Side {
  readonly buffer: string;
  readonly node: Node;
  readonly offset: Index;
  readonly value: Value;
}

/** What `fused` stores besides its root, where its root's element is at `at`. */
export function sidesOf({ also = [] }: FusedKernel, puller: Puller, at: readonly Index[]): readonly Side[] {
  const names = new Map(at.map((index, axis) => [`c${axis}`, index]));
  return also.flatMap(({ node, at: place }, i) => {
    if (!place) return []; // the anchor's own
    const here = place.map((index) => substitute(index, names));
    return [{ buffer: further(i), node, offset: linearize(here, node.shape), value: puller.pull(node, here) }];
  });
}

/** A conversion to f16 that is not stored as it is. */
const HALF = /\bf16\b/;

/**
 * Puts bindings, override, functions and entry point around a kernel's text.
 * @param vectors variables that it writes four elements of at once
 */
export function assemble(
  fused: FusedKernel, text: KernelText, bindings: Bindings, functions: ReadonlyMap<string, string>,
  vectors: ReadonlySet<string> = new Set(),
): UncountedKernel {
  const list = bindings.list();
  const texts = [text.body, text.declarations, ...functions.values()].join("\n");
  const usesHalf = [...list.map(({ node }) => node), ...writtenBy(fused)].some(({ dtype }) => dtype === "f16")
    || HALF.test(texts);
  const half = usesHalf ? ["shader-f16" as const] : [];
  const features = [...new Set<keyof typeof FEATURES>([...text.features, ...half])];
  const lines: string[] = features.map((feature) => FEATURES[feature]);
  list.forEach(({ name, node, vector }, i) => {
    const type = ELEMENT_TYPES[node.dtype];
    lines.push(`@group(0) @binding(${i}) var<storage, read> ${name}: array<${vector ? type.vector : type.storage}>;`);
  });
  const writes = writtenBy(fused);
  writes.forEach((node, i) => {
    const [binding, name] = [list.length + i, i === 0 ? OUTPUT : further(i - 1)];
    const { storage, vector } = ELEMENT_TYPES[node.dtype];
    const element = vectors.has(name) ? vector : storage;
    lines.push(`@group(0) @binding(${binding}) var<storage, read_write> ${name}: array<${element}>;`);
  });
  const needsBatch = /\bB\b/.test(texts);
  if (needsBatch) lines.push("override B: i32;");
  for (const name of [...functions.keys()].sort()) lines.push(functions.get(name) as string); // listed by its own keys
  for (const { name, type, length } of text.workgroupArrays) {
    lines.push(`var<workgroup> ${name}: array<${type}, ${length}>;`);
  }
  if (text.declarations) lines.push(text.declarations);
  const builtins = [
    "@builtin(workgroup_id) wid: vec3u", "@builtin(num_workgroups) nwg: vec3u",
    "@builtin(local_invocation_index) lid: u32",
    ...(text.builtins ?? []),
  ];
  lines.push(
    `@compute @workgroup_size(${text.workgroupSize})`, `fn main(${builtins.join(", ")}) {`, indent(text.body), "}",
  );
  return {
    fused,
    wgsl: lines.join("\n") + "\n",
    workgroupSize: text.workgroupSize,
    workgroupBytes: text.workgroupArrays.reduce((n, { type, length }) => n + WORKGROUP_BYTES[type] * length, 0),
    features,
    ...(text.lanes === undefined ? {} : { subgroup: text.lanes }),
    reads: list.map((b) => b.node),
    writes,
    grid: text.grid,
    bytes: bytesMoved(fused),
  };
}

/** Indents by brace depth, so that emitted kernels read well. */
function indent(body: string): string {
  let depth = 1;
  return body
    .split("\n")
    .map((raw) => {
      const line = raw.trim();
      if (line.startsWith("}")) depth--;
      const text = line ? "  ".repeat(Math.max(depth, 0)) + line : "";
      const opens = (line.match(/[{]/g) ?? []).length;
      const closes = (line.match(/[}]/g) ?? []).length - (line.startsWith("}") ? 1 : 0);
      depth += opens - closes;
      return text;
    })
    .join("\n");
}

/** Bytes read once and written once. */
const bytesMoved = (fused: FusedKernel): Dim =>
  [...fused.reads, ...writtenBy(fused)].map(bytesOf).reduce<Dim>(addDim, dim(0));
