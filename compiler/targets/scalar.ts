/** @file The target of software adapters with narrow subgroups: no barriers, four lanes that exchange values. */
import { attentionGradientScalar } from "./attention_gradient_scalar.js";
import { attentionScalar } from "./attention_scalar.js";
import { contractionScalar } from "./contraction_scalar.js";
import { defineTarget } from "./target.js";

export const scalar = defineTarget({
  name: "scalar",
  doc: "Software adapters with subgroups of four lanes, such as SwiftShader.",
  precisions: ["f32"],
  rank: 10,
  requires: { features: ["subgroups"], lanes: 4 },
  suits: "software",
  rowThreads: () => 1,
  templates: {
    contraction: contractionScalar, attention: attentionScalar, attention_gradient: attentionGradientScalar,
  },
});
