/** @file What is asked of a compiled model and is not there. */

/** A question that the model has no answer to: the user's mistake, with one way out. */
export class InspectError extends Error {
  override readonly name = "InspectError";
  readonly help: string | undefined;
  constructor(message: string, help?: string) {
    super(message);
    this.help = help;
  }
}
