/** @file Names that come from files and folders, as messages and terminals show them. */

/** A name on one line, without control characters, which could act on a terminal. */
export const printable = (name: string): string => name.replace(/\p{Cc}/gu, "\ufffd");

/** A text of several lines; control characters in it but line ends and tabs are replaced. */
export const printableLines = (text: string): string => text.replace(/[^\P{Cc}\n\t]/gu, "\ufffd");

/**
 * A value as JSON without characters that act on a terminal: JSON itself escapes those below U+0020, and not DEL and
 * those up to U+009F.
 */
export const jsonText = (value: unknown, indent?: number): string => JSON.stringify(value, undefined, indent)
  .replace(/[\x7f-\x9f]/gu, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** `'a', 'b', 'c' and 4 more`. @param most names told of a long list */
export function someNames(names: readonly string[], most = 3): string {
  const shown = names.slice(0, most).map((name) => `'${printable(name)}'`).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

/** `1 image`, `3 images`. */
export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${count} ${count === 1 ? one : many}`;
