/** @file The shipped models as a library: what they declare by a name, and where they use something. */
import type * as ast from "../../dsl/ast.js";
import type { Declared } from "../../dsl/program.js";
import { loadProgram, readLibrary } from "../../dsl/resolve.js";
import { showLine, textOf } from "../../dsl/source.js";
import { eachBodyExpr, eachExpr, eachStatement } from "../../dsl/walk.js";
import { language } from "../language.js";
import { nodeHost } from "./host.js";

/** Longest example that fits a line. */
const LONGEST = 88;

/** The files of the library. */
export class Library {
  readonly #host = nodeHost();
  readonly #files = readLibrary(this.#host);

  /** Every name that it declares. */
  names(): readonly string[] {
    return this.#files.flatMap(({ file }) => file.declarations.map(({ name }) => name.text));
  }

  /** All declarations of a name, each with the file it is imported from. */
  declared(name: string): readonly { readonly spec: string; readonly declared: Declared }[] {
    return this.#files.filter(({ file }) => file.declarations.some((one) => one.name.text === name)).flatMap(
      ({ spec }) => {
        const { program } = loadProgram(spec, this.#host, language());
        const all: readonly Declared[] = program ? [...program.blocks, ...program.models, ...program.recipes] : [];
        return all.filter(({ declaration }) => declaration.name.text === name).map((declared) => ({ spec, declared }));
      });
  }

  /** The shortest line that calls `name`, with its place. */
  use(name: string): string | undefined {
    const found: ast.Span[] = [];
    const calls = (expr: ast.Expr): boolean => {
      let is = false;
      eachExpr(expr, (one) => (is ||= one.kind === "call" && one.callee.text === name));
      return is;
    };
    const body = (statements: ast.Body): void => eachStatement(statements, (statement) => {
      if (statement.kind === "for" || statement.kind === "if") return;
      eachBodyExpr({ statements: [statement], span: statement.span }, (expr) => {
        if (expr.kind === "call" && expr.callee.text === name) found.push(statement.span);
      });
    });
    for (const declaration of this.#files.flatMap(({ file }) => file.declarations)) {
      if (declaration.kind === "block") body(declaration.body);
      if (declaration.kind === "model" && declaration.definition !== undefined) body(declaration.definition.body);
      for (const member of declaration.kind === "recipe" ? declaration.members : []) {
        if (member.kind === "function") body(member.body);
        if (member.kind === "value" && calls(member.value)) found.push(...itemsOf(member, calls));
      }
    }
    const [first] = found.map((span) => ({ span, text: textOf(span).replace(/\s+/g, " ") }))
      .filter(({ text }) => text.length <= LONGEST).sort((a, b) => a.text.length - b.text.length);
    return first && `${first.text}  (${showLine(first.span)})`;
  }
}

/** Where a member of a recipe calls something: the item of a list, or the whole member. */
function itemsOf(
  { value, span }: Extract<ast.Member, { kind: "value" }>, calls: (expr: ast.Expr) => boolean,
): readonly ast.Span[] {
  return value.kind === "list" ? value.items.filter(calls).map((item) => item.span) : [span];
}
