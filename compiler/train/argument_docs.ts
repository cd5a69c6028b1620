/**
 * @file What the arguments of the vocabulary's calls mean, for `explain`. Units and defaults are in the signatures.
 */

/** By argument, or by `call.argument` where a call means something else by it. */
const DOCS: Readonly<Record<string, string>> = {
  // Sources
  path: "The folder of the data, relative to the recipe's.",
  workers: "Batches that are prepared ahead of the step that needs them.",
  "shapes.seed": "Seed of the images.",
  train: "Images to train on.",
  test: "Images to evaluate on.",
  // Optimizers
  lr: "The learning rate after the warm-up, for the batch as the recipe states it: nothing rescales it.",
  weight_decay: "Strength of the pull of parameters towards 0, in proportion to their values.",
  betas: "Decay of the moving averages of the gradient and of its square.",
  eps: "Added to the denominator against a division by 0.",
  momentum: "Share of the last step's direction that is kept.",
  nesterov: "Whether the gradient is looked at one step ahead.",
  // Schedules
  warmup: "How long the learning rate rises linearly at the start.",
  warmup_lr: "The learning rate at the first step of the warm-up.",
  min_lr: "The learning rate at the end.",
  stepping: 'Whether the learning rate changes with every step ("steps") or stays for an epoch ("epochs").',
  every: "Time between two changes.",
  "step.factor": "What each change multiplies the learning rate by.",
  // Clips
  limit: "Greatest norm or element that is left as it is.",
  "adaptive.factor": "Greatest norm of a gradient, as a share of its weights' norm.",
  // Augmentations
  times: "How often an epoch draws an image.",
  size: "Side of the image afterwards, in pixels.",
  interpolation: 'The filter: "bicubic" or "bilinear".',
  pad: "Pixels added on each side before the crop.",
  "random_crop.mode": 'What is added: "constant" (black) or "reflect" (a mirror image).',
  scale: "Smallest and largest share of the area that is cropped.",
  ratio: "Smallest and largest ratio of width to height.",
  probability: "How likely it happens.",
  brightness: "Greatest change of the brightness, as a share.",
  contrast: "Greatest change of the contrast, as a share.",
  saturation: "Greatest change of the saturation, as a share.",
  hue: "Greatest change of the hue; only 0 is available.",
  jitter: "Greatest change of brightness, contrast and saturation, as a share.",
  magnitude: "Strength of the operations, 0 to 10.",
  "rand_augment.std": "Standard deviation of the strength.",
  increasing: "Whether every operation grows stronger with the magnitude.",
  layers: "Operations per image.",
  name: "Known means and deviations by name.",
  mean: "Mean of each channel, of values from 0 to 1.",
  "normalize.std": "Standard deviation of each channel, of values from 0 to 1.",
  "random_erase.mode": 'What fills a box: "pixel" (random numbers), "rand" (one random number) or "const" (0).',
  count: "Boxes per image.",
  alpha: "Both parameters of the beta distribution that the share of the mixture is drawn from.",
  switch: "How likely it is cutmix where a recipe has both mixup and cutmix.",
  amount: "Share of a target that is spread over all classes.",
};

/** What an argument of a call means; undefined for one that there is not. */
export const argumentDoc = (call: string, argument: string): string | undefined =>
  DOCS[`${call}.${argument}`] ?? (Object.hasOwn(DOCS, argument) ? DOCS[argument] : undefined);
