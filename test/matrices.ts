/** @file Tests on an adapter whose subgroups multiply matrices. */
import test, { type ExecutionContext } from "ava";
import { HAS_LARGE_MATRICES, MATRICES } from "./matrix_driver.js";

const NEEDS_MATRICES = "(needs an adapter with subgroup matrices)";

/** A test that runs where there is such an adapter, and is skipped by name elsewhere. @param size of its matrices */
export function matrixTest(title: string, run: (t: ExecutionContext) => Promise<void>, size = 8): void {
  if (MATRICES === undefined || (size > 8 && !HAS_LARGE_MATRICES)) test.skip(`${title} ${NEEDS_MATRICES}`, (t) => t.pass());
  else test.serial(title, run);
}
