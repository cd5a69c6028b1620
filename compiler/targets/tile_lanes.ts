/**
 * @file Exchange between the lanes of one small workgroup. On software adapters a load costs as much as 10 to 30
 * multiplications while a lane exchange costs one or two, so lanes load different rows and pass them round.
 */
import { range, type Reader } from "./tile_operand.js";

/** Lanes of a workgroup of the scalar family: a quad runs anywhere, eight need subgroups of eight or more. */
export type Lanes = 4 | 8;

/** `value` of lane `lane ^ x`. */
function fromLane(lanes: Lanes, value: string, x: number): string {
  if (x === 0) return value;
  if (lanes === 8) return `subgroupShuffleXor(${value}, ${x}u)`;
  return `${["", "quadSwapX", "quadSwapY", "quadSwapDiagonal"][x]}(${value})`;
}

/** Where a lane's row `i` lies in its block: lanes interleave, row vectors keep four neighbours in one lane. */
export function rowInBlock(vector: "depth" | "row" | "none", lanes: Lanes, i: number, lane: string): string {
  const [spread, offset] = vector === "row" ? [4, 4 * lanes * (i >> 2) + (i & 3)] : [1, lanes * i];
  const own = spread === 1 ? lane : `${lane} * ${spread}`;
  return offset === 0 ? own : `${own} + ${offset}`;
}

/** The same for a row number known at run time only. */
export function dynamicRowInBlock(vector: "depth" | "row" | "none", lanes: Lanes, i: string, lane: string): string {
  return vector === "row" ? `${lane} * 4 + (${i} >> 2u) * ${4 * lanes} + (${i} & 3)` : `${lane} + ${i} * ${lanes}`;
}

/** Two blocks of rows: each lane keeps its `held` rows and meets every lane's `moved` rows. */
export interface Product {
  readonly lanes: Lanes;
  readonly held: Reader;
  readonly heldCount: number;
  readonly moved: Reader;
  readonly movedCount: number;
  /** Are the fragments of both four depths of a row, so that `dot` applies? */
  readonly dots: boolean;
  /** Name of the accumulator of held row h and moved row v of lane `lane ^ x`. */
  accumulator(h: number, v: number, x: number): string;
}

/** Statements that add the products of one step (four depths, or one) to the accumulators. */
export function multiply(product: Product, depth: string, steps: 1 | 4): string {
  const { lanes, held, moved, heldCount, dots, accumulator } = product;
  const update = (h: number, v: number, x: number, suffix: string): string => {
    const sum = accumulator(h, v, x);
    if (dots && steps === 4) return `${sum} += dot(${held.depths(h)}, ${moved.depths(v, suffix)});\n`;
    const products = range(steps).map((l) => `${held.element(h, l, steps)} * ${moved.element(v, l, steps, suffix)}`);
    return `${sum} += ${products.join(" + ")};\n`;
  };
  // Each moved row is loaded just before its use: software adapters have 16 registers and do not reorder.
  const parts = moved.parts(depth, steps).map(({ load, fragments, rows }) => load + passRound(lanes, fragments,
    (x, suffix) => rows.flatMap((v) => range(heldCount).map((h) => update(h, v, x, suffix))).join("")));
  return held.load(depth, steps) + moved.prelude(depth, steps) + parts.join("");
}

/** Statements of `use` for each lane `lane ^ x` in turn, after the fragments came from it under `suffix`. */
export function passRound(
  lanes: Lanes, fragments: readonly string[], use: (x: number, suffix: string) => string,
): string {
  return range(lanes).map((x) => {
    const suffix = x === 0 ? "" : `_x${x}`;
    const moves = x === 0 ? [] : fragments.map((f) => `let ${f}${suffix} = ${fromLane(lanes, f, x)};\n`);
    return moves.join("") + use(x, suffix);
  }).join("");
}

/** `value` of lane `from`, a literal, in every lane. */
export const ofLane = (lanes: Lanes, value: string, from: number): string =>
  lanes === 4 ? `quadBroadcast(${value}, ${from}u)` : `subgroupBroadcast(${value}, ${from}u)`;

/**
 * Statements that declare `to`: in lane l the sum over all lanes of the l-th of as many terms as lanes. Halves the
 * terms with each exchange, so that all sums together take one exchange a term. Needs `upper1`, `upper2`, …: is that
 * bit of the lane set?
 */
export function sumOfLane(lanes: Lanes, terms: readonly string[], to: string): string {
  let text = "";
  let level = [...terms];
  for (let bit = lanes / 2; bit >= 1; bit /= 2) {
    level = range(bit).map((i) => {
      const [low, high] = [level[i] ?? "0.0", level[i + bit] ?? "0.0"];
      const name = bit === 1 ? to : `${to}_${bit}_${i}`;
      text += `let ${name}_sent = select(${high}, ${low}, upper${bit});\n`;
      text += `let ${name} = select(${low}, ${high}, upper${bit}) + ${fromLane(lanes, `${name}_sent`, bit)};\n`;
      return name;
    });
  }
  return text;
}

/** Declares what `sumOfLane` needs. */
export const upperBits = (lanes: Lanes): string =>
  [4, 2, 1].filter((bit) => bit < lanes).map((bit) => `let upper${bit} = (lane & ${bit}) != 0;\n`).join("");
