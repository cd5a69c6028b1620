/**
 * @file What an element type is: its size, and how values of it look in WGSL. The one place that knows.
 *
 * In registers f32, f16, i32 and bool are WGSL's own types of these names. In buffers a bool is an `i32`, 0 or 1 (bool
 * is not host-shareable), so `load` and `store` stand between the two.
 */
import type { ElementBytes } from "../../runtime/manifest.js";
import { sizeOf, type Dim, type Shape } from "./dim.js";
import type { DType } from "./graph.js";
import { roundToHalf } from "./half.js";

export interface ElementType<D extends DType = DType> {
  /** Of an element in a buffer; the runtime, whose code the compiler does not load, has them too. */
  readonly bytes: ElementBytes[D];
  /** WGSL type in a register, and in a buffer. */
  readonly register: string;
  readonly storage: string;
  /** WGSL type of four neighbours in a buffer, where kernels read them at once. */
  readonly vector: string;
  /** A loaded buffer element as a register value, and the other way round. */
  load(x: string): string;
  store(x: string): string;
  /** A number as WGSL. */
  literal(value: number): string;
}

/** Printed so that it reads back exactly; the value is finite. */
function realLiteral(value: number): string {
  const text = `${String(Math.fround(value))}f`;
  return value < 0 || Object.is(value, -0) ? `(${text})` : text;
}

/** As above; the value is finite in f16 too. */
function halfLiteral(value: number): string {
  const text = `${String(roundToHalf(value))}h`;
  return value < 0 || Object.is(value, -0) ? `(${text})` : text;
}

function wholeLiteral(value: number): string {
  if (value === -2147483648) return "(-2147483647i - 1i)";
  return value < 0 ? `(${value}i)` : `${value}i`;
}

const same = (x: string): string => x;

export const ELEMENT_TYPES: { readonly [D in DType]: ElementType<D> } = {
  f32: { bytes: 4, register: "f32", storage: "f32", vector: "vec4f", load: same, store: same, literal: realLiteral },
  f16: { bytes: 2, register: "f16", storage: "f16", vector: "vec4h", load: same, store: same, literal: halfLiteral },
  i32: { bytes: 4, register: "i32", storage: "i32", vector: "vec4i", load: same, store: same, literal: wholeLiteral },
  bool: {
    bytes: 4, register: "bool", storage: "i32", vector: "vec4i",
    load: (x) => `(${x} != 0)`, store: (x) => `select(0, 1, ${x})`,
    literal: (value) => (value === 0 ? "false" : "true"),
  },
};

/** Bytes that every buffer is a multiple of: one `vec4f`, so that a kernel may view any tensor as vectors. */
export const STORAGE_GRAIN = 16;

interface Typed {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Bytes of the elements of a tensor, as b·B + c. */
export function bytesOf({ shape, dtype }: Typed): Dim {
  const { b, c } = sizeOf(shape);
  const { bytes } = ELEMENT_TYPES[dtype];
  return { b: b * bytes, c: c * bytes };
}

/** Bytes of the storage of a tensor: those of its elements, rounded up to whole vectors for every B. */
export function storageBytesOf(tensor: Typed): Dim {
  const { b, c } = bytesOf(tensor);
  const up = (bytes: number): number => Math.ceil(bytes / STORAGE_GRAIN) * STORAGE_GRAIN;
  return { b: up(b), c: b > 0 && c === 0 ? 0 : up(c) };
}
