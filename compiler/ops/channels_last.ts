/**
 * @file Convolution as kernels like it best: channels are the innermost axis of images and of weights, so that four
 * neighbouring terms of every sum lie side by side. Made by the compiler only, from `conv2d`, after differentiation.
 */
import { dim, sizeOf, type Dim } from "../ir/dim.js";
import type { Attrs, TensorType } from "../ir/graph.js";
import { addIndex, constantIndex, delinearize, scaleIndex } from "../ir/indices.js";
import { defineOp, isFault, type OpFault, type OpRecord, type Tensor } from "../ir/op.js";
import type { Guard, Index } from "../ir/value.js";
import { readEach, readPerAxis } from "./attributes.js";
import { PRODUCT } from "./contract.js";
import { dimAt, operand, wrongType } from "./shapes.js";
import { allocateLike, at, count, type Sizes } from "./strided.js";

/** Attributes of both ops. `before` is the padding above and to the left, `sides` are the result's height and width. */
type Window = Readonly<Record<"kernel" | "stride" | "dilation" | "before" | "sides", Sizes>>;

const readWindow = (op: string) => (_inputs: readonly TensorType[], attrs: Attrs): Window | OpFault => {
  const all = readEach<string, Sizes>(["kernel", "stride", "dilation", "before", "sides"], (name) =>
    readPerAxis(attrs[name], `\`${name}\` of \`${op}\``, 2, 0));
  if (isFault(all)) return all;
  const [kernel = [], stride = [], dilation = [], before = [], sides = []] = all;
  return { kernel, stride, dilation, before, sides };
};

/** Where tap `tap` of the window at `place` lies along an image axis: 0 is height, 1 is width. */
const sideAt = ({ stride, dilation, before }: Window, axis: 0 | 1, place: Index, tap: Index): Index =>
  addIndex(addIndex(scaleIndex(place, at(stride, axis)), scaleIndex(tap, at(dilation, axis))),
    constantIndex(-at(before, axis)));

/** The same in numbers. */
const sideOf = ({ stride, dilation, before }: Window, axis: 0 | 1, place: number, tap: number): number =>
  place * at(stride, axis) + tap * at(dilation, axis) - at(before, axis);

/** Calls `visit` with every place of the result and tap of the window that meet inside an image, row-major. */
function eachTap(
  window: Window, [H, W]: readonly [number, number],
  visit: (place: number, tap: number, pixel: number) => void,
): void {
  const [[oh, ow], [kh, kw]] = [window.sides, window.kernel] as [[number, number], [number, number]]; // two each
  for (let place = 0; place < oh * ow; place++) {
    for (let tap = 0; tap < kh * kw; tap++) {
      const y = sideOf(window, 0, Math.floor(place / ow), Math.floor(tap / kw));
      const x = sideOf(window, 1, place % ow, tap % kw);
      if (y >= 0 && y < H && x >= 0 && x < W) visit(place, tap, y * W + x);
    }
  }
}

function convolve(x: Tensor, weight: Tensor, window: Window): Tensor {
  const [N, H, W, G, C] = x.shape as [number, number, number, number, number]; // inferred: rank 5
  const O = at(weight.shape, 1);
  const [places, taps] = [count(window.sides), count(window.kernel)];
  const data = allocateLike(x.data, N * places * G * O);
  for (let n = 0; n < N; n++) {
    eachTap(window, [H, W], (place, tap, pixel) => {
      for (let g = 0; g < G; g++) {
        const from = ((n * H * W + pixel) * G + g) * C;
        for (let o = 0; o < O; o++) {
          const w = ((g * O + o) * taps + tap) * C;
          let sum = 0;
          for (let c = 0; c < C; c++) sum += (x.data[from + c] ?? NaN) * (weight.data[w + c] ?? NaN);
          const to = ((n * places + place) * G + g) * O + o;
          data[to] = (data[to] ?? NaN) + sum;
        }
      }
    });
  }
  return { shape: [N, ...window.sides, G, O], data };
}

const places = ({ sides }: Window): Dim[] => sides.map((side) => dim(side));

const WINDOW = { stride: [2, 1], dilation: [1, 1], before: [1, 1], sides: [3, 5], kernel: [3, 3] } as const;

export const channelsLast: readonly OpRecord[] = [
  defineOp({
    name: "conv2d_last", kind: "contraction", internal: true,
    signature: "(x: [N, H, W, G, C], weight: [G, O, KH, KW, C], …) -> [N, _, _, G, O]",
    doc: "conv2d of G groups of C channels each, channels last.",
    canonical: readWindow("conv2d_last"),
    infer(inputs, attrs) {
      const [x, weight] = [operand(inputs, 0), operand(inputs, 1)];
      const fits = x.shape.length === 5 && weight.shape.length === 5;
      if (!fits) return wrongType("conv2d_last", "images and kernels of rank 5", inputs);
      const [n, g] = [dimAt(x.shape, 0), dimAt(x.shape, 3)];
      return [{ shape: [n, ...places(attrs), g, dimAt(weight.shape, 1)], dtype: "f32" }];
    },
    halves: PRODUCT,
    contract: {
      depth: (node) => sizeOf(operand(node.inputs, 1).shape.slice(2)),
      read(node, place, k) {
        const window = node.attrs;
        const [n, y, x, g, o] = place as readonly [Index, Index, Index, Index, Index]; // the result has rank 5
        const taps = operand(node.inputs, 1).shape.slice(2);
        const [i, j, c] = delinearize(k, taps) as [Index, Index, Index]; // the weight has rank 5
        return [[n, sideAt(window, 0, y, i), sideAt(window, 1, x, j), g, c], [g, o, i, j, c]];
      },
    },
    evaluate: ([x, weight], attrs) => (x && weight ? [convolve(x, weight, attrs)] : []),
    gradient: "none",
    samples: [
      { inputs: [{ shape: ["B", 5, 6, 1, 8] }, { shape: [1, 5, 3, 3, 8] }], attrs: { ...WINDOW, sides: [3, 6] } },
      { inputs: [{ shape: ["B", 5, 5, 1, 3] }, { shape: [1, 4, 3, 3, 3] }], attrs: WINDOW },
      { inputs: [{ shape: ["B", 5, 5, 2, 4] }, { shape: [2, 3, 3, 3, 4] }], attrs: WINDOW },
      { inputs: [{ shape: [2, 9, 9, 1, 4] }, { shape: [1, 6, 2, 3, 4] }],
        attrs: { kernel: [2, 3], stride: [3, 2], dilation: [2, 1], before: [0, 2], sides: [3, 5] } },
      { inputs: [{ shape: ["B", 4, 4, 1, 8] }, { shape: [1, 6, 1, 1, 8] }],
        attrs: { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], before: [0, 0], sides: [4, 4] } },
    ],
  }),
  defineOp({
    name: "windows", kind: "movement", internal: true, signature: "(x: [N, H, W, C], …) -> [N, _, _, KH, KW, C]",
    doc: "The window at each of its positions, with zeros outside the image.",
    canonical: readWindow("windows"),
    infer(inputs, attrs) {
      const x: TensorType = operand(inputs, 0);
      if (x.shape.length !== 4) return wrongType("windows", "images of rank 4", inputs);
      const kernel = attrs.kernel.map((side) => dim(side));
      return [{ shape: [dimAt(x.shape, 0), ...places(attrs), ...kernel, dimAt(x.shape, 3)], dtype: x.dtype }];
    },
    evaluate([x], window) {
      if (!x) return [];
      const [N, H, W, C] = x.shape as [number, number, number, number]; // inferred: rank 4
      const [all, taps] = [count(window.sides), count(window.kernel)];
      const data = allocateLike(x.data, N * all * taps * C);
      for (let n = 0; n < N; n++) {
        eachTap(window, [H, W], (place, tap, pixel) => {
          const [to, from] = [((n * all + place) * taps + tap) * C, (n * H * W + pixel) * C];
          for (let c = 0; c < C; c++) data[to + c] = x.data[from + c] ?? NaN;
        });
      }
      return [{ shape: [N, ...window.sides, ...window.kernel, C], data }];
    },
    pull(node, place, read) {
      const window = node.attrs;
      const [n, y, x, i, j, c] = place as readonly [Index, Index, Index, Index, Index, Index]; // rank 6
      const [row, column] = [sideAt(window, 0, y, i), sideAt(window, 1, x, j)];
      const { shape, dtype } = operand(node.inputs, 0);
      const guards: Guard[] = [{ index: row, size: dimAt(shape, 1) }, { index: column, size: dimAt(shape, 2) }];
      const then = read(0, [n, row, column, c]);
      return { kind: "select", guards, then, otherwise: { kind: "constant", value: 0, dtype } };
    },
    gradient: "none",
    samples: [
      { inputs: [{ shape: ["B", 5, 5, 3] }], attrs: WINDOW },
      { inputs: [{ shape: [2, 6, 4, 2] }],
        attrs: { kernel: [2, 1], stride: [2, 2], dilation: [2, 1], before: [1, 0], sides: [3, 2] } },
    ],
  }),
];
