/**
 * @file One HTML page of a run: curves of loss, accuracy, learning rate and throughput, and a table of its epochs. The
 * page holds everything itself, the chart library too, so that it reads from a disk without a network; its policy lets
 * nothing run but its own scripts, and lets those ask for nothing.
 */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { FileError } from "../../errors.js";
import type { EpochRecord, Evaluation, MetricsRecord, StepRecord } from "../../train/metrics.js";
import { writeFileAtomic } from "../files.js";
import { showDuration, showNumber } from "./progress.js";
import { REPORT_SCRIPT, type ReportChart, type ReportData, type ReportSeries } from "./report_script.js";

/** What stands above the curves. */
export interface ReportFacts {
  readonly title: string;
  /** Pairs such as ["adapter", "llvmpipe"]. */
  readonly facts: readonly (readonly [name: string, value: string])[];
}

const escapeHtml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** Rows of a table of curves: more than a screen shows, so that to zoom shows more. */
const MOST_POINTS = 10_000;
/** Rows of the table for readers without scripts. */
const MOST_ROWS = 400;
/** Digits of a number in the page: those of a float32. */
const DIGITS = 7;

/** At most `most` rows: the mean of neighbours, so that no spike stands for its surroundings. */
function thinned(rows: readonly (readonly number[])[], most: number): readonly (readonly number[])[] {
  if (rows.length <= most) return rows;
  return Array.from({ length: most }, (_, i) => {
    const part = rows.slice(Math.floor((i * rows.length) / most), Math.floor(((i + 1) * rows.length) / most));
    return (part[0] ?? []).map((_value, column) => {
      const values = part.map((row) => row[column] ?? Number.NaN).filter(Number.isFinite);
      return values.reduce((sum, value) => sum + value, 0) / values.length;
    });
  });
}

/** Rows as columns that JSON can say. @param width columns, where there is no row to tell */
function columns(rows: readonly (readonly number[])[], width: number): (number | null)[][] {
  const all = thinned(rows, MOST_POINTS);
  return Array.from({ length: width }, (_, column) => all.map((row) => {
    const value = row[column] ?? Number.NaN;
    return Number.isFinite(value) ? Number(value.toPrecision(DIGITS)) : null;
  }));
}

const percent = (share: number): string => `${Number((100 * share).toFixed(2))} %`;
const stepsOf = (records: readonly MetricsRecord[]): StepRecord[] =>
  records.filter((record): record is StepRecord => record.kind === "step");
const epochsOf = (records: readonly MetricsRecord[]): EpochRecord[] =>
  records.filter((record): record is EpochRecord => record.kind === "epoch");

/** The curves: a table of the intervals and one of the epochs, both by epochs done. */
function reportData(records: readonly MetricsRecord[]): ReportData {
  const steps = stepsOf(records);
  const perStep = steps[0] === undefined ? undefined : steps[0].epoch / steps[0].step;
  const figures = (found: Evaluation | undefined): number[] =>
    found === undefined ? [Number.NaN, Number.NaN] : [found.loss, found.top1];
  const tables = [
    columns(steps.map(({ epoch, loss, lr, imagesPerSecond, accuracy }) =>
      [epoch, loss, lr, imagesPerSecond, accuracy ?? Number.NaN]), 5),
    columns(epochsOf(records).map(({ epoch, step, model, ema }) =>
      [perStep === undefined ? epoch : step * perStep, ...figures(model), ...figures(ema)]), 5),
  ];
  const of = (name: string, colour: ReportSeries["colour"], table: 0 | 1, column: number): ReportSeries =>
    ({ name, colour, table, column, marked: table === 1 });
  const chart = (
    title: string, series: readonly ReportSeries[], rest: Partial<ReportChart>, log: ReportChart["log"] = "none",
  ): ReportChart => {
    const there = series.filter(({ table, column }) => tables[table]?.[column]?.some((value) => value !== null));
    const values = there.flatMap(({ table, column }) => tables[table]?.[column] ?? []);
    const positive = values.every((value) => value === null || value > 0);
    return { title, unit: "", percent: false, zero: false, ...rest, series: there, log: positive ? log : "none" };
  };
  const charts = [
    chart("Loss", [
      of("training", 1, 0, 1), of("held-out", 2, 1, 1), of("held-out, EMA", 3, 1, 3),
    ], {}, isWide(tables[0]?.[1] ?? []) ? "on" : "off"),
    chart("Accuracy", [
      of("training, augmented", 1, 0, 4), of("weights", 2, 1, 2), of("EMA", 3, 1, 4),
    ], { unit: "of images", percent: true, zero: true }),
    chart("Learning rate", [of("learning rate", 1, 0, 2)], { zero: true }, "off"),
    chart("Throughput", [of("throughput", 1, 0, 3)], { unit: "images/s", zero: true }),
  ];
  return { tables, charts: charts.filter(({ series }) => series.length > 0) };
}

/** Whether a curve's end would lie flat at the bottom of a plain scale: its values span a power of ten. */
function isWide(values: readonly (number | null)[]): boolean {
  const [low, high] = values.reduce<readonly [number, number]>(
    ([least, most], value) => (value === null ? [least, most] : [Math.min(least, value), Math.max(most, value)]),
    [Infinity, 0],
  );
  return low > 0 && high >= 10 * low;
}

const row = (cells: readonly string[], tag: "th" | "td"): string =>
  `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
const tableOf = (heads: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<div class="scroll"><table><thead>${row(heads, "th")}</thead>` +
  `<tbody>${rows.map((cells) => row(cells, "td")).join("\n")}</tbody></table></div>`;

function epochTable(records: readonly MetricsRecord[]): string {
  const epochs = epochsOf(records);
  if (epochs.length === 0) return "";
  const heads = [
    "epoch", "step", "lr", "training loss", "held-out loss", "top 1", "top 5", "EMA loss", "EMA top 1", "images/s",
  ];
  const rows = epochs.map(({ epoch, step, lr, loss, model, ema, imagesPerSecond }) => [
    String(epoch), String(step), showNumber(lr), showNumber(loss),
    model === undefined ? "–" : showNumber(model.loss), model === undefined ? "–" : percent(model.top1),
    model === undefined ? "–" : percent(model.top5),
    ema === undefined ? "–" : showNumber(ema.loss), ema === undefined ? "–" : percent(ema.top1),
    showNumber(imagesPerSecond),
  ]);
  return tableOf(heads, rows);
}

/** What the curves show, for readers without scripts: rows spread over the run where there are many. */
function stepTable(records: readonly MetricsRecord[]): string {
  const steps = stepsOf(records);
  if (steps.length === 0) return "";
  const every = Math.ceil(steps.length / MOST_ROWS);
  const shown = steps.filter((_, i) => (steps.length - 1 - i) % every === 0);
  const rows = shown.map(({ step, epoch, loss, lr, accuracy, imagesPerSecond, seconds }) => [
    String(step), showNumber(epoch), showNumber(loss), showNumber(lr),
    accuracy === undefined ? "–" : percent(accuracy), showNumber(imagesPerSecond), showDuration(seconds),
  ]);
  const heads = ["step", "epoch", "training loss", "lr", "training accuracy", "images/s", "time"];
  return `<p>The curves need JavaScript. ${shown.length} of ${steps.length} records of intervals:</p>` +
    tableOf(heads, rows);
}

const STYLE = `
:root{--ink:#1d232b;--dim:#5b6672;--line:#e3e7ec;--page:#fff;--c1:#2463b4;--c2:#c2560a;--c3:#1a7f5a;--hold:#0001}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ed;--dim:#9aa5b1;--line:#313a44;--page:#14181d;
--c1:#6fa8f0;--c2:#f09a55;--c3:#5cc79a;--hold:#fff2}}
body{margin:2rem auto;max-width:1180px;padding:0 1rem;background:var(--page);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.35rem;margin:0 0 .6rem}dl{display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;margin:0 0 1.4rem}
dt{color:var(--dim);font-size:.8rem}dd{margin:0}
main{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:1.2rem}
figure{margin:0;min-width:0}figcaption{display:flex;gap:.8rem;align-items:baseline}
small,.hint{color:var(--dim);font-size:.85rem}
button{margin-left:auto;padding:0 .6em;border:1px solid var(--line);border-radius:1em;background:none;color:var(--dim);
font:inherit;font-size:.8rem;cursor:pointer}button[aria-pressed=true]{color:var(--ink);border-color:var(--dim)}
.uplot{font-family:inherit}.u-legend{font-size:.82rem;font-variant-numeric:tabular-nums}
.u-select{background:var(--hold)}
.u-hz .u-cursor-x,.u-hz .u-cursor-y{border-color:var(--dim)}
.scroll{overflow-x:auto;margin-top:1.6rem}
.scroll table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.scroll :is(th,td){text-align:right;padding:.25rem .7rem;border-bottom:1px solid var(--line)}
.scroll th{color:var(--dim);font-weight:500}
`;

/** The chart library as it stands in the page. */
interface ChartLibrary {
  readonly script: string;
  readonly style: string;
}

/** Reads the chart library, which nothing but a report needs. Throws `FileError`. */
async function chartLibrary(): Promise<ChartLibrary> {
  const { resolve } = createRequire(import.meta.url);
  const text = (file: string): Promise<string> => readFile(resolve(file), "utf8");
  try {
    const [script, style, licence] = await Promise.all(
      [text("uplot/dist/uPlot.iife.min.js"), text("uplot/dist/uPlot.min.css"), text("uplot/LICENSE")],
    );
    // Its licence asks to go with every copy.
    return { script: `/*\n${licence.trim()}\n*/\n${script}`, style };
  } catch (error) {
    throw new FileError("the chart library cannot be read", {
      file: "uplot", fault: "missing", cause: error, help: "install the dependencies: npm install",
    });
  }
}

/** The page of a run, complete. Throws `FileError` when the chart library is not there. */
export async function reportPage(
  { title, facts }: ReportFacts, records: readonly MetricsRecord[],
): Promise<string> {
  const library = await chartLibrary();
  const last = records.at(-1);
  const best = epochsOf(records)
    .flatMap(({ model, ema }) => [model, ema])
    .reduce((most, found) => Math.max(most, found?.top1 ?? 0), 0);
  const given: readonly (readonly [string, string])[] = [
    ...facts, ["optimizer steps", String(last?.step ?? 0)], ["training time", showDuration(last?.seconds ?? 0)],
    ...(best > 0 ? [["best accuracy", percent(best)] as const] : []),
  ];
  const list = given.map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`);
  const scripts = [library.script, REPORT_SCRIPT];
  const hashes = scripts.map((code) => `'sha256-${createHash("sha256").update(code).digest("base64")}'`);
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src ${hashes.join(" ")}`;
  // A `<` of a name would be read as markup; JSON reads its code as the same character.
  const data = reportData(records);
  const json = JSON.stringify(data).replaceAll("<", "\\u003c");
  const hint = "Drag across a chart to zoom all of them; double-click to see the whole run.";
  return `<!doctype html>\n<html lang="en"><head><meta charset="utf-8">` +
    `<meta http-equiv="Content-Security-Policy" content="${policy}">` +
    `<meta name="viewport" content="width=device-width, initial-scale=1"><title>${escapeHtml(title)}</title>` +
    `<style>${library.style}${STYLE}</style></head>\n` +
    `<body><h1>${escapeHtml(title)}</h1><dl>${list.join("")}</dl>\n<main></main>\n` +
    `${data.charts.length > 0 ? `<p class="hint">${hint}</p>\n` : ""}` +
    `${epochTable(records)}<noscript><style>.hint{display:none}</style>${stepTable(records)}</noscript>\n` +
    `<script type="application/json" id="data">${json}</script>\n` +
    `${scripts.map((code) => `<script>${code}</script>`).join("\n")}</body></html>\n`;
}

/** Writes the page; the one before is there until the new one is whole. Throws `FileError`. */
export async function writeReport(path: string, facts: ReportFacts, records: readonly MetricsRecord[]): Promise<void> {
  await writeFileAtomic(path, [new TextEncoder().encode(await reportPage(facts, records))]);
}
