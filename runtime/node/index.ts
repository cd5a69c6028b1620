/** @file The runtime in Node (`deitc/runtime`): what generated modules and the programs that use them need. */
export * from "../index.js";
export { listAdapters, openAdapter, openDevice } from "./adapters.js";
export type { AdapterListing, AdapterOptions, AdapterReport, AdapterType } from "./adapters.js";
export { openArtifact } from "./artifact.js";
export { load } from "./module.js";
export type { LoadOptions } from "./module.js";
export type { TrainerOptions } from "./train/options.js";
export type { TrainingEvent, TrainingOutcome } from "../train/loop.js";
export type { Evaluation } from "../train/metrics.js";
export type { TrainingDefinition } from "../train/programs.js";
export { recipeOf } from "../training.js";

/** A training run: see `openTrainer`. */
export type { Trainer } from "./train/trainer.js";
/** Opens a compiled recipe with its data, folder and device. What trains is loaded when it is asked for. */
export const openTrainer: typeof import("./train/trainer.js").Trainer.open = async (...given) =>
  (await import("./train/trainer.js")).Trainer.open(...given);

// sharp takes longer to load than everything else together: it comes with the first image.
type Images = typeof import("./images.js");
const images = (): Promise<Images> => import("./images.js");

/** Decodes an image: pixels [height, width, 3], 8 bits. @throws ImageError */
export const decodeImage: Images["decodeImage"] = async (...given) => (await images()).decodeImage(...given);
/** Decodes an image file: pixels [height, width, 3], 8 bits. @throws FileError, ImageError */
export const readImage: Images["readImage"] = async (...given) => (await images()).readImage(...given);
/** Image files as one input batch [files, 3, size, size]. @throws FileError, ImageError, InputError */
export const loadImages: Images["loadImages"] = async (...given) => (await images()).loadImages(...given);
