/** @file Text in SVG drawings: escaped, measured and cut to a width. */

export const escapeXml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

export const cut = (text: string, most: number): string => {
  const letters = [...text];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
};

/**
 * Widths of a letter as a share of the font's size. The reader's fonts are not known: these are at least as wide as
 * the common monospace fonts (0.55 to 0.61) and, for running text, as the widest common sans-serif ones.
 */
const LETTER = { mono: 0.62, sans: 0.66 } as const;
export type Face = keyof typeof LETTER;

/** Pixels that a text takes at most. @param size of the font, in pixels */
export const widthOf = (text: string, size: number, face: Face): number =>
  Math.ceil([...text].length * size * LETTER[face]);

/** The text, or as much of its beginning as fits `width` pixels. */
export const fitted = (text: string, width: number, size: number, face: Face): string =>
  cut(text, Math.max(1, Math.floor(width / (size * LETTER[face]))));
