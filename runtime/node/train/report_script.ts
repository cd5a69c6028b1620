/**
 * @file The script of a run's report: draws the charts with uPlot, which stands in the page before it. It is text here,
 * for it runs in a browser only; what it draws comes as `ReportData` in the element `data`.
 */

/** What the script draws. */
export interface ReportData {
  /** Columns of equal length: epochs done, ascending, then what was found there; null where it was no number. */
  readonly tables: readonly (readonly (readonly (number | null)[])[])[];
  readonly charts: readonly ReportChart[];
}

export interface ReportChart {
  readonly title: string;
  readonly unit: string;
  readonly series: readonly ReportSeries[];
  /** Values are shares of one. */
  readonly percent: boolean;
  /** The axis begins at 0. */
  readonly zero: boolean;
  /** A scale by powers: from the start, to choose, or not, because there are values that have none. */
  readonly log: "on" | "off" | "none";
}

export interface ReportSeries {
  readonly name: string;
  /** Its colour in the style sheet, 1 to 3. */
  readonly colour: 1 | 2 | 3;
  readonly table: number;
  readonly column: number;
  /** Every point is drawn, for series of few. */
  readonly marked: boolean;
}

/** Without `</` and `<!--`, which would end or change its element. */
export const REPORT_SCRIPT = String.raw`"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const end = Math.max(...data.tables.map((table) => table[0].length === 0 ? 0 : table[0][table[0].length - 1])) || 1;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = (value) => {
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2).replace("e+", "e");
    return String(Number(value.toPrecision(4)));
  };
  const percent = (value) => Number((100 * value).toFixed(2)) + " %";

  // The two ends stand in every chart, so that all have one axis and zoom as one.
  const columnsOf = (chart) => uPlot.join([[[0, end]], ...chart.series.map((one) => {
    const table = data.tables[one.table];
    return [table[0], table[one.column]];
  })]);

  function optionsOf(chart, log, width) {
    const show = chart.percent ? percent : number;
    const shown = (u, value) => value === null || value === undefined ? "–" : show(value);
    const axis = {
      stroke: colour("--dim"), font: "11px system-ui, sans-serif",
      grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1, size: 5 },
    };
    const values = (u, splits) => splits.map((value) => value === null ? "" : show(value));
    const begin = { min: { pad: 0, soft: 0, mode: 1 }, max: { pad: 0.1, soft: 0, mode: 0 } };
    return {
      width, height: 260,
      scales: {
        x: { time: false },
        y: Object.assign({ distr: log ? 3 : 1 }, chart.zero && !log ? { range: begin } : {}),
      },
      axes: [
        Object.assign({ values: (u, splits) => splits.map(number), size: 30 }, axis),
        Object.assign({ values, size: 64 }, axis),
      ],
      series: [{ label: "epoch", value: (u, value) => value === null || value === undefined ? "–" : number(value) }]
        .concat(chart.series.map((one) => {
          const stroke = colour("--c" + one.colour);
          const points = one.marked ? { show: true, size: 6, fill: stroke } : { size: 4, fill: stroke };
          return { label: one.name, stroke, width: 1.6, points, value: shown };
        })),
      cursor: {
        y: false, drag: { x: true, y: false, dist: 4 },
        sync: { key: "run", scales: ["x", null], setSeries: false },
      },
    };
  }

  function add(parent, tag, text) {
    const element = document.createElement(tag);
    element.textContent = text;
    return parent.appendChild(element);
  }

  /** Adds a figure and returns what draws it again, in the colours and the width of the moment. */
  function figure(main, chart) {
    const box = document.createElement("figure");
    main.appendChild(box);
    const caption = add(box, "figcaption", "");
    add(caption, "b", chart.title);
    if (chart.unit !== "") add(caption, "small", chart.unit);
    const place = add(box, "div", "");
    const columns = columnsOf(chart);
    let log = chart.log === "on";
    let plot;
    function draw() {
      const old = plot;
      const options = optionsOf(chart, log, Math.max(box.clientWidth, 200));
      if (old !== undefined) {
        options.series.forEach((one, i) => { one.show = old.series[i].show; });
        old.destroy();
      }
      plot = new uPlot(options, columns, place);
      if (old !== undefined) plot.setScale("x", { min: old.scales.x.min, max: old.scales.x.max });
    }
    if (chart.log !== "none") {
      const button = add(caption, "button", "log scale");
      button.type = "button";
      const tell = () => button.setAttribute("aria-pressed", String(log));
      button.addEventListener("click", () => { log = !log; tell(); draw(); });
      tell();
    }
    draw();
    new ResizeObserver(() => {
      const width = Math.max(box.clientWidth, 200);
      if (width !== plot.width) plot.setSize({ width, height: plot.height });
    }).observe(box);
    return draw;
  }

  const main = document.querySelector("main");
  const figures = data.charts.map((chart) => figure(main, chart));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => figures.forEach((draw) => draw()));
})();
`;
