/**
 * @file The members of a recipe that are values: evaluated in the order they need each other, brought into plain form.
 */
import type * as ast from "../../dsl/ast.js";
import type { RecipeMember } from "../../dsl/recipe.js";
import { paramsOf } from "../../dsl/signature.js";
import { members as schema, rangeText, type Accepts } from "../../dsl/vocabulary.js";
import { eachExpr } from "../../dsl/walk.js";
import { checkScalar } from "../elaborate/arguments.js";
import { Frame, type Session } from "../elaborate/frame.js";
import { describe, isBroken, show, type Value } from "../elaborate/values.js";
import { NORMALIZATION_NAMES, withNumbers } from "../../runtime/train/vocabulary/normalizations.js";
import type { Argument, CallSetting, Count } from "./settings.js";
import { CALLS } from "./vocabulary.js";
import type { CallFault, CallRecord } from "../../runtime/train/vocabulary/record.js";

type ValueMember = ast.ValueMember;

/** Where a call stands: the frame that reports what is wrong with it, and the places of the arguments it is given. */
interface CallPlace {
  readonly frame: Frame;
  readonly span: ast.Span;
  readonly arguments: ReadonlyMap<string, ast.Span>;
}

/** Where a recipe's values stand: each by name, and the frame that reports what is wrong with one. */
export class RecipeValues {
  /** Values by member name; calls of the vocabulary are in `calls`, words in `words`. */
  readonly values = new Map<string, Value>();
  readonly calls = new Map<string, readonly CallSetting[]>();
  readonly words = new Map<string, string>();
  readonly #places = new Map<CallSetting, CallPlace>();
  readonly #session: Session;
  readonly #recipe: ast.Recipe;
  readonly #members: ReadonlyMap<string, RecipeMember>;

  constructor(session: Session, recipe: ast.Recipe, members: ReadonlyMap<string, RecipeMember>) {
    this.#session = session;
    this.#recipe = recipe;
    this.#members = members;
    for (const name of members.keys()) this.#settle(name, new Set());
  }

  /** A frame that sees the recipe's values from the file of `member`. */
  frame(member: RecipeMember): Frame {
    const { name, span } = this.#recipe;
    const frame = new Frame({
      session: this.#session, scope: member.scope, label: `recipe ${name.text}`, path: "", span, training: true,
      frozen: false, doc: this.#recipe.doc,
    });
    for (const [known, value] of this.values) frame.names.set(known, value);
    return frame;
  }

  /** Where a member's value stands; the recipe's name for one that is left out. */
  span(name: string): ast.Span {
    const member = this.#members.get(name)?.member;
    return member?.kind === "value" ? member.value.span : this.#recipe.name.span;
  }

  /** Reports at a member's value. */
  fail(name: string, text: string, help?: string): void {
    const found = this.#members.get(name);
    if (found) this.frame(found).fail("value_error", help === undefined ? { text } : { text, help }, this.span(name));
  }

  /** Reports at a call, or at one of its arguments where it is given. */
  failCall(call: CallSetting, { text, help, argument }: CallFault): void {
    const place = this.#places.get(call);
    if (!place) return; // the schedule that stands for none
    const span = (argument === undefined ? undefined : place.arguments.get(argument)) ?? place.span;
    place.frame.fail("value_error", help === undefined ? { text } : { text, help }, span);
  }

  /** The number of a member without unit. */
  number(name: string): number | undefined {
    const value = this.values.get(name);
    return value?.kind === "number" ? value.value : undefined;
  }

  /** The number of a member with its unit. */
  count(name: string): Count | undefined {
    const value = this.values.get(name);
    return value?.kind === "quantity" ? { value: value.value, unit: value.unit } : undefined;
  }

  /** Evaluates a member after those it reads. The front end has refused members that read themselves. */
  #settle(name: string, reading: Set<string>): void {
    const found = this.#members.get(name);
    if (found?.member.kind !== "value" || reading.has(name) || this.#known(name)) return;
    reading.add(name);
    eachExpr(found.member.value, (expr) => {
      if (expr.kind === "name") this.#settle(expr.name, reading);
    });
    const rule = Object.hasOwn(schema, name) ? schema[name] : undefined;
    this.#read(found, found.member, rule?.accepts);
  }

  #known(name: string): boolean {
    return this.values.has(name) || this.calls.has(name) || this.words.has(name);
  }

  #read(found: RecipeMember, { name: { text: name }, value: expr }: ValueMember, accepts: Accepts | undefined): void {
    const frame = this.frame(found);
    if (accepts?.is === "word") {
      if (expr.kind === "name") this.words.set(name, expr.name);
      return;
    }
    if (accepts?.is === "call") {
      const items = expr.kind === "list" && accepts.list === true ? expr.items : [expr];
      this.calls.set(name, items.flatMap((item) => this.#call(frame, item, CALLS[accepts.of])));
      return;
    }
    const value = frame.evaluate(expr);
    this.values.set(name, value);
    if (accepts && !isBroken(value)) checkMember(frame, name, value, expr.span, accepts);
  }

  /** A call with all its arguments; none after a diagnostic. */
  #call(frame: Frame, expr: ast.Expr, known: ReadonlyMap<string, CallRecord>): readonly CallSetting[] {
    const record = expr.kind === "call" ? known.get(expr.callee.text) : undefined;
    if (expr.kind !== "call" || !record) return []; // the front end has reported it
    const params = paramsOf(record.signature);
    const call = readCall(frame, expr, params);
    if (!call) return [];
    const spans = expr.args.map((arg, i) => [arg.name?.text ?? params[i]?.name.text ?? "", arg.value.span] as const);
    this.#places.set(call, { frame, span: expr.span, arguments: new Map(spans) });
    const fault = record.check?.(call.arguments);
    if (!fault) return [call];
    this.failCall(call, fault);
    return [];
  }
}

/** What the front end cannot know before evaluation: values that functions gave. */
function checkMember(frame: Frame, name: string, value: Value, span: ast.Span,
  accepts: Exclude<Accepts, { is: "call" | "word" }>): void {
  switch (accepts.is) {
    case "quantity": return checkCount(frame, name, value, span, accepts.units);
    case "number": {
      const { least, most, open, whole } = accepts;
      const fits = value.kind === "number" && value.value >= least && value.value <= most
        && (open !== true || value.value < most) && (whole !== true || Number.isInteger(value.value));
      const text = `\`${name}\` must be ${rangeText(accepts)}, got ${describe(value)}`;
      if (!fits) frame.fail("value_error", { text }, span);
      return;
    }
    case "strings": return; // literals, which the front end has read
    default: accepts satisfies never;
  }
}

function checkCount(frame: Frame, name: string, value: Value, span: ast.Span, units: readonly ast.Unit[]): void {
  if (value.kind === "number") frame.fail("missing_unit", { what: name, value: show(value), units }, span);
  else if (value.kind !== "quantity" || !units.includes(value.unit)) {
    frame.fail("wrong_unit", { what: `\`${name}\``, found: describe(value), units }, span);
  } else if (value.value <= 0 || (value.unit !== "epochs" && !Number.isInteger(value.value))) {
    frame.fail("not_an_integer", { what: `\`${name}\``, value: value.value }, span);
  }
}

/** A call of the vocabulary with all arguments; undefined after a diagnostic. */
function readCall(frame: Frame, expr: ast.Call, params: readonly ast.Param[]): CallSetting | undefined {
  const name = expr.callee.text;
  const given: Record<string, Argument> = {};
  let complete = true;
  for (const [i, param] of params.entries()) {
    const key = param.name.text;
    const arg = expr.args.find((one) => one.name?.text === key) ?? (expr.args[i]?.name ? undefined : expr.args[i]);
    const fallback = param.initial && frame.evaluate(param.initial);
    const value = arg ? frame.evaluate(arg.value) : fallback;
    if (!value || isBroken(value)) complete = false;
    else if (arg && !suits(frame, param, fallback, value, arg.value.span, name)) complete = false;
    else {
      const plain = argumentOf(value);
      if (plain === undefined) complete = false;
      else given[key] = plain;
    }
  }
  if (!complete) return undefined;
  const stated = expr.args.map((arg, i) => arg.name?.text ?? params[i]?.name.text ?? "");
  const call = withNumbers({ name, arguments: given }, new Set(stated));
  if (call) return call;
  const known = NORMALIZATION_NAMES.map((one) => `"${one}"`).join(", ");
  const what = `unknown normalization "${String(given["name"])}"`;
  frame.fail("value_error", { text: what, help: `use one of ${known}, or give mean and std` }, expr.span);
  return undefined;
}

function suits(frame: Frame, param: ast.Param, fallback: Value | undefined, value: Value, span: ast.Span,
  owner: string): boolean {
  const what = param.name.text;
  if (fallback?.kind === "quantity") {
    const units: readonly ast.Unit[] = fallback.unit === "images" ? ["images"] : ["epochs", "steps"];
    if (value.kind === "quantity" && units.includes(value.unit)) return true;
    if (value.kind === "number") frame.fail("missing_unit", { what, value: show(value), units }, span);
    else frame.fail("wrong_unit", { what: `\`${what}\``, found: describe(value), units }, span);
    return false;
  }
  if (!param.type && !fallback && value.kind !== "string") {
    const text = `\`${what}\` of \`${owner}\` takes a string, got ${describe(value)}`;
    frame.fail("wrong_type", { text }, span);
    return false;
  }
  return checkScalar(frame, param, fallback, { value, span }, owner);
}

/** A compile-time value as JSON has it; undefined for tensors and the like. */
function argumentOf(value: Value): Argument | undefined {
  switch (value.kind) {
    case "number":
    case "bool":
    case "string": return value.value;
    case "quantity": return { value: value.value, unit: value.unit };
    case "none": return null;
    case "list": {
      const items = value.items.map(argumentOf);
      return items.includes(undefined) ? undefined : items.map((item) => item ?? null);
    }
    case "dim":
    case "initializer":
    case "tensor":
    case "outputs":
    case "error": return undefined;
    default: return value satisfies never;
  }
}
