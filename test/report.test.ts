import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import sharp from "sharp";
import { InputError } from "../runtime/errors.js";
import { MetricsLog } from "../runtime/node/train/metrics_log.js";
import { showDuration, showNumber, TrainingProgress } from "../runtime/node/train/progress.js";
import { reportPage, ticks, writeReport } from "../runtime/node/train/report.js";
import {
  isBetter, metricsLine, parseMetrics, type EpochRecord, type MetricsRecord, type StepRecord,
} from "../runtime/train/metrics.js";

const folder = (): Promise<string> => mkdtemp(join(tmpdir(), "deitc-report-"));

const stepRecord = (step: number): StepRecord => ({
  kind: "step", step, epoch: step / 100, lr: 1e-3 * (1 - step / 3000), loss: 2.3 * Math.exp(-step / 800) + 0.1,
  gradNorm: 1.5, imagesPerSecond: 210 + 15 * Math.sin(step), seconds: step * 0.3,
});
const epochRecord = (epoch: number, ema = true): EpochRecord => ({
  kind: "epoch", epoch, step: 100 * (epoch + 1), lr: 5e-4, loss: 2 / (epoch + 1), imagesPerSecond: 205, seconds: 30,
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

test("ticks are round and inside", (t) => {
  t.deepEqual(ticks(0, 1, 4), [0, 0.5, 1]);
  t.deepEqual(ticks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  t.deepEqual(ticks(0.13, 2.41, 4), [1, 2]);
  t.deepEqual(ticks(1e-6, 9.9e-4, 5), [0.0002, 0.0004, 0.0006, 0.0008]);
});

test("the page is complete, escaped and asks for nothing from elsewhere", async (t) => {
  const page = reportPage(facts, course);
  t.true(page.startsWith("<!doctype html>"));
  t.false(/<script|<link|@import|url\(|src=|href=/iu.test(page));
  t.false(/https?:\/\//u.test(page));
  t.true(page.includes("tiny &lt;shapes&gt; &amp; more") && page.includes("llvm&quot;pipe&quot;"));
  for (const title of ["Loss", "Accuracy", "Learning rate", "Throughput"]) {
    t.true(page.includes(`<b>${title}</b>`), title);
  }
  t.is(page.match(/<polyline/gu)?.length, 7);
  t.regex(page, /<title>training: [\d.]+ at epoch [\d.]+<\/title>/u);
  t.regex(page, /<title>EMA: 93 % of held-out images at epoch 10<\/title>/u);
  t.is(page.match(/<tr>/gu)?.length, 11);
  t.false(/NaN|undefined|Infinity/u.test(page));
  t.true(page.length < 400_000, `${page.length} bytes`);
  const path = join(await folder(), "report.html");
  await writeReport(path, facts, course);
  t.is(await readFile(path, "utf8"), page);
});

test("every chart is a picture that a renderer accepts, its curve inside its axes", async (t) => {
  const page = reportPage(facts, course);
  const drawings = page.match(/<svg[\s\S]*?<\/svg>/gu) ?? [];
  t.is(drawings.length, 4);
  for (const drawing of drawings) {
    const alone = drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="560" height="260" ');
    const { width } = await sharp(Buffer.from(alone)).png().toBuffer({ resolveWithObject: true })
      .then(({ info }) => info);
    t.is(width, 560);
    for (const [, list = ""] of drawing.matchAll(/points="([^"]*)"/gu)) {
      for (const point of list.split(" ")) {
        const [x = Number.NaN, y = Number.NaN] = point.split(",").map(Number);
        t.true(x >= 62 && x <= 546.05 && y >= 12 && y <= 226.05, point);
      }
    }
  }
});

test("short, long and broken runs make pages too", (t) => {
  const many = Array.from({ length: 20_000 }, (_, i) => stepRecord(i + 1));
  t.true(reportPage(facts, many).length < 300_000);
  for (const records of [
    [], [stepRecord(1)], [epochRecord(0, false)], [{ ...stepRecord(1), loss: Number.NaN }, stepRecord(2)],
  ]) {
    const page = reportPage(facts, records);
    t.false(/NaN|undefined|Infinity/u.test(page.replace(/<style>[\s\S]*<\/style>/u, "")), JSON.stringify(records));
  }
});

test("numbers and times read well", (t) => {
  t.deepEqual([0, 0.0005, 2.30259, 0.001, 1e-6, 123456, 219.44].map(showNumber),
    ["0", "5.00e-4", "2.303", "0.001", "1.00e-6", "1.23e5", "219.4"]);
  t.deepEqual([0.4, 59.6, 200, 7500].map(showDuration), ["0 s", "1 min 00 s", "3 min 20 s", "2 h 05 min"]);
});

function shown(isTTY: boolean): string {
  let [text, now] = ["", 0];
  const stream = { isTTY, columns: 100, write: (part: string) => { text += part; } };
  const progress = new TrainingProgress(1000, stream, () => now);
  for (let step = 101; step <= 200; step++) {
    now += 0.3;
    progress.show({ kind: "step", step, lr: 1e-3 });
    if (step % 50 === 0) progress.show({ kind: "record", record: stepRecord(step) });
  }
  progress.show({ kind: "record", record: epochRecord(1) });
  progress.show({ kind: "warning", text: "no checkpoint" });
  progress.show({ kind: "saved", path: "x", step: 200, best: true });
  progress.end();
  return text;
}

test("progress: a bar on a terminal, lines elsewhere", (t) => {
  const bar = shown(true);
  t.true(bar.includes("[####                ]  200/1000"));
  t.regex(bar, /loss 2\.\d+ {2}lr 9\.\d+e-4 {2}\d\d\d(\.\d)? images\/s {2}4 min 0\d s left/u);
  t.true(bar.split("\r\x1b[K").every((line) => (line.split("\n")[0] ?? "").length < 100));
  const lines = shown(false);
  t.false(lines.includes("\r"));
  t.true(lines.split("\n").length <= 12, lines);
  for (const text of [bar, lines]) {
    const epoch = "epoch 1  loss 1  accuracy 60.00 % (loss 0.95)  EMA 65.00 % (loss 0.9)  205 images/s\n";
    t.true(text.includes(epoch));
    t.regex(text, /warning: no checkpoint\n/u);
  }
});
