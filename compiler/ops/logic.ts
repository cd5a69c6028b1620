/**
 * @file Comparisons, logic, choice and conversion, element by element.
 */
import { roundToHalf } from "../ir/half.js";
import type { OpRecord, OpSample } from "../ir/op.js";
import { algebra } from "./algebra.js";
import { binarySamples, elementwise, type OperandRule } from "./elementwise.js";
import { operand } from "./shapes.js";

/** [name, operator, what it asks, WGSL operator, operand rule]. */
const comparisons: readonly [string, string, (a: number, b: number) => boolean, OperandRule][] = [
  ["eq", "==", (a, b) => a === b, "any"],
  ["ne", "!=", (a, b) => a !== b, "any"],
  ["lt", "<", (a, b) => a < b, "number"],
  ["le", "<=", (a, b) => a <= b, "number"],
  ["gt", ">", (a, b) => a > b, "number"],
  ["ge", ">=", (a, b) => a >= b, "number"],
];

/** Whole numbers of a small range, so that equal ones occur. */
const comparisonSamples: readonly OpSample[] = [
  ...binarySamples([-2, 2]),
  { inputs: [{ shape: [5, 7], range: [0, 3], dtype: "i32" }, { shape: [7], range: [0, 3], dtype: "i32" }] },
];

const BITS = { shape: ["B", 5], dtype: "bool" } as const;

export const logic: readonly OpRecord[] = [
  ...comparisons.map(([name, symbol, test, takes]) =>
    elementwise({
      name, symbol, of: "a b", takes, gives: "bool", doc: `a ${symbol} b, a bool. Source: torch.${name}.`,
      scalar: (a, b) => Number(test(a as number, b as number)), // infer has checked the arity
      wgsl: (a, b) => `(${a} ${symbol} ${b})`, gradient: "none", samples: comparisonSamples,
    })),
  elementwise({
    name: "and", of: "a b", takes: "bool", gives: "bool", doc: "Both a and b. Source: torch.logical_and.",
    scalar: (a, b) => Number(a !== 0 && b !== 0), wgsl: (a, b) => `(${a} && ${b})`,
    gradient: "none", samples: [{ inputs: [BITS, { shape: [5], dtype: "bool" }] }],
  }),
  elementwise({
    name: "or", of: "a b", takes: "bool", gives: "bool", doc: "a or b, or both. Source: torch.logical_or.",
    scalar: (a, b) => Number(a !== 0 || b !== 0), wgsl: (a, b) => `(${a} || ${b})`,
    gradient: "none", samples: [{ inputs: [BITS, { shape: [5], dtype: "bool" }] }],
  }),
  elementwise({
    name: "not", of: "x", takes: "bool", gives: "bool", doc: "Not x. Source: torch.logical_not.",
    scalar: (x) => Number(x === 0), wgsl: (x) => `(!${x})`, gradient: "none", samples: [{ inputs: [BITS] }],
  }),
  elementwise({
    name: "where", of: "c a b", takes: "choice", doc: "a where c is true, else b. Source: torch.where.",
    scalar: (c, a, b) => (c !== 0 ? (a as number) : (b as number)), // infer has checked the arity
    wgsl: (c, a, b) => `select(${b}, ${a}, ${c})`,
    gradient({ ops, node, dy }) {
      const [o, c] = [algebra(ops), operand(node.inputs, 0)];
      return [undefined, o.where(c, dy, 0), o.where(c, 0, dy)];
    },
    samples: [
      { inputs: [BITS, { shape: ["B", 5] }, { shape: [1, 5] }] },
      { inputs: [{ shape: [7, 1], dtype: "bool" }, { shape: [3] }, { shape: [] }] },
    ],
  }),
  elementwise({
    name: "float", of: "x", takes: "free", gives: "f32",
    doc: "x as f32; false is 0, true is 1. Source: torch.Tensor.float.",
    scalar: (x) => x, wgsl: (x) => `f32(${x})`, gradient: ({ dy }) => [dy],
    samples: [{ inputs: [{ shape: [5, 7], range: [-9, 9], dtype: "i32" }] }, { inputs: [BITS] },
      { inputs: [{ shape: [3] }] }],
  }),
  elementwise({
    name: "half", of: "x", takes: "real", gives: "f16", internal: true,
    doc: "x as f16: rounded to nearest, infinite beyond 65504. Source: torch.Tensor.half.",
    scalar: roundToHalf, wgsl: (x) => `f16(${x})`, gradient: "none",
    samples: [{ inputs: [{ shape: [5, 7], range: [-9, 9] }] }, { inputs: [{ shape: ["B", 3], range: [-1e-4, 1e-4] }] }],
  }),
  elementwise({
    name: "int", of: "x", takes: "free", gives: "i32",
    doc: "x as i32, rounded toward zero and clamped to the range (as in WGSL). Source: torch.Tensor.int.",
    scalar: (x) => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x))), wgsl: (x) => `i32(${x})`,
    gradient: "none",
    samples: [{ inputs: [{ shape: [5, 7], range: [-9, 9] }] }, { inputs: [BITS] }],
  }),
];
