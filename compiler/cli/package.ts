/** @file Where this package lies, whether it runs from its sources or from `dist`. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { invariant } from "../ir/invariant.js";

/** Absolute path of the nearest folder around this file that holds a package.json. */
export function packageFolder(): string {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    if (existsSync(join(at, "package.json"))) return at;
    invariant(dirname(at) !== at, "the package has a package.json");
  }
}
