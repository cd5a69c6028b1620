/** @file `deitc verify`: the compiled kernels against the interpreter, tensor by tensor, on the user's own adapter. */
import { OPS } from "../ops/index.js";
import { Command } from "commander";
import type { Device } from "../../runtime/device.js";
import type { FamilyName, Manifest, ParameterInfo } from "../../runtime/manifest.js";
import type { Session } from "../../runtime/session.js";
import type { Graph, Node } from "../graph.js";
import type { Tensor } from "../op.js";
import type { Compiled } from "../pipeline.js";
import { invariant } from "../invariant.js";
import { amount, examples, printJsonValue, wholeNumber, type Finish } from "./command.js";
import { Exit, type ExitCode } from "./exit.js";
import { randomInputs } from "./inputs.js";
import { definitionOf, families, loadOptions, withRunOptions, type RunOptions } from "./model.js";
import { withStatus } from "./progress.js";
import { table } from "./table.js";

interface Options extends RunOptions {
  readonly batch: number;
  readonly family?: readonly FamilyName[];
  readonly tolerance: number;
  readonly fuse: boolean;
}

/**
 * Greatest relative error (‖a − b‖ / ‖b‖) that passes: f32 rounding is some 2e-6 at the end of a deep model, a wrong
 * number is rarely below 1e-2.
 */
const TOLERANCE = 1e-4;

export const verifyCommand = (finish: Finish): Command =>
  withRunOptions(new Command("verify")
    .description(
      "Runs every kernel of a model on an adapter and compares each stored tensor with the interpreter's float64."
    )
    .argument("<file>", "the .deit file")
    .option("--batch <n>", "images", wholeNumber(1), 1)
    .option("--family <list>", "kernel families: scalar,wide,tiled (default: the adapter's)", families)
    .option("--tolerance <x>", "greatest relative error that passes", amount, TOLERANCE)
    .option("--no-fuse", "verify with every op as a kernel of its own"))
    .addHelpText("after", "\nWithout --weights every parameter is random, biases too. Exit code 3: a tensor is wrong.")
    .addHelpText("after", examples(
      "deitc verify models/deit_ti.deit", "deitc verify models/deit_s.deit --weights deit_s.safetensors --adapter gpu",
    ))
    .action(async (file: string, options: Options) => finish(await verify(file, options)));

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

async function verify(file: string, options: Options): Promise<ExitCode> {
  const { compileFile } = await import("./source.js");
  const compiled = await compileFile(file, options.target, { fuse: options.fuse });
  const [{ openDevice }, { adapterName, chooseFamily }] = await Promise.all([
    import("../../runtime/node/adapters.js"), import("../../runtime/device.js"),
  ]);
  const device = await openDevice(
    { checked: true, ...(options.adapter === undefined ? {} : { adapter: options.adapter }) },
  );
  try {
    const results: Compared[] = [];
    for (const family of options.family ?? [chooseFamily(device, compiled.manifest)]) {
      results.push(...await verifyFamily(compiled, family, device, options));
    }
    const wrong = results.filter((r) => r.wrong).length;
    const adapter = adapterName(device.info);
    if (options.json) {
      printJsonValue({ model: compiled.manifest.name, adapter, tolerance: options.tolerance, wrong, tensors: results });
    }
    else process.stdout.write(report(compiled.manifest.name, adapter, results, options.tolerance));
    return wrong > 0 ? Exit.device : Exit.done;
  } finally {
    device.destroy();
  }
}

async function verifyFamily(
  compiled: Compiled, family: FamilyName, device: Device, options: Options,
): Promise<Compared[]> {
  const { interpret } = await import("../interpret.js");
  const tapped = await withTaps(compiled, family);
  const inputs = randomInputs(tapped.manifest, { device, families: [family], batch: options.batch }, options.seed);
  // Twice: with every tensor kept, which says where it goes wrong, and as it ships, where tensors share storage.
  const taps = await runModule(tapped, family, inputs, device, options);
  const shipped = await runModule(compiled, family, inputs, device, options);
  const given = compiled.manifest.inputs.map(({ name, shape }): [string, Tensor] => {
    const data = inputs[name];
    invariant(data !== undefined, "every input is made up");
    return [name, { shape: shape.map(({ b, c }) => b * options.batch + c), data }];
  });
  const parameters = tensorsOf(compiled.manifest.parameters, taps.parameters);
  const how = { batch: options.batch, inputs: new Map(given), parameters, precision: "f64" as const };
  const oracle = await withStatus("interpreting in float64", () => Promise.resolve(interpret(tapped.graph, how)));
  const check = (
    name: string, output: boolean, actual: ArrayLike<number> = [], expected: Tensor | undefined,
  ): Compared => {
    invariant(expected !== undefined, `the interpreter gives ${name}`);
    return compare(family, name, output, actual, expected, options.tolerance);
  };
  return [
    ...[...oracle.outputs].map(([name, expected]) => check(name, false, taps.outputs[name], expected)),
    ...compiled.manifest.outputs.map(({ name }) => {
      const node = compiled.expanded.outputs.get(name);
      const [tap = name] = [...tapped.graph.outputs].find(([, other]) => other === node) ?? [];
      return check(name, true, shipped.outputs[name], oracle.outputs.get(tap));
    }),
  ];
}

/** Outputs of one run, and the parameters it ran with as the device has them. */
async function runModule(
  module: Pick<Compiled, "manifest" | "wgsl">, family: FamilyName,
  inputs: Readonly<Record<string, Float32Array | Int32Array>>, device: Device, options: Options,
): Promise<{ outputs: Readonly<Record<string, Float32Array>>; parameters: ReadonlyMap<string, Float32Array> }> {
  const { load } = await import("../../runtime/node/module.js");
  const weights = options.weights === undefined && !options.randomWeights
    ? { weights: await unsettledWeights(module.manifest, options.seed) } : loadOptions(options, []);
  const session: Session = await withStatus(`loading ${family}`, () =>
    load(definitionOf(module), { ...weights, device, batch: options.batch, family, poison: true }));
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
  const { plan } = await import("../plan.js");
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
  const planned = plan(graph, compiled.families[family].lowered, {
    title: `${compiled.manifest.name}, every tensor kept`, records: OPS,
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

function report(model: string, adapter: string, results: readonly Compared[], tolerance: number): string {
  const wrong = results.filter((r) => r.wrong);
  const worst = results.toSorted((a, b) => b.relative - a.relative).slice(0, 5);
  const shown = results.filter((r) => r.wrong || r.output || worst.includes(r)).slice(0, 40);
  const rows = shown.map((r) => [
    r.wrong ? "WRONG" : "ok", r.family, r.output ? `output ${r.tensor}` : r.tensor,
    r.maxAbs.toExponential(1), r.relative.toExponential(1),
  ]);
  const verdict = wrong.length === 0
    ? `all ${results.length} tensors agree within ${tolerance}`
    : `${wrong.length} of ${results.length} tensors are off by more than ${tolerance}, first ${wrong[0]?.tensor ?? ""}`;
  const head = ["", "family", "tensor", "max abs", "relative"];
  return `${model} on ${adapter}, against the interpreter in float64\n${table([head, ...rows], [3, 4])}${verdict}\n`;
}
