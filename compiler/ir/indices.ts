/**
 * @file Symbolic integer arithmetic over loop variables. Reshapes turn into divisions and remainders here, and the
 * rules below make nearly all of them cancel, so that a view costs a kernel no more than an addition.
 */
import {
  addDim, atMost, dim, divDim, invariantMul, isConstant, isOne, sameDim, subDim, type Dim, type Shape,
} from "./dim.js";
import { invariant } from "./invariant.js";
import type { Atom, Guard, Index, Term, Value } from "./value.js";

const ZERO = dim(0);
const ONE = dim(1);
const isZero = (d: Dim): boolean => d.b === 0 && d.c === 0;
const asDim = (n: number | Dim): Dim => (typeof n === "number" ? dim(n) : n);

export const constantIndex = (n: number | Dim): Index => ({ terms: [], constant: asDim(n) });
export const ZERO_INDEX = constantIndex(0);

/** A loop variable in [0, size). A variable of size 1 is the number 0. */
export function variable(name: string, size: number | Dim): Index {
  const extent = asDim(size);
  if (isOne(extent)) return ZERO_INDEX;
  return ofAtom({ kind: "variable", name, size: extent });
}

/** A computed index in [0, size): the position a gather reads from. */
export const dynamicIndex = (value: Value, size: Dim): Index => ofAtom({ kind: "dynamic", value, size });

const ofAtom = (atom: Atom): Index => ({ terms: [{ coefficient: ONE, atom }], constant: ZERO });

/** A text by which equal atoms are equal. */
function atomKey(atom: Atom): string {
  switch (atom.kind) {
    case "variable":
      return atom.name;
    case "quotient":
      return `(${indexKey(atom.of)})/${dimKey(atom.divisor)}`;
    case "remainder":
      return `(${indexKey(atom.of)})%${dimKey(atom.divisor)}`;
    case "product":
      return `(${indexKey(atom.of)})*${dimKey(atom.factor)}`;
    case "dynamic":
      return `@${valueKey(atom.value)}`;
    default:
      return atom satisfies never;
  }
}
/** A text by which equal values are equal. */
function valueKey(value: Value): string {
  const ats = (at: readonly Index[]): string => at.map(indexKey).join(",");
  switch (value.kind) {
    case "constant":
      return `${value.dtype}${value.value}`;
    case "load":
      return `%${value.node.id}[${ats(value.at)}]`;
    case "apply":
      return `${value.op}(${value.args.map(valueKey).join(",")})`;
    case "select":
      return `{${value.guards.map((g) => `${indexKey(g.index)}<${dimKey(g.size)}`).join("&")}` +
        `?${valueKey(value.then)}:${valueKey(value.otherwise)}}`;
    case "index":
      return `#${indexKey(value.index)}`;
    case "accumulator":
      return "acc";
    case "fold":
      return `${value.op}<${value.variables.map((v) => v.name).join(",")}>(${valueKey(value.body)})`;
    default:
      return value satisfies never;
  }
}
const dimKey = (d: Dim): string => (d.b === 0 ? String(d.c) : `${d.b}B${d.c}`);
const keys = new WeakMap<Index, string>();
export function indexKey(i: Index): string {
  let key = keys.get(i);
  if (key === undefined) {
    key = [...i.terms.map((t) => `${dimKey(t.coefficient)}*${atomKey(t.atom)}`), dimKey(i.constant)].join("+");
    keys.set(i, key);
  }
  return key;
}

export function addIndex(x: Index, y: Index): Index {
  if (x.terms.length === 0 && isZero(x.constant)) return y;
  if (y.terms.length === 0 && isZero(y.constant)) return x;
  return normalize([...x.terms, ...y.terms], addDim(x.constant, y.constant));
}
export const subIndex = (x: Index, y: Index): Index => addIndex(x, scaleIndex(y, -1));

/** factor · i. */
export function scaleIndex(i: Index, factor: number | Dim): Index {
  const f = asDim(factor);
  if (isOne(f)) return i;
  if (isZero(f)) return ZERO_INDEX;
  const scaled = i.terms.flatMap(({ coefficient, atom }): Term[] => {
    const product = tryMul(coefficient, f);
    return product ? [{ coefficient: product, atom }] : [];
  });
  // What would hold B² stays a product: an offset by the batch in a tensor whose rows are as long as the batch.
  const of: Index = f.b === 0 ? ZERO_INDEX
    : { terms: i.terms.filter(({ coefficient }) => coefficient.b !== 0), constant: { b: i.constant.b, c: 0 } };
  if (of.terms.length === 0 && isZero(of.constant)) return normalize(scaled, invariantMul(i.constant, f));
  const product: Term = { coefficient: ONE, atom: { kind: "product", of, factor: f } };
  return normalize([...scaled, product], invariantMul(dim(i.constant.c), f));
}

/** Collects equal atoms and puts d·⌊x/d⌋ + x mod d together again; the order of terms is that of their keys. */
function normalize(terms: readonly Term[], constant: Dim): Index {
  const byKey = new Map<string, Term>();
  for (const term of terms) {
    const key = atomKey(term.atom);
    const known = byKey.get(key);
    byKey.set(key, known ? { coefficient: addDim(known.coefficient, term.coefficient), atom: term.atom } : term);
  }
  for (const [key, term] of byKey) if (isZero(term.coefficient)) byKey.delete(key);
  for (const [key, term] of byKey) {
    if (term.atom.kind !== "remainder") continue;
    const { of, divisor } = term.atom;
    const partnerKey = atomKey({ kind: "quotient", of, divisor });
    const partner = byKey.get(partnerKey);
    const whole = tryMul(term.coefficient, divisor);
    if (!partner || !whole || !sameDim(partner.coefficient, whole)) continue;
    byKey.delete(key);
    byKey.delete(partnerKey);
    const rest = scaleIndex(of, term.coefficient);
    return normalize([...byKey.values(), ...rest.terms], addDim(constant, rest.constant));
  }
  const sorted = [...byKey.entries()].sort(([x], [y]) => (x < y ? -1 : x > y ? 1 : 0)).map(([, t]) => t);
  return { terms: sorted, constant };
}

function tryMul(x: Dim, y: Dim): Dim | undefined {
  return x.b !== 0 && y.b !== 0 ? undefined : invariantMul(x, y);
}

/** Least and greatest value for every B ≥ 1; undefined where it is not known. */
export function bounds(i: Index): { min: Dim | undefined; max: Dim | undefined } {
  let min: Dim | undefined = i.constant;
  let max: Dim | undefined = i.constant;
  for (const { coefficient, atom } of i.terms) {
    if (atom.kind === "product") return { min: undefined, max: undefined };
    const top = atomMax(atom);
    const span = top && tryMul(coefficient, top);
    const negative = coefficient.b <= 0 && coefficient.c <= 0;
    const positive = coefficient.b >= 0 && coefficient.c >= 0;
    if (!positive && !negative) return { min: undefined, max: undefined };
    if (positive) max = max && span && addDim(max, span);
    else min = min && span && addDim(min, span);
  }
  return { min, max };
}

function atomMax(atom: Exclude<Atom, { kind: "product" }>): Dim | undefined {
  switch (atom.kind) {
    case "variable":
    case "dynamic":
      return subDim(atom.size, ONE);
    case "remainder":
      return subDim(atom.divisor, ONE);
    case "quotient": {
      const { max } = bounds(atom.of);
      if (!max) return undefined;
      if (isConstant(atom.divisor)) {
        const d = atom.divisor.c;
        // ⌊(b·B + c)/d⌋ ≤ (b/d)·B + ⌊c/d⌋ when d divides b; else round the slope up.
        return {
          b: Math.ceil(max.b / d), c: max.b % d === 0 ? Math.floor(max.c / d) : Math.max(0, Math.ceil(max.c / d)),
        };
      }
      // ⌊x/(b·B+c)⌋ with x < q·(b·B+c).
      const q = divDim(addDim(max, ONE), atom.divisor);
      return q && subDim(q, ONE);
    }
    default:
      return atom satisfies never;
  }
}

/** 0 ≤ i < size for every value of its variables and every B. */
export function within(i: Index, size: Dim): boolean {
  const { min, max } = bounds(i);
  return !!min && !!max && atMost(ZERO, min) && atMost(max, subDim(size, ONE));
}

/** The parts of i that d divides (already divided), and the rest. */
function split(i: Index, d: Dim): { whole: Index; rest: Index } {
  const wholeTerms: Term[] = [];
  const restTerms: Term[] = [];
  let products = ZERO_INDEX;
  for (const t of i.terms) {
    const [q, factor] = [divDim(t.coefficient, d), t.atom.kind === "product" ? divDim(t.atom.factor, d) : undefined];
    if (q) wholeTerms.push({ coefficient: q, atom: t.atom });
    else if (factor && t.atom.kind === "product") {
      products = addIndex(products, scaleIndex(scaleIndex(t.atom.of, factor), t.coefficient));
    } else restTerms.push(t);
  }
  const { q, r } = splitConstant(i.constant, d);
  return { whole: addIndex(normalize(wholeTerms, q), products), rest: { terms: restTerms, constant: r } };
}

function splitConstant(c: Dim, d: Dim): { q: Dim; r: Dim } {
  const exact = divDim(c, d);
  if (exact) return { q: exact, r: ZERO };
  if (!isConstant(d) || c.b % d.c !== 0) return { q: ZERO, r: c };
  const low = Math.floor(c.c / d.c);
  return { q: { b: c.b / d.c, c: low }, r: dim(c.c - low * d.c) };
}

/** A divisor g of d such that i = g·x + y with 0 ≤ y < g, largest first: then ⌊i/d⌋ = ⌊x/(d/g)⌋. */
function commonFactor(i: Index, d: Dim): { g: number; x: Index; y: Index; d: Dim } | undefined {
  const candidates = new Set(i.terms.map((t) => t.coefficient).filter(isConstant)
    .map((c) => gcd(Math.abs(c.c), isConstant(d) ? d.c : gcd(d.b, d.c))));
  for (const g of [...candidates].filter((c) => c > 1).sort((x, y) => y - x)) {
    const smaller = divDim(d, dim(g));
    if (!smaller) continue;
    const { whole, rest } = split(i, dim(g));
    if (within(rest, dim(g))) return { g, x: whole, y: rest, d: smaller };
  }
  return undefined;
}
function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

/** ⌊i / d⌋ of a non-negative i. */
export function quotient(i: Index, d: Dim): Index {
  if (isOne(d)) return i;
  const { whole, rest } = split(i, d);
  if (within(rest, d)) return whole;
  // With a negative rest the parts cannot be divided apart (WGSL truncates towards zero).
  const { min } = bounds(rest);
  const [outer, inner] = min && atMost(ZERO, min) ? [whole, rest] : [ZERO_INDEX, i];
  const factor = commonFactor(inner, d);
  if (factor) return addIndex(outer, quotient(factor.x, factor.d));
  const only = soleAtom(inner);
  if (only?.kind === "quotient") {
    const product = tryMul(only.divisor, d);
    if (product) return addIndex(outer, quotient(only.of, product));
  }
  return addIndex(outer, ofAtom({ kind: "quotient", of: inner, divisor: d }));
}

/** i mod d of a non-negative i. */
export function remainder(i: Index, d: Dim): Index {
  if (isOne(d)) return ZERO_INDEX;
  const { rest } = split(i, d);
  if (within(rest, d)) return rest;
  const { min } = bounds(rest);
  const inner = min && atMost(ZERO, min) ? rest : i;
  const factor = commonFactor(inner, d);
  if (factor) return addIndex(scaleIndex(remainder(factor.x, factor.d), factor.g), factor.y);
  const only = soleAtom(inner);
  if (only?.kind === "remainder" && divDim(only.divisor, d)) return remainder(only.of, d);
  return ofAtom({ kind: "remainder", of: inner, divisor: d });
}

function soleAtom(i: Index): Atom | undefined {
  const [term] = i.terms;
  return term && i.terms.length === 1 && isZero(i.constant) && isOne(term.coefficient) ? term.atom : undefined;
}

/** The row-major position of coordinates `at` in `shape`. */
export function linearize(at: readonly Index[], shape: Shape): Index {
  invariant(at.length === shape.length, "coordinates match the shape's rank");
  let flat = ZERO_INDEX;
  let stride: Dim | undefined = ONE;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const position = at[axis] as Index; // axis < at.length
    const size = shape[axis] as Dim; // axis < shape.length
    invariant(stride !== undefined, "a stride holds the batch at most once");
    if (!isOne(size)) flat = addIndex(flat, scaleIndex(position, stride));
    stride = axis > 0 ? tryMul(stride, size) : stride;
  }
  return flat;
}

/** The coordinates in `shape` of a row-major position. */
export function delinearize(flat: Index, shape: Shape): Index[] {
  const at: Index[] = new Array<Index>(shape.length).fill(ZERO_INDEX);
  let rest = flat;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] as Dim; // axis < shape.length
    if (isOne(size)) continue;
    const outermost = shape.slice(0, axis).every(isOne);
    at[axis] = outermost ? rest : remainder(rest, size);
    if (outermost) break;
    rest = quotient(rest, size);
  }
  return at;
}

/** i with variables replaced. Unnamed variables stay. */
export function substitute(i: Index, by: ReadonlyMap<string, Index>): Index {
  let result = constantIndex(i.constant);
  for (const { coefficient, atom } of i.terms) {
    result = addIndex(result, scaleIndex(substituteAtom(atom, by), coefficient));
  }
  return result;
}
function substituteAtom(atom: Atom, by: ReadonlyMap<string, Index>): Index {
  switch (atom.kind) {
    case "variable":
      return by.get(atom.name) ?? ofAtom(atom);
    case "quotient":
      return quotient(substitute(atom.of, by), atom.divisor);
    case "remainder":
      return remainder(substitute(atom.of, by), atom.divisor);
    case "product":
      return scaleIndex(substitute(atom.of, by), atom.factor);
    case "dynamic":
      return ofAtom(atom);
    default:
      return atom satisfies never;
  }
}

/** Whether a position follows from numbers that the kernel loads (gather), not from loops alone. */
export const isComputed = (i: Index): boolean => i.terms.some(({ atom }) =>
  atom.kind === "dynamic" || (atom.kind !== "variable" && isComputed(atom.of)));

/** Names of the variables i depends on, those inside dynamic indices included. */
export function variablesOf(i: Index, into = new Set<string>()): Set<string> {
  for (const { atom } of i.terms) {
    if (atom.kind === "variable") into.add(atom.name);
    else if (atom.kind === "dynamic") variablesOfValue(atom.value, into);
    else variablesOf(atom.of, into);
  }
  return into;
}
export function variablesOfValue(value: Value, into = new Set<string>(), seen = new Set<Value>()): Set<string> {
  if (seen.has(value)) return into;
  seen.add(value);
  switch (value.kind) {
    case "constant":
    case "accumulator":
      break;
    case "load":
      for (const i of value.at) variablesOf(i, into);
      break;
    case "apply":
      for (const a of value.args) variablesOfValue(a, into, seen);
      break;
    case "select":
      for (const g of value.guards) variablesOf(g.index, into);
      variablesOfValue(value.then, into, seen);
      variablesOfValue(value.otherwise, into, seen);
      break;
    case "index":
      variablesOf(value.index, into);
      break;
    case "fold":
      for (const name of variablesOfValue(value.body, new Set(), seen)) {
        if (!value.variables.some((v) => v.name === name)) into.add(name);
      }
      break;
    default:
      value satisfies never;
  }
  return into;
}

/** A guard that always holds is left out; `undefined` when one never holds. */
export function liveGuards(guards: readonly Guard[]): readonly Guard[] | undefined {
  const live: Guard[] = [];
  for (const guard of guards) {
    if (within(guard.index, guard.size)) continue;
    const { min, max } = bounds(guard.index);
    if (min && atMost(guard.size, min)) return undefined;
    if (max && atMost(max, dim(-1))) return undefined;
    live.push(guard);
  }
  return live;
}
