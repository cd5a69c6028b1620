/**
 * @file Colours, where a terminal takes them. Node decides, by the stream and by NO_COLOR, FORCE_COLOR, TERM and CI;
 * elsewhere every text stays as it is.
 */
import { styleText } from "node:util";
import type { Paint, Tone } from "../../dsl/diagnostics.js";

type Style = Parameters<typeof styleText>[0] & string;

const STYLES: Readonly<Record<Tone, readonly Style[]>> = {
  error: ["bold", "red"], message: ["bold"], place: ["cyan"], gutter: ["blue"], caret: ["bold", "red"],
  note: ["dim"], help: ["green"], ok: ["green"],
};

/** Paints what is written to `stream`. */
export const paintFor = (stream: NodeJS.WritableStream): Paint => (tone, text) =>
  // One style a call: given several at once, Node 20 does not look at the stream.
  STYLES[tone].reduceRight((painted, style) => styleText(style, painted, { stream }), text);
