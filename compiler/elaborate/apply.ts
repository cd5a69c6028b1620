/**
 * @file Ops on nodes: canonical attributes, result types, limits, and the user's mistakes an op finds.
 */
import type { Span } from "../../dsl/ast.js";
import type { Details } from "../../dsl/diagnostics.js";
import { isCode, type ValuesOf } from "../../dsl/messages.js";
import { showShape, sizeOf, type Shape } from "../ir/dim.js";
import { applyOp as build } from "../ir/build.js";
import type { Attr, Attrs, DType, Node } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import { isFault, type OpFault, type OpRecord } from "../ir/op.js";
import type { Frame } from "./frame.js";
import { ELEMENTS, NODES } from "./limits.js";
import { ERROR, showNumber, showType, tensor, type Value } from "./values.js";

/** The record `name`, which the compiler itself relies on. */
export function recordOf(frame: Frame, name: string): OpRecord {
  const record = frame.session.ops.get(name);
  invariant(record, `the op \`${name}\` exists`);
  return record;
}

/** `name(inputs, attrs)` as a value; reports what the op finds at fault at `span`. */
export function applyOp(frame: Frame, span: Span, name: string, inputs: readonly Node[], attrs: Attrs): Value {
  const { builder } = frame.session;
  if (builder.size >= NODES) frame.stop(span, "operations", NODES, builder.size);
  const node = build(builder, recordOf(frame, name), inputs, attrs, frame.origin(span));
  if (isFault(node)) return opFault(frame, span, inputs, node);
  if (!checkNumbers(frame, span, node)) return ERROR;
  return checkShape(frame, span, node.shape) ? tensor(node) : ERROR;
}

/** Whether a kernel can hold the numbers of a node, and those its operands became beside one of another type. */
function checkNumbers(frame: Frame, span: Span, node: Node): boolean {
  const converted = node.inputs.filter((input) => input.inputs.length === 0);
  return [node, ...converted].every(({ attrs, dtype }) =>
    Object.values(attrs).every((attr) =>
      (Array.isArray(attr) ? (attr as readonly Attr[]) : [attr]) // isArray does not narrow readonly arrays
        .every((x) => typeof x !== "number" || checkNumber(frame, span, x, dtype))));
}

/** Whether a number of the text is one of `dtype`'s, or rounds to one. */
export function checkNumber(frame: Frame, span: Span, value: number, dtype: DType): boolean {
  const whole = dtype === "i32";
  if (whole ? value >= -(2 ** 31) && value < 2 ** 31 : Number.isFinite(Math.fround(value))) return true;
  const range = whole ? "i32 holds whole numbers from -2147483648 to 2147483647" : "f32 holds numbers up to 3.4e38";
  frame.fail("value_error", {
    text: `the number ${showNumber(value)} does not fit ${whole ? "i32" : "f32"}`,
    help: whole ? `${range}; \`float(x)\` takes larger ones` : range,
  }, span);
  return false;
}

/** What an op said of its operands, in its own words. */
export function opFault(frame: Frame, span: Span, inputs: readonly Node[], fault: OpFault): Value {
  const { text, help } = fault;
  invariant(isCode(fault.fault), `\`${fault.fault}\` is in the catalogue of messages`);
  const label = inputs.length === 0 ? undefined : inputs.map(showType).join(" by ");
  frame.session.report({ code: fault.fault, message: text, span, notes: [], chain: frame.chain(), label, help });
  return ERROR;
}

/** Whether a tensor of this shape can exist: the batch at most once, not beyond the limit on elements. */
export function checkShape(frame: Frame, span: Span, shape: Shape): boolean {
  if (shape.filter((d) => d.b !== 0).length > 1) {
    frame.fail("symbolic_batch", { where: `two dimensions of one tensor, ${showShape(shape)}` }, span);
    return false;
  }
  const { b, c } = sizeOf(shape);
  if (b + c <= ELEMENTS) return true;
  frame.fail("too_large", {
    what: `a tensor ${showShape(shape)}`, size: `${b + c} elements${b === 0 ? "" : " at batch 1"}`,
      limit: `${ELEMENTS}`,
  }, span);
  return false;
}

/**
 * Reports that `value`, of which `asTensor` made nothing, is no tensor; of a number or a dimension it has been said
 * already what is wrong.
 */
export function failNoTensor(
  frame: Frame, value: Value, values: ValuesOf<"wrong_type">, span: Span, details: Omit<Details, "chain"> = {},
): Value {
  return value.kind === "number" || value.kind === "dim" ? ERROR : frame.fail("wrong_type", values, span, details);
}

/** A tensor, number or dimension as a node; undefined for anything else, and after a diagnostic. */
export function asTensor(frame: Frame, value: Value, span: Span): Node | undefined {
  if (value.kind === "tensor") return value.node;
  if (value.kind !== "number" && value.kind !== "dim") return undefined;
  const made = value.kind === "dim"
    ? applyOp(frame, span, "size", [], { size: value.dim })
      : applyOp(frame, span, "constant", [], { value: value.value });
  return made.kind === "tensor" ? made.node : undefined;
}
