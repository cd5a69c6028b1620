/** @file The target of GPUs, in f32: tiles in workgroup memory. */
import { attentionGradientTiled } from "./attention_gradient_tiled.js";
import { attentionTiled } from "./attention_tiled.js";
import { contractionTiled } from "./contraction_tiled.js";
import { defineTarget } from "./target.js";

/** Rows shorter than this get one thread each: a workgroup would be idle. */
const SHORT_ROW = 32;

export const tiled = defineTarget({
  name: "tiled",
  doc: "GPUs, in f32.",
  precisions: ["f32", "f16"],
  rank: 30,
  requires: { features: [], lanes: 0 },
  suits: "hardware",
  rowThreads: (longest) => (longest < SHORT_ROW ? 1 : longest <= 256 ? 64 : 256),
  templates: { contraction: contractionTiled, attention: attentionTiled, attention_gradient: attentionGradientTiled },
});
