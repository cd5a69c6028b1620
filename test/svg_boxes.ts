/** An SVG drawing read back: its texts and rectangles where they are on the page, in pixels. */

export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Element extends Rect {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  /** Of a text its letters, of another element its tooltip. */
  readonly text: string;
  readonly classes: readonly string[];
}

const ENTITIES: ReadonlyMap<string, string> = new Map([["amp", "&"], ["lt", "<"], ["gt", ">"], ["quot", "\""]]);
const TOKEN = /<(\/?)([a-z]+)((?: [\w:-]+="[^"<>]*")*)(\/?)>|([^<]+)/gy;

function plain(text: string): string {
  return text.replace(/&(\w*);?/g, (whole, name: string) => {
    const letter = ENTITIES.get(name);
    if (letter === undefined || !whole.endsWith(";")) throw new Error(`not an entity: ${whole}`);
    return letter;
  });
}

/** Sizes and faces by class, from the drawing's own style. */
function fontsOf(style: string): (classes: readonly string[]) => { size: number; isMono: boolean } {
  const light = style.split("@media")[0] ?? "";
  const rules = [...light.matchAll(/([^{}]+)\{([^{}]*)\}/g)].map(([, names = "", body = ""]) => ({
    classes: [...names.matchAll(/\.([\w-]+)/g)].map(([, name = ""]) => name), body,
  }));
  return (classes) => {
    const bodies = rules.filter(({ classes: some }) => some.some((name) => classes.includes(name))).map(({ body }) => body).join(";");
    return { size: Number(/font-size:([\d.]+)px/.exec(bodies)?.[1] ?? 11), isMono: !bodies.includes("sans-serif") };
  };
}

/** All elements of a drawing. @throws Error where the text is not well-formed. */
export function elementsOf(svg: string): Element[] {
  const fonts = fontsOf(/<style>([^]*?)<\/style>/.exec(svg)?.[1] ?? "");
  const open: { name: string; attributes: Map<string, string>; text: string; tip: string; dx: number; dy: number }[] = [];
  const found: Element[] = [];
  TOKEN.lastIndex = 0;
  for (let at = 0; at < svg.length; at = TOKEN.lastIndex) {
    const token = TOKEN.exec(svg);
    if (!token) throw new Error(`not well-formed at ${JSON.stringify(svg.slice(at, at + 60))}`);
    const [, closing, name = "", rest = "", empty, text] = token;
    const top = open.at(-1);
    if (text !== undefined) {
      if (top) top.text += plain(text);
      else if (text.trim() !== "") throw new Error(`text outside the root: ${text}`);
      continue;
    }
    if (closing !== "/") {
      const attributes = new Map([...rest.matchAll(/ ([\w:-]+)="([^"]*)"/g)].map(([, key = "", value = ""]) => [key, plain(value)]));
      const [, dx = "0", dy = "0"] = /translate\(([-\d.]+) ([-\d.]+)\)/.exec(attributes.get("transform") ?? "") ?? [];
      open.push({ name, attributes, text: "", tip: "", dx: (top?.dx ?? 0) + Number(dx), dy: (top?.dy ?? 0) + Number(dy) });
    }
    if (closing === "/" || empty === "/") {
      const ended = open.pop();
      if (ended?.name !== name) throw new Error(`</${name}> ends <${ended?.name ?? ""}>`);
      const above = open.at(-1);
      if (name === "title" && above) above.tip = ended.text;
      found.push(element(ended, fonts));
    }
  }
  if (open.length > 0) throw new Error(`<${open.map((one) => one.name).join("><")}> does not end`);
  return found;
}

function element(
  { name, attributes, text, tip, dx, dy }: { name: string; attributes: Map<string, string>; text: string; tip: string; dx: number; dy: number },
  fonts: ReturnType<typeof fontsOf>,
): Element {
  const number = (key: string): number => Number(attributes.get(key) ?? 0);
  const classes = (attributes.get("class") ?? "").split(" ").filter(Boolean);
  const [x, y] = [number("x") + dx, number("y") + dy];
  const common = { name, attributes, classes, text: name === "text" ? text : tip };
  if (name !== "text") return { ...common, x, y, width: number("width"), height: number("height") };
  // DejaVu Sans Mono is 0.602 em wide and the widest of the common monospace fonts; sans-serif text is 0.6 on average.
  const { size, isMono } = fonts(classes);
  const width = [...text].length * size * (isMono ? 0.602 : 0.6);
  return { ...common, x: attributes.get("text-anchor") === "end" ? x - width : x, y: y - 0.8 * size, width, height: size };
}

export const overlap = (a: Rect, b: Rect): boolean =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

/** Whether `inner` lies in `outer`. */
export const isInside = (inner: Rect, outer: Rect): boolean =>
  inner.x >= outer.x && inner.y >= outer.y
  && inner.x + inner.width <= outer.x + outer.width && inner.y + inner.height <= outer.y + outer.height;
