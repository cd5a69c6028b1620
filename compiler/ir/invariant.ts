/**
 * @file What is thrown: our own bugs, and mistakes of users that no diagnostic can show.
 */

/** A bug of ours, never of the user: reported with exit code 70. */
export class CompilerBug extends Error {
  override readonly name = "CompilerBug";
}

/** A user's mistake without a place in a `.deit` file: the message says all of it, and how to fix it. */
export class UserError extends Error {
  override readonly name: string = "UserError";
  constructor(message: string, readonly help?: string) {
    super(message);
  }
}

/** Throws a `CompilerBug` unless `condition` holds. @param should what should hold, as a sentence. */
export function invariant(condition: unknown, should: string): asserts condition {
  if (!condition) throw new CompilerBug(should);
}
