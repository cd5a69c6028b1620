/**
 * @file How one thread reads its share of an operand: index setup per row, loads of one or four depths, and the scalar
 * expression of each element. All templates read operands through here, so every operand form works everywhere.
 */
import type { Operand } from "./template.js";

const XYZW = ["x", "y", "z", "w"] as const;
export const component = (i: number): string => XYZW[i & 3] ?? "x";
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Texts that read `count` rows of an operand, four (or one) depths at a time. */
export interface Reader {
  /** Statements before the depth loop: row indices, bases, guards. */
  readonly setup: string;
  /** Statements that load depths `depth … depth + steps - 1`; with 4 steps, `depth` is a multiple of four. */
  load(depth: string, steps: 1 | 4): string;
  /** Names that `load` declared (vec4f; f32 for one step of a row that is no row vector): what lanes exchange. */
  fragments(steps: 1 | 4): readonly string[];
  /** The f32 expression of row `row`, depth `depth + step`; `suffix` names an exchanged copy of the fragment. */
  element(row: number, step: number, steps: 1 | 4, suffix?: string): string;
  /** The vec4f of four depths of a row, where the fragments are made so (not for row vectors). */
  depths(row: number, suffix?: string): string;
}

/** What a reader needs to know besides the operand. */
export interface ReaderOptions {
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

/** Both conditions, in parentheses (WGSL does not mix && and || without); undefined when there is none. */
function both(x: string | undefined, y: string | undefined): string | undefined {
  const all = [x, y].filter((c) => c !== undefined);
  return all.length === 0 ? undefined : `(${all.map((c) => `(${c})`).join(" && ")})`;
}

/** Reads an operand's rows; every load stays inside the buffer when the row and the depth do. */
export function reader(operand: Operand, options: ReaderOptions): Reader {
  return operand.vector === "row" ? rowReader(operand, options) : depthReader(operand, options);
}

/** Element offset of a row's depth, from what `setup` declared. */
function offsetOf(operand: Operand, { name, batch }: ReaderOptions, i: number, depth: string): string {
  if (operand.separable) return `${name}_p${i} + (${operand.step(depth)})`;
  return operand.offset(`${name}_r${i}`, depth, batch);
}

function rowSetup(operand: Operand, { name, batch, row }: ReaderOptions, i: number): string {
  const index = `${name}_r${i}`;
  let text = `let ${index} = ${row(i)};\n`;
  if (operand.separable) text += `let ${name}_p${i} = ${operand.base(index, batch)};\n`;
  if (operand.guard) text += `let ${name}_g${i} = ${operand.guard(index, batch)};\n`;
  return text;
}

/** Rows of scalars or depth vectors: one fragment a row, its components are depths. */
function depthReader(operand: Operand, options: ReaderOptions): Reader {
  const { name, batch, count } = options;
  const guardOf = (i: number, depth: string): string | undefined =>
    both(operand.guard ? `${name}_g${i}` : undefined, operand.elementGuard?.(`${name}_r${i}`, depth, batch));
  const scalar = (i: number, depth: string): string => {
    const offset = offsetOf(operand, options, i, depth);
    const guard = guardOf(i, depth);
    const load = (at: string): string =>
      operand.vector === "depth" ? `${operand.buffer}[(${at}) >> 2u][(${at}) & 3]` : `${operand.buffer}[${at}]`;
    return guard === undefined ? load(offset) : `select(0.0, ${load(`select(0, ${offset}, ${guard})`)}, ${guard})`;
  };
  const vector = (i: number, depth: string): string => {
    const depths = [depth, ...[1, 2, 3].map((l) => `(${depth} + ${l})`)];
    if (operand.vector !== "depth") return `vec4f(${depths.map((d) => scalar(i, d)).join(", ")})`;
    const index = `(${offsetOf(operand, options, i, depth)}) >> 2u`;
    if (operand.elementGuard) {
      const guards = depths.map((d) => guardOf(i, d) ?? "true");
      const any = guards.join(" || ");
      return `select(vec4f(), ${operand.buffer}[select(0, ${index}, ${any})], vec4<bool>(${guards.join(", ")}))`;
    }
    if (!operand.guard) return `${operand.buffer}[${index}]`;
    return `select(vec4f(), ${operand.buffer}[select(0, ${index}, ${name}_g${i})], ${name}_g${i})`;
  };
  return {
    setup: range(count).map((i) => rowSetup(operand, options, i)).join(""),
    load: (depth, steps) =>
      range(count).map((i) => `let ${name}${i} = ${steps === 4 ? vector(i, depth) : scalar(i, depth)};\n`).join(""),
    fragments: () => range(count).map((i) => `${name}${i}`),
    element: (row, step, steps, suffix = "") => `${name}${row}${suffix}${steps === 4 ? `.${component(step)}` : ""}`,
    depths: (row, suffix = "") => `${name}${row}${suffix}`,
  };
}

/** Four neighbouring rows at a time: one fragment for each depth, its components are rows. */
function rowReader(operand: Operand, options: ReaderOptions): Reader {
  const { name, batch, count } = options;
  const groups = range(count / 4);
  const load = (g: number, depth: string): string => {
    const i = 4 * g;
    const guards = range(4).map((r) => {
      const index = `(${name}_r${i} + ${r})`;
      return both(operand.guard?.(index, batch), operand.elementGuard?.(index, depth, batch)) ?? "true";
    });
    const index = `(${offsetOf(operand, options, i, depth)}) >> 2u`;
    if (!operand.guard && !operand.elementGuard) return `${operand.buffer}[${index}]`;
    const any = guards.join(" || ");
    return `select(vec4f(), ${operand.buffer}[select(0, ${index}, ${any})], vec4<bool>(${guards.join(", ")}))`;
  };
  const unguarded: Operand = { ...operand, guard: undefined };
  return {
    setup: groups.map((g) => rowSetup(unguarded, options, 4 * g)).join(""),
    load: (depth, steps) =>
      groups.flatMap((g) => range(steps).map((l) =>
        `let ${name}${g}_${l} = ${load(g, l === 0 ? depth : `(${depth} + ${l})`)};\n`)).join(""),
    fragments: (steps) => groups.flatMap((g) => range(steps).map((l) => `${name}${g}_${l}`)),
    element: (row, step, _steps, suffix = "") => `${name}${row >> 2}_${step}${suffix}.${component(row)}`,
    depths: (row, suffix = "") =>
      `vec4f(${range(4).map((l) => `${name}${row >> 2}_${l}${suffix}.${component(row)}`).join(", ")})`,
  };
}
