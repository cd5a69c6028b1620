/** @file Made-up inputs of any model, from a seed: what bench and verify feed it. */
import type { Device } from "../../runtime/device.js";
import type { FamilyName, Manifest } from "../../runtime/manifest.js";
import { planMemory } from "../../runtime/memory.js";
import { normalAt, streamOf } from "../../runtime/random.js";

/** Numbers drawn for one input; a prime, so that the same ones fall on other places of every image. */
const DRAWN = 1_048_573;

/** Where a model is to be run. */
export interface Place {
  readonly device: Pick<Device, "limits">;
  readonly families: readonly FamilyName[];
  readonly batch: number;
}

/**
 * One tensor for every input at a batch: f32 standard normal, repeated after a million; i32 and bool 0 and 1 in turn,
 * which fit any index.
 * @throws OutOfMemoryError before a number is drawn, when the device cannot hold the model at that batch
 */
export function randomInputs(
  manifest: Manifest, { device, families, batch }: Place, seed: number,
): Record<string, Float32Array | Int32Array> {
  for (const family of families) planMemory(manifest, family, batch, device.limits);
  const entries = manifest.inputs.map(({ name, shape, dtype }): [string, Float32Array | Int32Array] => {
    const length = shape.reduce((n, { b, c }) => n * (b * batch + c), 1);
    if (dtype !== "f32") {
      const values = new Int32Array(length);
      for (let i = 1; i < length; i += 2) values[i] = 1;
      return [name, values];
    }
    const key = { seed, stream: streamOf(`input:${name}`), step: 0 };
    const drawn = Float32Array.from({ length: Math.min(length, DRAWN) }, (_, i) => normalAt(key, i));
    const values = new Float32Array(length);
    for (let at = 0; at < length; at += DRAWN) values.set(drawn.subarray(0, Math.min(DRAWN, length - at)), at);
    return [name, values];
  });
  return Object.fromEntries(entries);
}
