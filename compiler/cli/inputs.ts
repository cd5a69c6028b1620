/** @file Made-up inputs of any model, from a seed: what bench and verify feed it. */
import type { Manifest } from "../../runtime/manifest.js";
import { normalAt, streamOf } from "../../runtime/random.js";

/** One tensor for every input at a batch: f32 standard normal; i32 and bool 0 and 1 in turn, which fit any index. */
export function randomInputs(
  manifest: Manifest, batch: number, seed: number,
): Record<string, Float32Array | Int32Array> {
  const entries = manifest.inputs.map(({ name, shape, dtype }): [string, Float32Array | Int32Array] => {
    const length = shape.reduce((n, { b, c }) => n * (b * batch + c), 1);
    if (dtype !== "f32") return [name, Int32Array.from({ length }, (_, i) => i % 2)];
    const key = { seed, stream: streamOf(`input:${name}`), step: 0 };
    return [name, Float32Array.from({ length }, (_, i) => normalAt(key, i))];
  });
  return Object.fromEntries(entries);
}
