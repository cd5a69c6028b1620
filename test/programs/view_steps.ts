/**
 * @file Steps over tensors that are read through several views at once.
 */
import { dim, isConstant } from "../../compiler/ir/dim.js";
import { elements, type Step } from "./draw.js";
import { shapeText } from "./program.js";

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

export const VIEW_STEPS = { twoViews } as const;
