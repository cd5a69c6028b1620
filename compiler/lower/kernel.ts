/**
 * @file A kernel ready to be planned: its text, what it binds, how much it does.
 */
import { addDim, dim, evalDim, invariantMul, sizeOf, type Dim, type Shape } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { writtenBy, type FusedKernel } from "../fuse/fusion.js";
import { linearize, substitute } from "../ir/indices.js";
import { Puller } from "../fuse/pull.js";
import type { Index, Value } from "../ir/value.js";
import { wgslStorage } from "../ops/elementwise.js";
import type { OpRecord } from "../ir/op.js";
import type { FamilyName } from "../../runtime/manifest.js";
import type { Bindings } from "./text.js";
import type { Grid, KernelText } from "../targets/template.js";

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

/** What a lowering needs to know besides the kernel. */
export interface LowerContext {
  readonly family: FamilyName;
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

/** Puts bindings, override, functions and entry point around a kernel's text. */
export function assemble(
  fused: FusedKernel, text: KernelText, bindings: Bindings, functions: ReadonlyMap<string, string>,
  context: LowerContext,
): LoweredKernel {
  const list = bindings.list();
  const lines: string[] = [...text.enables];
  list.forEach(({ name, node, vector }, i) => {
    lines.push(
      `@group(0) @binding(${i}) var<storage, read> ${name}: array<${vector ? "vec4f" : wgslStorage(node.dtype)}>;`,
    );
  });
  const writes = writtenBy(fused);
  writes.forEach((node, i) => {
    const [binding, name] = [list.length + i, i === 0 ? OUTPUT : further(i - 1)];
    lines.push(`@group(0) @binding(${binding}) var<storage, read_write> ${name}: array<${wgslStorage(node.dtype)}>;`);
  });
  const needsBatch = /\bB\b/.test(text.body + text.declarations + [...functions.values()].join());
  if (needsBatch) lines.push("override B: i32;");
  for (const name of [...functions.keys()].sort()) lines.push(functions.get(name) as string); // listed by its own keys
  if (text.declarations) lines.push(text.declarations);
  const builtins = [
    "@builtin(workgroup_id) wid: vec3u", "@builtin(num_workgroups) nwg: vec3u",
    "@builtin(local_invocation_index) lid: u32",
    ...(text.builtins ?? []),
  ];
  lines.push(
    `@compute @workgroup_size(${text.workgroupSize})`, `fn main(${builtins.join(", ")}) {`, indent(text.body), "}",
  );
  const features = text.enables.flatMap((e) => /^enable (\w+)/.exec(e)?.slice(1) ?? [])
    .map((f) => f.replace("f16", "shader-f16"));
  return {
    fused,
    wgsl: lines.join("\n") + "\n",
    workgroupSize: text.workgroupSize,
    workgroupBytes: workgroupBytes(text.declarations),
    features,
    ...(features.includes("subgroups") ? { subgroup: context.family === "wide" ? 8 : 4 } : {}),
    reads: list.map((b) => b.node),
    writes,
    grid: text.grid,
    flops: flopsOf(fused, context),
    bytes: bytesOf(fused),
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

/** Bytes of `var<workgroup>` arrays, read off the declarations. */
function workgroupBytes(declarations: string): number {
  const width: Record<string, number> = { f32: 4, i32: 4, u32: 4, vec4f: 16, "vec4<f32>": 16, vec2f: 8 };
  let bytes = 0;
  for (const [, type, count] of declarations.matchAll(
    /var<workgroup>\s+\w+\s*:\s*array<\s*([\w<>]+)\s*,\s*([\d\s*+]+)\s*>/g,
  )) {
    bytes += (width[type ?? ""] ?? 4) * (count ?? "0").split("*").map(Number).reduce((x, y) => x * y, 1);
  }
  return bytes;
}

/** Multiplications and additions, two for each of a contraction's products. */
function flopsOf(fused: FusedKernel, { records }: LowerContext): Dim {
  return fused.members.reduce((total, node) => {
    const record = records.get(node.op);
    const elements = sizeOf(node.shape);
    if (record?.contract) return addDim(total, scale(elements, record.contract.depth(node), 2));
    if (record?.attendBack) {
      // Five products of queries, keys and columns; the part with the scores is computed twice.
      const { queries, keys, width, parts, partAxis } = record.attendBack;
      const each = parts(node) === "queries" ? 3 : parts(node) === "keys" ? 4 : 7;
      const batch = sizeOf(node.shape.slice(0, -2).filter((_, axis) => axis !== partAxis(node)));
      const products = [queries(node), keys(node), width(node)].reduce((total, d) => scale(total, d, 1), batch);
      return addDim(total, scale(products, dim(1), 2 * each));
    }
    if (record?.attend) {
      const pairs = scale(elements, record.attend.keys(node), 2);
      const columns = node.shape[node.shape.length - 1] ?? dim(1);
      const width = record.attend.width(node);
      const ratio = 1 + evalDim(width, 1) / Math.max(1, evalDim(columns, 1));
      return addDim(total, { b: Math.round(pairs.b * ratio), c: Math.round(pairs.c * ratio) });
    }
    if (record?.kind === "elementwise") return addDim(total, elements);
    if (record?.kind === "reduction") {
      return addDim(total, sizeOf((node.inputs[0] as Node).shape)); // reductions have one input
    }
    return total;
  }, dim(0));
}

function scale(x: Dim, y: Dim, factor: number): Dim {
  const product = invariantMul(x, y.b !== 0 && x.b !== 0 ? dim(y.b + y.c) : y);
  return { b: product.b * factor, c: product.c * factor };
}

/** Bytes read once and written once. */
function bytesOf(fused: FusedKernel): Dim {
  const sizes: Shape[] = [...fused.reads, ...writtenBy(fused)].map((n) => n.shape);
  return sizes.reduce<Dim>((total, shape) => addDim(total, scale(sizeOf(shape), dim(1), 4)), dim(0));
}
