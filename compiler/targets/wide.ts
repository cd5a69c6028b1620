/** @file The target of software adapters with subgroups of eight lanes or more. */
import { attentionGradientWide } from "./attention_gradient_scalar.js";
import { attentionWide } from "./attention_scalar.js";
import { contractionWide } from "./contraction_scalar.js";
import { defineTarget } from "./target.js";

export const wide = defineTarget({
  name: "wide",
  doc: "Software adapters with subgroups of eight lanes or more, such as Mesa's lavapipe.",
  precisions: ["f32", "f16"],
  rank: 20,
  requires: { features: ["subgroups"], lanes: 8 },
  suits: "software",
  rowThreads: () => 1,
  templates: { contraction: contractionWide, attention: attentionWide, attention_gradient: attentionGradientWide },
});
