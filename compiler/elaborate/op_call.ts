/**
 * @file Calls of ops from the text: tensors become inputs, everything else attributes, by the record's signature.
 */
import type * as ast from "../../dsl/ast.js";
import { makeOps } from "../ir/build.js";
import type { Attr, Attrs, Node } from "../ir/graph.js";
import type { ListOp } from "./list_ops.js";
import { isFault, type OpRecord } from "../ir/op.js";
import { applyOp, asTensor, failNoTensor, opFault } from "./apply.js";
import { bindArguments, type Actual } from "./arguments.js";
import { wholeNumber } from "./dimensions.js";
import { madeList, type Frame } from "./frame.js";
import { describe, ERROR, isBroken, number, tensor, treeSize, type Value } from "./values.js";

/** What both kinds of ops have: those that give a tensor, and those that give a list of slices. */
type Callable = Pick<OpRecord, "name" | "signature">;

/** `record.name(args)`; numbers alone fold at compile time. */
export function callOp(frame: Frame, call: ast.Call, record: OpRecord): Value {
  if (record.draws && !frame.training) return frame.fail("random_in_inference", { callee: record.name }, call.span);
  const args = operandsOf(frame, call, record);
  if (!args) return ERROR;
  const folded = fold(record, args.operands);
  if (folded) return folded;
  const inputs = nodes(frame, record, args.operands);
  return inputs ? applyOp(frame, call.span, record.name, inputs, args.attrs) : ERROR;
}

/** `q, k, v = unbind(qkv)`: a list of tensors. */
export function callListOp(frame: Frame, call: ast.Call, op: ListOp): Value {
  const args = operandsOf(frame, call, op);
  const inputs = args && nodes(frame, op, args.operands);
  const [x] = inputs ?? [];
  if (!args || !x) return ERROR;
  const parts = op.apply(makeOps(frame.session.builder, frame.origin(call.span)), x, args.attrs);
  if (isFault(parts)) return opFault(frame, call.span, [x], parts);
  return madeList(frame, call.span, parts.map(tensor));
}

/** The arguments of a call by what they are for: tensors in order, attributes by name; undefined after a diagnostic. */
function operandsOf(frame: Frame, call: ast.Call, op: Callable): { operands: Actual[]; attrs: Attrs } | undefined {
  const { params } = frame.session.signatureOf(op);
  const signature = (): string => op.name + op.signature;
  const args = bindArguments(frame, call, { name: op.name, params, signature });
  if (!args || [...args.values()].some((a) => isBroken(a.value))) return undefined;
  const operands: Actual[] = [];
  const attrs: Record<string, Attr> = {};
  let fine = true;
  for (const param of params) {
    const actual = args.get(param.name.text);
    if (!actual) continue;
    frame.session.countItems(frame, actual.span, treeSize(actual.value));
    if (param.type?.kind === "tensor" || holdsTensor(actual.value)) operands.push(...spread(actual));
    else {
      const attr = attribute(frame, actual, param);
      if (attr === undefined) fine = false;
      else attrs[param.name.text] = attr;
    }
  }
  return fine ? { operands, attrs } : undefined;
}

const holdsTensor = (v: Value): boolean =>
  v.kind === "tensor" || (v.kind === "list" && v.tensors);

const spread = (actual: Actual): Actual[] =>
  actual.value.kind === "list" ? actual.value.items.map((value) => ({ value, span: actual.span })) : [actual];

function nodes(frame: Frame, op: Callable, operands: readonly Actual[]): Node[] | undefined {
  const inputs: Node[] = [];
  for (const { value, span } of operands) {
    if (value.kind === "none") continue;
    const node = asTensor(frame, value, span);
    if (!node) {
      failNoTensor(frame, value, {
        text: `\`${op.name}\` takes a tensor here, got ${describe(value)}`,
        help: `its signature is \`${op.name}${op.signature}\``,
      }, span);
      return undefined;
    }
    inputs.push(node);
  }
  return inputs;
}

/** An elementwise op of numbers alone is a number. */
function fold(record: OpRecord, operands: readonly Actual[]): Value | undefined {
  if (record.kind !== "elementwise" || !record.scalar || operands.length === 0) return undefined;
  const numbers: number[] = [];
  for (const { value } of operands) {
    if (value.kind !== "number") return undefined;
    numbers.push(value.value);
  }
  const types = record.infer(numbers.map(() => ({ shape: [], dtype: "f32" as const })), {});
  return isFault(types) || types[0].dtype !== "f32" ? undefined : number(record.scalar(...numbers));
}

/** A value as an attribute; undefined after a diagnostic. */
function attribute(frame: Frame, actual: Actual, param: ast.Param): Attr | undefined {
  const { value, span, expr } = actual;
  if (value.kind === "number") return isWhole(frame, value, span, param) ? value.value : undefined;
  if (value.kind !== "list") return plain(frame, value, span, param.name.text);
  const parts = expr?.kind === "list" ? expr.items : [];
  const items: Attr[] = [];
  for (const [i, item] of value.items.entries()) {
    const at = parts[i]?.span ?? span;
    if (item.kind === "number" && !isWhole(frame, item, at, param)) return undefined;
    const attr = plain(frame, item, at, param.name.text);
    if (attr === undefined) return undefined;
    items.push(attr);
  }
  return items;
}

/** Ops take whole numbers where their signature says `int` or `list`; a division that fails it is spelled out here. */
function isWhole(frame: Frame, value: Extract<Value, { kind: "number" }>, span: ast.Span, param: ast.Param): boolean {
  const whole = param.type?.kind === "scalar" && (param.type.name === "int" || param.type.name === "list");
  return !whole || Number.isInteger(value.value) || wholeNumber(frame, value, span, 1);
}

function plain(frame: Frame, value: Value, span: ast.Span, name: string): Attr | undefined {
  switch (value.kind) {
    case "number":
    case "bool":
    case "string": return value.value;
    case "none": return null;
    case "dim": return value.dim;
    case "list": {
      const items = value.items.map((item) => plain(frame, item, span, name));
      return items.includes(undefined) ? undefined : items.map((item) => item ?? null);
    }
    case "error": return undefined;
    default:
      frame.fail("wrong_type", {
        text: `\`${name}\` takes compile-time values, got ${describe(value)}`,
          help: "dimensions are whole numbers, or whole multiples of `B`",
      }, span);
      return undefined;
  }
}
