/**
 * @file What augmentations do to an image of 8-bit pixels; every draw comes from the image's own numbers.
 * Source: torchvision, transforms; timm, transforms_factory.py.
 */
import { InputError } from "../errors.js";
import { crop, resize, type Filter, type Pixels } from "../image/resize.js";
import { roundHalfEven } from "../image/transform.js";
import type { Draws } from "./draws.js";
import { adjustBrightness, adjustColor, adjustContrast, gaussianBlur, grayscale, solarize } from "./recolor.js";

/** A border of `pad` pixels: black, or the image mirrored about its edge pixels. */
function padded(image: Pixels, pad: number, mode: "constant" | "reflect"): Pixels {
  const { data, width, height } = image;
  const [w, h] = [width + 2 * pad, height + 2 * pad];
  const to = new Uint8ClampedArray(w * h * 3);
  const mirror = (at: number, count: number): number => {
    const inside = at < 0 ? -at : at;
    return inside < count ? inside : 2 * (count - 1) - inside;
  };
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      let [row, column] = [y - pad, x - pad];
      if (mode === "reflect") [row, column] = [mirror(row, height), mirror(column, width)];
      if (row < 0 || row >= height || column < 0 || column >= width) continue;
      for (let c = 0; c < 3; c++) to[(y * w + x) * 3 + c] = data[(row * width + column) * 3 + c] ?? 0;
    }
  }
  return { data: to, width: w, height: h };
}

/** A random crop of the padded image. @throws InputError when it does not fit */
export function randomCrop(
  image: Pixels, size: number, { pad, mode }: { readonly pad: number; readonly mode: "constant" | "reflect" },
  draws: Draws,
): Pixels {
  const from = pad > 0 ? padded(image, pad, mode) : image;
  if (from.width < size || from.height < size) {
    throw new InputError(`a crop of ${size} pixels does not fit an image of ${from.width} × ${from.height}`, {
      help: "use `random_resized_crop`, which takes images of any size, or remove the image",
    });
  }
  const top = draws.below(from.height - size + 1);
  return crop(from, { top, left: draws.below(from.width - size + 1), width: size, height: size });
}

/** Ten tries for a part of that area and aspect ratio, else the middle; then resized to a square. */
export function randomResizedCrop(
  image: Pixels, size: number, { scale, ratio, interpolation }: {
    readonly scale: readonly [number, number]; readonly ratio: readonly [number, number];
    readonly interpolation: Filter;
  }, draws: Draws,
): Pixels {
  const { width, height } = image;
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = draws.uniform(scale[0], scale[1]) * width * height;
    const aspect = Math.exp(draws.uniform(Math.log(ratio[0]), Math.log(ratio[1])));
    const w = roundHalfEven(Math.sqrt(area * aspect));
    const h = roundHalfEven(Math.sqrt(area / aspect));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const top = draws.below(height - h + 1);
    const part = crop(image, { top, left: draws.below(width - w + 1), width: w, height: h });
    return resize(part, size, size, interpolation);
  }
  const aspect = Math.min(ratio[1], Math.max(ratio[0], width / height));
  const w = Math.min(width, roundHalfEven(height * aspect));
  const h = Math.min(height, roundHalfEven(width / aspect));
  const box = { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
  return resize(crop(image, box), size, size, interpolation);
}

/** Mirrored left and right, or top and bottom. */
export function flipped({ data, width, height }: Pixels, across: boolean): Pixels {
  const to = new Uint8ClampedArray(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (across ? y * width + (width - 1 - x) : (height - 1 - y) * width + x) * 3;
      for (let c = 0; c < 3; c++) to[(y * width + x) * 3 + c] = data[from + c] ?? 0;
    }
  }
  return { data: to, width, height };
}

/** Brightness, contrast and saturation by factors around 1, in a random order. */
export function jittered(
  image: Pixels, { brightness, contrast, saturation }: {
    readonly brightness: number; readonly contrast: number; readonly saturation: number;
  }, draws: Draws,
): Pixels {
  const steps: readonly (readonly [number, typeof adjustColor])[] = [
    [brightness, adjustBrightness], [contrast, adjustContrast], [saturation, adjustColor],
  ];
  return steps
    .map(([most, adjust]) => {
      const order = draws.unit();
      return { order, factor: draws.uniform(Math.max(0, 1 - most), 1 + most), most, adjust };
    })
    .sort((a, b) => a.order - b.order)
    .reduce((result, { most, factor, adjust }) => (most > 0 ? adjust(result, factor) : result), image);
}

/** DeiT III's: one of grey, solarize and blur, then jitter. Source: Touvron et al. 2022. */
export function threeAugment(image: Pixels, jitter: number, draws: Draws): Pixels {
  const [which, radius] = [draws.below(3), draws.uniform(0.1, 2)];
  const one = which === 0 ? grayscale(image) : which === 1 ? solarize(image, 128) : gaussianBlur(image, radius);
  return jittered(one, { brightness: jitter, contrast: jitter, saturation: jitter }, draws);
}
