/**
 * @file Convolution and pooling over images [N, C, H, W].
 */
import { dim, divDim, isConstant, mulDim, sameDim, showDim, showShape, subDim, type Dim } from "../ir/dim.js";
import type { Attr, Node, TensorType } from "../ir/graph.js";
import {
  defineOp, isFault, type GradientContext, type OpFault, type OpRecord, type Ops, type Tensor,
} from "../ir/op.js";
import { algebra, type Algebra } from "./algebra.js";
import { asList, fault, readAll, readEach, readPerAxis, readWhole } from "./attributes.js";
import { convContract, PRODUCT, type ConvAttrs } from "./contract.js";
import { dotRows } from "./matmul.js";
import { GREATEST } from "./reductions.js";
import { checkFloats, dimAt, operand } from "./shapes.js";
import { allocateLike, at, count, type Numbers, type Sizes } from "./strided.js";

type Margins = readonly (readonly number[])[];

/** `pad` as [[top, bottom], [left, right]]: from one number, one a side pair, or all four. */
function readMargins(a: Attr | undefined, what: string): Margins | OpFault {
  const list = asList(a) ?? [a ?? 0, a ?? 0];
  if (list.length !== 2) return fault("wrong_type",
    `${what} takes one number, or two for height and width, got ${list.length}`);
  return readEach(list, (side) => readPerAxis(side, what, 2, 0));
}

/** How a window moves over an image. */
interface Steps {
  readonly stride: Sizes;
  readonly pad: Margins;
  readonly dilation?: Sizes;
}

/** ⌊(size + before + after − reach) / stride⌋ + 1, or a fault when the kernel does not fit. */
function windowCount(op: string, size: Dim, margin: Sizes, reach: number, stride: number): number | OpFault {
  if (!isConstant(size)) return fault("symbolic_batch",
    `\`${op}\` needs spatial sizes without B, got ${showDim(size)}`);
  const room = size.c + at(margin, 0) + at(margin, 1) - reach;
  return room >= 0 ? Math.floor(room / stride) + 1
    : fault("shape_mismatch", `\`${op}\` needs a kernel within the padded side, got ${reach} over ${room + reach}`);
}

function windowSides(op: string, x: TensorType, kernel: Sizes, steps: Steps): readonly [number, number] | OpFault {
  const { stride, pad, dilation = [1, 1] } = steps;
  const side = (i: number): number | OpFault =>
    windowCount(op, dimAt(x.shape, 2 + i), pad[i] ?? [0, 0], at(dilation, i) * (at(kernel, i) - 1) + 1, at(stride, i));
  const [height, width] = [side(0), side(1)];
  if (isFault(height)) return height;
  return isFault(width) ? width : [height, width];
}

function inferConv(inputs: readonly TensorType[], attrs: ConvAttrs): readonly [TensorType] | OpFault {
  const wrong = checkFloats("conv2d", inputs, 2, PRODUCT);
  if (wrong) return wrong;
  const [x, weight] = [operand(inputs, 0), operand(inputs, 1)];
  const shown = `${showShape(x.shape)} by ${showShape(weight.shape)}`;
  if (x.shape.length !== 4 || weight.shape.length !== 4) {
    return fault("rank_mismatch",
      `\`conv2d\` needs images [N, C, H, W] and kernels [O, C / groups, kh, kw], got ${shown}`);
  }
  const { groups } = attrs;
  const [channels, out] = [dimAt(x.shape, 1), dimAt(weight.shape, 0)];
  const each = divDim(channels, dim(groups));
  if (!each || !divDim(out, dim(groups))) {
    return fault("not_an_integer",
      `\`conv2d\` cannot map ${showDim(channels)} channels to ${showDim(out)} in ${groups} groups`);
  }
  if (!sameDim(each, dimAt(weight.shape, 1))) {
    return fault("shape_mismatch",
      `\`conv2d\` has ${showDim(each)} channels per group, but its kernels have ${showDim(dimAt(weight.shape, 1))}`);
  }
  const kernel = weight.shape.slice(2);
  if (!kernel.every(isConstant)) return fault("symbolic_batch",
    `\`conv2d\` needs a kernel without B, got ${showShape(kernel)}`);
  const sides = windowSides("conv2d", x, kernel.map((d) => d.c), attrs);
  return isFault(sides) ? sides : [{ shape: [dimAt(x.shape, 0), out, dim(sides[0]), dim(sides[1])], dtype: "f32" }];
}

/** The patches of one image and group as rows [oh·ow, c·kh·kw], zero outside. */
function patches(x: Tensor, start: number, channels: number, kernel: Sizes, out: Sizes, attrs: ConvAttrs): Numbers {
  const [H, W, kh, kw, oh, ow] = [at(x.shape, 2), at(x.shape, 3), at(kernel, 0), at(kernel, 1), at(out, 0), at(out, 1)];
  const { stride, dilation, pad } = attrs;
  const [top, left] = [at(pad[0] ?? [0], 0), at(pad[1] ?? [0], 0)];
  const rows = allocateLike(x.data, oh * ow * channels * kh * kw);
  let to = 0;
  for (let p = 0; p < oh * ow; p++) {
    const [y0, x0] = [Math.floor(p / ow) * at(stride, 0) - top, (p % ow) * at(stride, 1) - left];
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < kh; i++) {
        const row = y0 + i * at(dilation, 0);
        for (let j = 0; j < kw; j++, to++) {
          const col = x0 + j * at(dilation, 1);
          if (row < 0 || row >= H || col < 0 || col >= W) continue;
          rows[to] = x.data[start + (c * H + row) * W + col] as number; // inside the image
        }
      }
    }
  }
  return rows;
}

function convolve(x: Tensor, weight: Tensor, shape: Sizes, attrs: ConvAttrs): Tensor {
  const { groups } = attrs;
  const [images, out, channels] = [at(shape, 0), at(shape, 1) / groups, at(weight.shape, 1)];
  const [area, places] = [at(x.shape, 2) * at(x.shape, 3), at(shape, 2) * at(shape, 3)];
  const depth = count(weight.shape.slice(1));
  const data = allocateLike(x.data, count(shape));
  for (let n = 0; n < images; n++) {
    for (let g = 0; g < groups; g++) {
      const rows = patches(x, (n * groups + g) * channels * area, channels, weight.shape.slice(2), shape.slice(2),
        attrs);
      dotRows(weight.data, g * out * depth, rows, 0, data, (n * groups + g) * out * places, out, places, depth);
    }
  }
  return { shape, data };
}

/** A dimension split in two: [.., groups·n, ..] as [.., groups, n, ..], permuted and joined again. */
function regroup(ops: Ops, x: Node, axis: number, groups: number, order: readonly number[], join: number): Node {
  const each = divDim(dimAt(x.shape, axis), dim(groups)) ?? dim(1); // inferConv has checked that groups divide
  const split = ops.call("reshape", [x],
    { shape: [...x.shape.slice(0, axis), dim(groups), each, ...x.shape.slice(axis + 1)] });
  const moved = ops.call("permute", [split], { order });
  const joined = mulDim(dimAt(moved.shape, join), dimAt(moved.shape, join + 1)) ?? dim(1); // groups hold no B
  return ops.call("reshape", [moved],
    { shape: [...moved.shape.slice(0, join), joined, ...moved.shape.slice(join + 2)] });
}

/** Both gradients of a convolution are convolutions: of the spread-out dy by turned kernels, and of x by dy. */
function convGradient({ ops, node, dy }: GradientContext<ConvAttrs>): readonly Node[] {
  const [x, weight] = [operand(node.inputs, 0), operand(node.inputs, 1)];
  const { stride, dilation, pad, groups } = node.attrs;
  const kernel = weight.shape.slice(2).map((d) => d.c);
  const side = (shape: readonly Dim[], i: number): number => dimAt(shape, 2 + i).c;

  // dx: [O, I, kh, kw] → [G·I, O/G, kh, kw], turned by 180°.
  const turned = regroup(ops, ops.call("flip", [weight], { axis: [2, 3] }), 0, groups, [0, 2, 1, 3, 4], 0);
  const spread = ops.call("dilate", [dy], { steps: [1, 1, ...stride] });
  const margins = [0, 1].map((i) => {
    const before = at(dilation, i) * (at(kernel, i) - 1) - at(pad[i] ?? [], 0);
    return [before, side(x.shape, i) + at(dilation, i) * (at(kernel, i) - 1) - side(spread.shape, i) - before] as const;
  });
  // A margin below 0 cuts rows off instead.
  const cut = (i: number, end: 0 | 1): number => Math.max(0, -(margins[i]?.[end] ?? 0));
  const cropped = margins.flat().every((m) => m >= 0) ? spread : ops.call("slice", [spread], {
    starts: [0, 0, cut(0, 0), cut(1, 0)],
    stops: [null, null, ...[0, 1].map((i) => side(spread.shape, i) - cut(i, 1))],
  });
  const dx = ops.call("conv2d", [cropped, turned],
    { stride: 1, pad: margins.map((m) => m.map((n) => Math.max(0, n))), dilation, groups });

  // dw: images become depth. x as [I, G·N, H, W], dy as [O, N, oh, ow]; strides and dilations change places.
  const images = regroup(ops, x, 1, groups, [2, 1, 0, 3, 4], 1);
  const kernels = ops.call("permute", [dy], { order: [1, 0, 2, 3] });
  const full = ops.call("conv2d", [images, kernels], { stride: dilation, pad, dilation: stride, groups });
  const fitting = ops.call("slice", [full], { stops: [null, null, ...kernel] });
  return [dx, ops.call("permute", [fitting], { order: [1, 0, 2, 3] })];
}

export const conv2d = defineOp({
  name: "conv2d", kind: "contraction",
  signature: "(x: [N, C, H, W], weight: [O, I, KH, KW], stride = 1, pad = 0, dilation = 1, groups = 1) -> [N, O, _, _]",
  doc: "Cross-correlation. `pad` is one number, one each for height and width, or [[top, bottom], [left, right]]. " +
    "Source: torch.nn.functional.conv2d.",
  canonical: (_inputs, attrs) => readAll({
    stride: readPerAxis(attrs["stride"] ?? 1, "`stride` of `conv2d`", 2, 1),
    pad: readMargins(attrs["pad"], "`pad` of `conv2d`"),
    dilation: readPerAxis(attrs["dilation"] ?? 1, "`dilation` of `conv2d`", 2, 1),
    groups: readWhole(attrs["groups"] ?? 1, "`groups` of `conv2d`", 1),
  }),
  infer: inferConv,
  halves: PRODUCT,
  contract: convContract,
  evaluate: ([x, weight], attrs, [shape = []]) => (x && weight ? [convolve(x, weight, shape, attrs)] : []),
  gradient: convGradient,
  samples: [
    { inputs: [{ shape: ["B", 3, 7, 9] }, { shape: [5, 3, 3, 3] }], attrs: { pad: 1 } },
    { inputs: [{ shape: ["B", 3, 8, 8] }, { shape: [5, 3, 4, 4] }], attrs: { stride: 4 } },
    { inputs: [{ shape: ["B", 4, 9, 7] }, { shape: [6, 2, 3, 3] }],
      attrs: { stride: 2, pad: [[1, 0], [2, 1]], groups: 2 } },
    { inputs: [{ shape: ["B", 3, 7, 7] }, { shape: [3, 1, 3, 3] }], attrs: { stride: 2, pad: [0, 1], groups: 3 } },
    { inputs: [{ shape: [2, 3, 9, 10] }, { shape: [2, 3, 2, 3] }],
      attrs: { stride: [2, 3], dilation: [2, 1], pad: 3 } },
    { inputs: [{ shape: ["B", 3, 5, 5] }, { shape: [4, 3, 1, 1] }], attrs: { stride: 2, pad: 1 } },
  ],
});

interface Pool {
  readonly name: string;
  readonly doc: string;
  /** What lies outside the image. */
  readonly outside: number;
  readonly combine: (o: Algebra, a: Node, b: Node) => Node;
  readonly finish: (o: Algebra, y: Node, window: number) => Node;
  /** One window in float64, the oracle. */
  readonly window: (values: readonly number[]) => number;
}

type PoolAttrs = { readonly kernel: Sizes; readonly stride: Sizes; readonly pad: Margins };

/** A pool is its window's elements, each a strided slice of the padded image, combined one by one. */
const pool = ({ name, doc, outside, combine, finish, window }: Pool): OpRecord =>
  defineOp({
    name, kind: "composite", doc, signature: "(x: [N, C, H, W], kernel, stride = none, pad = 0) -> [N, C, _, _]",
    canonical(_inputs, attrs) {
      const kernel = readPerAxis(attrs["kernel"], `\`kernel\` of \`${name}\``, 2, 1);
      if (isFault(kernel)) return kernel;
      const stride = readPerAxis(attrs["stride"] ?? kernel, `\`stride\` of \`${name}\``, 2, 1);
      return readAll({ kernel, stride, pad: readMargins(attrs["pad"], `\`pad\` of \`${name}\``) });
    },
    infer(inputs, attrs) {
      const wrong = checkFloats(name, inputs, 1);
      if (wrong) return wrong;
      const x = operand(inputs, 0);
      if (x.shape.length !== 4) return fault("rank_mismatch",
        `\`${name}\` needs images [N, C, H, W], got ${showShape(x.shape)}`);
      const sides = windowSides(name, x, attrs.kernel, attrs);
      return isFault(sides) ? sides : [{ shape: [...x.shape.slice(0, 2), dim(sides[0]), dim(sides[1])], dtype: "f32" }];
    },
    evaluate: ([x], attrs, [shape = []]) => (x ? [slide(x, shape, attrs, outside, window)] : []),
    expand(ops, inputs, attrs) {
      const [x, kernel] = [operand(inputs, 0), attrs.kernel];
      const parts = windowParts(ops, x, attrs, outside);
      const o = algebra(ops);
      return finish(o, parts.reduce((a, b) => combine(o, a, b)), at(kernel, 0) * at(kernel, 1));
    },
    gradient: "expand",
    samples: [
      { inputs: [{ shape: ["B", 3, 7, 9] }], attrs: { kernel: 3, stride: 2, pad: 1 } },
      { inputs: [{ shape: ["B", 2, 6, 4] }], attrs: { kernel: [3, 2] } },
    ],
  });

/** For each place in the window, that element of every window: [N, C, oh, ow]. */
function windowParts(ops: Ops, x: Node, attrs: PoolAttrs, outside: number): Node[] {
  const { kernel, stride, pad } = attrs;
  const end = (n: 0 | 1): number[] => [0, 0, ...pad.map((p) => at(p, n))];
  const padded = pad.flat().every((n) => n === 0) ? x
    : ops.call("pad", [x], { before: end(0), after: end(1), value: outside });
  const stops = [0, 1].map((i) => {
    const room = subDim(dimAt(padded.shape, 2 + i), dim(at(kernel, i))).c;
    return room - (room % at(stride, i)) + 1;
  });
  return Array.from({ length: at(kernel, 0) * at(kernel, 1) }, (_, place) => {
    const offset = [Math.floor(place / at(kernel, 1)), place % at(kernel, 1)];
    return ops.call("slice", [padded], {
      starts: [0, 0, ...offset], stops: [null, null, ...stops.map((s, i) => s + at(offset, i))],
      steps: [1, 1, ...stride],
    });
  });
}

function slide(x: Tensor, shape: Sizes, attrs: PoolAttrs, outside: number, window: Pool["window"]): Tensor {
  const { kernel, stride, pad } = attrs;
  const [H, W, oh, ow] = [at(x.shape, 2), at(x.shape, 3), at(shape, 2), at(shape, 3)];
  const data = allocateLike(x.data, count(shape));
  for (let i = 0; i < data.length; i++) {
    const plane = Math.floor(i / (oh * ow));
    const y0 = (Math.floor(i / ow) % oh) * at(stride, 0) - at(pad[0] ?? [], 0);
    const x0 = (i % ow) * at(stride, 1) - at(pad[1] ?? [], 0);
    const values: number[] = [];
    for (let row = y0; row < y0 + at(kernel, 0); row++) {
      for (let col = x0; col < x0 + at(kernel, 1); col++) {
        const inside = row >= 0 && row < H && col >= 0 && col < W;
        values.push(inside ? (x.data[(plane * H + row) * W + col] ?? NaN) : outside);
      }
    }
    data[i] = window(values);
  }
  return { shape, data };
}

export const pooling: readonly OpRecord[] = [
  pool({
    name: "max_pool2d", doc: "The maximum of each window; `stride` defaults to `kernel`. Source: torch.nn.MaxPool2d.",
    outside: -GREATEST, combine: (o, a, b) => o.binary("maximum", a, b), finish: (_o, y) => y,
    window: (values) => Math.max(...values),
  }),
  pool({
    name: "avg_pool2d",
    doc: "The mean of each window, padding included; `stride` defaults to `kernel`. Source: torch.nn.AvgPool2d.",
    outside: 0, combine: (o, a, b) => o.add(a, b), finish: (o, y, window) => o.div(y, window),
    window: (values) => values.reduce((a, b) => a + b, 0) / values.length,
  }),
];
