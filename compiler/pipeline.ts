/**
 * @file The compiler's table of contents: every pass by name, timed, with a dump of what it made.
 */
import type { Diagnostic } from "../dsl/diagnostics.js";
import type { Program } from "../dsl/program.js";
import type { Family, Manifest, TensorInfo } from "../runtime/manifest.js";
import { TARGETS, type Target } from "./targets/index.js";
import { elaborateModel, type ElaboratedModel, type Elaboration, type Overrides } from "./elaborate/index.js";
import { expandComposites } from "./rewrite/expand.js";
import { fuse } from "./fuse/fuse.js";
import { bindingsOf, storedBy, type FusedKernel, type Fusion } from "./fuse/fusion.js";
import { printGraph, type Graph, type Node } from "./ir/graph.js";
import { invariant } from "./ir/invariant.js";
import { verifyGraph } from "./ir/verify.js";
import { lowerAll } from "./lower/index.js";
import type { LoweredKernel } from "./lower/kernel.js";
import { OPS } from "./ops/index.js";
import type { Optimization } from "./optimizations.js";
import { placesOf, type Places } from "./fuse/places.js";
import { plan, type PlannedFamily } from "./lower/plan.js";
import { layOut } from "./rewrite/rules/layout.js";
import { recognize } from "./rewrite/rules/recognize.js";
import { simplify } from "./rewrite/rules/simplify.js";
import type { Refusal, Rewritten } from "./rewrite/engine.js";

/** WebGPU guarantees eight storage buffers a stage. */
const MAX_BINDINGS = 8;

export interface CompileOptions {
  /** Header parameters by name, in place of those of the file. */
  readonly overrides?: Overrides;
  /** Optimizations that are left out, to find out whether one is at fault for a wrong number. */
  readonly without?: readonly Optimization[];
  /** Targets that kernels are written for; all unless given. */
  readonly targets?: readonly string[];
  /** Looks over the graph after every pass, and throws a CompilerBug if it is invalid. Off unless given. */
  readonly verify?: boolean;
}

/** One pass that ran. */
export interface PassRecord {
  readonly name: string;
  readonly ms: number;
  /** What it made, as text. */
  dump(): string;
}

/** What one family became. */
interface CompiledFamily {
  readonly lowered: readonly LoweredKernel[];
  readonly planned: PlannedFamily;
}

export interface CompiledGraph {
  /** Shader text by `family/kernel`. */
  readonly wgsl: ReadonlyMap<string, string>;
  /** The graph as recognised, composites still whole: what the interpreter runs. */
  readonly graph: Graph;
  /** The same without composites: what the kernels were fused from. */
  readonly expanded: Graph;
  readonly fusion: Fusion;
  readonly families: ReadonlyMap<string, CompiledFamily>;
  /** Firings of every rewrite rule, by name, and what was held back. */
  readonly firings: ReadonlyMap<string, number>;
  readonly refusals: readonly Refusal[];
  readonly passes: readonly PassRecord[];
}

export interface Compiled extends CompiledGraph {
  readonly model: ElaboratedModel;
  readonly manifest: Manifest;
}

/** A model compiled, absent when there is a diagnostic. */
export interface Compilation {
  readonly compiled?: Compiled;
  readonly diagnostics: readonly Diagnostic[];
}

/** Compiles one model of a program for inference. @param target its name, where the file has several. */
export const compileModel = (
  program: Program, target: string | undefined, options: CompileOptions = {},
): Compilation => compileAs(program, options, () =>
  elaborateModel(program, target, { training: false, overrides: options.overrides ?? {}, ops: OPS }));

/** Elaborates a model of a program, and compiles what it has become. */
export function compileAs(program: Program, options: CompileOptions, elaborate: () => Elaboration): Compilation {
  const start = performance.now();
  const { model, diagnostics } = elaborate();
  if (!model || diagnostics.length > 0) return { diagnostics };
  const first: PassRecord = { name: "elaborate", ms: performance.now() - start, dump: () => printGraph(model.graph) };
  const compiled = compileElaborated(model, `${model.name} (${fileName(program.entry.path)})`, options);
  return { compiled: { ...compiled, passes: [first, ...compiled.passes] }, diagnostics };
}

/** Compiles a model that is elaborated already. */
export function compileElaborated(
  model: ElaboratedModel, title: string, options: Omit<CompileOptions, "overrides"> = {},
): Compiled {
  const compiled = compileGraph(model.graph, title, options);
  return { ...compiled, model, manifest: manifestOf(model, compiled) };
}

/** Compiles a graph, wherever it comes from. @param title what the kernels' headers call it. */
export function compileGraph(
  graph: Graph, title: string, options: Omit<CompileOptions, "overrides"> = {},
): CompiledGraph {
  const passes: PassRecord[] = [];
  const pass = <T>(name: string, run: () => T, dump: (made: T) => string): T => {
    const start = performance.now();
    const made = run();
    passes.push({ name, ms: performance.now() - start, dump: () => dump(made) });
    return made;
  };
  const { without = [], verify = false, targets } = options;
  const graphPass = <T extends { readonly graph: Graph }>(name: string, run: () => T): T => {
    const made = pass(name, run, ({ graph: result }) => printGraph(result));
    if (verify) verifyGraph(made.graph, name, OPS);
    return made;
  };
  if (verify) verifyGraph(graph, "elaborate", OPS);
  const simple = graphPass("simplify", () => simplify(graph));
  const unless = (what: Optimization, rewritten: (graph: Graph) => Rewritten) => (graph: Graph): Rewritten =>
    (without.includes(what) ? { graph, firings: new Map(), refusals: [] } : rewritten(graph));
  const recognized = graphPass("recognize", () => unless("patterns", recognize)(simple.graph));
  const settled = graphPass("simplify again", () => simplify(recognized.graph));
  const laidOut = graphPass("lay out", () => unless("layout", layOut)(settled.graph));
  const expanded = graphPass("expand", () => ({ graph: expandComposites(laidOut.graph, OPS) }));
  const { fusion, stored, places } = pass(
    "fuse", () => fused(expanded.graph, without), (made) => printFusion(made.fusion),
  );
  const compileFor = (target: Target): CompiledFamily => {
    const { name } = target;
    const lowered = pass(
      `lower ${name}`, () => lowerAll(fusion.kernels, { target, records: OPS, stored, inPlace: places.inPlace }),
      (kernels) => kernels.map((k) => `// ${k.fused.root.origin.path}\n${k.wgsl}`).join("\n"),
    );
    const planned = pass(
      `plan ${name}`, () => plan(expanded.graph, lowered, { title, records: OPS, places, target }),
      (p) => printPlan(p.family),
    );
    return { lowered, planned };
  };
  const wanted = TARGETS.filter(({ name }) => targets?.includes(name) ?? true);
  const families = new Map<string, CompiledFamily>(wanted.map((target) => [target.name, compileFor(target)]));
  const wgsl = new Map([...families].flatMap(([name, { planned }]) =>
    [...planned.wgsl].map(([kernel, text]) => [`${name}/${kernel}`, text] as const)));
  const firings = new Map<string, number>();
  for (const { firings: some } of [simple, recognized, settled, laidOut]) {
    for (const [rule, n] of some) firings.set(rule, (firings.get(rule) ?? 0) + n);
  }
  const refusals = [...simple.refusals, ...recognized.refusals, ...settled.refusals, ...laidOut.refusals];
  return { wgsl, graph: settled.graph, expanded: expanded.graph, fusion, families, firings, refusals, passes };
}

/** What a target's family became, by a name that a user or an adapter gave. */
export function familyOfTarget({ families }: Pick<CompiledGraph, "families">, name: string): CompiledFamily {
  const found = families.get(name);
  invariant(found, `kernels were written for ${name}`);
  return found;
}

interface Fused {
  readonly fusion: Fusion;
  readonly stored: ReadonlySet<Node>;
  readonly places: Places;
}

/** Kernels, what they store, and where next values go. */
function fused(graph: Graph, without: readonly Optimization[]): Fused {
  const [enabled, joins] = [!without.includes("fusion"), !without.includes("joins")];
  const attempt = (overwrite: boolean): Fused => {
    const fusion = fuse(graph, { records: OPS, maxBindings: MAX_BINDINGS, enabled, joins, overwrite });
    const stored = storedBy(fusion.kernels, OPS);
    return { fusion, stored, places: placesOf(graph, fusion.kernels, { records: OPS, stored }) };
  };
  const hopeful = attempt(true);
  const { inPlace } = hopeful.places;
  // Some value could not be written onto its parameter after all, and its kernel binds both.
  const isOver = (kernel: FusedKernel): boolean => bindingsOf(kernel, (node) => inPlace.get(node)) > MAX_BINDINGS;
  return hopeful.fusion.kernels.some(isOver) ? attempt(false) : hopeful;
}

/** The manifest of a graph that stands for itself: for tests and tools. */
export function graphManifest(name: string, compiled: CompiledGraph): Manifest {
  const { expanded: graph, families } = compiled;
  const tensor = ([tensorName, { shape, dtype }]: readonly [string, Node]): TensorInfo =>
    ({ name: tensorName, shape, dtype });
  return {
    name,
    inputs: [...graph.inputs].map(tensor),
    outputs: [...graph.outputs].map((output, i, all) => {
      const first = all.findIndex(([, node]) => node === output[1]);
      return { ...tensor(output), ...(first < i ? { sameAs: first } : {}) };
    }),
    parameters: [...graph.parameters.values()].map(({ path, node, trained, decay, initializer, inside }, _, all) => ({
      path, shape: node.shape.map((d) => d.c), ...(node.dtype === "f32" ? {} : { dtype: node.dtype }), trained, decay,
      initializer,
      ...(inside ? {
        inside: { parameter: all.findIndex((p) => p.path === inside.lane), offset: inside.offset },
      } : {}),
    })),
    families: Object.fromEntries([...families].map(([target, { planned }]) => [target, planned.family])),
  };
}

function manifestOf(model: ElaboratedModel, compiled: CompiledGraph): Manifest {
  const manifest = graphManifest(model.name, compiled);
  const documented = (docs: ReadonlyMap<string, string>) => (info: TensorInfo): TensorInfo => {
    const doc = docs.get(info.name);
    return doc ? { ...info, doc } : info;
  };
  return {
    ...manifest,
    ...(model.doc === "" ? {} : { doc: model.doc }),
    inputs: manifest.inputs.map(documented(model.inputDocs)),
    outputs: manifest.outputs.map(documented(model.outputDocs)),
    ...(model.preprocess ? { preprocess: model.preprocess } : {}),
    ...(model.classNames ? { classNames: model.classNames } : {}),
  };
}

const fileName = (path: string): string => path.split(/[\\/]/).pop() ?? path;

/** One kernel a line, then what was not fused and why. */
function printFusion(fusion: Fusion): string {
  const kernels = fusion.kernels.map((k, i) =>
    `${String(i).padStart(3)} ${k.kind.padEnd(11)} %${k.root.id} ${k.root.origin.path} = ` +
      k.members.map((n) => n.op).join(" "));
  const refusals = fusion.refusals.map((r) => `stored %${r.node.id} ${r.node.op} (${r.node.origin.path}): ${r.reason}`);
  return [...kernels, ...refusals].join("\n") + "\n";
}

function printPlan(family: Family): string {
  const steps = [
    ...family.programs.prepare.map((s) => ["prepare", s] as const),
    ...family.programs.run.map((s) => ["run", s] as const),
  ];
  const lines = steps.map(([program, s]) => {
    const refs = s.bindings.map((r) => `${r.kind}[${r.index}]`).join(" ");
    return `${program.padEnd(8)} ${s.path.padEnd(32)} ${family.kernels[s.kernel]?.name ?? ""} ${refs}`;
  });
  const slots = family.slots.map((s, i) =>
    `slot[${i}] ${s.kind} ${s.bytes.b}·B + ${s.bytes.c} bytes: ${s.tensors.join(", ")}`);
  return [...lines, ...slots].join("\n") + "\n";
}
