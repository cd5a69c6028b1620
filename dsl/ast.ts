/**
 * @file The syntax tree of `.deit` files: readonly nodes, each with its span. One type per grammar rule that means
 * something of its own.
 */

/** A source text. `path` is what diagnostics print. */
export interface Source {
  readonly path: string;
  readonly text: string;
}

/** A half-open range of UTF-16 offsets in one source. */
export interface Span {
  readonly source: Source;
  readonly start: number;
  readonly end: number;
}

export interface Name {
  readonly text: string;
  readonly span: Span;
}

export interface File {
  readonly source: Source;
  readonly imports: readonly Import[];
  readonly declarations: readonly Declaration[];
  /** Names of declarations that were not read, or not in full, because their text has syntax errors. */
  readonly broken: ReadonlySet<string>;
  /** Whether an error may hide a declaration or an import whose name is not known. */
  readonly unclear: boolean;
}

export interface Import {
  readonly kind: "import";
  readonly names: readonly Name[];
  readonly from: StringLiteral;
  readonly span: Span;
}

export type Declaration = Block | Model | Recipe;

interface Documented {
  /** Text of the `///` lines above, without the slashes, joined by newlines; empty when there are none. */
  readonly doc: string;
  readonly span: Span;
}

export interface Block extends Documented {
  readonly kind: "block";
  readonly name: Name;
  readonly params: readonly Param[];
  readonly result: Type;
  readonly body: Body;
}

export interface Model extends Documented {
  readonly kind: "model";
  readonly name: Name;
  /** `model NAME(params) body`. */
  readonly definition?: { readonly params: readonly Param[]; readonly body: Body };
  /** `model NAME extends BASE record`. */
  readonly extension?: { readonly base: Name; readonly overrides: Record_ };
}

export interface Recipe extends Documented {
  readonly kind: "recipe";
  readonly name: Name;
  readonly base?: Name;
  readonly members: readonly Member[];
}

export type Member = ValueMember | InstanceMember | FunctionMember;

/** `lr = 1e-3`. */
export interface ValueMember extends Documented {
  readonly kind: "value";
  readonly name: Name;
  readonly value: Expr;
}

/** `teacher: regnety_160 { image = 224 } frozen from "…"`. */
export interface InstanceMember extends Documented {
  readonly kind: "instance";
  readonly name: Name;
  readonly model: Name;
  readonly overrides?: Record_;
  readonly frozen: boolean;
  readonly weights?: StringLiteral;
}

/** `loss(images: [B, 3, H, W]) { … }`. */
interface FunctionMember extends Documented {
  readonly kind: "function";
  readonly name: Name;
  readonly params: readonly Param[];
  readonly body: Body;
}

/** `{ name = expr … }`. */
export interface Record_ {
  readonly fields: readonly { readonly name: Name; readonly value: Expr }[];
  readonly span: Span;
}

export interface Param extends Documented {
  readonly name: Name;
  readonly type?: Type;
  readonly initial?: Expr;
}

export type Type = ScalarType | TensorType;

export interface ScalarType {
  readonly kind: "scalar";
  readonly name: "int" | "real" | "bool" | "list";
  readonly span: Span;
}

export interface TensorType {
  readonly kind: "tensor";
  readonly dtype: "f32" | "i32";
  readonly dims: readonly DimType[];
  readonly span: Span;
}

/** `..` any leading dimensions, `_` inferred, or an expression (a capital name alone binds). */
export type DimType =
  | { readonly kind: "rest"; readonly span: Span }
  | { readonly kind: "inferred"; readonly span: Span }
  | { readonly kind: "expr"; readonly expr: Expr; readonly span: Span };

export interface Body {
  readonly statements: readonly Statement[];
  readonly span: Span;
}

export type Statement =
  | { readonly kind: "assign"; readonly targets: readonly Name[]; readonly value: Expr; readonly span: Span }
  | { readonly kind: "return"; readonly value: Expr; readonly span: Span }
  | {
    readonly kind: "param"; readonly name: Name; readonly type: Type; readonly initial: Expr;
    readonly noDecay: boolean; readonly span: Span
  }
  | { readonly kind: "buffer"; readonly name: Name; readonly type: Type; readonly initial: Expr; readonly span: Span }
  | { readonly kind: "update"; readonly name: Name; readonly value: Expr; readonly span: Span }
  | { readonly kind: "input"; readonly name: Name; readonly type: Type; readonly span: Span }
  | { readonly kind: "output"; readonly name: Name; readonly value: Expr; readonly span: Span }
  | {
    readonly kind: "for"; readonly name: Name; readonly from: Expr; readonly to: Expr;
    readonly body: Body; readonly span: Span
  }
  | If;

export interface If {
  readonly kind: "if";
  readonly test: Expr;
  readonly body: Body;
  readonly otherwise?: Body | If;
  readonly span: Span;
}

export type BinaryOperator = "+" | "-" | "*" | "/" | "%" | "^" | "==" | "!=" | "<=" | ">=" | "<" | ">" | "and" | "or";

export type Expr =
  | { readonly kind: "number"; readonly value: number; readonly span: Span }
  | { readonly kind: "quantity"; readonly value: number; readonly unit: Unit; readonly span: Span }
  | StringLiteral
  | { readonly kind: "bool"; readonly value: boolean; readonly span: Span }
  | { readonly kind: "none"; readonly span: Span }
  | { readonly kind: "name"; readonly name: string; readonly span: Span }
  | { readonly kind: "list"; readonly items: readonly Expr[]; readonly span: Span }
  | Call
  | { readonly kind: "index"; readonly object: Expr; readonly indices: readonly Index[]; readonly span: Span }
  | { readonly kind: "member"; readonly object: Expr; readonly name: Name; readonly span: Span }
  | { readonly kind: "unary"; readonly operator: "-" | "not"; readonly operand: Expr; readonly span: Span }
  | {
    readonly kind: "binary"; readonly operator: BinaryOperator; readonly left: Expr; readonly right: Expr;
    readonly span: Span
  }
  | {
    readonly kind: "conditional"; readonly test: Expr; readonly then: Expr; readonly otherwise: Expr;
    readonly span: Span
  };

/** Canonical (plural) unit names. */
export type Unit = "images" | "epochs" | "steps";

/** `"blocks.{i}"`: text pieces and the expressions between them; a plain string has one text piece. */
export interface StringLiteral {
  readonly kind: "string";
  readonly parts: readonly (string | Expr)[];
  readonly span: Span;
}

export interface Call {
  readonly kind: "call";
  readonly callee: Name;
  readonly args: readonly { readonly name?: Name; readonly value: Expr; readonly span: Span }[];
  readonly as?: StringLiteral;
  readonly span: Span;
}

/** One subscript: a single position, or `from:to:step` with any part left out. */
export type Index =
  | { readonly kind: "at"; readonly value: Expr; readonly span: Span }
  | { readonly kind: "slice"; readonly from?: Expr; readonly to?: Expr; readonly step?: Expr; readonly span: Span };
