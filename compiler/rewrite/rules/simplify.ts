/**
 * @file Simplification: the canonical form every later pass expects. Scalar algebra is folded, views are joined, sliced
 * values are computed in part, elementwise work stands next to what made its input.
 */
import type { Graph } from "../../ir/graph.js";
import { rewrite, type Rewritten } from "../engine.js";
import type { Rule } from "../rule.js";
import { arithmeticRules } from "./arithmetic.js";
import { contractionRules } from "./contraction.js";
import { joiningRules } from "./joining.js";
import { movementRules } from "./movement.js";
import { sinkingRules } from "./sinking.js";
import { slicingRules } from "./slicing.js";

/** In the order in which they are tried at a node. */
export const simplifyRules: readonly Rule[] = [
  ...arithmeticRules, ...movementRules, ...joiningRules, ...contractionRules, ...sinkingRules, ...slicingRules,
];

/** The same values in canonical form. Pure; the result is at a fixed point. */
export const simplify = (graph: Graph): Rewritten => rewrite(graph, simplifyRules);
