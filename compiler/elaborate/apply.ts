/**
 * @file Ops on nodes: canonical attributes, result types, limits, and the user's mistakes an op finds.
 */
import type { Span } from "../../dsl/ast.js";
import { isCode } from "../../dsl/messages.js";
import { showShape, sizeOf, type Shape } from "../dim.js";
import { applyOp as build } from "../build.js";
import type { Attrs, Node } from "../graph.js";
import { invariant } from "../invariant.js";
import { isFault, type OpFault, type OpRecord } from "../op.js";
import type { Frame } from "./frame.js";
import { ELEMENTS, NODES } from "./limits.js";
import { ERROR, showType, tensor, type Value } from "./values.js";

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
  return checkShape(frame, span, node.shape) ? tensor(node) : ERROR;
}

/** What an op said of its operands, in its own words. */
export function opFault(frame: Frame, span: Span, inputs: readonly Node[], fault: OpFault): Value {
  const { text, help } = fault;
  invariant(isCode(fault.fault), `\`${fault.fault}\` is in the catalogue of messages`);
  const label = inputs.length === 0 ? {} : { label: inputs.map(showType).join(" by ") };
  frame.session.report({
    code: fault.fault, message: text, span, notes: [], chain: frame.chain(), ...label,
      ...(help === undefined ? {} : { help }),
  });
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

/** A tensor, number or dimension as a node; undefined for anything else. */
export function asTensor(frame: Frame, value: Value, span: Span): Node | undefined {
  if (value.kind === "tensor") return value.node;
  if (value.kind !== "number" && value.kind !== "dim") return undefined;
  const made = value.kind === "dim"
    ? applyOp(frame, span, "size", [], { size: value.dim })
      : applyOp(frame, span, "constant", [], { value: value.value });
  return made.kind === "tensor" ? made.node : undefined;
}
