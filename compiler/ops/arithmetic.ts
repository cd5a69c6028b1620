/**
 * @file Arithmetic, element by element.
 */
import type { Node } from "../ir/graph.js";
import type { GradientContext, OpRecord } from "../ir/op.js";
import { power } from "../ir/power.js";
import { algebra, type Algebra } from "./algebra.js";
import { binarySamples, elementwise, unarySamples } from "./elementwise.js";
import { operand } from "./shapes.js";

/** d(op)/dx·dy of a function of one operand, by algebra on its operand `x`, result `y` and `dy`. */
export const slope = (derivative: (a: Algebra, dy: Node, x: Node, y: Node) => Node): OpRecord["gradient"] =>
  ({ ops, node, dy }: GradientContext) => [derivative(algebra(ops), dy, operand(node.inputs, 0), node)];

/** The same for two operands. */
type Slopes = (a: Algebra, dy: Node, x: Node, z: Node, y: Node) => readonly [Node, Node];
const slopes = (derivatives: Slopes): OpRecord["gradient"] =>
  ({ ops, node, dy }: GradientContext) =>
    derivatives(algebra(ops), dy, operand(node.inputs, 0), operand(node.inputs, 1), node);

const FLAT: OpRecord["gradient"] = () => [undefined];

/** x rounded to the nearest whole number, halves to the even one, as WGSL and torch do. */
export const roundEven = (x: number): number => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/**
 * sin(x + quarter·π/2). WGSL's own may be off by 2⁻¹¹, and is on some adapters. π/2 is taken off in three parts, which
 * is exact to some 1e-7 for |x| up to 8192; the rest lies in ±π/4. Source: Moshier, Cephes, sinf and cosf.
 */
const SINE = [
  "fn sine(x: f32, quarter: i32) -> f32 {",
  "  let n = round(x * 0.63661975);",
  "  let r = ((x - n * 1.5703125) - n * 4.837513e-4) - n * 7.54979e-8;",
  "  let z = r * r;",
  "  let s = r + r * z * (-0.16666655 + z * (0.008332161 - z * 1.9515296e-4));",
  "  let c = 1.0 - 0.5 * z + z * z * (0.041666646 + z * (-0.0013887316 + z * 2.4433157e-5));",
  "  let turn = (i32(n) + quarter) & 3;",
  "  let y = select(s, c, (turn & 1) == 1);",
  "  return select(y, -y, turn >= 2);",
  "}",
].join("\n");

const binaryOps: readonly OpRecord[] = [
  elementwise({
    name: "add", symbol: "+", of: "a b", takes: "number", doc: "a + b. Source: torch.add.",
    scalar: (a, b) => a + b, wgsl: (a, b) => `(${a} + ${b})`,
    gradient: ({ dy }) => [dy, dy], samples: binarySamples([-2, 2]),
  }),
  elementwise({
    name: "sub", symbol: "-", of: "a b", takes: "number", doc: "a − b. Source: torch.sub.",
    scalar: (a, b) => a - b, wgsl: (a, b) => `(${a} - ${b})`,
    gradient: slopes((o, dy) => [dy, o.unary("neg", dy)]), samples: binarySamples([-2, 2]),
  }),
  elementwise({
    name: "mul", symbol: "*", of: "a b", takes: "number", doc: "a·b. Source: torch.mul.",
    scalar: (a, b) => a * b, wgsl: (a, b) => `(${a} * ${b})`,
    gradient: slopes((o, dy, a, b) => [o.mul(dy, b), o.mul(dy, a)]), samples: binarySamples([-2, 2]),
  }),
  elementwise({
    name: "div", symbol: "/", of: "a b", takes: "real", doc: "a / b. Source: torch.div.", cost: 4,
    scalar: (a, b) => a / b, wgsl: (a, b) => `(${a} / ${b})`,
    gradient: slopes((o, dy, _a, b, y) => [o.div(dy, b), o.unary("neg", o.div(o.mul(dy, y), b))]),
    samples: binarySamples([-2, 2], [0.5, 2]),
  }),
  elementwise({
    name: "mod", symbol: "%", of: "a b", takes: "number", cost: 8,
    doc: "a − b·⌊a / b⌋, with the sign of b. Source: torch.remainder.",
    scalar(a, b) {
      const r = a % b;
      return r !== 0 && r < 0 !== b < 0 ? r + b : r;
    },
    // WGSL's % truncates; bare literals fit f32 and i32 alike.
    wgsl: (a, b) => `(${a} % ${b} + select(${b} * 0, ${b}, (${a} % ${b} != 0) && ((${a} % ${b} < 0) != (${b} < 0))))`,
    gradient: slopes((o, dy, a, b) => [dy, o.unary("neg", o.mul(dy, o.unary("floor", o.div(a, b))))]),
    samples: [
      { inputs: [{ shape: [3, 5], range: [-4, 4] }, { shape: [5], range: [4.5, 6] }] },
      { inputs: [{ shape: [7, 5], range: [-9, 9], dtype: "i32" }, { shape: [5], range: [2, 5], dtype: "i32" }] },
    ],
  }),
  elementwise({
    name: "pow", symbol: "^", of: "a b", takes: "real", cost: 16,
    doc: "a to the power b; a negative base takes whole exponents only (NaN otherwise). Source: torch.pow.",
    scalar: power, wgsl: (a, b) => `signed_pow(${a}, ${b})`,
    wgslFunctions: {
      // pow of a negative base is undefined in WGSL, and 0^0 may be NaN: both are put right here.
      signed_pow: [
        "fn signed_pow(a: f32, b: f32) -> f32 {",
        "  let whole = floor(b) == b;",
        "  let odd = whole && (abs(b) - 2.0 * floor(0.5 * abs(b)) == 1.0);",
        "  var y = pow(abs(a), b);",
        "  y = select(y, -y, a < 0.0 && odd);",
        "  y = select(y, sqrt(a), a < 0.0 && !whole);",
        "  y = select(y, 0.0, a == 0.0 && b > 0.0);",
        "  return select(y, 1.0, b == 0.0);",
        "}",
      ].join("\n"),
    },
    gradient: slopes((o, dy, a, b, y) => {
      const positive = o.gt(a, 0);
      const toBase = o.where(o.eq(b, 0), 0, o.mul(b, o.binary("pow", a, o.sub(b, 1))));
      const toExponent = o.where(positive, o.mul(y, o.unary("log", o.where(positive, a, 1))), 0);
      return [o.mul(dy, toBase), o.mul(dy, toExponent)];
    }),
    samples: [
      ...binarySamples([0.3, 2], [-2, 3]),
      { inputs: [{ shape: [3, 5], range: [0.1, 3] }, { shape: [], range: [2, 2] }] },
    ],
  }),
  elementwise({
    name: "minimum", of: "a b", takes: "number", doc: "The smaller of a and b. Source: torch.minimum.",
    scalar: (a, b) => Math.min(a, b), wgsl: (a, b) => `min(${a}, ${b})`,
    gradient: slopes((o, dy, a, b) => winner(o, dy, o.lt(a, b), o.eq(a, b))), samples: binarySamples([-2, 2]),
  }),
  elementwise({
    name: "maximum", of: "a b", takes: "number", doc: "The larger of a and b. Source: torch.maximum.",
    scalar: (a, b) => Math.max(a, b), wgsl: (a, b) => `max(${a}, ${b})`,
    gradient: slopes((o, dy, a, b) => winner(o, dy, o.gt(a, b), o.eq(a, b))), samples: binarySamples([-2, 2]),
  }),
];

/** dy goes to the operand chosen, halved on ties as torch does. */
function winner(o: Algebra, dy: Node, first: Node, tie: Node): readonly [Node, Node] {
  const share = o.where(tie, 0.5, o.where(first, 1, 0));
  return [o.mul(dy, share), o.mul(dy, o.sub(1, share))];
}

const unaryOps: readonly OpRecord[] = [
  elementwise({
    name: "neg", symbol: "-", of: "x", takes: "number", doc: "−x. Source: torch.neg.",
    scalar: (x) => -x, wgsl: (x) => `(-${x})`,
    gradient: slope((o, dy) => o.unary("neg", dy)), samples: unarySamples(),
  }),
  elementwise({
    name: "abs", of: "x", takes: "number", doc: "|x|. Source: torch.abs.",
    scalar: Math.abs, wgsl: (x) => `abs(${x})`,
    gradient: slope((o, dy, x) => o.mul(dy, o.unary("sign", x))), samples: unarySamples(),
  }),
  elementwise({
    name: "sign", of: "x", takes: "number", doc: "−1, 0 or 1. Source: torch.sign.",
    scalar: Math.sign, wgsl: (x) => `sign(${x})`, gradient: FLAT, samples: unarySamples(),
  }),
  elementwise({
    name: "floor", of: "x", takes: "real", doc: "The largest whole number ≤ x. Source: torch.floor.",
    scalar: Math.floor, wgsl: (x) => `floor(${x})`, gradient: FLAT, samples: unarySamples(),
  }),
  elementwise({
    name: "ceil", of: "x", takes: "real", doc: "The smallest whole number ≥ x. Source: torch.ceil.",
    scalar: Math.ceil, wgsl: (x) => `ceil(${x})`, gradient: FLAT, samples: unarySamples(),
  }),
  elementwise({
    name: "round", of: "x", takes: "real", doc: "The nearest whole number; halves round to even. Source: torch.round.",
    scalar: roundEven, wgsl: (x) => `round(${x})`, gradient: FLAT, samples: unarySamples(),
  }),
  elementwise({
    name: "square", of: "x", takes: "number", doc: "x². Source: torch.square.",
    scalar: (x) => x * x, wgsl: (x) => `(${x} * ${x})`,
    gradient: slope((o, dy, x) => o.mul(dy, o.mul(x, 2))), samples: unarySamples(),
  }),
  elementwise({
    name: "reciprocal", of: "x", takes: "real", doc: "1 / x. Source: torch.reciprocal.", cost: 4,
    scalar: (x) => 1 / x, wgsl: (x) => `(1.0 / ${x})`,
    gradient: slope((o, dy, _x, y) => o.unary("neg", o.mul(dy, o.mul(y, y)))), samples: unarySamples(0.3, 3),
  }),
  elementwise({
    name: "sqrt", of: "x", takes: "real", doc: "√x. Source: torch.sqrt.", cost: 4,
    scalar: Math.sqrt, wgsl: (x) => `sqrt(${x})`,
    gradient: slope((o, dy, _x, y) => o.div(o.mul(dy, 0.5), y)), samples: unarySamples(0.2, 4),
  }),
  elementwise({
    name: "rsqrt", of: "x", takes: "real", doc: "1 / √x. Source: torch.rsqrt.", cost: 4,
    scalar: (x) => 1 / Math.sqrt(x), wgsl: (x) => `inverseSqrt(${x})`,
    gradient: slope((o, dy, _x, y) => o.mul(o.mul(dy, -0.5), o.mul(y, o.mul(y, y)))), samples: unarySamples(0.2, 4),
  }),
  elementwise({
    name: "exp", of: "x", takes: "real", doc: "e^x. Source: torch.exp.", cost: 8,
    scalar: Math.exp, wgsl: (x) => `exp(${x})`,
    gradient: slope((o, dy, _x, y) => o.mul(dy, y)), samples: unarySamples(),
  }),
  elementwise({
    name: "expm1", of: "x", takes: "real", doc: "e^x − 1, exact near 0. Source: torch.expm1.", cost: 12,
    scalar: Math.expm1, wgsl: (x) => `exp_minus_one(${x})`,
    wgslFunctions: {
      // Below 0.1 the series to x⁶ is good to 2e-9 relative, where exp(x) - 1 loses digits.
      exp_minus_one: [
        "fn exp_minus_one(x: f32) -> f32 {",
        "  let far = 0.041666668 + x * (0.008333334 + x * 0.0013888889);",
        "  let s = x * (1.0 + x * (0.5 + x * (0.16666667 + x * far)));",
        "  return select(exp(x) - 1.0, s, abs(x) < 0.1);",
        "}",
      ].join("\n"),
    },
    gradient: slope((o, dy, _x, y) => o.mul(dy, o.add(y, 1))),
    samples: [...unarySamples(), ...unarySamples(-0.01, 0.01)],
  }),
  elementwise({
    name: "log", of: "x", takes: "real", doc: "The natural logarithm. Source: torch.log.", cost: 8,
    scalar: Math.log, wgsl: (x) => `natural_log(${x})`,
    wgslFunctions: {
      // WGSL leaves open what log does at 0 and below: some drivers give plain numbers there.
      natural_log: [
        "fn natural_log(x: f32) -> f32 {",
        "  let none = bitcast<f32>(select(0x7fc00000u, 0xff800000u, x == 0.0));",
        "  return select(log(x), none, x <= 0.0);",
        "}",
      ].join("\n"),
    },
    gradient: slope((o, dy, x) => o.div(dy, x)), samples: unarySamples(0.1, 4),
  }),
  elementwise({
    name: "log1p", of: "x", takes: "real", doc: "ln(1 + x), exact near 0. Source: torch.log1p.", cost: 12,
    scalar: Math.log1p, wgsl: (x) => `log_one_plus(${x})`, wgslFunctions: { log_one_plus: logOnePlus() },
    gradient: slope((o, dy, x) => o.div(dy, o.add(x, 1))),
    samples: [...unarySamples(-0.9, 3), ...unarySamples(-0.01, 0.01)],
  }),
  elementwise({
    name: "sin", of: "x", takes: "real", doc: "sin x, radians. Source: torch.sin.", cost: 12,
    scalar: Math.sin, wgsl: (x) => `sine(${x}, 0)`, wgslFunctions: { sine: SINE },
    gradient: slope((o, dy, x) => o.mul(dy, o.unary("cos", x))), samples: unarySamples(),
  }),
  elementwise({
    name: "cos", of: "x", takes: "real", doc: "cos x, radians. Source: torch.cos.", cost: 12,
    scalar: Math.cos, wgsl: (x) => `sine(${x}, 1)`, wgslFunctions: { sine: SINE },
    gradient: slope((o, dy, x) => o.unary("neg", o.mul(dy, o.unary("sin", x)))), samples: unarySamples(),
  }),
  elementwise({
    name: "stop_gradient", of: "x", takes: "free",
    doc: "x, without letting gradients through. Source: torch.Tensor.detach.",
    scalar: (x) => x, wgsl: (x) => x, gradient: "none", samples: unarySamples(),
  }),
];

/** ln(1 + x) in WGSL. Below 0.03 the series to x⁵ is good to 5e-9 relative. */
export function logOnePlus(): string {
  return [
    "fn log_one_plus(x: f32) -> f32 {",
    "  let s = x * (1.0 - x * (0.5 - x * (0.33333334 - x * (0.25 - x * 0.2))));",
    "  return select(log(1.0 + x), s, abs(x) < 0.03);",
    "}",
  ].join("\n");
}

export const arithmetic: readonly OpRecord[] = [...binaryOps, ...unaryOps];
