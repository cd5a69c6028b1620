/**
 * @file Fused kernels to WGSL, one lowering a kind and family.
 */
import type { FamilyName } from "../../runtime/manifest.js";
import type { FusedKernel } from "../fuse.js";
import { lowerAnchor } from "./anchor.js";
import type { LowerContext, LoweredKernel } from "./kernel.js";
import { lowerMap } from "./map.js";
import { lowerRow } from "./row.js";

export function lower(fused: FusedKernel, family: FamilyName, context: LowerContext): LoweredKernel {
  switch (fused.kind) {
    case "map":
      return lowerMap(fused, context);
    case "row":
      return lowerRow(fused, family, context);
    case "contraction":
    case "attention":
      return lowerAnchor(fused, family, context);
    default:
      return fused.kind satisfies never;
  }
}
