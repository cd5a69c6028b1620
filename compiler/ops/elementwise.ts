/**
 * @file What elementwise ops have in common: operand types and broadcasting. Their `wgsl` texts take and give values in
 * registers.
 *
 * A text may name an operand more than once, so operands should be variables or loads already made, not calls.
 */
import { showShape } from "../ir/dim.js";
import type { DType, TensorType } from "../ir/graph.js";
import { defineOp, type OpFault, type OpRecord, type OpSample } from "../ir/op.js";
import { fault } from "./attributes.js";
import { broadcastShape, operand, wrongType } from "./shapes.js";

/**
 * What the operands may be: `real` f32; `number` f32 or i32, all alike; `any` all alike; `bool`; `choice` a bool
 * followed by two alike; `free` anything.
 */
export type OperandRule = "real" | "number" | "any" | "bool" | "choice" | "free";

/** An elementwise record without what follows from its being one. */
export interface Elementwise {
  readonly name: string;
  /** The operator it is written as, for messages: `+`. */
  readonly symbol?: string;
  /** Names of the operands. */
  readonly of: string;
  readonly takes: OperandRule;
  /** Result type; that of the last operand when absent. */
  readonly gives?: DType;
  readonly doc: string;
  readonly internal?: boolean;
  readonly scalar: (...x: number[]) => number;
  readonly wgsl: (...x: string[]) => string;
  readonly wgslFunctions?: Readonly<Record<string, string>>;
  readonly cost?: number;
  readonly gradient: OpRecord["gradient"];
  readonly samples: readonly OpSample[];
}

export function elementwise(spec: Elementwise): OpRecord {
  const names = spec.of.split(" ");
  const { symbol, of, takes, gives, ...rest } = spec;
  const shown = symbol ?? spec.name;
  return defineOp({
    ...rest,
    kind: "elementwise",
    signature: `(${names.map((n) => `${n}: [..]`).join(", ")}) -> [..]`,
    canonical: () => ({}),
    infer(inputs) {
      if (inputs.length !== names.length) {
        return fault("missing_argument", `\`${shown}\` needs ${names.length} tensors (${of}), got ${inputs.length}`);
      }
      const wrong = checkTypes(shown, takes, inputs);
      if (wrong) return wrong;
      const shape = broadcastShape(inputs.map((t) => t.shape));
      if (!shape) return unequal(shown, inputs);
      return [{ shape, dtype: gives ?? operand(inputs, inputs.length - 1).dtype }];
    },
  });
}

function unequal(op: string, inputs: readonly TensorType[]): OpFault {
  const shapes = inputs.map((t) => showShape(t.shape)).join(" and ");
  return fault("shape_mismatch", `\`${op}\` needs shapes that broadcast, got ${shapes}`,
    "sizes are compared from the right and must be equal or 1; `reshape` or `unsqueeze` one of them");
}

function checkTypes(op: string, rule: OperandRule, inputs: readonly TensorType[]): OpFault | undefined {
  const types = inputs.map((t) => t.dtype);
  const alike = (list: readonly DType[]): boolean => list.every((t) => t === list[0]);
  const convert = "convert with `float(x)` or `int(x)`";
  switch (rule) {
    case "free": return undefined;
    case "real": return types.every((t) => t === "f32") ? undefined : wrongType(op, "f32 operands", inputs, convert);
    case "number": return alike(types) && types[0] !== "bool" ? undefined
      : wrongType(op, "numbers of one type", inputs, convert);
    case "any": return alike(types) ? undefined : wrongType(op, "operands of one type", inputs, convert);
    case "bool": return types.every((t) => t === "bool") ? undefined
      : wrongType(op, "bool operands", inputs, "compare first, as in `x != 0`");
    case "choice": return types[0] === "bool" && alike(types.slice(1)) ? undefined
      : wrongType(op, "a bool and two operands of one type", inputs, convert);
    default: return rule satisfies never;
  }
}

/** Samples for a function of one operand: odd lengths, a 0-d value, and a range clear of poles. */
export const unarySamples = (low = -3, high = 3): readonly OpSample[] => [
  { inputs: [{ shape: [5, 7], range: [low, high] }] },
  { inputs: [{ shape: ["B", 3], range: [low, high] }] },
  { inputs: [{ shape: [], range: [low, high] }] },
];

/** Samples for a function of two operands: equal shapes, and broadcasting either way. */
export function binarySamples(range: readonly [number, number],
  second: readonly [number, number] = range): readonly OpSample[] {
  return [
    { inputs: [{ shape: [3, 5], range }, { shape: [3, 5], range: second }] },
    { inputs: [{ shape: ["B", 7, 1], range }, { shape: [5], range: second }] },
    { inputs: [{ shape: [], range }, { shape: ["B", 3], range: second }] },
  ];
}
