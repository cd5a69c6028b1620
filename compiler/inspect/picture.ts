/**
 * @file The picture of a compiled graph: kernels in the boxes of their modules, repeated blocks drawn once, residual
 * connections beside the spine.
 */
import { evalDim, showShape, sizeOf } from "../ir/dim.js";
import type { CompiledGraph } from "../pipeline.js";
import { cardOf, endCard, fixed, kernelCard, paintCard, rectAt, textAt, turnCard, type Card } from "./cards.js";
import { columnsOf } from "./columns.js";
import { escapeXml, fitted, widthOf } from "./drawing.js";
import { fold, isBox, type Box, type Folded, type Item } from "./fold.js";
import { layOut, type Layout, type Link, type Placeable, type Point, type Rect, type Route } from "./layout.js";
import { readsOf, type Read } from "./links.js";
import { networkOf, type Kernel, type Network, type Source } from "./network.js";
import { compositesOf } from "./structure.js";
import { FONT, STYLE, SWATCHES } from "./style.js";

/** What is drawn. */
interface Pictured extends Pick<CompiledGraph, "fusion" | "families" | "expanded" | "graph"> {
  readonly name: string;
  /** Images at which work is counted. */
  readonly images: number;
}

const PAGE = { margin: 24, head: 96, between: 40 };
/** What reads more tensors gets no lines. */
const MOST_LINES = 12;
/** A tensor that is read so many kernels later is named where it is read: its line would cross all the picture. */
const FARTHEST = 30;

/** An SVG file's text: the same for the same graph. @param target the family whose kernels are named */
export function drawGraph(pictured: Pictured, target: string): string {
  return new Picture(pictured, target).draw();
}

interface Line extends Link {
  readonly words?: string;
  readonly hint: string;
}

/** What one layout places. */
interface Column {
  readonly cards: (Card & { readonly inside?: string })[];
  readonly boxes: (Placeable & { readonly box: Box; readonly depth: number })[];
  readonly lines: Line[];
}

class Picture {
  readonly #network: Network;
  readonly #folded: Folded;
  readonly #columns: readonly Column[];
  /** Drawn kernel → its place in the order, and its column. */
  readonly #order = new Map<Kernel, number>();
  readonly #columnOf = new Map<Kernel, number>();

  constructor(readonly pictured: Pictured, readonly target: string) {
    this.#network = networkOf(pictured, target);
    this.#folded = fold(this.#network);
    const columns = columnsOf(this.#folded);
    columns.forEach((items, column) => this.#number(items, column));
    this.#columns = columns.map(() => ({ cards: [], boxes: [], lines: [] }));
    const reads = readsOf(this.#network, this.#folded, this.#order);
    const far = reads.filter((read) => this.#isFar(read, reads));
    const composites = compositesOf(pictured.graph);
    columns.forEach((items, i) => this.#fill(this.#column(i), items, undefined, far, composites));
    this.#join(reads.filter((read) => !far.includes(read)));
    this.#end();
  }

  #number(items: readonly Item[], column: number): void {
    for (const item of items) {
      if (isBox(item)) this.#number(item.items, column);
      else {
        this.#order.set(item, this.#order.size);
        this.#columnOf.set(item, column);
      }
    }
  }

  #column(i: number): Column {
    return this.#columns[i] as Column; // columns are numbered as they were made
  }

  /** Whether it has no line: one of too many, from too far above, or from another column and not on the main way. */
  #isFar({ from, to, skips }: Read, all: readonly Read[]): boolean {
    if (typeof from === "string") return false;
    if (all.filter((read) => read.to === to).length > MOST_LINES) return true;
    if ((this.#order.get(to) ?? 0) - (this.#order.get(from) ?? 0) > FARTHEST) return true;
    const column = this.#columnOf.get(to);
    return skips && this.#columnOf.get(from) !== column
      && !all.some((read) => read.from === from && !read.skips && this.#columnOf.get(read.to) === column);
  }

  #fill(
    column: Column, items: readonly Item[], inside: Box | undefined, far: readonly Read[],
    composites: ReturnType<typeof compositesOf>, depth = 0,
  ): void {
    const parent = inside ? { inside: boxId(inside) } : {};
    for (const item of items) {
      if (isBox(item)) {
        column.boxes.push({ id: boxId(item), box: item, depth, ...parent });
        this.#fill(column, item.items, item, far, composites, depth + 1);
      } else {
        const named = far.flatMap(({ to, source }) => (to === item && typeof source !== "string" ? [source.path] : []));
        column.cards.push({ ...kernelCard(item, inside, named, composites), ...parent });
      }
    }
  }

  /** Lines; one from another column leaves there at a letter and comes in at the same letter. */
  #join(reads: readonly Read[]): void {
    const letters = new Map<Source, string>();
    const done = new Set<string>();
    for (const { from, to, skips } of reads) {
      const i = this.#columnOf.get(to) ?? 0;
      const home = typeof from === "string" ? i : this.#columnOf.get(from) ?? 0;
      const column = this.#column(i);
      const [name, node] = typeof from === "string"
        ? [from, this.#network.inputs.get(from)] : [from.path, from.fused.root];
      const shape = showShape(node?.shape ?? []);
      const hint = `${name} → ${to.path}: ${shape}`;
      const once = (id: string, add: () => void): void => {
        if (!done.has(`${i} ${id}`)) add();
        done.add(`${i} ${id}`);
      };
      if (typeof from === "string") {
        const id = `input ${from}`;
        once(id, () => column.cards.push(endCard("input", [from], node?.shape ?? [])));
        column.lines.push({ from: id, to: cardOf(to), skips, hint });
      } else if (home === i) {
        column.lines.push({ from: cardOf(from), to: cardOf(to), skips, hint, ...this.#shapeOf(from, done) });
      } else {
        const letter = letters.get(from) ?? letterOf(letters.size);
        const leave = `leave ${letter}`;
        if (!letters.has(from)) {
          const where = `${name} is read in another column, at ${letter}`;
          this.#column(home).cards.push(turnCard(leave, `${letter} →`, where));
          this.#column(home).lines.push({ from: cardOf(from), to: leave, skips, hint, ...this.#shapeOf(from, done) });
        }
        letters.set(from, letter);
        const enter = `enter ${letter}`;
        once(enter, () => column.cards.push(turnCard(enter, `→ ${letter}  ${name} ${shape}`, hint)));
        column.lines.push({ from: enter, to: cardOf(to), skips, hint });
      }
    }
  }

  /** The shape written beside a kernel's first line, unless the kernel reads a tensor of that shape. */
  #shapeOf(kernel: Kernel, done: Set<string>): Pick<Line, "words" | "label"> {
    const words = showShape(kernel.fused.root.shape);
    const read = kernel.sources.map((source) =>
      showShape((typeof source === "string" ? this.#network.inputs.get(source) : source.fused.root)?.shape ?? []));
    if (done.has(`shape ${kernel.id}`) || read.length === 0 || read.includes(words)) return {};
    done.add(`shape ${kernel.id}`);
    return { words, label: { width: widthOf(words, FONT.shape, "mono"), height: 14 } };
  }

  #end(): void {
    for (const [kernel, names] of this.#network.outputs) {
      if (names.length === 0) continue;
      const from = this.#folded.standsFor(kernel);
      const { cards, lines } = this.#column(this.#columnOf.get(from) ?? 0);
      const card = endCard("output", names, kernel.fused.root.shape);
      cards.push(card);
      lines.push({ from: cardOf(from), to: card.id, skips: false, hint: `${kernel.path} → ${names.join(", ")}` });
    }
  }

  // ---- Paint ----

  draw(): string {
    const layouts = this.#columns.map(({ boxes, cards, lines }) => layOut(
      [...boxes, ...cards.map((card) => ({ ...card, size: { width: card.width, height: card.height } }))], lines));
    const head = this.#head();
    const wide = layouts.reduce((n, { size }) => n + size.width + PAGE.between, -PAGE.between);
    const width = Math.ceil(Math.max(wide, head.width) + 2 * PAGE.margin);
    const height = Math.ceil(Math.max(...layouts.map(({ size }) => size.height)) + PAGE.head + 2 * PAGE.margin);
    let left = Math.round((width - wide) / 2);
    const columns = this.#columns.map((column, i) => {
      const placed = layouts[i] as Layout; // one a column
      const at = `translate(${fixed(left)} ${PAGE.margin + PAGE.head})`;
      left += placed.size.width + PAGE.between;
      return `<g transform="${at}">\n${paintColumn(column, placed).join("\n")}\n</g>`;
    });
    const tip = (id: string): string =>
      `<marker id="${id}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">` +
      `<path class="${id}" d="M0 0.8L8 4L0 7.2z"/></marker>`;
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
      `viewBox="0 0 ${width} ${height}">\n<title>${escapeXml(head.title)}</title>\n<style>${STYLE}</style>\n` +
      `<defs>${tip("tip")}${tip("tip-skip")}</defs>\n<rect class="page" width="${width}" height="${height}"/>\n` +
      `<g transform="translate(${PAGE.margin} ${PAGE.margin})">\n${head.parts.join("\n")}\n</g>\n` +
      `${columns.join("\n")}\n</svg>\n`;
  }

  /** Name, figures and legend. */
  #head(): { title: string; parts: string[]; width: number } {
    const { name, expanded, images } = this.pictured;
    const { kernels, prepare } = this.#network;
    const sum = (numbers: readonly number[]): number => numbers.reduce((n, x) => n + x, 0);
    const count = sum([...expanded.parameters.values()].filter(({ trained }) => trained)
      .map(({ node }) => sizeOf(node.shape).c));
    const flops = sum(kernels.map(({ step }) => evalDim(step.flops, images)));
    const [unit, size] = flops >= 1e7 ? ["GFLOP", 1e9] as const : ["MFLOP", 1e6] as const;
    const figures = [
      `${count.toLocaleString("en")} parameters`,
      `${Number((flops / size).toPrecision(3))} ${unit} for ${images === 1 ? "one image" : `${images} images`}`,
      `${kernels.length} kernels per run${prepare.length === 0 ? "" : `, ${prepare.length} once after loading`}`,
      `family ${this.target}`,
    ].join(" · ");
    const legend = this.#legend();
    return {
      title: `${name}: ${kernels.length} kernels`,
      width: Math.max(widthOf(name, FONT.title, "sans"), widthOf(figures, FONT.box, "sans"), legend.width),
      parts: [textAt(0, 16, name, "title"), textAt(0, 40, figures, "figures"), ...legend.parts],
    };
  }

  /** The marks that occur. */
  #legend(): { parts: string[]; width: number } {
    const marks = new Set(this.#columns.flatMap(({ cards, boxes, lines }) => [
      ...cards.flatMap(({ style, lines: texts }) => [...style.split(" "), ...texts.flatMap((t) => t.style.split(" "))]),
      ...(boxes.some(({ box }) => box.repeated) ? ["repeated"] : []),
      ...(lines.some(({ skips }) => skips) ? ["skip"] : []),
    ]));
    let x = 0;
    const parts = SWATCHES.filter(({ mark }) => marks.has(mark)).map(({ style, words }) => {
      const swatch = style.startsWith("link")
        ? `<path class="${style}" d="M${x} 66h16"/>` : rectAt({ x, y: 60, width: 16, height: 12 }, style, 2);
      const label = textAt(x + 22, 70, words, "legend");
      x += 22 + widthOf(words, FONT.line, "sans") + 14;
      return swatch + label;
    });
    return { parts, width: x };
  }
}

const boxId = ({ path, items }: Box): string => `box ${path} ${firstOf(items)}`;
const firstOf = ([first]: readonly Item[]): number =>
  (first === undefined ? 0 : isBox(first) ? firstOf(first.items) : first.id);

/** A, …, Z, A1, … */
const letterOf = (i: number): string =>
  `${String.fromCharCode(65 + (i % 26))}${i < 26 ? "" : String(Math.floor(i / 26))}`;

function paintColumn({ boxes, cards, lines }: Column, { rects, routes }: Layout): string[] {
  const rectOf = (id: string): Rect => rects.get(id) as Rect; // a layout places all that it is given
  return [
    ...boxes.map(({ id, box, depth }) => paintBox(rectOf(id), box, depth)),
    ...lines.map((line, i) => paintLine(routes[i] as Route, line)), // and all lines
    ...cards.map((card) => paintCard(rectOf(card.id), card)),
    // Above the lines, so that none crosses them out.
    ...boxes.map(({ id, box }) => paintTitle(rectOf(id), box)),
    ...lines.map((line, i) => paintShape(routes[i] as Route, line)),
  ].filter(Boolean);
}

function paintBox(rect: Rect, { repeated }: Box, depth: number): string {
  const style = `module${depth % 2 === 1 ? " odd" : ""}${repeated ? " repeated" : ""}`;
  const frame = (by: number): string => rectAt({ ...rect, x: rect.x + by, y: rect.y + by }, style, 8);
  return repeated ? frame(6) + frame(3) + frame(0) : frame(0);
}

/** A path, or the range of paths and their number. */
function paintTitle({ x, y, width }: Rect, { path, repeated }: Box): string {
  const times = repeated ? `× ${repeated.paths.length}` : "";
  const range = repeated ? `${path} … ${repeated.paths.at(-1) ?? ""}` : path;
  const varying = repeated?.varying ?? 0;
  const how = varying === 0 ? "" : `\n${varying} of its kernels differ from block to block, in constants alone`;
  const badge = times === "" ? 0 : widthOf(times, FONT.times, "sans") + 12;
  const shown = fitted(range, width - 20 - badge, FONT.box, "mono");
  return `<g><title>${escapeXml(`${range} ${times}`.trim() + how)}</title>${textAt(x + 10, y + 15, shown, "module")}` +
    (times === "" ? "" : textAt(x + width - 10, y + 17, times, "times", ' text-anchor="end"')) + "</g>";
}

/** Through the middles between a route's points, so that it has no corners. */
function curve(points: readonly Point[]): string {
  const at = ({ x, y }: Point): string => `${fixed(x)} ${fixed(y)}`;
  const [first, ...rest] = points as [Point, ...Point[]]; // a route has its ends
  const bends = rest.slice(0, -1).map((point, i) => {
    const next = rest[i + 1] as Point; // i stops before the last
    const end = i === rest.length - 2 ? next : { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 };
    return `Q${at(point)} ${at(end)}`;
  });
  return `M${at(first)} ${bends.length > 0 ? bends.join(" ") : `L${at(rest.at(-1) ?? first)}`}`;
}

const paintLine = ({ points }: Route, { skips, hint }: Line): string =>
  `<path class="link${skips ? " skip" : ""}" d="${curve(points)}" marker-end="url(#tip${skips ? "-skip" : ""})">` +
  `<title>${escapeXml(hint)}</title></path>`;

const paintShape = ({ label }: Route, { words }: Line): string => (label && words !== undefined
  ? textAt(label.x - widthOf(words, FONT.shape, "mono") / 2, label.y + 4, words, "shape") : "");
