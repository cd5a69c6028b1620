/** `deitc explain NAME`: every name that a person may meet in a file, a message or the library is explained. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { explainName as explain } from "../compiler/cli/commands/explain_name.js";
import { RUN_CODES } from "../compiler/cli/codes.js";
import { OPS } from "../compiler/ops/index.js";
import { language } from "../compiler/index.js";
import { elaborateRecipe } from "../compiler/train/recipe.js";
import { TARGETS } from "../compiler/targets/index.js";
import { CALLS } from "../compiler/train/vocabulary.js";
import { isCode, messages } from "../dsl/messages.js";
import { paramsOf } from "../dsl/signature.js";
import { loadProgram } from "../dsl/resolve.js";
import { members } from "../dsl/vocabulary.js";
import { nodeHost } from "../compiler/cli/host.js";
import { inside } from "./cli_process.js";
import { Library } from "../compiler/cli/library.js";

const library = new Library();
const explainName = (name: string): string => explain(name, library);

const product = ["dsl", "compiler", "runtime"].flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(join(folder, file), "utf8")));

test("every error code that the sources use has an explanation, and all are spelled alike", (t) => {
  const used = new Set(product.flatMap((text) => [
    ...text.matchAll(/(?:\.report|\bdiagnose|\.fail)\(\s*"(\w+)"/g), ...text.matchAll(/\bfault\("([a-z]+_[a-z_]+)"/g),
    ...text.matchAll(/(?:\bsuper|new DeitcError)\(\s*"([\w-]+)"/g), ...text.matchAll(/error\[([\w-]+)\]/g),
  ].map(([, code = ""]) => code)));
  // What the patterns find is not nothing: a code of each kind.
  for (const code of ["unknown_name", "wrong_unit", "out_of_memory", "diverged", "kernel", "bug"]) t.true(used.has(code), code);
  // The stem of a member in `given.fail("precision", …)` is not a code.
  const codes = [...used].filter((code) => !Object.hasOwn(members, code));
  t.deepEqual(codes.filter((code) => !isCode(code) && !Object.hasOwn(RUN_CODES, code)), []);
  for (const code of [...Object.keys(messages), ...Object.keys(RUN_CODES)]) {
    t.regex(code, /^[a-z]+(_[a-z]+)*$/);
    t.regex(explainName(code), new RegExp(`error\\[${code}\\]\\n\\n[A-Z\`][^]*\\.\\n`), code);
  }
});

test("ops, functions, parts of recipes and the library are all explained", (t) => {
  const { opNames } = language();
  for (const name of opNames) t.regex(explainName(name), new RegExp(`^${name}\\(`), name);
  for (const op of OPS.values()) t.true(explainName(op.name).includes(op.doc), op.name);
  for (const [name, { doc, example }] of Object.entries(members)) {
    t.regex(explainName(name), new RegExp(`^${name}: a member of recipes\n\n[^]*takes +.*\ndefault +.*\nexample +.*`), name);
    t.true(explainName(name).includes(doc) && explainName(name).includes(example), name);
  }
  for (const { name, signature, about } of Object.values(CALLS).flatMap((family) => [...family.values()])) {
    const text = explainName(name);
    t.true(text.includes(`${name}${signature}`), name);
    const names = paramsOf(signature).map((param) => param.name.text);
    t.deepEqual(Object.keys(about).sort(), names.toSorted(), name);
    for (const argument of names) {
      t.true(text.includes(about[argument] ?? "?"), `${name}.${argument}`);
      t.regex(explainName(argument), new RegExp(`${argument}: an argument of [^]*${name} `), argument);
    }
  }
});

test("a kernel family tells what it needs and whose templates it has", (t) => {
  for (const { name, doc } of TARGETS) t.true(explainName(name).startsWith(`${name}: a kernel family\n\n${doc}\n`), name);
  t.regex(explainName("wide"), /needs +subgroups, 8 lanes\ncontraction +the template of wide\n/);
});

test("of a block its signature, of a model its header with the values it sets, and how to import both", (t) => {
  t.regex(explainName("layer_norm"),
    /^block layer_norm\(x: \[\.\., D\], eps = 1e-6\) -> \[\.\., D\]\n\nSource: Ba[^]*import \{ layer_norm \} from "deitc\/nn\.deit"[^]*example +.*layer_norm\(/);
  const text = explainName("deit_ti_distilled");
  t.regex(text, /^model deit_ti_distilled extends deit_ti\n\ntimm: /);
  t.regex(text, /^dim +192$/m);
  t.regex(text, /^distilled +true +Whether/m);
  t.regex(text, /^image +224 +Side of the input in pixels/m);
  t.regex(explainName("hard"), /recipe hard\n[^]*deitc\/recipe\.deit:hard/);
});

test("what a member stands for without being stated is what the compiler takes", (t) => {
  const text = 'import { cross_entropy } from "deitc/losses.deit"\nimport { deit_shapes } from "deitc/shapes.deit"\n' +
    "recipe r {\n  student: deit_shapes\n  data = shapes()\n  batch = 8 images\n  length = 1 steps\n  optimizer = adamw(lr = 1)\n" +
    "  loss(images: [B, 3, H, W], labels: i32[B]) { return cross_entropy(student(images).logits, labels) }\n}\n";
  const disk = nodeHost();
  const { program } = loadProgram("r.deit", {
    ...disk, read: (path) => (path === "r.deit" ? { text } : disk.read(path)),
    resolve: (from, spec) => (spec === "r.deit" ? { path: spec } : disk.resolve(from, spec)),
  }, language());
  const settings = program && elaborateRecipe(program, "r", { ops: OPS }).recipe?.settings;
  t.truthy(settings);
  const said = (name: string): string => members[name]?.without ?? "";
  t.true(said("accumulate").startsWith(`${settings?.accumulate ?? NaN} step, `));
  t.is(said("seed"), String(settings?.seed));
  t.is(said("precision"), settings?.precision ?? "");
  t.true(said("schedule").startsWith(`${settings?.schedule.name ?? ""}()`));
  t.deepEqual([settings?.clip, settings?.ema, settings?.augment], [undefined, undefined, []]);
  for (const [name, { required, without }] of Object.entries(members)) t.is(without === undefined, required === true, name);
});

test("an unknown name is answered with the nearest known one", async (t) => {
  for (const [name, near] of [["adamv", "adamw"], ["LayerNorm", "layer_norm"], ["acumulate", "accumulate"], ["deit_c", "deit_b"]] as const) {
    const { code, err } = await inside(".", ["explain", name]);
    t.is(code, 1);
    t.regex(err, new RegExp(`^error: \`${name}\` is not [^]*did you mean \`${near}\``));
  }
});
