/**
 * @file Activation functions. Their WGSL is safe at any finite input: no exponential overflows.
 */
import { defineOp, isFault, type OpRecord, type OpSample, type Ops } from "../ir/op.js";
import type { Node } from "../ir/graph.js";
import { algebra, type Algebra } from "./algebra.js";
import { logOnePlus, slope } from "./arithmetic.js";
import { fault, readNumber } from "./attributes.js";
import { elementwise, unarySamples } from "./elementwise.js";
import { checkFloats, operand } from "./shapes.js";

/** erf in float64: the all-positive series below 2.5, the continued fraction of erfc above. DLMF 7.6.2, 7.9.1. */
export function erf(x: number): number {
  const a = Math.abs(x);
  return Math.sign(x) * (a < 2.5 ? erfSeries(a) : 1 - erfcFraction(a));
}

function erfSeries(a: number): number {
  let [term, sum] = [a, a];
  for (let n = 1; term > 1e-18 * sum; n++) {
    term *= (2 * a * a) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * sum;
}

function erfcFraction(a: number): number {
  if (a > 27) return 0;
  let fraction = a;
  for (let n = 60; n > 0; n--) fraction = a + n / 2 / fraction;
  return Math.exp(-a * a) / (Math.sqrt(Math.PI) * fraction);
}

/** 1 − erf in float64, with all its digits where it is small. */
function erfc(x: number): number {
  const a = Math.abs(x);
  const tail = a < 2.5 ? 1 - erfSeries(a) : erfcFraction(a);
  return x < 0 ? 2 - tail : tail;
}

/** Φ(x), exact in the left tail too. */
const normalCdf = (x: number): number => 0.5 * erfc(-x * Math.SQRT1_2);

const normalPdf = (x: number): number => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);

// Abramowitz & Stegun 7.1.26, |error| ≤ 1.5e-7. Its exponential is e^{-x²/2} when erf's argument is x/√2, so Φ and φ
// share it. |x| is cut at 16, where the exponential is already 0 in f32: a·a never overflows.
const TAIL = "t * (0.2548296 + t * (-0.28449672 + t * (1.4214138 + t * (-1.4531521 + t * 1.0614054))))";
const NORMAL_CDF = [
  "fn normal_cdf(x: f32) -> f32 {",
  "  let a = min(abs(x), 16.0);",
  "  let t = 1.0 / (1.0 + 0.23164189 * a);",
  `  let tail = 0.5 * exp(-0.5 * a * a) * ${TAIL};`,
  "  return select(1.0 - tail, tail, x < 0.0);",
  "}",
].join("\n");
const GELU_SLOPE = [
  "fn gelu_slope(x: f32) -> f32 {",
  "  let a = min(abs(x), 16.0);",
  "  let e = exp(-0.5 * a * a);",
  "  let t = 1.0 / (1.0 + 0.23164189 * a);",
  `  let tail = 0.5 * e * ${TAIL};`,
  "  return select(1.0 - tail, tail, x < 0.0) + 0.3989423 * clamp(x, -16.0, 16.0) * e;",
  "}",
].join("\n");
const ERF = [
  "fn error_function(x: f32) -> f32 {",
  "  let a = min(abs(x), 12.0);",
  "  let t = 1.0 / (1.0 + 0.3275911 * a);",
  "  let s = a * a;",
  // Near 0 the difference from 1 has lost its digits; the series to x¹¹ is good to 3e-8 below 0.5.
  "  let far = s * s * (0.026866171 - s * (0.0052239775 - s * 0.0008548327));",
  "  let near = a * (1.1283792 - s * (0.37612638 - s * 0.11283791) - s * far);",
  `  return sign(x) * select(1.0 - exp(-s) * ${TAIL}, near, a < 0.5);`,
  "}",
].join("\n");
// Press et al. 1992, §6.2: within 1.2e-7 of the value itself, however small. |x| is cut at 12, where it is 0 in f32.
const ERFC = [
  "fn complementary_error_function(x: f32) -> f32 {",
  "  let a = min(abs(x), 12.0);",
  "  let t = 1.0 / (1.0 + 0.5 * a);",
  "  let higher = 0.27886807 + t * (-1.135204 + t * (1.4885159 + t * (-0.82215223 + t * 0.17087277)));",
  "  let lower = 1.0000237 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * higher)));",
  "  let tail = t * exp(-1.2655122 + t * lower - a * a);",
  "  return select(tail, 2.0 - tail, x < 0.0);",
  "}",
].join("\n");
// exp of a non-positive number only; 0 and 1 are reached exactly.
const LOGISTIC = [
  "fn logistic(x: f32) -> f32 {",
  "  let e = exp(-abs(x));",
  "  return select(e, 1.0, x >= 0.0) / (1.0 + e);",
  "}",
].join("\n");
const TANH = "fn bounded_tanh(x: f32) -> f32 { return tanh(clamp(x, -15.0, 15.0)); }";
const GELU_TANH = [
  "fn gelu_by_tanh(x: f32) -> f32 {",
  "  let a = clamp(x, -16.0, 16.0);",
  "  return 0.5 * x * (1.0 + tanh(clamp(0.7978846 * (a + 0.044715 * a * a * a), -15.0, 15.0)));",
  "}",
].join("\n");

const sigmoid = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);
const tanhArgument = (x: number): number => SQRT_2_OVER_PI * (x + 0.044715 * x * x * x);
/** ±2/√π·e^(−x²). */
const erfSlope = (sign: 1 | -1): OpRecord["gradient"] => slope((o, dy, x) =>
  o.mul(o.mul(dy, sign * 2 / Math.sqrt(Math.PI)), o.unary("exp", o.unary("neg", o.mul(x, x)))));
/** Wide and narrow: saturated ends and the middle. */
const CURVE: readonly OpSample[] = [...unarySamples(-4, 4), { inputs: [{ shape: [33], range: [-40, 40] }] }];

const smooth: readonly OpRecord[] = [
  elementwise({
    name: "erf", of: "x", takes: "real", doc: "The error function. Source: torch.erf.", cost: 20,
    scalar: erf, wgsl: (x) => `error_function(${x})`, wgslFunctions: { error_function: ERF },
    gradient: erfSlope(1), samples: CURVE,
  }),
  elementwise({
    name: "erfc", of: "x", takes: "real", cost: 20,
    doc: "1 − erf(x), which keeps its digits where erf is nearly 1. Source: torch.special.erfc.",
    scalar: erfc, wgsl: (x) => `complementary_error_function(${x})`,
    wgslFunctions: { complementary_error_function: ERFC },
    gradient: erfSlope(-1), samples: CURVE,
  }),
  elementwise({
    name: "gelu", of: "x", takes: "real", cost: 22,
    doc: "x·Φ(x), exact (erf). Source: Hendrycks & Gimpel 2016; torch.nn.GELU.",
    scalar: (x) => x * normalCdf(x), wgsl: (x) => `(${x} * normal_cdf(${x}))`,
    wgslFunctions: { normal_cdf: NORMAL_CDF },
    gradient: slope((o, dy, x) => o.mul(dy, o.unary("gelu_derivative", x))), samples: CURVE,
  }),
  elementwise({
    name: "gelu_derivative", of: "x", takes: "real", cost: 24, internal: true,
    doc: "d gelu / dx = Φ(x) + x·φ(x), sharing one exponential.",
    scalar: (x) => normalCdf(x) + x * normalPdf(x), wgsl: (x) => `gelu_slope(${x})`,
    wgslFunctions: { gelu_slope: GELU_SLOPE },
    gradient: slope((o, dy, x) => {
      const pdf = o.mul(o.unary("exp", o.mul(o.mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
      return o.mul(dy, o.mul(pdf, o.sub(2, o.mul(x, x))));
    }),
    samples: CURVE,
  }),
  elementwise({
    name: "gelu_tanh", of: "x", takes: "real", cost: 20,
    doc: "GELU's tanh approximation. Source: Hendrycks & Gimpel 2016; torch.nn.GELU(approximate=\"tanh\").",
    scalar: (x) => 0.5 * x * (1 + Math.tanh(tanhArgument(x))), wgsl: (x) => `gelu_by_tanh(${x})`,
    wgslFunctions: { gelu_by_tanh: GELU_TANH }, gradient: slope(geluTanhSlope), samples: CURVE,
  }),
  elementwise({
    name: "tanh", of: "x", takes: "real", doc: "The hyperbolic tangent. Source: torch.tanh.", cost: 14,
    scalar: Math.tanh, wgsl: (x) => `bounded_tanh(${x})`, wgslFunctions: { bounded_tanh: TANH },
    gradient: slope((o, dy, _x, y) => o.mul(dy, o.sub(1, o.mul(y, y)))), samples: CURVE,
  }),
  elementwise({
    name: "sigmoid", of: "x", takes: "real", doc: "1 / (1 + e^−x). Source: torch.sigmoid.", cost: 12,
    scalar: sigmoid, wgsl: (x) => `logistic(${x})`, wgslFunctions: { logistic: LOGISTIC },
    gradient: slope((o, dy, _x, y) => o.mul(dy, o.mul(y, o.sub(1, y)))), samples: CURVE,
  }),
  elementwise({
    name: "silu", of: "x", takes: "real", doc: "x·sigmoid(x). Source: torch.nn.SiLU.", cost: 13,
    scalar: (x) => x * sigmoid(x), wgsl: (x) => `(${x} * logistic(${x}))`, wgslFunctions: { logistic: LOGISTIC },
    gradient: slope((o, dy, x) => {
      const s = o.unary("sigmoid", x);
      return o.mul(dy, o.mul(s, o.add(1, o.mul(x, o.sub(1, s)))));
    }),
    samples: CURVE,
  }),
  elementwise({
    name: "softplus", of: "x", takes: "real", doc: "ln(1 + e^x). Source: torch.nn.Softplus.", cost: 22,
    scalar: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    wgsl: (x) => `(max(${x}, 0.0) + log_one_plus(exp(-abs(${x}))))`, wgslFunctions: { log_one_plus: logOnePlus() },
    gradient: slope((o, dy, x) => o.mul(dy, o.unary("sigmoid", x))), samples: CURVE,
  }),
  elementwise({
    name: "relu", of: "x", takes: "real", doc: "max(x, 0); its derivative at 0 is 0. Source: torch.relu.",
    scalar: (x) => Math.max(x, 0), wgsl: (x) => `max(${x}, 0.0)`,
    gradient: slope((o, dy, x) => o.where(o.gt(x, 0), dy, 0)), samples: CURVE,
  }),
];

function geluTanhSlope(o: Algebra, dy: Node, x: Node): Node {
  const square = o.mul(x, x);
  const t = o.unary("tanh", o.mul(o.mul(x, SQRT_2_OVER_PI), o.add(1, o.mul(square, 0.044715))));
  const inner = o.mul(SQRT_2_OVER_PI, o.add(1, o.mul(square, 3 * 0.044715)));
  const rise = o.mul(o.mul(x, 0.5), o.mul(o.sub(1, o.mul(t, t)), inner));
  return o.mul(dy, o.add(o.mul(0.5, o.add(1, t)), rise));
}

/** An activation with numbers to it, by simpler ops. `numbers` are the arguments and their defaults. */
function parametric<Name extends string>(
  name: string, signature: string, doc: string, numbers: Readonly<Record<Name, number | undefined>>,
  expand: (ops: Ops, x: Node, attrs: Readonly<Record<Name, number>>) => Node,
): OpRecord {
  return defineOp({
    name, kind: "composite", signature, doc,
    canonical(_inputs, attrs) {
      const out: Record<string, number> = {};
      for (const [key, otherwise] of Object.entries<number | undefined>(numbers)) {
        const value = readNumber(attrs[key], `\`${key}\` of \`${name}\``, otherwise);
        if (isFault(value)) return value;
        out[key] = value;
      }
      const { low, high } = out;
      if (low !== undefined && high !== undefined && low > high) {
        return fault("value_error", `\`${name}\` needs low ≤ high, got ${low} and ${high}`);
      }
      return out as Readonly<Record<Name, number>>; // every one of `numbers` has been read
    },
    infer: (inputs) => checkFloats(name, inputs, 1) ?? [operand(inputs, 0)],
    expand: (ops, inputs, attrs) => expand(ops, operand(inputs, 0), attrs),
    gradient: "expand",
    samples: unarySamples(-4, 4).map((s) => ({ ...s, attrs: { low: -1.1, high: 1.7 } })),
  });
}

const clampTo = (ops: Ops, x: Node, low: number, high: number): Node => {
  const o = algebra(ops);
  return o.binary("minimum", o.binary("maximum", x, low), high);
};

const piecewise: readonly OpRecord[] = [
  parametric("clamp", "(x: [..], low: real, high: real) -> [..]", "x clamped to [low, high]. Source: torch.clamp.",
    { low: undefined, high: undefined },
      (ops, x, attrs) => clampTo(ops, x, attrs.low, attrs.high)),
  parametric("leaky_relu", "(x: [..], slope = 0.01) -> [..]",
    "x where positive, else slope·x. Source: torch.nn.LeakyReLU.",
    { slope: 0.01 }, (ops, x, attrs) => {
      const o = algebra(ops);
      return o.where(o.gt(x, 0), x, o.mul(x, attrs.slope));
    }),
  parametric("elu", "(x: [..], alpha = 1.0) -> [..]", "x where positive, else alpha·(e^x − 1). Source: torch.nn.ELU.",
    { alpha: 1 }, (ops, x, attrs) => {
      const o = algebra(ops);
      return o.where(o.gt(x, 0), x, o.mul(o.unary("expm1", o.binary("minimum", x, 0)), attrs.alpha));
    }),
  parametric("hardswish", "(x: [..]) -> [..]", "x·clamp(x + 3, 0, 6) / 6. Source: torch.nn.Hardswish.", {},
    (ops, x) => {
    const o = algebra(ops);
    return o.div(o.mul(x, clampTo(ops, o.add(x, 3), 0, 6)), 6);
  }),
];

export const activations: readonly OpRecord[] = [...smooth, ...piecewise];
