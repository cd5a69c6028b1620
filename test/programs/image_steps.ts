/**
 * @file Steps over images [B, C, H, W]: convolutions, norms, pools and gates.
 */
import { dim, divDim, isConstant, sizeOf, type Dim } from "../../compiler/ir/dim.js";
import type { Draw, Step } from "./draw.js";
import { dimText, shapeText, type Line } from "./program.js";

/** Images without the batch anywhere but in front. */
const isImage = ({ shape }: Line): boolean =>
  shape.length === 4 && shape[0]?.b === 1 && shape[0].c === 0 && shape.slice(1).every(isConstant);

const image = (d: Draw): Line | undefined => d.value(isImage);
const conv: Step = (d) => {
  const x = image(d);
  if (!x) return undefined;
  const [, c = dim(1), h = dim(1), w = dim(1)] = x.shape;
  const kernel = d.pick([1, 2, 3].filter((k) => k <= Math.min(h.c, w.c) + 1));
  const groups = d.pick([1, 1, 1, 2, c.c].filter((g) => c.c % g === 0));
  const out = groups * d.pick([1, 2, 3, 4].filter((n) => n * groups <= 12));
  const stride = d.pick([1, 1, 2]);
  const margin = d.pick([0, 1]);
  const side = (s: Dim): number => Math.floor((s.c + 2 * margin - kernel) / stride) + 1;
  if (side(h) < 1 || side(w) < 1) return undefined;
  const bias = d.chance(0.5) ? ", bias = true" : "";
  return {
    text: `conv(${x.name}, ${out}, kernel = ${kernel}, stride = ${stride}, pad = ${margin}, groups = ${groups}${bias},` +
      " init = normal(0.5))",
    shape: [x.shape[0] ?? dim(1), dim(out), dim(side(h)), dim(side(w))], imports: ["conv"],
  };
};
const batchNorm: Step = (d) => {
  const x = image(d);
  return x && { text: `batch_norm(${x.name}, eps = 0.1)`, shape: x.shape, imports: ["batch_norm"] };
};
const pool: Step = (d) => {
  const x = image(d);
  const [, , h = dim(1), w = dim(1)] = x?.shape ?? [];
  if (!x || Math.min(h.c, w.c) < 2) return undefined;
  const stride = 1 + d.below(2);
  const side = (s: Dim): Dim => dim(Math.floor((s.c - 2) / stride) + 1);
  const shape = [...x.shape.slice(0, 2), side(h), side(w)];
  return { text: `${d.pick(["max_pool2d", "avg_pool2d"])}(${x.name}, kernel = 2, stride = ${stride})`, shape };
};
const gate: Step = (d) => {
  const x = image(d);
  if (!x) return undefined;
  const [, c = dim(1)] = x.shape;
  const w = d.like([c, c]) ?? d.param([c, c]);
  const pooled = `matmul(mean(${x.name}, axis = [2, 3]), ${w.name})`;
  return { text: `${x.name} * reshape(sigmoid(${pooled}), [B, ${dimText(c)}, 1, 1])`, shape: x.shape };
};
/** A value made into images, so that there are some. */
const toImages: Step = (d) => {
  const x = d.value(({ shape }) => sizeOf(shape).c === 0);
  if (!x) return undefined;
  const each = divDim(sizeOf(x.shape), { b: 1, c: 0 })?.c ?? 0;
  const side = d.pick([1, 2, 3, 4].filter((s) => each % (s * s) === 0));
  const shape = [{ b: 1, c: 0 }, dim(each / side / side), dim(side), dim(side)];
  return each > 200 ? undefined : { text: `reshape(${x.name}, ${shapeText(shape)})`, shape, exact: x.exact };
};

const resize: Step = (d) => {
  const x = image(d);
  const side = d.pick([1, 2, 3, 5]);
  return x && { text: `resize(${x.name}, ${side})`, shape: [...x.shape.slice(0, 2), dim(side), dim(side)] };
};

/** Images of one pixel, of which a convolution sees the margin alone in some places, or in all. */
const outside: Step = (d) => {
  const x = image(d);
  if (!x) return undefined;
  const one = d.add({ text: `${x.name}[:, :, :1, :1]`, shape: [...x.shape.slice(0, 2), dim(1), dim(1)], exact: x.exact });
  const [out, stride] = [1 + d.below(4), 2 + d.below(2)];
  const side = Math.floor(2 / stride) + 1;
  return {
    text: `conv(${one.name}, ${out}, kernel = 1, stride = ${stride}, pad = 1, bias = true, init = normal(0.5))`,
    shape: [x.shape[0] ?? dim(1), dim(out), dim(side), dim(side)], imports: ["conv"],
  };
};

export const IMAGE_STEPS = { conv, outside, batchNorm, pool, gate, toImages, resize } as const;
