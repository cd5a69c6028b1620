/**
 * @file One HTML page of a run: curves of loss, learning rate, accuracy and throughput, and a table of its epochs. The
 * page holds everything itself, so that it reads from a disk without a network; no script runs in it.
 */

import type { EpochRecord, Evaluation, MetricsRecord, StepRecord } from "../../train/metrics.js";
import { writeFileAtomic } from "../files.js";
import { showDuration, showNumber } from "./progress.js";

/** What stands above the curves. */
export interface ReportFacts {
  readonly title: string;
  /** Pairs such as ["adapter", "llvmpipe"]. */
  readonly facts: readonly (readonly [name: string, value: string])[];
}

interface Series {
  readonly name: string;
  /** Class of its colour, 1 to 3. */
  readonly colour: 1 | 2 | 3;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Draws every point, for series of few. */
  readonly marked?: boolean;
}

interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly series: readonly Series[];
  readonly show: (value: number) => string;
  /** Values that the axis must include. */
  readonly include?: readonly number[];
}

const escapeHtml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

const WIDTH = 560;
const HEIGHT = 260;
const AREA = { left: 62, right: 14, top: 12, bottom: 34 };
/** Points of a curve: what a screen can show. */
const MOST_POINTS = 600;
/** Places of a curve that answer to the pointer. */
const MOST_HOVERS = 120;

/** Round numbers across [low, high], about `count` of them. Source: Heckbert 1990, "Nice numbers for graph labels". */
export function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const unit = [1, 2, 5, 10].find((n) => n * power >= rough * 0.999) ?? 10;
  const step = unit * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** At most `most` of the points: the mean of neighbours, so that no spike stands for its surroundings. */
function thinned(points: Series["points"], most: number): Series["points"] {
  if (points.length <= most) return points;
  return Array.from({ length: most }, (_, i) => {
    const part = points.slice(Math.floor((i * points.length) / most), Math.floor(((i + 1) * points.length) / most));
    const mean = (axis: 0 | 1): number => part.reduce((sum, point) => sum + point[axis], 0) / part.length;
    return [mean(0), mean(1)] as const;
  });
}

/** Places values inside the plot. */
interface Scale {
  readonly x: (value: number) => number;
  readonly y: (value: number) => number;
  readonly xTicks: readonly number[];
  readonly yTicks: readonly number[];
}

function scaleOf({ series, include = [] }: Chart): Scale {
  const all = series.flatMap(({ points }) => points);
  const xs = all.map(([x]) => x);
  const ys = [...all.map(([, y]) => y), ...include];
  const range = (values: readonly number[]): [number, number] => {
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    return high > low ? [low, high] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  };
  const [x0, x1] = [0, Math.max(range(xs)[1], 1e-9)];
  const [low, high] = range(ys);
  const step = ((): number => { const [a = 0, b = 1] = ticks(low, high, 4); return b - a; })();
  const [y0, y1] = [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
  const across = WIDTH - AREA.left - AREA.right;
  const down = HEIGHT - AREA.top - AREA.bottom;
  return {
    x: (value) => AREA.left + ((value - x0) / (x1 - x0)) * across,
    y: (value) => AREA.top + (1 - (value - y0) / (y1 - y0)) * down,
    xTicks: ticks(x0, x1, 6), yTicks: ticks(y0, y1, 4),
  };
}

const at = (value: number): string => value.toFixed(1);

function axes({ show, title }: Chart, { x, y, xTicks, yTicks }: Scale): string {
  const bottom = HEIGHT - AREA.bottom;
  const rows = yTicks.map((value) => {
    const [level, text] = [at(y(value)), at(y(value) + 4)];
    return `<line class="grid" x1="${AREA.left}" x2="${WIDTH - AREA.right}" y1="${level}" y2="${level}"/>` +
      `<text x="${AREA.left - 6}" y="${text}" text-anchor="end">${escapeHtml(show(value))}</text>`;
  });
  const columns = xTicks.map((value) =>
    `<line class="axis" x1="${at(x(value))}" x2="${at(x(value))}" y1="${bottom}" y2="${bottom + 4}"/>` +
    `<text x="${at(x(value))}" y="${bottom + 16}" text-anchor="middle">${showNumber(value)}</text>`);
  const base = `<line class="axis" x1="${AREA.left}" x2="${WIDTH - AREA.right}" y1="${bottom}" y2="${bottom}"/>`;
  const label = `<text x="${(AREA.left + WIDTH - AREA.right) / 2}" y="${HEIGHT - 3}" text-anchor="middle">epoch</text>`;
  return `<title>${escapeHtml(title)}</title>${rows.join("")}${columns.join("")}${base}${label}`;
}

function curve({ name, colour, points, marked }: Series, { show, unit }: Chart, { x, y }: Scale): string {
  const drawn = thinned(points, MOST_POINTS);
  const line = drawn.map(([px, py]) => `${at(x(px))},${at(y(py))}`).join(" ");
  const hovers = thinned(drawn, MOST_HOVERS).map(([px, py]) => {
    const text = `${name}: ${show(py)}${unit === "" ? "" : ` ${unit}`} at epoch ${showNumber(px)}`;
    const place = `cx="${at(x(px))}" cy="${at(y(py))}"`;
    const mark = marked === true ? `<circle class="mark c${colour}" ${place} r="3"/>` : "";
    return `<g>${mark}<circle class="hover" ${place} r="8"/><title>${escapeHtml(text)}</title></g>`;
  });
  return `<polyline class="line c${colour}" points="${line}"/>${hovers.join("")}`;
}

function figure(chart: Chart): string {
  const series = chart.series
    .map((one) => ({ ...one, points: one.points.filter(([, value]) => Number.isFinite(value)) }))
    .filter(({ points }) => points.length > 0);
  if (series.length === 0) return "";
  const full = { ...chart, series };
  const scale = scaleOf(full);
  const legend = series.length < 2 ? "" : series
    .map(({ name, colour }) => `<span><i class="k${colour}"></i>${escapeHtml(name)}</span>`).join("");
  const unit = chart.unit === "" ? "" : ` <small>${escapeHtml(chart.unit)}</small>`;
  return `<figure><figcaption><b>${escapeHtml(chart.title)}</b>${unit}${legend}</figcaption>` +
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(chart.title)}">` +
    `${axes(full, scale)}${series.map((one) => curve(one, full, scale)).join("")}</svg></figure>`;
}

const percent = (share: number): string => `${Number((100 * share).toFixed(2))} %`;

function charts(records: readonly MetricsRecord[]): Chart[] {
  const steps = records.filter((record): record is StepRecord => record.kind === "step");
  const epochs = records.filter((record): record is EpochRecord => record.kind === "epoch");
  const perStep = steps[0] === undefined ? 1 : steps[0].epoch / steps[0].step;
  const ofSteps = (value: (record: StepRecord) => number): Series["points"] =>
    steps.map((record) => [record.epoch, value(record)] as const);
  const ofEpochs = (which: "model" | "ema", value: (found: Evaluation) => number): Series["points"] =>
    epochs.flatMap((record) => {
      const found = record[which];
      return found === undefined ? [] : [[record.step * perStep, value(found)] as const];
    });
  return [
    {
      title: "Loss", unit: "", show: showNumber, series: [
        { name: "training", colour: 1, points: ofSteps(({ loss }) => loss) },
        { name: "held-out", colour: 2, points: ofEpochs("model", ({ loss }) => loss), marked: true },
        { name: "held-out, EMA", colour: 3, points: ofEpochs("ema", ({ loss }) => loss), marked: true },
      ],
    },
    {
      title: "Accuracy", unit: "of held-out images", show: percent, include: [0], series: [
        { name: "weights", colour: 2, points: ofEpochs("model", ({ top1 }) => top1), marked: true },
        { name: "EMA", colour: 3, points: ofEpochs("ema", ({ top1 }) => top1), marked: true },
      ],
    },
    {
      title: "Learning rate", unit: "", show: showNumber, include: [0],
      series: [{ name: "learning rate", colour: 1, points: ofSteps(({ lr }) => lr) }],
    },
    {
      title: "Throughput", unit: "images/s", show: showNumber, include: [0],
      series: [{ name: "throughput", colour: 1, points: ofSteps(({ imagesPerSecond }) => imagesPerSecond) }],
    },
  ];
}

function table(records: readonly MetricsRecord[]): string {
  const epochs = records.filter((record): record is EpochRecord => record.kind === "epoch");
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
  const row = (cells: readonly string[], tag: string): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  return `<div class="scroll"><table><thead>${row(heads, "th")}</thead>` +
    `<tbody>${rows.map((cells) => row(cells, "td")).join("\n")}</tbody></table></div>`;
}

const STYLE = `
:root{--ink:#1d232b;--dim:#5b6672;--line:#e3e7ec;--page:#fff;--c1:#2463b4;--c2:#c2560a;--c3:#1a7f5a}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ed;--dim:#9aa5b1;--line:#313a44;--page:#14181d;
--c1:#6fa8f0;--c2:#f09a55;--c3:#5cc79a}}
body{margin:2rem auto;max-width:1180px;padding:0 1rem;background:var(--page);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.35rem;margin:0 0 .6rem}dl{display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;margin:0 0 1.4rem}
dt{color:var(--dim);font-size:.8rem}dd{margin:0}
main{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:1.2rem}
figure{margin:0}figcaption{display:flex;gap:.8rem;align-items:baseline}
small,figcaption span{color:var(--dim);font-size:.85rem}
figcaption i{display:inline-block;width:1.1em;height:3px;margin-right:.35em;vertical-align:middle}
svg{width:100%;height:auto;display:block}text{font-size:11px;fill:var(--dim)}
.grid{stroke:var(--line)}.axis{stroke:var(--dim)}.line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}.line.c3{stroke:var(--c3)}
.mark.c1{fill:var(--c1)}.mark.c2{fill:var(--c2)}.mark.c3{fill:var(--c3)}
.k1{background:var(--c1)}.k2{background:var(--c2)}.k3{background:var(--c3)}
.hover{fill:transparent}.hover:hover{fill:var(--dim);fill-opacity:.25}
.scroll{overflow-x:auto;margin-top:1.6rem}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.25rem .7rem;border-bottom:1px solid var(--line)}th{color:var(--dim);font-weight:500}
`;

/** The page of a run, complete. */
export function reportPage({ title, facts }: ReportFacts, records: readonly MetricsRecord[]): string {
  const last = records.at(-1);
  const best = records
    .flatMap((record) => (record.kind === "epoch" ? [record.model, record.ema] : []))
    .reduce((most, found) => Math.max(most, found?.top1 ?? 0), 0);
  const given: readonly (readonly [string, string])[] = [
    ...facts, ["optimizer steps", String(last?.step ?? 0)], ["training time", showDuration(last?.seconds ?? 0)],
    ...(best > 0 ? [["best accuracy", percent(best)] as const] : []),
  ];
  const list = given.map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`);
  return `<!doctype html>\n<html lang="en"><head><meta charset="utf-8">` +
    `<meta name="viewport" content="width=device-width, initial-scale=1"><title>${escapeHtml(title)}</title>` +
    `<style>${STYLE}</style></head>\n<body><h1>${escapeHtml(title)}</h1><dl>${list.join("")}</dl>\n` +
    `<main>${charts(records).map(figure).join("\n")}</main>\n${table(records)}</body></html>\n`;
}

/** Writes the page; the one before is there until the new one is whole. Throws `FileError`. */
export async function writeReport(path: string, facts: ReportFacts, records: readonly MetricsRecord[]): Promise<void> {
  await writeFileAtomic(path, [new TextEncoder().encode(reportPage(facts, records))]);
}
