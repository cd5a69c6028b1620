/** @file Rounding to IEEE 754 binary16, which JavaScript has no function for in every version that is supported. */

const wide = new DataView(new ArrayBuffer(8));

/** The exponent of a finite number other than 0: 2^e ≤ |x| < 2^(e + 1). */
function exponentOf(x: number): number {
  wide.setFloat64(0, x);
  return ((wide.getUint32(0) >>> 20) & 0x7ff) - 1023;
}

/** The greatest finite f16 is 65504; what lies half a step or more beyond it rounds to infinity. */
const OVERFLOW = 65520;

/** The f16 nearest to x, of two equally near the even one. Source: IEEE 754-2019, §4.3.1. */
export function roundToHalf(x: number): number {
  if (x === 0 || Number.isNaN(x)) return x;
  if (Math.abs(x) >= OVERFLOW) return Math.sign(x) * Infinity;
  // Below 2^-14 all steps are 2^-24: subnormal numbers.
  const step = 2 ** (Math.max(exponentOf(x), -14) - 10);
  // 1.5·2^52 steps: adding so much leaves no digit below one step, and rounds to nearest, ties to even.
  const shift = 1.5 * 2 ** 52 * step;
  const rounded = x + shift - shift;
  return rounded === 0 ? Math.sign(x) * 0 : rounded;
}
