/** @file Changes to texts, bytes and JSON that a seed decides. */
import { random } from "../random_graphs.js";

/** Choices that a seed decides. */
export class Dice {
  readonly #next: () => number;
  constructor(seed: number) {
    this.#next = random(seed);
  }

  /** A whole number in [0, n). */
  below(n: number): number {
    return Math.min(Math.floor(this.#next() * n), n - 1);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T; // in range
  }
}

/** Numbers at the edges of what readers assume. */
const NUMBERS = [
  0, -0, 1, -1, 2, 3, 4, 7, 0.5, 255, 256, 1e-30, 2 ** 16, 2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 53, 1e308, -(2 ** 31),
];
const WORDS = [
  "", "a", "..", "../x", "__proto__", "constructor", "toString", "a\nb", "a/b", "\u001b[2J", "\u0000", "é", "x".repeat(5000),
  "read", "read_write", "slot", "output", "input", "parameter", "f32", "i32", "bool", "zeros", "values", "copy", "derived",
];

/** One to four changes of bytes, most of them near the start or the end, where headers are. */
export function mutateBytes(source: Uint8Array, dice: Dice): Uint8Array {
  let bytes = Uint8Array.from(source);
  const at = (): number => {
    const near = Math.min(bytes.length, 256);
    return [dice.below(near), bytes.length - 1 - dice.below(near), dice.below(bytes.length)][dice.below(3)] ?? 0;
  };
  for (let changes = 1 + dice.below(4); changes > 0 && bytes.length > 0; changes--) {
    const place = at();
    switch (dice.below(7)) {
      case 0: bytes[place] = dice.below(256); break;
      case 1: bytes[place] = (bytes[place] ?? 0) ^ (1 << dice.below(8)); break;
      case 2: bytes = bytes.slice(0, place); break;
      case 3: bytes.fill(dice.pick([0, 255]), place, place + 1 + dice.below(8)); break;
      case 4: {
        const size = 1 + dice.below(64);
        bytes.copyWithin(place, at(), at() + size);
        break;
      }
      case 5: bytes = new Uint8Array(Buffer.concat([bytes.slice(0, place), bytes.slice(at(), at() + 40), bytes.slice(place)])); break;
      default: bytes = new Uint8Array(Buffer.concat([bytes.slice(0, place), bytes.slice(place + 1 + dice.below(16))]));
    }
  }
  return bytes;
}

/** One to three changes of a text by its words and signs. */
export function mutateText(text: string, dice: Dice): string {
  const words = text.match(/\w+|\s+|[^\w\s]/gu) ?? [];
  for (let changes = 1 + dice.below(3); changes > 0 && words.length > 0; changes--) {
    const place = dice.below(words.length);
    switch (dice.below(6)) {
      case 0: words.splice(place, 1 + dice.below(6)); break;
      case 1: words[place] = dice.pick(words); break;
      case 2: words.splice(place, 0, ...words.slice(dice.below(words.length)).slice(0, 1 + dice.below(30))); break;
      case 3: words[place] = String(dice.pick(NUMBERS)); break;
      case 4: {
        const numbers = words.flatMap((word, i) => (/^\d+$/u.test(word) ? [i] : []));
        if (numbers.length > 0) words[dice.pick(numbers)] = String(dice.pick(NUMBERS));
        break;
      }
      default: words[place] = dice.pick(["(", ")", "[", "]", "{", "}", "\"", "\\", "/*", "\u0000", "…", "model", "block", "for", "=", "..", "-", "^"]);
    }
  }
  return words.join("");
}

type Holder = Record<string, unknown> | unknown[];
const isHolder = (value: unknown): value is Holder => typeof value === "object" && value !== null;

/** A random place in a value: what holds it, and its key there. */
function somewhere(root: Holder, dice: Dice): readonly [Holder, string] {
  let holder = root;
  for (;;) {
    const keys = Object.keys(holder);
    if (keys.length === 0) return [holder, "0"];
    const key = dice.pick(keys);
    const inside = (holder as Record<string, unknown>)[key]; // keys of lists are texts too
    if (!isHolder(inside) || Object.keys(inside).length === 0 || dice.below(8) === 0) return [holder, key];
    holder = inside;
  }
}

/** One or two changes of a JSON value, in place. */
export function mutateJson(root: Holder, dice: Dice): void {
  for (let changes = 1 + dice.below(2); changes > 0; changes--) {
    const [holder, key] = somewhere(root, dice);
    const [other, otherKey] = somewhere(root, dice);
    const fields = holder as Record<string, unknown>; // keys of lists are texts too
    const old = fields[key];
    const copied: unknown = structuredClone((other as Record<string, unknown>)[otherKey]);
    switch (dice.below(8)) {
      case 0: if (Array.isArray(holder)) holder.splice(Number(key), 1); else delete fields[key]; break;
      case 1: fields[key] = copied; break;
      case 2: fields[key] = dice.pick([null, true, [], {}, dice.pick(NUMBERS), dice.pick(WORDS)]); break;
      case 3: case 4:
        fields[key] = typeof old === "number" ? dice.pick([old + 1, old - 1, old * 2, -old, old + 0.5, dice.pick(NUMBERS)])
          : typeof old === "string" ? dice.pick([dice.pick(WORDS), `${old}x`, typeof copied === "string" ? copied : ""])
            : dice.pick([dice.pick(NUMBERS), copied]);
        break;
      case 5: if (Array.isArray(holder)) holder.push(copied); else fields[dice.pick(WORDS)] = copied; break;
      case 6: if (Array.isArray(old)) old.reverse(); else fields[key] = dice.pick(NUMBERS); break;
      default: if (Array.isArray(holder)) holder.splice(Number(key), 0, copied); else fields[otherKey] = old;
    }
  }
}
