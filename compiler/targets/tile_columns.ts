/**
 * @file Rows spread over the lanes of a workgroup: lane l has fours l, l + lanes, … of a row's columns. So a workgroup
 * loads every element once, sums of rows need no exchange between lanes, and a product of two rows is a sum over lanes.
 */
import type { Operand } from "./template.js";
import type { Lanes } from "./tile_lanes.js";
import { both, loaded, range } from "./tile_operand.js";

/** How rows of `width` columns lie over the lanes. */
export interface Spread {
  readonly lanes: Lanes;
  readonly width: number;
  /** Fours of a lane. */
  readonly fours: number;
  /** Have all lanes all of their fours? */
  readonly whole: boolean;
}

export const spreadOf = (lanes: Lanes, width: number): Spread =>
  ({ lanes, width, fours: Math.ceil(width / (4 * lanes)), whole: width % (4 * lanes) === 0 });

/** First column of the lane's four `f`, which may lie beyond the width. */
export const columnAt = ({ lanes }: Spread, f: number): string =>
  f === 0 ? "lane * 4" : `lane * 4 + ${f * 4 * lanes}`;

/** Declares the lane's columns: `col0_0` is the first of its four 0, moved inside the row where it lies beyond. */
export function columnsSetup(spread: Spread): string {
  const { width, fours, whole } = spread;
  const inside = (column: string, most: number): string => (whole ? column : `min(${column}, ${most})`);
  return range(fours).map((f) =>
    `let four${f} = ${inside(columnAt(spread, f), Math.max(0, width - 4) & ~3)};\n` + range(4).map((l) =>
      `let col${f}_${l} = ${inside(`${columnAt(spread, f)} + ${l}`, width - 1)};\n`).join("")).join("");
}

/** The vec4f `value` of the lane's four `f`, zero beyond the width. */
export function withinWidth(spread: Spread, f: number, value: string): string {
  if (spread.whole) return value;
  const columns = range(4).map((l) => `${columnAt(spread, f)} + ${l} < ${spread.width}`);
  return `select(vec4f(), ${value}, vec4<bool>(${columns.join(", ")}))`;
}

/** Texts that read rows of one operand. */
interface SpreadReader {
  /** Statements before the loops: where the lane's columns lie. */
  readonly setup: string;
  /**
   * Statements that declare the lane's fours `${to}_0`, `${to}_1`, … of row `row` (an i32 expression in range). Beyond
   * the width they hold other elements of the row.
   */
  load(row: string, to: string): string;
}

/** Reads an operand's rows one at a time; `columnsSetup` goes before. `name` prefixes what it declares. */
export function spreadReader(operand: Operand, spread: Spread, name: string): SpreadReader {
  const { vector, separable, guard, elementGuard } = operand;
  const fours = range(spread.fours);
  const together = vector === "depth";
  const columns = (f: number): string[] => range(4).map((l) => (together ? `four${f} + ${l}` : `col${f}_${l}`));
  const setup = !separable ? "" : fours.map((f) => together
    ? `let ${name}_k${f} = ((${operand.step(`four${f}`)}) - (${operand.step("0")})) >> 2u;\n`
    : columns(f).map((c, l) => `let ${name}_k${f}_${l} = ${operand.step(c)};\n`).join("")).join("");

  const four = (f: number, to: string): string => {
    const row = `${to}_r`;
    const rowGuard = guard && `${to}_g`;
    const tests = columns(f).map((c) => both(rowGuard, elementGuard?.(row, c, "batch")));
    const named = elementGuard ? tests.map((_, l) => `${to}_g${f}_${l}`) : tests.map(() => rowGuard);
    const declared = elementGuard ? tests.map((t, l) => `let ${named[l]} = ${t};\n`).join("") : "";
    const index = (l: number, test: string | undefined): string => {
      const at = together
        ? separable ? `${to}_p + ${name}_k${f}` : `(${operand.offset(row, `four${f}`, "batch")}) >> 2u`
        : separable ? `${to}_p + ${name}_k${f}_${l}` : operand.offset(row, `col${f}_${l}`, "batch");
      return test === undefined ? at : `select(0, ${at}, ${test})`;
    };
    if (together) {
      const any = elementGuard ? named.join(" | ") : rowGuard;
      const all = loaded(operand, index(0, any));
      const shown = any === undefined ? all
        : `select(vec4f(), ${all}, ${elementGuard ? `vec4<bool>(${named.join(", ")})` : any})`;
      return `${declared}let ${to}_${f} = ${shown};\n`;
    }
    const indices = range(4).map((l) => `let ${to}_i${f}_${l} = ${index(l, named[l])};\n`).join("");
    const scalars = range(4).map((l) => {
      const at = `${to}_i${f}_${l}`;
      const element = vector === "row" ? `${loaded(operand, `${at} >> 2u`)}[${at} & 3]` : loaded(operand, at);
      return named[l] === undefined ? element : `select(0.0, ${element}, ${named[l]})`;
    });
    return `${declared}${indices}let ${to}_${f} = vec4f(${scalars.join(", ")});\n`;
  };

  return {
    setup,
    load(row, to) {
      let text = `let ${to}_r = ${row};\n`;
      if (separable) {
        const base = operand.base(`${to}_r`, "batch");
        // Only base + step is aligned, so the first step goes with the base.
        text += `let ${to}_p = ${together ? `(${base} + (${operand.step("0")})) >> 2u` : base};\n`;
      }
      if (guard) text += `let ${to}_g = ${guard(`${to}_r`, "batch")};\n`;
      return text + fours.map((f) => four(f, to)).join("");
    },
  };
}
