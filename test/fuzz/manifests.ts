/** @file Changed manifests: what is refused is, and what is taken runs on the embedded adapter with all its checks. */
import { inferenceOf, type Artifact, type Definition } from "../../runtime/artifact.js";
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

async function runRecipe(device: Device, { manifest, wgsl }: Definition): Promise<void> {
  if (!isTraining(manifest)) return;
  preparationOf(manifest);
  scheduleOf(manifest.settings, 10, 5);
  const { train, evaluate } = manifest.graphs;
  if (![train, evaluate].every((graph) => graph === undefined || isSmall(device, graph))) return;
  const engine = await DeviceEngine.open({ manifest, wgsl }, { device, batch: 2, passes: 1 });
  try {
    await engine.initialize(() => Promise.resolve(undefined));
    await engine.readState();
  } finally {
    engine.destroy();
  }
}

/** Changed manifests of the small model or recipe. */
export async function manifestTarget(kind: "model" | "recipe"): Promise<Try> {
  const { compiled, manifest: text } = await compiledSmall(kind);
  let device: Device | undefined;
  return async (seed): Promise<Outcome> => {
    const changed = JSON.parse(text) as Json;
    mutateJson(changed, new Dice(seed));
    const manifest = JSON.parse(JSON.stringify(changed)) as Artifact; // what the next line is asked
    if (changed["format"] !== compiled.manifest.format || artifactFault(manifest)) return "refused";
    const definition: Definition = {
      manifest, wgsl: (graph, family, kernel) => {
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
