/** The command line as a user meets it: a process of its own, its exit code, what it prints and what it leaves behind. */
import type { ChildProcess } from "node:child_process";
import {
  existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import anyTest, { type TestFn } from "ava";
import sharp from "sharp";
import { packageFolder } from "../compiler/cli/package.js";
import { openCheckpoint } from "../runtime/weights/checkpoint.js";
import { memoryAccess } from "../runtime/weights/access.js";
import { encodeSafetensors } from "../runtime/weights/safetensors.js";
import { deitc, inside, small, SMALL, start } from "./cli_process.js";

const test = anyTest as TestFn<{ folder: string }>; // ava's own way to type the context
const model = (name: string): string => join(packageFolder(), "models", `${name}.deit`);

test.beforeEach((t) => {
  t.context.folder = mkdtempSync(join(tmpdir(), "deitc-cli-"));
});
test.afterEach.always((t) => rmSync(t.context.folder, { recursive: true, force: true }));

const noise = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => (i * 7919 + (i >> 3) * 104729) & 255));

async function checkpoint(shapes: Readonly<Record<string, readonly number[]>>): Promise<Buffer> {
  const tensors = Object.entries(shapes).map(([name, shape]) => ({
    name, shape, data: new Float32Array(shape.reduce((n, d) => n * d, 1)).fill(0.5),
  }));
  return Promise.resolve(Buffer.concat(encodeSafetensors(tensors)));
}

const photo = (): Promise<Buffer> =>
  sharp(noise(3 * 300 * 300), { raw: { width: 300, height: 300, channels: 3 } }).jpeg().toBuffer();

interface BadInput {
  readonly title: string;
  /** Prepares the folder and gives the command line. */
  args(folder: string): readonly string[] | Promise<readonly string[]>;
  readonly code: number;
  readonly says: RegExp;
}

const weightsOf = (file: string): readonly string[] => ["predict", model("deit_ti"), "--weights", file, "photo.jpg"];

const written = (name: string, content: string | Buffer, args: readonly string[]) => (folder: string): readonly string[] => {
  writeFileSync(join(folder, name), content);
  return args;
};

const broken: readonly BadInput[] = [
  { title: "a missing file", args: () => ["compile", "nothing.deit"], code: 1, says: /file_not_found.*nothing\.deit/s },
  { title: "a folder", args: () => ["compile", "."], code: 1, says: /director|folder/ },
  {
    title: "binary garbage", code: 1, says: /^error\[\w+\].*bad\.deit/s,
    args: written("bad.deit", noise(20_000), ["compile", "bad.deit"]),
  },
  {
    title: "a source of 5 MB", code: 1, says: /error\[too_large\]/,
    args: written("big.deit", "model m() { }\n".repeat(400_000), ["compile", "big.deit"]),
  },
  {
    title: "10 000 nested parentheses", code: 1, says: /error\[too_deep\]/,
    args: written("deep.deit", `model m() { x = ${"(".repeat(10_000)}1${")".repeat(10_000)} }`, ["compile", "deep.deit"]),
  },
  {
    title: "depth = 1000000000", code: 1, says: /error\[too_\w+\]/,
    args: written("many.deit", 'import { vit } from "deitc/vit.deit"\nmodel m extends vit { depth = 1000000000 }\n', ["compile", "many.deit"]),
  },
  {
    title: "an import that leaves the project", code: 1, says: /error\[import_outside\]/,
    args: (folder) => {
      writeFileSync(join(folder, "package.json"), "{}");
      return written("spy.deit", 'import { root } from "../../../../../../../../etc/passwd"\n', ["compile", "spy.deit"])(folder);
    },
  },
  {
    title: "a truncated checkpoint", code: 1, says: /weights_truncated.*half\.safetensors/s,
    args: async (folder) => {
      const bytes = await checkpoint({ "head.weight": [1000, 192] });
      writeFileSync(join(folder, "photo.jpg"), await photo());
      return written("half.safetensors", bytes.subarray(0, bytes.length / 2), weightsOf("half.safetensors"))(folder);
    },
  },
  {
    title: "a checkpoint of another model", code: 1, says: /weights_mismatch.*cls_token/s,
    args: async (folder) => {
      writeFileSync(join(folder, "photo.jpg"), await photo());
      return written("other.safetensors", await checkpoint({ "layer1.0.conv1.weight": [16, 16, 3, 3] }), weightsOf("other.safetensors"))(folder);
    },
  },
  {
    title: "a file that is not a checkpoint", code: 1, says: /weights_not_recognized/,
    args: async (folder) => {
      writeFileSync(join(folder, "photo.jpg"), await photo());
      return written("page.pth", "<html>not found</html>", weightsOf("page.pth"))(folder);
    },
  },
  {
    title: "a JPEG cut in half", code: 1, says: /image_truncated.*cut\.jpg|image_malformed.*cut\.jpg/s,
    args: async (folder) => {
      const bytes = await photo();
      return written("cut.jpg", bytes.subarray(0, bytes.length / 2), ["predict", model("deit_ti"), "--random-weights", "cut.jpg"])(folder);
    },
  },
  {
    title: "an adapter that does not exist", code: 3, says: /error\[adapter\].*flux capacitor/s,
    args: () => ["predict", model("deit_ti"), "--random-weights", "--generated-photo", "--adapter", "flux capacitor"],
  },
  {
    title: "a batch beyond the adapter's memory", code: 3, says: /error\[out_of_memory\].*largest batch/s,
    args: () => ["predict", model("deit_ti"), "--random-weights", "--generated-photo", "--batch", "100000000"],
  },
  {
    title: "an output folder that cannot be made", code: 1, says: /^error\[file_unwritable\]: .*taken: this is a file/,
    args: (folder) => written("taken", "a file", ["compile", small(folder), "--out", "taken/out"])(folder),
  },
  {
    title: "an output folder that is a file", code: 1, says: /taken: is a file/,
    args: (folder) => written("taken", "a file", ["compile", small(folder), "--out", "taken"])(folder),
  },
  { title: "no weights", args: () => ["predict", model("deit_ti"), "--generated-photo"], code: 2, says: /no weights.*--weights/s },
  { title: "no images", args: () => ["predict", model("deit_ti"), "--random-weights"], code: 2, says: /name an image/ },
  { title: "an unknown command", args: () => ["compyle"], code: 2, says: /unknown command.*compile/s },
  { title: "an unknown option", args: () => ["compile", "--fast", "x.deit"], code: 2, says: /unknown option/ },
  { title: "a batch of letters", args: () => ["bench", "x", "--batch", "two"], code: 2, says: /whole number/ },
  { title: "a tolerance of letters", args: () => ["verify", "x", "--tolerance", "low"], code: 2, says: /at least 0/ },
  { title: "an unknown model of a file", args: () => ["compile", model("deit_ti"), "--target", "deit_x"], code: 1, says: /deit_x/ },
  { title: "an override nobody has", args: () => ["compile", model("deit_ti"), "--set", "dept=3"], code: 1, says: /dept/ },
  { title: "a module's folder without a manifest", args: (folder) => {
    mkdirSync(join(folder, "empty"));
    return ["predict", "empty", "--random-weights", "--generated-photo"];
  }, code: 1, says: /manifest\.json/ },
];

/** Names and sizes of everything below a folder. */
const listing = (folder: string): string[] => readdirSync(folder, { recursive: true }).map(String).sort();

for (const { title, args, code, says } of broken) {
  test.serial(`bad input: ${title}`, async (t) => {
    const { folder } = t.context;
    const line = await args(folder);
    const before = listing(folder);
    const outcome = await deitc(folder, line);
    t.is(outcome.code, code, outcome.err);
    t.regex(outcome.err, says);
    t.notRegex(outcome.err + outcome.out, /^ +at .*[:(]\d+/m, "no stack trace");
    t.notRegex(outcome.err, /error\[bug\]/);
    t.is(outcome.err.match(/^error/gm)?.length, 1, outcome.err);
    t.deepEqual(listing(folder), before, "nothing is left behind");
  });
}

test.serial("every command has help with examples, and the exit code 0", async (t) => {
  const { folder } = t.context;
  const help = await deitc(folder, ["--help"]);
  t.is(help.code, 0);
  const commands = [...help.out.matchAll(/^ {2}([a-z]+) \[options\]/gm)].map(([, name = ""]) => name);
  t.deepEqual(commands, ["compile", "check", "fmt", "explain", "train", "eval", "predict", "bench", "verify", "convert", "doctor"]);
  for (const command of commands) {
    const { code, out } = await inside(folder, [command, "--help"]);
    t.is(code, 0, command);
    t.regex(out, /Examples:\n {2}deitc /, command);
  }
  const version = await deitc(folder, ["--version"]);
  t.deepEqual([version.code, version.out], [0, "0.1.0\n"]);
});

test.serial("compile writes a folder whole, leaves it when nothing changed, and drops stale kernels", async (t) => {
  const { folder } = t.context;
  const file = small(folder);
  t.regex((await inside(folder, ["compile", file])).out, /out\/small: created, Small with 24,611 parameters/);
  const manifest = join(folder, "out", "small", "manifest.json");
  const made = statSync(manifest).mtimeMs;
  t.regex((await inside(folder, ["compile", file])).out, /unchanged/);
  t.is(statSync(manifest).mtimeMs, made);
  writeFileSync(join(folder, "out", "small", "kernels", "stale.wgsl"), "");
  t.regex((await inside(folder, ["compile", file, "--set", "classes=4"])).out, /replaced.*24,620 parameters/);
  t.false(existsSync(join(folder, "out", "small", "kernels", "stale.wgsl")));
  t.deepEqual(readdirSync(join(folder, "out")), ["small"], "no temporary folder stays");
});

test.serial("compile does not touch a folder that holds something else", async (t) => {
  const { folder } = t.context;
  const file = small(folder);
  mkdirSync(join(folder, "mine"));
  writeFileSync(join(folder, "mine", "notes.txt"), "keep");
  const refused = await inside(folder, ["compile", file, "--out", "mine"]);
  t.is(refused.code, 1);
  t.regex(refused.err, /mine: contains notes\.txt, which deitc did not write/);
  t.is(readFileSync(join(folder, "mine", "notes.txt"), "utf8"), "keep");
  t.is((await inside(folder, ["compile", file, "--out", "mine", "--force"])).code, 0);
  t.false(existsSync(join(folder, "mine", "notes.txt")));
  for (const out of [".", ".."]) t.is((await inside(folder, ["compile", file, "--out", out, "--force"])).code, 1, out);
  // The generated package.json is replaced with the rest; one that somebody has changed is theirs, with all around it.
  t.is((await inside(folder, ["compile", file, "--out", "mine", "--set", "classes=4"])).code, 0);
  const described = join(folder, "mine", "package.json");
  writeFileSync(described, readFileSync(described, "utf8").replace('"private": true', '"private": false'));
  const changed = await inside(folder, ["compile", file, "--out", "mine", "--force"]);
  t.regex(changed.err, /mine: contains package\.json and will not be replaced/);
  t.regex(readFileSync(described, "utf8"), /"private": false/);
  t.true(existsSync(join(folder, file)));
});

test.serial("compile --json, --time and --dump say what happened", async (t) => {
  const { folder } = t.context;
  const { code, out } = await inside(folder, ["compile", small(folder), "--json", "--time", "--dump", "inside"]);
  t.is(code, 0);
  const told = JSON.parse(out) as { out: string; passes: { name: string }[] };
  t.is(told.out, join("out", "small"));
  t.true(told.passes.some(({ name }) => name === "fuse"));
  const dumped = readdirSync(join(folder, "inside"));
  t.true(dumped.includes("01-elaborate.txt") && dumped.includes("graph.svg") && dumped.includes("plan-tiled.svg"), dumped.join());
  t.regex(readFileSync(join(folder, "inside", "graph.svg"), "utf8"), /^<svg [^]*fc2[^]*<\/svg>\n$/);
});

/** Waits for what a process says next, however long it takes; rejects if the process ends before. */
function watch(child: ChildProcess): (pattern: RegExp) => Promise<void> {
  let seen = "";
  let look = (): void => undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      seen += chunk.toString();
      look();
    });
  }
  return (pattern) => new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error(`${String(pattern)} did not come in: ${seen}`));
    child.once("close", ended);
    look = () => {
      if (!pattern.test(seen)) return;
      child.off("close", ended);
      [seen, look] = ["", () => undefined];
      resolve();
    };
    look();
  });
}

test.serial("compile --watch compiles again after a change, outlives a mistake, and ends at Ctrl-C", async (t) => {
  const { folder } = t.context;
  const file = small(folder);
  const child = start(folder, ["compile", file, "--watch"]);
  t.teardown(() => child.kill("SIGKILL"));
  const until = watch(child);
  await until(/created[^]*watching 2 files/);
  writeFileSync(join(folder, file), SMALL.replace("gelu(fc1)", "gelu(fc"));
  await until(/error\[[^]*watching/);
  writeFileSync(join(folder, file), SMALL.replace("classes = 3", "classes = 5"));
  await until(/replaced[^]*watching/);
  const ended = new Promise<NodeJS.Signals | null>((resolve) => void child.on("exit", (_, signal) => resolve(signal)));
  child.kill("SIGINT");
  t.is(await ended, "SIGINT");
});

test.serial("check reports all errors together, as text and as JSON", async (t) => {
  const { folder } = t.context;
  writeFileSync(join(folder, "wrong.deit"), SMALL.replace("gelu(fc1)", "gelo(fc1)").replace("linear(reshape", "linnear(reshape"));
  const text = await inside(folder, ["check", "wrong.deit", small(folder)]);
  t.is(text.code, 1);
  t.is(text.err.match(/^error\[unknown_name\]/gm)?.length, 2, text.err);
  t.regex(text.out, /small\.deit: model small: OK, 24,611 parameters in 4 tensors/);
  const json = await inside(folder, ["check", "--json", "wrong.deit"]);
  t.is(json.code, 1);
  const { diagnostics: list } = JSON.parse(json.out) as { diagnostics: { code: string; file: string; line: number }[] };
  t.deepEqual(list.map(({ code, file, line }) => [code, file, line]), [["unknown_name", "wrong.deit", 5], ["unknown_name", "wrong.deit", 6]]);
});

test.serial("fmt prints, checks and rewrites", async (t) => {
  const { folder } = t.context;
  const ragged = SMALL.replace("  fc1 =", "      fc1=").replace("width = 8, classes = 3", "width=8,classes=3");
  writeFileSync(join(folder, "a.deit"), ragged);
  const printed = await inside(folder, ["fmt", "a.deit"]);
  t.is(printed.code, 0, printed.err);
  t.is((await deitc(folder, ["fmt", "-"], {}, ragged)).out, printed.out);
  const checked = await inside(folder, ["fmt", "--check", "a.deit"]);
  t.deepEqual([checked.code, checked.out], [1, "a.deit\n"]);
  t.is((await inside(folder, ["fmt", "--write", "a.deit"])).code, 0);
  t.is(readFileSync(join(folder, "a.deit"), "utf8"), printed.out);
  t.is((await inside(folder, ["fmt", "--check", "a.deit"])).code, 0);
  t.is((await inside(folder, ["fmt", "--check", "--write", "a.deit"])).code, 2);
  t.deepEqual(readdirSync(folder), ["a.deit"]);
});

test.serial("explain knows ops, error codes and models", async (t) => {
  const { folder } = t.context;
  t.regex((await inside(folder, ["explain", "gelu"])).out, /gelu\(x: \[\.\.\]\) -> \[\.\.\][^]*Hendrycks/);
  t.regex((await inside(folder, ["explain", "shape_mismatch"])).out, /error\[shape_mismatch\]/);
  const unknown = await inside(folder, ["explain", "gellu"]);
  t.is(unknown.code, 1);
  t.regex(unknown.err, /did you mean `gelu`/);
  const file = small(folder);
  t.regex((await inside(folder, ["explain", file])).out, /24,611 parameters[^]*Fused[^]*matmul add gelu[^]*Not fused[^]*Rewrite rules/);
  t.regex((await inside(folder, ["explain", file, "--memory"])).out, /activations +\d.*·B/);
  t.regex((await inside(folder, ["explain", file, "--kernel", "fc1"])).out, /@compute/);
  t.is((await inside(folder, ["explain", file, "--kernel", "fc9"])).code, 1);
});

test.serial("verify passes a right model and finds a wrong one by its exit code", async (t) => {
  const { folder } = t.context;
  const file = small(folder);
  const right = await deitc(folder, ["verify", file, "--batch", "3", "--family", "scalar,tiled", "--json"]);
  t.is(right.code, 0, right.err);
  const { wrong, tensors } = JSON.parse(right.out) as { wrong: number; tensors: { family: string; relative: number; output: boolean }[] };
  t.is(wrong, 0);
  t.deepEqual([...new Set(tensors.map(({ family }) => family))], ["scalar", "tiled"]);
  t.true(tensors.filter(({ output }) => output).length === 2 && tensors.every(({ relative }) => relative < 2e-6));
  // Nothing is exact in f32: a tolerance of zero makes every honest kernel wrong.
  const strict = await deitc(folder, ["verify", file, "--tolerance", "0"]);
  t.is(strict.code, 3, strict.err);
  t.regex(strict.out, /WRONG[^]*an op or the driver is at fault[^]*Please report/);
});

test.serial("compile --verify writes what is right, and nothing else", async (t) => {
  const { folder } = t.context;
  const file = small(folder);
  const right = await deitc(folder, ["compile", file, "--verify", "--out", "right"]);
  t.is(right.code, 0, right.err);
  t.regex(right.out, /^verified: all \d+ tensors agree within 0\.0001\nright: created/);
  const unknown = await deitc(folder, ["compile", file, "--without", "speed"]);
  t.is(unknown.code, 2, unknown.err);
  t.regex(unknown.err, /joins, patterns, layout, fusion/);
  const elsewhere = await deitc(folder, ["compile", file, "--verify", "--adapter", "no such", "--out", "nowhere"]);
  t.is(elsewhere.code, 3, elsewhere.err);
  t.false(existsSync(join(folder, "nowhere")));
});

test.serial("predict runs a compiled folder and a .deit file to the same table", async (t) => {
  const { folder } = t.context;
  const run = ["--random-weights", "--seed", "7", "--generated-photo", "--json", "--top", "3"];
  t.is((await deitc(folder, ["compile", model("deit_ti"), "--out", "ti"])).code, 0);
  const [compiled, direct] = [await deitc(folder, ["predict", "ti", ...run]), await deitc(folder, ["predict", model("deit_ti"), ...run])];
  t.is(compiled.code, 0, compiled.err);
  t.is(direct.code, 0, direct.err);
  interface Told { weights: unknown; adapter: string; seconds: object; images: { image: string; classes: { score: number }[] }[] }
  const [a, b] = [compiled, direct].map(({ out }) => JSON.parse(out) as Told);
  t.deepEqual(a?.images, b?.images);
  t.deepEqual(a?.weights, { random: true, seed: 7 });
  t.is(a?.images[0]?.classes.length, 3);
  t.deepEqual(Object.keys(a?.seconds ?? {}), ["decode", "compile", "load", "infer"]);
});

test.serial("bench measures families side by side", async (t) => {
  const { folder } = t.context;
  const line = ["bench", small(folder), "--batch", "1,3", "--family", "scalar,tiled", "--rounds", "2"];
  const { code, out, err } = await deitc(folder, [...line, "--json"]);
  t.is(code, 0, err);
  interface Result { batch: number; family: string; seconds: number[]; kernels: { ms: number }[] }
  const { results } = JSON.parse(out) as { results: Result[] };
  t.deepEqual(results.map((r) => [r.batch, r.family, r.seconds.length]), [
    [1, "scalar", 2], [1, "tiled", 2], [3, "scalar", 2], [3, "tiled", 2],
  ]);
  t.true(results.every((r) => r.kernels.length >= 1));
  t.regex((await deitc(folder, line)).out, /images\/s[^]*GFLOP\/s/);
});

test.serial("convert writes timm's names and does not replace a file unasked", async (t) => {
  const { folder } = t.context;
  const from = { "module.blocks.0.gamma_1": [4], "module.head.weight": [2, 4] };
  writeFileSync(join(folder, "from.safetensors"), await checkpoint(from));
  const line = ["convert", "from.safetensors", "to.safetensors"];
  const { code, out, err } = await deitc(folder, line);
  t.is(code, 0, err);
  t.regex(out, /translated 1 tensor names from the official DeiT code[^]*2 tensors/);
  const { tensors } = await openCheckpoint(memoryAccess("to", readFileSync(join(folder, "to.safetensors"))));
  t.deepEqual([...tensors.keys()].sort(), ["blocks.0.ls1.gamma", "head.weight"]);
  t.is((await deitc(folder, line)).code, 1);
  t.is((await deitc(folder, [...line, "--force"])).code, 0);
});

test.serial("doctor lists the adapters with what they can do", async (t) => {
  const { code, out } = await deitc(t.context.folder, ["doctor", "--json"]);
  t.is(code, 0);
  const { adapters } = JSON.parse(out) as { adapters: { name: string; family: string; limits: object }[] };
  t.true(adapters.length >= 1);
  t.regex((await deitc(t.context.folder, ["doctor"])).out, new RegExp(`^${adapters[0]?.name.slice(0, 8) ?? ""}`, "m"));
});

test.serial("a reader that stops early, and a bug of ours, end as they should", async (t) => {
  const { folder } = t.context;
  const child = start(folder, ["explain", model("deit_ti")]);
  child.stdout?.once("data", () => child.stdout?.destroy());
  t.is(await new Promise((resolve) => void child.on("close", resolve)), 0);
  // A shipped model that is a link to nothing is a missing file, not a bug.
  symlinkSync("nowhere.deit", join(folder, "link.deit"));
  t.is((await deitc(folder, ["check", "link.deit"])).code, 1);
});
