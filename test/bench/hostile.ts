/**
 * @file How long the compiler takes over sources that ask for much, as `npm run bench` shows it: each is to be refused
 * or accepted within two seconds of processor time. The slowest come last.
 */
import { format } from "../../dsl/format.js";
import { renderDiagnostics } from "../../dsl/diagnostics.js";
import { parse } from "../../dsl/parse.js";
import { loadProgram } from "../../dsl/resolve.js";
import { elaborateModel } from "../../compiler/elaborate/index.js";
import { language } from "../../compiler/index.js";
import { OPS } from "../../compiler/ops/index.js";
import { GREEDY, HOSTILE } from "../hostile.js";

/** Seconds of processor time above which one is marked. */
const MUCH = 2;

function secondsOf(work: () => unknown): number {
  const start = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}

function read(text: string): void {
  const { file, diagnostics } = parse({ path: "x", text });
  renderDiagnostics(diagnostics);
  if (diagnostics.length === 0) format(file);
}

function elaborate(text: string): void {
  const { program } = loadProgram("x", {
    resolve: (from) => (from === undefined ? { path: "x" } : { error: "not_found" }), read: () => ({ text }),
  }, language());
  if (program) elaborateModel(program, undefined, { training: false, ops: OPS });
}

// The compiler itself is compiled on the way.
for (const [text] of Object.values(HOSTILE)) if (text.length < 10_000) read(text);
const rows = [
  ...Object.entries(HOSTILE).map(([name, [text]]) => ({ name, seconds: secondsOf(() => read(text)) })),
  ...Object.entries(GREEDY).map(([name, text]) => ({ name, seconds: secondsOf(() => elaborate(text)) })),
].sort((a, b) => a.seconds - b.seconds);
for (const { name, seconds } of rows) {
  process.stdout.write(`${(1000 * seconds).toFixed(0).padStart(6)} ms  ${name}${seconds > MUCH ? "  (slow)" : ""}\n`);
}
