/** @file A drawing of a comparison: accuracies as bars, disagreement as a map, two tokens' cosine over the layers. */
import { cut, escapeXml } from "../inspect/drawing.js";
import { mark, type Comparison } from "./comparison.js";

const COLOURS = ["#3b6fb6", "#c8553d", "#4f9d69", "#8e6bb0", "#c99a2e", "#5b8a8a", "#b0567f", "#6d6d6d"];
const LABELS = 210;
const BAR = { width: 380, height: 20, step: 26 };
const CELL = 54;
const PLOT = { width: 480, height: 220, left: 60 };
const GAP = 44;

const colour = (i: number): string => COLOURS[i % COLOURS.length] ?? "#555";

/** A part of the drawing and how much of it there is. */
interface Panel {
  readonly width: number;
  readonly height: number;
  readonly parts: readonly string[];
}

const text = (x: number, y: number, content: string, rest = ""): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}"${rest}>${escapeXml(content)}</text>`;

/** An SVG file's text. */
export function drawComparison(comparison: Comparison): string {
  const { tokens } = comparison;
  const panels = [accuracies(comparison), matrix(comparison), ...(tokens.length > 0 ? [courses(comparison)] : [])];
  const width = 40 + Math.max(...panels.map((panel) => panel.width));
  let top = 56;
  const placed = panels.map(({ height, parts }) => {
    const group = `<g transform="translate(20 ${top})">\n${parts.join("\n")}\n</g>`;
    top += height + GAP;
    return group;
  });
  const style = "text{font:12px system-ui,sans-serif;fill:#222}.title{font-size:14px;font-weight:600}" +
    ".small{font-size:10.5px;fill:#555}";
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${top}" viewBox="0 0 ${width} ${top}">\n` +
    `<title>${escapeXml(comparison.title)}</title>\n<style>${style}</style>\n` +
    `<rect width="${width}" height="${top}" fill="#fff"/>\n${text(20, 30, comparison.title, ' class="title"')}\n` +
    `${placed.join("\n")}\n</svg>\n`;
}

/** In the order of their colours. */
const modelsOf = (predictors: Comparison["predictors"]): string[] => [...new Set(predictors.map(({ model }) => model))];

/** A bar a head, from 0 to 100 %. */
function accuracies({ predictors }: Comparison): Panel {
  const models = modelsOf(predictors);
  const rows = predictors.map(({ label, model, top1 }, i) => {
    const y = 14 + i * BAR.step;
    const long = (BAR.width * top1).toFixed(1);
    return text(0, y + 14, cut(label, 32)) +
      `<rect x="${LABELS}" y="${y}" width="${BAR.width}" height="${BAR.height}" fill="#f0f0f0"/>` +
      `<rect x="${LABELS}" y="${y}" width="${long}" height="${BAR.height}" fill="${colour(models.indexOf(model))}"/>` +
      text(LABELS + BAR.width + 8, y + 14, `${(100 * top1).toFixed(2)} %`);
  });
  return {
    width: LABELS + BAR.width + 70, height: 14 + predictors.length * BAR.step,
    parts: [text(0, 0, "correctly classified", ' class="small"'), ...rows],
  };
}

/** A square for every two, the darker the more images they tell differently. */
function matrix({ names, fractions }: Comparison): Panel {
  const most = Math.max(1e-9, ...fractions.flat());
  const cells = names.flatMap((name, i) => [
    text(0, 34 + i * CELL * 0.6 + 20, cut(name, 30)),
    text(LABELS + i * CELL + CELL / 2, 26, mark(i), ' class="small" text-anchor="middle"'),
    text(LABELS - 10, 34 + i * CELL * 0.6 + 20, mark(i), ' class="small" text-anchor="end"'),
    ...names.map((other, j) => {
      const share = fractions[i]?.[j] ?? NaN;
      const [x, y] = [LABELS + j * CELL, 34 + i * CELL * 0.6];
      const ink = share > 0.6 * most ? ' fill="#fff" style="fill:#fff"' : "";
      return `<g><title>${escapeXml(`${name}, ${other}: ${share.toFixed(4)}`)}</title>` +
        `<rect x="${x}" y="${y.toFixed(1)}" width="${CELL - 2}" height="${(CELL * 0.6 - 2).toFixed(1)}" ` +
        `fill="#3b6fb6" fill-opacity="${(0.04 + 0.9 * (share / most)).toFixed(3)}"/>` +
        text(x + CELL / 2 - 1, y + 20, i === j ? "0" : share.toFixed(3), ` text-anchor="middle"${ink}`) + "</g>";
    }),
  ]);
  return {
    width: LABELS + names.length * CELL, height: 34 + names.length * CELL * 0.6,
    parts: [text(0, 0, "share of images classified differently", ' class="small"'), ...cells],
  };
}

/** A line a model over its layers. */
function courses({ tokens, predictors }: Comparison): Panel {
  const models = modelsOf(predictors);
  const values = tokens.flatMap(({ layers }) => layers.map(({ cosine }) => cosine));
  const [low, high] = [Math.min(0, ...values), 1];
  const longest = tokens.reduce((a, b) => (b.layers.length > a.length ? b.layers : a), tokens[0]?.layers ?? []);
  const x = (k: number): number => PLOT.left + (PLOT.width * k) / Math.max(1, longest.length - 1);
  const y = (value: number): number => 14 + (PLOT.height * (high - value)) / (high - low);
  const grid = [...(low < -0.1 ? [low] : []), 0, 0.5, 1].map((value) =>
    `<path d="M${PLOT.left} ${y(value).toFixed(1)}h${PLOT.width}" stroke="#ddd"/>` +
    text(PLOT.left - 8, y(value) + 4, value.toFixed(2), ' class="small" text-anchor="end"'));
  const names = longest.map(({ layer }, k) => text(
    x(k), y(low) + 16, cut(layer, 18),
    ` class="small" text-anchor="end" transform="rotate(-40 ${x(k).toFixed(1)} ${(y(low) + 16).toFixed(1)})"`));
  const lines = tokens.flatMap(({ model, layers }) => {
    const ink = colour(models.indexOf(model));
    const points = layers.map(({ cosine }, k) => `${x(k).toFixed(1)},${y(cosine).toFixed(1)}`);
    const last = layers.at(-1);
    return [
      `<polyline points="${points.join(" ")}" fill="none" stroke="${ink}" stroke-width="2"/>`,
      ...points.map((point) => `<circle cx="${point.split(",")[0] ?? ""}" cy="${point.split(",")[1] ?? ""}" r="3" ` +
        `fill="${ink}"/>`),
      text(x(layers.length - 1) + 10, y(last?.cosine ?? 0) + 4, `${model} ${(last?.cosine ?? 0).toFixed(2)}`),
    ];
  });
  return {
    width: PLOT.left + PLOT.width + 150, height: PLOT.height + 90,
    parts: [text(0, 0, "cosine of the two tokens after each layer", ' class="small"'), ...grid, ...names, ...lines],
  };
}
