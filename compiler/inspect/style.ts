/** @file Colours and fonts of pictures, light and dark, and what the colours mean. */

import { KINDS } from "../kinds/index.js";

/** Sizes of fonts, in pixels. */
export const FONT = { name: 13, line: 11, title: 20, box: 12, shape: 10.5, times: 14 } as const;

/** What a mark means, in the order of the legend: kinds of kernels by their name, then the others. */
export const SWATCHES: readonly { readonly mark: string; readonly style: string; readonly words: string }[] = [
  ...KINDS.map(({ name, words }) => ({ mark: name, style: `swatch ${name}`, words })),
  { mark: "row", style: "row", words: "row: sums along axes" },
  { mark: "map", style: "map", words: "map: element by element" },
  { mark: "strip", style: "prepared", words: "prepared once after loading" },
  { mark: "input", style: "input", words: "input" },
  { mark: "output", style: "output", words: "output" },
  { mark: "turn", style: "turn", words: "continues in another column" },
  { mark: "repeated", style: "module repeated", words: "repeated blocks, drawn once" },
  { mark: "skip", style: "link skip", words: "skip connection" },
];

/** Light, then dark: fill and border. A kind of kernel that is not here has the plain colours of kernels. */
const COLOURS: Readonly<Record<string, readonly [readonly [string, string], readonly [string, string]]>> = {
  ".kernel,rect.swatch": [["#eeeeee", "#8a8a8a"], ["#2c2f33", "#7d838a"]],
  ".contraction": [["#fdebd3", "#c98a3a"], ["#453217", "#c98a3a"]],
  ".attention": [["#f8dcea", "#bf5f8f"], ["#47223a", "#c96d9c"]],
  ".attention_gradient": [["#e9dcf6", "#8a63b5"], ["#35264a", "#9b78c4"]],
  ".row": [["#dff2de", "#5a9a58"], ["#203b22", "#68a866"]],
  ".map": [["#dfe9f8", "#5c82ba"], ["#1f3150", "#6d93cb"]],
  ".input": [["#ffffff", "#333333"], ["#15181c", "#d0d4d9"]],
  ".output": [["#3c4650", "#3c4650"], ["#c3cad1", "#c3cad1"]],
  ".turn": [["#e8edf3", "#e8edf3"], ["#2a313a", "#2a313a"]],
  ".prepared": [["#ffffff", "#9a9a9a"], ["#15181c", "#8a9099"]],
  ".module": [["#f6f7f9", "#c5cad1"], ["#1b1f24", "#434a53"]],
  ".module.odd": [["#ffffff", "#c5cad1"], ["#15181c", "#434a53"]],
  ".page": [["#ffffff", "none"], ["#101317", "none"]],
};
const INKS: Readonly<Record<string, readonly [string, string]>> = {
  "text": ["#1d2329", "#e4e8ec"], ".dim,.figures,.legend": ["#5c6670", "#9aa4ae"], ".far": ["#a8431d", "#e58a63"],
  "text.module": ["#46505a", "#b3bcc5"], "text.times": ["#2a5ea6", "#86b1f0"],
  "text.shape": ["#2a5ea6", "#86b1f0"], ".end.output~text": ["#ffffff", "#101317"],
};
const LINES: readonly [string, string] = ["#6b7580", "#8a949e"];
const FRAMES: readonly [string, string] = ["#3c6fb4", "#6d9be0"];
const SKIPS: readonly [string, string] = ["#c0562f", "#e58a63"];

/** Text above lines has a rim of the ground's colour. */
const RIM: readonly [string, string] = ["#ffffff", "#15181c"];

const theme = (dark: 0 | 1): string => [
  ...Object.entries(COLOURS).map(([name, shades]) =>
    `rect${name}{fill:${shades[dark][0]};stroke:${shades[dark][1]}}`),
  ...Object.entries(INKS).map(([names, shades]) => `${names}{fill:${shades[dark]}}`),
  `rect.module.repeated{stroke:${FRAMES[dark]}}`,
  `.link{stroke:${LINES[dark]}}.link.skip{stroke:${SKIPS[dark]}}`,
  `.tip{fill:${LINES[dark]}}.tip-skip{fill:${SKIPS[dark]}}`,
  `.shape,text.module,.times{stroke:${RIM[dark]}}`,
].join("");

export const STYLE =
  `text{font:${FONT.line}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}` +
  `.name{font-size:${FONT.name}px;font-weight:600}text.module{font-size:${FONT.box}px}` +
  `.shape{font-size:${FONT.shape}px}.shape,text.module,.times{paint-order:stroke;stroke-width:3px}` +
  ".title,.figures,.legend,.times{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif}" +
  `.title{font-size:${FONT.title}px;font-weight:600}.figures{font-size:${FONT.box}px}` +
  `.times{font-size:${FONT.times}px;font-weight:700}` +
  "rect{stroke-width:1}.prepared{stroke-dasharray:3 2}.repeated{stroke-width:1.4}.link{fill:none;stroke-width:1.3}" +
  `${theme(0)}@media(prefers-color-scheme:dark){${theme(1)}}`;
