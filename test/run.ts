/**
 * @file Runs the tests, as `npm test` does: every file by an ava of its own, two at a time, the long ones first, so
 * that none is left over at the end.
 *   node dist/test/run.js [FILE…] [--OPTION…]
 * A FILE is `ops`, `test/ops.test.ts` or `dist/test/ops.test.js`; options are ava's, as `--match='*tiled*'`.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { startedWith } from "./matrix_driver.js";
import { fileLine, lastLine, ReportReader, timesLine, type FileResult } from "./run_report.js";

const HERE = dirname(fileURLToPath(import.meta.url));
const HOME = join(HERE, "../..");
const AVA = join(HOME, "node_modules/ava/entrypoints/cli.mjs");
const AT_ONCE = 2;
/** Files that take longest, the longest first. A name that is missing here costs a little time, nothing else. */
const LONG = [
  "kernels", "programs_device", "programs_tiled", "programs_half", "cli", "programs", "train_cli", "templates", "train_device",
  "templates_gradient", "models", "shapes", "unseen", "explain_recipe", "train_graph", "train_gradients", "eval_model", "cli_faults",
  "train_convnet", "divergence", "kernel_digests", "train_engine", "emit",
];

/** `ops` of `dist/test/ops.test.js`, `full/forward` of one below. */
const nameOf = (file: string): string => relative(HERE, file).replace(/\.test\.js$/u, "").replaceAll("\\", "/");

/** Files to run, in order. @throws RangeError with the names that no file has */
function selectFiles(wanted: readonly string[]): readonly string[] {
  // Of a test that was removed, the compiled file may still be there.
  const all = readdirSync(HERE, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".test.js") && existsSync(join(HOME, "test", file.replace(/js$/u, "ts"))))
    .map((file) => join(HERE, file)).sort();
  const plain = (text: string): string => text.replaceAll("\\", "/").replace(/^(?:\.\/)?(?:dist\/)?test\//u, "")
    .replace(/\.test\.[jt]s$/u, "");
  const names = new Set(wanted.map(plain));
  const unknown = [...names].filter((name) => !all.some((file) => nameOf(file) === name));
  if (unknown.length > 0) throw new RangeError(`there is no test file ${unknown.join(", ")}`);
  const rank = (file: string): number => (LONG.includes(nameOf(file)) ? LONG.indexOf(nameOf(file)) : LONG.length);
  return all.filter((file) => names.size === 0 || names.has(nameOf(file))).sort((a, b) => rank(a) - rank(b));
}

/** What is shown while tests run: lines that stay, and on a terminal a last one that tells what is under way. */
class Screen {
  readonly #live = process.stdout.isTTY;
  readonly #running = new Map<string, number>();
  #done = 0;

  constructor(readonly total: number) {}

  line(text: string): void {
    process.stdout.write(`${this.#live ? "\r\x1b[K" : ""}${text}\n`);
    this.#draw();
  }

  /** @param count tests done so far of a file that runs */
  running(name: string, count: number): void {
    this.#running.set(name, count);
    this.#draw();
  }

  ended(result: FileResult): void {
    this.#running.delete(result.name);
    this.line(fileLine(result, ++this.#done, this.total));
    if (result.details !== "") this.line(`\n${result.details}\n`);
  }

  clear(): void {
    if (this.#live) process.stdout.write("\r\x1b[K");
  }

  #draw(): void {
    if (!this.#live) return;
    const now = [...this.#running].map(([name, count]) => `${name} (${count})`).join(", ");
    const text = `${this.#done} of ${this.total} files; now ${now}`.slice(0, (process.stdout.columns || 80) - 1);
    process.stdout.write(`\r\x1b[K${now === "" ? "" : text}`);
  }
}

/** Runs files until all are done or `stop` is called. */
class Run {
  readonly results: FileResult[] = [];
  readonly #children = new Set<ChildProcess>();
  readonly #queue: string[];
  stopped = false;

  /** @param scratch folder for what tests leave behind */
  constructor(
    files: readonly string[], readonly options: readonly string[], readonly screen: Screen, readonly scratch: string,
  ) {
    this.#queue = [...files];
  }

  async toEnd(): Promise<void> {
    const lane = async (): Promise<void> => {
      for (let file = this.#queue.shift(); file !== undefined && !this.stopped; file = this.#queue.shift()) {
        const result = await this.#file(file);
        this.results.push(result);
        this.screen.ended(result);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
  }

  /** Passes a signal on; what runs is reported as far as it came. */
  stop(signal: NodeJS.Signals): void {
    this.stopped = true;
    for (const child of this.#children) child.kill(signal);
  }

  async #file(file: string): Promise<FileResult> {
    const [name, began, report] = [nameOf(file), performance.now(), new ReportReader()];
    const { node, env } = startedWith(name);
    const child = spawn(node, [AVA, ...this.options, relative(HOME, file)], {
      // The signs that ava puts before titles depend on the terminal.
      cwd: HOME, stdio: ["ignore", "pipe", "pipe"],
      env: { ...env, TERM: "xterm-256color", TMPDIR: this.scratch },
    });
    this.#children.add(child);
    this.screen.running(name, 0);
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (said = (said + chunk).slice(-100_000)));
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      for (const title of report.read(stripVTControlCharacters(chunk))) this.screen.line(`FAILED ${name}: ${title}`);
      this.screen.running(name, report.count);
    });
    const ended = await new Promise<number | string>((resolve) => {
      child.on("close", (code, signal) => resolve(code ?? signal ?? "nothing"));
      child.on("error", (error) => resolve(error.message));
    });
    this.#children.delete(child);
    const some = this.options.some((option) => option.startsWith("--match"));
    return report.end(name, (performance.now() - began) / 1000, ended, said, some);
  }
}

/** @returns the exit code */
async function main(args: readonly string[]): Promise<number> {
  const files = selectFiles(args.filter((arg) => !arg.startsWith("-")));
  const screen = new Screen(files.length);
  const scratch = mkdtempSync(join(tmpdir(), "deitc-tests-"));
  const run = new Run(files, args.filter((arg) => arg.startsWith("-")), screen, scratch);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => run.stop(signal));
  const began = performance.now();
  await run.toEnd();
  rmSync(scratch, { recursive: true, force: true });
  screen.clear();
  const times = timesLine(run.results, (performance.now() - began) / 1000, loadavg()[0] ?? 0);
  const results = [...run.results];
  if (run.stopped || results.every((one) => one.passed + one.failed.length === 0)) {
    const why = run.stopped ? `stopped after ${results.length} of ${files.length} files` : "no test ran";
    results.push({ name: "all", seconds: 0, passed: 0, failed: [why], skipped: [], details: "" });
  }
  for (const { name, failed } of results) {
    for (const title of failed) process.stdout.write(`failed: ${name}: ${title}\n`);
  }
  process.stdout.write(`${times}\n${lastLine(results)}\n`);
  return results.some((one) => one.failed.length > 0) ? 1 : 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof RangeError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.stdout.write("0 passed, 1 failed\n");
  process.exitCode = 1;
}
