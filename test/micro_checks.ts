/**
 * @file Trained micro models against their goldens.
 */
import type { Tensor } from "../compiler/ir/op.js";
import { maxAbs, officialKey, relativeL2 } from "./golden.js";
import { micro, microGolden, WIDTH } from "./micro.js";
import { length, relative } from "./recipes.js";

/** Rows of the key in a fused bias: they have no gradient in exact arithmetic, what is stored is rounding noise. */
export const isFused = (path: string): boolean => path.endsWith("attn.qkv.bias");
export const withoutKeys = (path: string, data: ArrayLike<number>): ArrayLike<number> =>
  (isFused(path) ? Array.from(data).filter((_, i) => i < WIDTH || i >= 2 * WIDTH) : data);

/** Final parameters and averages against the golden's, within its README's tolerances. */
export function checkFinals(name: string, state: ReadonlyMap<string, Tensor>): { readonly bad: readonly string[]; readonly text: string } {
  const golden = micro.training[name];
  const plain = golden?.opt === "sgd" || golden?.opt === "momentum";
  const [bound, most] = plain ? [2e-5, 1e-5] : [1e-3, 2e-3];
  const bad: string[] = [];
  let [worst, greatest, compared] = [0, 0, 0];
  for (const [path, { data }] of state) {
    const own = path.replace(/^ema\//, "");
    if (own.includes("/")) continue;
    const key = (path === own ? "" : "ema.") + officialKey(own);
    const want = microGolden(golden?.file)?.get(key);
    // SGD does not divide by the noise in the key rows: there they are compared too.
    const keep = (x: ArrayLike<number>): ArrayLike<number> => (plain ? x : withoutKeys(own, x));
    const [rel, max] = want ? [relativeL2(keep(data), keep(want.data)), maxAbs(keep(data), keep(want.data))]
      : isFused(own) && !plain ? [0, 0] : [relative(length(data), golden?.final_l2[key] ?? NaN), 0];
    compared++;
    [worst, greatest] = [Math.max(worst, rel), Math.max(greatest, max)];
    if (!(rel <= bound && max <= most)) bad.push(`${key}: rel ${rel}, max ${max}`);
  }
  const how = microGolden(golden?.file) ? "" : " (lengths only)";
  const text = `${compared} tensors: rel ${worst.toExponential(1)}, max ${greatest.toExponential(1)}${how}`;
  return { bad, text };
}
