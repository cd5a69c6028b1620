/**
 * @file Functions from one tensor to a list of tensors: `q, k, v = unbind(qkv)`. An op gives one tensor, a list is the
 * language's, so these stand here.
 */
import type * as ast from "../../dsl/ast.js";
import { parseSignature, type Signature } from "../../dsl/signature.js";
import { dim, isConstant, showDim, type Dim } from "../dim.js";
import type { Node } from "../graph.js";
import { applyOp } from "./apply.js";
import { bindArguments, type Actual } from "./arguments.js";
import { wholeNumber } from "./dimensions.js";
import type { Frame } from "./frame.js";
import { describe, ERROR, isBroken, list, number, showType, type Value } from "./values.js";

/** More parts than a body could name. */
const MOST_PARTS = 4096;

interface ListFunction {
  readonly name: string;
  readonly signature: string;
  readonly doc: string;
  apply(frame: Frame, call: ast.Call, x: Node, args: ReadonlyMap<string, Actual>): Value;
}

const table: readonly ListFunction[] = [
  {
    name: "unbind", signature: "(x: [..], axis = 0) -> list",
    doc: "The slices along an axis, without that axis. Source: torch.unbind.",
    apply(frame, call, x, args) {
      const axis = axisOf(frame, call, x, args.get("axis"));
      const size = axis === undefined ? undefined : fixedSize(frame, call, x, axis);
      if (axis === undefined || size === undefined) return ERROR;
      const shape = x.shape.filter((_, i) => i !== axis);
      return list(Array.from({ length: size }, (_, i) => {
        const part = cut(frame, call, x, axis, i, i + 1);
        return part.kind === "tensor" ? applyOp(frame, call.span, "reshape", [part.node], { shape }) : part;
      }));
    },
  },
  {
    name: "split", signature: "(x: [..], parts: list, axis = -1) -> list",
    doc: "Consecutive parts along an axis: so many equal ones, or one for each size of a list. Source: torch.split.",
    apply(frame, call, x, args) {
      const axis = axisOf(frame, call, x, args.get("axis") ?? { value: number(-1), span: call.span });
      const size = axis === undefined ? undefined : fixedSize(frame, call, x, axis);
      const sizes = size === undefined ? undefined : sizesOf(frame, size, args.get("parts"));
      if (axis === undefined || !sizes) return ERROR;
      let start = 0;
      return list(sizes.map((length) => {
        start += length;
        return cut(frame, call, x, axis, start - length, start);
      }));
    },
  },
];

/** The functions by name, with their parsed signatures. */
export const LIST_FUNCTIONS: ReadonlyMap<string, ListFunction & { readonly parsed: Signature }> =
  new Map(table.map((f) => [f.name, { ...f, parsed: parseSignature(f.signature) }]));

/** A call of one of them; undefined for any other name. */
export function callListFunction(frame: Frame, call: ast.Call): Value | undefined {
  const found = LIST_FUNCTIONS.get(call.callee.text);
  if (!found) return undefined;
  const signature = (): string => found.name + found.signature;
  const args = bindArguments(frame, call, { name: found.name, params: found.parsed.params, signature });
  const x = args?.get("x");
  if (!args || !x || [...args.values()].some((a) => isBroken(a.value))) return ERROR;
  if (x.value.kind !== "tensor") {
    const text = `\`${found.name}\` takes a tensor, got ${describe(x.value)}`;
    return frame.fail("wrong_type", { text, help: `its signature is \`${signature()}\`` }, x.span);
  }
  return found.apply(frame, call, x.value.node, args);
}

function axisOf(frame: Frame, call: ast.Call, x: Node, actual: Actual | undefined): number | undefined {
  const value = actual?.value ?? number(0);
  const span = actual?.span ?? call.span;
  if (value.kind !== "number") {
    frame.fail("wrong_type", { text: `an axis is a whole number, got ${describe(value)}` }, span);
    return undefined;
  }
  if (!wholeNumber(frame, value, span, -Infinity)) return undefined;
  const rank = x.shape.length;
  const axis = value.value < 0 ? value.value + rank : value.value;
  if (axis >= 0 && axis < rank) return axis;
  frame.fail("rank_mismatch", { text: `\`${call.callee.text}\` finds no axis ${value.value} in ${showType(x)}` }, span);
  return undefined;
}

/** The size of an axis that is to be taken apart, which must not depend on the batch. */
function fixedSize(frame: Frame, call: ast.Call, x: Node, axis: number): number | undefined {
  const size: Dim = x.shape[axis] ?? dim(1);
  if (!isConstant(size)) {
    frame.fail("symbolic_batch", { where: `how many tensors \`${call.callee.text}\` gives: the axis has ${showDim(size)}` }, call.span);
    return undefined;
  }
  if (size.c <= MOST_PARTS) return size.c;
  frame.fail("too_many", { what: "parts of a tensor", count: size.c, limit: MOST_PARTS }, call.span);
  return undefined;
}

function sizesOf(frame: Frame, size: number, parts: Actual | undefined): number[] | undefined {
  if (!parts) return undefined;
  const { value, span } = parts;
  if (value.kind === "number" && wholeNumber(frame, value, span, 1)) {
    if (size % value.value === 0) return Array.from({ length: value.value }, () => size / value.value);
    frame.fail("shape_mismatch", { text: `${size} does not part into ${value.value} equal parts` }, span);
    return undefined;
  }
  if (value.kind !== "list") {
    if (value.kind !== "number") frame.fail("wrong_type", { text: `\`parts\` is a number or a list of sizes, got ${describe(value)}` }, span);
    return undefined;
  }
  const sizes: number[] = [];
  for (const item of value.items) {
    if (item.kind === "number" && Number.isInteger(item.value) && item.value > 0) sizes.push(item.value);
  }
  const total = sizes.reduce((a, b) => a + b, 0);
  if (sizes.length === value.items.length && total === size) return sizes;
  frame.fail("shape_mismatch", { text: `the sizes ${describe(value).replace("the list ", "")} do not add up to ${size}` }, span);
  return undefined;
}

function cut(frame: Frame, call: ast.Call, x: Node, axis: number, start: number, stop: number): Value {
  const starts = x.shape.map((_, i) => dim(i === axis ? start : 0));
  const stops = x.shape.map((d, i) => (i === axis ? dim(stop) : d));
  return applyOp(frame, call.span, "slice", [x], { starts, stops, steps: x.shape.map(() => 1) });
}
