/** @file Powers of numbers known at compile time, the same in every JavaScript engine. */

const MOST = 64;

/**
 * x to the power y. `Math.pow` differs in the last digit between engines (32^-0.5 does between Node 20 and 24), and
 * the text of kernels would differ with it. Products, quotients and square roots do not, so the usual exponents, whole
 * and half ones up to 64, are computed from these.
 */
export function power(x: number, y: number): number {
  const size = Math.abs(y);
  const half = !Number.isInteger(y);
  const usual = size <= MOST && Number.isInteger(2 * y) && Number.isFinite(x) && (!half || x > 0);
  if (!usual) return Math.pow(x, y);
  let result = half ? Math.sqrt(x) : 1;
  for (let i = Math.trunc(size); i > 0; i--) result *= x;
  return y < 0 ? 1 / result : result;
}
