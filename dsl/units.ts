/**
 * @file What a recipe's expressions are, without running them: numbers, counts with units, and the rest.
 */
import type * as ast from "./ast.js";
import type { Diagnostics } from "./diagnostics.js";

/** What is known of a value. */
export type Kind =
  | { readonly is: "number" | "bool" | "string" | "list" | "none" | "call" | "unknown" }
  | { readonly is: "quantity"; readonly unit: ast.Unit };

/** The units a time can have. */
export const timeUnits: readonly ast.Unit[] = ["epochs", "steps"];

const UNKNOWN: Kind = { is: "unknown" };
const NUMBER: Kind = { is: "number" };
const BOOL: Kind = { is: "bool" };

/** What the names in an expression stand for. */
export interface Names {
  member(name: string): ast.Member | undefined;
  names(): readonly string[];
  /** Functions of numbers. */
  readonly functions: ReadonlySet<string>;
  /** Units that the schema wants of a member; another value is reported there, and unknown elsewhere. */
  units(name: string): readonly ast.Unit[] | undefined;
  /** Kinds of members already found: what they read is read once. */
  readonly known: Map<string, Kind>;
}

/** "a number", "epochs", "a list". */
export function showKind(kind: Kind): string {
  if (kind.is === "quantity") return kind.unit;
  return kind.is === "none" ? "`none`" : `a ${kind.is}`;
}

/** The kind of `expr`; mistakes in it are reported, and give `unknown`, so that each is reported once. */
export function kindOf(expr: ast.Expr, names: Names, diagnostics: Diagnostics, reading: readonly string[] = []): Kind {
  const of = (inner: ast.Expr): Kind => kindOf(inner, names, diagnostics, reading);
  switch (expr.kind) {
    case "number": return NUMBER;
    case "quantity": return { is: "quantity", unit: expr.unit };
    case "string":
    case "bool":
    case "none": return { is: expr.kind };
    case "list":
      expr.items.forEach(of);
      return { is: "list" };
    case "name": return nameKind(expr.name, expr.span, names, diagnostics, reading);
    case "call":
      expr.args.forEach((arg) => of(arg.value));
      if (names.functions.has(expr.callee.text)) return UNKNOWN;
      diagnostics.report(
        "unknown_name", { name: expr.callee.text, known: names.functions, what: "function" }, expr.callee.span
      );
      return UNKNOWN;
    case "index":
    case "member": return UNKNOWN;
    case "unary": return expr.operator === "not" ? BOOL : of(expr.operand);
    case "binary": return binaryKind(expr, of(expr.left), of(expr.right), diagnostics);
    case "conditional": {
      of(expr.test);
      const [then, otherwise] = [of(expr.then), of(expr.otherwise)];
      return sameKind(then, otherwise) ? then : UNKNOWN;
    }
    default: return expr satisfies never;
  }
}

const sameKind = (a: Kind, b: Kind): boolean => a.is === b.is && (
  a.is !== "quantity" || b.is !== "quantity" || a.unit === b.unit
);

function nameKind(
  name: string, span: ast.Span, names: Names, diagnostics: Diagnostics, reading: readonly string[]
): Kind {
  const member = names.member(name);
  if (member === undefined) {
    diagnostics.report(
      "unknown_name", { name, known: names.names(), what: "member", names: "members of the recipe" }, span
    );
    return UNKNOWN;
  }
  if (member.kind !== "value") return UNKNOWN;
  if (reading.includes(name)) {
    diagnostics.report(
      "value_error", { text: `\`${name}\` is defined in terms of itself`, help: "give it a value of its own" }, span
    );
    return UNKNOWN;
  }
  // A call such as an optimizer is checked where it stands, with its own vocabulary.
  if (member.value.kind === "call") return UNKNOWN;
  const found = names.known.get(name) ?? kindOf(member.value, names, diagnostics, [...reading, name]);
  const units = names.units(name);
  const kind = units === undefined || (found.is === "quantity" && units.includes(found.unit)) ? found : UNKNOWN;
  names.known.set(name, kind);
  return kind;
}

const isQuantity = (kind: Kind): kind is Extract<Kind, { is: "quantity" }> => kind.is === "quantity";

/** Units under arithmetic: equal ones add, compare and divide to a number; a number scales a count. */
function binaryKind(
  expr: Extract<ast.Expr, { kind: "binary" }>, left: Kind, right: Kind, diagnostics: Diagnostics
): Kind {
  const { operator } = expr;
  if (operator === "and" || operator === "or") return BOOL;
  const compares = !["+", "-", "*", "/", "%", "^"].includes(operator);
  if (left.is === "unknown" || right.is === "unknown") return compares ? BOOL : UNKNOWN;
  if (!isQuantity(left) && !isQuantity(right)) return compares ? BOOL : NUMBER;
  const same = isQuantity(left) && isQuantity(right) && left.unit === right.unit;
  if (compares) {
    if (same) return BOOL;
  } else if (operator === "+" || operator === "-" || operator === "%") {
    if (same) return left;
  } else if (operator === "*") {
    if (left.is === "number") return right;
    if (right.is === "number") return left;
  } else if (operator === "/") {
    if (same) return NUMBER;
    if (right.is === "number") return left;
  }
  const unit = isQuantity(left) ? left.unit : isQuantity(right) ? right.unit : "steps";
  const values = {
    what: `\`${operator}\``, found: `${showKind(left)} and ${showKind(right)}`, units: ["equal units"],
    help: same
      ? "divide by the same unit first, as in `batch / 1 images`"
      : `write ${unit} on both sides, or divide by the same unit first`,
  };
  diagnostics.report("wrong_unit", values, expr.span);
  return UNKNOWN;
}
