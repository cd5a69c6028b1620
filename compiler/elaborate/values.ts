/**
 * @file What an expression of a body is worth while a model is elaborated: numbers, booleans and lists exist at compile
 * time, tensors are nodes of the graph.
 */
import type { Expr, Unit } from "../../dsl/ast.js";
import type { Initializer } from "../../runtime/manifest.js";
import { isConstant, showDim, showShape, type Dim } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";

/** A division that did not come out whole, kept so that a failing dimension can spell it out. */
export interface Quotient {
  readonly expr: Expr;
  readonly divisor: Expr;
  readonly left: number;
  readonly right: number;
}

export type Value =
  | { readonly kind: "number"; readonly value: number; readonly quotient?: Quotient }
  /** A dimension that holds the batch. */
  | { readonly kind: "dim"; readonly dim: Dim }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "quantity"; readonly value: number; readonly unit: Unit }
  | { readonly kind: "none" }
  | ListValue
  | { readonly kind: "tensor"; readonly node: Node }
  | { readonly kind: "initializer"; readonly initializer: Initializer }
  /** What a called model gives back: its outputs by name. */
  | { readonly kind: "outputs"; readonly model: string; readonly outputs: ReadonlyMap<string, Value> }
  /** The value of an expression already reported: absorbs everything, so that no follow-on is reported. */
  | { readonly kind: "error" };

/** Items may be shared between lists, so facts about a whole tree are computed once, when the list is made. */
export interface ListValue {
  readonly kind: "list";
  readonly items: readonly Value[];
  /** Items of the tree below, those of shared lists each time they stand in it: what a walk over it costs. */
  readonly size: number;
  /** Somewhere in it an error was absorbed. */
  readonly broken: boolean;
  /** It has items, and all of them are tensors. */
  readonly tensors: boolean;
}

type TensorValue = Extract<Value, { kind: "tensor" }>;
export type NumberValue = Extract<Value, { kind: "number" }>;

export const ERROR: Value = Object.freeze({ kind: "error" });
export const NONE: Value = Object.freeze({ kind: "none" });
export const TRUE: Value = Object.freeze({ kind: "bool", value: true });
export const FALSE: Value = Object.freeze({ kind: "bool", value: false });

export const bool = (value: boolean): Value => (value ? TRUE : FALSE);
export const number = (value: number, quotient?: Quotient): Value =>
  quotient && !Number.isInteger(value) ? { kind: "number", value, quotient } : { kind: "number", value };
export const tensor = (node: Node): TensorValue => ({ kind: "tensor", node });
export function list(items: readonly Value[]): ListValue {
  let [size, tensors, broken] = [0, 0, false];
  for (const item of items) {
    size += treeSize(item);
    if (item.kind === "tensor") tensors++;
    else if (isBroken(item)) broken = true;
  }
  return { kind: "list", items, size, broken, tensors: tensors > 0 && tensors === items.length };
}
/** What a walk over a value costs, in items. */
export const treeSize = (v: Value): number => (v.kind === "list" ? 1 + v.size : 1);
/** A dimension as a value: a plain number where it does not hold the batch. */
export const dimension = (d: Dim): Value => (isConstant(d) ? { kind: "number", value: d.c } : { kind: "dim", dim: d });
export const initializer = (i: Initializer): Value => ({ kind: "initializer", initializer: i });

/** A value a statement may hand on although part of it has been reported. */
export const isBroken = (v: Value): boolean => v.kind === "error" || (v.kind === "list" && v.broken);

/** What a value is, in the words of an error: `a tensor [B, 197, 192]`, `the number 3`. */
export function describe(v: Value): string {
  switch (v.kind) {
    case "number": return `the number ${showNumber(v.value)}`;
    case "dim": return `the dimension ${showDim(v.dim)}`;
    case "bool": return String(v.value);
    case "string": return `the string ${JSON.stringify(v.value)}`;
    case "quantity": return `${showNumber(v.value)} ${v.unit}`;
    case "none": return "none";
    case "list": return v.tensors ? "a list of tensors" : `the list ${show(v)}`;
    case "tensor": return `a tensor ${showType(v.node)}`;
    case "initializer": return `the initializer ${show(v)}`;
    case "outputs": return `the outputs of \`${v.model}\``;
    case "error": return "an error";
    default: return v satisfies never;
  }
}

/** Lists in lists that `show` spells out. */
const SHOWN_DEPTH = 2;

/** A value as it would be written, long and deep lists cut short. */
export function show(v: Value, depth = SHOWN_DEPTH): string {
  switch (v.kind) {
    case "number": return showNumber(v.value);
    case "dim": return showDim(v.dim);
    case "bool": return String(v.value);
    case "string": return JSON.stringify(v.value);
    case "quantity": return `${showNumber(v.value)} ${v.unit}`;
    case "none": return "none";
    case "list": {
      if (depth === 0) return v.items.length === 0 ? "[]" : "[…]";
      const shown = v.items.slice(0, 8).map((item) => show(item, depth - 1));
      return `[${shown.join(", ")}${v.items.length > 8 ? ", …" : ""}]`;
    }
    case "tensor": return showType(v.node);
    case "initializer": return showInitializer(v.initializer);
    case "outputs": return v.model;
    case "error": return "?";
    default: return v satisfies never;
  }
}

export const showType = (t: Pick<Node, "shape" | "dtype">): string =>
  t.dtype === "f32" ? showShape(t.shape) : `${t.dtype} ${showShape(t.shape)}`;

/** At most twelve significant digits: `38.4`, not `38.400000000000006`. */
export const showNumber = (x: number): string => String(Number(x.toPrecision(12)));

function showInitializer(i: Initializer): string {
  switch (i.kind) {
    case "zeros":
    case "ones": return i.kind;
    case "constant": return `constant(${showNumber(i.value)})`;
    case "uniform": return `uniform(${showNumber(i.bound)})`;
    case "normal":
    case "trunc_normal": return `${i.kind}(${showNumber(i.std)})`;
    case "values": return `${i.values.length} fixed values`;
    default: return i satisfies never;
  }
}

/** Whether two compile-time values are equal; undefined where one of them is a tensor or holds the batch. */
export function sameValue(x: Value, y: Value): boolean | undefined {
  if (x.kind === "number" && y.kind === "number") return x.value === y.value;
  if (x.kind === "bool" && y.kind === "bool") return x.value === y.value;
  if (x.kind === "string" && y.kind === "string") return x.value === y.value;
  if (x.kind === "quantity" && y.kind === "quantity") return x.unit === y.unit && x.value === y.value;
  if (x.kind === "none" || y.kind === "none") return x.kind === y.kind;
  if (x.kind === "dim" && y.kind === "dim") return x.dim.b === y.dim.b && x.dim.c === y.dim.c ? true : undefined;
  if (x.kind === "list" && y.kind === "list") {
    if (x.items.length !== y.items.length) return false;
    const parts = x.items.map((item, i) => sameValue(item, y.items[i] ?? NONE));
    return parts.includes(undefined) ? undefined : parts.every(Boolean);
  }
  if (isTimeless(x) && isTimeless(y)) return false;
  return undefined;
}

const isTimeless = (v: Value): boolean => v.kind !== "tensor" && v.kind !== "dim" && v.kind !== "error";

/** A compile-time value as JSON has it. */
export type Plain = number | boolean | string | null | readonly Plain[];

export function fromPlain(plain: Plain): Value {
  if (plain === null) return NONE;
  if (typeof plain === "number") return number(plain);
  if (typeof plain === "boolean") return bool(plain);
  if (typeof plain === "string") return { kind: "string", value: plain };
  return list(plain.map(fromPlain));
}
