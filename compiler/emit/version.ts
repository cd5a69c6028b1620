import type { Artifact } from "../../runtime/artifact.js";

/**
 * The compiler's version: that of the package, repeated here so that no file is read for it; a test compares the two.
 */
export const VERSION = "0.1.0";

/** The format of the manifests that it writes; the runtime reads no other. */
export const FORMAT: Artifact["format"] = 3;
