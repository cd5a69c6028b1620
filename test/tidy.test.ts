/**
 * @file House rules as tests: sizes, directions of imports, and no model's name in the compiler.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import test from "ava";
import { VERSION } from "../compiler/emit/version.js";

const FOLDERS = ["dsl", "compiler", "runtime", "test"] as const;
const sources = FOLDERS.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((f) => f.endsWith(".ts")).map((f) => join(folder, f)));
const text = new Map(sources.map((file) => [file, readFileSync(file, "utf8")]));
/** Tables of names are long lists of facts. */
const DATA = /runtime[\\/]data[\\/]imagenet\.ts$/;

test("files stay under 400 lines", (t) => {
  const long = [...text].filter(([file, code]) => !DATA.test(file) && code.split("\n").length > 401).map(([file]) => file);
  t.deepEqual(long, []);
});

test("lines of the product stay within 120 columns", (t) => {
  const product = [...text].filter(([file]) => !file.startsWith("test") && !DATA.test(file));
  t.deepEqual(linesWhere(product, (line) => [...line].length > 120), []);
});

/** `file:line` of every line that `is` holds for. */
const linesWhere = (files: readonly (readonly [string, string])[], is: (line: string) => boolean): string[] =>
  files.flatMap(([file, code]) => code.split("\n").flatMap((line, i) => (is(line) ? [`${file}:${i + 1}`] : [])));

/**
 * Files and packages that `file` imports: relative ones as paths from the top, types included unless `values`, and what
 * is imported when it is needed unless `now`.
 */
function imports(file: string, values: boolean, now = false): string[] {
  const code = text.get(file) ?? "";
  const found: string[] = [];
  for (const [, type, from] of code.matchAll(/^(?:import|export)\s+(type\s)?[^;]*?from\s+"([^"]+)"/gms)) {
    if (values && type) continue;
    if (from) found.push(from.startsWith(".") ? normalize(join(dirname(file), from)) : from);
  }
  if (now) return found;
  for (const [, from] of code.matchAll(/import\("([^"]+)"\)/g)) if (from) found.push(from.startsWith(".") ? normalize(join(dirname(file), from)) : from);
  return found;
}

test("imports point down: dsl ← compiler → (types, recipes' vocabulary) runtime; only the command line sees both sides", (t) => {
  for (const file of sources) {
    const [folder] = file.split(/[\\/]/);
    const cli = file.startsWith(join("compiler", "cli"));
    for (const from of imports(file, false)) {
      if (folder === "dsl") t.true(from.startsWith("dsl") || from === "chevrotain", `${file} imports ${from}`);
      if (folder === "runtime") t.false(from.startsWith("compiler") || from.startsWith("dsl"), `${file} imports ${from}`);
      if (folder === "runtime" && !file.startsWith(join("runtime", "node"))) {
        t.true(from.startsWith("runtime") && !from.startsWith(join("runtime", "node")), `${file} imports ${from}: the core takes nothing from outside`);
      }
    }
    if (folder === "compiler" && !cli) for (const from of imports(file, true)) {
      const vocabulary = from.startsWith(join("runtime", "train", "vocabulary"));
      t.true(vocabulary || !from.startsWith("runtime"), `${file} loads ${from}`);
    }
  }
});

test("no file imports itself by a detour", (t) => {
  const product = sources.filter((file) => !file.startsWith("test"));
  const edges = new Map(product.map((file) => [file, imports(file, false).map((from) => from.replace(/\.js$/, ".ts"))]));
  const [done, open] = [new Set<string>(), [] as string[]];
  const circles: string[] = [];
  const visit = (file: string): void => {
    if (open.includes(file)) circles.push([...open.slice(open.indexOf(file)), file].join(" → "));
    if (done.has(file) || open.includes(file)) return;
    open.push(file);
    for (const from of edges.get(file) ?? []) visit(from);
    open.pop();
    done.add(file);
  };
  product.forEach(visit);
  t.deepEqual(circles, []);
});

test("the command line starts without the compiler, and asks for each package where it is needed", (t) => {
  const loaded = new Set<string>();
  const load = (file: string): void => {
    if (loaded.has(file)) return;
    loaded.add(file);
    for (const from of imports(file, true, true)) load(from.replace(/\.js$/, ".ts"));
  };
  load(join("compiler", "cli", "main.ts"));
  const packages = [...loaded].filter((file) => !file.endsWith(".ts") && !file.startsWith("node:")).sort();
  t.deepEqual(packages, ["cli-progress", "commander"]);
  const heavy = /^(?:dsl.(?:parse|resolve|chevrotain)|compiler.(?:ops|elaborate|rewrite|fuse|lower|train|inspect)\b)/;
  t.deepEqual([...loaded].filter((file) => heavy.test(file) || DATA.test(file)), []);
});

test("files are read and written by the command line and `runtime/node` alone", (t) => {
  const home = [join("compiler", "cli"), join("runtime", "node"), "test"];
  for (const file of sources.filter((one) => !home.some((folder) => one.startsWith(folder)))) {
    for (const from of imports(file, true)) t.false(from.startsWith("node:"), `${file} loads ${from}`);
  }
});

test("every export is used somewhere else", (t) => {
  const words = new Map([...text].map(([file, code]) => [file, new Set(code.match(/[\w$]+/g))]));
  // What others may import: the package's exports, and what generated code calls.
  const starred = new Set([...text].flatMap(([file, code]) => [...code.matchAll(/^export \* from "([^"]+)\.js"/gm)]
    .map(([, from = ""]) => `${normalize(join(dirname(file), from))}.ts`)));
  const isOpen = (file: string): boolean =>
    /(^|[\\/])index\.ts$/.test(file) || file.startsWith("test") || starred.has(file);
  const unused = [...text].filter(([file]) => !isOpen(file)).flatMap(([file, code]) =>
    [...code.matchAll(/^export (?:async )?(?:function\*?|const|class|interface|type) (\w+)/gm)].flatMap(([, name = ""]) =>
      ([...words].some(([other, used]) => other !== file && used.has(name)) ? [] : [`${file}: ${name}`])));
  t.deepEqual(unused, []);
});

/** Lines that say something, with their numbers: no blanks, comments, imports or brackets alone. Spaces do not count. */
function tellingLines(code: string): { readonly line: string; readonly number: number }[] {
  const bare = code.replace(/^(?:import|export)\s[^;]*?from\s+"[^"]+";$/gms, (statement) => statement.replace(/[^\n]/g, ""));
  return bare.split("\n").map((line, i) => ({ line: line.replace(/\s+/g, " ").trim(), number: i + 1 }))
    .filter(({ line }) => /\w/.test(line) && !/^(\/\/|\/?\*)/.test(line));
}

/** `file:line repeats file:line` wherever `count` lines in a row stand in an earlier place too. */
function repeatedRuns(files: Iterable<readonly [string, string]>, count: number): string[] {
  const first = new Map<string, string>();
  const found: string[] = [];
  for (const [file, code] of files) {
    const lines = tellingLines(code);
    let end = 0;
    for (let i = 0; i + count <= lines.length; i++) {
      const run = lines.slice(i, i + count).map(({ line }) => line).join("\n");
      const here = `${file}:${lines[i]?.number}`;
      const earlier = first.get(run);
      if (earlier === undefined) first.set(run, here);
      else if (i >= end) [end] = [i + count, found.push(`${here} repeats ${earlier}`)];
    }
  }
  return found;
}

test("no six lines of the product stand in two places", (t) => {
  const product = [...text].filter(([file]) => !file.startsWith("test") && !DATA.test(file));
  for (const folder of ["compiler", "dsl", "runtime"]) t.true(product.some(([file]) => file.startsWith(folder)), folder);
  t.deepEqual(repeatedRuns(product, 6), []);
});

test("a repeated run is found whatever its place, indentation and comments", (t) => {
  const run = ["const a = 1;", "const b = 2;", "if (a < b) {", "  f(a);", "}", "g(b);", "h(a, b);"];
  const moved = ["import { f } from \"./f.js\";", "start();", ...run.flatMap((line) => [`    ${line}`, "// why"]), "end();"];
  t.deepEqual(repeatedRuns([["one.ts", run.join("\n")], ["two.ts", moved.join("\n")]], 6), ["two.ts:3 repeats one.ts:1"]);
  t.deepEqual(repeatedRuns([["one.ts", run.join("\n")], ["two.ts", run.slice(1).join("\n")]], 6), []);
});

test("the compiler knows ops, never models", (t) => {
  const names = /\b(deit_?(ti|s|b|iii|3|tiny|small|base)|vit_|regnet|resnet|efficientnet|cls_token|dist_token|pos_embed|qkv)\b/i;
  /** The one home of checkpoint names. */
  const allowed = /runtime[\\/]weights[\\/](names|posembed|match)\.ts$/;
  const product = [...text].filter(([file]) => !file.startsWith("test") && !allowed.test(file) && !DATA.test(file));
  // A comment or an example of a command may name a model.
  const harmless = /^\s*(\/\/|\*|\/\*)|\bexamples?\b|\.deit\b|deitc |\/\*\*/;
  t.deepEqual(linesWhere(product, (line) => names.test(line) && !harmless.test(line)), []);
});

test("nothing is promised, skipped or escaped", (t) => {
  const words = new RegExp(["TO" + "DO", "FIX" + "ME", "not implem" + "ented", "@ts-ig" + "nore", ": an" + "y\\s*[;,)=\\]]", "as an" + "y\\b"].join("|"));
  t.deepEqual(linesWhere([...text], (line) => words.test(line)), []);
});

test("the compiler's version is the package's", (t) => {
  t.is(VERSION, (JSON.parse(readFileSync("package.json", "utf8")) as { version: string }).version);
});
