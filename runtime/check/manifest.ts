/** @file What one graph of a manifest must look like: types, kinds, names and bounds. See also `references.ts`. */
import type {
  Copy, DType, Family, Initializer, KernelInfo, LabelSet, Manifest, ParameterInfo, Preprocess, Ref, Size, SlotInfo,
  Step, TensorInfo,
} from "../manifest.js";
import {
  and, anyNumber, check, fault, finite, flag, inside, lines, list, matching, object, optional, record, says, text,
  triple, variants, whole, word, type Check, type Fault,
} from "./schema.js";

/** Names that become parts of paths: files and folders on every system. */
export const fileName = matching("a name of letters, digits, `_`, `-` and single dots",
  /^(?!__proto__$)[A-Za-z0-9_](?:[\w-]|\.(?=[\w-]))*$/u);

/** Names of models and recipes, which become names of folders and classes. */
export const identifier = matching("a name of letters, digits and `_`", /^(?!__proto__$)[A-Za-z_]\w*$/u);

/** Elements and bytes: beyond this no device has storage, and sums of a few are still exact. */
const MOST = 2 ** 48;
/** Threads of a workgroup, bytes of its memory, bindings of a kernel: far above what any adapter has. */
const MOST_THREADS = 65536;
const MOST_WORKGROUP_BYTES = 2 ** 24;
const MOST_BINDINGS = 64;
/** Side of an image in pixels. */
const MOST_PIXELS = 65536;
/** Axes of a tensor. */
const MOST_AXES = 32;
/** Operations and bytes of a step, which divide work into submits: more than any device does in a day. */
const MOST_WORK = 2 ** 60;

/** b·B + c, not negative for any batch. */
export const size: Check<Size> = and(
  object<Size>({ b: whole(0, MOST), c: whole(-MOST, MOST) }),
  ({ b, c }) => (b + c >= 0 ? undefined : fault("at least 0 for a batch of 1", `${b}·B + ${c}`)),
);

const work: Check<Size> = object<Size>({
  b: check(`a number from 0 to ${MOST_WORK}`, inWork), c: check(`a number from ${-MOST_WORK} to ${MOST_WORK}`, isWork),
});
function isWork(value: unknown): boolean {
  return typeof value === "number" && Math.abs(value) <= MOST_WORK;
}
function inWork(value: unknown): boolean {
  return isWork(value) && (value as number) >= 0; // a number, as isWork says
}

export const dtype = word<DType>({ f32: 0, i32: 0, bool: 0 });

/** Sizes whose product is bounded. */
export const shape: Check<readonly number[]> = and(list(whole(1, MOST)), (sizes): Fault | undefined =>
  (sizes.length > MOST_AXES ? fault(`of at most ${MOST_AXES} axes`, sizes)
    : sizes.reduce((n, d) => n * d, 1) > MOST ? fault(`of at most ${MOST} elements`, sizes) : undefined));

const sizes: Check<readonly Size[]> = and(list(size), (axes): Fault | undefined =>
  (axes.length > MOST_AXES ? fault(`of at most ${MOST_AXES} axes`, axes)
    // An axis that is empty at a batch of 1 has elements at others.
    : axes.reduce((n, { b, c }) => n * Math.max(b + c, 1), 1) <= MOST ? undefined
      : fault(`of at most ${MOST} elements an image`, axes)));

export const initializer = variants<Initializer>({
  zeros: object({ kind: word({ zeros: 0 }) }),
  ones: object({ kind: word({ ones: 0 }) }),
  constant: object({ kind: word({ constant: 0 }), value: anyNumber }),
  uniform: object({ kind: word({ uniform: 0 }), bound: finite }),
  normal: object({ kind: word({ normal: 0 }), std: finite }),
  trunc_normal: object({ kind: word({ trunc_normal: 0 }), std: finite }),
  values: object({ kind: word({ values: 0 }), values: list(anyNumber) }),
});

/** Fixed numbers are as many as the shape has elements. */
export function valuesFit(start: { readonly kind: string }, sizes: readonly number[]): Fault | undefined {
  if (start.kind !== "values" || !("values" in start) || !Array.isArray(start.values)) return undefined;
  const count = sizes.reduce((n, d) => n * d, 1);
  return start.values.length === count ? undefined
    : inside("values", says(`has ${start.values.length} numbers for a shape of ${count}`));
}

const parameter: Check<ParameterInfo> = and(
  object<ParameterInfo>({
    path: text, shape, dtype: optional(dtype), trained: flag, decay: flag, initializer,
    inside: optional(object<NonNullable<ParameterInfo["inside"]>>({ parameter: whole(0), offset: whole(0, MOST) })),
  }),
  (info) => {
    const found = valuesFit(info.initializer, info.shape);
    return found && inside("initializer", found);
  },
);

const tensor = object<TensorInfo>({
  name: text, shape: sizes, dtype, doc: optional(lines), sameAs: optional(whole(0)),
});

export const preprocess: Check<Preprocess> = and(
  object<Preprocess>({
    size: whole(1, MOST_PIXELS), resize: whole(1, MOST_PIXELS), mean: triple(finite), std: triple(finite),
  }),
  (how) => {
    const zero = how.std.findIndex((one) => one <= 0);
    if (zero >= 0) return inside("std", inside(zero, fault("above 0", how.std[zero])));
    return how.resize >= how.size ? undefined : inside("resize", fault(`at least the size, ${how.size}`, how.resize));
  },
);

const sets = word<LabelSet>({ imagenet: 0, cifar10: 0 });
const names = list(text);
const labels: Check<LabelSet | readonly string[]> = (value) => (typeof value === "string" ? sets : names)(value);

const features = list(word({ subgroups: 0, "shader-f16": 0 }));
const lanes = whole(0, 1024);
const access = word<KernelInfo["bindings"][number]>({ read: 0, read_write: 0 });

const kernel = object<KernelInfo>({
  name: fileName,
  bindings: and(list(access), (all) =>
    (all.length >= 1 && all.length <= MOST_BINDINGS ? undefined : fault(`a list of 1 to ${MOST_BINDINGS}`, all))),
  workgroupSize: whole(1, MOST_THREADS), workgroupBytes: whole(0, MOST_WORKGROUP_BYTES), features,
  subgroup: optional(lanes),
});

const slot = object<SlotInfo>({
  kind: word<SlotInfo["kind"]>({ activation: 0, derived: 0, packed: 0 }), bytes: size, tensors: list(text),
});

const index = whole(0);
const ref = variants<Ref>({
  parameter: object({ kind: word({ parameter: 0 }), index }),
  slot: object<Extract<Ref, { kind: "slot" }>>({
    kind: word({ slot: 0 }), index, offset: optional(whole(0, MOST)), bytes: optional(whole(4, MOST)),
  }),
  input: object({ kind: word({ input: 0 }), index }),
  output: object({ kind: word({ output: 0 }), index }),
});

const step = object<Step>({
  kernel: index, bindings: list(ref), path: text, flops: work, bytes: work,
  grid: list(object<Step["grid"][number]>({ size, per: whole(1, MOST) })),
});

const copy = object<Copy>({ from: ref, to: ref, bytes: whole(4, MOST) });

const family = object<Family>({
  rank: finite,
  suits: word<Family["suits"]>({ hardware: 0, software: 0 }),
  requires: object<Family["requires"]>({ features, lanes }),
  kernels: list(kernel), slots: list(slot),
  programs: object<Family["programs"]>({ prepare: list(step), run: list(step) }),
  copies: list(copy),
});

/** One graph. */
export const graph = object<Manifest>({
  name: identifier, doc: optional(lines), inputs: list(tensor), outputs: list(tensor), parameters: list(parameter),
  preprocess: optional(preprocess), classNames: optional(labels), families: record(fileName, family),
});
