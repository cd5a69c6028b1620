/**
 * @file Call arguments by the parameters they are for, and the types scalars must have.
 */
import type * as ast from "../../dsl/ast.js";
import { wholeNumber } from "./dimensions.js";
import type { Frame } from "./frame.js";
import { describe, type Value } from "./values.js";

/** An argument as given. */
export interface Actual {
  readonly value: Value;
  readonly span: ast.Span;
  /** As written, when it stands in the call. */
  readonly expr?: ast.Expr;
}

/** What is called: its name, parameters and signature as written. */
interface Callee {
  readonly name: string;
  readonly params: readonly { readonly name: ast.Name; readonly initial?: ast.Expr }[];
  signature(): string;
}

/**
 * Evaluates all arguments of a call and gives them by parameter name; undefined after `unknown_argument`,
 * `too_many_arguments`, `duplicate_name` or `missing_argument`.
 */
export function bindArguments(frame: Frame, call: ast.Call, callee: Callee): Map<string, Actual> | undefined {
  const bound = new Map<string, Actual>();
  const known = callee.params.map((p) => p.name.text);
  let position = 0;
  let complete = true;
  for (const arg of call.args) {
    const value = frame.evaluate(arg.value);
    const name = arg.name ? arg.name.text : known[position++];
    if (name === undefined) {
      const values = { callee: callee.name, given: call.args.length, taken: known.length,
        signature: callee.signature() };
      frame.fail("too_many_arguments", values, arg.span);
      complete = false;
    } else if (!known.includes(name)) {
      frame.fail("unknown_argument", { name, callee: callee.name, known }, arg.name?.span ?? arg.span);
      complete = false;
    } else if (bound.has(name)) {
      frame.fail("duplicate_name", { name, what: "the argument" }, arg.span);
      complete = false;
    } else bound.set(name, { value, span: arg.value.span, expr: arg.value });
  }
  for (const { name, initial } of callee.params) {
    // An argument nobody knew may well have been meant for this one.
    if (initial || bound.has(name.text) || !complete) continue;
    frame.fail("missing_argument", { callee: callee.name, name: name.text, signature: callee.signature() },
      call.callee.span);
    complete = false;
  }
  return complete ? bound : undefined;
}

/** `attention(x: [B, N, D], heads: int) -> [B, N, D]`, from the source. */
export function signatureOf(name: string, params: readonly ast.Param[], result?: ast.Type): string {
  const text = (span: ast.Span): string => span.source.text.slice(span.start, span.end).replace(/\s+/g, " ");
  const shown = params.map((p) => {
    const type = p.type ? `: ${text(p.type.span)}` : "";
    return p.name.text + type + (p.initial ? ` = ${text(p.initial.span)}` : "");
  });
  return `${name}(${shown.join(", ")})${result ? ` -> ${text(result.span)}` : ""}`;
}

/**
 * Whether a compile-time value suits a parameter: its declared type, else the kind of its default.
 * @param owner whose parameter it is; @param frame reports at `span`.
 */
export function checkScalar(frame: Frame, param: ast.Param, fallback: Value | undefined, actual: Actual,
  owner: string): boolean {
  const { value, span } = actual;
  if (value.kind === "error") return false;
  const wanted = param.type?.kind === "scalar" ? param.type.name : undefined;
  const fits = wanted ? fitsType(wanted, value) : fitsDefault(fallback, value);
  if (!fits) {
    const need = wanted ? TYPE_WORDS[wanted] : fallback ? kindWords(fallback) : "a value";
    frame.fail("wrong_type", { text: `\`${param.name.text}\` of \`${owner}\` takes ${need}, got ${describe(value)}` },
      span, {
      notes: [{ text: `\`${param.name.text}\` is declared here`, span: param.name.span }],
    });
    return false;
  }
  return wanted !== "int" || value.kind !== "number" || wholeNumber(frame, value, span, -Infinity);
}

const TYPE_WORDS: Readonly<Record<ast.ScalarType["name"], string>> = {
  int: "an integer", real: "a number", bool: "`true` or `false`", list: "a list",
};

function fitsType(type: ast.ScalarType["name"], value: Value): boolean {
  switch (type) {
    case "int":
    case "real": return value.kind === "number" || value.kind === "dim";
    case "bool": return value.kind === "bool";
    case "list": return value.kind === "list";
    default: return type satisfies never;
  }
}

function fitsDefault(fallback: Value | undefined, value: Value): boolean {
  if (!fallback || fallback.kind === "none" || fallback.kind === "error" || value.kind === fallback.kind) return true;
  if (fallback.kind === "number" || fallback.kind === "dim") return value.kind === "number" || value.kind === "dim";
  return fallback.kind === "initializer"
    && (value.kind === "number" || value.kind === "list" || value.kind === "tensor");
}

function kindWords(fallback: Value): string {
  switch (fallback.kind) {
    case "number":
    case "dim": return "a number";
    case "bool": return "`true` or `false`";
    case "string": return "a string";
    case "list": return "a list";
    case "initializer": return "an initializer such as `zeros` or `normal(0.02)`";
    case "quantity": return `a number of ${fallback.unit}`;
    case "tensor": return "a tensor";
    case "none":
    case "outputs":
    case "error": return "a value";
    default: return fallback satisfies never;
  }
}
