/** Slices without elements, whole numbers, and random numbers: what bodies written for any size need. */
import test from "ava";
import { isEmpty, showShape } from "../compiler/ir/dim.js";
import { rootsOf, topological } from "../compiler/ir/graph.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { codes, sizes, written, writtenModel } from "./elaborated.js";

test("inference draws no random numbers", (t) => {
  const text = (drawn: string): string => `block noisy(x: [B, N]) -> [B, N] { ${drawn} }
    model m() { input x: [B, 8] y = noisy(x) output z = y }`;
  const [always, guarded] = [text("return x * bernoulli(0.5, [B, N])"),
    text("if training { x = x * bernoulli(0.5, [B, N]) } return x")];
  t.deepEqual(codes(written(always)), ["random_in_inference"]);
  t.regex(renderDiagnostics(written(always).diagnostics), /inside `if training \{ … \}`/);
  for (const training of [true, false]) t.deepEqual(codes(written(guarded, { training })), []);
  t.deepEqual(codes(written(always, { training: true })), []);
});

test("whole numbers are made by `int`, of tensors and of numbers", (t) => {
  const model = writtenModel(`model m(width = 7) {
    input x: [B, width]
    param w: [int(width / 2), int(2.9)] ~ zeros
    output y = int(x * 3)
    output z = x[:, :int(width * 0.5)]
  }`);
  t.deepEqual(sizes(model).get("w"), [3, 2]);
  t.is(model.graph.outputs.get("y")?.dtype, "i32");
  t.is(showShape(model.graph.outputs.get("z")?.shape ?? []), "[B, 3]");
});

test("a slice may be empty, and a body written for any prefix length holds for none", (t) => {
  const text = `block prefixed(x: [B, N, D], prefix: int) -> [B, N, D] {
      return concat([gelu(x[:, :prefix]), x[:, prefix:]], axis = 1)
    }
    model m(prefix = 0) {
      input x: [B, 4, 6]
      y = prefixed(x, prefix)
      output a = y
      output b = sum(x[:, :prefix], axis = [1])
      output c = matmul(x[:, :, :prefix], transpose(x[:, :, :prefix]))
      output d = pad(reshape(x[:, :prefix], [B, prefix, 2, 3]), [0, 1, 0, 0], [0, 1, 0, 0])
    }`;
  for (const prefix of [0, 1, 3, 4]) t.deepEqual(codes(written(text, { overrides: { prefix } })), [], `${prefix}`);
  const nodes = topological(rootsOf(writtenModel(text).graph));
  t.true(nodes.every(({ shape }) => !isEmpty(shape)), "what has elements refers to nothing that has none");
  const one = (statement: string): string => `model m() { input x: [B, 4, 6] ${statement} output y = x }`;
  t.deepEqual(codes(written(one("output z = x[:, 2:2]"))), ["value_error"]);
  for (const wrong of ["z = max(x[:, :0], axis = [1])", "z = mean(x[:, :0], axis = [1])",
    "z = argmax(x[:, :0], axis = 1)", "z = gather(x[:, :0], arange(2), axis = 1)", "z = x[:, 3:2]"]) {
    t.deepEqual(codes(written(one(wrong))), ["value_error"], wrong);
  }
});
