/**
 * @file Headers of models: the parameters of the model at the end of an `extends` chain, with the values the chain and
 * the user give them.
 */
import type * as ast from "../../dsl/ast.js";
import type { Declared, Scope } from "../../dsl/program.js";
import { checkScalar, signatureOf } from "./arguments.js";
import { Frame } from "./frame.js";
import { ERROR, isBroken, type Value } from "./values.js";

/** Values given to header parameters in one place: a record of the text, with the names it may use. */
export interface OverrideRecord {
  readonly record: ast.Record_;
  readonly scope: Scope;
  /** `model deit_ti`, for the chain. */
  readonly label: string;
  readonly span: ast.Span;
  /** Values the record may use besides those of the header, and before them: constants of the recipe it stands in. */
  readonly names?: ReadonlyMap<string, Value>;
}

/** A model with what its bases say. */
export interface Header {
  readonly model: Declared<ast.Model>;
  /** The model that has the body. */
  readonly root: Declared<ast.Model>;
  readonly params: readonly ast.Param[];
  readonly body: ast.Body;
  /** Weakest first. */
  readonly overrides: readonly OverrideRecord[];
}

const isModel = (d: Declared): d is Declared<ast.Model> => d.declaration.kind === "model";

/** Follows `extends` to the body; undefined where the chain is broken, which resolving has reported. */
export function headerOf(model: Declared<ast.Model>): Header | undefined {
  const overrides: OverrideRecord[] = [];
  const seen = new Set<ast.Model>();
  let root = model;
  while (!seen.has(root.declaration)) {
    seen.add(root.declaration);
    const { definition, extension, name } = root.declaration;
    if (definition) return { model, root, params: definition.params, body: definition.body, overrides };
    const base = extension && root.scope.lookup(extension.base.text);
    if (!extension || !base || !isModel(base)) return undefined;
    overrides.unshift({ record: extension.overrides, scope: root.scope, label: `model ${name.text}`, span: name.span });
    root = base;
  }
  return undefined;
}

/**
 * Gives every header parameter its value in `frame`: the strongest override, else the default. An override is evaluated
 * in the scope of its file and may use the header parameters before its own.
 * @param values plain values that beat all overrides (the command line's).
 * @returns whether all have one.
 */
export function bindHeader(
  frame: Frame, header: Header, more: readonly OverrideRecord[], values: ReadonlyMap<string, Value>,
): boolean {
  const known = header.params.map((p) => p.name.text);
  const chosen = new Map<string, { readonly value: ast.Expr; readonly by: OverrideRecord }>();
  let fine = true;
  for (const by of [...header.overrides, ...more]) {
    for (const { name, value } of by.record.fields) {
      if (known.includes(name.text)) chosen.set(name.text, { value, by });
      else {
        frame.fail("unknown_override", { name: name.text, model: header.root.declaration.name.text, known }, name.span);
        fine = false;
      }
    }
  }
  for (const name of values.keys()) {
    if (known.includes(name)) continue;
    frame.fail("unknown_override", { name, model: header.model.declaration.name.text, known },
      header.model.declaration.name.span);
    fine = false;
  }
  for (const param of header.params) {
    const value = valueOf(frame, header, param, chosen.get(param.name.text), values.get(param.name.text));
    frame.names.set(param.name.text, value);
    fine = fine && !isBroken(value);
  }
  return fine;
}

function valueOf(
  frame: Frame, header: Header, param: ast.Param,
  override: { readonly value: ast.Expr; readonly by: OverrideRecord } | undefined, plain: Value | undefined,
): Value {
  const name = param.name.text;
  const owner = header.model.declaration.name;
  const fallback = param.initial && frame.evaluate(param.initial);
  if (plain) return checkScalar(frame, param, fallback, { value: plain, span: owner.span }, owner.text) ? plain : ERROR;
  if (override) {
    const { value: expr, by } = override;
    const place = new Frame({ ...frame.outside(), scope: by.scope, label: by.label, span: by.span });
    for (const [known, value] of [...frame.names, ...(by.names ?? [])]) place.names.set(known, value);
    const value = place.evaluate(expr);
    return checkScalar(place, param, fallback, { value, span: expr.span }, owner.text) ? value : ERROR;
  }
  if (fallback) return fallback.kind !== "error" && param.type ? checked(frame, param, fallback, owner.text) : fallback;
  const how = `extend it with a value: \`model my_${owner.text} extends ${owner.text} { ${name} = … }\``;
  const signature = signatureOf(header.root.declaration.name.text, header.params);
  return frame.fail("missing_argument", { callee: owner.text, name, signature, how }, owner.span, {
    notes: [{ text: `\`${name}\` is declared here`, span: param.name.span }],
  });
}

const checked = (frame: Frame, param: ast.Param, value: Value, owner: string): Value =>
  checkScalar(frame, param, undefined, { value, span: param.initial?.span ?? param.span }, owner) ? value : ERROR;
