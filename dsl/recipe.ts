/**
 * @file Checks of recipes against the schema of `vocabulary.ts`: members, units, calls, constants that nobody reads.
 */
import type * as ast from "./ast.js";
import type { Diagnostics } from "./diagnostics.js";
import type { Declared, Scope } from "./program.js";
import { paramsOf } from "./signature.js";
import { textOf } from "./source.js";
import { listNames, nearest } from "./suggest.js";
import { kindOf, showKind, timeUnits } from "./units.js";
import type { Kind, Names } from "./units.js";
import { members as schema } from "./vocabulary.js";
import type { Accepts, MemberRule, RecipeCalls } from "./vocabulary.js";
import { eachBodyExpr, eachExpr, eachParamExpr, eachRecordExpr } from "./walk.js";

/** A member with the recipe that states it and the names it sees. */
export interface RecipeMember {
  readonly member: ast.Member;
  readonly recipe: ast.Recipe;
  readonly scope: Scope;
}

/**
 * The members of a recipe with those of its bases, overridden ones replaced; in order of first statement, base first.
 */
export function membersOf(recipe: Declared<ast.Recipe>): ReadonlyMap<string, RecipeMember> {
  const chain: Declared<ast.Recipe>[] = [];
  let current: Declared | undefined = recipe;
  while (isRecipe(current) && !chain.some((one) => one.declaration === current?.declaration)) {
    chain.unshift(current);
    const base: ast.Name | undefined = current.declaration.base;
    current = base === undefined ? undefined : current.scope.lookup(base.text);
  }
  const all = new Map<string, RecipeMember>();
  for (const { declaration, scope } of chain) {
    for (const member of declaration.members) all.set(member.name.text, { member, recipe: declaration, scope });
  }
  return all;
}

const isRecipe = (one: Declared | undefined): one is Declared<ast.Recipe> => one?.declaration.kind === "recipe";

/** What recipes may call: functions of numbers, and the vocabulary by family. */
interface Callables {
  readonly opNames: ReadonlySet<string>;
  readonly calls: RecipeCalls;
}

/** Checks the recipes of a program whose names and bases are sound; the others count as heirs only. */
export function checkRecipes(
  all: readonly Declared[], isSound: (recipe: ast.Recipe) => boolean, callables: Callables, diagnostics: Diagnostics,
): void {
  const recipes = all.filter(isRecipe);
  const heirs = (recipe: ast.Recipe): readonly Declared<ast.Recipe>[] =>
    recipes.filter((one) => one.declaration !== recipe && [...basesOf(one)].includes(recipe));
  for (const one of recipes.filter(({ declaration }) => isSound(declaration))) {
    new RecipeChecker(one, heirs(one.declaration), callables, diagnostics).check();
  }
}

function* basesOf(recipe: Declared<ast.Recipe>): Iterable<ast.Recipe> {
  const seen = new Set<ast.Recipe>();
  let current: Declared | undefined = recipe;
  while (isRecipe(current) && !seen.has(current.declaration)) {
    seen.add(current.declaration);
    yield current.declaration;
    const base: ast.Name | undefined = current.declaration.base;
    current = base === undefined ? undefined : current.scope.lookup(base.text);
  }
}

/** Names that a recipe's members read. */
function readNames(all: ReadonlyMap<string, RecipeMember>): ReadonlySet<string> {
  const read = new Set<string>();
  const note = (expr: ast.Expr): void => {
    if (expr.kind === "name") read.add(expr.name);
    if (expr.kind === "call") read.add(expr.callee.text);
  };
  for (const { member } of all.values()) {
    if (member.kind === "value") eachExpr(member.value, note);
    if (member.kind === "instance" && member.overrides !== undefined) eachRecordExpr(member.overrides, note);
    if (member.kind === "function") {
      eachParamExpr(member.params, note);
      eachBodyExpr(member.body, note);
    }
  }
  return read;
}

class RecipeChecker {
  private readonly all: ReadonlyMap<string, RecipeMember>;
  private readonly name: string;
  private readonly known = new Map<string, Kind>();

  constructor(
    private readonly recipe: Declared<ast.Recipe>, private readonly heirs: readonly Declared<ast.Recipe>[],
    private readonly callables: Callables, private readonly diagnostics: Diagnostics,
  ) {
    this.all = membersOf(recipe);
    this.name = recipe.declaration.name.text;
  }

  check(): void {
    const unused = this.unused();
    for (const { member } of this.all.values()) if (!unused.members.has(member)) this.member(member);
    // A recipe others extend may leave members to them.
    if (this.heirs.length === 0) this.missing(unused.meant);
  }

  private member(member: ast.Member): void {
    const rule = Object.hasOwn(schema, member.name.text) ? schema[member.name.text] : undefined;
    switch (member.kind) {
      case "value":
        if (rule === undefined) return void this.kind(member.value);
        return this.value(member.name.text, member.value, rule.accepts, rule.example);
      case "instance":
        if (rule !== undefined) return this.wrongKind(member, rule);
        if (member.frozen && member.weights === undefined) {
          this.diagnostics.report(
            "frozen_without_weights", { name: member.name.text, model: member.model.text }, member.span
          );
        }
        return;
      case "function":
        if (rule !== undefined) return this.wrongKind(member, rule);
        if (member.name.text !== "loss") {
          this.diagnostics.report("unused_constant", { name: member.name.text, known: ["loss"] }, member.name.span);
        }
        return;
      default:
        return member satisfies never;
    }
  }

  private wrongKind(member: ast.Member, rule: MemberRule): void {
    const text =
      `\`${member.name.text}\` is a value of the recipe, not ${member.kind === "instance" ? "a model" : "a function"}`;
    this.diagnostics.report("wrong_type", { text, help: `write \`${rule.example}\`` }, member.name.span);
  }

  /** Reports constants nobody reads, which need no further check. `meant`: the members they probably should be. */
  private unused(): { readonly members: ReadonlySet<ast.Member>; readonly meant: ReadonlySet<string> } {
    const members = new Set<ast.Member>();
    const typos = new Set<string>();
    const read = new Set([this.recipe, ...this.heirs].flatMap((one) => [...readNames(membersOf(one))]));
    for (const member of this.recipe.declaration.members) {
      const { text, span } = member.name;
      if (member.kind !== "value" || Object.hasOwn(schema, text) || read.has(text)) continue;
      const known = [...Object.keys(schema), "loss"];
      const meant = nearest(text, known);
      if (meant !== undefined) typos.add(meant);
      members.add(member);
      const help = meant === undefined ? this.argumentHelp(text) : undefined;
      this.diagnostics.report("unused_constant", { name: text, known, ...(help === undefined ? {} : { help }) }, span);
    }
    for (const member of this.recipe.declaration.members) {
      const meant = member.kind === "function" ? nearest(member.name.text, ["loss"]) : undefined;
      if (meant !== undefined) typos.add(meant);
    }
    return { members, meant: typos };
  }

  /** Help for a member that has the name of an argument of some call. */
  private argumentHelp(name: string): string | undefined {
    const owners = Object.values(this.callables.calls).flatMap((calls) => Object.entries(calls)).filter(
      ([, signature]) => paramsOf(signature).some((param) => param.name.text === name));
    return owners.length === 0 ? undefined
      : `use it in the loss, or pass it to ${listNames(owners.map(([owner]) => owner), "or")}, as \`${name} = …\``;
  }

  private missing(typos: ReadonlySet<string>): void {
    const span = this.recipe.declaration.name.span;
    const lacks = (member: string, example: string, text?: string): void => {
      if (typos.has(member)) return;
      const values = { recipe: this.name, member, example, ...(text === undefined ? {} : { text }) };
      this.diagnostics.report("missing_member", values, span);
    };
    for (const [member, rule] of Object.entries(schema)) {
      if (rule.required === true && !this.all.has(member)) lacks(member, rule.example);
    }
    const found = [...this.all.values()];
    if (!this.all.has("loss")) lacks("loss", "loss(images: [B, 3, H, W], labels: i32[B]) { … }");
    if (!found.some(({ member }) => member.kind === "instance" && !member.frozen)) {
      lacks("student", "student: NAME_OF_A_MODEL", `the recipe \`${this.name}\` has no model to train`);
    }
  }

  /** The kind of an expression; names stand for the recipe's other members. */
  private kind(expr: ast.Expr): Kind {
    const names: Names = {
      member: (name) => this.all.get(name)?.member, names: () => [...this.all.keys()], units: unitsOf,
      functions: this.callables.opNames, known: this.known,
    };
    return kindOf(expr, names, this.diagnostics);
  }

  private value(what: string, expr: ast.Expr, accepts: Accepts, example: string): void {
    switch (accepts.is) {
      case "quantity":
        return this.quantity(what, expr, this.kind(expr), accepts.units);
      case "number":
        return this.number(what, expr, accepts);
      case "word":
        if (expr.kind === "name" && accepts.words.includes(expr.name)) return;
        return this.wrong(`\`${what}\` takes ${listNames(accepts.words, "or")}`, expr, example);
      case "strings":
        if (expr.kind === "list" && expr.items.every((item) => item.kind === "string")) return;
        return this.wrong(`\`${what}\` takes a list of strings`, expr, example);
      case "call":
        return this.calls(what, expr, accepts, example);
      default:
        return accepts satisfies never;
    }
  }

  private wrong(text: string, expr: ast.Expr, example: string): void {
    const got = textOf(expr.span);
    const shown = got.length > 40 ? `${got.slice(0, 40)}…` : got;
    this.diagnostics.report(
      "wrong_type", { text: `${text}, got \`${shown}\``, help: `for example, write \`${example}\`` }, expr.span
    );
  }

  private quantity(what: string, expr: ast.Expr, kind: Kind, units: readonly ast.Unit[]): void {
    if (kind.is === "unknown") return;
    if (kind.is === "quantity" && units.includes(kind.unit)) return this.checkCount(what, expr);
    const value = expr.kind === "number" || expr.kind === "quantity" ? String(expr.value) : "5";
    if (kind.is === "number") this.diagnostics.report("missing_unit", { what, value, units }, expr.span);
    else if (kind.is === "quantity") {
      this.diagnostics.report("wrong_unit", { what: `\`${what}\``, found: kind.unit, units, value }, expr.span);
    }
    else this.wrong(`\`${what}\` takes a number of ${units.join(" or ")}`, expr, `${what} = 5 ${units[0] ?? ""}`);
  }

  /** Images and steps are whole; epochs need not be, but there are some. */
  private checkCount(what: string, expr: ast.Expr): void {
    if (expr.kind !== "quantity" || (expr.value > 0 && (expr.unit === "epochs" || Number.isInteger(expr.value)))) {
      return;
    }
    this.diagnostics.report("not_an_integer", { what: `\`${what}\``, value: expr.value }, expr.span);
  }

  private number(what: string, expr: ast.Expr, { least, most, whole }: Extract<Accepts, { is: "number" }>): void {
    if (!this.plain(what, expr, this.kind(expr))) return;
    const value = numberOf(expr);
    if (value === undefined) return;
    if (value < least || value > most) {
      const text = `\`${what}\` must be between ${least} and ${most}, got ${value}`;
      this.diagnostics.report("value_error", { text, help: "choose a value in that range" }, expr.span);
    } else if (whole === true && !Number.isInteger(value)) {
      this.diagnostics.report("not_an_integer", { what: `\`${what}\``, value, positive: false }, expr.span);
    }
  }

  /** Whether a value is a number without unit, reported if not. */
  private plain(what: string, expr: ast.Expr, kind: Kind): boolean {
    if (kind.is === "number" || kind.is === "unknown") return true;
    if (kind.is === "quantity") {
      const value = expr.kind === "quantity" ? `\`${expr.value}\`` : "it";
      this.diagnostics.report("wrong_unit", { what: `\`${what}\``, found: kind.unit, units: [], value }, expr.span);
    } else {
      this.diagnostics.report(
        "wrong_type", { text: `\`${what}\` takes a number, got ${showKind(kind)}`, help: "write a number" }, expr.span
      );
    }
    return false;
  }

  private calls(what: string, expr: ast.Expr, accepts: Extract<Accepts, { is: "call" }>, example: string): void {
    if (accepts.list === true && expr.kind === "list") {
      for (const item of expr.items) this.calls(what, item, { ...accepts, list: false }, example);
      return;
    }
    if (expr.kind !== "call") {
      return this.wrong(`\`${what}\` takes ${accepts.list === true ? "a list of calls" : "a call"}`, expr, example);
    }
    const { text, span } = expr.callee;
    const calls = this.callables.calls[accepts.of];
    const signature = Object.hasOwn(calls, text) ? calls[text] : undefined;
    if (signature === undefined) {
      const known = Object.keys(calls);
      this.diagnostics.report(
        "unknown_name", { name: text, known, text: `unknown ${what} \`${text}\``, names: "available" }, span
      );
      return;
    }
    this.arguments(expr, paramsOf(signature), `${text}${signature}`);
  }

  private arguments(call: ast.Call, params: readonly ast.Param[], signature: string): void {
    const callee = call.callee.text;
    const given = new Set<string>();
    call.args.forEach((arg, i) => {
      const param = arg.name === undefined ? params[i] : params.find((one) => one.name.text === arg.name?.text);
      if (param !== undefined) {
        if (given.has(param.name.text)) {
          this.diagnostics.report(
            "duplicate_name", { name: param.name.text, what: "the argument" }, arg.name?.span ?? arg.span
          );
        }
        given.add(param.name.text);
        return this.argument(param, arg.value);
      }
      const known = params.map((one) => one.name.text);
      if (arg.name !== undefined) {
        this.diagnostics.report("unknown_argument", { name: arg.name.text, callee, known }, arg.name.span);
      }
      else if (i === params.length) {
        this.diagnostics.report(
          "too_many_arguments", { callee, given: call.args.length, taken: params.length, signature }, arg.span
        );
      }
    });
    for (const { name, initial } of params) {
      if (initial === undefined && !given.has(name.text)) {
        this.diagnostics.report("missing_argument", { callee, name: name.text, signature }, call.span);
      }
    }
  }

  private argument({ name, type, initial }: ast.Param, value: ast.Expr): void {
    const kind = this.kind(value);
    const what = name.text;
    if (initial?.kind === "quantity") return this.time(what, value, kind, initial.unit);
    const scalar = type?.kind === "scalar" ? type.name : undefined;
    const wanted = scalar === "int" || scalar === "real" || initial?.kind === "number" ? "number" : (
      scalar ?? initial?.kind ?? "string"
    );
    if (wanted === "number") this.plain(what, value, kind);
    else if (kind.is !== "unknown" && kind.is !== wanted) {
      this.diagnostics.report(
        "wrong_type", {
          text: `\`${what}\` takes a ${wanted}, got ${showKind(kind)}`, help: `write a ${wanted}`
        }, value.span
      );
    }
  }

  /** A quantity argument; 0 is written with a unit as well. */
  private time(what: string, value: ast.Expr, kind: Kind, unit: ast.Unit): void {
    const units = timeUnits.includes(unit) ? timeUnits : [unit];
    if (kind.is === "unknown" || (kind.is === "quantity" && units.includes(kind.unit))) return;
    const written =
      value.kind === "number" ? textOf(value.span) : value.kind === "quantity" ? String(value.value) : "5";
    if (kind.is === "number") this.diagnostics.report("missing_unit", { what, value: written, units }, value.span);
    else if (kind.is === "quantity") {
      this.diagnostics.report(
        "wrong_unit", { what: `\`${what}\``, found: kind.unit, units, value: written }, value.span
      );
    }
    else this.wrong(`\`${what}\` takes a number of ${units.join(" or ")}`, value, `${what} = 5 ${unit}`);
  }
}

/** Units of a member of the schema that is a count. */
function unitsOf(name: string): readonly ast.Unit[] | undefined {
  const accepts = Object.hasOwn(schema, name) ? schema[name]?.accepts : undefined;
  return accepts?.is === "quantity" ? accepts.units : undefined;
}

/** The number a literal stands for. */
function numberOf(expr: ast.Expr): number | undefined {
  if (expr.kind === "number") return expr.value;
  if (expr.kind === "unary" && expr.operator === "-" && expr.operand.kind === "number") return -expr.operand.value;
  return undefined;
}
