/**
 * Golden diagnostics: every `test/language/NAME.deit` gives exactly the text of `NAME.txt` (UPDATE_GOLDEN=1 rewrites
 * them); the catalogue; the forms of a diagnostic; loading through the Node host.
 */
import {
  existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "ava";
import { nodeHost } from "../compiler/cli/host.js";
import { language } from "../compiler/index.js";
import { diagnose, diagnosticJson, Diagnostics, renderDiagnostic, renderDiagnostics } from "../dsl/diagnostics.js";
import { Grammar } from "../dsl/grammar.js";
import { isCode, isReadyCode, messages } from "../dsl/messages.js";
import { parse } from "../dsl/parse.js";
import type { Program } from "../dsl/program.js";
import { membersOf } from "../dsl/recipe.js";
import { loadProgram, type SourceHost } from "../dsl/resolve.js";
import { parseSignature } from "../dsl/signature.js";
import { editDistance, nearest, suggest } from "../dsl/suggest.js";
import { RECIPE_CALLS } from "../compiler/train/vocabulary.js";

const FOLDER = "test/language";
/** Few, so that lists of known names in the golden texts do not change with every new op. */
const opNames = new Set(["matmul", "transpose", "softmax", "exp", "mean", "zeros", "sqrt"]);
const host = nodeHost(path.resolve("models"), FOLDER);
const names = readdirSync(FOLDER).filter((file) => file.endsWith(".deit")).map((file) => file.slice(0, -5)).sort();

for (const name of names) {
  test(`diagnostics: ${name}`, (t) => {
    const { program, diagnostics } = loadProgram(`${name}.deit`, host, { opNames, calls: RECIPE_CALLS });
    const text = diagnostics.length === 0 ? "" : `${renderDiagnostics(diagnostics)}\n`;
    t.is(program === undefined, diagnostics.length > 0);
    const golden = path.join(FOLDER, `${name}.txt`);
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(golden, text);
    t.true(existsSync(golden), `${golden} is missing: run with UPDATE_GOLDEN=1 and review it`);
    t.is(text, readFileSync(golden, "utf8"));
    // A message is one sentence on one line, the help one fix.
    for (const { message, help } of diagnostics) t.notRegex(message + (help ?? ""), /\n|undefined|\[object/);
  });
}

test("the front end's codes are all covered by golden texts", (t) => {
  const shown = names.map((name) => readFileSync(path.join(FOLDER, `${name}.txt`), "utf8")).join("\n");
  // Raised by the compiler (shapes, paths, gradients), by the command line, or below in this file.
  const elsewhere = new Set([
    "shape_mismatch", "rank_mismatch", "element_count", "symbolic_batch", "unnamed_parameters", "duplicate_path",
    "tensor_condition", "bad_path", "no_gradient", "unknown_target", "ambiguous_target", "not_a_recipe", "file_not_found", "random_in_inference", "too_large", "too_many",
  ]);
  const missing = Object.keys(messages).filter((code) => !elsewhere.has(code) && !shown.includes(`error[${code}]`));
  t.deepEqual(missing, []);
});

test("every code has an explanation, and is known as a code", (t) => {
  for (const [code, { explain }] of Object.entries(messages)) {
    t.regex(explain, /\.$/, code);
    t.true(isCode(code));
  }
  t.false(isCode("toString"));
  t.true(isReadyCode("shape_mismatch"));
  t.false(isReadyCode("missing_unit"));
});

test("the messages of codes that the compiler raises", (t) => {
  const span = { source: { path: "m.deit", text: "y = f(x)\n" }, start: 4, end: 8 };
  const said = [
    diagnose(
      "shape_mismatch", { text: "`matmul` needs equal inner sizes, got 64 and 197", help: "transpose it" }, span
    ),
    diagnose(
      "not_an_integer", {
        what: "`D / heads`", value: 38.4, working: "192 / 5 = 38.4", help: "heads must divide 192"
      }, span
    ),
    diagnose("symbolic_batch", { where: "a loop bound" }, span),
    diagnose("unnamed_parameters", { callee: "linear", name: "fc1" }, span),
    diagnose("duplicate_path", { path: "fc1.weight" }, span),
    diagnose("tensor_condition", { where: "`if`", text: "of shape [B, 3]" }, span),
    diagnose("no_gradient", { path: "head_dist.weight", instance: "student", output: "logits_dist" }, span),
    diagnose("unknown_target", { name: "vitt", path: "m.deit", known: ["vit"] }, span),
    diagnose("ambiguous_target", { path: "m.deit", known: ["a", "b"] }, span),
    diagnose("not_a_recipe", { name: "vit", path: "m.deit", known: ["a"] }, span),
    diagnose("too_many", { what: "loop turns", count: 1e9, limit: 4096 }, span),
  ];
  t.deepEqual(said.map(({ message, help }) => `${message} | ${help ?? ""}`), [
    "`matmul` needs equal inner sizes, got 64 and 197 | transpose it",
    "`D / heads` must be a positive integer, got 38.4 | 192 / 5 = 38.4; heads must divide 192",
    "the batch `B` cannot determine a loop bound | "
      + "the batch is known only when the module is loaded; use it in a shape or in tensor arithmetic",
    "this call of `linear` has parameters but no name | write `fc1 = linear(…)`, or add `as \"fc1\"`",
    "two parameters would have the path `fc1.weight` | give one of the calls another name on the left, or `as \"…\"`",
    "`if` needs a compile-time value, got a tensor of shape [B, 3] | use `where(c, a, b)`",
    "the loss does not depend on `head_dist.weight` of `student` | use the output `logits_dist` in the loss",
    "`m.deit` has no model or recipe `vitt` | did you mean `vit`?",
    "`m.deit` has several models or recipes | choose one with `--target`: `a` or `b`",
    "`vit` in `m.deit` is a model, not a recipe | choose a recipe with `--target`: `a`",
    "1000000000 loop turns; the limit is 4096 | check the bound for a mistyped digit or unit",
  ]);
});

test("a line of a CRLF file is quoted without its end", (t) => {
  const { diagnostics } = parse({ path: "m.deit", text: "model m() {\r\n  y = 3x\r\n}\r\n" });
  t.deepEqual(renderDiagnostics(diagnostics).split("\n").slice(2, 4), ["2 |   y = 3x", "  |       ^^"]);
});

test("a diagnostic with chain, label, notes and help", (t) => {
  const vit = { path: "models/vit.deit", text: "block a() -> [] {\n\ts = softmax(matmul(q, k))\n}\n" };
  const at = vit.text.indexOf("matmul");
  const diagnostic = diagnose("shape_mismatch", {
    text: "sizes differ", help: "transpose it"
  }, { source: vit, start: at, end: at + 12 }, {
    label: "[B, 3] by [B, 4]",
    notes: [{ text: "`q` was bound here", span: { source: vit, start: 0, end: 5 } }],
    chain: [
      {
        what: "attention", span: { source: vit, start: at, end: at + 1 }
      }, { what: "model deit", span: { source: vit, start: 0, end: 1 } }
    ],
  });
  t.is(renderDiagnostic(diagnostic), [
    "error[shape_mismatch]: sizes differ",
    "  models/vit.deit:2:14",
    "2 |  s = softmax(matmul(q, k))",
    "  |              ^^^^^^^^^^^^ [B, 3] by [B, 4]",
    "  note: `q` was bound here (models/vit.deit:1:1)",
    "  in attention (vit.deit:2), model deit (vit.deit:1)",
    "  help: transpose it",
  ].join("\n"));
  t.deepEqual(diagnosticJson(diagnostic), {
    code: "shape_mismatch", message: "sizes differ", file: "models/vit.deit",
    line: 2, column: 14, endLine: 2, endColumn: 26,
    label: "[B, 3] by [B, 4]", help: "transpose it",
    notes: [{ text: "`q` was bound here", file: "models/vit.deit", line: 1, column: 1 }],
    chain: [{ what: "attention", file: "vit.deit", line: 2 }, { what: "model deit", file: "vit.deit", line: 1 }],
  });
});

test("carets: a span over lines, control characters, a very long line", (t) => {
  const span = (text: string, start: number, end: number) => ({ source: { path: "x", text }, start, end });
  const frame = (text: string, start: number, end: number): string =>
    renderDiagnostic(diagnose("value_error", { text: "x" }, span(text, start, end))).split("\n").slice(2).join("\n");
  t.is(frame("a = (1 +\n  2)\n", 4, 13), "1 | a = (1 +\n  |     ^^^^");
  t.is(frame("a\u001b[31m = 1\n", 9, 10), "1 | a\uFFFD[31m = 1\n  |          ^");
  t.is(frame("\nx", 0, 1), "1 | \n  | ^");
  const long = `${"a".repeat(5000)}!${"b".repeat(5000)}`;
  const [line = "", carets = ""] = frame(long, 5000, 5001).split("\n");
  t.true(line.length < 180);
  t.is(line[carets.indexOf("^")], "!");
});

test("the collector sorts by file and position, drops duplicates; the renderer counts what it leaves out", (t) => {
  const source = { path: "x", text: "0123456789".repeat(10) };
  const diagnostics = new Diagnostics();
  for (const start of [30, 10, 20, 10]) diagnostics.report(
    "value_error", { text: "bad" }, { source, start, end: start + 1 }
  );
  t.deepEqual(diagnostics.list().map((d) => d.span.start), [10, 20, 30]);
  for (let start = 0; start < 50; start++) diagnostics.report(
    "value_error", { text: `${start}` }, { source, start, end: start + 1 }
  );
  t.true(renderDiagnostics(diagnostics.list()).endsWith("… and 33 more errors"));
});

test("suggestions: within two edits, else the list", (t) => {
  t.is(editDistance("optimzer", "optimizer", 2), 1);
  t.is(editDistance("heasd", "heads", 2), 1);
  t.is(editDistance("abc", "xyz", 2), 3);
  t.is(nearest("optimzer", ["data", "optimizer"]), "optimizer");
  t.is(nearest("x", ["y", "f"]), undefined);
  t.is(suggest("zzzzz", ["b", "a"], "its parameters"), "its parameters: `a`, `b`");
  t.regex(suggest("zzzzz", Array.from({ length: 40 }, (_, i) => `n${i}`), "known"), /and 24 more$/);
});

test("the grammar is unambiguous", (t) => {
  t.notThrows(() => new Grammar(true));
});

test("signatures", (t) => {
  const { params, result } = parseSignature("(x: [..], axis: list, keep = false) -> i32[.., 3]");
  t.deepEqual(params.map((param) => param.name.text), ["x", "axis", "keep"]);
  t.is(result.kind === "tensor" ? result.dtype : "", "i32");
  t.throws(() => parseSignature("(x: [..]) ->"), { message: /expected a type/ });
  t.throws(() => parseSignature("(x) -> [] extra"), { message: /end of the text/ });
});

test("the shipped models load", (t) => {
  const shipped = nodeHost(path.resolve("models"));
  const models = new Map<string, number>();
  for (const file of readdirSync("models").filter((one) => one.endsWith(".deit"))) {
    const { program, diagnostics } = loadProgram(`models/${file}`, shipped, language());
    t.is(renderDiagnostics(diagnostics), "", file);
    models.set(file, program?.models.length ?? 0);
  }
  const single = ["ti", "s", "b", "b_384"].flatMap(
    (size) => [size, size === "b_384" ? "b_distilled_384" : `${size}_distilled`]
  );
  for (const size of single) t.is(models.get(`deit_${size}.deit`), 1, size);
  t.is(models.get("deit3.deit"), 9);
  t.is(models.get("plain_vit.deit"), 17);
});

test("a program: declarations in order, sources entry first, recipes with inherited members", (t) => {
  const { program } = loadProgram("models/recipe.deit", nodeHost(path.resolve("models")), language());
  const found: Program = program ?? t.fail("recipe.deit does not load") as never; // `fail` throws
  t.deepEqual(found.recipes.map((one) => one.declaration.name.text), ["hard", "soft"]);
  t.is(found.sources[0]?.path, "models/recipe.deit");
  t.is(new Set(found.sources.map((source) => source.path)).size, found.sources.length);
  t.is(found.scope.lookup("deit_ti_distilled")?.declaration.kind, "model");
  t.is(found.scope.lookup("nothing"), undefined);
  const [, soft] = found.recipes;
  const members = soft === undefined ? new Map() : membersOf(soft);
  t.is(members.get("alpha")?.recipe.name.text, "soft");
  t.is(members.get("batch")?.recipe.name.text, "hard");
});

/** A project in a temporary folder, removed after `use`. */
function inProject(files: Readonly<Record<string, string>>, use: (folder: string) => void): void {
  const folder = mkdtempSync(path.join(tmpdir(), "deitc-language-"));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      writeFileSync(path.join(folder, name), text);
    }
    use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Error codes of loading `entry` of a project. */
function codes(folder: string, entry: string, spy?: (host: SourceHost) => SourceHost): readonly string[] {
  const plain = nodeHost(path.resolve("models"), folder);
  const { diagnostics } = loadProgram(entry, spy === undefined ? plain : spy(plain), { opNames, calls: RECIPE_CALLS });
  return diagnostics.map((d) => d.code);
}

const BLOCK = "block f(x: [B]) -> [B] { return x }\n";

test("entry files that are no sources are one clear error each", (t) => {
  inProject({
    "binary.deit": "model\0\u0001", "large.deit": "// x\n".repeat(300_000), "sub/x.deit": BLOCK
  }, (folder) => {
    t.deepEqual(codes(folder, "nothing.deit"), ["file_not_found"]);
    t.deepEqual(codes(folder, "sub"), ["unreadable_file"]);
    t.deepEqual(codes(folder, "binary.deit"), ["unreadable_file"]);
    t.deepEqual(codes(folder, "large.deit"), ["too_large"]);
    t.deepEqual(codes(folder, "sub/x.deit/y.deit"), ["file_not_found"]);
    t.deepEqual(codes(folder, "/dev/null"), ["unreadable_file"]);
    t.deepEqual(codes(folder, "a".repeat(5000)), ["file_not_found"]);
  });
});

test("an import that leaves the project is refused before it is read", (t) => {
  const files = {
    "project/package.json": "{}", "project/a/ok.deit": 'import { f } from "../b/f.deit"\n', "project/b/f.deit": BLOCK,
    "project/a/out.deit": 'import { f } from "../../f.deit"\nimport { root } from "../../../../../../etc/passwd"\n',
    "project/a/link.deit": 'import { f } from "./linked.deit"\n', "f.deit": BLOCK,
  };
  inProject(files, (folder) => {
    symlinkSync(path.join(folder, "f.deit"), path.join(folder, "project/a/linked.deit"));
    const read: string[] = [];
    const spy = (inner: SourceHost): SourceHost => ({
      ...inner,
      read: (file) => {
        read.push(file);
        return inner.read(file);
      },
    });
    const project = path.join(folder, "project");
    t.deepEqual(codes(project, "a/ok.deit", spy), []);
    t.deepEqual(read, ["a/ok.deit", "b/f.deit"]);
    t.deepEqual(codes(project, "a/out.deit", spy), ["import_outside", "import_outside"]);
    t.deepEqual(codes(project, "a/link.deit", spy), ["import_outside"]);
    t.deepEqual(read, ["a/ok.deit", "b/f.deit", "a/out.deit", "a/link.deit"]);
  });
});

test("shipped models are imported from anywhere, and called by their import path outside the working folder", (t) => {
  inProject({ "x.deit": 'import { vit } from "deitc/vit.deit"\nmodel mine extends vit { depth = 2 }\n' }, (folder) => {
    const { program } = loadProgram("x.deit", nodeHost(path.resolve("models"), folder), language());
    t.deepEqual(program?.sources.map((source) => source.path), ["x.deit", "deitc/vit.deit", "deitc/nn.deit"]);
  });
});

test("one file under several paths is one file", (t) => {
  const files = {
    "x.deit": 'import { f } from "./a/f.deit"\nimport { g } from "./a/../a/f.deit"\n',
    "a/f.deit": `${BLOCK}block g(x: [B]) -> [B] { return f(x) }\n`,
  };
  inProject(files, (folder) => {
    const { program } = loadProgram("./a/../x.deit", nodeHost(path.resolve("models"), folder), { opNames, calls: RECIPE_CALLS });
    t.deepEqual(program?.sources.map((source) => source.path), ["x.deit", "a/f.deit"]);
  });
});

test("too many files and declarations", (t) => {
  const texts = new Map<string, string>();
  for (let i = 0; i < 400; i++) texts.set(
    `f${i}.deit`, `import { b${i + 1} } from "./f${i + 1}.deit"\nblock b${i}(x: [B]) -> [B] { return b${i + 1}(x) }\n`
  );
  texts.set("many.deit", BLOCK.repeat(5000));
  const memory: SourceHost = {
    read: (file) => ({ text: texts.get(file) ?? "" }),
    resolve: (_, spec) => ({ path: spec.replace("./", "") }),
  };
  const first = (entry: string): string | undefined => loadProgram(entry, memory, { opNames, calls: RECIPE_CALLS }).diagnostics[0]?.code;
  t.is(first("f0.deit"), "too_many");
  t.is(first("many.deit"), "too_many");
});

test("long chains of calls and bases are errors, not overflows", (t) => {
  const calls = Array.from({ length: 1500 }, (_, i) => `block b${i}(x: [B]) -> [B] { return b${i + 1}(x) }`).join("\n");
  const bases = Array.from({ length: 1500 }, (_, i) => `model m${i} extends m${i + 1} {}`).join("\n");
  const load = (text: string): readonly string[] => {
    const memory: SourceHost = { read: () => ({ text }), resolve: (_, spec) => ({ path: spec }) };
    return [...new Set(loadProgram("x.deit", memory, { opNames, calls: RECIPE_CALLS }).diagnostics.map((d) => d.code))];
  };
  t.deepEqual(load(`${calls}\nblock b1500(x: [B]) -> [B] { return x }`), ["too_deep"]);
  t.deepEqual(load(`${bases}\nmodel m1500() {\n  input x: [B]\n  output y = x\n}`), ["too_deep"]);
});

test("errors in an imported file are shown there, and not as unknown imports", (t) => {
  const texts: Readonly<Record<string, string>> = {
    "a.deit": 'import { f, g } from "./b.deit"\nblock h(x: [B]) -> [B] { return f(g(x)) }\n',
    "b.deit": `${BLOCK}block g(x: [B) -> [B] { return x }\n`,
  };
  const memory: SourceHost = {
    read: (file) => ({ text: texts[file] ?? "" }), resolve: (_, spec) => ({ path: spec.replace("./", "") })
  };
  const { diagnostics } = loadProgram("a.deit", memory, { opNames, calls: RECIPE_CALLS });
  t.deepEqual(diagnostics.map((d) => [d.code, d.span.source.path]), [["unexpected_token", "b.deit"]]);
});

test("spans cover what they name", (t) => {
  const text = "block f(x: [B, N]) -> [B, N] {\n  y = (x + 1) * exp(x, axis = 2)[:, ::2] as_\n}\n".replace(" as_", "");
  const { file } = parse({ path: "x", text });
  const block = file.declarations[0];
  const statement = block?.kind === "block" ? block.body.statements[0] : undefined;
  t.truthy(statement);
  if (statement?.kind !== "assign" || statement.value.kind !== "binary") return t.fail("not a product");
  const cut = ({ start, end }: { readonly start: number; readonly end: number }): string => text.slice(start, end);
  t.is(cut(statement.span), "y = (x + 1) * exp(x, axis = 2)[:, ::2]");
  t.is(cut(statement.value.span), "(x + 1) * exp(x, axis = 2)[:, ::2]");
  t.is(cut(statement.value.left.span), "x + 1");
  t.is(cut(statement.value.right.span), "exp(x, axis = 2)[:, ::2]");
  t.is(cut(block?.name.span ?? statement.span), "f");
});
