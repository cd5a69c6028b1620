/**
 * @file Recognition: values spelled out in simple ops become the op that has a kernel, or a stable formula, of its own.
 *
 * The spellings are those left by `simplify`: `x / sqrt(y)` has become `x * rsqrt(y)`, `x / 2` is `0.5 * x`, `x * x` is
 * `square(x)`, `1 / x` is `reciprocal(x)`. The forms before it are listed where people write them, so that recognition
 * does not hang on the order of passes.
 */
import { isConstant, sizeOf } from "../../ir/dim.js";
import type { Graph } from "../../ir/graph.js";
import { constantValue, sameNumber, type Match } from "../pattern.js";
import { rewrite, type Rewritten } from "../engine.js";
import { attrNamed, nodeNamed, rule, type Guard, type Rule, type RuleExample } from "../rule.js";
import { arithmeticRules } from "./arithmetic.js";
import { attentionRules } from "./attention.js";
import { movementRules } from "./movement.js";

const X = { x: ["B", 5, 8] } as const;
const on = (...texts: readonly [string, ...string[]]): [RuleExample, ...RuleExample[]] => {
  const [first, ...rest] = texts;
  const make = (text: string): RuleExample => ({ text, inputs: X });
  return [make(first), ...rest.map(make)];
};

/** Patterns of which one part, called `name`, is written in different `ways`. */
const spelled = (texts: readonly string[], name: string, ways: readonly string[]): string[] =>
  texts.flatMap((text) => ways.map((way) => text.replaceAll(name, way)));

const ERF = ["erf(x / sqrt(2))", "erf(x * sqrt(0.5))"];
const ERFC = ["erfc(neg(x) / sqrt(2))", "erfc(neg(x) * sqrt(0.5))", "erfc(x * (-sqrt(0.5)))", "erfc(x / (-sqrt(2)))"];
const CUBE = ["x ^ 3", "x * x * x", "square(x) * x"];
const INNER = CUBE.map((cube) => `0.044715 * ${cube} + x`);
const TANH = [
  ...INNER.map((inner) => `tanh(sqrt(2 / 3.141592653589793) * (${inner}))`),
  ...["x ^ 2", "x * x", "square(x)"].map((s) => `tanh(sqrt(2 / 3.141592653589793) * x * (1 + 0.044715 * ${s}))`),
];

const activations: readonly Rule[] = [
  rule("erfc", ["1 - erf(x)", "1 + erf(neg(x))"], "erfc(x)", {
    doc: "1 − erf(x) is erfc, which does not lose digits.", exclusive: true, examples: on("1 - erf(x)", "erf(-x) + 1"),
  }),
  rule("gelu", [
    ...spelled(["0.5 * x * (1 + ERF)", "x * (1 + ERF) / 2", "x * (0.5 + 0.5 * ERF)"], "ERF", ERF),
    ...spelled(["0.5 * x * ERFC", "x * ERFC / 2"], "ERFC", ERFC),
  ], "gelu(x)", {
    doc: "½·x·(1 + erf(x / √2)) and ½·x·erfc(−x / √2) are gelu.", exclusive: true,
    examples: on(
      "0.5 * x * (1 + erf(x / sqrt(2)))", "x * (0.5 * (1 + erf(x * 0.7071067811865476)))",
      "x * (1 + erf(x / sqrt(2))) / 2", "x * (0.5 + 0.5 * erf(x / sqrt(2)))",
      "0.5 * x * erfc(-x / sqrt(2))", "x * erfc(-x * 0.7071067811865476) / 2",
      "0.5 * x * erfc(x * (-0.7071067811865476))", "x * (1 - erf(-x / sqrt(2))) / 2",
    ),
  }),
  rule("gelu_tanh", spelled(["0.5 * x * (1 + TANH)", "x * (1 + TANH) / 2"], "TANH", TANH), "gelu_tanh(x)", {
    doc: "½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))) is gelu_tanh.", exclusive: true,
    examples: on(
      "0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x ^ 3)))",
      "0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))",
      "0.5 * x * (1 + tanh(0.7978845608028654 * x * (1 + 0.044715 * x * x)))",
    ),
  }),
  rule("sigmoid", ["1 / (1 + exp(neg(x)))", "reciprocal(1 + exp(neg(x)))"], "sigmoid(x)", {
    doc: "1 / (1 + e^−x) is sigmoid.", exclusive: true, examples: on("1 / (1 + exp(-x))"),
  }),
  rule("silu", ["x * sigmoid(x)", "x / (1 + exp(neg(x)))"], "silu(x)", {
    doc: "x·sigmoid(x) is silu.", exclusive: true, examples: on("x * sigmoid(x)", "x / (1 + exp(-x))"),
  }),
  rule("relu", [
    "maximum(x, 0)", "where(x > 0, x, 0)", "where(x >= 0, x, 0)", "where(x < 0, 0, x)", "where(x <= 0, 0, x)"
  ], "relu(x)", {
    doc: "max(x, 0) is relu.", exclusive: true,
    examples: on("maximum(x, 0)", "where(x > 0, x, 0)", "where(x < 0, 0, x)"),
    when: (match) => nodeNamed(match, "x").dtype === "f32",
  }),
  rule("softplus", ["log(1 + exp(x))", "log1p(exp(x))"], "softplus(x)", {
    doc: "ln(1 + e^x) is softplus, which does not overflow.", exclusive: true,
    examples: on("log(1 + exp(x))", "log1p(exp(x))"),
  }),
];

const SHIFTED = "exp(x - max(x, axis = a, keep = true))";
const MAXIMUM = "max(x, axis = a, keep = true)";

const softmaxes: readonly Rule[] = [
  rule("softmax", [
    `${SHIFTED} / sum(${SHIFTED}, axis = a, keep = true)`, "exp(x) / sum(exp(x), axis = a, keep = true)",
    `${SHIFTED} * reciprocal(sum(${SHIFTED}, axis = a, keep = true))`, "exp(x - logsumexp(x, axis = a, keep = true))",
    "exp(log_softmax(x, axis = a))",
  ], "softmax(x, axis = a)", {
    doc: "e^x / Σ e^x is softmax, which does not overflow.", exclusive: true,
    examples: on(
      "exp(x - max(x, axis = -1, keep = true)) / sum(exp(x - max(x, axis = -1, keep = true)), axis = -1, keep = true)",
      "exp(x) / sum(exp(x), axis = [1], keep = true)",
      "exp(x - reshape(max(x, axis = 2), shape = [B, 5, 1])) * " +
        "reciprocal(sum(exp(x - max(x, axis = 2, keep = true)), axis = 2, keep = true))",
    ),
  }),
  rule("logsumexp", [
    "log(sum(exp(x), axis = a, keep = k))", `log(sum(${SHIFTED}, axis = a, keep = k)) + max(x, axis = a, keep = k)`
  ], "logsumexp(x, axis = a, keep = k)", {
    doc: "ln Σ e^x is logsumexp, which does not overflow.", exclusive: true,
    examples: on(
      "log(sum(exp(x), axis = [-1]))", "log(sum(exp(x - max(x, axis = 2, keep = true)), axis = 2)) + max(x, axis = 2)",
    ),
  }),
  rule("log_softmax", [
    "log(softmax(x, axis = a))", "x - logsumexp(x, axis = a, keep = true)",
    "neg(logsumexp(x, axis = a, keep = true)) + x",
    `x - ${MAXIMUM} - log(sum(${SHIFTED}, axis = a, keep = true))`,
  ], "log_softmax(x, axis = a)", {
    doc: "ln softmax(x) is log_softmax, which does not lose digits.", exclusive: true,
    examples: on(
      "log(softmax(x, axis = -1))", "x - log(sum(exp(x), axis = [-1], keep = true))",
      "(x - max(x, axis = 1, keep = true)) - log(sum(exp(x - max(x, axis = 1, keep = true)), axis = 1, keep = true))",
    ),
  }),
];

const CENTRED = "(x - mean(x, axis = a, keep = true))";
const VARIANCE = "variance(x, axis = a, keep = true)";

/** The number of elements a mean runs over, where it is known. */
function countOf(match: Match, name: string): number | undefined {
  const axes = attrNamed(match, "a");
  const sizes = nodeNamed(match, name).shape.filter((_, i) => Array.isArray(axes) && axes.includes(i));
  const size = sizeOf(sizes);
  return isConstant(size) ? size.c : undefined;
}

/** Whether a sum is divided by the number of its elements, or multiplied by its reciprocal. */
const isCount: Guard = (match) => {
  const n = constantValue(nodeNamed(match, "n"));
  const count = countOf(match, "x");
  return n !== undefined && count !== undefined && sameNumber(match.root.op === "mul" ? 1 / n : n, count);
};

const norms: readonly Rule[] = [
  rule("mean", ["sum(x, axis = a, keep = k) / n", "sum(x, axis = a, keep = k) * n"], "mean(x, axis = a, keep = k)", {
    doc: "A sum over n elements divided by n is a mean.", when: isCount,
    examples: on("sum(x, axis = [-1], keep = true) / 8", "sum(x, axis = [1]) / 5", "sum(x, axis = [-1]) * 0.125"),
  }),
  rule("variance", [
    `mean(square(${CENTRED}), axis = a, keep = k)`, `mean(${CENTRED} * ${CENTRED}, axis = a, keep = k)`,
    `mean(${CENTRED} ^ 2, axis = a, keep = k)`,
    "mean(square(x), axis = a, keep = k) - square(mean(x, axis = a, keep = k))",
    "mean(x ^ 2, axis = a, keep = k) - mean(x, axis = a, keep = k) ^ 2",
    "mean(x * x, axis = a, keep = k) - square(mean(x, axis = a, keep = k))",
  ], "variance(x, axis = a, keep = k)", {
    doc: "The mean square less the squared mean is the variance, which does not cancel.",
    examples: on(
      "mean((x - mean(x, axis = [-1], keep = true)) ^ 2, axis = [-1])",
      "mean(x * x, axis = [1], keep = true) - mean(x, axis = [1], keep = true) ^ 2",
    ),
  }),
  rule("standardize", [
    `${CENTRED} * rsqrt(${VARIANCE} + e)`, `${CENTRED} / sqrt(${VARIANCE} + e)`,
    `${CENTRED} * reciprocal(sqrt(${VARIANCE} + e))`,
    `${CENTRED} * (${VARIANCE} + e) ^ (-0.5)`, `${CENTRED} / (${VARIANCE} + e) ^ 0.5`,
  ], "standardize(x, axis = a, eps = e)", {
    doc: "(x − mean) / √(variance + eps) is standardize, one kernel.", exclusive: true,
    examples: on(
      "(x - mean(x, axis = [-1], keep = true)) / sqrt(variance(x, axis = [-1], keep = true) + 1e-6)",
      "(x - mean(x, axis = [-1], keep = true)) * rsqrt(mean((x - mean(x, axis = [-1], keep = true)) ^ 2, axis = " +
        "[-1], keep = true) + 1e-5)",
      "(x - mean(x, axis = [1, 2], keep = true)) / (variance(x, axis = [1, 2], keep = true) + 1e-6) ^ 0.5",
      "(x - reshape(sum(x, axis = [2]) / 8, shape = [B, 5, 1])) / sqrt(mean(x * x, axis = [2], keep = true) - " +
        "mean(x, axis = [2], keep = true) ^ 2 + 0.001)",
    ),
  }),
];

/** What `explain` lists; `recognize` also runs the algebra and movement rules that bring values into these forms. */
export const recognizeRules: readonly Rule[] = [...activations, ...softmaxes, ...norms, ...attentionRules];

/** Values spelled out in simple ops as the ops they mean. Pure; the result is at a fixed point. */
export const recognize = (graph: Graph): Rewritten => rewrite(graph, [
  ...recognizeRules, ...arithmeticRules, ...movementRules
]);
