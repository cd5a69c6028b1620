/**
 * @file Many tensors side by side in one: what lets a single kernel update them all. Made by the compiler only.
 */
import { dim, sizeOf } from "../ir/dim.js";
import { defineOp, type OpRecord } from "../ir/op.js";
import { asList, fault, readAll, readEach, readWhole } from "./attributes.js";
import { wrongType } from "./shapes.js";

/** Elements of a lane at which a tensor may start: 256 bytes, where every adapter lets a binding begin. */
export const LANE_GRAIN = 64;

export const lanes: readonly OpRecord[] = [
  defineOp({
    name: "place", kind: "movement", internal: true, signature: "(x: [..], part: int) -> [..]",
    doc: "x itself, as a part of one `pack`: `part` tells it from the same tensor in another place.",
    canonical: (_inputs, attrs) => readAll({ part: readWhole(attrs["part"], "`part` of `place`", 0) }),
    infer: ([x]) => (x ? [{ shape: x.shape, dtype: x.dtype }] : wrongType("place", "a tensor", [])),
    evaluate: ([x]) => (x ? [x] : []),
    pull: (_node, at, read) => read(0, at),
    gradient: ({ dy }) => [dy],
    samples: [{ inputs: [{ shape: ["B", 5] }], attrs: { part: 3 } }],
  }),
  defineOp({
    name: "pack", kind: "opaque", internal: true, signature: "(parts: list, offsets: list, length: int) -> [length]",
    doc: "Tensors side by side, part i from element offsets[i] on, with zeros between them. Parts are written where " +
      "they belong: packing costs nothing.",
    canonical: (_inputs, attrs) => readAll({
      offsets: readEach(asList(attrs["offsets"]) ?? [], (a) => readWhole(a, "`offsets` of `pack`", 0)),
      length: readWhole(attrs["length"], "`length` of `pack`", 0),
    }),
    infer(inputs, attrs) {
      const { offsets, length } = attrs;
      const fits = offsets.length === inputs.length && inputs.every(({ shape, dtype }, i) => {
        const size = sizeOf(shape);
        const [start, end] = [offsets[i] ?? NaN, offsets[i + 1] ?? length];
        return dtype === "f32" && size.b === 0 && start % LANE_GRAIN === 0 && start + size.c <= end;
      });
      return fits ? [{ shape: [dim(length)], dtype: "f32" }] : fault("shape_mismatch", "`pack` has room for its parts");
    },
    evaluate(inputs, attrs) {
      const data = new Float64Array(attrs.length);
      inputs.forEach((x, i) => data.set(x.data, attrs.offsets[i]));
      return [{ shape: [data.length], data }];
    },
    pack: (node) => node.attrs.offsets,
    gradient: "none",
    samples: [{ inputs: [{ shape: [3, 5] }, { shape: [70] }], attrs: { offsets: [0, 64], length: 192 } }],
  }),
];
