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
/** Items of all lists made and gone through, together. */
export const LIST_ITEMS = 2_000_000;
/** Expressions evaluated. */
export const EVALUATIONS = 5_000_000;
/** Characters of one text. */
export const TEXT_LENGTH = 4096;
/** Characters of the path of a block's parameters: paths are parts of file names, with at most one name more. */
export const PATH_LENGTH = 140;

/** Stops the elaboration after a `too_many` diagnostic; caught where it began. */
export class LimitReached extends Error {
  override readonly name = "LimitReached";
}
