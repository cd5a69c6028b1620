/** @file Tests on an adapter whose subgroups multiply matrices. */
import test, { type ExecutionContext } from "ava";
import { MATRICES } from "./matrix_driver.js";

const NEEDS_MATRICES = "(needs an adapter with subgroup matrices)";

/** A test that runs where there is such an adapter, and is skipped by name elsewhere. */
export function matrixTest(title: string, run: (t: ExecutionContext) => Promise<void>): void {
  if (MATRICES === undefined) test.skip(`${title} ${NEEDS_MATRICES}`, (t) => t.pass());
  else test.serial(title, run);
}
