/**
 * @file Runs compiled graphs and models on one adapter, beside the interpreter. SwiftShader unless DEITC_ADAPTER names
 * another; calls are validated, accesses bounded, storage starts as NaN.
 */
import { resolve } from "node:path";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { loadProgram, type SourceHost } from "../dsl/resolve.js";
import { nodeHost } from "../compiler/cli/host.js";
import { evalDim, type Dim, type Shape } from "../compiler/ir/dim.js";
import type { Graph, Node } from "../compiler/ir/graph.js";
import { language } from "../compiler/index.js";
import { interpret } from "../compiler/inspect/interpret.js";
import type { Tensor } from "../compiler/ir/op.js";
import { unit } from "../compiler/ops/samples.js";
import {
  compileGraph, compileModel, graphManifest, type Compiled, type CompiledGraph, type CompileOptions,
} from "../compiler/pipeline.js";
import { chooseFamily, type Device } from "../runtime/device.js";
import type { FamilyName, Manifest } from "../runtime/manifest.js";
import { load, openDevice } from "../runtime/node/index.js";
import type { ModuleDefinition } from "../runtime/artifact.js";
import type { Session } from "../runtime/session.js";
import type { GPUComputePipeline } from "../runtime/webgpu.js";

/** The adapter of tests: the embedded one, which every clone has, unless DEITC_ADAPTER names another. */
export const openTestDevice = async (): Promise<Device> =>
  remembering(await openDevice({ checked: true, adapter: process.env["DEITC_ADAPTER"] ?? "swiftshader" }));

/** The adapter as programs get it: nothing is checked, and memory is handed out with what was in it before. */
export const openUncheckedDevice = async (): Promise<Device> =>
  remembering(await openDevice({ adapter: process.env["DEITC_ADAPTER"] ?? "swiftshader" }));

/**
 * A device that keeps its pipelines: Dawn gives one out again for the same kernel as long as it is there. It compiles
 * them on the calling thread: while others compile, Dawn's binding asks without a pause whether they are done, which
 * on a software adapter costs as much again, and the tests have a process for each core as it is.
 */
function remembering(device: Device): Device {
  const { gpu } = device;
  const kept: GPUComputePipeline[] = [];
  gpu.createComputePipelineAsync = async (descriptor) => {
    const pipeline = await device.scoped(descriptor.label ?? "a kernel", () => gpu.createComputePipeline(descriptor));
    kept.push(pipeline);
    return pipeline;
  };
  return device;
}

/** Fills memory of many sizes with large numbers and frees it, for what is allocated next. */
export async function soil(device: Device): Promise<void> {
  const sizes = Array.from({ length: 160 }, (_, i) => 16 * Math.round(1.07 ** (i % 80) * (1 + (i % 7))));
  const buffers = sizes.map((size) => device.gpu.createBuffer({ size, usage: 0x8 | 0x80 }));
  for (const buffer of buffers) {
    device.gpu.queue.writeBuffer(buffer, 0, new Float32Array(buffer.size / 4).fill(1234.5));
  }
  await device.gpu.queue.onSubmittedWorkDone();
  for (const buffer of buffers) buffer.destroy();
}

/** Numbers by input name and by parameter path. */
export interface Feeds {
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly parameters: ReadonlyMap<string, Tensor>;
}

/** What is run: shader texts and the manifest that orders them. */
export interface Module {
  readonly manifest: Manifest;
  readonly wgsl: ReadonlyMap<string, string>;
}

export const shapeAt = (shape: Shape, batch: number): number[] => shape.map((d) => evalDim(d, batch));
const sizeAt = (shape: readonly Dim[], batch: number): number => shape.reduce((n, d) => n * evalDim(d, batch), 1);

/** A seed for a name. */
export const seedOf = (name: string): number =>
  [...name].reduce((h, c) => Math.imul(h ^ c.charCodeAt(0), 0x01000193), 0x811c9dc5) >>> 0;

/** Numbers in [low, high) for a leaf, whole for i32, 0 or 1 for bool; the name and the position decide. */
export function drawn(node: Node, name: string, batch: number, low = -2, high = 2): Tensor {
  const shape = shapeAt(node.shape, batch);
  const [length, seed] = [sizeAt(node.shape, batch), seedOf(name)];
  const value = (_: unknown, i: number): number => low + (high - low) * unit(seed, i);
  if (node.dtype === "f32") return { shape, data: Float32Array.from({ length }, value) };
  if (node.dtype === "bool") return { shape, data: Int32Array.from({ length }, (_, i) => Number(unit(seed, i) < 0.5)) };
  return { shape, data: Int32Array.from({ length }, (_, i) => Math.floor(value(_, i))) };
}

/** Numbers for every input and parameter of a graph. @param ranges by name; [-2, 2) for the others. */
export function feedsOf(
  graph: Graph, batch: number, ranges: Readonly<Record<string, readonly [number, number]>> = {},
): Feeds {
  const tensors = (nodes: Iterable<readonly [string, Node]>): Map<string, Tensor> =>
    new Map([...nodes].map(([name, node]) => [name, drawn(node, name, batch, ...(ranges[name] ?? []))]));
  return {
    inputs: tensors(graph.inputs),
    parameters: tensors([...graph.parameters].map(([path, p]) => [path, p.node] as const)),
  };
}

/** Why `device` cannot run `module` as `family`; undefined when it can. */
export function obstacleOf(device: Device, module: Module, family: FamilyName): string | undefined {
  try {
    chooseFamily(device, module.manifest, family);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The families that `device` runs `module` with. */
export const familiesOn = (device: Device, module: Module): readonly FamilyName[] =>
  Object.keys(module.manifest.families).filter((family) => obstacleOf(device, module, family) === undefined);

/** A module on the test's device. Destroy it. */
export function openSession(
  device: Device, module: Module, family: FamilyName, batch: number, parameters: Feeds["parameters"],
): Promise<Session> {
  const weights = new Map([...parameters].map(([path, t]) => [path, Float32Array.from(t.data)]));
  return load(sourceOf(module), { device, family, batch, weights, poison: true });
}

/**
 * A kernel without its comments, which name the model or the recipe: the device knows it again when it has compiled it
 * for another one, and a software adapter takes its time over each.
 */
export const bare = (wgsl: string): string => wgsl.replace(/^\s*\/\/.*\n/gmu, "");

/** A module as its generated code would hand it to the runtime. */
export const sourceOf = ({ manifest, wgsl }: Module): ModuleDefinition => ({
  manifest,
  wgsl(family, kernel) {
    const text = wgsl.get(`${family}/${kernel}`);
    if (text === undefined) return Promise.reject(new Error(`no text of ${family}/${kernel}`));
    return Promise.resolve(bare(text));
  },
});

export type Results = ReadonlyMap<string, Float32Array | Int32Array>;

/** The outputs of one call. */
export async function runModule(
  device: Device, module: Module, family: FamilyName, batch: number, feeds: Feeds,
): Promise<Results> {
  const session = await openSession(device, module, family, batch, feeds.parameters);
  try {
    return await inferWith(session, feeds);
  } finally {
    session.destroy();
  }
}

export async function inferWith(session: Session, feeds: Feeds): Promise<Results> {
  const numbers = (t: Tensor): Float32Array | Int32Array =>
    t.data instanceof Float64Array ? Float32Array.from(t.data) : t.data;
  const inputs = Object.fromEntries([...feeds.inputs].map(([name, t]) => [name, numbers(t)]));
  return new Map(Object.entries(await session.infer(inputs)));
}

/** The graph's outputs by the interpreter, rounding each op to f32 unless told otherwise. */
export const expected = (
  graph: Graph, batch: number, feeds: Feeds, precision: "f32" | "f64" = "f32",
): ReadonlyMap<string, Tensor> => interpret(graph, { batch, ...feeds, precision }).outputs;

/** A graph as a module. */
export function moduleOf(
  graph: Graph, title = "test", options: Omit<CompileOptions, "overrides"> = {},
): Module & { compiled: CompiledGraph } {
  const compiled = compileGraph(graph, title, { verify: true, ...options });
  return { compiled, manifest: graphManifest(title, compiled), wgsl: compiled.wgsl };
}

/** A model of a file, with the other files it imports. @throws Error with the rendered diagnostics. */
export const compileFile = (file: string, target?: string, options: CompileOptions = {}): Compiled =>
  compileEntry(file, nodeHost(resolve("models")), target, options);

/** A model given as text. It may import shipped models. @throws Error with the rendered diagnostics. */
export function compileText(text: string, target?: string, options: CompileOptions = {}): Compiled {
  const host = nodeHost(resolve("models"));
  const entry = "entry.deit";
  return compileEntry(entry, {
    resolve: (from, path) => from === undefined ? { path: entry } : host.resolve(from, path),
    read: (path) => path === entry ? { text } : host.read(path),
  }, target, options);
}

function compileEntry(path: string, host: SourceHost, target: string | undefined, options: CompileOptions): Compiled {
  const { program, diagnostics } = loadProgram(path, host, language());
  if (!program || diagnostics.length > 0) throw new Error(renderDiagnostics(diagnostics));
  const made = compileModel(program, target, { verify: true, ...options });
  if (!made.compiled) throw new Error(renderDiagnostics(made.diagnostics));
  return made.compiled;
}

/**
 * Greatest difference over the greatest finite magnitude expected (0.1 at least: what cancels to nearly nothing keeps
 * the error of what it was made from). Infinite where something was not written, is NaN or infinite alone, or has
 * another length.
 */
export function errorOf(got: ArrayLike<number> | undefined, want: ArrayLike<number>): number {
  if (got?.length !== want.length) return Infinity;
  let [difference, size] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    const [g, w] = [got[i] ?? NaN, want[i] ?? NaN];
    if (Number.isFinite(w)) size = Math.max(size, Math.abs(w));
    if (Object.is(g, w) || g === w) continue;
    const d = Math.abs(g - w);
    difference = Math.max(difference, Number.isNaN(d) ? Infinity : d);
  }
  return difference / Math.max(size, 0.1);
}

/** Lines on every output that differs by more than `tolerance`: empty when all agree. */
export function disagreements(got: Results, want: ReadonlyMap<string, Tensor>, tolerance: number): string[] {
  return [...want].flatMap(([name, { data }]) => {
    const found = got.get(name);
    const error = errorOf(found, data);
    if (error <= tolerance) return [];
    const at = [...data].findIndex((w, i) => !(Math.abs((found?.[i] ?? NaN) - w) <= tolerance * Math.max(1, Math.abs(w))));
    return [`${name}: error ${error.toExponential(2)}, at ${at} ${found?.[at]} for ${data[at]} (of ${data.length})`];
  });
}
