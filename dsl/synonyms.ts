/**
 * @file What other languages and libraries call the things that have another name here: one table, for suggestions. It
 * is about words alone: no file means anything else by it, and a name is suggested only where it is known.
 */

/** Names, each with what it may mean here, most likely first. */
type Meanings = Readonly<Record<string, readonly string[]>>;

/** What is called: ops, layers and losses. */
const CALLED: Meanings = {
  amax: ["max"], amin: ["min"], bmm: ["matmul"], mm: ["matmul"], dot: ["matmul"], einsum: ["matmul"], mv: ["matmul"],
  broadcast_to: ["expand"], expand_as: ["expand"], cat: ["concat"], concatenate: ["concat"], hstack: ["concat"],
  vstack: ["concat"], chunk: ["split"], clip: ["clamp"], dropout: ["bernoulli"], index_select: ["gather"],
  take: ["gather"], interpolate: ["resize"], masked_fill: ["where"], movedim: ["permute"], ones_like: ["full"],
  zeros_like: ["full"], rand: ["uniform"], randn: ["normal"], repeat: ["tile"], swapaxes: ["transpose"],
  swish: ["silu"], t: ["transpose"], unstack: ["unbind"], var: ["variance"], view: ["reshape"],
  adaptive_avg_pool2d: ["mean"], AdaptiveAvgPool2d: ["mean"],
  Conv2d: ["conv", "conv2d"], Dense: ["linear"], BatchNorm2d: ["batch_norm"], Dropout: ["bernoulli"],
  CrossEntropyLoss: ["cross_entropy"], BCEWithLogitsLoss: ["binary_cross_entropy"],
};

/** Arguments, header parameters, and what recipes consist of. */
const GIVEN: Meanings = {
  axes: ["axis"], dim: ["axis"], dims: ["axis", "order"], keepdim: ["keep"], keepdims: ["keep"], padding: ["pad"],
  epsilon: ["eps"], embed_dim: ["dim"], hidden_size: ["dim", "hidden"], img_size: ["image"], n_heads: ["heads"],
  num_heads: ["heads"], n_classes: ["classes"], num_classes: ["classes"], n_layers: ["depth"], num_layers: ["depth"],
  adam: ["adamw"], Adam: ["adamw"], CosineAnnealingLR: ["cosine"], StepLR: ["step"], RandomErasing: ["random_erase"],
  hflip: ["horizontal_flip"], RandomHorizontalFlip: ["horizontal_flip"], vflip: ["vertical_flip"],
  RandomVerticalFlip: ["vertical_flip"], clip_grad: ["clip"], clip_grad_norm: ["global_norm"], dataset: ["data"],
  epochs: ["length"], grad_accum: ["accumulate"], grad_clip: ["clip"], gradient_accumulation_steps: ["accumulate"],
  learning_rate: ["lr"], max_steps: ["length"], random_seed: ["seed"], transforms: ["augment"], wd: ["weight_decay"],
};

/**
 * Names of Python, PyTorch, NumPy, JAX and timm. Those that differ only in case and underscores (`LayerNorm`,
 * `layer_norm`) need no entry, nor do those that only add words at the end (`patch_size`, `patch`).
 */
export const SYNONYMS: Meanings = { ...CALLED, ...GIVEN };

const entryOf = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined =>
  (Object.hasOwn(table, name) ? table[name] : undefined);

/** What a call of another library is most likely called here, whether it is known at that place or not. */
export const meaningOf = (name: string): string | undefined => entryOf(CALLED, name)?.[0];

/** Values that are keywords here. */
const KEYWORDS: Readonly<Record<string, string>> = {
  True: "true", TRUE: "true", False: "false", FALSE: "false", None: "none", null: "none", nil: "none",
};

/** The keyword that `name` stands for in another language. */
export const keywordMeant = (name: string): string | undefined => entryOf(KEYWORDS, name);

/** Case and underscores left out. */
const folded = (name: string): string => name.toLowerCase().replaceAll("_", "");

/** The known name that means the same in another vocabulary, or is written the same but for case and underscores. */
export const synonymOf = (name: string, known: readonly string[]): string | undefined =>
  entryOf(SYNONYMS, name)?.find((one) => known.includes(one))
    ?? known.find((one) => one !== name && folded(one) === folded(name));

/** Shortest name that may be the beginning of a longer one. */
const LEAST_STEM = 3;

/** The known name that has whole words more or fewer at its end, such as `patch` for `patch_size`. */
export function stemOf(name: string, known: readonly string[]): string | undefined {
  const begins = (long: string, stem: string): boolean => stem.length >= LEAST_STEM && long.startsWith(`${stem}_`);
  // Of several stems the longest says the most; of several that go on, none is likelier.
  const longer = known.filter((one) => begins(one, name));
  return known.filter((one) => begins(name, one)).sort((a, b) => b.length - a.length)[0]
    ?? (longer.length === 1 ? longer[0] : undefined);
}
