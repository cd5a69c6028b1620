/**
 * @file The state of a program while it is drawn: what there is, and choices among it.
 */
import { dim, isConstant, isOne, sameDim, sizeOf, type Dim, type Shape } from "../../compiler/ir/dim.js";
import type { DType } from "../../compiler/ir/graph.js";
import { random } from "../random_graphs.js";
import { shapeText, type Line } from "./program.js";

/** Few, so that axes of different tensors coincide by chance as well as on purpose. */
const SIZES = [1, 2, 3, 4, 5, 6, 8, 12];

/** A value that is about to get a name. */
export type Made = Pick<Line, "text" | "shape"> & Partial<Pick<Line, "dtype" | "imports" | "exact" | "uses">>;

/** What a step makes of what there is; nothing where it does not fit. */
export type Step = (d: Draw) => Made | undefined;

export class Draw {
  readonly lines: Line[] = [];
  readonly next: () => number;

  constructor(seed: number, readonly training: boolean) {
    this.next = random(seed);
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }
  chance(p: number): boolean {
    return this.next() < p;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T; // lists are not empty
  }
  size(): Dim {
    return dim(this.pick(SIZES));
  }
  shuffled<T>(list: readonly T[]): T[] {
    const order = [...list];
    for (let i = order.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [order[i], order[j]] = [order[j] as T, order[i] as T]; // both in range
    }
    return order;
  }

  /** A value that fits, one of the latest as often as not; undefined where none does. */
  value(fits: (line: Line) => boolean = () => true, dtype: DType = "f32"): Line | undefined {
    const all = this.lines.filter((line) => line.dtype === dtype && line.kind !== "param" && fits(line));
    const latest = this.chance(0.5) ? all.slice(-3) : all;
    return latest.length === 0 ? undefined : this.pick(latest);
  }

  /** A value or parameter of a shape, if there is one. */
  like(shape: Shape, but?: Line): Line | undefined {
    const all = this.lines.filter((line) => line !== but && line.dtype === "f32" && sameShapeText(line.shape, shape));
    return all.length === 0 ? undefined : this.pick(all);
  }

  add(made: Made): Line {
    const uses = made.uses ?? this.lines.filter((line) => new RegExp(`\\b${line.name}\\b`).test(made.text))
      .map((line) => line.name);
    const line: Line = {
      dtype: "f32", imports: [], exact: false, ...made, name: `v${this.lines.length}`, kind: "value", uses,
    };
    this.lines.push(line);
    return line;
  }

  input(shape: Shape, dtype: "f32" | "i32" = "f32"): Line {
    return this.#declare("input", shape, dtype);
  }
  param(shape: Shape): Line {
    return this.#declare("param", shape, "f32");
  }
  /** A buffer, which steps take for a parameter. */
  buffer(shape: Shape): Line {
    return this.#declare("buffer", shape, "f32");
  }
  /** The next value of a buffer. */
  update(buffer: Line, text: string, uses: readonly string[]): void {
    this.lines.push({ ...buffer, name: `next_${buffer.name}`, kind: "update", uses: [buffer.name, ...uses],
      text: `update ${buffer.name} = ${text}` });
  }
  #declare(what: "input" | "param" | "buffer", shape: Shape, dtype: "f32" | "i32"): Line {
    const letter = what === "input" ? (dtype === "i32" ? "i" : "x") : what === "param" ? "p" : "b";
    const name = `${letter}${this.lines.length}`;
    const type = `${dtype === "i32" ? "i32" : ""}${shapeText(shape)}`;
    const line: Line = {
      name, shape, dtype, kind: what === "input" ? "input" : "param", uses: [], imports: [], exact: true,
      text: `${what} ${name}: ${type}${{ input: "", param: " ~ normal(1)", buffer: " ~ zeros" }[what]}`,
    };
    this.lines.push(line);
    return line;
  }

  /** A shape that broadcasts to `shape`, of its constant axes. */
  broadcasting(shape: Shape): Shape {
    const some = shape.map((d) => (isConstant(d) && this.chance(0.6) ? d : dim(1)));
    const lead = some.findIndex((d) => !isOne(d));
    return some.slice(this.below((lead < 0 ? some.length : lead) + 1));
  }
}

const sameShapeText = (x: Shape, y: Shape): boolean => x.length === y.length && x.every((d, i) => sameDim(d, y[i] as Dim));

/** Elements at batch 1. */
export const elements = (shape: Shape): number => {
  const { b, c } = sizeOf(shape);
  return b + c;
};
