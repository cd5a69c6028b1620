/** @file The options of `deitc explain` for a file. */
import type { FamilyName } from "../../../runtime/manifest.js";

export interface ExplainOptions {
  readonly target?: string;
  readonly family: readonly FamilyName[];
  readonly kernel?: string;
  readonly memory?: boolean;
  readonly parameters?: boolean;
  readonly svg?: string;
  readonly json?: boolean;
}
