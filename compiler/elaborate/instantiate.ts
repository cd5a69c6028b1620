/**
 * @file Models run as functions: at the top for inference, and by name in the loss of a recipe (`student(images)`).
 */
import type * as ast from "../../dsl/ast.js";
import type { ChainLink } from "../../dsl/diagnostics.js";
import type { Declared } from "../../dsl/program.js";
import type { Node } from "../ir/graph.js";
import { asTensor, failNoTensor } from "./apply.js";
import { bindArguments, signatureOf } from "./arguments.js";
import { Frame, type Callable, type Session } from "./frame.js";
import { bindHeader, headerOf, type OverrideRecord } from "./header.js";
import { run } from "./statements.js";
import { describe, ERROR, isBroken, type Value } from "./values.js";

/** Which model is run, with what, and as what. */
export interface Instantiation {
  readonly model: Declared<ast.Model>;
  /** Records given at use, weakest first: `student: deit_ti { drop_path = 0.1 }`. */
  readonly overrides?: readonly OverrideRecord[];
  /** Plain values that beat every record (the command line's). */
  readonly values?: ReadonlyMap<string, Value>;
  /** Tensors for the model's inputs; left out, `input` makes inputs of the graph. */
  readonly inputs?: ReadonlyMap<string, Node>;
  /** What a tensor becomes before it is the named input. */
  readonly adapt?: ((input: string, node: Node) => Node) | undefined;
  /** In front of every parameter path; empty for none. */
  readonly path: string;
  readonly training: boolean;
  /** Not trained: parameters are constants of the step, and `training` is false whatever it says above. */
  readonly frozen: boolean;
  /** Who calls, and where; left out at the top. */
  readonly caller?: { readonly frame: Frame; readonly span: ast.Span };
  /** Two runs with the same key share their parameters. */
  readonly sharing?: object;
}

/** What a run of a model gives. */
export interface Instance {
  readonly frame: Frame;
  readonly header: ReadonlyMap<string, Value>;
  readonly outputs: ReadonlyMap<string, Value>;
}

/** `depth` and `heads` of recipe mine: where to look for a value that a mistake further in comes from. */
const settingLink = ({ record, label }: OverrideRecord): ChainLink => ({
  what: `${record.fields.map(({ name }) => `\`${name.text}\``).join(", ")} of ${label}`, span: record.span,
});

/** Runs a model into the session's graph; undefined after diagnostics that left nothing to run. */
export function instantiate(session: Session, what: Instantiation): Instance | undefined {
  const header = headerOf(what.model);
  if (!header) return undefined;
  const { declaration } = what.model;
  const { caller } = what;
  const frame = new Frame({
    session, scope: header.root.scope, label: `model ${declaration.name.text}`, path: what.path,
    span: caller?.span ?? declaration.name.span, training: what.training && !what.frozen, frozen: what.frozen,
    doc: declaration.doc, sharing: what.sharing ?? {}, settings: (what.overrides ?? []).map(settingLink),
    caller: caller?.frame, given: what.inputs,
  });
  if (caller) session.countCall(frame, caller.span);
  if (!bindHeader(frame, header, what.overrides ?? [], what.values ?? new Map())) return undefined;
  const values = new Map(header.params.map((p): [string, Value] =>
    [p.name.text, frame.names.get(p.name.text) ?? ERROR]));
  run(frame, header.body);
  if (frame.outputs.size === 0 && !frame.broken) {
    frame.fail("missing_output", { model: header.root.declaration.name.text }, header.root.declaration.name.span);
  }
  return { frame, header: values, outputs: frame.outputs };
}

/**
 * An instance of a recipe as something its loss can call: arguments bind to the model's inputs, in order or by name.
 */
export function callable(session: Session, what: Omit<Instantiation, "inputs" | "caller">): Callable {
  const sharing = what.sharing ?? {};
  const name = what.model.declaration.name.text;
  const header = headerOf(what.model);
  const inputs = (header?.body.statements ?? []).filter((s) => s.kind === "input");
  const signature = (): string =>
    signatureOf(name, inputs.map((i): ast.Param => ({ name: i.name, type: i.type, doc: "", span: i.span })));
  return (caller, call) => {
    const args = bindArguments(caller, call, { name: call.callee.text, params: inputs, signature });
    if (!args || [...args.values()].some((a) => isBroken(a.value))) return ERROR;
    const given = new Map<string, Node>();
    for (const [input, actual] of args) {
      const node = asTensor(caller, actual.value, actual.span);
      if (!node) {
        const text = `\`${input}\` of \`${name}\` takes a tensor, got ${describe(actual.value)}`;
        return failNoTensor(caller, actual.value, { text }, actual.span);
      }
      given.set(input, what.adapt?.(input, node) ?? node);
    }
    const instance = instantiate(session,
      { ...what, sharing, inputs: given, caller: { frame: caller, span: call.span } });
    return instance ? { kind: "outputs", model: call.callee.text, outputs: instance.outputs } : ERROR;
  };
}
