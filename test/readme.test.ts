/** What README and the documents beside the code say: links lead somewhere, commands parse, sources check. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test from "ava";
import sharp from "sharp";
import ts from "typescript";
import { generatedShapes } from "../compiler/cli/photo.js";
import { commandLine } from "../compiler/cli/program.js";
import { inside } from "./cli_process.js";
import { shapesPicture } from "./shapes_picture.js";

const DOCUMENTS = ["README.md", "compiler/README.md", "dsl/README.md", "models/README.md", "runtime/README.md", "runtime/PROMISES.md", "test/README.md",
  "test/golden/README.md"];
const text = (file: string): string => readFileSync(file, "utf8");

/** Fenced blocks in a language; the empty one is the `.deit` sources and the drawings. */
const blocks = (file: string, language: string): string[] =>
  [...text(file).matchAll(/^```(\w*)\n(.*?)^```$/gms)].filter(([, of]) => of === language).map(([, , code = ""]) => code);

/** A heading's anchor as GitHub makes it. */
const anchors = (file: string): string[] => [...text(file).matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
  title.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(/\s/g, "-"));

test("README stays short", (t) => {
  t.true(text("README.md").split("\n").length <= 200);
});

test("every relative link leads to a file, and to a heading where it names one", (t) => {
  let count = 0;
  for (const file of DOCUMENTS) {
    for (const [, target = ""] of text(file).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      count++;
      const [path = "", anchor] = target.split("#");
      const to = path === "" ? file : join(dirname(file), path);
      t.true(existsSync(to), `${file}: ${target}`);
      if (anchor !== undefined && existsSync(to)) t.true(anchors(to).includes(anchor), `${file}: ${target}`);
    }
  }
  t.true(count >= 10);
});

test("every promise names a test that there is", (t) => {
  const escaped = (part: string): string => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const promises = text("runtime/PROMISES.md").split("\n").filter((line) => /^\| .* \| `/u.test(line));
  t.true(promises.length > 30);
  for (const line of promises) {
    const [, file = "", title = ""] = /\| `([\w/]+)`: (.*) \|$/u.exec(line) ?? [];
    const [path] = [`test/${file}.test.ts`, `test/${file}.ts`].filter((name) => existsSync(name));
    const pattern = new RegExp(`[\`"]${title.split("…").map(escaped).join(".+")}[\`"]`, "u");
    t.regex(path === undefined ? "" : text(path), pattern, line);
  }
});

/** Words of a command line as a shell splits them, without the comment behind. */
function words(line: string): string[] {
  const found = line.match(/'[^']*'|"[^"]*"|[^\s'"]+/g) ?? [];
  const end = found.findIndex((word) => word.startsWith("#"));
  return (end < 0 ? found : found.slice(0, end)).map((word) => word.replace(/^(['"])(.*)\1$/s, "$2"));
}

/** Command lines of shell blocks, and those in backquotes that are more than the name of a command. */
function commands(file: string): string[] {
  const shell = blocks(file, "sh").join("\n").replaceAll(/\\\n/g, " ").split("\n").flatMap((line) => line.split("&&"));
  const inline = [...text(file).replaceAll(/^```.*?^```$/gms, "").matchAll(/`(deitc \w+ [^`]+)`/g)].map(([, line = ""]) => line);
  return [...shell, ...inline].map((line) => line.trim());
}

test("every command line of deitc parses, and every npm script exists", (t) => {
  const { scripts } = JSON.parse(text("package.json")) as { readonly scripts: Readonly<Record<string, string>> };
  let [own, npm] = [0, 0];
  for (const line of DOCUMENTS.flatMap(commands)) {
    const [program, ...args] = words(line.replace(/^node dist\/compiler\/cli\/main\.js/, "deitc"));
    if (program === "npm" && args[0] === "run" && ++npm > 0) t.true(scripts[args[1] ?? ""] !== undefined, line);
    if (program !== "deitc") continue;
    own++;
    const parser = commandLine(() => undefined);
    let ran = "";
    for (const command of parser.commands) command.action(() => void (ran = command.name()));
    t.notThrows(() => parser.parse(args, { from: "user" }), line);
    t.is(ran, args[0] ?? "", line);
  }
  t.true(own >= 12, `${own} command lines`);
  t.true(npm >= 1);
});

test("every command of the table exists, and every command is in it", (t) => {
  const table = [...text("README.md").matchAll(/^\| `(\w+)[^|]*\|(.*)\|$/gm)];
  const known = new Map(commandLine(() => undefined).commands.map((command) => [command.name(), command]));
  t.deepEqual(table.map(([, name = ""]) => name).sort(), [...known.keys()].filter((name) => name !== "help").sort());
  for (const [, name = "", says = ""] of table) {
    for (const [option] of says.matchAll(/--[a-z-]+/g)) {
      t.true(known.get(name)?.options.some(({ long }) => long === option), `${name} ${option}`);
    }
  }
});

test("the sources in the documents compile", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "deitc-readme-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  // Paths of weights in a recipe are relative to its folder: the source stands at the top of a clone.
  symlinkSync(join(process.cwd(), "models"), join(folder, "models"));
  const sources = ["README.md", "dsl/README.md"].flatMap((file) => blocks(file, "").filter((code) => code.startsWith("import ")));
  t.is(sources.length, 2);
  for (const source of sources) {
    writeFileSync(join(folder, "tiny.deit"), source);
    const { code, out, err } = await inside(folder, ["check", "tiny.deit"]);
    t.is(code, 0, err);
    t.regex(out, /model small: OK/);
  }
});

test("the programs in the documents type-check", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "deitc-readme-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(process.cwd(), join(folder, "node_modules", "deitc"));
  symlinkSync(join(process.cwd(), "node_modules", "@types"), join(folder, "node_modules", "@types"));
  writeFileSync(join(folder, "package.json"), '{ "name": "mine", "version": "1.0.0", "type": "module" }');
  const models = join(process.cwd(), "models");
  for (const args of [[join(models, "deit_ti.deit")], [join(models, "shapes.deit"), "--target", "shapes"]]) {
    t.is((await inside(folder, ["compile", ...args])).code, 0);
  }
  const programs = ["README.md", "runtime/README.md"].flatMap((file) => blocks(file, "ts"));
  t.is(programs.length, 3);
  const files = programs.map((code, i) => {
    writeFileSync(join(folder, `use${i}.ts`), code);
    return join(folder, `use${i}.ts`);
  });
  const checked = ts.createProgram(files, {
    strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext, lib: ["lib.es2023.d.ts"], types: ["node"], typeRoots: [join(folder, "node_modules", "@types")],
  });
  t.deepEqual(ts.getPreEmitDiagnostics(checked).map((d) => ts.flattenDiagnosticMessageText(d.messageText, "\n")), []);
});

test("README's picture shows what the model says of the generated shapes", async (t) => {
  const read = (svg: string): { texts: string[]; images: string[] } => ({
    texts: [...svg.matchAll(/<text[^>]*>([^<]*)</g)].map(([, label = ""]) => label),
    images: [...svg.matchAll(/base64,([^"]+)"/g)].map(([, data = ""]) => data),
  });
  const [shown, made] = [read(text("models/shapes.svg")), read(await shapesPicture())];
  const parts = (label: string): [string, number] => [label.replace(/ \d+ %$/, ""), Number(/(\d+) %$/.exec(label)?.[1])];
  t.deepEqual(shown.texts.map((label) => parts(label)[0]), made.texts.map((label) => parts(label)[0]));
  // Another adapter may round a score to the next per cent.
  made.texts.forEach((label, i) => t.true(Math.abs(parts(label)[1] - parts(shown.texts[i] ?? "")[1]) <= 1, label));
  const shapes = await generatedShapes(shown.images.length, 0);
  t.is(shapes.length, 16);
  for (const [i, { pixels }] of shapes.entries()) {
    const drawn = await sharp(Buffer.from(shown.images[i] ?? "", "base64")).removeAlpha().raw().toBuffer();
    const difference = drawn.reduce((sum, value, at) => sum + Math.abs(value - (pixels.data[at] ?? 0)), 0) / drawn.length;
    t.true(difference < 4, `image ${i} differs by ${difference} levels on average`); // a palette of 256 colours
  }
});
