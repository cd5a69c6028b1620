/** @file Decodes JPEG, PNG and WebP files with sharp, to the pixels that Pillow's `convert("RGB")` gives. */

import sharp from "sharp";
import { ImageError } from "../errors.js";
import type { Pixels } from "../image/resize.js";
import { preprocess } from "../image/transform.js";
import type { Preprocess } from "../manifest.js";
import { showCount } from "../memory.js";
import { readFileBytes } from "./files.js";

/** Pixels of one image: 768 MiB decoded. A PNG of a few KiB can decode to more than the memory of the machine. */
const MOST_PIXELS = 2 ** 28;

/** Characters of what libvips says of a broken image that are told. */
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
 * alpha is dropped without blending, 16-bit samples keep their upper byte. Throws `ImageError`, also when the file is
 * cut short: nothing is filled with grey. @param name for messages.
 */
export async function decodeImage(bytes: Uint8Array, name: string): Promise<Pixels> {
  if (bytes.byteLength === 0) throw new ImageError("the file is empty", { file: name, fault: "truncated" });
  if (!looksAccepted(bytes)) throw notRecognized(name);
  const options = {
    failOn: "error", ignoreIcc: true, autoOrient: false, sequentialRead: true, limitInputPixels: false,
  } as const;
  try {
    const { format, width, height } = await sharp(bytes, options).metadata();
    if (!accepted.includes(format)) {
      const help = "supported formats: JPEG, PNG and WebP";
      throw new ImageError(`${format} images are not supported`, { file: name, fault: "not_recognized", help });
    }
    if (width * height > MOST_PIXELS) {
      throw new ImageError(`${width} × ${height} pixels exceed the limit of ${showCount(MOST_PIXELS)}`, {
        file: name, fault: "refused", help: "scale the image down: models use far fewer pixels",
      });
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

const notRecognized = (name: string, cause?: unknown): ImageError =>
  new ImageError("not an image, or of an unsupported format", {
    file: name, fault: "not_recognized", help: "supported formats: JPEG, PNG and WebP", cause,
  });

/** What libvips says, in one line, with the likely fault. */
function decodeError(error: unknown, name: string): ImageError {
  const text = error instanceof Error ? error.message : String(error);
  // It repeats itself, for every strip of a broken file.
  const lines = new Set(text.split("\n").map((line) => line.trim()).filter((line) => line !== ""));
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
