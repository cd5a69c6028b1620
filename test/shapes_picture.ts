/**
 * @file README's picture, from what `predict` prints of generated shapes: run as a program, it writes the file.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { generatedShapes } from "../compiler/cli/photo.js";
import { deitc } from "./cli_process.js";

/** The command of the picture. */
export const COMMAND = [
  "predict", "models/shapes.deit", "--weights", "models/deit_shapes.safetensors", "--generated-shapes", "16",
] as const;
const COUNT = 16;
const COLUMNS = 8;
/** Pixels: of a drawn image, of the cell around it. */
const [SIDE, WIDTH, HEIGHT] = [80, 96, 124];

interface Shown {
  readonly drawn: string;
  readonly classes: readonly { readonly label: string; readonly score: number }[];
}

/** The picture as SVG text. */
export async function shapesPicture(): Promise<string> {
  const { code, out, err } = await deitc(process.cwd(), [...COMMAND, "--json"]);
  if (code !== 0) throw new Error(err);
  const { images } = JSON.parse(out) as { readonly images: readonly Shown[] };
  const shapes = await generatedShapes(COUNT, 0);
  const cells = await Promise.all(shapes.map(async ({ pixels: { data, width, height } }, i) => {
    const png = await sharp(data, { raw: { width, height, channels: 3 } }).png({ palette: true }).toBuffer();
    const [best] = images[i]?.classes ?? [];
    const [x, y] = [(i % COLUMNS) * WIDTH + 8, Math.floor(i / COLUMNS) * HEIGHT + 8];
    const right = best?.label === images[i]?.drawn;
    const text = `${best?.label ?? ""} ${Math.round(100 * (best?.score ?? 0))} %`;
    return `<image x="${x}" y="${y}" width="${SIDE}" height="${SIDE}" href="data:image/png;base64,${png.toString("base64")}"/>
<text x="${x + SIDE / 2}" y="${y + SIDE + 18}"${right ? "" : ' fill="#b00"'}>${text}</text>`;
  }));
  const [w, h] = [COLUMNS * WIDTH, Math.ceil(COUNT / COLUMNS) * HEIGHT];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}">
<style>image { image-rendering: pixelated } text { font: 12px sans-serif; text-anchor: middle }</style>
<rect width="${w}" height="${h}" fill="#fff"/>
${cells.join("\n")}
</svg>
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync("models/shapes.svg", await shapesPicture());
