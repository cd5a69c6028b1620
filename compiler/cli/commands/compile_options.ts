/** @file The options of `deitc compile`. */
import type { Plain } from "../../elaborate/index.js";
import type { LeftOut } from "../command.js";

export interface CompileOptions extends LeftOut {
  readonly target?: string;
  readonly out?: string;
  readonly set?: Readonly<Record<string, Plain>>;
  readonly watch?: boolean;
  readonly verify?: boolean;
  readonly adapter?: string;
  readonly dump?: string | true;
  readonly time?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}
