/**
 * @file How much one model may ask for. Past a limit elaboration stops at once: nothing a file says makes it run long.
 */

/** Turns of all `for` loops together. */
export const LOOP_TURNS = 100_000;
/** Calls of blocks and models. */
export const INSTANCES = 20_000;
/** Nodes of the graph. */
export const NODES = 200_000;
/** Elements of one tensor at batch 1. */
export const ELEMENTS = 2 ** 31;
/** Items of all computed lists together. */
export const LIST_ITEMS = 5_000_000;
/** Expressions evaluated. */
export const EVALUATIONS = 5_000_000;

/** Stops the elaboration after a `too_many` diagnostic; caught where it began. */
export class LimitReached extends Error {
  override readonly name = "LimitReached";
}
