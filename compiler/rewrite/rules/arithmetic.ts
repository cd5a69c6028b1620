/**
 * @file Rules of scalar algebra. Only such as keep every result within an f32 rounding of what the text says, and as
 * do not lose a NaN or an infinity the text would give.
 */
import { ELEMENTWISE, OPS } from "../../ops/index.js";
import { constantValue, type Match } from "../pattern.js";
import { nodeNamed, rule, ruleAt, type Guard, type Rule, type RuleExample } from "../rule.js";

const X = { x: ["B", 5, 7] } as const;
const on = (text: string, range?: readonly [number, number]): [RuleExample] => [{ text, inputs: X, ...(
  range ? { range } : {}
) }];
const POSITIVE = [0.25, 4] as const;

/** 2^k in f32's normal range: dividing by it and multiplying by its inverse round alike. */
const isPowerOfTwo = (x: number): boolean => Number.isInteger(Math.log2(Math.abs(x))) && Math.abs(
  Math.log2(Math.abs(x))
) <= 126;

/** `c` compares two numbers, and comes to `outcome`. */
const decided = (outcome: boolean): Guard => (match) => {
  const test = nodeNamed(match, "c");
  const compare = OPS.get(test.op)?.scalar;
  const [left, right, more] = test.inputs.map(constantValue);
  if (!compare || left === undefined || right === undefined || more !== undefined) return false;
  return (compare(left, right) !== 0) === outcome;
};

const folding: readonly Rule[] = [
  ruleAt("fold constants", ELEMENTWISE, (ops, { root }) => {
    const scalar = OPS.get(root.op)?.scalar;
    const values = root.inputs.map((input) => (
      input.op === "constant" && input.dtype === "f32" ? constantValue(input) : undefined
    ));
    if (!scalar || root.dtype !== "f32" || root.shape.length > 0 || values.some(
      (v) => v === undefined
    )) return undefined;
    const value = scalar(...values.map((v) => v ?? NaN)); // none is undefined
    return Number.isFinite(value) ? ops.constant(value) : undefined;
  }, {
    doc: "An elementwise op of 0-d constants is a constant.",
    examples: [{ text: "x * sigmoid(exp(add(0.5, 0.25)))", inputs: X }],
  }),
  rule("fold where true", "where(c, x, y)", "x", {
    doc: "A choice that is known to be true is its first value.", when: decided(true),
    examples: on("where(1 + 1 > 1.5, x, neg(x))"),
  }),
  rule("fold where false", "where(c, x, y)", "y", {
    doc: "A choice that is known to be false is its second value.", when: decided(false),
    examples: on("where(1 + 1 > 2.5, neg(x), x)"),
  }),
  rule("where alike", "where(c, x, x)", "x", {
    doc: "Both branches are one value.",
    examples: [{ text: "where(c > 0, x, x)", inputs: { c: ["B", 5], x: ["B", 5] } }],
  }),
];

const neutral: readonly Rule[] = [
  rule("times one", ["x * 1", "x / 1", "x ^ 1"], "x", {
    doc: "x·1 = x / 1 = x¹ = x.", examples: [...on("1 * x"), ...on("x / 1"), ...on("x ^ 1")],
  }),
  rule("plus zero", ["x + 0", "x - 0"], "x", { doc: "x + 0 = x − 0 = x.", examples: [...on("0 + x"), ...on("x - 0")] }),
  rule("negate", ["x * (-1)", "x / (-1)", "0 - x"], "neg(x)", {
    doc: "x·(−1) = x / (−1) = 0 − x = −x.", examples: [...on("x * (-1)"), ...on("0 - x")],
  }),
  rule("double negation", "neg(neg(x))", "x", { doc: "−(−x) = x.", examples: on("-(-x)") }),
  rule("add a negative", "x + neg(y)", "x - y", { doc: "x + (−y) = x − y.", examples: on("neg(x) + square(x)") }),
  rule("subtract a negative", "x - neg(y)", "x + y", { doc: "x − (−y) = x + y.", examples: on("x - neg(exp(x))") }),
  rule("negate a difference", "neg(x - y)", "y - x", { doc: "−(x − y) = y − x.", examples: on("neg(x - exp(x))") }),
  rule("double not", "not(not(x))", "x", { doc: "not not x = x.", examples: on("where(not(not(x > 0)), x, 0.5)") }),
];

const powers: readonly Rule[] = [
  rule("square", ["x ^ 2", "x * x"], "square(x)", { doc: "x² = x·x.", examples: [...on("x ^ 2"), ...on("x * x")] }),
  rule("square root", "x ^ 0.5", "sqrt(x)", { doc: "x^½ = √x.", examples: on("x ^ 0.5", POSITIVE) }),
  rule("reciprocal", ["x ^ (-1)", "1 / x"], "reciprocal(x)", { doc: "x⁻¹ = 1 / x.", examples: [...on(
    "x ^ (-1)", POSITIVE
  ), ...on("1 / x", POSITIVE)] }),
  rule("inverse square root", ["x ^ (-0.5)", "reciprocal(sqrt(x))", "sqrt(reciprocal(x))"], "rsqrt(x)", {
    doc: "x^−½ = 1 / √x.", examples: [...on("x ^ (-0.5)", POSITIVE), ...on("1 / sqrt(x)", POSITIVE), ...on(
      "sqrt(1 / x)", POSITIVE
    )],
  }),
  rule("divide by a root", "x / sqrt(y)", "x * rsqrt(y)", { doc: "x / √y = x·(1 / √y).", examples: on(
    "x / sqrt(square(x) + 0.5)"
  ) }),
];

/** The number a metavariable bound, if it is a 0-d constant. */
function numberAt(match: Match, name: string): number | undefined {
  const node = nodeNamed(match, name);
  return node.op === "constant" && node.dtype === "f32" ? constantValue(node) : undefined;
}

/** Both `a` and `b` are numbers and `x` is not, so that the rule ends. */
const twoNumbers = (combine: (a: number, b: number) => number) => (match: Match): boolean => {
  const [a, b] = [numberAt(match, "a"), numberAt(match, "b")];
  return a !== undefined && b !== undefined && numberAt(match, "x") === undefined && Number.isFinite(combine(a, b));
};

const constants: readonly Rule[] = [
  rule("divide by a power of two", "x / c", "x * (1 / c)", {
    doc: "x / 2^k = x·2^−k, exactly; other divisions stay.", examples: on("x / 8"),
    when(match) {
      const c = numberAt(match, "c");
      return c !== undefined && c !== 1 && isPowerOfTwo(c);
    },
  }),
  rule("join factors", "x * a * b", "x * (a * b)", {
    doc: "(x·a)·b = x·(a·b) for numbers a and b.", when: twoNumbers((a, b) => a * b), examples: on("(x * 0.3) * 1.7"),
  }),
  rule("join divisor", "x * a / b", "x * (a / b)", {
    doc: "(x·a) / b = x·(a / b) for numbers a and b.", when: twoNumbers((a, b) => a / b),
    examples: on("(x * 0.3) / 1.7"),
  }),
];

export const arithmeticRules: readonly Rule[] = [...folding, ...neutral, ...powers, ...constants];
