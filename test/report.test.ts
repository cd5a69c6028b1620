import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { createContext, runInContext } from "node:vm";
import test from "ava";
import { InputError } from "../runtime/errors.js";
import { MetricsLog } from "../runtime/node/train/metrics_log.js";
import { ProgressLine } from "../runtime/node/progress_line.js";
import { showDuration, showNumber, TrainingProgress } from "../runtime/node/train/progress.js";
import { reportPage, writeReport } from "../runtime/node/train/report.js";
import type { ReportData } from "../runtime/node/train/report_script.js";
import {
  isBetter, metricsLine, parseMetrics, type EpochRecord, type MetricsRecord, type StepRecord,
} from "../runtime/train/metrics.js";

const folder = (): Promise<string> => mkdtemp(join(tmpdir(), "deitc-report-"));

const stepRecord = (step: number): StepRecord => ({
  kind: "step", step, epoch: step / 100, lr: 1e-3 * (1 - step / 3000), loss: 2.3 * Math.exp(-step / 800) + 0.1,
  gradNorm: 1.5, imagesPerSecond: 210 + 15 * Math.sin(step), seconds: step * 0.3,
});
const epochRecord = (epoch: number, ema = true): EpochRecord => ({
  kind: "epoch", epoch: epoch + 1, step: 100 * (epoch + 1), lr: 5e-4, loss: 2 / (epoch + 1), imagesPerSecond: 205,
  seconds: 30,
  model: { loss: 1.9 / (epoch + 1), top1: 1 - 0.8 / (epoch + 1), top5: 0.99, count: 2000 },
  ...(ema ? { ema: { loss: 1.8 / (epoch + 1), top1: 1 - 0.7 / (epoch + 1), top5: 0.99, count: 2000 } } : {}),
});
const course: MetricsRecord[] = Array.from({ length: 10 }, (_, epoch) => epoch).flatMap((epoch) => [
  ...Array.from({ length: 100 }, (_, i) => stepRecord(100 * epoch + i + 1)), epochRecord(epoch),
]);
const facts = { title: "tiny <shapes> & more", facts: [["adapter", "llvm\"pipe\""]] as const };

test("records are lines of JSON and come back", (t) => {
  const text = course.map((record) => `${metricsLine(record)}\n`).join("");
  t.is(text.trim().split("\n").length, course.length);
  t.deepEqual(parseMetrics(text), course);
  const bad = { ...stepRecord(1), loss: Number.NaN };
  t.deepEqual(parseMetrics(metricsLine(bad)), [bad]);
  t.throws(() => parseMetrics("{\"kind\":\"step\"}\n", "m.jsonl"), {
    instanceOf: InputError, message: /m\.jsonl: line 1/u,
  });
  t.throws(() => parseMetrics(`${metricsLine(bad)}\n{"kind":`), { message: /line 2/u });
});

test("better is more accurate, then a lower loss, never a NaN", (t) => {
  const base = { loss: 1, top1: 0.5, top5: 0.9, count: 10 };
  t.true(isBetter(base, undefined));
  t.true(isBetter({ ...base, loss: 3, top1: 0.6 }, base));
  t.true(isBetter({ ...base, loss: 0.9 }, base));
  t.false(isBetter(base, base));
  t.false(isBetter({ ...base, loss: Number.NaN, top1: 1 }, base));
});

test("the log begins with what a resumed run has reported, then grows", async (t) => {
  const path = join(await folder(), "metrics.jsonl");
  await writeFile(path, "old\n");
  const log = await MetricsLog.open(path, course.slice(0, 3));
  t.is(await log.add(stepRecord(4)), undefined);
  t.deepEqual(parseMetrics(await readFile(path, "utf8")), [...course.slice(0, 3), stepRecord(4)]);
  await rm(path);
  const lost = await MetricsLog.open(path);
  await rm(join(path, ".."), { recursive: true });
  t.regex(await lost.add(stepRecord(1)) ?? "", /no longer written/u);
  t.is(await lost.add(stepRecord(2)), undefined);
});

interface Parsed {
  /** Of the elements that a browser runs. */
  readonly scripts: readonly string[];
  readonly styles: readonly string[];
  /** Outside of scripts and styles. */
  readonly tags: readonly string[];
  readonly text: string;
  readonly data: ReportData;
}

/** Takes a page apart as a browser does: an element of raw text ends at its first end tag. */
function parsed(page: string): Parsed {
  const [scripts, styles, data]: [string[], string[], string[]] = [[], [], []];
  const markup = page.replaceAll(/<(script|style)\b([^>]*)>([\s\S]*?)<\/\1>/giu, (_, name, attributes, content) => {
    (name === "style" ? styles : attributes === "" ? scripts : data).push(String(content));
    return "";
  });
  return {
    scripts, styles, tags: markup.match(/<[^>]*>/gu) ?? [], text: markup.replaceAll(/<[^>]*>/gu, " "),
    data: JSON.parse(data.join("")) as ReportData,
  };
}

test("the page is complete, escaped and asks for nothing from elsewhere", async (t) => {
  const hostile = "</script><script src=http://x.test/y.js></script><!-- <img src=x onerror=run()>";
  const page = await reportPage({ title: hostile, facts: [...facts.facts, [hostile, hostile]] }, course);
  t.true(page.startsWith("<!doctype html>"));
  const { scripts, styles, tags, text } = parsed(page);
  t.is(page.match(/<script/gu)?.length, 3);
  t.is(page.match(/<\/script/gu)?.length, 3);
  t.false(page.includes("<!--"));
  t.is(scripts.length, 2);
  const known = /^<\/?(!doctype html|html( lang="en")?|head|meta [^>]*|title|body|h1|dl|div( class="scroll")?|dt|dd|main|p( class="hint")?|noscript|table|thead|tbody|tr|th|td)>$/u;
  t.deepEqual(tags.filter((tag) => !known.test(tag)), []);
  t.false(/url\(|@import/iu.test(styles.join("\n")));
  t.false(/\bfetch\(|XMLHttpRequest|WebSocket|importScripts|\bimport\(|sendBeacon|\.src\s*=/u.test(scripts.join("\n")));
  // What the policy names is all that a browser would run, and there is no place it would fetch from.
  const hashes = scripts.map((code) => `'sha256-${createHash("sha256").update(code).digest("base64")}'`);
  t.true(page.includes(
    `content="default-src 'none'; style-src 'unsafe-inline'; script-src ${hashes.join(" ")}">`));
  t.true(text.includes("llvm&quot;pipe&quot;"));
  t.is(text.split("&lt;/script&gt;&lt;script src=http://x.test/y.js&gt;&lt;/script&gt;&lt;!-- &lt;img src=x").length, 5);
  t.true(scripts.some((code) => code.includes("The MIT License")));
  t.regex(text, /optimizer steps +1000 [\s\S]*best accuracy +93 %/u);
  // Rows of the epochs, then of the intervals for readers without scripts, each with its heads.
  t.deepEqual(page.split("<noscript>").map((part) => part.match(/<tr>/gu)?.length), [11, 335]);
  t.regex(text, /334 of 1000 records/u);
  t.false(/NaN|undefined|Infinity/u.test(text));
  t.true(page.length < 250_000, `${page.length} bytes`);
  const path = join(await folder(), "report.html");
  await writeReport(path, facts, course);
  t.is(await readFile(path, "utf8"), await reportPage(facts, course));
});

/** To the digits that the page keeps. */
const kept = (values: readonly number[]): number[] => values.map((value) => Number(value.toPrecision(7)));

test("the page holds the data given, by epochs done", async (t) => {
  const { tables: [steps, epochs], charts } = parsed(await reportPage(facts, course)).data;
  const given = course.flatMap((record) => (record.kind === "step" ? [record] : []));
  const evaluated = course.flatMap((record) => (record.kind === "epoch" ? [record] : []));
  t.deepEqual(steps, [
    kept(given.map(({ epoch }) => epoch)), kept(given.map(({ loss }) => loss)), kept(given.map(({ lr }) => lr)),
    kept(given.map(({ imagesPerSecond }) => imagesPerSecond)), given.map(() => null),
  ]);
  t.deepEqual(epochs, [
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    kept(evaluated.map(({ model }) => model?.loss ?? 0)), kept(evaluated.map(({ model }) => model?.top1 ?? 0)),
    kept(evaluated.map(({ ema }) => ema?.loss ?? 0)), kept(evaluated.map(({ ema }) => ema?.top1 ?? 0)),
  ]);
  t.deepEqual(charts.map(({ title, log, series }) => [title, log, ...series.map(({ name }) => name)]), [
    ["Loss", "off", "training", "held-out", "held-out, EMA"], ["Accuracy", "none", "weights", "EMA"],
    ["Learning rate", "off", "learning rate"], ["Throughput", "none", "throughput"],
  ]);
});

interface Drawn {
  readonly columns: readonly (readonly (number | null | undefined)[])[];
  readonly labels: readonly string[];
  /** 1 plain, 3 by powers. */
  readonly distr: number;
  readonly destroyed: boolean;
}

/** Runs the page's scripts with the elements they need; `click` presses the button of that number. */
function drawn(page: string): { readonly plots: Drawn[]; readonly click: (button: number) => void } {
  const { scripts: [library = "", script = ""], data } = parsed(page);
  const clicks: (() => void)[] = [];
  const context = createContext({
    plots: [], clicks,
    document: {
      getElementById: () => ({ textContent: JSON.stringify(data) }),
      createElement: () => element(clicks), querySelector: () => element(clicks), documentElement: {},
    },
    getComputedStyle: () => ({ getPropertyValue: () => " #123456" }),
    matchMedia: () => ({ addEventListener: () => undefined }),
    ResizeObserver: class { observe(): void { return undefined; } },
  });
  runInContext(library, context);
  // The library's own join of the columns, without its canvas.
  runInContext(`{
    const { join } = uPlot;
    uPlot = class {
      static join = join;
      constructor({ series, scales }, columns) {
        Object.assign(this, { series, scales, columns, distr: scales.y.distr, destroyed: false });
        this.labels = series.map(({ label }) => label);
        plots.push(this);
      }
      destroy() { this.destroyed = true; }
      setScale() {}
    };
  }`, context);
  runInContext(script, context);
  return { plots: context["plots"] as Drawn[], click: (button) => clicks[button]?.() };
}

const element = (clicks: (() => void)[]): object => ({
  clientWidth: 500, setAttribute: () => undefined, appendChild: (child: object) => child,
  addEventListener: (_: string, clicked: () => void) => clicks.push(clicked),
});

test("the page's scripts draw its data, and the scale of a chart can be chosen", async (t) => {
  const { plots, click } = drawn(await reportPage(facts, course));
  t.deepEqual(plots.map(({ labels }) => labels.join()), [
    "epoch,training,held-out,held-out, EMA", "epoch,weights,EMA", "epoch,learning rate", "epoch,throughput",
  ]);
  const [loss, accuracy] = plots;
  // Every chart runs from 0 to the last record.
  for (const { columns } of plots) t.deepEqual([columns[0]?.[0], columns[0]?.at(-1)], [0, 10]);
  t.is(loss?.columns[0]?.length, 1001);
  const [training, weights, none] = [loss?.columns[1], accuracy?.columns[1], loss?.columns[2]];
  t.deepEqual([training?.[0], training?.[1]], [undefined, ...kept([stepRecord(1).loss])]);
  t.deepEqual([weights?.[1], none?.[1], none?.[100]], kept([0.2, Number.NaN, 1.9]).map((v) => v || undefined));
  t.deepEqual([loss?.distr, loss?.destroyed], [1, false]);
  click(0);
  t.deepEqual([plots.length, plots[4]?.distr, loss?.destroyed], [5, 3, true]);
});

test("short, long and broken runs make pages too", async (t) => {
  const many = Array.from({ length: 200_000 }, (_, i) => stepRecord(i + 1));
  const page = await reportPage(facts, many);
  t.true(page.length < 800_000, `${page.length} bytes`);
  t.is(parsed(page).data.tables[0]?.[0]?.length, 10_000);
  t.deepEqual(drawn(await reportPage(facts, [])).plots, []);
  const broken = { ...stepRecord(1), loss: Number.NaN };
  for (const [records, charts] of [
    [[stepRecord(1)], 3], [[epochRecord(0, false)], 2], [[broken, stepRecord(2)], 3], [[broken], 2],
  ] as const) {
    const short = await reportPage(facts, records);
    const { text, data } = parsed(short);
    t.false(/undefined|Infinity/u.test(text + JSON.stringify(data)));
    t.is(drawn(short).plots.length, charts);
  }
  const gap = parsed(await reportPage(facts, [broken, stepRecord(2)])).data;
  t.deepEqual(gap.tables[0]?.[1], [null, ...kept([stepRecord(2).loss])]);
  // A curve that falls by more than ten to one begins on a scale by powers; one with zeros has no such scale.
  const falling = { ...stepRecord(2), loss: 0.01, lr: 0 };
  t.deepEqual(parsed(await reportPage(facts, [stepRecord(1), falling])).data.charts.map(({ log }) => log),
    ["on", "none", "none"]);
});

test("numbers and times read well", (t) => {
  t.deepEqual([0, 0.0005, 2.30259, 0.001, 1e-6, 123456, 219.44].map(showNumber),
    ["0", "5.00e-4", "2.303", "0.001", "1.00e-6", "1.23e5", "219.4"]);
  t.deepEqual([0.4, 59.6, 200, 7500].map(showDuration), ["0 s", "1 min 00 s", "3 min 20 s", "2 h 05 min"]);
});

/** A terminal, or a file. */
class Sink extends Writable {
  text = "";
  constructor(readonly isTTY: boolean, readonly columns = 100) {
    super();
  }
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
  /** What each drawing of a bar put on its line. */
  get drawings(): string[] {
    return this.text.split("\x1b[1G").slice(1).map((part) => part.split(/[\x1b\n]/u)[0] ?? "");
  }
}

function shown(stream: Sink): string {
  let now = 0;
  const progress = new TrainingProgress(1000, stream, () => now);
  for (let step = 101; step <= 200; step++) {
    now += 0.3;
    progress.show({ kind: "step", step, lr: 1e-3 });
    if (step % 50 === 0) progress.show({ kind: "record", record: stepRecord(step) });
  }
  progress.show({ kind: "step", step: 200, lr: 1e-3 });
  progress.show({ kind: "record", record: epochRecord(1) });
  progress.show({ kind: "warning", text: "no checkpoint" });
  progress.show({ kind: "saved", path: "x", step: 200, best: true });
  progress.end();
  return stream.text;
}

test("progress: a bar on a terminal, lines elsewhere", (t) => {
  const terminal = new Sink(true);
  const bar = shown(terminal);
  const last = terminal.drawings.find((line) => line.includes("200/1000")) ?? "";
  t.true(last.startsWith("[####                ]  200/1000  loss "), last);
  t.regex(last, / {2}loss 1\.89\d* {2}lr 9\.\d+e-4 {2}\d\d\d(\.\d)? images\/s {2}4 min 0\d s left$/u);
  const lines = shown(new Sink(false));
  t.false(/[\r\x1b[]/u.test(lines));
  t.true(lines.split("\n").length <= 12, lines);
  t.regex(lines, /^101\/1000\n118\/1000 {2}4 min 2\d s left\n/u);
  for (const text of [bar, lines]) {
    const epoch = "epoch 2  loss 1  accuracy 60.00 % (loss 0.95)  EMA 65.00 % (loss 0.9)  205 images/s\n";
    t.true(text.includes(epoch));
    t.regex(text, /warning: no checkpoint\n/u);
  }
});

test("progress: a bar leaves a terminal as it was, fits it and keeps no process", (t) => {
  let now = 0;
  const terminal = new Sink(true, 30);
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const [before, signals] = [timers(), process.listenerCount("SIGINT")];
  const line = new ProgressLine(10, { label: "a {bar} of", eager: true, stream: terminal, clock: () => now });
  line.update(4, ["a fact that is longer than the terminal is wide"]);
  t.is(timers(), before);
  // While it is shown, a signal clears it.
  t.is(process.listenerCount("SIGINT"), signals + 1);
  line.line("told");
  now = 1;
  line.update(5);
  line.end();
  line.end();
  t.is(process.listenerCount("SIGINT"), signals);
  t.true(terminal.drawings.some((text) => text.startsWith("a {bar} of [########  ")), terminal.text);
  t.deepEqual(terminal.drawings.filter((text) => text.length > 30), []);
  // A cursor hidden, or lines not wrapped, would stay so after Ctrl-C.
  t.false(/\x1b\[\?/u.test(terminal.text));
  t.true(terminal.text.includes("\x1b[2Ktold\n\x1b7\x1b[1Ga {bar} of [##########"), JSON.stringify(terminal.text));
  t.true(terminal.text.endsWith("\x1b[1G\x1b[2K"), JSON.stringify(terminal.text));
});

test("progress: time left counts from the first thing done, and work that ends soon is not told", (t) => {
  let now = 0;
  const [soon, late] = [new Sink(false), new Sink(false)];
  const quick = new ProgressLine(10, { label: "quick", stream: soon, clock: () => now });
  for (now = 0; now < 5; now++) quick.update(now);
  quick.end();
  t.is(soon.text, "");
  quick.update(5, [], "note");
  t.is(soon.text, "quick 5/10  5 s left  note\n");
  const resumed = new ProgressLine(100, { eager: true, stream: late, clock: () => now });
  for (const done of [0, 50, 60, 100]) {
    resumed.update(done);
    now += 10;
  }
  t.is(late.text, "0/100\n50/100\n60/100  40 s left\n100/100\n");
});
