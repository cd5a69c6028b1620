/** What a terminal gets: colours where it takes them, and a clean last line when a signal ends the work. */
import { spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { WriteStream } from "node:tty";
import test from "ava";
import { paintFor } from "../compiler/cli/colour.js";
import { report } from "../compiler/cli/commands/verify.js";
import { deitc } from "./cli_process.js";

const COLOURS = ["NO_COLOR", "FORCE_COLOR", "NODE_DISABLE_COLORS", "CI", "GITHUB_ACTIONS", "TERM", "COLORTERM", "TMUX"];

/** Whether a stream is painted on in an environment. */
function paints(isTTY: boolean, env: Readonly<Record<string, string>>): boolean {
  const kept = COLOURS.map((name) => [name, process.env[name]] as const);
  for (const name of COLOURS) Reflect.deleteProperty(process.env, name);
  Object.assign(process.env, { TERM: "xterm-256color" }, env);
  const stream = Object.assign(new Writable(), {
    isTTY, getColorDepth: (): number => WriteStream.prototype.getColorDepth(process.env),
  });
  try {
    const painted = ["error", "help"].map((tone) => paintFor(stream)(tone === "error" ? "error" : "help", "text"));
    return painted.every((text) => text !== "text");
  } finally {
    for (const [name, value] of kept) {
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    }
  }
}

test.serial("colours are for terminals that take them, and for those who force them", (t) => {
  t.true(paints(true, {}));
  t.false(paints(false, {}));
  t.false(paints(true, { NO_COLOR: "1" }));
  t.false(paints(true, { TERM: "dumb" }));
  t.false(paints(true, { CI: "true" }));
  t.true(paints(true, { CI: "true", GITHUB_ACTIONS: "true" }), "a service that is known to show colours");
  t.true(paints(false, { FORCE_COLOR: "1" }));
  t.false(paints(true, { FORCE_COLOR: "0" }));
});

const folder = mkdtempSync(join(tmpdir(), "deitc-terminal-"));
writeFileSync(join(folder, "two.deit"),
  "model good() { input x: [B, 4] output y = x * 2 }\nmodel bad() { input x: [B, 4] output y = matmul(x, x) }\n");
const ESCAPE = /\x1b\[\d+m/gu;

test.serial("carets and help stand out from the code, which is left alone; without colours the bytes are the same", async (t) => {
  const plain = await deitc(folder, ["check", "two.deit"], { FORCE_COLOR: "0" });
  const painted = await deitc(folder, ["check", "two.deit"], { FORCE_COLOR: "1" });
  t.notRegex(plain.out + plain.err, ESCAPE);
  t.deepEqual([painted.out.replace(ESCAPE, ""), painted.err.replace(ESCAPE, "")], [plain.out, plain.err]);
  t.regex(painted.out, /good: \x1b\[32mOK\x1b\[39m/u);
  t.regex(painted.out, /bad: \x1b\[1m\x1b\[31mhas errors\x1b/u);
  t.regex(painted.err, /^\x1b\[1m\x1b\[31merror\[shape_mismatch\]\x1b\[39m\x1b\[22m: /u);
  t.regex(painted.err, /\x1b\[34m2 \|\x1b\[39m model bad\(\) \{ input x: \[B, 4\] output y = matmul\(x, x\) \}\n/u);
  t.regex(painted.err, / \x1b\[1m\x1b\[31m\^+ \[B, 4\] by \[B, 4\]\x1b/u);
  t.regex(painted.err, /\n {2}\x1b\[32mhelp: /u);
  const usage = await deitc(folder, ["chekc"], { FORCE_COLOR: "1" });
  t.regex(usage.err, /^\x1b\[1m\x1b\[31merror\x1b\[39m\x1b\[22m: unknown command 'chekc'/u);
  // Columns are laid out before they are painted.
  const row = { family: "scalar" as const, tensor: "a", output: true, maxAbs: 0, relative: 0 };
  const found = { model: "m", adapter: "a", tolerance: 1, wrong: 1, tensors: [{ ...row, wrong: false }, { ...row, wrong: true }] };
  t.regex(report(found), /^ok {5}scalar.*\nWRONG {2}scalar/mu);
});

/** Runs work that shows itself on what it takes for a terminal; a signal comes while it is shown. */
async function interrupted(signal: NodeJS.Signals, work: string, term = "xterm"): Promise<{ by: NodeJS.Signals | null; err: string }> {
  const url = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const child = spawn(process.execPath, ["--input-type=module", "-e", `
    import { Progress, withStatus } from ${url("../compiler/cli/progress.js")};
    import { onInterrupt } from ${url("../runtime/node/train/interrupt.js")};
    Object.defineProperty(process.stderr, "isTTY", { value: true });
    const forever = () => new Promise(() => setInterval(() => undefined, 1000));
    const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const kill = () => process.kill(process.pid, ${JSON.stringify(signal)});
    ${work}
  `], { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, TERM: term, CI: "", NO_COLOR: "" } });
  let err = "";
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const by = await new Promise<NodeJS.Signals | null>((resolve) => void child.on("close", (_, name) => resolve(name)));
  return { by, err };
}

const CLEAR = "\r\x1b[K";
const BAR = "const bar = new Progress('counting', 10, 'things'); await later(150); bar.update(3); ";

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test.serial(`${signal} clears a status and a bar, and ends the process as the signal does`, async (t) => {
    const status = await interrupted(signal, "setTimeout(kill, 50); await withStatus('waiting', forever);");
    t.deepEqual(status, { by: signal, err: `${CLEAR}waiting …${CLEAR}` });
    const bar = await interrupted(signal, `${BAR} setTimeout(kill, 50); await forever();`);
    t.is(bar.by, signal);
    t.regex(bar.err, /counting \[#+ +\] {2}3\/10 things/u);
    // Nothing that is visible follows the last clearing; the cursor was never hidden.
    t.regex(bar.err, /\x1b\[0K$|\x1b\[2K$|\x1b\[K$/u, JSON.stringify(bar.err));
    t.notRegex(bar.err, /\x1b\[\?25l/u);
  });
}

test.serial("who listens to the signal decides what it does: the bar goes, the work goes on, and the next one ends it", async (t) => {
  const { by, err } = await interrupted("SIGINT", `
    onInterrupt(() => process.stderr.write("stopping\\n"));
    ${BAR} kill(); await later(100);
    bar.update(5); process.stderr.write("<going on>"); await later(100);
    kill(); await forever();
  `);
  t.is(by, "SIGINT");
  const [before = "", after = ""] = err.split("<going on>");
  t.regex(before, /3\/10 things[^]*K(?:\x1b\[\d*[A-Z])*stopping\n[^]*5\/10 things/u, JSON.stringify(err));
  t.regex(after, /\x1b\[[02]?K$/u, JSON.stringify(err));
});

test.serial("work that is done leaves no listener, and a dumb terminal gets lines", async (t) => {
  const work = `${BAR} bar.end(); await withStatus('waiting', () => later(1)); process.stderr.write(String(process.listenerCount("SIGINT")));`;
  t.regex((await interrupted("SIGINT", work)).err, /K0$/u);
  t.is((await interrupted("SIGINT", work, "dumb")).err, "0");
});
