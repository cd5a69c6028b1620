/**
 * @file What follows a contraction or an attention in its kernel, as text: how each element of the root is finished and
 * stored, and what else is stored where it is; one element at a time, or four neighbouring columns.
 */
import type { FusedKernel } from "../fuse/fusion.js";
import type { Puller } from "../fuse/pull.js";
import type { Dim } from "../ir/dim.js";
import { isComputed, linearize, variablesOfValue } from "../ir/indices.js";
import { allParts } from "../ir/parts.js";
import type { Index, Value } from "../ir/value.js";
import type { AttentionGradientSpec } from "../targets/template.js";
import { runsInFours } from "./fours.js";
import { OUTPUT, sidesOf, type LowerContext, type Side } from "./kernel.js";
import { Statements, type Bindings } from "./text.js";

type Place = Parameters<AttentionGradientSpec["epilogue"]>[0];

export class Epilogue {
  /** Variables that `fours` stores four elements of at once: their bindings are vectors. */
  readonly vectors = new Set<string>();
  /** The root, then what is stored beside it. */
  readonly #stored: readonly Side[];

  /** @param at the root's coordinates, functions of batch `z`, row `m`, column `n` and part `p` */
  constructor(
    fused: FusedKernel, readonly context: LowerContext, at: readonly Index[], [value, puller]: readonly [Value, Puller],
    readonly bindings: Bindings, readonly functions: Map<string, string>,
  ) {
    const root = { buffer: OUTPUT, node: fused.root, offset: linearize(at, fused.root.shape), value };
    this.#stored = [root, ...sidesOf(fused, puller, at)];
  }

  /** Statements that finish and store one element, whose sum is `place.value`. */
  one(place: Place): string {
    const code = this.#statements(place, place.col, place.value);
    for (const { buffer, node, offset, value } of this.#stored) code.store(buffer, code.index(offset), node, value);
    return `{\n${code.text()}\n}`;
  }

  /**
   * The same for four columns from `place.col` on, a multiple of four, whose sums are the vector `place.value`.
   * Undefined where the root's do not lie side by side. @param cols how many columns there are
   */
  fours(cols: Dim): ((place: Place) => string) | undefined {
    const [root] = this.#stored;
    if (!root || !runsInFours(root.offset, "n", cols)) return undefined;
    const loads = this.#stored.flatMap(({ value }) => loadsOf(value));
    const alone = new Set(loads.filter(({ node, at }) =>
      at.some(isComputed) || !runsInFours(linearize(at, node.shape), "n", cols)).map(({ node }) => node));
    return (place) => {
      const code = this.#statements(place, place.col, "");
      for (const { value } of this.#stored) shareBetweenLanes(code, value);
      const lanes = [0, 1, 2, 3].map((lane) => {
        code.lane({ lane, name: "n", base: place.col, cols, alone, accumulator: `${place.value}[${lane}]` });
        const values = this.#stored.map(({ value }) => code.value(value));
        return { values, offsets: this.#stored.map(({ offset }) => code.index(offset)) };
      });
      this.#stored.forEach(({ buffer, node, offset }, i) => {
        const texts = lanes.map(({ values }) => values[i] ?? "");
        if (!runsInFours(offset, "n", cols)) {
          lanes.forEach(({ offsets }, lane) => code.put(buffer, offsets[i] ?? "", node, texts[lane] ?? ""));
          return;
        }
        this.vectors.add(buffer);
        code.putFour(buffer, lanes[0]?.offsets[i] ?? "", node, texts);
      });
      return `{\n${code.text()}\n}`;
    };
  }

  /** @param accumulator what the op's own sum is called */
  #statements({ part, row, batch }: Place, col: string, accumulator: string): Statements {
    const names = new Map([["m", row], ["n", col], ["z", batch], ["p", part]]);
    const given = new Map<Value | "accumulator", string>([["accumulator", accumulator]]);
    return new Statements(this.context.records, this.bindings, this.functions, names, given, "e");
  }
}

const loadsOf = (value: Value): readonly Extract<Value, { kind: "load" }>[] =>
  [...allParts(value)].filter((one) => one.kind === "load");

/** Computes once what is the same for four columns; not what guards protect. */
function shareBetweenLanes(code: Statements, value: Value): void {
  if (value.kind === "constant") return;
  const changes = variablesOfValue(value).has("n") || [...allParts(value)].some(({ kind }) => kind === "accumulator");
  if (!changes) code.value(value);
  else if (value.kind === "apply") for (const arg of value.args) shareBetweenLanes(code, arg);
}
