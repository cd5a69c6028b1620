/**
 * @file `deitc explain NAME`: an op or function, an error code, a member, call or argument of recipes, a kernel family,
 * or something that the library declares. A name with several meanings gets all of them.
 */
import type * as ast from "../../../dsl/ast.js";
import { headerOf } from "../../../dsl/checks.js";
import { isCode, messages } from "../../../dsl/messages.js";
import type { Declared } from "../../../dsl/program.js";
import { paramsOf } from "../../../dsl/signature.js";
import { textOf } from "../../../dsl/source.js";
import { listNames, nearest } from "../../../dsl/suggest.js";
import { members, rangeText, type Accepts, type CallFamily, type MemberRule } from "../../../dsl/vocabulary.js";
import { signatureOf } from "../../elaborate/arguments.js";
import { FUNCTIONS, type BuiltinFunction } from "../../elaborate/index.js";
import type { OpRecord } from "../../ir/op.js";
import { OPS } from "../../ops/index.js";
import { TARGET_NAMES, TARGETS, templatesOf, TEMPLATE_KINDS, type Target } from "../../targets/index.js";
import { CALLS } from "../../train/vocabulary.js";
import type { CallRecord } from "../../../runtime/train/vocabulary/record.js";
import { RUN_CODES } from "../codes.js";
import { CommandError } from "../exit.js";
import { Library } from "../library.js";
import { table } from "../table.js";

const FAMILIES: Readonly<Record<CallFamily, string>> = {
  source: "a data source of recipes", optimizer: "an optimizer of recipes", schedule: "a schedule of recipes",
  clip: "a way to clip gradients in recipes", augmentation: "an augmentation of recipes",
};

/** Every call of recipes with its family. */
const recipeCalls = (): readonly (readonly [CallFamily, CallRecord])[] =>
  (Object.keys(CALLS) as CallFamily[]).flatMap( // a record's keys are what its type says
    (family) => [...CALLS[family].values()].map((record) => [family, record] as const));

/** All that a name means. @throws CommandError for one that means nothing */
export function explainName(name: string, library: Library = new Library()): string {
  const example = library.use(name);
  const calls = recipeCalls();
  const [op, builtin] = [OPS.get(name), FUNCTIONS.get(name)];
  const member = Object.hasOwn(members, name) ? members[name] : undefined;
  const owners = calls.map(([, record]) => record).filter(
    ({ signature }) => paramsOf(signature).some((param) => param.name.text === name));
  const texts = [
    ...(op ? [explainOp(op, example)] : []),
    ...(builtin ? [explainFunction(builtin, example)] : []),
    ...(isCode(name) ? [section(`error[${name}]`, messages[name].explain, [])] : []),
    ...(isRunCode(name) ? [section(`error[${name}]`, RUN_CODES[name], [])] : []),
    ...(member ? [explainMember(name, member)] : []),
    ...calls.filter(([, record]) => record.name === name).map(
      ([family, record]) => explainCall(family, record, example)),
    ...(owners.length > 0 ? [explainArgument(name, owners)] : []),
    ...TARGETS.filter((target) => target.name === name).map(explainTarget),
    ...library.declared(name).map(({ spec, declared }) => explainDeclared(spec, declared, example)),
  ];
  if (texts.length > 0) return texts.join("\n");
  const known = [
    ...OPS.keys(), ...FUNCTIONS.keys(), ...Object.keys(messages), ...Object.keys(RUN_CODES), ...Object.keys(members),
    ...calls.map(([, record]) => record.name), ...TARGET_NAMES, ...library.names(),
  ];
  const near = nearest(name, known);
  throw new CommandError(
    `\`${name}\` is not an op, an error code, a part of recipes, a kernel family, a declaration of the library ` +
      "or a .deit file",
    near === undefined ? "`deitc explain --help` shows what can be explained" : `did you mean \`${near}\`?`,
  );
}

const isRunCode = (name: string): name is keyof typeof RUN_CODES => Object.hasOwn(RUN_CODES, name);

type Row = readonly string[];

/** A title, what it is, and its facts. */
const section = (title: string, doc: string, rows: readonly Row[]): string =>
  [`${title}\n`, ...(doc === "" ? [] : [`${doc}\n`]), ...(rows.length === 0 ? [] : [table(rows)])].join("\n");

const exampleRow = (example: string | undefined): readonly Row[] =>
  (example === undefined ? [] : [["example", example]]);

function explainOp(op: OpRecord, example: string | undefined): string {
  const gradients = new Map<unknown, string>([["none", "none"], ["expand", "from its expansion"]]);
  const gradient = gradients.get(op.gradient) ?? "its own rule";
  const computed = op.scalar ?? op.evaluate ?? op.fold;
  const meaning = op.expand ? "defined by simpler ops" : computed ? "a reference in TypeScript" : "given by its kind";
  const operands = ["a", "b", "c"].slice(0, Math.max(1, op.samples[0]?.inputs.length ?? 1));
  const wgsl = op.wgsl?.(...operands);
  return section(`${op.name}${op.signature}`, op.doc, [
    ["kind", op.kind], ["meaning", meaning], ["gradient", gradient], ...(wgsl === undefined ? [] : [["WGSL", wgsl]]),
    ...exampleRow(example),
    ...(op.internal ? [["", "created by the compiler; not callable from .deit files"]] : []),
  ]);
}

const explainFunction = ({ name, signature, doc }: BuiltinFunction, example: string | undefined): string =>
  section(`${name}${signature}`, doc, [["computed", "while the model is compiled"], ...exampleRow(example)]);

function takes(accepts: Accepts): string {
  switch (accepts.is) {
    case "quantity": return `a number of ${accepts.units.join(" or ")}`;
    case "number": return rangeText(accepts);
    case "word": return listNames(accepts.words, "or");
    case "strings": return "a list of strings";
    case "call": {
      const names = listNames([...CALLS[accepts.of].keys()], "or");
      return accepts.list === true ? `a list of ${names}` : names;
    }
    default: return accepts satisfies never;
  }
}

const explainMember = (name: string, { doc, accepts, example, required, without }: MemberRule): string =>
  section(`${name}: a member of recipes`, doc, [
    ["takes", takes(accepts)],
    required === true ? ["default", "none: every recipe states it"] : ["default", without ?? "none"],
    ["example", example],
  ]);

/** Type or default of a parameter, as it is written. */
function kindOf({ type, initial }: ast.Param): string {
  if (initial !== undefined) return `default ${textOf(initial.span)}`;
  return type === undefined ? "a string" : textOf(type.span);
}

function explainCall(family: CallFamily, record: CallRecord, example: string | undefined): string {
  const { name, signature, doc, about } = record;
  const rows = paramsOf(signature).map((param) => [param.name.text, kindOf(param), about[param.name.text] ?? ""]);
  const written = example ?? Object.values(members).find((rule) => rule.example.includes(`${name}(`))?.example;
  const title = `${name}${signature}: ${FAMILIES[family]}`;
  return section(title, doc, rows) + (written === undefined ? "" : `\n${table(exampleRow(written))}`);
}

function explainArgument(name: string, owners: readonly CallRecord[]): string {
  const rows = owners.map((owner) => {
    const param = paramsOf(owner.signature).find((one) => one.name.text === name);
    return [owner.name, param ? kindOf(param) : "", owner.about[name] ?? ""];
  });
  return section(`${name}: an argument of ${listNames(owners.map((owner) => owner.name))}`, "", rows);
}

/** A kernel family: the adapters it is for, and where its templates come from. */
function explainTarget(target: Target): string {
  const { name, doc, suits, requires: { features, lanes } } = target;
  const needs = [...features, ...(lanes > 0 ? [`${lanes} lanes`] : [])];
  const templates = TEMPLATE_KINDS.map((kind) =>
    [kind, `the template of ${templatesOf(kind, target)[0]?.from.name ?? "none"}`]);
  return section(`${name}: a kernel family`, doc, [
    ["for", `${suits} adapters`], ["needs", needs.length === 0 ? "nothing" : needs.join(", ")], ...templates,
    ["see", "`deitc doctor` for the family that each adapter gets"],
  ]);
}

function explainDeclared(spec: string, declared: Declared, example: string | undefined): string {
  const { declaration } = declared;
  const { name: { text: name }, doc } = declaration;
  const imported: Row = ["import", `import { ${name} } from "${spec}"`];
  switch (declaration.kind) {
    case "block": {
      const documented = declaration.params.filter((param) => param.doc !== "");
      return section(`block ${signatureOf(name, declaration.params, declaration.result)}`, doc, [
        ...documented.map((param) => [param.name.text, oneLine(param.doc)]), imported, ...exampleRow(example),
      ]);
    }
    case "model": {
      const values = overridesOf(declared);
      const title = declaration.extension === undefined ? "" : ` extends ${declaration.extension.base.text}`;
      const rows = (headerOf(declared) ?? []).map((param) => [
        param.name.text, values.get(param.name.text) ?? (param.initial ? textOf(param.initial.span) : kindOf(param)),
        oneLine(param.doc),
      ]);
      return `${section(`model ${name}${title}`, doc, rows)}\n${table([
        imported, ["see", `\`deitc explain ${spec}:${name}\` for its kernels and memory`],
      ])}`;
    }
    case "recipe":
      return section(`recipe ${name}${declaration.base ? ` extends ${declaration.base.text}` : ""}`, doc, [
        imported, ["see", `\`deitc explain ${spec}:${name}\` for its settings, kernels and memory`],
      ]);
    default:
      return declaration satisfies never;
  }
}

const oneLine = (text: string): string => text.replace(/\s+/g, " ").trim();

/** The values that a chain of `extends` gives header parameters, as they are written. */
function overridesOf(declared: Declared): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const { declaration, scope } = declared;
  if (declaration.kind !== "model" || declaration.extension === undefined) return values;
  const base = scope.lookup(declaration.extension.base.text);
  for (const [name, value] of base === undefined ? [] : overridesOf(base)) values.set(name, value);
  for (const { name, value } of declaration.extension.overrides.fields) values.set(name.text, textOf(value.span));
  return values;
}
