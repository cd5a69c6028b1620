/**
 * @file Steps over tensors that are read through several views at once, or through views with others around them.
 */
import { addDim, BATCH, dim, isConstant, sameDim } from "../../compiler/ir/dim.js";
import { elements, type Step } from "./draw.js";
import { shapeText, type Line } from "./program.js";

/** Orders of three axes that differ from each other and from none at all. */
const ORDERS = [[1, 2, 0], [2, 0, 1], [0, 2, 1], [2, 1, 0], [1, 0, 2]] as const;

/** A cube, turned in two ways: views of one shape that are not the same. */
const twoViews: Step = (d) => {
  const x = d.value(({ shape }) => {
    const last = shape.at(-1);
    return shape.length <= 3 && last !== undefined && isConstant(last) && last.c >= 2 && last.c <= 4
      && elements(shape) * last.c * last.c <= 600;
  });
  const n = x?.shape.at(-1);
  if (!x || !n) return undefined;
  const [lead, one] = [x.shape.slice(0, -1), dim(1)];
  const along = (axis: number): string =>
    `reshape(${x.name}, ${shapeText([...lead, ...[0, 1, 2].map((i) => (i === axis ? n : one))])})`;
  const cube = d.add({ text: `${along(0)} + ${along(1)}^2 * ${along(2)}`, shape: [...lead, n, n, n] });
  const [first, second] = [d.pick(ORDERS), d.pick(ORDERS)].map((order) =>
    [...lead.map((_, i) => i), ...order.map((axis) => lead.length + axis)].join(", "));
  return {
    text: `permute(tanh(${cube.name}), [${first}]) ${d.pick(["*", "+", "-"])} permute(sin(${cube.name}), [${second}])`,
    shape: cube.shape,
  };
};

/** A product over the batch, or a sum, behind what still has the batch: read at an offset by the batch. */
const behindBatch: Step = (d) => {
  const isRows = ({ shape: [n, batch, more] }: Line): boolean =>
    n !== undefined && isConstant(n) && batch !== undefined && !isConstant(batch) && more === undefined;
  const z = d.value(isRows) ?? d.input([d.size(), BATCH]);
  const [n = dim(1), batch = dim(1)] = z.shape;
  const size = addDim(batch, n);
  if (d.chance(0.5)) return { text: `concat([${z.name}, matmul(${z.name}, transpose(${z.name})) * 0.2], axis = 1)`, shape: [n, size] };
  const row = d.value(({ shape: [own, more] }) => own !== undefined && sameDim(own, batch) && more === undefined);
  return { text: `concat([${row?.name ?? `${z.name}[0]`}, mean(${z.name}, axis = [1])], axis = 0)`, shape: [size] };
};

/** One element of an axis, and the same with others around it that a norm sees. */
const margin: Step = (d) => {
  const x = d.value(({ shape }) => shape.length >= 2 && shape.length <= 3 && isConstant(shape.at(-1) ?? dim(0)));
  const n = x?.shape.at(-1)?.c;
  if (!x || n === undefined) return undefined;
  const [at, before, after] = [d.below(n), d.below(3), 1 + d.below(2)];
  const range = x.shape.map((_, i) => (i === x.shape.length - 1 ? `${at}:${at + 1}` : ":")).join(", ");
  const lead = x.shape.slice(0, -1);
  const one = d.add({ text: `${x.name}[${range}]`, shape: [...lead, dim(1)], exact: x.exact });
  const sides = (count: number): string => [...lead.map(() => 0), count].join(", ");
  const padded = `pad(${one.name}, [${sides(before)}], [${sides(after)}])`;
  return {
    text: `standardize(${padded}, axis = [${lead.length}], eps = 0.1)`, shape: [...lead, dim(1 + before + after)],
  };
};

/** A tensor's parts put together again, in their order or in another. */
const parts: Step = (d) => {
  const x = d.value(({ shape: [first, ...rest] }) =>
    first !== undefined && isConstant(first) && first.c >= 2 && first.c <= 4 && rest.length >= 1);
  const [first, ...rest] = x?.shape ?? [];
  if (!x || !first) return undefined;
  const order = Array.from({ length: first.c }, (_, i) => i);
  const names = (d.chance(0.3) ? order : d.shuffled(order)).map((i) => `${x.name}[${i}]`).join(", ");
  const axis = d.below(rest.length);
  const times = rest.map((size, i) => (i === axis ? { b: first.c * size.b, c: first.c * size.c } : size));
  return { text: `concat([${names}], axis = ${axis})`, shape: times, exact: x.exact };
};

export const VIEW_STEPS = { twoViews, behindBatch, margin, parts } as const;
