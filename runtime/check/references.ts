/**
 * @file What the parts of a graph say of one another: positions that exist, ranges that lie inside, bindings that fit
 * their kernels, and nothing read before it is written. All types and bounds were checked before.
 */
import { elementBytes } from "../dtype.js";
import type {
  Copy, Family, KernelInfo, Manifest, ParameterInfo, Preprocess, Ref, Size, SlotInfo, Step, TensorInfo,
} from "../manifest.js";
import { parameterBytes, showShape } from "../memory.js";
import { fault, inside, says, type Fault } from "./schema.js";

/** Offsets of bindings are multiples of this on every adapter, in bytes. */
const ALIGNMENT = 256;
/** Bytes that the smallest storage has. */
const GRAIN = 16;
/** Batches at which the number of workgroups is compared with what there is to write. */
const BATCHES = [1, 1024];

/** The first fault of a list, by its position. */
function each<T>(items: readonly T[], rule: (item: T, index: number) => Fault | undefined): Fault | undefined {
  for (const [i, item] of items.entries()) {
    const found = rule(item, i);
    if (found) return inside(i, found);
  }
  return undefined;
}

/** The second of two equal names. */
export function twice(names: readonly string[], key: string): Fault | undefined {
  const seen = new Map<string, number>();
  for (const [i, name] of names.entries()) {
    const first = seen.get(name);
    if (first !== undefined) return inside(i, inside(key, says(`is the same as that of [${first}]: '${name}'`)));
    seen.set(name, i);
  }
  return undefined;
}

/** A member of a lane lies inside it and comes after it. */
export function insideLane(
  lane: Pick<ParameterInfo, "shape" | "dtype" | "inside"> | undefined,
  member: Pick<ParameterInfo, "shape" | "dtype">, at: number, before: boolean, offset: number,
): Fault | undefined {
  if (lane === undefined || !before) return says(`names position ${at}, which does not come before it`);
  if (lane.inside !== undefined) return says(`names position ${at}, which lies in another one itself`);
  if ((lane.dtype ?? "f32") !== (member.dtype ?? "f32")) return says(`names position ${at}, of another element type`);
  const start = offset * elementBytes(member.dtype);
  if (start % ALIGNMENT !== 0) return inside("offset", says(`must be a multiple of 64 elements, got ${offset}`));
  const [end, all] = [start + parameterBytes(member), parameterBytes(lane)];
  return end <= all ? undefined : inside("offset", says(`ends at byte ${end} of position ${at}, which has ${all}`));
}

/** The first fault of a graph whose fields are all of the right types. */
export function graphReferences(manifest: Manifest): Fault | undefined {
  const { inputs, outputs, parameters, families, preprocess } = manifest;
  const names = Object.keys(families);
  if (names.length === 0) return inside("families", says("must have at least one family"));
  const found = wrongIn("inputs", twice(inputs.map(({ name }) => name), "name"))
    ?? wrongIn("inputs", each(inputs, ({ sameAs }) => sameAs === undefined ? undefined
      : inside("sameAs", says("belongs to outputs only"))))
    ?? wrongIn("preprocess", preprocess && imageFault(preprocess, inputs[0]))
    ?? wrongIn("outputs", twice(outputs.map(({ name }) => name), "name"))
    ?? wrongIn("outputs", outputs.length === 0 ? says("must not be empty") : each(outputs, sameAs(outputs)))
    ?? wrongIn("parameters", twice(parameters.map(({ path }) => path), "path"))
    ?? wrongIn("parameters", each(parameters, (info, i) => {
      if (info.inside === undefined) return undefined;
      const { parameter, offset } = info.inside;
      const wrong = insideLane(parameters[parameter], info, parameter, parameter < i, offset);
      return wrong && inside("inside", wrong);
    }));
  if (found) return found;
  for (const name of names) {
    const family = families[name];
    const wrong = family && new FamilyRules(manifest, family).fault();
    if (wrong) return inside("families", inside(name, wrong));
  }
  return undefined;
}

/** Images are prepared in the size that the first input takes. */
export function imageFault({ size }: Preprocess, images: TensorInfo | undefined): Fault | undefined {
  const [, ...image] = images?.shape ?? [];
  const fits = image.map(({ b, c }) => (b === 0 ? c : "B")).join() === [3, size, size].join();
  return fits ? undefined : inside("size", says(`is ${size}, and the first input takes no such images`));
}

const wrongIn = (key: string, found: Fault | undefined): Fault | undefined => found && inside(key, found);

/** An output that is another one is an earlier one with storage, of the same shape. */
const sameAs = (outputs: readonly TensorInfo[]) => (info: TensorInfo, i: number): Fault | undefined => {
  if (info.sameAs === undefined) return undefined;
  const other = outputs[info.sameAs];
  const wrong = other === undefined || info.sameAs >= i
    ? `must be the position of an earlier output, got ${info.sameAs}`
    : other.sameAs !== undefined ? `names output ${info.sameAs}, which is the same as another one itself`
      : other.dtype !== info.dtype || showShape(other.shape) !== showShape(info.shape)
        ? `names output ${info.sameAs}, ${other.dtype} ${showShape(other.shape)}, and this is ${info.dtype} ` +
          showShape(info.shape)
        : undefined;
  return wrong === undefined ? undefined : inside("sameAs", says(wrong));
};

/** Bytes that a binding refers to: from `start` in the buffer `home`, at least `bytes` long at every batch. */
interface Range {
  readonly home: string;
  readonly start: number;
  readonly bytes: Size;
}

/** The rules of one family. */
class FamilyRules {
  /** Slots and outputs that some step has written so far. */
  readonly #written = new Set<string>();

  constructor(readonly manifest: Manifest, readonly family: Family) {}

  fault(): Fault | undefined {
    const { kernels, programs, copies } = this.family;
    const steps = (list: readonly Step[], prepares: boolean): Fault | undefined =>
      each(list, (step) => this.#step(step, prepares));
    return wrongIn("kernels", twice(kernels.map(({ name }) => name), "name"))
      ?? wrongIn("programs", wrongIn("prepare", steps(programs.prepare, true)))
      ?? wrongIn("programs", wrongIn("run", steps(programs.run, false)))
      ?? wrongIn("copies", each(copies, (copy) => this.#copy(copy)))
      ?? wrongIn("programs", wrongIn("run", this.#unwritten()));
  }

  /** Every output that has storage is written. */
  #unwritten(): Fault | undefined {
    const { outputs } = this.manifest;
    const at = outputs.findIndex((info, i) => info.sameAs === undefined && !this.#written.has(`output ${i}`));
    return at < 0 ? undefined : says(`writes nothing to output ${at}, '${outputs[at]?.name}'`);
  }

  #step(step: Step, prepares: boolean): Fault | undefined {
    const kernel = this.family.kernels[step.kernel];
    if (kernel === undefined) {
      return inside("kernel", says(`must be the position of one of ${this.family.kernels.length} kernels, ` +
        `got ${step.kernel}`));
    }
    return wrongIn("bindings", this.#bindings(step, kernel, prepares)) ?? wrongIn("grid", this.#grid(step, kernel));
  }

  #bindings({ bindings }: Step, kernel: KernelInfo, prepares: boolean): Fault | undefined {
    if (bindings.length !== kernel.bindings.length) {
      return says(`must have ${kernel.bindings.length} entries, one for each binding of kernel '${kernel.name}', ` +
        `got ${bindings.length}`);
    }
    const ranges: Range[] = [];
    const found = each(bindings, (ref, i) => {
      const range = this.#range(ref);
      if ("message" in range) return range;
      ranges.push(range);
      if (kernel.bindings[i] === "read") return this.#read(ref, range);
      if (ref.kind === "input") return says("is an input, and the kernel writes this binding");
      const derived = ref.kind === "slot" && this.family.slots[ref.index]?.kind === "derived";
      if (ref.kind === "slot" && derived !== prepares) {
        return says(`names slot ${ref.index}, which ${derived ? "only `prepare` writes" : "`prepare` does not write"}`);
      }
      return ref.kind === "output" && prepares ? says("is an output, which `prepare` does not write") : undefined;
    });
    const clash = found ?? this.#clash(ranges, kernel);
    if (clash) return clash;
    for (const [i, { home }] of ranges.entries()) if (kernel.bindings[i] === "read_write") this.#written.add(home);
    return undefined;
  }

  #read(ref: Ref, { home }: Range): Fault | undefined {
    const given = ref.kind === "parameter" || ref.kind === "input";
    return given || this.#written.has(home) ? undefined : says(`reads ${home}, which no step before writes`);
  }

  /** A dispatch reads no buffer that it writes, and writes no byte through two bindings. */
  #clash(ranges: readonly Range[], kernel: KernelInfo): Fault | undefined {
    return each(ranges, (range, i) => {
      if (kernel.bindings[i] !== "read_write") return undefined;
      const other = ranges.findIndex((one, j) => j !== i && one.home === range.home
        && (kernel.bindings[j] === "read" || overlap(one, range)));
      return other < 0 ? undefined : says(`writes ${range.home}, which binding ${other} of the same step uses too`);
    });
  }

  /** Workgroups: there are some, and no more than elements that they can write. */
  #grid({ grid, bindings }: Step, kernel: KernelInfo): Fault | undefined {
    const none = each(grid, ({ size: { b, c } }) => (b > 0 || c > 0 ? undefined : inside("size", fault("above 0", c))));
    if (none) return none;
    for (const batch of BATCHES) {
      const at = ({ b, c }: Size): number => b * batch + c;
      const groups = grid.reduce((n, { size, per }) => n * Math.ceil(at(size) / per), 1);
      const elements = bindings.reduce((n, ref, i) => {
        const range = kernel.bindings[i] === "read_write" ? this.#range(ref) : undefined;
        return range && "bytes" in range ? n + Math.max(1, at(range.bytes) / 4) : n;
      }, 0);
      if (groups > elements) {
        return says(`makes ${groups} workgroups at a batch of ${batch}, but the step writes ${elements} elements`);
      }
    }
    return undefined;
  }

  #copy({ from, to, bytes }: Copy): Fault | undefined {
    const [source, target] = [this.#range(from), this.#range(to)];
    if ("message" in source) return inside("from", source);
    if ("message" in target) return inside("to", target);
    if (bytes % 4 !== 0) return inside("bytes", says(`must be a multiple of 4, got ${bytes}`));
    if (to.kind === "input") return inside("to", says("is an input, which no run changes"));
    if (source.home === target.home) return inside("to", says(`is ${source.home}, which is copied from`));
    for (const [end, range] of [["from", source], ["to", target]] as const) {
      const all = range.bytes.b + range.bytes.c;
      if (bytes > all) return inside("bytes", says(`is ${bytes}, but \`${end}\` has ${all} bytes`));
    }
    const unread = this.#read(from, source);
    if (unread) return inside("from", unread);
    this.#written.add(target.home);
    return undefined;
  }

  /** What a reference means, or why it means nothing. */
  #range(ref: Ref): Range | Fault {
    const { inputs, outputs, parameters } = this.manifest;
    const missing = (what: string, count: number): Fault =>
      inside("index", says(`must be the position of one of ${count} ${what}, got ${ref.index}`));
    switch (ref.kind) {
      case "parameter": {
        const info = parameters[ref.index];
        if (info === undefined) return missing("parameters", parameters.length);
        const home = info.inside?.parameter ?? ref.index;
        const start = (info.inside?.offset ?? 0) * elementBytes(info.dtype);
        return { home: `parameter ${home}`, start, bytes: { b: 0, c: parameterBytes(info) } };
      }
      case "slot": {
        const info = this.family.slots[ref.index];
        return info === undefined ? missing("slots", this.family.slots.length) : slotRange(ref, info);
      }
      case "input": case "output": {
        const list = ref.kind === "input" ? inputs : outputs;
        const info = list[ref.index];
        if (info === undefined) return missing(`${ref.kind}s`, list.length);
        if (info.sameAs !== undefined) {
          return inside("index", says(`names output ${ref.index}, which is stored as output ${info.sameAs}`));
        }
        return { home: `${ref.kind} ${ref.index}`, start: 0, bytes: tensorBytes(info) };
      }
      default: return ref satisfies never;
    }
  }
}

/** A slot, or a part of one that lies inside it at every batch. */
function slotRange(ref: Extract<Ref, { kind: "slot" }>, info: SlotInfo): Range | Fault {
  const { offset = 0, bytes } = ref;
  const home = `slot ${ref.index}`;
  const least = Math.ceil(Math.max(info.bytes.b + info.bytes.c, GRAIN) / GRAIN) * GRAIN;
  if (offset % ALIGNMENT !== 0) return inside("offset", says(`must be a multiple of ${ALIGNMENT}, got ${offset}`));
  if (bytes !== undefined && bytes % 4 !== 0) return inside("bytes", says(`must be a multiple of 4, got ${bytes}`));
  const end = offset + (bytes ?? 4);
  if (end > least) {
    const field = bytes === undefined ? "offset" : "bytes";
    return inside(field, says(`reaches to byte ${end} of ${home}, which has ${least}`));
  }
  const rest = { b: info.bytes.b, c: Math.max(info.bytes.c - offset, GRAIN - info.bytes.b) };
  return { home, start: offset, bytes: bytes === undefined ? rest : { b: 0, c: bytes } };
}

/** Bytes of a tensor of at most one axis that grows with the batch; of more, what one image takes for each. */
function tensorBytes({ shape, dtype }: TensorInfo): Size {
  const at = (batch: number): number => shape.reduce((n, { b, c }) => n * (b * batch + c), elementBytes(dtype));
  const [one, two] = [at(1), at(2)];
  const b = Math.max(two - one, 0);
  return { b, c: Math.max(one - b, GRAIN - b) };
}

function overlap(x: Range, y: Range): boolean {
  const end = ({ start, bytes }: Range): number => start + (bytes.b > 0 ? Infinity : bytes.c);
  return x.start < end(y) && y.start < end(x);
}
