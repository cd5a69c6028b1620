/**
 * @file JSON text for people and diffs: what fits on a line stands on one, numbers are exact, keys keep one order.
 */
import { invariant } from "../ir/invariant.js";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

const WIDTH = 120;
/** 2¹⁰²⁴ and beyond is how JSON can spell an infinity: every reader rounds it there. */
const INFINITY = "1e999";

/** A number that reads back as the same bits, infinities and the sign of zero included. @throws on NaN. */
function numberText(x: number): string {
  invariant(!Number.isNaN(x), "a number in JSON is not NaN");
  if (x === Infinity) return INFINITY;
  if (x === -Infinity) return `-${INFINITY}`;
  return Object.is(x, -0) ? "-0" : String(x);
}

/** An object's present fields: those of `order` first, in that order, then the others by name. */
function fields(
  value: { readonly [key: string]: Json | undefined }, rank: ReadonlyMap<string, number>,
): [string, Json][] {
  const present = Object.entries(value).filter((e): e is [string, Json] => e[1] !== undefined);
  const place = (key: string): number => rank.get(key) ?? rank.size;
  return present.sort(([x], [y]) => place(x) - place(y) || (x < y ? -1 : x > y ? 1 : 0));
}

/** Prints with lines of at most 120 characters where the values allow. */
class Printer {
  readonly #rank: ReadonlyMap<string, number>;
  constructor(order: readonly string[]) {
    this.#rank = new Map(order.map((key, i) => [key, i]));
  }

  line(value: Json): string {
    if (typeof value === "number") return numberText(value);
    if (value === null || typeof value !== "object") return JSON.stringify(value);
    if (isList(value)) return `[${value.map((v) => this.line(v)).join(", ")}]`;
    const parts = fields(value, this.#rank).map(([k, v]) => `${JSON.stringify(k)}: ${this.line(v)}`);
    return parts.length === 0 ? "{}" : `{ ${parts.join(", ")} }`;
  }

  /** `used` characters of the first line are taken already. */
  block(value: Json, indent: string, used: number): string {
    const line = this.line(value);
    if (used + line.length < WIDTH || value === null || typeof value !== "object") return line;
    const inner = `${indent}  `;
    if (isList(value)) {
      if (value.every((v) => v === null || typeof v !== "object")) return this.#fill(value, indent);
      return `[\n${value.map((v) => inner + this.block(v, inner, inner.length)).join(",\n")}\n${indent}]`;
    }
    const parts = fields(value, this.#rank).map(([key, v]) => {
      const head = `${inner}${JSON.stringify(key)}: `;
      return head + this.block(v, inner, head.length);
    });
    return `{\n${parts.join(",\n")}\n${indent}}`;
  }

  /** A long list of plain values: as many a line as fit. */
  #fill(values: readonly Json[], indent: string): string {
    const lines: string[] = [];
    let current = "";
    for (const value of values) {
      const text = this.line(value);
      if (current !== "" && indent.length + current.length + text.length + 5 > WIDTH) {
        lines.push(`${current},`);
        current = text;
      } else {
        current = current === "" ? text : `${current}, ${text}`;
      }
    }
    lines.push(current);
    return `[\n${lines.map((l) => `${indent}  ${l}`).join("\n")}\n${indent}]`;
  }
}

/** `Array.isArray` does not narrow readonly arrays. */
function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

/** `value` as text ending in a newline. Keys of `order` come first in every object, in that order. */
export function printJson(value: Json, order: readonly string[]): string {
  return `${new Printer(order).block(value, "", 0)}\n`;
}
