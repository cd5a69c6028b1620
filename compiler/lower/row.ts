/**
 * @file Kernels with folds: softmax, layer norm, sums and whatever else needs a whole row before its elements.
 *
 * A row is walked once for each fold in order of dependence, then once to store its elements:
 *
 *     max over j → Σ exp(x[j] − max) → store exp(x[j] − max) / Σ
 *
 * One thread a row (software adapters, short rows) or one workgroup a row with a tree in workgroup memory (GPUs).
 */
import { isConstant, sizeOf, type Dim, type Shape } from "../ir/dim.js";
import type { FusedKernel } from "../fuse/fusion.js";
import { delinearize, linearize, variable, variablesOf, ZERO_INDEX } from "../ir/indices.js";
import { invariant } from "../ir/invariant.js";
import { allParts } from "../ir/parts.js";
import { ELEMENT_TYPES } from "../ir/dtype.js";
import type { OpRecord } from "../ir/op.js";
import type { PulledFold } from "../fuse/pull.js";
import type { FoldVariable, Index, Value } from "../ir/value.js";
import {
  assemble, OUTPUT, pullerOf, sidesOf, type LowerContext, type UncountedKernel, type Side,
} from "./kernel.js";
import type { WorkgroupArray } from "../targets/template.js";
import { Bindings, dimText, indexText, Statements, wrap } from "./text.js";

/** Threads a workgroup where each thread has a row of its own. */
const ROWS_PER_GROUP = 64;

export function lowerRow(fused: FusedKernel, context: LowerContext): UncountedKernel {
  const { root } = fused;
  const rowShape = fused.rowAxes.map((a) => root.shape[a] as Dim); // axes of the root
  const colShape = fused.colAxes.map((a) => root.shape[a] as Dim);
  const rows = delinearize(variable("r", sizeOf(rowShape)), rowShape);
  const cols = delinearize(variable("c", sizeOf(colShape)), colShape);
  const at = root.shape.map((_, axis): Index =>
    rows[fused.rowAxes.indexOf(axis)] ?? cols[fused.colAxes.indexOf(axis)] ?? ZERO_INDEX);
  const puller = pullerOf(fused, context);
  const value = puller.pull(root, at);
  const sides = sidesOf(fused, puller, at);
  const longest = Math.max(...puller.folds.map(({ fold }) => atLeast(fold.variables)));
  const threads = context.target.rowThreads(longest);
  const row = new RowWriter(fused, context, threads, sizeOf(rowShape));
  for (const folds of together(distinct(puller.folds))) row.folds(folds);
  const mine: Side = { buffer: OUTPUT, node: root, offset: linearize(at, root.shape), value };
  row.elements([mine, ...sides], colShape);
  return row.finish();
}

const atLeast = (variables: readonly FoldVariable[]): number =>
  variables.reduce((n, v) => n * (isConstant(v.size) ? v.size.c : v.size.b + v.size.c), 1);

/** Each fold once: what one pull meets twice is one object. */
const distinct = (folds: readonly PulledFold[]): readonly PulledFold[] =>
  folds.filter((f, i) => folds.findIndex((g) => g.fold === f.fold) === i);

/** Folds that follow each other over the same extent, none of them needing another's result, share a walk. */
function together(folds: readonly PulledFold[]): readonly (readonly PulledFold[])[] {
  const groups: PulledFold[][] = [];
  for (const fold of folds) {
    const group = groups[groups.length - 1];
    const alike = group?.every((g) => extentKey(g) === extentKey(fold) && !foldsIn(fold.fold.body).has(g.fold));
    if (group && alike) group.push(fold);
    else groups.push([fold]);
  }
  return groups;
}

const extentKey = ({ fold }: PulledFold): string => JSON.stringify(fold.variables.map((v) => v.size));

/** Folds that a value needs the results of. */
const foldsIn = (value: Value): ReadonlySet<Value> =>
  new Set([...allParts(value)].filter(({ kind }) => kind === "fold"));

class RowWriter {
  readonly #bindings = new Bindings();
  readonly #functions = new Map<string, string>();
  readonly #given = new Map<Value | "accumulator", string>();
  readonly #code: Statements;
  readonly #shared = new Map<string, WorkgroupArray>();
  #folds = 0;

  constructor(
    readonly fused: FusedKernel,
    readonly context: LowerContext,
    readonly threads: number,
    readonly rows: Dim,
  ) {
    this.#code = new Statements(context.records, this.#bindings, this.#functions, new Map(), this.#given);
    const group = "i32(wid.x + wid.y * nwg.x)";
    this.#code.line(threads === 1 ? `let r = ${group} * ${ROWS_PER_GROUP} + i32(lid);` : `let r = ${group};`);
    this.#code.line(`if (r >= ${dimText(rows)}) { return; }`);
    if (threads > 1) this.#code.line("let lane = i32(lid);");
  }

  /** Emits folds of one extent in one loop; their results are known under their values afterwards. */
  folds(folds: readonly PulledFold[]): void {
    const code = this.#code;
    const shape: Shape = (folds[0] as PulledFold).fold.variables.map((v) => v.size); // at least one, all alike
    const made = folds.map(({ node, fold }) => {
      const record = this.context.records.get(node.op);
      invariant(record?.fold, `reduction ${node.op} says how it folds`);
      const name = `a${this.#folds++}`;
      code.hoist(fold.body, new Set(fold.variables.map((v) => v.name)));
      return { name, type: ELEMENT_TYPES[node.dtype].register, dtype: node.dtype, fold, how: record.fold };
    });
    const j = `j${made[0]?.name}`;
    const at = delinearize(variable(j, sizeOf(shape)), shape);
    const names = made.flatMap(({ fold }) => fold.variables.map((v, i): [string, string] =>
      [v.name, wrap(indexText(at[i] ?? ZERO_INDEX, new Map()))]));
    for (const { name, type, dtype, how } of made) {
      code.line(`var ${name}: ${type} = ${ELEMENT_TYPES[dtype].literal(how.identity)};`);
    }
    const outer = code.names;
    code.names = new Map([...outer, ...names]);
    code.block(this.#loop(j, sizeOf(shape)), () => {
      for (const { name, fold, how } of made) code.line(`${name} = ${how.wgsl(name, code.value(fold.body))};`);
    });
    code.names = outer;
    for (const { name, type, fold, how } of made) {
      if (this.threads > 1) this.#combine(name, type, how);
      this.#given.set(fold, name);
    }
  }

  #loop(j: string, size: Dim): string {
    return this.threads === 1
      ? `for (var ${j} = 0; ${j} < ${dimText(size)}; ${j}++) {`
      : `for (var ${j} = lane; ${j} < ${dimText(size)}; ${j} += ${this.threads}) {`;
  }

  /** Joins the threads' partial results; every thread has the whole one afterwards. */
  #combine(name: string, type: string, fold: NonNullable<OpRecord["fold"]>): void {
    const storage = type === "f32" ? "f32" : "i32";
    const shared = `shared_${storage}`;
    this.#shared.set(shared, { name: shared, type: storage, length: this.threads });
    const into = (x: string): string => (type === "bool" ? `select(0, 1, ${x})` : x);
    const out = (x: string): string => (type === "bool" ? `(${x} != 0)` : x);
    const code = this.#code;
    code.line("workgroupBarrier();");
    code.line(`${shared}[lane] = ${into(name)};`);
    for (let half = this.threads / 2; half >= 1; half /= 2) {
      code.line("workgroupBarrier();");
      code.line(`if (lane < ${half}) { ${shared}[lane] = ` +
        `${into(fold.wgsl(out(`${shared}[lane]`), out(`${shared}[lane + ${half}]`)))}; }`);
    }
    code.line("workgroupBarrier();");
    code.line(`${name} = ${out(`${shared}[0]`)};`);
  }

  /** Stores the row's elements: those that no column tells apart once, the others in a loop over the columns. */
  elements(sides: readonly Side[], colShape: Shape): void {
    const code = this.#code;
    const columns = sizeOf(colShape);
    const store = (side: Side): void => code.store(side.buffer, code.index(side.offset), side.node, side.value);
    const single = columns.b === 0 && columns.c === 1;
    const [once, each] = [true, false].map((whole) =>
      sides.filter(({ offset }) => (single || !variablesOf(offset).has("c")) === whole)) as [Side[], Side[]];
    if (once.length > 0 && this.threads === 1) once.forEach(store);
    else if (once.length > 0) code.block("if (lane == 0) {", () => once.forEach(store));
    if (each.length === 0) return;
    for (const { value } of each) code.hoist(value, new Set(["c"]));
    code.block(this.#loop("c", columns), () => each.forEach(store));
  }

  finish(): UncountedKernel {
    const text = {
      features: [],
      workgroupArrays: [...this.#shared.values()],
      declarations: "",
      workgroupSize: this.threads === 1 ? ROWS_PER_GROUP : this.threads,
      body: this.#code.text(),
      grid: [{ dim: this.rows, per: this.threads === 1 ? ROWS_PER_GROUP : 1 }],
    };
    return assemble(this.fused, text, this.#bindings, this.#functions);
  }
}
