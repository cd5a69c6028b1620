/** Slips and interruptions at the command line: paths that are no good, signals, memory, what others left behind. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { mock } from "node:test";
import anyTest, { type TestFn } from "ava";
import { writeFolder } from "../compiler/cli/folder.js";
import { randomInputs } from "../compiler/cli/inputs.js";
import { withStatus } from "../compiler/cli/progress.js";
import { OutOfMemoryError } from "../runtime/errors.js";
import { deitc, small, start } from "./cli_process.js";
import { compileText } from "./harness.js";

const test = anyTest as TestFn<{ folder: string }>; // ava's own way to type the context
test.beforeEach((t) => {
  t.context.folder = mkdtempSync(join(tmpdir(), "deitc-faults-"));
});
test.afterEach.always((t) => rmSync(t.context.folder, { recursive: true, force: true }));

interface Slip {
  readonly title: string;
  readonly args: readonly string[];
  readonly code: number;
  readonly says: RegExp;
}

/** In a folder with `small.deit`, the file `taken` and the folder `full`. */
const slips: readonly Slip[] = [
  { title: "fmt of a folder", args: ["fmt", "."], code: 1, says: /^error: \.: is a folder/ },
  { title: "compile of the current folder", args: ["compile", "."], code: 1, says: /`\.` is a folder/ },
  {
    title: "the root as --out, by force", args: ["compile", "small.deit", "--out", "/", "--force"], code: 1,
    says: /^error: \/: is the current folder or a parent of it/,
  },
  { title: "an empty --out", args: ["compile", "small.deit", "--out", ""], code: 2, says: /folder's name is needed/ },
  {
    title: "a --dump that is a file", args: ["compile", "small.deit", "--out", "full/o", "--dump", "taken"], code: 1,
    says: /^error\[file_unwritable\]: taken: this is a file, not a folder/,
  },
  {
    title: "an --svg that is a file", args: ["explain", "small.deit", "--svg", "taken"], code: 1,
    says: /^error\[file_unwritable\]: taken: this is a file, not a folder/,
  },
  {
    title: "an --out below a file", args: ["compile", "small.deit", "--out", "taken/x"], code: 1,
    says: /taken: this is a file, not a folder/,
  },
  {
    title: "an empty --adapter", args: ["predict", "small.deit", "--random-weights", "--adapter", ""], code: 2,
    says: /adapter's name is needed/,
  },
  {
    title: "bench of a batch beyond the adapter", args: ["bench", "small.deit", "--batch", "100000000"], code: 3,
    says: /error\[out_of_memory\].*tensor 'fc2' needs[^]*largest batch that fits is \d+/,
  },
  {
    title: "verify of a batch beyond the adapter", args: ["verify", "small.deit", "--batch", "100000000"], code: 3,
    says: /error\[out_of_memory\][^]*largest batch that fits is \d+/,
  },
];

for (const { title, args, code, says } of slips) {
  test.serial(`slip: ${title}`, async (t) => {
    const { folder } = t.context;
    small(folder);
    writeFileSync(join(folder, "taken"), "a file");
    mkdirSync(join(folder, "full"));
    const outcome = await deitc(folder, args);
    t.is(outcome.code, code, outcome.err);
    t.regex(outcome.err, says);
    t.is(outcome.err.match(/^error/gm)?.length, 1, outcome.err);
    t.notRegex(outcome.err, /E[A-Z]{4,}|error\[bug\]/);
    t.deepEqual(readdirSync(folder).sort(), ["full", "small.deit", "taken"]);
  });
}

test.serial("a folder that the system will not make is told at once", async (t) => {
  if (!existsSync("/proc/self")) {
    t.pass();
    return;
  }
  const outcome = await deitc(t.context.folder, ["compile", small(t.context.folder), "--out", "/proc/x"]);
  t.is(outcome.code, 1, outcome.err);
  t.regex(outcome.err, /^error: \/proc\//);
});

test.serial("watching waits for one file that is not there, as one file", async (t) => {
  const child = start(t.context.folder, ["compile", "nothing.deit", "--watch"]);
  t.teardown(() => child.kill("SIGKILL"));
  const seen = await new Promise<string>((resolve) => {
    let text = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (/watching/.test(text)) resolve(text);
    });
    child.once("close", () => resolve(text));
  });
  t.regex(seen, /file_not_found[^]*watching 1 file\n/);
});

const FILES = 4000;

/** Writes a folder in a process of its own, which ends by a signal. @param send sends it, when writing has begun */
async function interrupted(folder: string, signal: NodeJS.Signals, send: string): Promise<void> {
  const module = new URL("../compiler/cli/folder.js", import.meta.url).href;
  const child = spawn(process.execPath, ["--input-type=module", "-e", `
    import { writeFolder } from ${JSON.stringify(module)};
    const files = Array.from({ length: ${FILES} }, (_, i) => ["kernels/scalar/k" + i + ".wgsl", "x"]);
    const written = writeFolder(${JSON.stringify(join(folder, "out"))}, new Map(files), false);
    ${send}
    await written;
    setInterval(() => undefined, 1000);
  `], { stdio: ["ignore", "inherit", "inherit"] });
  const ended = await new Promise((resolve) => void child.on("exit", (code, by) => resolve(by ?? code)));
  if (ended !== signal) throw new Error(`it ended with ${String(ended)}`);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test.serial(`${signal} while a folder is written leaves nothing, and ends the process`, async (t) => {
    const { folder } = t.context;
    // Heard before a file is written: a real one may be late where the machine is busy.
    await interrupted(folder, signal, `process.emit("${signal}", "${signal}");`);
    t.deepEqual(readdirSync(folder), []);
    const wait = Math.round(50 * Math.random());
    await interrupted(folder, signal, `setTimeout(() => process.kill(process.pid, "${signal}"), ${wait});`);
    const left = readdirSync(folder);
    if (left.length === 0) return;
    t.deepEqual(left, ["out"], `${wait} ms`);
    t.is(readdirSync(join(folder, "out", "kernels", "scalar")).length, FILES, `${wait} ms`);
  });
}

test.serial("what a killed process left beside a module goes with the next one, nothing else", async (t) => {
  const { folder } = t.context;
  // Beyond the greatest number of a process.
  const gone = 2 ** 30;
  const leave = (name: string, file: string, age: number): void => {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, file), "");
    const then = Date.now() / 1000 - age;
    utimesSync(join(folder, name), then, then);
  };
  leave(`.out.new-${gone}`, "index.js", 3600);
  leave(`.out.old-${gone}`, "manifest.json", 3600);
  leave(`.out.new-${gone + 1}`, "index.js", 1);
  leave(`.out.new-${gone + 2}`, "notes.txt", 3600);
  leave(`.other.new-${gone}`, "index.js", 3600);
  const files = new Map([["index.js", "a"], ["manifest.json", "{}"]]);
  // Of a process that still runs.
  leave(`.out.new-${process.ppid}`, "index.js", 3600);
  t.is(await writeFolder(join(folder, "out"), files, false), "created");
  t.deepEqual(readdirSync(folder).sort(), [
    `.other.new-${gone}`, `.out.new-${gone + 1}`, `.out.new-${gone + 2}`, `.out.new-${process.ppid}`, "out",
  ].sort());
});

test.serial("convert into a folder that is not there names the folder", async (t) => {
  const { folder } = t.context;
  writeFileSync(join(folder, "a.safetensors"), Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.from("{}")]));
  const { code, err } = await deitc(folder, ["convert", "a.safetensors", "no/where/b.safetensors"]);
  t.is(code, 1, err);
  t.regex(err, /no\/where: there is no such folder/);
});

test("made-up inputs ask for memory first, and repeat after a million without falling on the same places", (t) => {
  const { manifest } = compileText("model m() { input x: [B, 1000] input k: i32[B, 3] output y = x * 2 output z = k + 1 }");
  const limits = { maxBufferSize: 2 ** 30, maxStorageBufferBindingSize: 2 ** 30 };
  // Only these limits are read.
  const device = { limits } as Parameters<typeof randomInputs>[1]["device"];
  const place = { device, families: ["scalar", "tiled"] as const, batch: 2000 };
  // No array holds 400 GB: asking for one first would be another error.
  t.throws(() => randomInputs(manifest, { ...place, batch: 100_000_000 }, 0), { instanceOf: OutOfMemoryError });
  const { x, k } = randomInputs(manifest, place, 7);
  t.is(x?.length, 2_000_000);
  t.is(x?.[1_048_573], x?.[0]);
  t.not(x?.[1000], x?.[0]);
  t.true(Math.abs([...(x ?? [])].reduce((a, b) => a + b, 0)) / 2e6 < 0.01);
  t.deepEqual([...(k ?? [])].slice(0, 4), [0, 1, 0, 1]);
});

test.serial("without a terminal a long step is told once", async (t) => {
  const kept = process.stderr;
  let text = "";
  const sink = new Writable({
    write(chunk: Buffer, _, done) {
      text += chunk.toString();
      done();
    },
  });
  Object.defineProperty(process, "stderr", { value: sink, configurable: true });
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    await withStatus("waiting", () => Promise.resolve(mock.timers.tick(60_000)));
    await withStatus("quick", () => Promise.resolve(mock.timers.tick(1000)));
    mock.timers.tick(60_000);
  } finally {
    mock.timers.reset();
    Object.defineProperty(process, "stderr", { value: kept, configurable: true });
  }
  t.is(text, "waiting …\n");
});
