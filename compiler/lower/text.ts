/**
 * @file WGSL text of indices and values: the last step of every kernel, whatever its template.
 */
import { atMost, dim, subDim, type Dim } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { bounds, indexKey, linearize, variablesOfValue } from "../ir/indices.js";
import { invariant } from "../ir/invariant.js";
import { runsInFours } from "./fours.js";
import { ELEMENT_TYPES } from "../ir/dtype.js";
import type { OpRecord } from "../ir/op.js";
import type { Atom, Guard, Index, Value } from "../ir/value.js";

/** The WGSL i32 expression of a size; the batch is the override `B`. */
export function dimText(d: Dim): string {
  if (d.b === 0) return String(d.c);
  const head = d.b === 1 ? "B" : `${d.b} * B`;
  return d.c === 0 ? (d.b === 1 ? head : `(${head})`) : `(${head} ${d.c < 0 ? "-" : "+"} ${Math.abs(d.c)})`;
}

/** Names that loop variables have in the text; a variable without an entry keeps its own. */
export type Names = ReadonlyMap<string, string>;

/** In parentheses unless it is a single word or in parentheses already. */
export function wrap(text: string): string {
  if (/^\w+$/.test(text)) return text;
  let depth = 0;
  const enclosed = text.startsWith("(") && [...text].every((c, i) => {
    depth += c === "(" ? 1 : c === ")" ? -1 : 0;
    return depth > 0 || i === text.length - 1;
  });
  return enclosed ? text : `(${text})`;
}

/** An index as one i32 expression without side effects. Dynamic parts go through `dynamic`. */
export function indexText(i: Index, names: Names, dynamic?: (value: Value) => string): string {
  const parts = i.terms.map(({ coefficient, atom }): { sign: string; text: string } => {
    const text = atomText(atom, names, dynamic);
    const factor = coefficient.b === 0 ? String(Math.abs(coefficient.c)) : dimText(coefficient);
    const sign = coefficient.b === 0 && coefficient.c < 0 ? "-" : "+";
    return { sign, text: factor === "1" ? text : `${wrap(text)} * ${factor}` };
  });
  const { b, c } = i.constant;
  if (b !== 0 || c !== 0) {
    parts.push({
      sign: b === 0 && c < 0 ? "-" : "+", text: b === 0 ? String(Math.abs(c)) : dimText(i.constant),
    });
  }
  if (parts.length === 0) return "0";
  return parts.map((p, n) => (n === 0 ? (p.sign === "-" ? `-${p.text}` : p.text) : ` ${p.sign} ${p.text}`)).join("");
}

function atomText(atom: Atom, names: Names, dynamic?: (value: Value) => string): string {
  switch (atom.kind) {
    case "variable":
      return names.get(atom.name) ?? atom.name;
    case "quotient":
      return `(${wrap(indexText(atom.of, names, dynamic))} / ${dimText(atom.divisor)})`;
    case "remainder":
      return `(${wrap(indexText(atom.of, names, dynamic))} % ${dimText(atom.divisor)})`;
    case "product":
      return `(${wrap(indexText(atom.of, names, dynamic))} * ${dimText(atom.factor)})`;
    case "dynamic":
      invariant(dynamic, "a gathered index stands only where loads are allowed");
      // Out of range is the nearest end, as in the reference.
      return `clamp(${dynamic(atom.value)}, 0, ${dimText(subDim(atom.size, dim(1)))})`;
    default:
      return atom satisfies never;
  }
}

/**
 * `(e >= 0) & (e < size)` of every guard, joined. Not `&&`: a branch each is what software adapters compile slowest.
 */
export function guardText(guards: readonly Guard[], names: Names, dynamic?: (value: Value) => string): string {
  const conditions = guards.flatMap((g) => {
    const text = wrap(indexText(g.index, names, dynamic));
    const { min, max } = bounds(g.index);
    const low = min && atMost(dim(0), min) ? [] : [`(${text} >= 0)`];
    const high = max && atMost(max, subDim(g.size, dim(1))) ? [] : [`(${text} < ${dimText(g.size)})`];
    return [...low, ...high];
  });
  return conditions.join(" & ") || "true";
}

/** The storage a kernel binds, in order of first use. */
export class Bindings {
  readonly #names = new Map<string, { name: string; node: Node; vector: boolean }>();

  /** @param given tensors that are bound anyway, by name: what the kernel overwrites */
  constructor(readonly given: ReadonlyMap<Node, string> = new Map()) {}

  /** Name of the variable bound to `node`'s storage, as `array<f32>` or as `array<vec4f>`. */
  use(node: Node, vector = false): string {
    const bound = this.given.get(node);
    if (bound !== undefined) return bound;
    const key = `${node.id}${vector ? "v" : ""}`;
    const known = this.#names.get(key);
    if (known) return known.name;
    const name = `t${this.#names.size}`;
    this.#names.set(key, { name, node, vector });
    return name;
  }

  /** Whether `node` is bound one element at a time: what is bound twice takes two of the few bindings. */
  isScalar(node: Node): boolean {
    return this.given.has(node) || this.#names.has(`${node.id}`);
  }

  list(): readonly { readonly name: string; readonly node: Node; readonly vector: boolean }[] {
    return [...this.#names.values()];
  }
}

/** One of four neighbours along a variable, whose values are computed one after another. */
interface Lane {
  readonly lane: number;
  /** The variable, its text for the first of the four, and its size. */
  readonly name: string;
  readonly base: string;
  readonly cols: Dim;
  /** Tensors that are read one element at a time. */
  readonly alone: ReadonlySet<Node>;
  /** What the lane's sum is called. */
  readonly accumulator: string;
}

/** Writes statements that compute values, each distinct value once a scope. */
export class Statements {
  #lines: string[] = [];
  #scopes: Map<Value, string>[] = [new Map()];
  #byKey: Map<string, string>[] = [new Map()];
  /** Names of the four elements loaded from a place, for all lanes. */
  #fours: Map<string, string>[] = [new Map()];
  #lane: Lane | undefined;
  #next = 0;

  constructor(
    readonly records: ReadonlyMap<string, OpRecord>,
    readonly bindings: Bindings,
    /** WGSL functions the values call, by name: filled here. */
    readonly functions: Map<string, string>,
    public names: Names,
    /** What `accumulator` and known folds are called. */
    readonly given: Map<Value | "accumulator", string>,
    readonly prefix = "v",
  ) {}

  line(text: string): void {
    this.#lines.push(text);
  }
  fresh(): string {
    return `${this.prefix}${this.#next++}`;
  }
  text(): string {
    return this.#lines.join("\n");
  }

  /** Runs `body` with its own scope; what it computes is not known afterwards. */
  block(open: string, body: () => void, close = "}"): void {
    this.line(open);
    this.#scopes.push(new Map());
    this.#byKey.push(new Map());
    this.#fours.push(new Map());
    body();
    this.#scopes.pop();
    this.#byKey.pop();
    this.#fours.pop();
    this.line(close);
  }

  /** Goes on with another of four neighbours: what the one before computed is not known, but what all share is. */
  lane(lane: Lane): void {
    if (this.#lane) [this.#scopes, this.#byKey].forEach((stack) => stack.pop());
    this.#scopes.push(new Map());
    this.#byKey.push(new Map());
    this.#lane = lane;
    this.names = new Map([...this.names, [lane.name, lane.lane === 0 ? lane.base : `(${lane.base} + ${lane.lane})`]]);
    this.given.set("accumulator", lane.accumulator);
  }

  index(i: Index): string {
    return indexText(i, this.names, (v) => `i32(${this.value(v)})`);
  }

  /** The register (or literal) that holds `value`. */
  value(value: Value): string {
    for (const scope of this.#scopes) {
      const known = scope.get(value);
      if (known) return known;
    }
    const text = this.#compute(value);
    (this.#scopes[this.#scopes.length - 1] as Map<Value, string>).set(value, text); // there is always a scope
    return text;
  }

  /** Computes here what of `value` does not depend on `variables`, so that a loop over them need not. */
  hoist(value: Value, variables: ReadonlySet<string>): void {
    if (value.kind !== "apply" && value.kind !== "select") return;
    const depends = [...variablesOfValue(value)].some((name) => variables.has(name));
    if (!depends) this.value(value);
    else if (value.kind === "apply") for (const a of value.args) this.hoist(a, variables);
    else this.hoist(value.otherwise, variables);
  }

  #compute(value: Value): string {
    switch (value.kind) {
      case "constant":
        return ELEMENT_TYPES[value.dtype].literal(value.value);
      case "accumulator": {
        const name = this.given.get("accumulator");
        invariant(name, "an accumulator is named by its template");
        return name;
      }
      case "fold": {
        const name = this.given.get(value);
        invariant(name, "folds are computed before they are used");
        return name;
      }
      case "index":
        return this.#let("i32", this.index(value.index));
      case "load": {
        const offset = linearize(value.at, value.node.shape);
        const four = this.#ofFour(value.node, offset);
        if (four !== undefined) return this.#let(ELEMENT_TYPES[value.node.dtype].register, four);
        const buffer = this.#embedded(value.node) ?? this.bindings.use(value.node);
        const key = `${buffer}[${indexKey(offset)}]`;
        for (const scope of this.#byKey) {
          const known = scope.get(key);
          if (known) return known;
        }
        const { register, load } = ELEMENT_TYPES[value.node.dtype];
        const name = this.#let(register, load(`${buffer}[${this.index(offset)}]`));
        (this.#byKey[this.#byKey.length - 1] as Map<string, string>).set(key, name); // there is always a scope
        return name;
      }
      case "apply": {
        const record = this.records.get(value.op);
        invariant(record?.wgsl, `elementwise op ${value.op} has WGSL`);
        const args = value.args.map((a) => this.value(a));
        for (const [name, text] of Object.entries(record.wgslFunctions ?? {})) this.functions.set(name, text);
        return this.#let(ELEMENT_TYPES[value.dtype].register, record.wgsl(...args));
      }
      case "select": {
        const name = this.fresh();
        const otherwise = this.value(value.otherwise);
        this.line(`var ${name} = ${otherwise};`);
        this.block(`if (${guardText(value.guards, this.names, (v) => `i32(${this.value(v)})`)}) {`, () => {
          this.line(`${name} = ${this.value(value.then)};`);
        });
        return name;
      }
      default:
        return value satisfies never;
    }
  }

  /** The lane's element of four that are loaded together, once for all lanes; undefined where they cannot be. */
  #ofFour(node: Node, offset: Index): string | undefined {
    const lane = this.#lane;
    if (!lane || lane.alone.has(node) || !runsInFours(offset, lane.name, lane.cols)) return undefined;
    if (this.records.get(node.op)?.embedded?.(node) !== undefined || this.bindings.isScalar(node)) return undefined;
    const first = indexText(offset, new Map([...this.names, [lane.name, lane.base]]));
    const { vector, load } = ELEMENT_TYPES[node.dtype];
    const key = `${node.id}[${first}]`;
    let four = this.#fours.map((known) => known.get(key)).find((name) => name !== undefined);
    if (four === undefined) {
      four = this.#let(vector, `${this.bindings.use(node, true)}[(${first}) >> 2u]`);
      (this.#fours[this.#fours.length - 1] as Map<string, string>).set(key, four); // there is always a scope
    }
    return load(`${four}[${lane.lane}]`);
  }

  /** Name of the module constant that holds a leaf's numbers, where they are known. */
  #embedded(node: Node): string | undefined {
    const numbers = this.records.get(node.op)?.embedded?.(node);
    if (!numbers) return undefined;
    const { storage } = ELEMENT_TYPES[node.dtype];
    const { literal } = ELEMENT_TYPES[node.dtype === "bool" ? "i32" : node.dtype];
    const literals = numbers.map(literal).join(", ");
    const text = `array<${storage}, ${numbers.length}>(${literals})`;
    const known = [...this.functions].find(([, declared]) => declared.endsWith(`= ${text};`));
    const name = known?.[0] ?? `table${[...this.functions.keys()].filter((k) => /^table\d+$/.test(k)).length}`;
    this.functions.set(name, `const ${name} = ${text};`);
    return name;
  }

  #let(type: string, text: string): string {
    const name = this.fresh();
    this.line(`let ${name}: ${type} = ${text};`);
    return name;
  }

  /** Stores `value` as element `offset` of the kernel's output. */
  store(buffer: string, offset: string, node: Node, value: Value): void {
    this.put(buffer, offset, node, this.value(value));
  }
  /** Stores the register `text`. */
  put(buffer: string, offset: string, { dtype }: Node, text: string): void {
    this.line(`${buffer}[${offset}] = ${ELEMENT_TYPES[dtype].store(text)};`);
  }
  /** Stores four registers side by side, from element `offset` on, a multiple of four. */
  putFour(buffer: string, offset: string, { dtype }: Node, texts: readonly string[]): void {
    const { vector, store } = ELEMENT_TYPES[dtype];
    this.line(`${buffer}[(${offset}) >> 2u] = ${vector}(${texts.map(store).join(", ")});`);
  }
}
