/** A bug of ours, never of the user: reported with exit code 70. */
export class CompilerBug extends Error {
  override readonly name = "CompilerBug";
}

/** Throws a `CompilerBug` unless `condition` holds. @param should what should hold, as a sentence. */
export function invariant(condition: unknown, should: string): asserts condition {
  if (!condition) throw new CompilerBug(should);
}
