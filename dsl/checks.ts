/**
 * @file Checks of declarations that need no shapes: who extends, calls and overrides what, and which statements may
 * stand where.
 */
import type * as ast from "./ast.js";
import type { Diagnostics } from "./diagnostics.js";
import type { Declared } from "./program.js";
import { nearest, suggest } from "./suggest.js";
import { eachBodyExpr, eachExpr, eachParamExpr, eachRecordExpr, eachStatement } from "./walk.js";

/** Which files of the library declare something of a kind: imports by name. */
export type Shipped = (kind: ast.Declaration["kind"]) => ReadonlyMap<string, string>;

/** What is known besides the program's own declarations. */
interface Known {
  readonly opNames: ReadonlySet<string>;
  readonly shipped: Shipped;
}

/** Checks all declarations of a program. */
export function checkDeclarations(all: readonly Declared[], known: Known, diagnostics: Diagnostics): void {
  const checker = new Checker(known, diagnostics);
  for (const one of all) checker.declaration(one);
  checkRecursion(all, diagnostics);
}

/** What a model's header offers, base by base; undefined when the chain is broken or a cycle. */
export function headerOf(model: Declared): readonly ast.Param[] | undefined {
  const seen = new Set<ast.Declaration>();
  let current: Declared | undefined = model;
  while (current?.declaration.kind === "model" && !seen.has(current.declaration)) {
    seen.add(current.declaration);
    if (current.declaration.definition !== undefined) return current.declaration.definition.params;
    const base: ast.Name | undefined = current.declaration.extension?.base;
    current = base === undefined ? undefined : current.scope.lookup(base.text);
  }
  return undefined;
}

type Kind = ast.Declaration["kind"];
type Place = "block" | "model" | "loss";

/** Longest chain of `extends`. */
const MOST_BASES = 64;
/** Longest chain of blocks that call each other. */
const MOST_CALLS = 200;

/** What an unknown name may have been meant to be. */
interface Unknown {
  readonly kind: Kind;
  readonly known: readonly string[];
  readonly what: string;
  readonly names: string;
}

class Checker {
  constructor(private readonly known: Known, private readonly diagnostics: Diagnostics) {}

  declaration({ declaration, scope }: Declared): void {
    const calls = this.callChecker(scope, new Set());
    switch (declaration.kind) {
      case "block":
        this.header(declaration.params);
        eachParamExpr(declaration.params, calls);
        this.body(declaration.body, "block", declaration.name, calls);
        return;
      case "model":
        return this.model(declaration, scope, calls);
      case "recipe":
        return this.recipe(declaration, scope);
      default:
        return declaration satisfies never;
    }
  }

  private model(model: ast.Model, scope: Declared["scope"], calls: (expr: ast.Expr) => void): void {
    if (model.definition !== undefined) {
      this.header(model.definition.params);
      eachParamExpr(model.definition.params, calls);
      this.body(model.definition.body, "model", model.name, calls);
    }
    if (model.extension !== undefined) {
      const { base, overrides } = model.extension;
      eachRecordExpr(overrides, calls);
      const found = this.expect(base, "model", scope, model.name.text);
      if (found === undefined || this.extendsItself(model, scope)) return;
      this.overrides(overrides, found);
    }
  }

  private recipe(recipe: ast.Recipe, scope: Declared["scope"]): void {
    this.distinct(recipe.members.map((member) => member.name), "the member");
    if (recipe.base !== undefined && this.expect(recipe.base, "recipe", scope, recipe.name.text) !== undefined) {
      this.extendsItself(recipe, scope);
    }
    const instances = instanceNames(recipe, scope);
    // A base that was not read in full may have instances that the loss calls.
    const calls = instances === undefined ? (expr: ast.Expr) => this.arguments(expr)
      : this.callChecker(scope, instances);
    for (const member of recipe.members) {
      if (member.kind === "function") {
        this.header(member.params);
        eachParamExpr(member.params, calls);
        this.body(member.body, "loss", member.name, calls);
      } else if (member.kind === "instance") {
        const found = this.expect(member.model, "model", scope);
        if (member.overrides === undefined) continue;
        eachRecordExpr(member.overrides, calls);
        if (found !== undefined) this.overrides(member.overrides, found);
      } else {
        eachExpr(member.value, (expr) => this.arguments(expr));
      }
    }
  }

  /** The declaration `name` stands for, reported unless it is of the kind wanted. */
  private expect(name: ast.Name, wanted: Kind, scope: Declared["scope"], self?: string): Declared | undefined {
    const found = scope.lookup(name.text);
    if (scope.missing(name.text)) return undefined;
    if (found === undefined) {
      const known = scope.names().filter((one) => one !== self && scope.lookup(one)?.declaration.kind === wanted);
      this.unknown(name, { known, kind: wanted, what: wanted, names: `${wanted}s known here` });
      return undefined;
    }
    const is = found.declaration.kind;
    if (is === wanted) return found;
    const notes = [{ text: `\`${name.text}\` is declared here`, span: found.declaration.name.span }];
    this.diagnostics.report("not_a_model", { name: name.text, is, wanted }, name.span, { notes });
    return undefined;
  }

  /** Reports an unknown name; one that the library has is advised to be imported. */
  private unknown({ text, span }: ast.Name, { kind, known, ...words }: Unknown): void {
    const shipped = this.known.shipped(kind);
    const meant = shipped.has(text) ? text
      : nearest(text, known) === undefined ? nearest(text, shipped.keys()) : undefined;
    const help = meant === undefined ? suggest(text, known, words.names)
      : `${meant === text ? "import it" : `did you mean \`${meant}\`? Import it`}: ` +
        `\`import { ${meant} } from "${shipped.get(meant) ?? ""}"\``;
    this.diagnostics.report("unknown_name", { name: text, known, help, ...words }, span);
  }

  /** Reports a cycle of `extends` that runs through `declaration`. */
  private extendsItself(declaration: ast.Model | ast.Recipe, scope: Declared["scope"]): boolean {
    const chain: ast.Declaration[] = [];
    let current: Declared | undefined = { declaration, scope };
    while (current !== undefined && !chain.includes(current.declaration)) {
      chain.push(current.declaration);
      if (chain.length > MOST_BASES) {
        const what = `\`${declaration.name.text}\``;
        const values = { what, limit: MOST_BASES, help: "extend one closer to the start of the chain" };
        this.diagnostics.report("too_deep", values, declaration.name.span);
        return true;
      }
      const base = baseOf(current.declaration);
      current = base === undefined ? undefined : current.scope.lookup(base.text);
    }
    if (current?.declaration !== declaration) return current !== undefined;
    const cycle = [...chain, declaration].map((one) => one.name.text);
    const first = chain.reduce((a, b) => (b.name.span.start < a.name.span.start ? b : a), declaration);
    if (first === declaration) {
      this.diagnostics.report("extends_cycle", { cycle }, (baseOf(declaration) ?? declaration.name).span);
    }
    return true;
  }

  private overrides(record: ast.Record_, model: Declared): void {
    this.distinct(record.fields.map((field) => field.name), "the override");
    const header = headerOf(model);
    if (header === undefined) return;
    const known = header.map((param) => param.name.text);
    for (const { name } of record.fields) {
      if (known.includes(name.text)) continue;
      this.diagnostics.report(
        "unknown_override", { name: name.text, model: model.declaration.name.text, known }, name.span
      );
    }
  }

  private header(params: readonly ast.Param[]): void {
    this.distinct(params.map((param) => param.name), "the parameter");
  }

  private distinct(names: readonly ast.Name[], what: string): void {
    const seen = new Map<string, ast.Name>();
    for (const name of names) {
      const first = seen.get(name.text);
      if (first === undefined) seen.set(name.text, name);
      else {
        const notes = [{ text: `the first \`${name.text}\` is here`, span: first.span }];
        this.diagnostics.report("duplicate_name", { name: name.text, what }, name.span, { notes });
      }
    }
  }

  private body(body: ast.Body, place: Place, name: ast.Name, calls: (expr: ast.Expr) => void): void {
    eachBodyExpr(body, calls);
    const found = new Set<ast.Statement["kind"]>();
    eachStatement(body, (statement) => {
      found.add(statement.kind);
      if (statement.kind === "assign") this.distinct(statement.targets, "the result");
      const help = misplaced[place][statement.kind];
      if (help === undefined) return;
      this.diagnostics.report("misplaced_statement", { what: statement.kind, where: place, help }, statement.span);
    });
    if (place !== "model" && !found.has("return")) {
      this.diagnostics.report(
        "missing_return", { what: place === "loss" ? "function" : "block", name: name.text }, name.span
      );
    }
    if (place === "model" && !found.has("output") && !found.has("return")) {
      this.diagnostics.report("missing_output", { model: name.text }, name.span);
    }
    if (place === "model" && !found.has("input")) {
      this.diagnostics.report("missing_input", { model: name.text }, name.span);
    }
  }

  /** Named arguments are distinct, and come after the others. */
  private arguments(expr: ast.Expr): void {
    if (expr.kind !== "call") return;
    this.distinct(expr.args.flatMap((arg) => (arg.name === undefined ? [] : [arg.name])), "the argument");
    const named = expr.args.findIndex((arg) => arg.name !== undefined);
    const late = named < 0 ? undefined : expr.args.slice(named).find((arg) => arg.name === undefined);
    if (late === undefined) return;
    const values = {
      expected: "a named argument", found: "a positional one", help: "positional arguments go before named ones"
    };
    this.diagnostics.report("unexpected_token", values, late.span);
  }

  /** Checks what a call in `scope` calls; a loss may also call the recipe's instances. */
  private callChecker(scope: Declared["scope"], instances: ReadonlySet<string>): (expr: ast.Expr) => void {
    return (expr) => {
      this.arguments(expr);
      if (expr.kind !== "call") return;
      const { text, span } = expr.callee;
      if (instances.has(text) || scope.missing(text)) return;
      const is = scope.lookup(text)?.declaration.kind;
      if (is === "block" || (is === undefined && this.known.opNames.has(text))) return;
      if (is === undefined) {
        const blocks = scope.names().filter((one) => scope.lookup(one)?.declaration.kind === "block");
        const known = [...blocks, ...instances, ...this.known.opNames];
        this.unknown(expr.callee, { known, kind: "block", what: "block or op", names: "blocks and ops" });
      } else {
        this.diagnostics.report(
          "not_a_model", { name: text, is, wanted: "block or op", help: "only blocks and ops can be called" }, span
        );
      }
    };
  }
}

/** Statements that may not stand somewhere, with what to do. */
const misplaced: Readonly<Record<Place, Partial<Record<ast.Statement["kind"], string>>>> = {
  block: { input: "make it a parameter of the block", output: "return the value with `return`" },
  model: { return: "name the result: `output logits = …`" },
  loss: {
    input: "make it a parameter of the loss",
    output: "return the value with `return`",
    param: "parameters belong to models",
    buffer: "buffers belong to models", update: "buffers belong to models",
  },
};

const baseOf = (declaration: ast.Declaration): ast.Name | undefined =>
  declaration.kind === "model" ? declaration.extension?.base
  : declaration.kind === "recipe" ? declaration.base
  : undefined;

/** Names of the models a recipe instantiates, its bases' included; undefined if a base was not read in full. */
function instanceNames(recipe: ast.Recipe, scope: Declared["scope"]): ReadonlySet<string> | undefined {
  const names = new Set<string>();
  const seen = new Set<ast.Declaration>();
  let current: Declared | undefined = { declaration: recipe, scope };
  while (current?.declaration.kind === "recipe" && !seen.has(current.declaration)) {
    seen.add(current.declaration);
    for (const member of current.declaration.members) if (member.kind === "instance") names.add(member.name.text);
    const base: ast.Name | undefined = current.declaration.base;
    if (base !== undefined && current.scope.missing(base.text)) return undefined;
    current = base === undefined ? undefined : current.scope.lookup(base.text);
  }
  return names;
}

/** Reports each cycle of calls between blocks once, at the call that closes it. */
function checkRecursion(all: readonly Declared[], diagnostics: Diagnostics): void {
  const done = new Set<ast.Declaration>();
  const path: ast.Block[] = [];
  const visit = ({ declaration, scope }: Declared): void => {
    if (declaration.kind !== "block" || done.has(declaration)) return;
    path.push(declaration);
    const called = (expr: ast.Expr): void => {
      if (expr.kind !== "call") return;
      const target = scope.lookup(expr.callee.text);
      if (target?.declaration.kind !== "block") return;
      const start = path.indexOf(target.declaration);
      if (start < 0 && path.length < MOST_CALLS) return visit(target);
      if (start < 0) {
        diagnostics.report(
          "too_deep", { what: "this call", limit: MOST_CALLS, help: "nest fewer block calls" }, expr.span
        );
        return;
      }
      const cycle = [...path.slice(start), target.declaration].map((block) => block.name.text);
      diagnostics.report("recursive_block", { cycle }, expr.span);
    };
    eachParamExpr(declaration.params, called);
    eachBodyExpr(declaration.body, called);
    path.pop();
    done.add(declaration);
  };
  for (const one of all) visit(one);
}
