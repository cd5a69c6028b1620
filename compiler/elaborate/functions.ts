/**
 * @file Functions of compile-time values: numbers, lists, initializers. Where a tensor takes part the op of the same
 * name is meant instead.
 */
import type { Call } from "../../dsl/ast.js";
import type { Initializer } from "../../runtime/manifest.js";
import { roundEven } from "../ops/arithmetic.js";
import type { Frame } from "./frame.js";
import { describe, initializer, list, number, type Value } from "./values.js";

/** A function's value for these arguments; undefined where they do not suit it. */
type Fold = (frame: Frame, call: Call, args: readonly Value[]) => Value | undefined;

interface CompileTimeFunction {
  readonly name: string;
  readonly signature: string;
  readonly doc: string;
  readonly fold: Fold;
}

const numbersOf = (values: readonly Value[]): number[] | undefined => {
  const numbers: number[] = [];
  for (const v of values) {
    if (v.kind !== "number") return undefined;
    numbers.push(v.value);
  }
  return numbers;
};

/** One number to one number. */
const unary = (name: string, doc: string, f: (x: number) => number): CompileTimeFunction => ({
  name, doc, signature: "(x: real) -> real",
  fold: (_frame, _call, [x, more]) => (x?.kind === "number" && !more ? number(f(x.value)) : undefined),
});

/** Several numbers, or a list of them, to one. */
const folding = (name: string, doc: string, f: (numbers: readonly number[]) => number): CompileTimeFunction => ({
  name, doc, signature: "(items: list) -> real",
  fold(frame, call, args) {
    const [first] = args;
    const items = args.length === 1 && first?.kind === "list" ? first.items : args;
    frame.session.countItems(frame, call.span, items.length);
    const numbers = numbersOf(items);
    return numbers && numbers.length > 0 ? number(f(numbers)) : undefined;
  },
});

/** One number to an initializer. */
const starting = (
  name: string, argument: string, doc: string, make: (x: number) => Initializer,
): CompileTimeFunction => ({
  name, doc, signature: `(${argument}: real)`,
  fold: (_frame, _call, [x, more]) => (x?.kind === "number" && !more ? initializer(make(x.value)) : undefined),
});

/** `count` numbers from `f`, within the limit on lists. */
function listOf(frame: Frame, call: Call, count: number, f: (i: number) => number): Value {
  frame.session.countItems(frame, call.span, count);
  return list(Array.from({ length: count }, (_, i) => number(f(i)))); // counted above, before it takes memory
}

const isCount = (n: number | undefined): n is number => n !== undefined && Number.isInteger(n) && n >= 0;

const table: readonly CompileTimeFunction[] = [
  unary("sqrt", "Square root.", Math.sqrt),
  unary("exp", "e to the power x.", Math.exp),
  unary("log", "Natural logarithm.", Math.log),
  unary("sin", "Sine of x radians.", Math.sin),
  unary("cos", "Cosine of x radians.", Math.cos),
  unary("abs", "Absolute value.", Math.abs),
  unary("int", "x rounded toward zero.", (x) => Math.trunc(x) + 0),
  unary("floor", "The largest whole number ≤ x.", Math.floor),
  unary("ceil", "The smallest whole number ≥ x.", Math.ceil),
  unary("round", "The nearest whole number; halves round to even.", roundEven),
  folding("min", "The smallest of several numbers or of a list.", (x) => x.reduce((a, b) => Math.min(a, b))),
  folding("max", "The largest of several numbers or of a list.", (x) => x.reduce((a, b) => Math.max(a, b))),
  folding("sum", "The sum of several numbers or of a list.", (x) => x.reduce((a, b) => a + b)),
  {
    name: "len", doc: "The number of items in a list.", signature: "(items: list) -> int",
    fold: (_frame, _call, [x, more]) => (x?.kind === "list" && !more ? number(x.items.length) : undefined),
  },
  {
    name: "range", doc: "Whole numbers from `from` (default: 0) up to, but not including, `to`.",
      signature: "(from: int, to: int) -> list",
    fold(frame, call, args) {
      const [first, second, more] = numbersOf(args) ?? [];
      if (first === undefined || more !== undefined) return undefined;
      const [from, to] = second === undefined ? [0, first] : [first, second];
      if (!Number.isInteger(from) || !Number.isInteger(to)) return undefined;
      if (to < from) {
        return frame.fail("value_error", { text: `\`range\` cannot run from ${from} up to ${to}` }, call.span);
      }
      return listOf(frame, call, to - from, (i) => from + i);
    },
  },
  {
    name: "linspace", doc: "`count` evenly spaced numbers from `from` to `to`, inclusive; only `from` if `count` is 1.",
    signature: "(from: real, to: real, count: int) -> list",
    fold(frame, call, args) {
      const [from, to, count, more] = numbersOf(args) ?? [];
      if (from === undefined || to === undefined || !isCount(count) || more !== undefined) return undefined;
      return listOf(frame, call, count, (i) => (count === 1 ? from : from + ((to - from) * i) / (count - 1)));
    },
  },
  starting("constant", "v", "Initialized to v.", (value) => ({ kind: "constant", value })),
  starting("uniform", "a", "Initialized uniformly in ±a.", (bound) => ({ kind: "uniform", bound })),
  starting("normal", "s", "Initialized normally with standard deviation s.", (std) => ({ kind: "normal", std })),
  starting("trunc_normal", "s", "Initialized normally with standard deviation s, truncated at ±2.", (std) =>
    ({ kind: "trunc_normal", std })),
];

/** The compile-time functions by name, for calls, suggestions and `explain`. */
export const FUNCTIONS: ReadonlyMap<string, CompileTimeFunction> = new Map(table.map((f) => [f.name, f]));

/** A call of a compile-time function; undefined where an op may be meant (`elsewhere`: there is one of that name). */
export function callFunction(frame: Frame, call: Call, args: readonly Value[], elsewhere: boolean): Value | undefined {
  const found = FUNCTIONS.get(call.callee.text);
  if (!found) return undefined;
  const named = call.args.some((a) => a.name);
  const value = named ? undefined : found.fold(frame, call, args);
  if (value || elsewhere) return value;
  const dim = args.find((a) => a.kind === "dim");
  if (dim) return frame.fail("symbolic_batch", { where: `an argument of \`${found.name}\`` }, call.span);
  const got = args.map(describe).join(" and ");
  return frame.fail("wrong_type", {
    text: `\`${found.name}\` cannot take ${named ? "named arguments" : got || "nothing"}`,
    help: `its signature is \`${found.name}${found.signature}\``,
  }, call.span);
}
