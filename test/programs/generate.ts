/**
 * @file Random programs: sources of models with several outputs, over sizes that coincide and that do not, of views,
 * joins, reductions, products, convolutions, norms, gathers and values of parameters alone.
 */
import { BATCH, dim, sameDim, type Dim } from "../../compiler/ir/dim.js";
import { Draw } from "./draw.js";
import { pruned, type Line, type RandomProgram } from "./program.js";
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
  const buffer = training && d.chance(0.6) ? d.buffer(d.pick([[a, b], [b], [b, b]])) : undefined;
  const wanted = 2 + d.below(length);
  for (let tries = 0, made = 0; made < wanted && tries < TRIES; tries++) {
    const value = d.pick(LOTTERY)(d);
    if (!value || !isModest(value)) continue;
    d.add(value);
    made++;
  }
  if (buffer) update(d, buffer);
  const values = d.lines.filter((line) => line.kind === "value");
  const read = new Set(d.lines.flatMap((line) => line.uses));
  // What nothing reads, and some of what is read, which has to be stored beside its readers then.
  const ends = values.filter((line) => !read.has(line.name)).slice(-3);
  const inner = values.filter((line) => read.has(line.name) && d.chance(0.25));
  // Where an update reads all there is, the last value.
  const chosen = ends.length + inner.length > 0 ? [...ends, ...inner] : values.slice(-1);
  const outputs = [...new Set(chosen)].map((line) => line.name);
  return pruned({ lines: d.lines, outputs, batch, training });
}

/** The next value of a buffer, of the old one at the same place or at others, and of what the program computes. */
function update(d: Draw, buffer: Line): void {
  const b = buffer.name;
  const old = d.pick([b, b, `flip(${b}, axis = [0])`, ...(buffer.shape.length === 2 && sameDim(
    ...buffer.shape as [Dim, Dim]) ? [`transpose(${b})`] : [])]);
  const like = d.lines.filter(({ kind, dtype, shape }) => kind === "value" && dtype === "f32"
    && shape.length === buffer.shape.length && shape.every((s, i) => sameDim(s, buffer.shape[i] as Dim)));
  const any = like.length > 0 ? d.pick(like) : d.value();
  const by = like.length > 0 ? any?.name : any && `mean(${any.name})`;
  d.update(buffer, by ? d.pick([`${old} * 0.9 + ${by} * 0.1`, `${b} + ${old} * ${by}`, `tanh(${by}) - ${old}`]) : old,
    any ? [any.name] : []);
}
