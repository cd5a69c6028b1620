/**
 * @file How one thread reads its share of an operand: index setup per row, loads of one or four depths, and the scalar
 * expression of each element. All templates read operands through here, so every operand form works everywhere.
 */
import type { Operand } from "./template.js";

const XYZW = ["x", "y", "z", "w"] as const;
export const component = (i: number): string => XYZW[i & 3] ?? "x";
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Rows whose loads belong together: one row, or the four of a row vector. */
export interface Part {
  readonly load: string;
  /** Names that `load` declares: what lanes exchange. */
  readonly fragments: readonly string[];
  readonly rows: readonly number[];
}

/** Texts that read `count` rows of an operand, four (or one) depths at a time. */
export interface Reader {
  /** Statements before the depth loop: row indices, bases, guards. */
  readonly setup: string;
  /**
   * Statements that load depths `depth … depth + steps - 1`; with 4 steps, `depth` is a multiple of four. Depth vectors
   * are read four at a time only.
   */
  load(depth: string, steps: 1 | 4): string;
  /** The same in pieces: what all rows share, then the rows, each to be loaded just before its use. */
  prelude(depth: string, steps: 1 | 4): string;
  parts(depth: string, steps: 1 | 4): readonly Part[];
  /** The f32 expression of row `row`, depth `depth + step`; `suffix` names an exchanged copy of the fragment. */
  element(row: number, step: number, steps: 1 | 4, suffix?: string): string;
  /** The vec4f of four depths of a row. */
  depths(row: number, suffix?: string): string;
}

/** What a reader needs to know besides the operand. */
interface ReaderOptions {
  /** Prefix of every name it declares. */
  readonly name: string;
  readonly count: number;
  /**
   * In-range i32 expression of row `i`. For row vectors rows come in fours: only multiples of four are asked for, and
   * the three that follow are its neighbours.
   */
  row(i: number): string;
  readonly batch: string;
}

/** What lies at `index` of the operand's buffer as f32: an element, or four where it has vectors. */
export function loaded({ buffer, dtype, vector }: Operand, index: string): string {
  const element = `${buffer}[${index}]`;
  return dtype === "f32" ? element : `${vector === "none" ? "f32" : "vec4f"}(${element})`;
}

/** Both conditions, by `&`: `&&` would branch, and 16 branches a step cost more than what they skip. */
export function both(x: string | undefined, y: string | undefined): string | undefined {
  const all = [x, y].filter((c) => c !== undefined);
  return all.length === 0 ? undefined : all.map((c) => `(${c})`).join(" & ");
}

/** The operand as 0 beyond `depth`, a WGSL expression: for depths that end inside a block of four. */
export function endingAt(operand: Operand, depth: string): Operand {
  const elementGuard = (row: string, k: string, batch: string): string => {
    const own = operand.elementGuard?.(row, k, batch);
    return `((${k}) < ${depth})${own === undefined ? "" : ` & (${own})`}`;
  };
  return { ...operand, elementGuard };
}

/** Reads an operand's rows; every load stays inside the buffer when the row and the depth do. */
export function reader(operand: Operand, options: ReaderOptions): Reader {
  return operand.vector === "row" ? rowReader(operand, options) : depthReader(operand, options);
}

/** Statement that declares row `i`'s index, and where it starts (in vec4f for vectors) if that can be told apart. */
function rowSetup(operand: Operand, { name, batch, row }: ReaderOptions, i: number): string {
  const index = `${name}_r${i}`;
  let text = `let ${index} = ${row(i)};\n`;
  if (operand.separable) {
    const base = operand.base(index, batch);
    // Only base + step is aligned, so the first step goes with the base.
    const start = operand.vector === "none" ? base : `(${base} + (${operand.step("0")})) >> 2u`;
    text += `let ${name}_p${i} = ${start};\n`;
  }
  if (operand.guard && operand.vector !== "row") text += `let ${name}_g${i} = ${operand.guard(index, batch)};\n`;
  return text;
}

const depthsOf = (depth: string, steps: number): string[] =>
  range(steps).map((l) => (l === 0 ? depth : `(${depth} + ${l})`));

/** Statements that declare the steps to the depths, once for all rows: drivers of software adapters find no equals. */
function stepsOf(operand: Operand, name: string, depths: readonly string[]): string {
  if (!operand.separable) return "";
  return depths.map((d, l) => {
    const step = operand.step(d);
    return `let ${name}_k${l} = ${operand.vector === "none" ? step : `((${step}) - (${operand.step("0")})) >> 2u`};\n`;
  }).join("");
}

/** Index into the buffer of row `i` at the `l`-th depth, zero where `guard` is false. */
function indexOf(
  operand: Operand, { name, batch }: ReaderOptions, i: number, l: number, depth: string, guard: string | undefined,
): string {
  const offset = (): string => {
    const elements = operand.offset(`${name}_r${i}`, depth, batch);
    return operand.vector === "none" ? elements : `(${elements}) >> 2u`;
  };
  const index = operand.separable ? `${name}_p${i} + ${name}_k${l}` : offset();
  return guard === undefined ? index : `select(0, ${index}, ${guard})`;
}

/** The reader whose parts are `part(i)` for each `i` of `parts`. */
function assembled(
  reads: Omit<Reader, "load" | "parts">, parts: readonly number[],
  part: (i: number, depths: readonly string[], steps: 1 | 4) => Part,
): Reader {
  const partsAt = (depth: string, steps: 1 | 4): Part[] => parts.map((i) => part(i, depthsOf(depth, steps), steps));
  return {
    ...reads,
    parts: partsAt,
    load: (depth, steps) => reads.prelude(depth, steps) + partsAt(depth, steps).map((p) => p.load).join(""),
  };
}

/** Rows of scalars or depth vectors: one fragment a row, its components are depths. */
function depthReader(operand: Operand, options: ReaderOptions): Reader {
  const { name, batch, count } = options;
  const { vector, elementGuard } = operand;
  const load = (i: number, depths: readonly string[], steps: 1 | 4): string => {
    const rowGuard = operand.guard ? `${name}_g${i}` : undefined;
    const tested = vector === "depth" ? depths.slice(0, 1) : depths;
    const guards = tested.map((_, l) => (elementGuard ? `${name}${i}_g${l}` : rowGuard));
    const declared = !elementGuard ? "" : tested.map((d, l) =>
      `let ${name}${i}_g${l} = ${both(rowGuard, elementGuard(`${name}_r${i}`, d, batch)) ?? "true"};\n`).join("");
    const scalar = (d: string, l: number): string => {
      const element = loaded(operand, indexOf(operand, options, i, l, d, guards[l]));
      return guards[l] === undefined ? element : `select(0.0, ${element}, ${guards[l]})`;
    };
    const vectors = (depth: string): string => {
      const [guard] = guards;
      const four = loaded(operand, indexOf(operand, options, i, 0, depth, guard));
      return guard === undefined ? four : `select(vec4f(), ${four}, ${guard})`;
    };
    const [depth = "0"] = depths;
    const scalars = depths.map(scalar);
    const value = vector === "depth" ? vectors(depth) : steps === 1 ? scalars.join() : `vec4f(${scalars.join(", ")})`;
    return `${declared}let ${name}${i} = ${value};\n`;
  };
  return assembled({
    setup: range(count).map((i) => rowSetup(operand, options, i)).join(""),
    prelude: (depth, steps) => stepsOf(operand, name, depthsOf(depth, vector === "depth" ? 1 : steps)),
    element: (row, step, steps, suffix = "") => `${name}${row}${suffix}${steps === 4 ? `.${component(step)}` : ""}`,
    depths: (row, suffix = "") => `${name}${row}${suffix}`,
  }, range(count), (i, depths, steps) => ({ load: load(i, depths, steps), fragments: [`${name}${i}`], rows: [i] }));
}

/** Four neighbouring rows at a time: one fragment for each depth, its components are rows. */
function rowReader(operand: Operand, options: ReaderOptions): Reader {
  const { name, batch, count } = options;
  const guarded = operand.guard !== undefined || operand.elementGuard !== undefined;
  const load = (g: number, depth: string, l: number): string => {
    const fragment = `${name}${g}_${l}`;
    const at = (any?: string): string => loaded(operand, indexOf(operand, options, 4 * g, l, depth, any));
    if (!guarded) return `let ${fragment} = ${at()};\n`;
    const names = range(4).map((r) => `${fragment}_g${r}`);
    const declared = names.map((named, r) => {
      const row = `(${name}_r${4 * g} + ${r})`;
      const guard = both(operand.guard?.(row, batch), operand.elementGuard?.(row, depth, batch)) ?? "true";
      return `let ${named} = ${guard};\n`;
    });
    const four = at(`(${names.join(" | ")})`);
    return `${declared.join("")}let ${fragment} = select(vec4f(), ${four}, vec4<bool>(${names.join(", ")}));\n`;
  };
  const fragment = (row: number, step: number, suffix: string): string =>
    `${name}${row >> 2}_${step}${suffix}.${component(row)}`;
  return assembled({
    setup: range(count / 4).map((g) => rowSetup(operand, options, 4 * g)).join(""),
    prelude: (depth, steps) => stepsOf(operand, name, depthsOf(depth, steps)),
    element: (row, step, _steps, suffix = "") => fragment(row, step, suffix),
    depths: (row, suffix = "") => `vec4f(${range(4).map((l) => fragment(row, l, suffix)).join(", ")})`,
  }, range(count / 4), (g, depths) => ({
    load: depths.map((d, l) => load(g, d, l)).join(""),
    fragments: depths.map((_, l) => `${name}${g}_${l}`),
    rows: range(4).map((r) => 4 * g + r),
  }));
}
