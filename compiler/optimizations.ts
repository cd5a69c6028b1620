/**
 * @file What the compiler could do without: names by which a user leaves an optimization out, to find a wrong number.
 */

/**
 * From the smallest to the greatest: kernels that store what several need, many ops recognized as one, convolutions
 * with the channels last, and kernels of more than one op.
 */
export const OPTIMIZATIONS = ["joins", "patterns", "layout", "fusion"] as const;
export type Optimization = (typeof OPTIMIZATIONS)[number];
