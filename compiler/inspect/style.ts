/** @file Colours and fonts of pictures, light and dark, and what the colours mean. */

/** Kinds of kernels and other marks by their class, in the order of the legend. */
export const SWATCHES: readonly { readonly style: string; readonly words: string }[] = [
  { style: "contraction", words: "contraction" },
  { style: "attention", words: "attention" },
  { style: "attention_gradient", words: "gradient of attention" },
  { style: "row", words: "row (sums along axes)" },
  { style: "map", words: "map (element by element)" },
  { style: "input", words: "input" },
  { style: "output", words: "output" },
  { style: "prepared", words: "prepared once after loading" },
  { style: "repeated", words: "repeated blocks, drawn once" },
  { style: "skip", words: "skips kernels" },
];

/** Light, then dark: fill and border. */
const COLOURS: Readonly<Record<string, readonly [readonly [string, string], readonly [string, string]]>> = {
  ".kernel": [["#eeeeee", "#8a8a8a"], ["#2c2f33", "#7d838a"]],
  ".contraction": [["#fdebd3", "#c98a3a"], ["#453217", "#c98a3a"]],
  ".attention": [["#f8dcea", "#bf5f8f"], ["#47223a", "#c96d9c"]],
  ".attention_gradient": [["#e9dcf6", "#8a63b5"], ["#35264a", "#9b78c4"]],
  ".row": [["#dff2de", "#5a9a58"], ["#203b22", "#68a866"]],
  ".map": [["#dfe9f8", "#5c82ba"], ["#1f3150", "#6d93cb"]],
  ".input": [["#ffffff", "#333333"], ["#15181c", "#d0d4d9"]],
  ".output": [["#3c4650", "#3c4650"], ["#c3cad1", "#c3cad1"]],
  ".prepared": [["#ffffff", "#9a9a9a"], ["#15181c", "#8a9099"]],
  ".module": [["#f6f7f9", "#c5cad1"], ["#1b1f24", "#434a53"]],
  ".module.odd": [["#ffffff", "#c5cad1"], ["#15181c", "#434a53"]],
  ".repeated": [["#f6f7f9", "#3c6fb4"], ["#1b1f24", "#6d9be0"]],
  ".page": [["#ffffff", "none"], ["#101317", "none"]],
};
const INKS: Readonly<Record<string, readonly [string, string]>> = {
  "text": ["#1d2329", "#e4e8ec"], ".dim,.figures,.legend": ["#5c6670", "#9aa4ae"],
  "text.module": ["#46505a", "#b3bcc5"], "text.times": ["#2a5ea6", "#86b1f0"],
  "text.shape": ["#2a5ea6", "#86b1f0"], ".end.output~text": ["#ffffff", "#101317"],
};
const LINES: readonly [string, string] = ["#6b7580", "#8a949e"];
const SKIPS: readonly [string, string] = ["#c0562f", "#e58a63"];

const theme = (dark: 0 | 1): string => [
  ...Object.entries(COLOURS).map(([name, shades]) =>
    `rect${name}{fill:${shades[dark][0]};stroke:${shades[dark][1]}}`),
  ...Object.entries(INKS).map(([names, shades]) => `${names}{fill:${shades[dark]}}`),
  `.link{stroke:${LINES[dark]}}.link.skip{stroke:${SKIPS[dark]}}.tip{fill:${LINES[dark]}}`,
].join("");

export const STYLE = "text{font:11px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}" +
  ".name{font-size:13px;font-weight:600}.module{font-size:12px}.shape{font-size:10.5px}" +
  ".title,.figures,.legend,.times{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif}" +
  ".title{font-size:20px;font-weight:600}.figures{font-size:12px}.times{font-size:14px;font-weight:700}" +
  "rect{stroke-width:1}.prepared{stroke-dasharray:3 2}.repeated{stroke-width:1.4}.link{fill:none;stroke-width:1.3}" +
  `${theme(0)}@media(prefers-color-scheme:dark){${theme(1)}}`;
