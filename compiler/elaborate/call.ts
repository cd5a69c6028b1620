/**
 * @file Calls: of blocks, of the model instances of a recipe, of compile-time functions, of ops.
 */
import type * as ast from "../../dsl/ast.js";
import type { Declared } from "../../dsl/program.js";
import { LIST_OPS } from "./list_ops.js";
import type { OpRecord } from "../ir/op.js";
import { callBlock } from "./block.js";
import type { Frame } from "./frame.js";
import { callFunction, FUNCTIONS } from "./functions.js";
import { callListOp, callOp } from "./op_call.js";
import { ERROR, isBroken, type Value } from "./values.js";

/** The value of a call. @param name the name on the left of the statement, when the call is its right-hand side. */
export function call(frame: Frame, expr: ast.Call, name?: string): Value {
  const callee = expr.callee.text;
  const instance = frame.instances.get(callee);
  if (instance) return instance(frame, expr);
  const declared = frame.scope.lookup(callee);
  if (declared) {
    if (isBlock(declared)) return callBlock(frame, expr, declared, name);
    return frame.fail("not_a_model", { name: callee, is: declared.declaration.kind, wanted: "block" },
      expr.callee.span);
  }
  const record = frame.session.ops.get(callee);
  const callable = record && !record.internal ? record : undefined;
  if (FUNCTIONS.has(callee)) {
    const args = expr.args.map((a) => frame.evaluate(a.value));
    if (args.some(isBroken)) return ERROR;
    const value = callFunction(frame, expr, args, callable !== undefined);
    if (value) return value;
  }
  const lists = LIST_OPS.get(callee);
  if (lists) return callListOp(frame, expr, lists);
  if (callable) return callOp(frame, expr, callable);
  return frame.fail("unknown_name", { name: callee, what: "block or op", known: callables(frame) }, expr.callee.span);
}

const isBlock = (d: Declared): d is Declared<ast.Block> => d.declaration.kind === "block";

const callables = (frame: Frame): string[] => [...frame.scope.names(), ...builtins(frame.session.ops)];

/** Every name text may call without declaring it: ops, ops that give lists, compile-time functions, initializers. */
export function builtins(ops: ReadonlyMap<string, OpRecord>): ReadonlySet<string> {
  const callable = [...ops.values()].filter((record) => !record.internal).map((record) => record.name);
  return new Set([...callable, ...LIST_OPS.keys(), ...FUNCTIONS.keys()]);
}
