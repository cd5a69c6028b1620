/** @file Changed manifests: what is refused is, and what is taken runs on the embedded adapter with all its checks. */
import { inferenceOf, type Artifact, type Definition } from "../../runtime/artifact.js";
import type { Batch } from "../../runtime/data/loader.js";
import { artifactFault } from "../../runtime/check/artifact.js";
import { chooseFamily, type Device } from "../../runtime/device.js";
import { DeitcError } from "../../runtime/errors.js";
import { elementsAt, memoryUse, planMemory } from "../../runtime/memory.js";
import { familyNamed } from "../../runtime/families.js";
import type { Manifest } from "../../runtime/manifest.js";
import { load } from "../../runtime/node/index.js";
import { DeviceEngine } from "../../runtime/train/engine.js";
import { preparationOf, scheduleOf } from "../../runtime/train/settings.js";
import { isTraining } from "../../runtime/training.js";
import { openTestDevice } from "../harness.js";
import { compiledSmall, type Json } from "../small_artifacts.js";
import { Dice, mutateJson } from "./mutate.js";
import { outcomeOf, type Outcome, type Try } from "./targets.js";

/** Bytes on the device of a graph that is run: what asks for more is right, and slow. */
const MOST_BYTES = 2 ** 27;

function isSmall(device: Device, manifest: Manifest): boolean {
  const family = chooseFamily(device, manifest);
  return memoryUse(planMemory(manifest, family, 1, device.limits), familyNamed(manifest, family)).total <= MOST_BYTES;
}

async function runModel(device: Device, definition: Definition): Promise<void> {
  const module = inferenceOf(definition);
  if (!isSmall(device, module.manifest)) return;
  const model = await load(module, { device, randomWeights: { seed: 0 } });
  try {
    await model.infer(Object.fromEntries(module.manifest.inputs.map((info) => {
      const length = elementsAt(info, 1);
      return [info.name, info.dtype === "f32" ? new Float32Array(length) : new Int32Array(length)] as const;
    })));
  } finally {
    model.destroy();
  }
}

/** Two images of the small recipe. */
const BATCH: Batch = {
  images: new Float32Array(2 * 3 * 32 * 32), labels: new Int32Array(2), targets: new Float32Array(2 * 8),
  mask: new Float32Array(2).fill(1), count: 2,
};

async function runRecipe(device: Device, { manifest, wgsl }: Definition): Promise<void> {
  if (!isTraining(manifest)) return;
  preparationOf(manifest);
  scheduleOf(manifest.settings, 10, 5);
  const { train, evaluate } = manifest.graphs;
  if (![train, evaluate].every((graph) => graph === undefined || isSmall(device, graph))) return;
  const engine = await DeviceEngine.open({ manifest, wgsl }, { device, batch: 2, passes: 1 });
  try {
    await engine.initialize(() => Promise.resolve(undefined));
    await engine.step(BATCH, { step: 0, lr: 1e-3 });
    await engine.metrics();
    await engine.evaluate(BATCH, engine.hasEma);
    await engine.readState();
  } finally {
    engine.destroy();
  }
}

/** Without the families that the embedded adapter does not choose: changes of those would not be run. */
function withoutOtherFamilies(text: string): string {
  return JSON.stringify(JSON.parse(text, (key, value: unknown) =>
    (key === "families" ? { scalar: (value as Manifest["families"])["scalar"] } : value))); // as the compiler made it
}

/** Changed manifests of the small model or recipe. */
export async function manifestTarget(kind: "model" | "recipe"): Promise<Try> {
  const { compiled, manifest } = await compiledSmall(kind);
  const text = withoutOtherFamilies(manifest);
  let device: Device | undefined;
  return async (seed): Promise<Outcome> => {
    const changed = JSON.parse(text) as Json;
    mutateJson(changed, new Dice(seed));
    const read = JSON.parse(JSON.stringify(changed)) as Artifact; // what the next line is asked
    if (changed["format"] !== compiled.manifest.format || artifactFault(read)) return "refused";
    const definition: Definition = {
      manifest: read, wgsl: (graph, family, kernel) => {
        const found = compiled.wgsl.get(`${graph}/${family}/${kernel}`);
        return found === undefined ? Promise.reject(new DeitcError("file_missing", "input", `no ${kernel}`)) : Promise.resolve(found);
      },
    };
    device ??= await openTestDevice();
    const used = device;
    try {
      return await outcomeOf(() => (kind === "model" ? runModel(used, definition) : runRecipe(used, definition)));
    } catch (error) {
      used.destroy();
      device = undefined;
      throw error;
    }
  };
}
