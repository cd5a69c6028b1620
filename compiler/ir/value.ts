/**
 * @file What one element of a tensor is, symbolically: integer index expressions over loop variables, and scalar values
 * over loads. Movement ops disappear here: they only change the index of a load.
 */
import type { Dim } from "./dim.js";
import type { DType, Node } from "./graph.js";

/**
 * A whole number: Σ coefficient·atom + constant, canonical (sorted, no zero term). Coefficients and the constant may
 * hold B. Made by the functions of `index.ts` only.
 */
export interface Index {
  readonly terms: readonly Term[];
  readonly constant: Dim;
}
export interface Term {
  readonly coefficient: Dim;
  readonly atom: Atom;
}
export type Atom =
  /** A loop variable in [0, size). */
  | { readonly kind: "variable"; readonly name: string; readonly size: Dim }
  /** ⌊x / divisor⌋ and x mod divisor of a non-negative x, where no simpler form exists. */
  | { readonly kind: "quotient"; readonly of: Index; readonly divisor: Dim }
  | { readonly kind: "remainder"; readonly of: Index; readonly divisor: Dim }
  /** x · factor where that would hold B² and is no sum of terms any more. */
  | { readonly kind: "product"; readonly of: Index; readonly factor: Dim }
  /** A computed index in [0, size) (gather). */
  | { readonly kind: "dynamic"; readonly value: Value; readonly size: Dim };

/** 0 ≤ index < size. */
export interface Guard {
  readonly index: Index;
  readonly size: Dim;
}

export type Value =
  | { readonly kind: "constant"; readonly value: number; readonly dtype: DType }
  /** The element of `node` at these coordinates. */
  | { readonly kind: "load"; readonly node: Node; readonly at: readonly Index[] }
  /** Elementwise op `op` of a record. */
  | { readonly kind: "apply"; readonly op: string; readonly args: readonly Value[]; readonly dtype: DType }
  /** `then` where all guards hold; `then` is not evaluated elsewhere. */
  | { readonly kind: "select"; readonly guards: readonly Guard[]; readonly then: Value; readonly otherwise: Value }
  /** An index as an i32 number. */
  | { readonly kind: "index"; readonly index: Index }
  /** What the kernel's anchor (contraction, attention) computed for this element. Made by fusion, never by `pull`. */
  | { readonly kind: "accumulator" }
  /** Op `op`'s fold of `body` over its variables, all values of each. Made by fusion. */
  | { readonly kind: "fold"; readonly op: string; readonly variables: readonly FoldVariable[]; readonly body: Value };

export interface FoldVariable {
  readonly name: string;
  readonly size: Dim;
}
