/**
 * @file Compares a random program with the interpreter: its outputs, its gradients, and the next values of its buffers.
 */
import { resolve } from "node:path";
import { makeOps } from "../../compiler/ir/build.js";
import { nodeHost } from "../../compiler/cli/host.js";
import { differentiate } from "../../compiler/train/differentiate.js";
import { elaborateModel } from "../../compiler/elaborate/index.js";
import { sizeOf } from "../../compiler/ir/dim.js";
import type { Graph, Node } from "../../compiler/ir/graph.js";
import { language } from "../../compiler/index.js";
import { interpret, type RandomSource } from "../../compiler/inspect/interpret.js";
import type { Ops, Tensor } from "../../compiler/ir/op.js";
import { OPS } from "../../compiler/ops/index.js";
import { LANE_GRAIN } from "../../compiler/ops/lanes.js";
import { compileGraph, graphManifest } from "../../compiler/pipeline.js";
import { prepareForward, RANDOM } from "../../compiler/train/forward.js";
import { reopen } from "../../compiler/train/open.js";
import { renderDiagnostics } from "../../dsl/diagnostics.js";
import { loadProgram, type SourceHost } from "../../dsl/resolve.js";
import type { Device } from "../../runtime/device.js";
import type { FamilyName } from "../../runtime/manifest.js";
import { errorOf, feedsOf, inferWith, openSession, type Feeds } from "../harness.js";
import { runOnMachine } from "./machine.js";
import { textOf, type RandomProgram } from "./program.js";
import { GRADIENT, slopeFault } from "./slope.js";

/** What is compiled of a program. */
export interface Way {
  /** The outputs alone, or the gradients of everything as well. */
  readonly gradient: boolean;
  readonly fuse: boolean;
}
export const WAYS: readonly Way[] =
  [true, false].flatMap((fuse) => [false, true].map((gradient): Way => ({ gradient, fuse })));

/** A program's graph with the numbers it runs on, and what the interpreter makes of them. */
export interface Expectation {
  readonly graph: Graph;
  readonly feeds: Feeds;
  /** Outputs, and next values as `next PATH`, in float64. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Greatest error that passes, by name: more where float32 itself is far from float64. */
  readonly tolerance: ReadonlyMap<string, number>;
  /** How the gradients differ from the slope of the loss, if they do. */
  readonly slope?: string;
}

/** Differences of rounding are some 1e-6, a wrong element is rarely below 1e-2. */
const TOLERANCE = 1e-4;
/** Rounding of another order may be so many times that of the interpreter's. */
const SLACK = 30;
/** Runs that measure the error of float32 where a result seems wrong. */
const SAMPLES = 8;
/** Where float32 is so far off, nothing is to be learnt. */
const HOPELESS = 1e-2;
/** What makes gradients other than the slope on purpose. */
const STOPPED = /\bstop_gradient\b/;

/** The host of one text beside the shipped models. */
function hostOf(text: string): SourceHost {
  const host = nodeHost(resolve("models"));
  return {
    resolve: (from, path) => (from === undefined ? { path: "entry.deit" } : host.resolve(from, path)),
    read: (path) => (path === "entry.deit" ? { text } : host.read(path)),
  };
}

/** The graph of a text. @throws Error with the diagnostics of one that is not sound */
export function graphOf(text: string, training: boolean): Graph {
  const { program, diagnostics } = loadProgram("entry.deit", hostOf(text), language());
  if (!program || diagnostics.length > 0) throw new Error(renderDiagnostics(diagnostics));
  const made = elaborateModel(program, undefined, { training, ops: OPS });
  if (!made.model) throw new Error(renderDiagnostics(made.diagnostics));
  return made.model.graph;
}

/**
 * The graph with the gradients of Σ mean(output²) by its f32 inputs and parameters as further outputs, and the norm of
 * those by parameters, which are put side by side for it as a training step does.
 */
export function withGradients(graph: Graph): Graph {
  const open = reopen(graph);
  const ops = makeOps(open.builder, { path: "loss" });
  const reals = [...open.graph.outputs.values()].filter((node) => node.dtype === "f32");
  const terms = reals.map((node) => ops.call("mean", [ops.call("mul", [node, node])]));
  const [first, ...more] = terms;
  if (!first) return graph;
  const loss = more.reduce((sum, term) => ops.call("add", [sum, term]), first);
  const parameters = [...open.graph.parameters].filter(([, p]) => p.trained).map(([path, p]) => [path, p.node] as const);
  const by = [...parameters, ...open.graph.inputs].filter(([name, { dtype }]) => dtype === "f32" && !name.startsWith(RANDOM));
  const { gradients, faults } = differentiate(open.builder, loss, by.map(([, node]) => node));
  if (faults.length > 0) return graph;
  const outputs = new Map([...open.graph.outputs, ...by.map(([name], i) => [`${GRADIENT}${name}`, gradients[i] ?? loss] as const)]);
  if (parameters.length > 1) outputs.set("norm", ops.call("norm", [packed(ops, gradients.slice(0, parameters.length))]));
  return { ...open.graph, outputs };
}

/** Tensors without the batch side by side. */
function packed(ops: Ops, tensors: readonly Node[]): Node {
  let length = 0;
  const offsets = tensors.map(({ shape }) => {
    const start = length;
    length += Math.ceil(sizeOf(shape).c / LANE_GRAIN) * LANE_GRAIN;
    return start;
  });
  return ops.call("pack", tensors.map((x, part) => ops.call("place", [x], { part })), { offsets, length });
}

/**
 * What a program comes to. Compiled is what inference and training make of its graph; the interpreter runs the graph as
 * it is written.
 * @param samples numbers on which the error of float32 is measured, of which the greatest counts
 */
export function expectationOf(program: RandomProgram, gradient: boolean, samples = 1): Expectation {
  const written = graphOf(textOf(program), program.training);
  const prepared = gradient || program.training ? prepareForward(written) : written;
  const [graph, meant] = gradient ? [withGradients(prepared), withGradients(written)] : [prepared, written];
  const feeds = feedsOf(graph, program.batch, Object.fromEntries([
    ...[...graph.parameters.keys()].filter((path) => path.endsWith("running_var")).map((path) => [path, [0.5, 2]]),
    ...[...graph.inputs.keys()].filter((name) => name.startsWith(RANDOM)).map((name) => [name, [0, 1]]),
  ]));
  const random: RandomSource = (stream) => Float32Array.from(feeds.inputs.get(`${RANDOM}${String(stream)}`)?.data ?? []);
  const run = (precision: "f32" | "f64", { inputs, parameters }: Feeds): ReadonlyMap<string, Tensor> => {
    const { outputs, updates } = interpret(meant, { batch: program.batch, inputs, parameters, precision, random });
    return new Map([...outputs, ...[...updates].map(([path, tensor]) => [`next ${path}`, tensor] as const)]);
  };
  const tensors = run("f64", feeds);
  const pairs = Array.from({ length: samples }, (_, n) => {
    const near = n === 0 ? feeds : nudged(feeds, n);
    return { exact: n === 0 ? tensors : run("f64", near), rounded: run("f32", near) };
  });
  const tolerance = new Map([...tensors.keys()].map((name) => {
    const own = pairs.map(({ exact, rounded }) => errorOf(rounded.get(name)?.data, exact.get(name)?.data ?? []));
    const hopeless = own.some((error) => error > HOPELESS || Number.isNaN(error));
    return [name, hopeless ? Infinity : Math.max(TOLERANCE, ...own.map((error) => SLACK * error))];
  }));
  const smooth = gradient && !STOPPED.test(textOf(program)) && [...tolerance.values()].every(Number.isFinite);
  const slope = smooth ? slopeFault({ graph: written, batch: program.batch, feeds, random }, tensors) : undefined;
  return { graph, feeds, tensors, tolerance, ...(slope === undefined ? {} : { slope }) };
}

/** Real numbers a little off, which float32 rounds otherwise. */
function nudged({ inputs, parameters }: Feeds, n: number): Feeds {
  const all = (tensors: ReadonlyMap<string, Tensor>): Map<string, Tensor> =>
    new Map([...tensors].map(([name, tensor]) => [name, !(tensor.data instanceof Float32Array) ? tensor
      : { ...tensor, data: tensor.data.map((x) => x * (1 + n * 2 ** -16)) }]));
  return { inputs: all(inputs), parameters: all(parameters) };
}

/**
 * What is wrong with a result. Float32 may have been lucky in the one run that measured it, as where 1 − x cancels, so
 * what seems wrong is compared again with the error of several.
 */
export function faultsIn(
  program: RandomProgram, gradient: boolean, expectation: Expectation, got: (name: string) => ArrayLike<number> | undefined,
): readonly string[] {
  const faults = wrongIn(expectation, got);
  return faults.length === 0 ? faults : wrongIn(expectationOf(program, gradient, SAMPLES), got);
}

/** How a program is run: on the CPU by its plan, or by a family's kernels on a device. */
export type Engine = { readonly kind: "plan" } | { readonly kind: "device"; readonly device: Device; readonly family: FamilyName };

/** What is wrong with a program, a line each: nothing where it is right. A crash is a line as well. */
export async function faultsOf(
  program: RandomProgram, way: Way, engine: Engine, known?: Expectation,
): Promise<readonly string[]> {
  try {
    const expectation = known ?? expectationOf(program, way.gradient);
    const compiled = compileGraph(expectation.graph, "m", {
      without: way.fuse ? [] : ["fusion"], verify: true,
      targets: [engine.kind === "plan" ? "scalar" : engine.family],
    });
    const got = engine.kind === "plan"
      ? planResults(compiled, program.batch, expectation.feeds)
      : await deviceResults(compiled, program.batch, expectation.feeds, engine);
    return faultsIn(program, way.gradient, expectation, (name) => got.get(name));
  } catch (error) {
    return [error instanceof Error ? (error.stack ?? error.message) : String(error)];
  }
}

/** The tensors that are off, a line each. */
const wrongIn = (
  { tensors, tolerance, slope }: Expectation, got: (name: string) => ArrayLike<number> | undefined,
): readonly string[] => [...(slope === undefined ? [] : [slope]), ...[...tensors].flatMap(([name, { data }]) => {
  const error = errorOf(got(name), data);
  return error <= (tolerance.get(name) ?? 0) ? [] : [`${name} is off by ${error.toExponential(1)}`];
})];

/** The same by the plan on the CPU. */
export function planResults(
  compiled: ReturnType<typeof compileGraph>, batch: number, feeds: Feeds,
): ReadonlyMap<string, ArrayLike<number>> {
  const { outputs, parameters } = runOnMachine(compiled, batch, feeds);
  return new Map([...outputs, ...[...parameters].map(([path, data]) => [`next ${path}`, data] as const)]);
}

/** Outputs, and next values as `next PATH`, of a compiled graph on a device. */
export async function deviceResults(
  compiled: ReturnType<typeof compileGraph>, batch: number, feeds: Feeds,
  { device, family }: Extract<Engine, { kind: "device" }>,
): Promise<ReadonlyMap<string, ArrayLike<number>>> {
  const module = { manifest: graphManifest("m", compiled), wgsl: compiled.wgsl };
  const session = await openSession(device, module, family, batch, feeds.parameters);
  try {
    const outputs = await inferWith(session, feeds);
    const after = await session.readParameters();
    return new Map<string, ArrayLike<number>>(
      [...outputs, ...[...after].map(([path, data]) => [`next ${path}`, data] as const)]);
  } finally {
    session.destroy();
  }
}
