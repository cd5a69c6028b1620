/** @file The arguments of a recipe's calls, read as what they have to be. */
import { InputError } from "../errors.js";
import type { Argument, CallSetting, Count } from "../training.js";

/** A time in epochs. */
const epochsOf = ({ value, unit }: Count, stepsPerEpoch: number): number =>
  (unit === "steps" ? value / stepsPerEpoch : value);

/** The arguments of a call, read as what they have to be. */
export class Reader {
  readonly #call: CallSetting;

  constructor(call: CallSetting) {
    this.#call = call;
  }

  #fail(name: string, wanted: string): InputError {
    const got = JSON.stringify(this.#call.arguments[name] ?? null);
    return new InputError(`\`${name}\` of \`${this.#call.name}\` must be ${wanted}, got ${got}`);
  }

  number(name: string): number {
    const value = this.#call.arguments[name];
    if (typeof value !== "number") throw this.#fail(name, "a number");
    return value;
  }

  flag(name: string): boolean {
    const value = this.#call.arguments[name];
    if (typeof value !== "boolean") throw this.#fail(name, "true or false");
    return value;
  }

  text(name: string): string {
    const value = this.#call.arguments[name];
    if (typeof value !== "string") throw this.#fail(name, "a text");
    return value;
  }

  word<W extends string>(name: string, words: readonly W[]): W {
    const found = words.find((word) => word === this.#call.arguments[name]);
    if (found === undefined) throw this.#fail(name, words.map((word) => `"${word}"`).join(" or "));
    return found;
  }

  /** A time, in epochs. */
  time(name: string, stepsPerEpoch: number): number {
    const value = this.#call.arguments[name];
    if (typeof value !== "object" || value === null || !("unit" in value)) throw this.#fail(name, "a time");
    return epochsOf(value, stepsPerEpoch);
  }

  /** A list of two numbers. */
  pair(name: string): readonly [number, number] {
    const [a = 0, b = 0] = this.numbers(name, 2);
    return [a, b];
  }

  /** A list of so many numbers. */
  numbers(name: string, count: number): number[] {
    const value = this.#call.arguments[name];
    const list: readonly Argument[] = isList(value) ? value : [];
    const numbers = list.filter((one) => typeof one === "number");
    if (list.length !== count || numbers.length !== count) throw this.#fail(name, `a list of ${count} numbers`);
    return numbers;
  }
}

/** `Array.isArray` does not narrow readonly arrays. */
const isList = (value: Argument | undefined): value is readonly Argument[] => Array.isArray(value);

/** The arguments of a call. Every method throws `InputError` for an argument that is missing or of another kind. */
export const argumentsOf = (call: CallSetting): Reader => new Reader(call);
