/** @file Decodes JPEG, PNG and WebP files with sharp, to the pixels that Pillow's `convert("RGB")` gives. */

import { ImageError } from "../errors.js";
import type { Pixels } from "../image/resize.js";
import { preprocess } from "../image/transform.js";
import type { Preprocess } from "../manifest.js";
import { showCount } from "../memory.js";
import { readFileBytes } from "./files.js";
import { openSharp } from "./sharp.js";

/** Pixels of one image: 768 MiB decoded. A PNG of a few KiB can decode to more than the memory of the machine. */
const MOST_PIXELS = 2 ** 28;

/** Characters of what libvips says of a broken image that a message quotes. */
const MOST_TOLD = 400;

/** Containers that are decoded. */
const accepted: readonly string[] = ["jpeg", "png", "webp", "gif", "tiff"];

/** How files of these containers begin: no decoder of any other format sees a byte. */
const beginnings = [
  /^\xff\xd8\xff/u, /^\x89PNG\r\n\x1a\n/u, /^RIFF[^]{4}WEBP/u, /^GIF8[79]a/u, /^II[*+]\0|^MM\0[*+]/u,
];

function looksAccepted(bytes: Uint8Array): boolean {
  const head = String.fromCharCode(...bytes.subarray(0, 12));
  return beginnings.some((one) => one.test(head));
}

/**
 * Decodes an image. Colour profiles and EXIF orientation are ignored as the official loaders do, grey becomes RGB,
 * alpha is dropped without blending, 16-bit samples keep their upper byte, CMYK becomes RGB by multiplication. Throws
 * `ImageError`, also when the file is cut short: nothing is filled with grey. @param name for messages.
 */
export async function decodeImage(bytes: Uint8Array, name: string): Promise<Pixels> {
  if (bytes.byteLength === 0) throw new ImageError("the file is empty", { file: name, fault: "truncated" });
  if (!looksAccepted(bytes)) throw notRecognized(name);
  const options = {
    failOn: "error", ignoreIcc: true, autoOrient: false, sequentialRead: true, limitInputPixels: false,
  } as const;
  const sharp = await openSharp();
  try {
    const { format, space, width, height } = await sharp(bytes, options).metadata();
    if (!accepted.includes(format)) {
      const help = "supported formats: JPEG, PNG and WebP";
      throw new ImageError(`${format} images are not supported`, { file: name, fault: "not_recognized", help });
    }
    if (width * height > MOST_PIXELS) {
      throw new ImageError(`${width} × ${height} pixels exceed the limit of ${showCount(MOST_PIXELS)}`, {
        file: name, fault: "refused", help: "scale the image down: models use far fewer pixels",
      });
    }
    if (space === "cmyk") {
      // The detour by a profile, which libvips would take, gives other colours.
      const { data } = await sharp(bytes, options).pipelineColourspace("cmyk").toColourspace("cmyk")
        .raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
      return { data: fromCmyk(data), width, height };
    }
    const { data, info } = await sharp(bytes, options)
      .removeAlpha().toColourspace("srgb").raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) {
      throw new ImageError(`it decodes to ${info.channels} channels`, { file: name, fault: "not_recognized" });
    }
    return { data, width: info.width, height: info.height };
  } catch (error) {
    throw error instanceof ImageError ? error : decodeError(error, name);
  }
}

/**
 * Ink [pixels, 4], 255 for all of it, as RGB [pixels, 3]: each (255 − ink)·(255 − black)/255, the product of ink and
 * white rounded. Source: Pillow, Convert.c, cmyk2rgb.
 */
function fromCmyk(ink: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((ink.length / 4) * 3);
  for (let from = 0, to = 0; from < ink.length; from += 4) {
    const white = 255 - (ink[from + 3] ?? 0);
    for (let c = 0; c < 3; c++) {
      const product = (ink[from + c] ?? 0) * white + 128;
      rgb[to++] = white - (((product >> 8) + product) >> 8);
    }
  }
  return rgb;
}
const notRecognized = (name: string, cause?: unknown): ImageError =>
  new ImageError("not an image, or of an unsupported format", {
    file: name, fault: "not_recognized", help: "supported formats: JPEG, PNG and WebP", cause,
  });

/** What libvips says, in one line, with the likely fault. */
function decodeError(error: unknown, name: string): ImageError {
  const text = error instanceof Error ? error.message : String(error);
  // It repeats itself, for every strip of a broken file.
  const all = text.split("\n").map((line) => line.replace(/[\s:]+$/u, "").trim());
  const lines = new Set(all.filter((line) => line !== ""));
  const cause = [...lines].join("; ").slice(0, MOST_TOLD);
  if (/unsupported image format/iu.test(cause)) {
    return notRecognized(name, error);
  }
  const fault = /premature|truncated|end of|not enough|unexpected end/iu.test(cause) ? "truncated" : "malformed";
  return new ImageError(`cannot be decoded: ${cause}`, { file: name, fault, cause: error });
}

/** Decodes an image file. Throws `FileError` or `ImageError`, both naming the file. */
export async function readImage(path: string): Promise<Pixels> {
  return decodeImage(await readFileBytes(path), path);
}

/**
 * Image files as one input batch [files, 3, size, size], in their order. Decoding of the next image overlaps the
 * resampling of this one. Throws `FileError`, `ImageError` or `InputError`.
 */
export async function loadImages(paths: readonly string[], how: Preprocess): Promise<Float32Array> {
  const plane = 3 * how.size * how.size;
  const batch = new Float32Array(paths.length * plane);
  const decode = (index: number): Promise<Pixels | undefined> => {
    const path = paths[index];
    const pixels = path === undefined ? Promise.resolve(undefined) : readImage(path);
    // Awaited one turn later; until then a failure must not count as unhandled.
    pixels.catch(() => undefined);
    return pixels;
  };
  let next = decode(0);
  for (let index = 0; index < paths.length; index++) {
    const pixels = await next;
    next = decode(index + 1);
    if (pixels !== undefined) preprocess(pixels, how, batch.subarray(index * plane, (index + 1) * plane));
  }
  return batch;
}
