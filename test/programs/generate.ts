/**
 * @file Random programs: sources of models with several outputs, over sizes that coincide and that do not, of views,
 * joins, reductions, products, convolutions, norms, gathers and values of parameters alone.
 */
import { BATCH, dim } from "../../compiler/ir/dim.js";
import { Draw } from "./draw.js";
import { pruned, type RandomProgram } from "./program.js";
import { isModest, STEPS } from "./steps.js";

const LOTTERY = STEPS.flatMap(({ often, step }) => Array.from({ length: often }, () => step));
/** Draws that may come to nothing before a program is what it is. */
const TRIES = 60;

/** The program of a seed: always the same one. @param length of the program in values, about */
export function generate(seed: number, length = 9): RandomProgram {
  const training = seed % 4 === 3;
  const d = new Draw(seed, training);
  const batch = 1 + d.below(3);
  // Sizes of which some are the same.
  const [a, b] = [d.size(), d.size()];
  const first = d.pick([[BATCH, a, b], [BATCH, a, a], [BATCH, b], [a, BATCH, b], [BATCH, dim(3), dim(4), dim(4)]]);
  d.input(first);
  if (d.chance(0.5)) d.input(d.chance(0.5) ? first : d.pick([[BATCH, a], [BATCH, a, d.size()], [a, b]]));
  if (d.chance(0.2)) d.input(d.pick([[BATCH], [BATCH, a], [b]]), "i32");
  if (d.chance(0.5)) d.param(d.pick([[a, b], [b], [b, d.size()]]));
  const wanted = 2 + d.below(length);
  for (let tries = 0, made = 0; made < wanted && tries < TRIES; tries++) {
    const value = d.pick(LOTTERY)(d);
    if (!value || !isModest(value)) continue;
    d.add(value);
    made++;
  }
  const values = d.lines.filter((line) => line.kind === "value");
  const read = new Set(values.flatMap((line) => line.uses));
  // What nothing reads, and some of what is read, which has to be stored beside its readers then.
  const ends = values.filter((line) => !read.has(line.name)).slice(-3);
  const inner = values.filter((line) => read.has(line.name) && d.chance(0.25));
  const outputs = [...new Set([...ends, ...inner])].map((line) => line.name);
  return pruned({ lines: d.lines, outputs, batch, training });
}
