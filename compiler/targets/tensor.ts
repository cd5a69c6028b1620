/** @file The targets of GPUs whose subgroups multiply f16 matrices: tensor cores. */
import { ATTENTION_TILE, attentionTensor, type AttentionTile } from "./attention_tensor.js";
import { contractionTensor, TENSOR_TILES, type TensorTiles } from "./contraction_tensor.js";
import { defineTarget, type Target } from "./target.js";
import type { MatrixShape } from "./tile_matrix.js";
import { tiled } from "./tiled.js";

/**
 * A target for one shape of matrices and one size of subgroups. What has no matrices in it is as for other GPUs.
 * @param tiles of a workgroup; smaller ones compile faster where matrices are computed in software
 */
export const tensorTarget = <const Name extends string>(
  name: Name, doc: string, rank: number, shape: MatrixShape,
  tiles: TensorTiles = TENSOR_TILES, attention: AttentionTile = ATTENTION_TILE,
): Target<Name> => defineTarget({
  name, doc, rank,
  precisions: ["f16"],
  requires: {
    features: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"], lanes: shape.lanes,
    matrix: { m: shape.m, n: shape.n, k: shape.k },
  },
  suits: "hardware",
  rowThreads: tiled.rowThreads,
  templates: { contraction: contractionTensor(shape, tiles), attention: attentionTensor(shape, attention) },
});

export const tensor = tensorTarget(
  "tensor", "GPUs with tensor cores and subgroups of 32 lanes, in f16: those of NVIDIA.", 50,
  { m: 16, n: 16, k: 16, lanes: 32 },
);
export const tensorSmall = tensorTarget(
  "tensor_small", "GPUs with 8 × 8 matrices and subgroups of 32 lanes, in f16: those of Apple.", 40,
  { m: 8, n: 8, k: 8, lanes: 32 },
);
