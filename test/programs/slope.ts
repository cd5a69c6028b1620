/**
 * @file Gradients against differences of the loss: what the compiler and the interpreter have in common, the ops'
 * gradients themselves, has no other oracle in a program of several ops.
 */
import type { Graph } from "../../compiler/ir/graph.js";
import { interpret, type RandomSource } from "../../compiler/inspect/interpret.js";
import type { Tensor } from "../../compiler/ir/op.js";
import { unit } from "../../compiler/ops/samples.js";
import { seedOf, type Feeds } from "../harness.js";

/** A graph without gradients, and the numbers it is run on. */
export interface LossSite {
  readonly graph: Graph;
  readonly batch: number;
  readonly feeds: Feeds;
  readonly random: RandomSource;
}

/** Output of the loss's gradient by an input or a parameter. */
export const GRADIENT = "grad ";
/** Differences in float64 over such a step are right to some 1e-8, where the loss itself is not large. */
const STEP = 1e-6;
const TOLERANCE = 1e-4;
/** Of a loss in float64, in parts of itself: what remains of its last digits after some sums. */
const ROUNDING = 8 * Number.EPSILON;
/** One direction may lead over a kink of the loss, where its slope jumps; a wrong gradient is wrong in nearly all. */
const DIRECTIONS = 3;

/** The loss of a program, Σ mean(output²), in float64. */
function lossAt({ graph, batch, feeds, random }: LossSite, moved: (name: string, tensor: Tensor) => Tensor): number {
  const all = (tensors: ReadonlyMap<string, Tensor>): Map<string, Tensor> =>
    new Map([...tensors].map(([name, tensor]) => [name, moved(name, tensor)]));
  const { outputs } = interpret(graph, {
    batch, inputs: all(feeds.inputs), parameters: all(feeds.parameters), precision: "f64", random,
  });
  return [...graph.outputs].reduce((sum, [name, { dtype }]) => {
    const data = dtype === "f32" ? [...(outputs.get(name)?.data ?? [])] : [];
    return data.length === 0 ? sum : sum + data.reduce((squares, x) => squares + x * x, 0) / data.length;
  }, 0);
}

/**
 * What is wrong with the gradients among `tensors`; undefined where nothing is. In some direction they must be what the
 * loss changes by, to `TOLERANCE` of the sum of what each element contributes, and what rounding leaves of a large loss.
 */
export function slopeFault(site: LossSite, tensors: ReadonlyMap<string, Tensor>): string | undefined {
  const gradients = [...tensors].filter(([name]) => name.startsWith(GRADIENT));
  let fault: string | undefined;
  for (let n = 0; n < DIRECTIONS; n++) {
    const along = (name: string, i: number): number => 2 * unit(seedOf(`${name} ${n}`), i) - 1;
    let [slope, size] = [0, 0];
    for (const [name, { data }] of gradients) {
      data.forEach((g, i) => {
        const part = g * along(name, i);
        slope += part;
        size += Math.abs(part);
      });
    }
    const at = (step: number): number => lossAt(site, (name, tensor) => {
      const own = tensors.has(`${GRADIENT}${name}`);
      if (!own) return tensor;
      return { ...tensor, data: Float64Array.from(tensor.data, (x, i) => x + step * along(GRADIENT + name, i)) };
    });
    const [above, below] = [at(STEP), at(-STEP)];
    const difference = (above - below) / (2 * STEP);
    const rounding = (ROUNDING * (Math.abs(above) + Math.abs(below))) / (2 * STEP);
    if (Math.abs(difference - slope) <= TOLERANCE * Math.max(size, 0.1) + rounding) return undefined;
    const [told, found] = [slope.toExponential(3), difference.toExponential(3)];
    fault ??= `the gradients say that the loss changes by ${told}, but it changes by ${found}`;
  }
  return fault;
}
