/** @file The programs of a recipe on a device, with the states that they share: allocated and compiled. */
import type { Definition } from "../artifact.js";
import { chooseFamily, type Device } from "../device.js";
import { InputError, OutOfMemoryError } from "../errors.js";
import { familyNamed } from "../families.js";
import type { StopSignal } from "../lifetime.js";
import type { FamilyName, Manifest } from "../manifest.js";
import { largestBatch } from "../memory.js";
import type { LoadProgress } from "../pipelines.js";
import { Program } from "../program.js";
import { ParameterStore } from "../store.js";
import type { TrainingGraphs, TrainingManifest } from "../training.js";
import { StepFigures } from "./figures.js";
import { storedStates, type StateUser } from "./states.js";

/** A graph of a recipe. */
export type GraphName = keyof TrainingGraphs;

/** A compiled recipe as its generated code hands it over. */
export type TrainingDefinition = Definition<TrainingManifest>;

/** How a recipe is put onto a device. */
export interface EngineOptions {
  readonly device: Device;
  /** Images of an optimizer step: the recipe's unless given. */
  readonly batch?: number;
  /** Passes of a step, at least: the recipe's unless given. More are made where a pass does not fit the device. */
  readonly passes?: number;
  /** Overrides the choice of kernels by the adapter. */
  readonly family?: FamilyName;
  /** Fills storage with NaN first, for tests. */
  readonly poison?: boolean;
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Ends the opening, which then rejects with its reason; checked between kernels. */
  readonly signal?: StopSignal;
}

/** What an engine runs. */
export interface Programs {
  /** The pass over data: the whole step, or one of several. */
  readonly pass: Program;
  /** The optimizer, where it is a program of its own. */
  readonly apply: Program | undefined;
  readonly evaluate: Program;
  readonly store: ParameterStore;
  readonly figures: StepFigures;
  /** Passes of an optimizer step. */
  readonly passes: number;
  /** Frees all of it. */
  destroy(): void;
}

/**
 * Allocates and compiles for steps of `passes` passes over `images` images each; the states are zeros.
 * @throws InputError, AdapterError, OutOfMemoryError
 */
export async function buildPrograms(
  definition: TrainingDefinition, options: EngineOptions, images: number, passes: number,
): Promise<Programs> {
  const { manifest } = definition;
  const { device } = options;
  const { train, gather, apply, evaluate } = manifest.graphs;
  const whole = passes === 1 && train !== undefined;
  const pass = whole ? train : gather;
  if (pass === undefined) throw new InputError(`${manifest.name} has no graph of a pass`);
  const userOf = (graph: Manifest): StateUser =>
    ({ manifest: graph, family: chooseFamily(device, graph, options.family) });
  const parts: (readonly [GraphName, StateUser, number])[] = [
    [whole ? "train" : "gather", userOf(pass), images],
    ...(whole || apply === undefined ? [] : [["apply", userOf(apply), 1] as const]),
    ["evaluate", userOf(evaluate), images],
  ];
  checkFits(parts, passes, device);
  const made: { destroy(): void }[] = [];
  const destroy = (): void => { for (const one of made) one.destroy(); };
  try {
    const store = await ParameterStore.allocate(device, storedStates(manifest, parts.map(([, user]) => user)));
    made.push(store);
    const own = (path: string): string => path;
    const averaged = (path: string): string => (store.has(`ema/${path}`) ? `ema/${path}` : path);
    const kernels = ({ manifest: graph, family }: StateUser): number => familyNamed(graph, family).kernels.length;
    const counts = { done: 0, total: parts.reduce((n, [, user]) => n + kernels(user), 0) };
    const programs = new Map<GraphName, Program>();
    for (const [name, { manifest: graph, family }, batch] of parts) {
      const program = await Program.allocate(device, graph, {
        family, batch, poison: options.poison ?? false, store,
        bindings: name === "evaluate" ? [own, averaged] : [own],
      });
      made.push(program);
      programs.set(name, program);
      const before = counts.done;
      const onProgress = ({ done }: LoadProgress): void => {
        counts.done = before + done;
        options.onProgress?.({ phase: "kernels", ...counts });
      };
      await program.compile((kind, kernel) => definition.wgsl(name, kind, kernel), {
        onProgress, signal: options.signal,
      });
    }
    const figures = await StepFigures.create(device);
    made.push(figures);
    const of = (name: GraphName): Program => {
      const program = programs.get(name);
      if (program === undefined) throw new InputError(`${manifest.name} has no graph '${name}'`);
      return program;
    };
    return {
      pass: of(whole ? "train" : "gather"), apply: programs.get("apply"), evaluate: of("evaluate"), store, figures,
      passes, destroy,
    };
  } catch (error) {
    destroy();
    throw error;
  }
}

/** @throws OutOfMemoryError for the first graph whose batch does not fit the device, before anything is allocated. */
function checkFits(
  parts: readonly (readonly [GraphName, StateUser, number])[], passes: number, device: Device,
): void {
  for (const [name, { manifest, family }, batch] of parts) {
    const largest = largestBatch(manifest, family, device.limits);
    if (largest >= batch) continue;
    throw new OutOfMemoryError(`a pass of ${batch} images does not fit this adapter (${name})`, {
      help: largest === 0 ? "use a smaller model or another adapter" : splitHelp(passes * batch, largest),
    });
  }
}

/** How a batch is split so that a pass has at most `largest` images. */
function splitHelp(batch: number, largest: number): string {
  let passes = Math.ceil(batch / largest);
  while (batch % passes !== 0) passes++;
  return `write \`accumulate = ${passes} steps\` in the recipe: a pass then has ${batch / passes} images, and at ` +
    `most ${largest} fit; batch norm then takes its statistics over a pass`;
}
