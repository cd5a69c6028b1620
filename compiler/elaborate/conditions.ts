/**
 * @file What a condition and a text with `{…}` come to: values that decide what is elaborated.
 */
import type { Expr, StringLiteral } from "../../dsl/ast.js";
import type { Frame } from "./frame.js";
import { TEXT_LENGTH } from "./limits.js";
import { describe, show, showType } from "./values.js";

/** The truth of a compile-time condition; undefined after a diagnostic. */
export function condition(frame: Frame, expr: Expr, where: "if" | "?:"): boolean | undefined {
  const value = frame.evaluate(expr);
  if (value.kind === "bool") return value.value;
  if (value.kind === "error") return undefined;
  if (value.kind === "tensor") {
    frame.fail("tensor_condition", { where: `\`${where}\``, text: showType(value.node) }, expr.span);
  } else if (value.kind === "dim") {
    frame.fail("symbolic_batch", { where: "a condition" }, expr.span);
  } else {
    frame.fail("wrong_type", { text: `\`${where}\` needs a boolean, got ${describe(value)}` }, expr.span);
  }
  return undefined;
}

/** A string with its `{…}` filled in by numbers, strings and booleans. */
export function interpolate(frame: Frame, literal: StringLiteral): string | undefined {
  let text = "";
  for (const part of literal.parts) {
    if (typeof part === "string") {
      text += part;
      continue;
    }
    const value = frame.evaluate(part);
    if (value.kind === "error") return undefined;
    if (value.kind === "dim") {
      frame.fail("symbolic_batch", { where: "a name" }, part.span);
      return undefined;
    }
    if (value.kind !== "number" && value.kind !== "string" && value.kind !== "bool") {
      frame.fail("wrong_type", { text: `a name takes numbers and strings, got ${describe(value)}` }, part.span);
      return undefined;
    }
    text += value.kind === "string" ? value.value : show(value);
    // A text may hold itself twice, in a loop.
    if (text.length > TEXT_LENGTH) break;
  }
  if (text.length <= TEXT_LENGTH) return text;
  const size = `${text.length} characters`;
  frame.fail("too_large", { what: "this string", size, limit: `${TEXT_LENGTH}` }, literal.span);
  return undefined;
}
