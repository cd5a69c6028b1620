/**
 * @file The boxes with text of a picture: kernels, inputs and outputs, and where a line continues in another column.
 */
import { showDim, showShape, type Shape } from "../ir/dim.js";
import type { Origin } from "../ir/graph.js";
import { escapeXml, fitted, widthOf, type Face } from "./drawing.js";
import type { Box } from "./fold.js";
import type { Rect } from "./layout.js";
import type { Kernel } from "./network.js";
import { computedBy } from "./structure.js";
import { FONT } from "./style.js";

const NODE = { least: 180, most: 360, pad: 12, line: 16, strip: 19 };

/** A line of text. */
interface Line {
  readonly text: string;
  readonly style: string;
  readonly size: number;
  readonly face: Face;
}

export interface Card {
  readonly id: string;
  /** Classes of its rectangle. */
  readonly style: string;
  readonly hint: string;
  readonly lines: readonly Line[];
  /** At the right of the first line. */
  readonly corner?: string;
  readonly width: number;
  readonly height: number;
}

export const cardOf = (kernel: Kernel): string => `kernel ${kernel.id}`;

const mono = (text: string, style: string): Line => ({ text, style, size: FONT.line, face: "mono" });

/** Tensors without a line of their own that get a row of text each; more are listed in a single row. */
const MOST_FAR = 3;

/** @param far paths of what it reads without a line */
export function kernelCard(
  kernel: Kernel, inside: Box | undefined, far: readonly string[], composites: ReadonlyMap<Origin, string>,
): Card {
  const { fused, path, name, prepared, step } = kernel;
  const short = (other: string): string => {
    if (!inside || !(other === inside.path || other.startsWith(`${inside.path}.`))) return other;
    return other === inside.path ? other.split(".").at(-1) ?? other : other.slice(inside.path.length + 1);
  };
  const shape = showShape(fused.root.shape);
  const computed = computedBy(fused, composites);
  const lines: Line[] = [
    { text: short(path) || name, style: "name", size: FONT.name, face: "mono" },
    mono(computed, "line"), mono(name, "line dim"),
    ...(far.length > MOST_FAR
      ? [mono(`reads ${far.length} tensors: ${far.join(", ")}`, "line far")]
      : far.map((other) => mono(`reads ${other}`, "line far"))),
    ...(prepared.length === 0 ? []
      : [mono(`prepared: ${prepared.map((other) => short(other.path)).join(", ")}`, "line strip")]),
  ];
  const hint = [
    `${path}: ${shape}`, `kernel ${name} (${fused.kind})`, `ops: ${fused.members.map(({ op }) => op).join(" ")}`,
    `${showDim(step.flops)} FLOP, ${showDim(step.bytes)} bytes`,
    ...(far.length === 0 ? [] : [`reads ${far.join(", ")}`]),
    ...prepared.map((other) => `prepared once after loading: ${other.path} (kernel ${other.name})`),
  ].join("\n");
  return sized({ id: cardOf(kernel), style: `kernel ${fused.kind.replace(/\W/gu, "_")}`, hint, lines, corner: shape });
}

/** An input or an output of the graph. */
export const endCard = (style: "input" | "output", names: readonly string[], shape: Shape): Card => sized({
  id: `${style} ${names.join()}`, style: `end ${style}`, hint: `${style} ${names.join(", ")}: ${showShape(shape)}`,
  lines: [
    { text: names.join(", "), style: "name", size: FONT.name, face: "mono" },
    mono(`${style} ${showShape(shape)}`, "line"),
  ],
});

/** Where a line leaves a column, or comes into one. */
export const turnCard = (id: string, words: string, hint: string): Card =>
  sized({ id, style: "end turn", hint, lines: [mono(words, "line turn")] });

/** A card as wide as its lines, within limits. */
function sized(card: Omit<Card, "width" | "height">): Card {
  const { lines, corner } = card;
  const widths = lines.map(({ text, size, face }, i) => widthOf(text, size, face) +
    (i === 0 && corner !== undefined ? 16 + widthOf(corner, FONT.line, "mono") : 0));
  const width = Math.min(NODE.most, Math.max(lines.length > 1 ? NODE.least : 0, 2 * NODE.pad + Math.max(...widths)));
  const heights = lines.map(({ style }) => (style.includes("strip") ? NODE.strip : NODE.line));
  return { ...card, width, height: heights.reduce((n, h) => n + h, 0) + 12 };
}

export const fixed = (x: number): string => String(Number(x.toFixed(1)));

export const textAt = (x: number, y: number, content: string, style: string, rest = ""): string =>
  `<text class="${style}" x="${fixed(x)}" y="${fixed(y)}"${rest}>${escapeXml(content)}</text>`;

export const rectAt = ({ x, y, width, height }: Rect, style: string, round: number): string =>
  `<rect class="${style}" x="${fixed(x)}" y="${fixed(y)}" width="${fixed(width)}" height="${fixed(height)}" ` +
  `rx="${fixed(round)}"/>`;

export function paintCard(rect: Rect, { style, hint, lines, corner }: Card): string {
  const { x, y, width, height } = rect;
  const room = width - 2 * NODE.pad;
  const right = corner === undefined ? 0 : widthOf(corner, FONT.line, "mono") + 16;
  const painted = lines.map((line, i) => {
    const shown = fitted(line.text, i === 0 ? room - right : room, line.size, line.face);
    const isStrip = line.style.includes("strip");
    const below = y + 18 + i * NODE.line + (isStrip ? 3 : 0);
    const strip = { x: x + 6, y: below - 12, width: width - 12, height: 16 };
    return (isStrip ? rectAt(strip, "prepared", 3) : "") + textAt(x + NODE.pad, below, shown, line.style);
  });
  const shape = corner === undefined ? ""
    : textAt(x + width - NODE.pad, y + 18, corner, "line", ' text-anchor="end"');
  return `<g><title>${escapeXml(hint)}</title>${rectAt(rect, style, style.startsWith("end") ? height / 2 : 5)}` +
    `${painted.join("")}${shape}</g>`;
}
