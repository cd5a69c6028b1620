/**
 * @file The members of an `augment` list. A new one that changes images is a record here; how batches are mixed is in
 * `runtime/train/mix.ts`. Source: torchvision, transforms; timm, transforms_factory.py.
 */
import { crop, resize, type Pixels } from "../../image/resize.js";
import { centreBox, shorterSideSize } from "../../image/transform.js";
import type { Arguments } from "../../training.js";
import type { Fill } from "../affine.js";
import type { Reader } from "../arguments.js";
import type { Draws } from "../draws.js";
import { randomErase } from "../erase.js";
import { flipped, jittered, randomCrop, randomResizedCrop, threeAugment } from "../pixels.js";
import { randAugment } from "../rand_augment.js";
import { gaussianBlur, solarize } from "../recolor.js";
import { NORMALIZATION_NAMES } from "./normalizations.js";
import {
  COUNT, listOf, NOT_NEGATIVE, notYet, numberOf, numbersIn, oneOf, SHARE, within, type CallFault, type CallRecord,
} from "./record.js";

/** What a member of the list works on, in the order in which that happens. */
export type Stage =
  /** Which images an epoch has. */
  | "order"
  /** One image of 8-bit pixels. */
  | "pixels"
  /** The change from pixels to numbers. */
  | "normalize"
  /** One image of numbers. */
  | "numbers"
  /** The images and the targets of a batch: what the labels say alone is no longer so. */
  | "mix"
  /** The targets of a batch alone. */
  | "targets";

/** An augmentation. */
export interface AugmentationRecord extends CallRecord {
  readonly stage: Stage;
  /** The side of the square image that it makes of one with side `side` (NaN for not known), or what is wrong. */
  side?(given: Arguments, side: number): number | CallFault;
  /** Stage `pixels`: the image that comes of one. @param fill the colour of what has no pixels */
  pixels?(image: Pixels, given: Reader, draws: Draws, fill: Fill): Pixels;
  /** Stage `numbers`: changes a normalized image [3, side, side]. */
  numbers?(image: Float32Array, side: number, given: Reader, draws: Draws): void;
}

const FILTERS = ["bicubic", "bilinear"] as const;
const MODES = ["constant", "reflect"] as const;
const ERASED = ["pixel", "rand", "const"] as const;
const PROBABILITY = { probability: "How likely it happens." };
const SIZE = { size: "Side of the image afterwards, in pixels." };
const INTERPOLATION = { interpolation: 'The filter: "bicubic" or "bilinear".' };
const flip = (name: string, across: boolean, doc: string): AugmentationRecord => ({
  name, signature: "(probability = 0.5)", stage: "pixels", doc, about: PROBABILITY,
  check: (given) => within(name, given, { probability: SHARE }),
  pixels: (image, given, draws) => (draws.chance(given.number("probability")) ? flipped(image, across) : image),
});
const sideOf = (given: Arguments): number => numberOf(given["size"]);
const mixing = (name: string, alpha: number, doc: string): AugmentationRecord => ({
  name, signature: `(alpha = ${alpha}, probability = 1, switch = 0.5)`, stage: "mix", doc,
  about: {
    alpha: "Both parameters of the beta distribution that the share of the mixture is drawn from.", ...PROBABILITY,
    switch: "How likely it is cutmix where a recipe has both mixup and cutmix.",
  },
  check: (given) => within(name, given, { alpha: NOT_NEGATIVE, probability: SHARE, switch: SHARE }),
});

/** A pair of positive numbers, the smaller first. */
function span(owner: string, given: Arguments, argument: string): CallFault | undefined {
  const fault = numbersIn(owner, given, argument, 2, { least: Number.MIN_VALUE });
  if (fault) return { ...fault, text: fault.text.replace(`at least ${Number.MIN_VALUE}`, "above 0") };
  const [low, high] = listOf(given[argument]).map(numberOf);
  return (low ?? 0) <= (high ?? 0) ? undefined
    : { text: `\`${argument}\` of \`${owner}\` must be increasing, got [${low}, ${high}]`, argument };
}

const SIZES: readonly AugmentationRecord[] = [
  {
    name: "resize", signature: '(size: int, interpolation = "bicubic")', stage: "pixels",
    doc: "Resizes the shorter side to `size` pixels. Source: torchvision, Resize; Pillow's filters.",
    about: { ...SIZE, ...INTERPOLATION },
    check: (given) => within("resize", given, { size: COUNT }) ?? oneOf("resize", given, "interpolation", FILTERS),
    // Of an image that is not known to be square, the longer side stays open.
    side: (given, side) => (Number.isNaN(side) ? NaN : sideOf(given)),
    pixels(image, given) {
      const to = shorterSideSize(image, given.number("size"));
      return resize(image, to.width, to.height, given.word("interpolation", FILTERS));
    },
  },
  {
    name: "center_crop", signature: "(size: int)", stage: "pixels", side: sideOf,
    doc: "Crops the centre of the image. Source: torchvision, CenterCrop.", about: SIZE,
    check: (given) => within("center_crop", given, { size: COUNT }),
    pixels: (image, given) => crop(image, centreBox(image, given.number("size"))),
  },
  {
    name: "random_crop", signature: '(size: int, pad = 4, mode = "constant")', stage: "pixels",
    doc: "Random crop of the padded image. Source: torchvision, RandomCrop.",
    about: {
      ...SIZE, pad: "Pixels added on each side before the crop.",
      mode: 'What is added: "constant" (black) or "reflect" (a mirror image).',
    },
    check: (given) => within("random_crop", given, { size: COUNT, pad: { least: 0, whole: true } })
      ?? oneOf("random_crop", given, "mode", MODES),
    side(given, side) {
      const [size, whole] = [sideOf(given), side + 2 * numberOf(given["pad"])];
      return whole < size ? { text: `a crop of ${size} pixels does not fit an image of ${whole} × ${whole}` } : size;
    },
    pixels: (image, given, draws) => randomCrop(
      image, given.number("size"), { pad: given.number("pad"), mode: given.word("mode", MODES) }, draws),
  },
  {
    name: "random_resized_crop", stage: "pixels", side: sideOf,
    signature: '(size: int, scale = [0.08, 1], ratio = [0.75, 1.3333333333333333], interpolation = "bicubic")',
    doc: "Random crop of random area and aspect ratio, resized to a square. Source: torchvision, RandomResizedCrop.",
    about: {
      ...SIZE, scale: "Smallest and largest share of the area that is cropped.",
      ratio: "Smallest and largest ratio of width to height.", ...INTERPOLATION,
    },
    check: (given) => within("random_resized_crop", given, { size: COUNT })
      ?? span("random_resized_crop", given, "scale") ?? span("random_resized_crop", given, "ratio")
      ?? oneOf("random_resized_crop", given, "interpolation", FILTERS),
    pixels: (image, given, draws) => randomResizedCrop(image, given.number("size"), {
      scale: given.pair("scale"), ratio: given.pair("ratio"), interpolation: given.word("interpolation", FILTERS),
    }, draws),
  },
];

const COLOURS: readonly AugmentationRecord[] = [
  flip("horizontal_flip", true, "Mirrors left and right. Source: torchvision, RandomHorizontalFlip."),
  flip("vertical_flip", false, "Mirrors top and bottom. Source: torchvision, RandomVerticalFlip."),
  {
    name: "color_jitter", signature: "(brightness = 0.3, contrast = 0.3, saturation = 0.3, hue = 0)", stage: "pixels",
    doc: "Changes brightness, contrast and saturation by factors around 1, in random order. " +
      "Source: torchvision, ColorJitter.",
    about: {
      brightness: "Greatest change of the brightness, as a share.",
      contrast: "Greatest change of the contrast, as a share.",
      saturation: "Greatest change of the saturation, as a share.",
      hue: "Greatest change of the hue; only 0 is available.",
    },
    check: (given) => within("color_jitter", given,
      { brightness: NOT_NEGATIVE, contrast: NOT_NEGATIVE, saturation: NOT_NEGATIVE })
      ?? (given["hue"] === 0 ? undefined
        : notYet("`hue`", "this version changes brightness, contrast and saturation", "write `hue = 0` or leave it out",
          "hue")),
    pixels: (image, given, draws) => jittered(image, {
      brightness: given.number("brightness"), contrast: given.number("contrast"),
      saturation: given.number("saturation"),
    }, draws),
  },
  {
    name: "rand_augment", signature: "(magnitude = 9, std = 0.5, increasing = true, layers = 2)", stage: "pixels",
    doc: "Random operations, from a set of fifteen. Source: Cubuk et al. 2020; timm, auto_augment.py.",
    about: {
      magnitude: "Strength of the operations, 0 to 10.", std: "Standard deviation of the strength.",
      increasing: "Whether every operation grows stronger with the magnitude.", layers: "Operations per image.",
    },
    check: (given) => within("rand_augment", given,
      { magnitude: { least: 0, most: 10 }, std: NOT_NEGATIVE, layers: { least: 0, whole: true } }),
    pixels: (image, given, draws, fill) => randAugment(image, {
      magnitude: given.number("magnitude"), std: given.number("std"), increasing: given.flag("increasing"),
      layers: given.number("layers"),
    }, draws, fill),
  },
  {
    name: "solarize", signature: "(threshold = 128, probability = 0.2)", stage: "pixels",
    doc: "Inverts the levels from `threshold` up, in each channel. " +
      "Source: torchvision, RandomSolarize; Pillow, solarize.",
    about: {
      threshold: "The lowest level that is inverted, of levels from 0 to 255; 256 inverts none.", ...PROBABILITY,
    },
    check: (given) => within("solarize", given,
      { threshold: { least: 0, most: 256, whole: true }, probability: SHARE }),
    pixels: (image, given, draws) =>
      (draws.chance(given.number("probability")) ? solarize(image, given.number("threshold")) : image),
  },
  {
    name: "gaussian_blur", signature: "(sigma = [0.1, 2], probability = 0.5)", stage: "pixels",
    doc: "Blurs by a Gaussian of random width. Source: torchvision, GaussianBlur; Pillow, GaussianBlur.",
    about: { sigma: "Smallest and largest standard deviation of the Gaussian, in pixels.", ...PROBABILITY },
    check: (given) => span("gaussian_blur", given, "sigma") ?? within("gaussian_blur", given, { probability: SHARE }),
    pixels: (image, given, draws) => (draws.chance(given.number("probability"))
      ? gaussianBlur(image, draws.uniform(...given.pair("sigma"))) : image),
  },
  {
    name: "three_augment", signature: "(jitter = 0.3)", stage: "pixels",
    doc: "DeiT III's: one of grey, solarize and blur, then jitter. Source: Touvron et al. 2022.",
    about: { jitter: "Greatest change of brightness, contrast and saturation, as a share." },
    check: (given) => within("three_augment", given, { jitter: NOT_NEGATIVE }),
    pixels: (image, given, draws) => threeAugment(image, given.number("jitter"), draws),
  },
];

const NUMBERS: readonly AugmentationRecord[] = [
  {
    name: "normalize", stage: "normalize",
    signature: '(name = "imagenet", mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225])',
    doc: `Channel means and deviations, by name (${NORMALIZATION_NAMES.join(", ")}) or as numbers. ` +
      "Source: torchvision, Normalize.",
    about: {
      name: "Known means and deviations by name.", mean: "Mean of each channel, of values from 0 to 1.",
      std: "Standard deviation of each channel, of values from 0 to 1.",
    },
    check: (given) => numbersIn("normalize", given, "mean", 3, { least: -Infinity })
      ?? numbersIn("normalize", given, "std", 3, { least: 1e-6 }),
  },
  {
    name: "random_erase", signature: '(probability = 0.25, mode = "pixel", count = 1)', stage: "numbers",
    doc: "Erases boxes of a normalized image. Source: Zhong et al. 2020; timm, random_erasing.py.",
    about: {
      ...PROBABILITY, count: "Boxes per image.",
      mode: 'What fills a box: "pixel" (random numbers), "rand" (one random number) or "const" (0).',
    },
    check: (given) => within("random_erase", given, { probability: SHARE, count: COUNT })
      ?? oneOf("random_erase", given, "mode", ERASED),
    numbers: (image, side, given, draws) => randomErase(image, side, {
      probability: given.number("probability"), mode: given.word("mode", ERASED), count: given.number("count"),
    }, draws),
  },
];

const AUGMENTATION_RECORDS: readonly AugmentationRecord[] = [
  {
    name: "repeat", signature: "(times: int)", stage: "order",
    doc: "Repeated augmentation: an epoch draws each of its images several times. Source: Hoffer et al. 2020; " +
      "deit/samplers.py.",
    about: { times: "How often an epoch draws an image." },
    check: (given) => within("repeat", given, { times: COUNT }),
  },
  ...SIZES, ...COLOURS, ...NUMBERS,
  mixing("mixup", 0.8, "Blends each image and its target with another of each. Source: Zhang et al. 2018."),
  mixing("cutmix", 1, "Pastes a box of another image, and mixes the targets accordingly. Source: Yun et al. 2019."),
  {
    name: "label_smoothing", signature: "(amount = 0.1)", stage: "targets",
    doc: "Spreads a share of each target over all classes. Source: Szegedy et al. 2016.",
    about: { amount: "Share of a target that is spread over all classes." },
    check: (given) => within("label_smoothing", given, { amount: { least: 0, below: 1 } }),
  },
];

/** Every augmentation by its name. */
export const AUGMENTATIONS: ReadonlyMap<string, AugmentationRecord> =
  new Map(AUGMENTATION_RECORDS.map((one) => [one.name, one]));
