/**
 * @file Builds nodes through the op records: canonical attributes, result types, and the types of mixed operands.
 */
import { isConstant, isEmpty, showShape } from "./dim.js";
import type { Attrs, GraphBuilder, Node, Origin, TensorType } from "./graph.js";
import { invariant } from "./invariant.js";
import { isFault, isOp, type OpFault, type OpRecord, type Ops } from "./op.js";
import { fault } from "../ops/attributes.js";
import { recordOf } from "../ops/index.js";
import { constant } from "../ops/leaves.js";
import { filled } from "../ops/shapes.js";

/** The vocabulary on a builder: every node it makes has this origin. Throws a `CompilerBug` on a fault. */
export function makeOps(builder: GraphBuilder, origin: Origin): Ops {
  const call = (name: string, inputs: readonly Node[], attrs: Attrs = {}): Node => {
    const node = applyOp(builder, recordOf(name), inputs, attrs, origin);
    invariant(!isFault(node), isFault(node) ? `${node.text} (building ${name} at ${origin.path})` : "");
    return node;
  };
  return {
    call,
    constant: (value) => call("constant", [], { value }),
    result(node, index) {
      if (index === 0) return node;
      invariant(node.extra[index - 1] !== undefined, `${node.op} has a result ${index}`);
      return call("result", [node], { index });
    },
  };
}

/** The node of a call with arguments as the text gives them, or what the op finds at fault. */
export function applyOp(
  builder: GraphBuilder, record: OpRecord, inputs: readonly Node[], attrs: Attrs, origin: Origin,
): Node | OpFault {
  const operands = record.kind === "elementwise" && inputs.length > 1 ? promote(builder, inputs, origin) : inputs;
  const canonical = record.canonical(operands, attrs);
  if (isFault(canonical)) return canonical;
  const types = record.infer(operands, canonical);
  if (isFault(types)) return types;
  const wide = types.find((t) => t.shape.filter((d) => !isConstant(d)).length > 1);
  if (wide) {
    return fault("symbolic_batch", `\`${record.name}\` would contain the batch twice: ${showShape(wide.shape)}`,
      "only one dimension of a tensor may contain B; keep the batch separate");
  }
  if (!isEmpty(types[0].shape) && operands.some((x) => isEmpty(x.shape))) {
    return withoutEmpty(makeOps(builder, origin), record, operands, canonical, types[0]);
  }
  return builder.add(record.name, operands, ownStream(canonical, builder), types, origin);
}

/**
 * The value of a node that has elements over operands of which some have none. So nothing with elements ever refers to
 * a tensor without, and no later pass and no kernel meets one.
 */
function withoutEmpty(
  ops: Ops, record: OpRecord, inputs: readonly Node[], attrs: Attrs, type: TensorType,
): Node {
  if (record.withoutEmpty) return record.withoutEmpty(ops, inputs, attrs, type);
  if (record.kind === "composite") {
    invariant(record.expand, `composite ${record.name} has an expansion`);
    return record.expand(ops, inputs, attrs);
  }
  invariant(record.kind === "reduction" || record.kind === "contraction", `${record.name} of nothing has a value`);
  return filled(ops, record.fold?.identity ?? 0, type.shape, type.dtype);
}

/** A draw of random numbers that names no stream gets one of its own: no two calls may share their numbers. */
const ownStream = (attrs: Attrs, builder: GraphBuilder): Attrs =>
  attrs["stream"] === null ? { ...attrs, stream: builder.size } : attrs;

/**
 * Numbers of one type: i32 beside f32 becomes f32, but a whole constant beside i32 becomes i32. Bools stay: what is to
 * become of them is for the text to say.
 */
function promote(builder: GraphBuilder, inputs: readonly Node[], origin: Origin): readonly Node[] {
  const numbers = inputs.filter((x) => x.dtype !== "bool");
  if (!numbers.some((x) => x.dtype === "i32") || !numbers.some((x) => x.dtype === "f32")) return inputs;
  const floats = numbers.filter((x) => x.dtype === "f32");
  const whole = floats.every((x) => isOp(constant, x) && Number.isInteger(x.attrs.value));
  const add = (name: string, of: readonly Node[], attrs: Attrs, type: TensorType): Node =>
    builder.add(name, of, attrs, [type], origin);
  return inputs.map((x) => {
    if (whole && isOp(constant, x) && x.dtype === "f32") {
      return add("constant", [], { value: x.attrs.value, dtype: "i32" }, { shape: [], dtype: "i32" });
    }
    return !whole && x.dtype === "i32" ? add("float", [x], {}, { shape: x.shape, dtype: "f32" }) : x;
  });
}
