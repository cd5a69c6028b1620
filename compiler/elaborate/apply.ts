/**
 * @file Ops on nodes: canonical attributes, result types, limits, and the user's mistakes an op finds.
 */
import type { Span } from "../../dsl/ast.js";
import { isCode } from "../../dsl/messages.js";
import { showShape, sizeOf, type Shape } from "../dim.js";
import type { Attrs, DType, Node, TensorType } from "../graph.js";
import { invariant } from "../invariant.js";
import { isFault, type OpFault, type OpRecord } from "../op.js";
import type { Frame } from "./frame.js";
import { ELEMENTS, NODES } from "./limits.js";
import { ERROR, list, showType, tensor, type Value } from "./values.js";

/** The record `name`, which the compiler itself relies on. */
export function recordOf(frame: Frame, name: string): OpRecord {
  const record = frame.session.ops.get(name);
  invariant(record, `the op \`${name}\` exists`);
  return record;
}

/** `name(inputs, attrs)` as a value; reports what the op finds at fault at `span`. Several results give a list. */
export function applyOp(frame: Frame, span: Span, name: string, inputs: readonly Node[], attrs: Attrs): Value {
  const record = recordOf(frame, name);
  const canonical = record.canonical ? record.canonical(inputs, attrs) : attrs;
  if (isFault(canonical)) return opFault(frame, span, inputs, canonical);
  // A draw of random numbers is told from every other one by its stream, however alike they look.
  const attributes = canonical["stream"] === null ? { ...canonical, stream: frame.session.nextDraw() } : canonical;
  const types = record.infer(inputs, attributes);
  if (isFault(types)) return opFault(frame, span, inputs, types);
  for (const type of types) if (!checkShape(frame, span, type.shape)) return ERROR;
  const { builder } = frame.session;
  if (builder.size >= NODES) frame.stop(span, "operations", NODES, builder.size);
  const node = builder.add(name, inputs, attributes, types, frame.origin(span));
  if (node.extra.length === 0) return tensor(node);
  return list(types.map((type, index) => tensor(index === 0 ? node : builder.add("result", [node], { index }, [type], frame.origin(span)))));
}

/** What an op said of its operands, in its own words. */
function opFault(frame: Frame, span: Span, inputs: readonly Node[], fault: OpFault): Value {
  const { text, help } = fault;
  invariant(isCode(fault.fault), `\`${fault.fault}\` is in the catalogue of messages`);
  const label = inputs.length === 0 ? {} : { label: inputs.map(showType).join(" by ") };
  frame.session.report({
    code: fault.fault, message: text, span, notes: [], chain: frame.chain(), ...label, ...(help === undefined ? {} : { help }),
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
    what: `a tensor ${showShape(shape)}`, size: `${b + c} elements${b === 0 ? "" : " at batch 1"}`, limit: `${ELEMENTS}`,
  }, span);
  return false;
}

/** A number as a 0-d node: i32 beside an i32 tensor if it is whole, else f32. */
export function constantLike(frame: Frame, value: number, dtype: DType): Node {
  const whole = dtype === "i32" && Number.isInteger(value);
  const type: TensorType = { shape: [], dtype: whole ? "i32" : "f32" };
  return frame.session.builder.add("constant", [], whole ? { value, dtype: "i32" } : { value }, [type], { path: "" });
}

/** A tensor, number or dimension as a node; undefined for anything else. */
export function asTensor(frame: Frame, value: Value, span: Span): Node | undefined {
  if (value.kind === "tensor") return value.node;
  if (value.kind === "number") return constantLike(frame, value.value, "f32");
  if (value.kind !== "dim") return undefined;
  const size = applyOp(frame, span, "size", [], { size: value.dim });
  return size.kind === "tensor" ? size.node : undefined;
}
