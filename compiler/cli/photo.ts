/** @file Made-up images for machines without any, from a seed: a photo of hills under a sun, and the drawn shapes. */
import { shapes } from "../../runtime/data/shapes.js";
import type { Pixels } from "../../runtime/image/resize.js";
import { openSharp } from "../../runtime/node/sharp.js";
import { uniformAt } from "../../runtime/random.js";

const WIDTH = 480;
const HEIGHT = 360;
/** Stream of random numbers that no parameter has. */
const STREAM = 0x70686f74;

/** PNG bytes of an image of 480 × 360 pixels; the same for the same seed. */
export async function generatedPhoto(seed: number): Promise<Uint8Array> {
  const sharp = await openSharp();
  const draw = (index: number): number => uniformAt({ seed, stream: STREAM, step: 0 }, index);
  const sun = { x: WIDTH * (0.2 + 0.6 * draw(0)), y: HEIGHT * (0.15 + 0.2 * draw(1)), radius: 20 + 20 * draw(2) };
  const hills = [0, 1, 2].map((i) => ({
    level: HEIGHT * (0.5 + 0.15 * i), height: 15 + 25 * draw(3 + 3 * i),
    waves: 1 + 3 * draw(4 + 3 * i), shift: 6.28 * draw(5 + 3 * i),
  }));
  const pixels = new Uint8Array(3 * WIDTH * HEIGHT);
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) {
      const hill = hills.findLastIndex(
        (h) => y > h.level + h.height * Math.sin(h.shift + (h.waves * 6.28 * x) / WIDTH)
      );
      const inSun = Math.hypot(x - sun.x, y - sun.y) < sun.radius;
      const grain = 12 * (draw(64 + y * WIDTH + x) - 0.5);
      const sky = [90 + 100 * (y / HEIGHT), 140 + 80 * (y / HEIGHT), 235];
      const land = [60 + 15 * hill, 130 - 25 * hill, 50 + 10 * hill];
      const colour = hill >= 0 ? land : inSun ? [255, 240, 170] : sky;
      colour.forEach((value, c) => {
        pixels[3 * (y * WIDTH + x) + c] = Math.max(0, Math.min(255, Math.round(value + grain)));
      });
    }
  }
  return new Uint8Array(await sharp(pixels, { raw: { width: WIDTH, height: HEIGHT, channels: 3 } }).png().toBuffer());
}

/** A made-up image. */
interface GeneratedImage {
  readonly name: string;
  readonly pixels: Pixels;
  /** Name of the class that it was drawn as. */
  readonly drawn: string;
}

/** The first `count` images of the held-out shapes, which no training ever sees; the same for the same seed. */
export async function generatedShapes(count: number, seed: number): Promise<GeneratedImage[]> {
  const { classes, read } = shapes({ seed, split: "held-out", length: count });
  const samples = await read(Array.from({ length: count }, (_, index) => index));
  return samples.flatMap((sample, index) => sample.kind === "broken" ? [] : [{
    name: `shape ${index} (seed ${seed})`, pixels: sample.pixels, drawn: classes[sample.label] ?? "",
  }]);
}
