/**
 * @file The one place that knows how checkpoints name things: wrappers, prefixes, other projects' parameter names, and
 * which parameters are resampled or may differ in the number of classes. Targets are timm's state-dict names.
 */

/** Dictionary keys under which a state dict is wrapped, in the order of preference. Source: timm load_state_dict. */
export const wrapperKeys: readonly string[] = ["state_dict", "model"];
/** The same for the moving average of the weights. */
export const averageKeys: readonly string[] = ["state_dict_ema", "model_ema"];

/** The name without what wrappers of a module put in front (DistributedDataParallel, torch.compile). */
export function stripPrefixes(name: string): string {
  return name.replace(/^(?:(?:module|_orig_mod)\.)+/u, "");
}

/** Where a tensor of another convention belongs: a parameter, or one of the parts stacked along its first axis. */
export interface Target {
  readonly path: string;
  readonly part?: { readonly index: number; readonly count: number };
}

interface Rule {
  readonly pattern: RegExp;
  readonly path: string;
  readonly part?: Target["part"];
}

/** How one project names its parameters. */
interface Convention {
  readonly title: string;
  readonly rules: readonly Rule[];
}

const official: Convention = {
  title: "the official DeiT code",
  rules: [{ pattern: /^(.*\.)?gamma_([12])$/u, path: "$1ls$2.gamma" }],
};

/** Source: transformers, modeling_deit.py and modeling_vit.py. */
const huggingFace: Convention = {
  title: "Hugging Face transformers",
  rules: [
    { pattern: /^(?:(?:deit|vit)\.)?embeddings\.cls_token$/u, path: "cls_token" },
    { pattern: /^(?:(?:deit|vit)\.)?embeddings\.distillation_token$/u, path: "dist_token" },
    { pattern: /^(?:(?:deit|vit)\.)?embeddings\.position_embeddings$/u, path: "pos_embed" },
    {
      pattern: /^(?:(?:deit|vit)\.)?embeddings\.patch_embeddings\.projection\.(weight|bias)$/u,
      path: "patch_embed.proj.$1",
    },
    ...(["query", "key", "value"] as const).map((name, index) => ({
      pattern: new RegExp(
        `^(?:(?:deit|vit)\\.)?encoder\\.layer\\.(\\d+)\\.attention\\.attention\\.${name}\\.(weight|bias)$`, "u"),
      path: "blocks.$1.attn.qkv.$2",
      part: { index, count: 3 },
    })),
    ...([
      ["layernorm_before", "norm1"], ["attention\\.output\\.dense", "attn.proj"], ["layernorm_after", "norm2"],
      ["intermediate\\.dense", "mlp.fc1"], ["output\\.dense", "mlp.fc2"],
    ] as const).map(([theirs, ours]) => ({
      pattern: new RegExp(`^(?:(?:deit|vit)\\.)?encoder\\.layer\\.(\\d+)\\.${theirs}\\.(weight|bias)$`, "u"),
      path: `blocks.$1.${ours}.$2`,
    })),
    { pattern: /^(?:(?:deit|vit)\.)?layernorm\.(weight|bias)$/u, path: "norm.$1" },
    { pattern: /^(?:cls_)?classifier\.(weight|bias)$/u, path: "head.$1" },
    { pattern: /^distillation_classifier\.(weight|bias)$/u, path: "head_dist.$1" },
  ],
};

/** Source: mmpretrain, models/backbones/vision_transformer.py and deit3.py. */
const mmpretrain: Convention = {
  title: "mmpretrain",
  rules: [
    { pattern: /^backbone\.(cls_token|dist_token|pos_embed)$/u, path: "$1" },
    { pattern: /^backbone\.patch_embed\.projection\.(weight|bias)$/u, path: "patch_embed.proj.$1" },
    { pattern: /^backbone\.layers\.(\d+)\.ln([12])\.(weight|bias)$/u, path: "blocks.$1.norm$2.$3" },
    { pattern: /^backbone\.layers\.(\d+)\.attn\.(qkv|proj)\.(weight|bias)$/u, path: "blocks.$1.attn.$2.$3" },
    { pattern: /^backbone\.layers\.(\d+)\.ffn\.layers\.0\.0\.(weight|bias)$/u, path: "blocks.$1.mlp.fc1.$2" },
    { pattern: /^backbone\.layers\.(\d+)\.ffn\.layers\.1\.(weight|bias)$/u, path: "blocks.$1.mlp.fc2.$2" },
    { pattern: /^backbone\.layers\.(\d+)\.(?:attn|ffn)\.gamma([12])\.weight$/u, path: "blocks.$1.ls$2.gamma" },
    { pattern: /^backbone\.ln1\.(weight|bias)$/u, path: "norm.$1" },
    { pattern: /^head\.layers\.(head|head_dist)\.(weight|bias)$/u, path: "$1.$2" },
  ],
};

const conventions: readonly Convention[] = [official, huggingFace, mmpretrain];

/** What another project's name is in timm, and whose name it is; undefined when no rule fits. */
export function renamed(name: string): (Target & { readonly convention: string }) | undefined {
  for (const { title, rules } of conventions) {
    for (const { pattern, path, part } of rules) {
      const match = pattern.exec(name);
      if (match === null) continue;
      const target = path.replace(/\$(\d)/gu, (_, group: string) => match[Number(group)] ?? "");
      return { path: target, convention: title, ...(part === undefined ? {} : { part }) };
    }
  }
  return undefined;
}

/** Tokens × width tables over a square grid of patches, perhaps after a few prefix tokens: resampled to fit. */
export function isPositionEmbedding(path: string): boolean {
  return /(?:^|\.)pos_embed$/u.test(path);
}

/** Classifiers, whose first axis is the number of classes. */
export function isClassifier(path: string): boolean {
  return /^(?:head|head_dist|head\.fc|fc|linear|classifier)\.(?:weight|bias)$/u.test(path);
}

/** Patch projections, which very old files store as a matrix. */
export function isPatchProjection(path: string): boolean {
  return /(?:^|\.)patch_embed\.proj\.weight$/u.test(path);
}

/** Bookkeeping that no model reads: the step counters of batch norms. */
export function isIgnored(name: string): boolean {
  return /(?:^|\.)num_batches_tracked$/u.test(name);
}
