/**
 * @file What a value read from a file must look like: one check for each type, composed as the types are. A check
 * returns the first fault, with its path inside the value, and never throws.
 */

import { printable } from "../text.js";

/** What is wrong, and where: `graphs.infer.outputs[0].shape`. The path of the value itself is empty. */
export interface Fault {
  readonly path: string;
  /** What it must be, and what was found, to stand behind the path. */
  readonly message: string;
}

/** Says whether a value is a `T`. `of` only carries the type, so that a check of another type does not compile. */
export interface Check<T> {
  (value: unknown): Fault | undefined;
  readonly of?: T;
}

/** A field that may be absent. */
interface Optional<T> {
  readonly optional: Check<T>;
}

/** A check for every field of `T`, and for no other. */
export type Fields<T> = {
  readonly [K in keyof T]-?: undefined extends T[K] ? Optional<Exclude<T[K], undefined>> : Check<T[K]>;
};

/** Characters of a value that a message shows. */
const SHOWN = 60;

/** A value as a message shows it: cut short, without characters that act on a terminal. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value) && value.length > 8) return `a list of ${value.length}`;
  const text = printable(typeof value === "number" ? String(value) : JSON.stringify(value));
  return text.length <= SHOWN ? text : `${text.slice(0, SHOWN)}…`;
}

/** A fault of the value itself, in words that stand behind its path. */
export const says = (message: string): Fault => ({ path: "", message });

/** A fault of a value that is not what it must be. */
export const fault = (wanted: string, found: unknown): Fault => says(`must be ${wanted}, got ${show(found)}`);

/** A fault further down: `key` is the name of a field, or a position. */
export function inside(key: string | number, { path, message }: Fault): Fault {
  const step = typeof key === "number" ? `[${key}]`
    : /^[\w-]{1,60}$/.test(key) ? `.${key}` : `[${show(key)}]`;
  return { path: `${step}${path}`, message };
}

/** A check of one's own. @param wanted what a value must be, in words */
export const check = <T>(wanted: string, is: (value: unknown) => boolean): Check<T> =>
  (value) => (is(value) ? undefined : fault(wanted, value));

export const optional = <T>(one: Check<T>): Optional<T> => ({ optional: one });

export const flag = check<boolean>("true or false", (value) => typeof value === "boolean");

/** A number that is neither infinite nor NaN. */
export const finite = check<number>("a number", Number.isFinite);

/** A number, infinities included. */
export const anyNumber = check<number>("a number", (value) => typeof value === "number" && !Number.isNaN(value));

/** A whole number between bounds, both included. */
export const whole = (least: number, most = Number.MAX_SAFE_INTEGER): Check<number> => check(
  most === Number.MAX_SAFE_INTEGER ? `a whole number of at least ${least}` : `a whole number from ${least} to ${most}`,
  (value) => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most, // a number then
);

/** A text on one line without control characters, which could act on a terminal. */
export const text = check<string>("a text without control characters",
  (value) => typeof value === "string" && !/\p{Cc}/u.test(value));

/** A text with any characters, such as a file's name; `printable` makes it fit for messages. */
export const anyText = check<string>("a text", (value) => typeof value === "string");

/** A text that may have several lines. */
export const lines = check<string>("a text without control characters",
  (value) => typeof value === "string" && !/[^\P{Cc}\n\t]/u.test(value));

/** A text of a pattern. @param wanted the pattern in words */
export const matching = (wanted: string, pattern: RegExp): Check<string> =>
  check(wanted, (value) => typeof value === "string" && value.length <= 255 && pattern.test(value));

/** One of the words that `table` has as keys. */
export const word = <W extends string>(table: Readonly<Record<W, unknown>>): Check<W> =>
  check(Object.keys(table).map((one) => `"${one}"`).join(" or "),
    (value) => typeof value === "string" && Object.hasOwn(table, value));

/** A list. @param length how many there are, where that is fixed */
export const list = <T>(one: Check<T>, length?: number): Check<readonly T[]> => (value) => {
  if (!Array.isArray(value)) return fault("a list", value);
  if (length !== undefined && value.length !== length) return fault(`a list of ${length}`, value);
  for (let i = 0; i < value.length; i++) {
    const found = one(value[i]);
    if (found) return inside(i, found);
  }
  return undefined;
};

/** A list of three. */
export const triple = (one: Check<number>): Check<readonly [number, number, number]> =>
  (value) => list(one, 3)(value);

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** An object with names of one's own for its fields. */
export const record = <T>(name: Check<string>, one: Check<T>): Check<Readonly<Record<string, T>>> => (value) => {
  if (!isObject(value)) return fault("an object", value);
  for (const [key, item] of Object.entries(value)) {
    const found = name(key);
    if (found) return inside(key, says(`has a name that ${found.message}`));
    const wrong = one(item);
    if (wrong) return inside(key, wrong);
  }
  return undefined;
};

/** An object of fixed fields, and no others. */
export function object<T>(fields: Fields<T>): Check<T> {
  // The mapped type has exactly these two kinds of values.
  const checks = new Map(Object.entries(fields as Readonly<Record<string, Check<unknown> | Optional<unknown>>>));
  return (value) => {
    if (!isObject(value)) return fault("an object", value);
    for (const [key, item] of Object.entries(value)) {
      const one = checks.get(key);
      if (one === undefined) return inside(key, says("is not a field that belongs here"));
      const found = (typeof one === "function" ? one : one.optional)(item);
      if (found) return inside(key, found);
    }
    for (const [key, one] of checks) {
      const absent = typeof one === "function" && !Object.hasOwn(value, key);
      if (absent) return inside(key, says("is missing"));
    }
    return undefined;
  };
}

/** An object whose `kind` says which fields it has. */
export function variants<T extends { readonly kind: string }>(
  cases: { readonly [K in T["kind"]]: Check<Extract<T, { readonly kind: K }>> },
): Check<T> {
  const known = word(cases);
  // Its keys are the kinds.
  const checks = cases as Readonly<Record<string, Check<unknown>>>;
  return (value) => {
    if (!isObject(value)) return fault("an object", value);
    const { kind } = value;
    const found = known(kind);
    if (found) return inside("kind", found);
    return checks[String(kind)]?.(value);
  };
}

/** A check, then a rule for what it let through. */
export const and = <T>(first: Check<T>, rule: (value: T) => Fault | undefined): Check<T> =>
  (value) => first(value) ?? rule(value as T); // the first check said so

/** Where a fault lies, in words. */
export const placeOf = ({ path }: Fault): string => (path === "" ? "it" : `\`${path.replace(/^\./, "")}\``);
