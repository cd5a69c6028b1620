/**
 * @file `param` and `buffer`: paths, shapes and how they start.
 */
import type * as ast from "../../dsl/ast.js";
import type { Initializer } from "../../runtime/manifest.js";
import { isConstant, type Dim } from "../ir/dim.js";
import type { DType, Node } from "../ir/graph.js";
import { applyOp, checkNumber, checkShape } from "./apply.js";
import { constantValues } from "./constants.js";
import { dimensionOf } from "./dimensions.js";
import { join, type Frame } from "./frame.js";
import { describe, ERROR, showType, tensor, treeSize, type Value } from "./values.js";

type Declaring = Extract<ast.Statement, { kind: "param" | "buffer" }>;

/**
 * Declares a parameter or buffer of `frame` and gives its node; reports what is wrong with its name, shape or start.
 */
export function declare(frame: Frame, statement: Declaring): Value {
  const { name, type } = statement;
  const initial = frame.evaluate(statement.initial);
  const shape = shapeOf(frame, type);
  const named = checkNamed(frame);
  if (!shape || initial.kind === "error") return ERROR;
  const size = shape.reduce((n, d) => n * d.c, 1);
  const dtype = type.kind === "tensor" ? type.dtype : "f32";
  const initializer = initializerOf(frame, initial, size, dtype, statement.initial.span);
  const path = join(frame.path, name.text);
  if (statement.kind === "buffer") frame.buffers.set(name.text, path);
  if (!initializer || !named) return ERROR;
  const shared = sharedWith(frame, path);
  if (shared) return tensor(shared);
  if (!checkPath(frame, path, name.span)) return ERROR;
  const value = applyOp(frame, statement.span, "parameter", [], dtype === "i32" ? { path, shape, dtype: "i32" }
    : { path, shape });
  if (value.kind !== "tensor") return ERROR;
  const trained = statement.kind === "param" && !frame.frozen;
  // timm's rule: what has one dimension (biases, scales) is never decayed.
  const decay = trained && shape.length !== 1 && !(statement.kind === "param" && statement.noDecay);
  frame.session.parameters.set(path, {
    parameter: { path, node: value.node, trained, decay, initializer, doc: frame.doc }, frame, span: name.span,
  });
  return tensor(value.node);
}

function shapeOf(frame: Frame, type: ast.Type): readonly Dim[] | undefined {
  if (type.kind !== "tensor") {
    frame.fail("wrong_type",
      { text: `a parameter must be a tensor, not ${frame.text(type.span)}`, help: "write its shape: `[D]`" },
      type.span);
    return undefined;
  }
  const shape: Dim[] = [];
  let complete = true;
  for (const d of type.dims) {
    const size = d.kind === "expr" ? dimensionOf(frame, d.expr) : undefined;
    if (d.kind !== "expr") {
      frame.fail("wrong_type",
        { text: `the shape of a parameter must be known; it cannot contain \`${frame.text(d.span)}\`` }, d.span);
    } else if (size && !isConstant(size)) {
      frame.fail("symbolic_batch", { where: "the shape of a parameter" }, d.span);
    }
    if (size && isConstant(size)) shape.push(size);
    else complete = false;
  }
  return complete && checkShape(frame, type.span, shape) ? shape : undefined;
}

/** Rule 2: what owns parameters has a name. Reported at the call that lacks one, by the frame that makes it. */
function checkNamed(frame: Frame): boolean {
  const call = frame.unnamed;
  if (!call) return true;
  let caller: Frame = frame;
  while (caller.caller && caller.unnamed === call) caller = caller.caller;
  const name = caller.target === "" || caller.names.has(caller.target) ? call.callee.text : caller.target;
  caller.fail("unnamed_parameters", { callee: call.callee.text, name }, call.span);
  return false;
}

/** The parameter an earlier run of the same model instance declared. */
function sharedWith(frame: Frame, path: string): Node | undefined {
  const known = frame.session.parameters.get(path);
  return known && known.frame.sharing === frame.sharing && known.frame.run !== frame.run ? known.parameter.node
    : undefined;
}

/** Rule 2: no path twice. Reported at the outermost call where the two declarations part. */
function checkPath(frame: Frame, path: string, span: ast.Span): boolean {
  const known = frame.session.parameters.get(path);
  if (!known) return true;
  const [mine, other] = [ancestry(frame), ancestry(known.frame)];
  const parting = mine.findIndex((f, i) => f !== other[i]);
  const [at, first] = [mine[parting], other[parting]];
  const notes = [{ text: `\`${path}\` is declared here first`, span: first?.span ?? known.span }];
  if (at?.caller) at.caller.fail("duplicate_path", { path }, at.span, { notes });
  else frame.fail("duplicate_path", { path }, span, { notes });
  return false;
}

/** Frames from the model down to this one. */
function ancestry(frame: Frame): Frame[] {
  const frames: Frame[] = [];
  for (let f: Frame | undefined = frame; f; f = f.caller) frames.unshift(f);
  return frames;
}

/** How `value` fills `size` elements; undefined after a diagnostic. */
function initializerOf(
  frame: Frame, value: Value, size: number, dtype: DType, span: ast.Span,
): Initializer | undefined {
  const initializer = startOf(frame, value, size, span);
  const fits = initializer && numbersOf(initializer).every((x) => checkNumber(frame, span, x, dtype));
  return fits ? initializer : undefined;
}

/** Every number an initializer is made of. */
function numbersOf(initializer: Initializer): readonly number[] {
  switch (initializer.kind) {
    case "zeros":
    case "ones": return [];
    case "constant": return [initializer.value];
    case "uniform": return [initializer.bound];
    case "normal":
    case "trunc_normal": return [initializer.std];
    case "values": return initializer.values;
    default: return initializer satisfies never;
  }
}

function startOf(frame: Frame, value: Value, size: number, span: ast.Span): Initializer | undefined {
  if (value.kind === "initializer") return value.initializer;
  if (value.kind === "number") return { kind: "constant", value: value.value };
  frame.session.countItems(frame, span, treeSize(value));
  const values = value.kind === "list" ? flatten(value) : value.kind === "tensor" ? constantValues(value.node)
    : undefined;
  if (!values) {
    const got = value.kind === "tensor" ? `a tensor ${showType(value.node)} computed from other tensors`
      : describe(value);
    frame.fail("wrong_type", {
      text: `a parameter is initialized with numbers, got ${got}`,
        help: "write `zeros`, `normal(0.02)`, a number, or a list of numbers",
    }, span);
    return undefined;
  }
  if (values.length === size) return { kind: "values", values };
  frame.fail("element_count", { text: `${values.length} numbers do not fill ${size} elements` }, span);
  return undefined;
}

/** The numbers of nested lists, in order; undefined where something else is among them. */
function flatten(value: Value): number[] | undefined {
  if (value.kind === "number") return [value.value];
  if (value.kind === "bool") return [Number(value.value)];
  if (value.kind !== "list") return undefined;
  const numbers: number[] = [];
  for (const item of value.items) {
    const part = flatten(item);
    if (!part) return undefined;
    for (const x of part) numbers.push(x);
  }
  return numbers;
}

/** `update NAME = value`: the next value of a buffer, in training only. */
export function update(frame: Frame, statement: Extract<ast.Statement, { kind: "update" }>): void {
  const value = frame.evaluate(statement.value);
  const { text: name, span } = statement.name;
  const path = frame.buffers.get(name);
  const buffer = path === undefined ? undefined : frame.session.parameters.get(path)?.parameter.node;
  if (path === undefined || !buffer) {
    if (frame.names.get(name)?.kind !== "error") {
      frame.fail("unknown_name",
        { name, what: "buffer", names: "buffers of this block", known: frame.buffers.keys() }, span);
    }
    return;
  }
  if (value.kind === "error") return;
  const node = value.kind === "tensor" ? value.node : undefined;
  if (!node) {
    frame.fail("wrong_type",
      { text: `the next value of \`${name}\` is a tensor ${showType(buffer)}, got ${describe(value)}` },
        statement.value.span);
  } else if (!alike(node, buffer)) {
    const text = `the next value of \`${name}\` is ${showType(buffer)}, got ${showType(node)}`;
    frame.fail("shape_mismatch", { text }, statement.value.span, { label: showType(node) });
  } else if (frame.updated.has(name)) {
    frame.fail("duplicate_name", { name, what: "the update of" }, span);
  } else {
    frame.updated.add(name);
    if (frame.training) frame.session.updates.set(path, node);
  }
}

const alike = (x: Node, y: Node): boolean => showType(x) === showType(y);
