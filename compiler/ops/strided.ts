/**
 * @file Dense row-major arrays on the CPU: strides, and the two copies (strided read, strided write) that every
 * reference of a movement op is made of.
 */
import type { Tensor } from "../ir/op.js";

export type Numbers = Tensor["data"];
export type Sizes = readonly number[];

export const count = (shape: Sizes): number => shape.reduce((n, s) => n * s, 1);

/** Row-major strides. */
export function stridesOf(shape: Sizes): number[] {
  const strides: number[] = new Array<number>(shape.length).fill(1);
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = at(strides, i + 1) * at(shape, i + 1);
  return strides;
}

/** Element `i` of a list known to be long enough. */
export const at = (list: Sizes, i: number): number => list[i] as number; // the caller's i is in range

/** An array of `length` zeros of the same kind. */
export function allocateLike(data: Numbers, length: number): Numbers {
  if (data instanceof Float64Array) return new Float64Array(length);
  return data instanceof Float32Array ? new Float32Array(length) : new Int32Array(length);
}

/**
 * Calls `visit(from, to)` for each run along the last axis of `shape`: offsets of its first element by `strides` and
 * by `others`, starting from the given offsets.
 */
export function forEachRow(
  shape: Sizes, strides: Sizes, offset: number, others: Sizes, otherOffset: number,
  visit: (x: number, y: number) => void,
): void {
  if (count(shape) === 0) return;
  const outer = shape.length - 1;
  const index = new Array<number>(Math.max(outer, 0)).fill(0);
  let [x, y] = [offset, otherOffset];
  for (;;) {
    visit(x, y);
    let axis = outer - 1;
    for (; axis >= 0; axis--) {
      const next = at(index, axis) + 1;
      x += at(strides, axis);
      y += at(others, axis);
      if (next < at(shape, axis)) {
        index[axis] = next;
        break;
      }
      index[axis] = 0;
      x -= at(strides, axis) * at(shape, axis);
      y -= at(others, axis) * at(shape, axis);
    }
    if (axis < 0) return;
  }
}

/** A dense tensor of `shape` whose element at `i` is `data[offset + Σ i·strides]`. */
export function readStrided(data: Numbers, shape: Sizes, strides: Sizes, offset = 0): Tensor {
  const out = allocateLike(data, count(shape));
  copy(out, stridesOf(shape), 0, data, strides, offset, shape);
  return { shape, data: out };
}

/** Writes `part` into `out` at `offset + Σ i·strides`. */
export function writeStrided(out: Numbers, strides: Sizes, offset: number, part: Tensor): void {
  copy(out, strides, offset, part.data, stridesOf(part.shape), 0, part.shape);
}

function copy(out: Numbers, to: Sizes, toOffset: number, data: Numbers, from: Sizes, fromOffset: number,
  shape: Sizes): void {
  const last = shape.length - 1;
  const [width, toStep, fromStep] = last < 0 ? [1, 1, 1] : [at(shape, last), at(to, last), at(from, last)];
  forEachRow(shape, to, toOffset, from, fromOffset, (x, y) => {
    for (let i = 0; i < width; i++, x += toStep, y += fromStep) out[x] = data[y] as number; // in range by the strides
  });
}

/** Strides that read a tensor of shape `from` as the broadcast shape `to`: 0 along repeated axes. */
export function broadcastStrides(from: Sizes, to: Sizes): number[] {
  const strides = stridesOf(from);
  const missing = to.length - from.length;
  return to.map((_, i) => (i < missing || at(from, i - missing) === 1 ? 0 : at(strides, i - missing)));
}

/** The tensor repeated to `shape`; itself when it has that shape. */
export function broadcastTo(x: Tensor, shape: Sizes): Tensor {
  if (x.data.length === count(shape)) return { shape, data: x.data };
  return readStrided(x.data, shape, broadcastStrides(x.shape, shape));
}
