/** @file An optimizer step looked at tensor by tensor: where training stopped being finite. */
import type { Batch } from "../data/loader.js";
import type { Program } from "../program.js";
import type { ParameterStore } from "../store.js";
import { firstBad, type NonFinite } from "../trace.js";
import type { TrainingManifest } from "../training.js";
import { tensorOf, type StepInputs } from "./inputs.js";

/** What an engine does its steps with. */
interface StepParts {
  readonly manifest: TrainingManifest;
  readonly store: ParameterStore;
  readonly pass: Program;
  readonly apply: Program | undefined;
  readonly inputs: { readonly pass: StepInputs; readonly apply: StepInputs | undefined };
  readonly passes: number;
}

/**
 * Does a step, looking at the states before it, at what the data brings, and at every tensor as it is written, up to
 * the first value that is not finite.
 * @throws InputError for a batch that does not fit, the device's typed faults
 */
export async function traceStep(
  parts: StepParts, batch: Batch, { step, lr }: { readonly step: number; readonly lr: number },
): Promise<NonFinite | undefined> {
  const { pass: program, apply, inputs, passes } = parts;
  const before = await badState(parts) ?? badData(parts, batch);
  if (before !== undefined) return before;
  for (let pass = 0; pass < passes; pass++) {
    await inputs.pass.write(batch, { step, lr, pass, passes });
    const found = await program.trace();
    if (found !== undefined) return named(parts, found);
  }
  await inputs.apply?.write(undefined, { step, lr, pass: 0, passes });
  const found = await apply?.trace();
  return found && named(parts, found);
}

/** A parameter is what the recipe's states say it is. */
function named({ manifest }: StepParts, found: NonFinite): NonFinite {
  const state = found.kind === "parameter" ? manifest.states.find(({ path }) => path === found.tensor) : undefined;
  return state === undefined ? found : { ...found, kind: state.role };
}

/** The first state in the recipe's order that is not finite, frozen models' among them. */
async function badState({ manifest, store }: StepParts): Promise<NonFinite | undefined> {
  const found = new Map<string, Pick<NonFinite, "index" | "value">>();
  const states = manifest.states.filter(({ role, dtype }) => role !== "lane" && dtype === "f32");
  await store.readAll(states.map(({ path }) => path), (path, bytes) => {
    const bad = firstBad(bytes);
    if (bad !== undefined) found.set(path, bad);
  });
  for (const { path, role } of states) {
    const bad = found.get(path);
    if (bad !== undefined) return { tensor: path, kind: role, ...bad };
  }
  return undefined;
}

function badData({ manifest }: StepParts, batch: Batch): NonFinite | undefined {
  for (const [i, name] of manifest.data.entries()) {
    const values = tensorOf(batch, name, i === 0);
    const index = values instanceof Float32Array ? values.findIndex((value) => !Number.isFinite(value)) : -1;
    if (index >= 0) return { tensor: name, kind: "input", index, value: values?.[index] ?? NaN };
  }
  return undefined;
}
