/**
 * @file Which declarations the errors of a program concern, so that all others can be checked further.
 */
import type * as ast from "./ast.js";
import type { Diagnostic } from "./diagnostics.js";
import type { Declared } from "./program.js";
import { eachBodyExpr, eachParamExpr, eachRecordExpr } from "./walk.js";

/** The declarations with an error in their own text. */
export function faultyIn(
  all: readonly Declared[], diagnostics: readonly Diagnostic[],
): ReadonlySet<ast.Declaration> {
  const holds = ({ source, start, end }: ast.Span, at: ast.Span): boolean =>
    // An error at the word that opens a declaration is about what stands before it.
    at.source === source && at.start > start && at.start < end;
  const faulty = all.filter(({ declaration }) => diagnostics.some(({ span }) => holds(declaration.span, span)));
  return new Set(faulty.map(({ declaration }) => declaration));
}

/** The declarations with an error in their own text or in that of anything they use, directly or through others. */
export function unsoundIn(
  all: readonly Declared[], diagnostics: readonly Diagnostic[],
): ReadonlySet<ast.Declaration> {
  const unsound = new Set(faultyIn(all, diagnostics));
  const users = new Map<ast.Declaration, ast.Declaration[]>();
  for (const { declaration, scope } of all) {
    for (const name of usedBy(declaration)) {
      const used = scope.lookup(name)?.declaration;
      if (scope.missing(name)) unsound.add(declaration);
      if (used === undefined) continue;
      const known = users.get(used);
      if (known === undefined) users.set(used, [declaration]);
      else known.push(declaration);
    }
  }
  // A set is walked in the order of its growth, to the last that was added.
  for (const one of unsound) for (const user of users.get(one) ?? []) unsound.add(user);
  return unsound;
}

/** The names of the declarations that one may use: what it calls, extends and instantiates. */
function usedBy(declaration: ast.Declaration): ReadonlySet<string> {
  const used = new Set<string>();
  const call = (expr: ast.Expr): void => {
    if (expr.kind === "call") used.add(expr.callee.text);
  };
  const body = ({ params, body: statements }: Pick<ast.Block, "params" | "body">): void => {
    eachParamExpr(params, call);
    eachBodyExpr(statements, call);
  };
  switch (declaration.kind) {
    case "block":
      body(declaration);
      return used;
    case "model":
      if (declaration.definition !== undefined) body(declaration.definition);
      if (declaration.extension !== undefined) {
        used.add(declaration.extension.base.text);
        eachRecordExpr(declaration.extension.overrides, call);
      }
      return used;
    case "recipe": {
      for (const member of declaration.members) if (member.kind === "function") body(member);
      // A loss calls the recipe's instances like blocks.
      for (const { kind, name } of declaration.members) if (kind === "instance") used.delete(name.text);
      if (declaration.base !== undefined) used.add(declaration.base.text);
      for (const member of declaration.members) {
        if (member.kind !== "instance") continue;
        used.add(member.model.text);
        if (member.overrides !== undefined) eachRecordExpr(member.overrides, call);
      }
      return used;
    }
    default:
      return declaration satisfies never;
  }
}
