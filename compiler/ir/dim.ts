/**
 * @file Dimensions: whole numbers affine in the batch, b·B + c. `B` stays symbolic until a module is loaded.
 */
import { invariant } from "./invariant.js";

/** b·B + c elements. */
export interface Dim {
  readonly b: number;
  readonly c: number;
}
export type Shape = readonly Dim[];

const constants = Array.from({ length: 64 }, (_, c): Dim => Object.freeze({ b: 0, c }));

/** A constant dimension. */
export const dim = (c: number): Dim => constants[c] ?? { b: 0, c };
/** The batch. */
export const BATCH: Dim = Object.freeze({ b: 1, c: 0 });

export const isConstant = (d: Dim): boolean => d.b === 0;
export const sameDim = (x: Dim, y: Dim): boolean => x.b === y.b && x.c === y.c;
export const sameShape = (x: Shape, y: Shape): boolean =>
  x.length === y.length && x.every((d, i) => sameDim(d, y[i] as Dim));
/** Whether a tensor of this shape has no elements, as an empty slice has. */
export const isEmpty = (shape: Shape): boolean => shape.some((d) => d.b === 0 && d.c === 0);
export const isOne = (d: Dim): boolean => d.b === 0 && d.c === 1;
export const addDim = (x: Dim, y: Dim): Dim => ({ b: x.b + y.b, c: x.c + y.c });
export const subDim = (x: Dim, y: Dim): Dim => ({ b: x.b - y.b, c: x.c - y.c });

/** x·y, or undefined when it would need B². */
export function mulDim(x: Dim, y: Dim): Dim | undefined {
  if (x.b !== 0 && y.b !== 0) return undefined;
  return { b: x.b * y.c + x.c * y.b, c: x.c * y.c };
}

/** x·y where the caller knows that it holds B at most once. */
export function invariantMul(x: Dim, y: Dim): Dim {
  const product = mulDim(x, y);
  invariant(product !== undefined, "a product of sizes holds the batch at most once");
  return product;
}

/** x / y when it is exact for every B, else undefined. */
export function divDim(x: Dim, y: Dim): Dim | undefined {
  if (y.b === 0) {
    if (y.c === 0 || x.b % y.c !== 0 || x.c % y.c !== 0) return undefined;
    return { b: x.b / y.c, c: x.c / y.c };
  }
  const q = x.b / y.b;
  return Number.isInteger(q) && y.c * q === x.c ? dim(q) : undefined;
}

/** x ≤ y for every B ≥ 1. */
export const atMost = (x: Dim, y: Dim): boolean => x.b <= y.b && x.b + x.c <= y.b + y.c;

/** Number of elements of a shape; a product of two batch dimensions is a bug of the caller's check. */
export function sizeOf(shape: Shape): Dim {
  return shape.reduce((n, d) => {
    const product = mulDim(n, d);
    invariant(product !== undefined, "a shape holds the batch at most once");
    return product;
  }, dim(1));
}

/** The number a dimension has at batch `B`. */
export const evalDim = (d: Dim, B: number): number => d.b * B + d.c;

/** `197`, `B`, `197·B`, `B + 1`. */
export function showDim(d: Dim): string {
  if (d.b === 0) return String(d.c);
  const head = d.b === 1 ? "B" : `${d.b}·B`;
  return d.c === 0 ? head : `${head} ${d.c < 0 ? "-" : "+"} ${Math.abs(d.c)}`;
}
/** `[B, 197, 192]`. */
export const showShape = (shape: Shape): string => `[${shape.map(showDim).join(", ")}]`;

/** A size at batch 1, for comparing amounts of work. */
export const at1 = (d: Dim): number => (isConstant(d) ? d.c : d.b + d.c);
