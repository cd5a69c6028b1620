/**
 * @file Calls of blocks: arguments bound, shapes unified, the body run, the result checked.
 */
import type * as ast from "../../dsl/ast.js";
import type { Declared } from "../../dsl/program.js";
import { bindArguments, checkScalar, signatureOf, type Actual } from "./arguments.js";
import { asTensor, failNoTensor } from "./apply.js";
import { bindDims, checkDims, expectedDims, type Subject } from "./dimensions.js";
import { interpolate } from "./conditions.js";
import { Frame, join } from "./frame.js";
import { PATH_LENGTH } from "./limits.js";
import { run } from "./statements.js";
import { describe, ERROR, isBroken, showType, tensor, type Value } from "./values.js";

/** The result of a call of a block. @param name its path segment, unless `as` gives one. */
export function callBlock(frame: Frame, call: ast.Call, declared: Declared<ast.Block>, name?: string): Value {
  const block = declared.declaration;
  const signature = (): string => signatureOf(block.name.text, block.params, block.result);
  const args = bindArguments(frame, call, { name: block.name.text, params: block.params, signature });
  const segment = call.as ? givenSegment(frame, call.as) : (name ?? "");
  if (!args || segment === undefined || [...args.values()].some((a) => isBroken(a.value))) return ERROR;
  frame.session.countCall(frame, call.span);
  const path = join(frame.path, segment);
  if (!checkLength(frame, call, path)) return ERROR;
  const callee = new Frame({
    session: frame.session, scope: declared.scope, label: block.name.text, path,
    span: call.span,
    caller: frame, training: frame.training, frozen: frame.frozen, doc: block.doc,
    unnamed: segment === "" ? call : frame.unnamed,
  });
  if (!bindParams(callee, block.params, args, frame) || !expectResult(callee, block.result)) return ERROR;
  run(callee, block.body);
  const result = checkResult(callee, block);
  const shape = result.kind === "tensor" ? { result: result.node.shape } : {};
  frame.session.instances.push({ path: callee.path, block: block.name.text, call: call.span, ...shape });
  return result;
}

/** Names of a checkpoint: words with dots between. They stand in file names and in comments of kernels as they are. */
const SEGMENT = /^[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*$/;

/** The text of `as "…"`: undefined after a diagnostic. The empty one gives no name. */
function givenSegment(frame: Frame, as: ast.StringLiteral): string | undefined {
  const text = interpolate(frame, as);
  if (text === undefined || text === "" || SEGMENT.test(text)) return text;
  frame.fail("bad_path", { path: text }, as.span);
  return undefined;
}

/** Whether the path of a call is short enough; said at the call. */
function checkLength(frame: Frame, call: ast.Call, path: string): boolean {
  if (path.length <= PATH_LENGTH) return true;
  const values = { what: "the path of this call", size: `${path.length} characters`, limit: `${PATH_LENGTH}`,
    help: "give this call, or one around it, a shorter name" };
  frame.fail("too_large", values, call.as?.span ?? call.span);
  return false;
}

/**
 * Binds parameters to arguments and defaults: first the dimensions of tensors, so that every default may use them, then
 * scalars in order, then the dimensions given by expressions.
 * @param reporter the frame of the call, at whose arguments mistakes are shown.
 */
function bindParams(callee: Frame, params: readonly ast.Param[], args: ReadonlyMap<string, Actual>,
  reporter: Frame): boolean {
  let fine = true;
  for (const param of params) {
    const actual = args.get(param.name.text);
    if (param.type?.kind === "tensor" && actual) fine = bindTensor(callee, param, param.type, actual, reporter) && fine;
  }
  if (!fine) return false;
  for (const param of params) fine = bindScalar(callee, param, args.get(param.name.text), reporter) && fine;
  for (const param of params) {
    const value = callee.names.get(param.name.text);
    if (!fine || param.type?.kind !== "tensor" || value?.kind !== "tensor") continue;
    fine = checkDims(callee, param.type, value.node.shape,
      subjectOf(callee, param, args.get(param.name.text), reporter));
  }
  return fine;
}

const subjectOf = (callee: Frame, param: ast.Param, actual: Actual | undefined, reporter: Frame): Subject => ({
  name: param.name.text, owner: callee.label, span: actual?.span ?? param.span, reporter,
});

function bindTensor(callee: Frame, param: ast.Param, type: ast.TensorType, actual: Actual, reporter: Frame): boolean {
  const node = asTensor(reporter, actual.value, actual.span);
  const optional = param.initial?.kind === "none" && actual.value.kind === "none";
  if (optional) return true;
  if (!node || node.dtype !== type.dtype) {
    const got = node ? `a tensor ${showType(node)}` : describe(actual.value);
    const needs = callee.text(type.span);
    const help = node ? { help: type.dtype === "i32" ? "convert with `int(x)`" : "convert with `float(x)`" } : {};
    const text = `\`${param.name.text}\` of \`${callee.label}\` takes a tensor ${needs}, got ${got}`;
    if (node) reporter.fail("wrong_type", { text, ...help }, actual.span);
    else failNoTensor(reporter, actual.value, { text }, actual.span);
    return false;
  }
  callee.names.set(param.name.text, tensor(node));
  return bindDims(callee, type, node.shape, subjectOf(callee, param, actual, reporter));
}

function bindScalar(callee: Frame, param: ast.Param, actual: Actual | undefined, reporter: Frame): boolean {
  const name = param.name.text;
  if (param.type?.kind === "tensor") {
    if (!callee.names.has(name) && param.initial) callee.names.set(name, callee.evaluate(param.initial));
    return true;
  }
  // A default is also the type of its parameter, so it is evaluated beside an argument too, where it is plain enough.
  const literal = param.initial && (!actual || LITERALS.has(param.initial.kind)) ? callee.evaluate(param.initial)
    : undefined;
  const used = actual ?? (literal && { value: literal, span: param.initial?.span ?? param.span });
  if (!used || used.value.kind === "error") return false;
  callee.names.set(name, used.value);
  return checkScalar(actual ? reporter : callee, param, literal, used, callee.label);
}

const LITERALS: ReadonlySet<ast.Expr["kind"]> = new Set(["number", "bool", "string", "list", "quantity", "none",
  "name", "call"]);

/** Whether the result type's dimensions exist; said at the signature, before the body says it again. */
function expectResult(callee: Frame, type: ast.Type): boolean {
  return type.kind === "scalar" || expectedDims(callee, type) !== undefined;
}

function checkResult(callee: Frame, block: ast.Block): Value {
  const { result: type, name } = block;
  const result = callee.result;
  if (!result) {
    if (!callee.broken) callee.fail("missing_return", { what: "block", name: name.text }, name.span);
    return ERROR;
  }
  const { value, span } = result;
  if (isBroken(value)) return ERROR;
  if (type.kind === "scalar") {
    const param: ast.Param = { name: { text: "the result", span: type.span }, type, doc: "", span: type.span };
    return checkScalar(callee, param, undefined, result, name.text) ? value : ERROR;
  }
  const node = asTensor(callee, value, span);
  if (!node || node.dtype === "i32" !== (type.dtype === "i32")) {
    const got = node ? `a tensor ${showType(node)}` : describe(value);
    const said = { text: `\`${name.text}\` returns a tensor ${callee.text(type.span)}, got ${got}` };
    return node ? callee.fail("wrong_type", said, span) : failNoTensor(callee, value, said, span);
  }
  const subject = { name: "", owner: name.text, span, reporter: callee };
  return bindDims(callee, type, node.shape, subject) && checkDims(callee, type, node.shape, subject) ? tensor(node)
    : ERROR;
}
