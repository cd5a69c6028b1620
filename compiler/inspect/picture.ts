/**
 * @file The picture of a compiled graph: kernels in the boxes of their modules, repeated blocks drawn once, residual
 * connections beside the spine.
 */
import { showDim, showShape, type Shape } from "../ir/dim.js";
import type { CompiledGraph } from "../pipeline.js";
import { escapeXml, fitted, widthOf, type Face } from "./drawing.js";
import { fold, isBox, type Box, type Folded, type Item } from "./fold.js";
import { layOut, type Link, type Placeable, type Point, type Rect, type Route } from "./layout.js";
import { networkOf, type Kernel, type Network } from "./network.js";
import { compositesOf, computedBy } from "./structure.js";
import { STYLE, SWATCHES } from "./style.js";

/** What is drawn. */
export interface Pictured extends Pick<CompiledGraph, "fusion" | "families" | "expanded" | "graph"> {
  readonly name: string;
  /** Images at which work is counted. */
  readonly images: number;
}

const SIZE = { name: 13, line: 11, title: 20, box: 12, label: 10.5 };
const NODE = { least: 190, most: 360, pad: 12, line: 16 };
const PAGE = { margin: 24, head: 96, least: 640 };
/** A tensor that is read this many kernels later is named where it is read: a line would cross all the picture. */
const FARTHEST = 24;

/** An SVG file's text: the same for the same graph. @param target the family whose kernels are named */
export function drawGraph(pictured: Pictured, target: string): string {
  return new Picture(pictured, target).draw();
}

/** A line of text in a box. */
interface Line {
  readonly text: string;
  readonly style: string;
  readonly size: number;
  readonly face: Face;
}

/** A box of the picture that holds text. */
interface Card extends Placeable {
  readonly style: string;
  readonly hint: string;
  readonly lines: readonly Line[];
  /** At the right of the first line. */
  readonly corner?: string;
  readonly width: number;
  readonly height: number;
}

class Picture {
  readonly #network: Network;
  readonly #folded: Folded;
  readonly #composites: ReturnType<typeof compositesOf>;
  readonly #cards: Card[] = [];
  readonly #boxes: (Placeable & { readonly box: Box; readonly depth: number })[] = [];
  readonly #links: (Link & { readonly text?: string; readonly hint: string })[] = [];
  /** Place of every kernel among those that are drawn. */
  readonly #order = new Map<Kernel, number>();

  constructor(readonly pictured: Pictured, readonly target: string) {
    this.#network = networkOf(pictured, target);
    this.#folded = fold(this.#network);
    this.#composites = compositesOf(pictured.graph);
  }

  draw(): string {
    this.#number(this.#folded.items);
    const far = this.#link();
    for (const [name, node] of this.#network.inputs) {
      if (this.#links.some(({ from }) => from === `input ${name}`)) {
        this.#cards.push(endCard(`input ${name}`, "input", [name], node.shape));
      }
    }
    this.#place(this.#folded.items, undefined, far);
    for (const [kernel, names] of this.#network.outputs) {
      if (names.length === 0) continue;
      const from = cardOf(this.#folded.standsFor(kernel));
      const card = endCard(`output ${names.join()}`, "output", names, kernel.fused.root.shape);
      this.#cards.push(card);
      this.#links.push({ from, to: card.id, main: true, hint: `${kernel.path} → ${names.join(", ")}` });
    }
    const placed = this.#cards.map((card): Placeable => ({ ...card, size: { width: card.width, height: card.height } }));
    return this.#paint(layOut([...this.#boxes, ...placed], this.#links));
  }

  #number(items: readonly Item[]): void {
    for (const item of items) {
      if (isBox(item)) this.#number(item.items);
      else this.#order.set(item, this.#order.size);
    }
  }

  /** Lines between what is drawn. @returns what each kernel reads from far above, without a line */
  #link(): ReadonlyMap<Kernel, readonly Kernel[]> {
    const far = new Map<Kernel, Kernel[]>();
    const seen = new Set<string>();
    for (const kernel of this.#network.kernels) {
      const to = this.#folded.standsFor(kernel);
      const sources = kernel.sources.filter((source) => typeof source === "string" || !this.#folded.isLoop(source, kernel));
      for (const source of sources) {
        const from = typeof source === "string" ? undefined : this.#folded.standsFor(source);
        const id = from ? cardOf(from) : `input ${String(source)}`;
        if (from === to || seen.has(`${id} ${to.id}`)) continue;
        seen.add(`${id} ${to.id}`);
        const distance = (this.#order.get(to) ?? 0) - (from ? this.#order.get(from) ?? 0 : 0);
        if (from && (distance > FARTHEST || distance < 0)) {
          far.set(to, [...(far.get(to) ?? []), from]);
          continue;
        }
        const node = from ? from.fused.root : this.#network.inputs.get(String(source));
        const text = from && changesShape(from, this.#network) ? showShape(from.fused.root.shape) : undefined;
        this.#links.push({
          from: id, to: cardOf(to), main: distance <= 1,
          hint: `${from?.path ?? String(source)} → ${to.path}: ${showShape(node?.shape ?? [])}`,
          ...(text !== undefined && !this.#links.some((link) => link.from === id)
            ? { text, label: { width: widthOf(text, SIZE.label, "mono"), height: 14 } } : {}),
        });
      }
    }
    return far;
  }

  // ---- Cards ----

  #place(items: readonly Item[], inside: Box | undefined, far: ReadonlyMap<Kernel, readonly Kernel[]>, depth = 0): void {
    for (const item of items) {
      const parent = inside ? { inside: boxId(inside) } : {};
      if (isBox(item)) {
        this.#boxes.push({ id: boxId(item), box: item, depth, ...parent });
        this.#place(item.items, item, far, depth + 1);
      } else this.#cards.push({ ...this.#card(item, inside, far.get(item) ?? []), ...parent });
    }
  }

  #card(kernel: Kernel, inside: Box | undefined, far: readonly Kernel[]): Card {
    const { fused, path, name, prepared, step } = kernel;
    const short = inside && path.startsWith(`${inside.path}.`) ? path.slice(inside.path.length + 1) : path;
    const shape = showShape(fused.root.shape);
    const computed = computedBy(fused, this.#composites);
    const mono = (text: string, style: string): Line => ({ text, style, size: SIZE.line, face: "mono" });
    const lines: Line[] = [
      { text: short || name, style: "name", size: SIZE.name, face: "mono" },
      mono(computed, "line"), mono(name, "line dim"),
      ...far.map((source) => mono(`↑ ${source.path}`, "line dim")),
      ...(prepared.length === 0 ? [] : [mono(preparedText(prepared), "line prepared")]),
    ];
    const work = (size: { readonly b: number; readonly c: number }): string => showDim(size);
    const hint = [
      `${path}: ${shape}`, `kernel ${name} (${fused.kind})`, computed,
      `ops: ${fused.members.map(({ op }) => op).join(" ")}`,
      `${work(step.flops)} FLOP, ${work(step.bytes)} bytes`,
      ...prepared.map((other) => `prepared once after loading: ${other.path} (${other.name})`),
    ].join("\n");
    return sized({ id: cardOf(kernel), style: `kernel ${classOf(fused.kind)}`, hint, lines, corner: shape });
  }

  // ---- Paint ----

  #paint({ size, rects, routes }: ReturnType<typeof layOut>): string {
    const rectOf = (id: string): Rect => rects.get(id) ?? { x: 0, y: 0, width: 0, height: 0 };
    const head = this.#head();
    const width = Math.ceil(Math.max(PAGE.least, size.width, head.width) + 2 * PAGE.margin);
    const height = Math.ceil(size.height + head.height + 2 * PAGE.margin);
    const left = Math.round((width - size.width) / 2);
    const parts = [
      ...this.#boxes.map(({ id, box, depth }) => paintBox(rectOf(id), box, depth)),
      ...this.#links.map((link, i) => paintLink(routes[i] ?? { points: [] }, link)),
      ...this.#cards.map((card) => paintCard(rectOf(card.id), card)),
      ...this.#links.map((link, i) => paintLabel(routes[i] ?? { points: [] }, link.text)),
    ];
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
      `viewBox="0 0 ${width} ${height}">\n<title>${escapeXml(head.title)}</title>\n<style>${STYLE}</style>\n` +
      `<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">` +
      `<path class="tip" d="M0 0.8L8 4L0 7.2z"/></marker></defs>\n<rect class="page" width="${width}" height="${height}"/>\n` +
      `<g transform="translate(${PAGE.margin} ${PAGE.margin})">\n${head.parts.join("\n")}\n</g>\n` +
      `<g transform="translate(${left} ${PAGE.margin + head.height})">\n${parts.filter(Boolean).join("\n")}\n</g>\n</svg>\n`;
  }

  /** Name, figures and legend. */
  #head(): { title: string; parts: string[]; width: number; height: number } {
    const { name, expanded, images } = this.pictured;
    const { kernels, prepare } = this.#network;
    const sum = (numbers: readonly number[]): number => numbers.reduce((n, x) => n + x, 0);
    const count = sum([...expanded.parameters.values()].filter(({ trained }) => trained)
      .map(({ node }) => node.shape.reduce((n, d) => n * d.c, 1)));
    const flops = sum(kernels.map(({ step }) => step.flops.b * images + step.flops.c));
    const figures = [
      `${count.toLocaleString("en")} parameters`,
      `${Number((flops / 1e9).toPrecision(3))} GFLOP for ${images === 1 ? "one image" : `${images} images`}`,
      `${kernels.length} kernels run` + (prepare.length === 0 ? "" : `, ${prepare.length} prepare once after loading`),
      `family ${this.target}`,
    ].join("  ·  ");
    const legend = this.#legend();
    return {
      title: `${name}: ${kernels.length} kernels`, width: Math.max(widthOf(figures, SIZE.box, "sans"), legend.width),
      height: PAGE.head,
      parts: [text(0, 16, name, "title"), text(0, 40, figures, "figures"), ...legend.parts],
    };
  }

  #legend(): { parts: string[]; width: number } {
    const has = (style: string): boolean => this.#cards.some((card) => card.style.split(" ").includes(style));
    const prepares = this.#network.prepare.length > 0;
    const folds = this.#boxes.some(({ box }) => box.repeated);
    const shown = SWATCHES.filter(({ style }) =>
      has(style) || (style === "prepared" && prepares) || (style === "repeated" && folds)
      || (style === "skip" && this.#links.some(({ main }) => !main)));
    let x = 0;
    const parts = shown.map(({ style, words }) => {
      const swatch = style === "skip"
        ? `<path class="link skip" d="M${x} 66h16"/>` : `<rect class="swatch ${style}" x="${x}" y="60" width="16" height="12" rx="2"/>`;
      const label = text(x + 22, 70, words, "legend");
      x += 22 + widthOf(words, SIZE.line, "sans") + 18;
      return swatch + label;
    });
    return { parts, width: x };
  }
}

const cardOf = (kernel: Kernel): string => `kernel ${kernel.id}`;
const boxId = ({ path, items }: Box): string => `box ${path} ${firstOf(items)}`;
const firstOf = (items: readonly Item[]): number => {
  const [first] = items;
  return first === undefined ? 0 : isBox(first) ? firstOf(first.items) : first.id;
};
const classOf = (kind: string): string => kind.replace(/\W/gu, "_");

const preparedText = (prepared: readonly Kernel[]): string =>
  `${prepared.length} prepared: ${prepared.map(({ path }) => path.split(".").slice(-2).join(".")).join(", ")}`;

/** Whether what a kernel stores has another shape than anything it reads. */
function changesShape(kernel: Kernel, { inputs }: Network): boolean {
  const own = showShape(kernel.fused.root.shape);
  const read = kernel.sources.flatMap((source) => {
    const node = typeof source === "string" ? inputs.get(source) : source.fused.root;
    return node ? [showShape(node.shape)] : [];
  });
  return read.length > 0 && !read.includes(own);
}

/** An input or an output. */
const endCard = (id: string, style: string, names: readonly string[], shape: Shape): Card => sized({
  id, style: `end ${style}`, hint: `${style} ${names.join(", ")}: ${showShape(shape)}`,
  lines: [
    { text: names.join(", "), style: "name", size: SIZE.name, face: "mono" },
    { text: `${style} ${showShape(shape)}`, style: "line", size: SIZE.line, face: "mono" },
  ],
});

/** A card as wide as its lines, within limits. */
function sized(card: Omit<Card, "width" | "height">): Card {
  const { lines, corner } = card;
  const widths = lines.map(({ text: line, size, face }, i) => widthOf(line, size, face) +
    (i === 0 && corner !== undefined ? 16 + widthOf(corner, SIZE.line, "mono") : 0));
  const width = Math.min(NODE.most, Math.max(NODE.least, 2 * NODE.pad + Math.max(...widths)));
  return { ...card, width, height: NODE.line * lines.length + 14 };
}

const fixed = (x: number): string => String(Number(x.toFixed(1)));

const text = (x: number, y: number, content: string, style: string, rest = ""): string =>
  `<text class="${style}" x="${fixed(x)}" y="${fixed(y)}"${rest}>${escapeXml(content)}</text>`;

function paintCard({ x, y, width, height }: Rect, { style, hint, lines, corner }: Card): string {
  const room = width - 2 * NODE.pad;
  const right = corner === undefined ? 0 : widthOf(corner, SIZE.line, "mono") + 16;
  const painted = lines.map((line, i) => {
    const shown = fitted(line.text, i === 0 ? room - right : room, line.size, line.face);
    const below = y + 20 + i * NODE.line;
    const strip = line.style.includes("prepared")
      ? `<rect class="swatch prepared" x="${fixed(x + 6)}" y="${fixed(below - 12)}" width="${fixed(width - 12)}" height="15" rx="3"/>` : "";
    return strip + text(x + NODE.pad, below, shown, line.style);
  });
  const shape = corner === undefined ? ""
    : text(x + width - NODE.pad, y + 20, corner, "line", ' text-anchor="end"');
  const round = style.startsWith("end") ? height / 2 : 5;
  return `<g><title>${escapeXml(hint)}</title>` +
    `<rect class="${style}" x="${fixed(x)}" y="${fixed(y)}" width="${fixed(width)}" height="${fixed(height)}" rx="${round}"/>` +
    `${painted.join("")}${shape}</g>`;
}

function paintBox({ x, y, width, height }: Rect, { path, repeated }: Box, depth: number): string {
  const frame = (by: number): string =>
    `<rect class="module${depth % 2 === 1 ? " odd" : ""}${repeated ? " repeated" : ""}" x="${fixed(x + by)}" y="${fixed(y + by)}" ` +
    `width="${fixed(width)}" height="${fixed(height)}" rx="8"/>`;
  const times = repeated ? `× ${repeated.paths.length}` : "";
  const range = repeated ? `${path} … ${repeated.paths.at(-1) ?? ""}` : path;
  const varying = repeated && repeated.varying > 0
    ? `\n${repeated.varying} of its kernels have constants that differ from block to block` : "";
  const badge = times === "" ? 0 : widthOf(times, 14, "sans") + 12;
  const shown = fitted(range, width - 20 - badge, SIZE.box, "mono");
  return `<g><title>${escapeXml(`${range} ${times}${varying}`.trim())}</title>` +
    `${repeated ? frame(6) + frame(3) : ""}${frame(0)}${text(x + 10, y + 17, shown, "module")}` +
    (times === "" ? "" : text(x + width - 10, y + 18, times, "times", ' text-anchor="end"')) + "</g>";
}

/** Through the middles between a route's points, so that it has no corners. */
function curve(points: readonly Point[]): string {
  const at = ({ x, y }: Point): string => `${fixed(x)} ${fixed(y)}`;
  const [first, ...rest] = points;
  if (!first) return "";
  const last = rest.at(-1) ?? first;
  const bends = rest.slice(0, -1).map((point, i) => {
    const next = rest[i + 1] as Point; // i stops before the last
    const end = i === rest.length - 2 ? next : { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 };
    return `Q${at(point)} ${at(end)}`;
  });
  return `M${at(first)} ${bends.length > 0 ? bends.join(" ") : `L${at(last)}`}`;
}

const paintLink = ({ points }: Route, { main, hint }: { readonly main: boolean; readonly hint: string }): string =>
  `<path class="link${main ? "" : " skip"}" d="${curve(points)}" marker-end="url(#tip)"><title>${escapeXml(hint)}</title></path>`;

const paintLabel = ({ label }: Route, words: string | undefined): string =>
  (label && words !== undefined
    ? text(label.x - widthOf(words, SIZE.label, "mono") / 2, label.y + 4, words, "shape") : "");
