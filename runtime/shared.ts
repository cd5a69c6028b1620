/** @file What has several users at a time: made for the first of them, forgotten after the last. */

/** Values by key, each made once for all who use it at a time. */
export class Shared<T> {
  readonly #made = new Map<string, { readonly value: Promise<T>; users: number }>();

  /** Number of values in use. */
  get size(): number {
    return this.#made.size;
  }

  /** The value of `key`, which `make` makes if nobody uses it. To be released, also when making it failed. */
  take(key: string, make: () => Promise<T>): Promise<T> {
    let made = this.#made.get(key);
    if (made === undefined) this.#made.set(key, (made = { value: make(), users: 0 }));
    made.users++;
    return made.value;
  }

  /** Gives up one use of `key`. */
  release(key: string): void {
    const made = this.#made.get(key);
    if (made !== undefined && --made.users === 0) this.#made.delete(key);
  }
}
