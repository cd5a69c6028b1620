/** @file Compiled kernels against the interpreter, tensor by tensor, on an adapter. */
import type { Device } from "../../runtime/device.js";
import type { FamilyName, Manifest, ParameterInfo } from "../../runtime/manifest.js";
import type { Session } from "../../runtime/session.js";
import type { Graph, Node } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import type { Tensor } from "../ir/op.js";
import { OPTIMIZATIONS, type Optimization } from "../optimizations.js";
import type { Compiled } from "../pipeline.js";
import { randomInputs } from "./inputs.js";
import { moduleOf } from "./artifact.js";
import { loadOptions, type RunOptions } from "./model.js";
import { withLoading, withStatus } from "./progress.js";

/**
 * Greatest relative error (‖a − b‖ / ‖b‖) that passes: f32 rounding is some 2e-6 at the end of a deep model, a wrong
 * number is rarely below 1e-2.
 */
const TOLERANCE = 1e-4;
/** The same in f16, where a value near the middle of two may be rounded to either. */
const HALF_TOLERANCE = 5e-3;

/** How kernels are verified; what is not given is the default of `deitc verify`. */
interface VerifyOptions extends Partial<RunOptions> {
  readonly batch?: number;
  readonly family?: readonly FamilyName[];
  readonly tolerance?: number;
}

/** One tensor compared. */
interface Compared {
  readonly family: FamilyName;
  readonly tensor: string;
  readonly output: boolean;
  readonly maxAbs: number;
  /** ‖a − b‖ / ‖b‖, all elements. */
  readonly relative: number;
  readonly wrong: boolean;
}

export interface Verification {
  readonly model: string;
  readonly adapter: string;
  readonly tolerance: number;
  /** How many tensors are off by more. */
  readonly wrong: number;
  readonly tensors: readonly Compared[];
  /** Where some are: the smallest optimization without which none is, or none where that makes no difference. */
  readonly culprit?: Optimization | "none";
}

/** What it takes to compare one module. */
const isHalved = ({ precision }: VerifyOptions): boolean => precision === "f16";

interface Setting extends Required<Pick<VerifyOptions, "batch" | "tolerance">> {
  readonly device: Device;
  readonly seed: number;
  readonly options: VerifyOptions;
}

/** Verifies a model. @param compile it again without some optimizations: to find the one at fault */
export async function verifyOn(
  compiled: Compiled, compile: (without: readonly Optimization[]) => Promise<Compiled>, options: VerifyOptions,
): Promise<Verification> {
  const [{ openDevice }, { adapterName, chooseFamily }, { familyNamed }] = await Promise.all([
    import("../../runtime/node/adapters.js"), import("../../runtime/device.js"), import("../../runtime/families.js"),
  ]);
  const { batch = 1, tolerance = isHalved(options) ? HALF_TOLERANCE : TOLERANCE, seed = 0, adapter } = options;
  const device = await openDevice({ checked: true, ...(adapter === undefined ? {} : { adapter }) });
  const setting: Setting = { batch, tolerance, seed, device, options };
  try {
    const tensors: Compared[] = [];
    for (const family of options.family ?? [chooseFamily(device, compiled.manifest)]) {
      familyNamed(compiled.manifest, family);
      tensors.push(...await verifyFamily(compiled, family, setting));
    }
    const wrong = tensors.filter((tensor) => tensor.wrong);
    const [first] = wrong;
    const found = {
      model: compiled.manifest.name, adapter: adapterName(device.info), tolerance, wrong: wrong.length, tensors,
    };
    return first ? { ...found, culprit: await culpritOf(compile, first.family, setting) } : found;
  } finally {
    device.destroy();
  }
}

/** The smallest optimization without which the family's numbers are right. */
async function culpritOf(
  compile: (without: readonly Optimization[]) => Promise<Compiled>, family: FamilyName, setting: Setting,
): Promise<Optimization | "none"> {
  for (const name of OPTIMIZATIONS) {
    const again = await verifyFamily(await compile([name]), family, setting);
    if (again.every((tensor) => !tensor.wrong)) return name;
  }
  return "none";
}

async function verifyFamily(compiled: Compiled, family: FamilyName, setting: Setting): Promise<Compared[]> {
  const { device, batch, tolerance, seed } = setting;
  const { interpret } = await import("../inspect/interpret.js");
  const tapped = await withTaps(compiled, family);
  const inputs = randomInputs(tapped.manifest, { device, families: [family], batch }, seed);
  // Twice: with every tensor kept, which says where it goes wrong, and as it ships, where tensors share storage.
  const taps = await runModule(tapped, family, inputs, setting);
  const shipped = await runModule(compiled, family, inputs, setting);
  const given = compiled.manifest.inputs.map(({ name, shape }): [string, Tensor] => {
    const data = inputs[name];
    invariant(data !== undefined, "every input is made up");
    return [name, { shape: shape.map(({ b, c }) => b * batch + c), data }];
  });
  const parameters = tensorsOf(compiled.manifest.parameters, taps.parameters);
  const how = { batch, inputs: new Map(given), parameters, precision: "f64" as const };
  // The tensors inside are those of the graph the kernels were made from; the outputs those of the text, and of what is
  // rounded to f16 on purpose.
  const oracle = await withStatus("interpreting in float64", () => Promise.resolve(interpret(tapped.graph, how)), true);
  const meant = await withStatus("interpreting in float64", () =>
    Promise.resolve(interpret(isHalved(setting.options) ? compiled.graph : compiled.model.graph, how)), true);
  const check = (
    name: string, output: boolean, actual: ArrayLike<number> = [], expected: Tensor | undefined,
  ): Compared => {
    invariant(expected !== undefined, `the interpreter gives ${name}`);
    return compare(family, name, output, actual, expected, tolerance);
  };
  return [
    ...[...oracle.outputs].map(([name, expected]) => check(name, false, taps.outputs[name], expected)),
    ...compiled.manifest.outputs.map(({ name }) => check(name, true, shipped.outputs[name], meant.outputs.get(name))),
  ];
}

/** Outputs of one run, and the parameters it ran with as the device has them. */
async function runModule(
  module: Pick<Compiled, "manifest" | "wgsl">, family: FamilyName,
  inputs: Readonly<Record<string, Float32Array | Int32Array>>, { device, batch, seed, options }: Setting,
): Promise<{ outputs: Readonly<Record<string, Float32Array>>; parameters: ReadonlyMap<string, Float32Array> }> {
  const { load } = await import("../../runtime/node/module.js");
  const weights = options.weights === undefined && !options.randomWeights
    ? { weights: await unsettledWeights(module.manifest, seed) } : loadOptions({ ...options, seed }, []);
  const session: Session = await withLoading(`loading ${family}`, (onProgress) =>
    load(moduleOf(module), { ...weights, device, batch, family, poison: true, onProgress }));
  try {
    const outputs = await withStatus("running", () => session.infer(inputs));
    return { outputs, parameters: await session.readParameters() };
  } finally {
    session.destroy();
  }
}

/** A module whose outputs are all its stored tensors: the same kernels, each result kept apart. */
interface Tapped {
  readonly manifest: Manifest;
  readonly wgsl: ReadonlyMap<string, string>;
  readonly graph: Graph;
}

async function withTaps(compiled: Compiled, family: FamilyName): Promise<Tapped> {
  const [{ plan }, { OPS }, { familyOfTarget }, { targetNamed }] = await Promise.all([
    import("../lower/plan.js"), import("../ops/index.js"), import("../pipeline.js"), import("../targets/index.js"),
  ]);
  const taps = new Map<Node, string>();
  // Two outputs of one node are one tensor.
  for (const [name, node] of compiled.expanded.outputs) if (!taps.has(node)) taps.set(node, name);
  for (const { root } of compiled.fusion.kernels) {
    // What depends on parameters alone is made once, before any input: it stays where it is.
    const constant = root.shape.every((d) => d.b === 0);
    if (!taps.has(root) && !constant) taps.set(root, `${root.origin.path || root.op} %${root.id}`);
  }
  const outputs = new Map([...taps].map(([node, name]) => [name, node]));
  const graph: Graph = { ...compiled.expanded, outputs, updates: new Map() };
  const planned = plan(graph, familyOfTarget(compiled, family).lowered, {
    title: `${compiled.manifest.name}, every tensor kept`, records: OPS, target: targetNamed(family),
  });
  const infos = [...outputs].map(([name, { shape, dtype }]) => ({ name, shape, dtype }));
  const manifest = {
    ...compiled.manifest, outputs: infos, families: { ...compiled.manifest.families, [family]: planned.family }
  };
  const wgsl = new Map([...planned.wgsl].map(([name, text]) => [`${family}/${name}`, text]));
  return { manifest, wgsl, graph };
}

/**
 * Weights that hide nothing: initial values with noise on top, since a bias of zero or a scale of one would let a
 * kernel leave it out.
 */
async function unsettledWeights(manifest: Manifest, seed: number): Promise<Map<string, Float32Array>> {
  const [{ initialize }, { streamOf, uniformAt }] = await Promise.all([
    import("../../runtime/weights/initialize.js"), import("../../runtime/random.js"),
  ]);
  return new Map(manifest.parameters.map((info) => {
    const values = initialize(info, seed);
    const key = { seed, stream: streamOf(`noise:${info.path}`), step: 0 };
    const flat = ["zeros", "ones", "constant"].includes(info.initializer.kind);
    return [info.path, flat ? values.map((value, i) => value + 0.1 * (2 * uniformAt(key, i) - 1)) : values];
  }));
}

const tensorsOf = (infos: readonly ParameterInfo[], values: ReadonlyMap<string, Float32Array>): Map<string, Tensor> =>
  new Map(infos.map(({ path, shape }) => [path, { shape, data: values.get(path) ?? new Float32Array() }]));

function compare(
  family: FamilyName, tensor: string, output: boolean, actual: ArrayLike<number>, expected: Tensor, tolerance: number,
): Compared {
  let [maxAbs, difference, size] = [0, 0, 0];
  for (let i = 0; i < expected.data.length; i++) {
    const wanted = expected.data[i] ?? NaN;
    const d = Math.abs((actual[i] ?? NaN) - wanted);
    maxAbs = d > maxAbs || Number.isNaN(d) ? d : maxAbs;
    difference += d * d;
    size += wanted * wanted;
  }
  const relative = difference === 0 ? 0 : Math.sqrt(difference / size);
  return {
    family, tensor, output, maxAbs, relative, wrong: !(relative <= tolerance) || actual.length !== expected.data.length,
  };
}
