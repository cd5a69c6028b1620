/**
 * The compiler's version: that of the package, repeated here so that no file is read for it; a test compares the two.
 */
export const VERSION = "0.1.0";
