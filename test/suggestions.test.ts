/** What is suggested for a name that is not known: slips, other vocabularies, and what the library would bring. */
import { readdirSync, readFileSync } from "node:fs";
import test from "ava";
import { language } from "../compiler/index.js";
import { OPS } from "../compiler/ops/index.js";
import { parse } from "../dsl/parse.js";
import { loadProgram, type SourceHost } from "../dsl/resolve.js";
import { parseSignature } from "../dsl/signature.js";
import { nearest, suggest } from "../dsl/suggest.js";
import { SYNONYMS } from "../dsl/synonyms.js";
import { members } from "../dsl/vocabulary.js";
import { nodeHost } from "../compiler/cli/host.js";

test("another vocabulary's name comes before a slip, and whole words more or fewer after it", (t) => {
  const ops = language().opNames;
  const meant: readonly (readonly [string, Iterable<string>, string | undefined])[] = [
    ["cat", ops, "concat"], ["view", ops, "reshape"], ["rand", ops, "uniform"], ["mm", ops, "matmul"],
    ["MaxPool2d", ops, "max_pool2d"], ["GELU", ops, "gelu"], ["trunc_normal_", ops, "trunc_normal"],
    ["dim", ["x", "axis"], "axis"], ["keepdim", ["x", "axis", "keep"], "keep"],
    ["LayerNorm", ["linear", "layer_norm"], "layer_norm"], ["Linear", ["linear", "layer_norm"], "linear"],
    ["patch_size", ["patch", "dim"], "patch"], ["drop_path_rate", ["drop", "drop_path"], "drop_path"],
    ["num_heads", ["image", "heads"], "heads"], ["warmup", ["warmup_lr"], "warmup_lr"],
    ["scale", ["scale_first", "scale_second"], undefined], // neither is likelier
    ["heasd", ["heads", "head_dist"], "heads"], ["x_1", ["x"], undefined],
    ["dim", ["dims"], "dims"], // what the vocabulary means is not known here
  ];
  for (const [name, known, expected] of meant) t.is(nearest(name, known), expected, name);
  t.is(suggest("True", ["x"], "known here"), "did you mean `true`?");
  t.is(suggest("None", [], "known here"), "did you mean `none`?");
});

test("a method is called as the op, by its name here", (t) => {
  const called = [
    ["x.var()", "variance"], ["x.chunk(2)", "split"], ["x.view(4)", "reshape"], ["x.repeat(2)", "tile"],
    ["nn.Dense(4)", "linear"], ["nn.LayerNorm(4)", "layer_norm"], ["x.dim()", "dim"], ["x.softmax()", "softmax"],
  ] as const;
  for (const [call, name] of called) {
    const { diagnostics } = parse({ path: "m.deit", text: `model m() {\n  y = ${call}\n}\n` });
    t.regex(diagnostics[0]?.help ?? "", new RegExp(`as in \`${name}\\(x\\)\``, "u"), call);
  }
  const { diagnostics } = parse({ path: "m.deit", text: "model m() {\n  y = x.size(0)\n}\n" });
  t.regex(diagnostics[0]?.help ?? "", /^the type of an input or of a block's parameter names its sizes/u);
});

test("every synonym stands for something that there is", (t) => {
  const { opNames, calls } = language();
  const recipeCalls = Object.values(calls).flatMap((family) => Object.entries(family));
  const argumentsOf = (signature: string): string[] => parseSignature(signature).params.map((param) => param.name.text);
  const library = readdirSync("models").filter((file) => file.endsWith(".deit")).flatMap((file) =>
    parse({ path: file, text: readFileSync(`models/${file}`, "utf8") }).file.declarations);
  const headers = library.flatMap((one) =>
    one.kind === "block" ? one.params : one.kind === "model" ? one.definition?.params ?? [] : []);
  const known = new Set([
    ...opNames, ...Object.keys(members), ...recipeCalls.map(([name]) => name),
    ...recipeCalls.flatMap(([, signature]) => argumentsOf(`${signature} -> []`)),
    ...[...OPS.values()].filter((op) => op.internal !== true).flatMap(({ signature }) => argumentsOf(signature)),
    ...library.map(({ name }) => name.text), ...headers.map(({ name }) => name.text),
  ]);
  const stale = Object.entries(SYNONYMS).flatMap(([name, meant]) =>
    meant.filter((one) => !known.has(one)).map((one) => `${name}: ${one}`));
  t.deepEqual(stale, []);
  // A word that is a name here as well would never be looked up where it is known, and mislead where it is not.
  t.deepEqual(Object.keys(SYNONYMS).filter((name) => opNames.has(name)), []);
});

test("a name of the library is to be imported, from a file of blocks where there is one", (t) => {
  const disk = nodeHost();
  const text = [
    "model m extends vit { }", "model n() {", "  input x: [B, 4]", "  a = linear(x, 3)", "  b = LayerNorm(x)",
    "  c = conv_nrm(x)", "  d = sofmax(x)", "  output y = x", "}", "",
  ].join("\n");
  const host: SourceHost = {
    ...disk, read: (path) => (path === "m.deit" ? { text } : disk.read(path)),
    resolve: (from, spec) => (spec === "m.deit" ? { path: spec } : disk.resolve(from, spec)),
  };
  const { diagnostics } = loadProgram("m.deit", host, language());
  t.deepEqual(diagnostics.map(({ code, help }) => `${code}: ${help ?? ""}`), [
    'unknown_name: import it: `import { vit } from "deitc/vit.deit"`',
    'unknown_name: import it: `import { linear } from "deitc/nn.deit"`',
    'unknown_name: did you mean `layer_norm`? Import it: `import { layer_norm } from "deitc/nn.deit"`',
    'unknown_name: did you mean `conv_norm`? Import it: `import { conv_norm } from "deitc/regnet.deit"`',
    "unknown_name: did you mean `softmax`?",
  ]);
});
