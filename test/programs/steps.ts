/**
 * @file The steps a random program is made of: each draws operands from what there is and says what it makes of them,
 * or nothing where they do not fit.
 */
import { dim, isConstant, isOne, mulDim, sameDim, sizeOf, type Dim, type Shape } from "../../compiler/ir/dim.js";
import { elements, type Draw, type Made, type Step } from "./draw.js";
import { IMAGE_STEPS } from "./image_steps.js";
import { dimText, shapeText, type Line } from "./program.js";
import { VIEW_STEPS } from "./view_steps.js";

/** With `often`: how many times likelier than the plainest step. */
export interface WeightedStep {
  readonly often: number;
  readonly step: Step;
}

const axisSize = (x: Line, axis: number): Dim => x.shape[axis] as Dim; // the callers count axes
const withAxis = (shape: Shape, axis: number, size: Dim): Shape => shape.map((d, i) => (i === axis ? size : d));
const axesOf = (x: Line): number[] => x.shape.map((_, i) => i);
const constantAxes = (x: Line): number[] => axesOf(x).filter((i) => isConstant(axisSize(x, i)));
const rank = (least: number, most = 9) => ({ shape }: Line): boolean => shape.length >= least && shape.length <= most;
const UNARY = [
  "gelu", "relu", "sigmoid", "tanh", "silu", "square", "abs", "sin", "cos", "erf", "neg", "gelu_tanh", "softplus",
  "leaky_relu", "elu", "hardswish", "stop_gradient", "erfc",
];
const elementwise: Step = (d) => {
  const x = d.value();
  if (!x) return undefined;
  const text = d.pick([
    `${d.pick(UNARY)}(${x.name})`, `${x.name} * 0.5 + 1`, `exp(tanh(${x.name}))`, `sqrt(abs(${x.name}) + 1)`,
    `1 / (${x.name}^2 + 1)`, `clamp(${x.name}, -1, 0.5)`, `expm1(sin(${x.name}))`, `log1p(${x.name}^2)`,
    `reciprocal(${x.name}^2 + 1)`, `(${x.name}^2 + 1)^0.5`, `${x.name}^3`, `rsqrt(${x.name} * ${x.name} + 0.5)`, `log(abs(${x.name}) + 1)`, `-${x.name}`,
  ]);
  return { text, shape: x.shape };
};

const BINARY = ["a + b", "a - b", "a * b", "maximum(a, b)", "minimum(a, b)", "a / (abs(b) + 1)", "a * sigmoid(b)", "a + b * a"];
const combined = (d: Draw, a: Line, b: Line, shape: Shape): Made => {
  const text = d.pick(BINARY).replace(/\ba\b/g, "#").replace(/\bb\b/g, b.name).replaceAll("#", a.name);
  return { text, shape, uses: [a.name, b.name] };
};
const binary: Step = (d) => {
  const x = d.value();
  const y = x && d.like(x.shape, x);
  if (!x || !y) return undefined;
  return d.chance(0.5) ? combined(d, x, y, x.shape) : combined(d, y, x, x.shape);
};
const broadcast: Step = (d) => {
  const x = d.value(rank(1));
  if (!x) return undefined;
  const shape = d.broadcasting(x.shape);
  const p = d.like(shape, x) ?? d.param(shape);
  return d.chance(0.5) ? combined(d, x, p, x.shape) : combined(d, p, x, x.shape);
};
/** A factor of another factor order: reshaped before it broadcasts. */
const reshapedFactor: Step = (d) => {
  const x = d.value(rank(2));
  if (!x) return undefined;
  const wanted = x.shape.map((s) => (d.chance(0.6) ? s : dim(1)));
  const size = sizeOf(wanted);
  const known = d.lines.filter((l) => l.dtype === "f32" && sameDim(sizeOf(l.shape), size));
  const y = known.length > 0 ? d.pick(known) : isConstant(size) ? d.param(regrouped(d, wanted)) : undefined;
  if (!y) return undefined;
  const op = d.pick(["*", "+", "-"]);
  return { text: `${x.name} ${op} reshape(${y.name}, ${shapeText(wanted)})`, shape: x.shape };
};

/** Other factors of the same elements. */
function regrouped(d: Draw, shape: Shape): Shape {
  let out = [...shape];
  for (let turn = 0; turn < 1 + d.below(3); turn++) {
    const at = d.below(Math.max(1, out.length));
    const [x, y] = [out[at], out[at + 1]];
    if (!x) return [dim(1), ...out];
    const joined = y && mulDim(x, y);
    const kind = d.below(4);
    if (kind === 0 && joined) out = [...out.slice(0, at), joined, ...out.slice(at + 2)];
    else if (kind === 1 && x.c % 2 === 0 && x.c > 0 && isConstant(x)) {
      out = [...out.slice(0, at), ...d.shuffled([dim(2), dim(x.c / 2)]), ...out.slice(at + 1)];
    } else if (kind === 2 && x.c % 3 === 0 && x.c > 0 && isConstant(x)) {
      out = [...out.slice(0, at), ...d.shuffled([dim(3), dim(x.c / 3)]), ...out.slice(at + 1)];
    } else if (out.length < 5) out = [...out.slice(0, at), dim(1), ...out.slice(at)];
  }
  return out.length > 6 ? shape : out;
}
const reshape: Step = (d) => {
  const x = d.value();
  if (!x) return undefined;
  const parts = regrouped(d, x.shape);
  // The same sizes in another order are another factor order.
  const shape = d.chance(0.3) ? d.shuffled(parts) : parts;
  return { text: `reshape(${x.name}, ${shapeText(shape)})`, shape, exact: x.exact };
};
const permute: Step = (d) => {
  const x = d.value(rank(2));
  if (!x) return undefined;
  const order = d.shuffled(axesOf(x));
  const shape = order.map((axis) => axisSize(x, axis));
  return { text: `permute(${x.name}, [${order.join(", ")}])`, shape, exact: x.exact };
};
const transpose: Step = (d) => {
  const x = d.value(rank(2));
  if (!x) return undefined;
  const shape = [...x.shape.slice(0, -2), ...x.shape.slice(-2).reverse()];
  return { text: `transpose(${x.name})`, shape, exact: x.exact };
};
const slice: Step = (d) => {
  const x = d.value(rank(1));
  const axes = x ? constantAxes(x) : [];
  if (!x || axes.length === 0) return undefined;
  const axis = d.pick(axes);
  const { c } = axisSize(x, axis);
  const before = ":, ".repeat(axis);
  if (x.shape.length > 1 && d.chance(0.2)) {
    return { text: `${x.name}[${before}${d.below(c)}]`, shape: x.shape.filter((_, i) => i !== axis), exact: x.exact };
  }
  const from = d.chance(0.4) ? 0 : d.below(c);
  const to = d.chance(0.4) ? c : from + 1 + d.below(c - from);
  const step = d.chance(0.7) ? 1 : 1 + d.below(2);
  const range = `${from === 0 ? "" : from}:${to === c ? "" : to}${step === 1 ? "" : `:${step}`}`;
  const shape = withAxis(x.shape, axis, dim(Math.ceil((to - from) / step)));
  return { text: `${x.name}[${before}${range}]`, shape, exact: x.exact };
};
/** The first `n` of none: a prefix of any length, put before the rest. */
const emptyPrefix: Step = (d) => {
  const x = d.value(rank(1));
  const axes = x ? constantAxes(x) : [];
  if (!x || axes.length === 0) return undefined;
  const axis = d.pick(axes);
  return { text: `concat([tanh(${x.name}[${":, ".repeat(axis)}:0]), ${x.name}], axis = ${axis})`, shape: x.shape };
};
const concat: Step = (d) => {
  const x = d.value(rank(1));
  if (!x) return undefined;
  const axis = d.below(x.shape.length);
  const fits = (line: Line): boolean => line.dtype === "f32" && line.shape.length === x.shape.length
    && line.shape.every((s, i) => i === axis || sameDim(s, axisSize(x, i)));
  const parts = [x, ...Array.from({ length: 1 + d.below(2) }, () => d.pick(d.lines.filter(fits)))];
  const size = parts.map((part) => axisSize(part, axis)).reduce((a, b) => ({ b: a.b + b.b, c: a.c + b.c }));
  const text = `concat([${d.shuffled(parts).map((part) => part.name).join(", ")}], axis = ${axis})`;
  return { text, shape: withAxis(x.shape, axis, size) };
};
const stack: Step = (d) => {
  const x = d.value(rank(1, 4));
  const y = x && d.like(x.shape);
  if (!x || !y) return undefined;
  const axis = d.below(x.shape.length + 1);
  const shape = [...x.shape.slice(0, axis), dim(2), ...x.shape.slice(axis)];
  return { text: `stack([${x.name}, ${y.name}], axis = ${axis})`, shape };
};
const pad: Step = (d) => {
  const x = d.value(rank(1));
  if (!x) return undefined;
  const amount = (): number[] => x.shape.map((s) => (isConstant(s) && d.chance(0.5) ? d.below(3) : 0));
  const [before, after] = [amount(), amount()];
  const shape = x.shape.map((s, i) => ({ b: s.b, c: s.c + (before[i] ?? 0) + (after[i] ?? 0) }));
  const value = d.chance(0.7) ? "" : ", value = 1.5";
  return { text: `pad(${x.name}, [${before.join(", ")}], [${after.join(", ")}]${value})`, shape };
};
const expand: Step = (d) => {
  const x = d.value(rank(1, 4));
  if (!x) return undefined;
  const shape = [...(d.chance(0.5) ? [d.size()] : []), ...x.shape.map((s) => (isOne(s) ? d.size() : s))];
  return { text: `expand(${x.name}, ${shapeText(shape)})`, shape, exact: x.exact };
};
const turn: Step = (d) => {
  const x = d.value(rank(1, 5));
  const axes = x ? constantAxes(x) : [];
  if (!x || axes.length === 0) return undefined;
  const axis = d.pick(axes);
  const { c } = axisSize(x, axis);
  const times = x.shape.map((_, i) => (i === axis ? 2 : 1));
  return d.pick<Made>([
    { text: `roll(${x.name}, [${d.below(c)}], axis = [${axis}])`, shape: x.shape, exact: x.exact },
    { text: `tile(${x.name}, [${times.join(", ")}])`, shape: withAxis(x.shape, axis, dim(2 * c)), exact: x.exact },
    {
      text: `unsqueeze(${x.name}, axis = ${axis})`, exact: x.exact,
      shape: [...x.shape.slice(0, axis), dim(1), ...x.shape.slice(axis)],
    },
  ]);
};
const flip: Step = (d) => {
  const x = d.value(rank(1));
  return x && { text: `flip(${x.name}, axis = [${d.below(x.shape.length)}])`, shape: x.shape, exact: x.exact };
};

const reduced = (d: Draw, x: Line): { axes: string; shape: Shape } => {
  const axes = axesOf(x).filter(() => d.chance(0.5));
  const chosen = axes.length > 0 ? axes : [x.shape.length - 1];
  const keep = d.chance(0.5);
  const shape = keep ? x.shape.map((s, i) => (chosen.includes(i) ? dim(1) : s))
    : x.shape.filter((_, i) => !chosen.includes(i));
  return { axes: `axis = [${chosen.join(", ")}]${keep ? ", keep = true" : ""}`, shape };
};
const reduction: Step = (d) => {
  const x = d.value(rank(1));
  if (!x) return undefined;
  const { axes, shape } = reduced(d, x);
  return { text: `${d.pick(["sum", "mean", "variance", "max", "min", "logsumexp", "norm", "prod"])}(${x.name}, ${axes})`, shape };
};
const rowwise: Step = (d) => {
  const x = d.value(rank(1));
  if (!x) return undefined;
  const axis = d.below(x.shape.length);
  const text = d.pick([
    `softmax(${x.name}, axis = ${axis})`, `log_softmax(${x.name}, axis = ${axis})`,
    `standardize(${x.name}, axis = [${axis}], eps = 0.1)`, `${x.name} - mean(${x.name}, axis = ${axis}, keep = true)`,
  ]);
  return { text, shape: x.shape };
};
/**
 * Values spelled out in simple ops, and others that differ from them in a number or an axis: what rules recognize, and
 * what they must not.
 */
const spelled: Step = (d) => {
  const x = d.value(rank(1));
  const axes = x ? constantAxes(x) : [];
  if (!x || axes.length === 0) return undefined;
  const [a, b] = [d.pick(axes), d.pick(axes)];
  const { c: n } = axisSize(x, a);
  const [v, m] = [x.name, d.pick([n, 1 / n, n + 1, 2])];
  const along = `axis = [${a}], keep = true`;
  const [e, total] = [`exp(tanh(${v}))`, d.pick([along, `axis = [${b}], keep = true`])];
  const whole = [
    `${e} / sum(${e}, ${total})`, `tanh(${v}) - log(sum(${e}, ${total}))`, `${v} * sigmoid(${v})`, `${v} / (1 + exp(-${v}))`,
    `(${v} - mean(${v}, ${along})) / sqrt(variance(${v}, ${total}) + 0.1)`,
    `(${v} - sum(${v}, ${along}) / ${n}) * rsqrt(mean(square(${v} - mean(${v}, ${along})), ${total}) + 0.1)`,
    `0.5 * ${v} * (1 + erf(${v} / ${d.pick(["sqrt(2)", "2"])}))`, `maximum(${v}, 0)`, `where(${v} > 0, ${v}, 0)`,
    `softplus(${v}) + log(1 + exp(tanh(${v})))`, d.pick([`1 - erf(${v})`, `1 + erf(${v})`, `1 + erf(-${v})`]),
    `0.5 * ${v} * erfc(${d.pick([`-${v}`, v])} / ${d.pick(["sqrt(2)", "2"])})`,
  ];
  const kept = withAxis(x.shape, a, dim(1));
  const folded = [
    `sum(${v}, ${along}) * ${m}`, `sum(${v}, ${along}) / ${m}`, `log(sum(${e}, ${along}))`,
    `mean(${v} * ${v}, ${along}) - mean(${v}, ${along})^2`, `sqrt(sum(${v}^2, ${along}) + 1)`,
  ];
  return d.chance(0.6) ? { text: d.pick(whole), shape: x.shape } : { text: d.pick(folded), shape: kept };
};
const layerNorm: Step = (d) => {
  const x = d.value(rank(1));
  if (!x || !isConstant(x.shape.at(-1) ?? dim(0))) return undefined;
  return { text: `layer_norm(${x.name}, eps = 0.1)`, shape: x.shape, imports: ["layer_norm"] };
};
const linear: Step = (d) => {
  const x = d.value(rank(2));
  if (!x || !isConstant(x.shape.at(-1) ?? dim(0))) return undefined;
  const out = d.size();
  return {
    text: `linear(${x.name}, ${dimText(out)}, init = normal(0.5))`, shape: [...x.shape.slice(0, -1), out],
    imports: ["linear"],
  };
};
const matmul: Step = (d) => {
  const x = d.value(rank(2));
  const [depth] = x?.shape.slice(-1) ?? [];
  if (!x || !depth) return undefined;
  const lead = x.shape.slice(0, -2);
  const fits = (l: Line): boolean => l.dtype === "f32" && l.shape.length >= 2
    && sameDim(l.shape.at(-2) ?? dim(0), depth) && broadcasts(lead, l.shape.slice(0, -2));
  const all = d.lines.filter((l) => fits(l) || (fits(turned(l)) && l.shape.length >= 2));
  const y = all.length > 0 && d.chance(0.6) ? d.pick(all) : isConstant(depth) ? d.param([depth, d.size()]) : undefined;
  if (!y) return undefined;
  const [right, name] = fits(y) ? [y, y.name] : [turned(y), `transpose(${y.name})`];
  return { text: `matmul(${x.name}, ${name}) * 0.5`, shape: [...x.shape.slice(0, -1), right.shape.at(-1) ?? dim(1)] };
};
const turned = (l: Line): Line => ({ ...l, shape: [...l.shape.slice(0, -2), ...l.shape.slice(-2).reverse()] });
/** Whether leading axes `y` broadcast to exactly `x`. */
const broadcasts = (x: Shape, y: Shape): boolean => y.length <= x.length
  && y.every((s, i) => isOne(s) || sameDim(s, x[x.length - y.length + i] as Dim));

const attention: Step = (d) => {
  const x = d.value(rank(3, 4));
  if (!x) return undefined;
  const [n = dim(1), w = dim(1)] = x.shape.slice(-2);
  if (!isConstant(n) || !isConstant(w)) return undefined;
  const k = d.like(x.shape) ?? x;
  const v = d.like(x.shape) ?? x;
  const bias = d.chance(0.4) ? ` + ${(d.like([n, n]) ?? d.param([n, n])).name}` : "";
  const scores = `matmul(${x.name}, transpose(${k.name})) * 0.3${bias}`;
  return { text: `matmul(softmax(${scores}, axis = -1), ${v.name})`, shape: x.shape };
};

/** A view that is added to what a product makes of it: read as an operand, and element by element behind it. */
const residual: Step = (d) => {
  const x = d.value(rank(2, 4));
  if (!x || !isConstant(axisSize(x, x.shape.length - 1))) return undefined;
  const made = d.chance(0.7) ? d.pick([reshape, permute, transpose])(d) : undefined;
  const fits = made && made.shape.length >= 2 && made.shape.length <= 4 && isConstant(made.shape.at(-1) ?? dim(0));
  const view = fits && isModest(made) ? d.add(made) : x;
  const width = axisSize(view, view.shape.length - 1);
  const w = d.like([width, width]) ?? d.param([width, width]);
  const scores = `softmax(matmul(${view.name}, transpose(${view.name})) * 0.3, axis = -1)`;
  const product = view.shape.length >= 3 && isConstant(axisSize(view, view.shape.length - 2)) && d.chance(0.5)
    ? `matmul(${scores}, ${view.name})` : `matmul(${view.name}, ${w.name}) * 0.5`;
  return { text: `${view.name} + ${product}`, shape: view.shape };
};

/** What parameters alone decide, for one user or several. */
const ofParameters: Step = (d) => {
  const params = d.lines.filter((l) => l.kind === "param" || isOfParameters(d, l));
  const p = params.length > 0 && d.chance(0.7) ? d.pick(params) : d.param([d.size(), d.size()]);
  const q = d.like(p.shape, p);
  return {
    shape: p.shape,
    text: d.pick([`tanh(${p.name}) * 2`, `${p.name} * ${(q ?? p).name}`, `${p.name} * rsqrt(sum(${p.name}^2) + 1)`]),
  };
};
function isOfParameters(d: Draw, line: Line): boolean {
  return line.kind === "value" && line.uses.length > 0 && line.uses.every((use) => {
    const used = d.lines.find((l) => l.name === use);
    return used !== undefined && (used.kind === "param" || isOfParameters(d, used));
  });
}

const positions: Step = (d) => {
  const x = d.value(({ exact, shape }) => exact && shape.length >= 1);
  if (!x) return undefined;
  const axis = d.below(x.shape.length);
  const without = x.shape.filter((_, i) => i !== axis);
  return d.chance(0.5) ? { text: `argmax(${x.name}, axis = ${axis})`, shape: without, dtype: "i32", exact: true }
    : { text: `int(${x.name} * 4)`, shape: x.shape, dtype: "i32", exact: true };
};
const whole: Step = (d) => {
  const i = d.value(() => true, "i32");
  if (!i) return undefined;
  return d.pick<Made>([
    { text: `float(${i.name}) / 4`, shape: i.shape }, { text: `${i.name} * 2 + 1`, shape: i.shape, dtype: "i32", exact: true },
    { text: `one_hot(${i.name}, 5)`, shape: [...i.shape, dim(5)], exact: true },
  ]);
};
const along: Step = (d) => {
  const i = d.value(rank(1), "i32");
  if (!i) return undefined;
  const axis = d.below(i.shape.length);
  const fits = (l: Line): boolean => l.shape.length === i.shape.length
    && l.shape.every((s, n) => n === axis || sameDim(s, axisSize(i, n)));
  const x = d.value(fits);
  return x && { text: `take_along(${x.name}, ${i.name}, axis = ${axis})`, shape: i.shape };
};
const gather: Step = (d) => {
  const i = d.value(rank(0, 2), "i32");
  const table = d.lines.filter((l) => l.dtype === "f32" && l.shape.length >= 1 && l.shape.length <= 3);
  if (!i || table.length === 0) return undefined;
  const t = d.chance(0.5) ? d.pick(table) : d.param([d.size(), d.size()]);
  const axes = constantAxes(t);
  if (axes.length === 0) return undefined;
  const axis = d.pick(axes);
  const shape = [...t.shape.slice(0, axis), ...i.shape, ...t.shape.slice(axis + 1)];
  return { text: `gather(${t.name}, ${i.name}, axis = ${axis})`, shape };
};
const choice: Step = (d) => {
  const [x, c] = [d.value(), d.value(({ exact }) => exact)];
  const y = x && d.like(x.shape, x);
  if (!x || !y || !c || !broadcasts(x.shape, c.shape)) return undefined;
  return { text: `where(${c.name} > 0, ${x.name}, ${y.name})`, shape: x.shape };
};
const cumulative: Step = (d) => {
  const x = d.value(rank(1, 3));
  const axes = x ? constantAxes(x) : [];
  if (!x || axes.length === 0) return undefined;
  return { text: `cumsum(${x.name}, axis = ${d.pick(axes)})`, shape: x.shape };
};
const triangle: Step = (d) => {
  const x = d.value(rank(2));
  return x && { text: `${d.pick(["tril", "triu"])}(${x.name})`, shape: x.shape };
};

/** Noise, which only training has. */
const dropout: Step = (d) => {
  const x = d.value(rank(1));
  if (!x || !d.training) return undefined;
  const shape = x.shape.map((s) => (isConstant(s) && d.chance(0.5) ? dim(1) : s));
  return { text: `${x.name} * bernoulli(0.7, ${shapeText(shape)}) / 0.7`, shape: x.shape };
};

const { conv, outside, batchNorm, pool, gate, toImages, resize } = IMAGE_STEPS;
const { twoViews, behindBatch, margin, parts } = VIEW_STEPS;

export const STEPS: readonly WeightedStep[] = [
  ...[elementwise, binary, broadcast].map((step) => ({ often: 4, step })),
  ...[concat, reduction, matmul, reshapedFactor, slice, reshape, conv].map((step) => ({ often: 3, step })),
  ...[permute, pad, rowwise, layerNorm, linear, batchNorm, ofParameters, attention, residual, spelled]
    .map((step) => ({ often: 2, step })),
  ...[transpose, stack, expand, flip, pool, gate, toImages, positions, whole, gather, choice, cumulative, triangle,
    emptyPrefix, dropout, turn, along, resize, twoViews, behindBatch, margin, parts, outside].map((step) => ({ often: 1, step })),
];

/** Whether a value may be kept: not too large for an adapter that computes on a slow machine. */
export const isModest = ({ shape }: Made): boolean =>
  shape.length <= 6 && shape.filter((s) => !isConstant(s)).length <= 1 && elements(shape) <= 600;
