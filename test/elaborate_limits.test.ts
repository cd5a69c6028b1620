/** What a file may ask for while it is elaborated: sizes of lists and texts, names that become paths, numbers. */
import { resolve } from "node:path";
import test from "ava";
import { nodeHost } from "../compiler/cli/host.js";
import { elaborateModel } from "../compiler/elaborate/index.js";
import { language } from "../compiler/index.js";
import { OPS } from "../compiler/ops/index.js";
import { diagnosticJson, type Diagnostic } from "../dsl/diagnostics.js";
import { loadProgram } from "../dsl/resolve.js";
import { DOUBLED, GREEDY } from "./hostile.js";

const disk = nodeHost(resolve("models"));

/** What is wrong with a text, which may import shipped models. */
function found(text: string): readonly Diagnostic[] {
  const { program, diagnostics } = loadProgram("m.deit", {
    resolve: (from, path) => (from === undefined ? { path: "m.deit" } : disk.resolve(from, path)),
    read: (path) => (path === "m.deit" ? { text } : disk.read(path)),
  }, language());
  return program ? elaborateModel(program, undefined, { training: false, ops: OPS }).diagnostics : diagnostics;
}

const model = (...lines: readonly string[]): readonly Diagnostic[] => found([
  'import { linear } from "deitc/nn.deit"', "model m(n = 3) {", "  input x: [B, n]", "  input k: i32[B, n]",
  ...lines, "}",
].join("\n"));

/** `5 value_error`: line and code of each. */
const places = (list: readonly Diagnostic[]): string[] =>
  list.map((d) => `${diagnosticJson(d).line} ${d.code}`);

for (const [title, text] of Object.entries(GREEDY)) {
  // Without the limit it would not end.
  test(`greedy: ${title}`, (t) => {
    const list = found(text);
    t.deepEqual(list.map(({ code }) => code), ["too_many"]);
    if (title.includes("list")) t.regex(list[0]?.message ?? "", /list items/);
  });
}

test("shared lists within the limit have the value they say, and deep ones are shown short", (t) => {
  const ten = DOUBLED.slice(0, 10);
  t.deepEqual(model("  l0 = [1, 1]", ...ten, "  output y = l10 == [l9, l9] and l10 != [l9, l8] ? x : reshape(x, [1])"), []);
  const [shown] = model("  l0 = [1, 1]", ...ten, "  output y = sqrt(l10) + x");
  t.is(shown?.message, "`sqrt` takes a tensor here, got the list [[[…], […]], [[…], […]]]");
});

test("a text that holds itself twice is stopped", (t) => {
  t.deepEqual(places(model('  s = "a"', '  for i in 0..40 { s = "{s}{s}" }', "  output y = x")), ["6 too_large"]);
});

test("paths are a checkpoint's names, and fit into file names", (t) => {
  const list = model(
    '  a = linear(x, 3) as "a*/ \\n b\\"`"', '  b = linear(x, 3) as "../../evil"', '  c = linear(x, 3) as "c..d"',
    `  d = linear(x, 3) as "${"q".repeat(141)}"`, '  e = linear(x, 3) as "layer{n}.0.proj-in"',
    "  output y = e",
  );
  t.deepEqual(places(list), ["5 bad_path", "6 bad_path", "7 bad_path", "8 too_large"]);
  t.is(list[0]?.message, '"a*/ \\n b\\"`" is not a parameter path');
  t.is(list[3]?.message, "the path of this call has 141 characters; the limit is 140");
  // Nested calls add up.
  const nested = Array.from({ length: 9 }, (_, i) =>
    `block b${i}(x: [B, N]) -> [B, N] { u = ${i < 8 ? `b${i + 1}(x)` : "exp(x)"} as "${"w".repeat(20)}" return u }`);
  const text = `${nested.join("\n").replace(/ as "w+" return u }$/, " return u }")}
model m(n = 3) { input x: [B, n] y = b0(x) as "top" output z = y }`;
  t.deepEqual(found(text).map(({ code }) => code), ["too_large"]);
});

test("a name has a greatest length", (t) => {
  t.deepEqual(model(`  ${"v".repeat(80)} = 1`, `  ${"v".repeat(81)} = 1`, "  output y = x").map(({ message }) => message),
    ["the name `vvvvvvvvvvvvvvvvvvvvvvvv…` has 81 characters; the limit is 80"]);
});

test("what ends lines unseen stands in no comment and no string", (t) => {
  const list = model("  // a\u0085b", '  a = linear(x, 3) as "a\u2028b"', "  /// c\u000Bd", "  output y = x");
  t.deepEqual(places(list), ["5 unknown_character", "6 unknown_character", "7 unknown_character"]);
  t.deepEqual(model("  // Ünï, 猫, 🐈 and\ttabs", "  output y = x"), []);
});

test("numbers that no kernel can hold are told where they stand, once", (t) => {
  const list = model(
    "  a = k + 3000000000", "  b = x * 1e39", "  c = k * (0 - 2147483649)", "  d = maximum(x, 1e39)",
    "  param e: [3] ~ constant(-1e39)", "  param f: [2] ~ [0, 1e300]", "  buffer g: i32[3] ~ 2147483648",
    "  h = pad(x, [0, 1], [0, 1], value = 1e39)", "  i = -1e39 < x", "  output y = x",
  );
  t.deepEqual(places(list), [5, 6, 7, 8, 9, 10, 11, 12, 13].map((line) => `${line} value_error`));
  t.is(list[0]?.message, "the number 3000000000 does not fit i32");
  t.is(list[1]?.message, "the number 1e+39 does not fit f32");
  t.deepEqual(model(
    "  a = k + 2147483647 + (0 - 2147483647 - 1)", "  b = x * 3.4e38 * 1e-60", "  c = 1e39 / 1e30",
    "  output y = b + c + float(a)",
  ), []);
});
