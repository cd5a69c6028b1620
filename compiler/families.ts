import type { FamilyName } from "../runtime/manifest.js";

/**
 * Every kernel family that is compiled; repeated from the manifest's type, since the compiler loads no runtime code.
 */
export const FAMILY_NAMES: readonly FamilyName[] = ["scalar", "wide", "tiled"];
