/**
 * @file Position embeddings of another grid. Source of the default rule: deit/main.py (torch bicubic interpolation,
 * align_corners false); of the antialiased one: timm resample_abs_pos_embed.
 */

/** `official`: a = −0.75, no antialiasing, borders repeated. `antialias`: a = −0.5, as timm since 0.9 does it. */
export type ResampleRule = "official" | "antialias";

/** The cubic convolution kernel. Source: Keys 1981. */
function cubic(distance: number, a: number): number {
  const t = Math.abs(distance);
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

interface Taps {
  readonly index: readonly number[];
  readonly weight: readonly number[];
}

/** Which of `from` points make point `to` of `size`, and by how much. */
function taps(rule: ResampleRule, from: number, size: number, to: number): Taps {
  const scale = from / size;
  if (rule === "official") {
    const source = (to + 0.5) * scale - 0.5;
    const base = Math.floor(source);
    const offsets = [-1, 0, 1, 2];
    return {
      index: offsets.map((k) => Math.min(Math.max(base + k, 0), from - 1)),
      weight: offsets.map((k) => cubic(source - base - k, -0.75)),
    };
  }
  const stretch = Math.max(scale, 1);
  const centre = (to + 0.5) * scale;
  const first = Math.max(0, Math.trunc(centre - 2 * stretch + 0.5));
  const end = Math.min(from, Math.trunc(centre + 2 * stretch + 0.5));
  const index = Array.from({ length: end - first }, (_, k) => first + k);
  const raw = index.map((k) => cubic((k - centre + 0.5) / stretch, -0.5));
  const sum = raw.reduce((a, b) => a + b, 0);
  return { index, weight: raw.map((weight) => weight / sum) };
}

/** `table` [from, inner] → [size, inner] along its first axis, for `outer` tables in a row; float64 inside. */
function resampleAxis(
  rule: ResampleRule, table: Float64Array, outer: number, from: number, size: number, inner: number,
): Float64Array {
  const result = new Float64Array(outer * size * inner);
  for (let to = 0; to < size; to++) {
    const { index, weight } = taps(rule, from, size, to);
    for (let row = 0; row < outer; row++) {
      for (let k = 0; k < index.length; k++) {
        const w = weight[k] ?? 0;
        const source = (row * from + (index[k] ?? 0)) * inner;
        const target = (row * size + to) * inner;
        for (let i = 0; i < inner; i++) result[target + i] = (result[target + i] ?? 0) + w * (table[source + i] ?? 0);
      }
    }
  }
  return result;
}

/**
 * Resamples a position embedding [prefix + from², width], row-major, to [prefix + to², width]; the prefix rows are
 * kept.
 */
export function resamplePositionEmbedding(
  values: Float32Array, grid: { readonly prefix: number; readonly from: number; readonly to: number },
  rule: ResampleRule,
): Float32Array {
  const { prefix, from, to } = grid;
  const width = values.length / (prefix + from * from);
  const table = Float64Array.from(values.subarray(prefix * width)); // [from, from, width]
  const columns = resampleAxis(rule, table, from, from, to, width); // [from, to, width]
  const rows = resampleAxis(rule, columns, 1, from, to, to * width); // [to, to, width]
  const result = new Float32Array((prefix + to * to) * width);
  result.set(values.subarray(0, prefix * width));
  result.set(rows, prefix * width);
  return result;
}

/**
 * The grids behind two token counts that share a prefix of 0, 1 or 2 tokens; undefined when they are not square.
 * Squares above 1 lie at least 5 apart, so at most one prefix fits both counts.
 */
export function gridsOf(stored: number, wanted: number): { prefix: number; from: number; to: number } | undefined {
  for (const prefix of [0, 1, 2]) {
    const from = Math.sqrt(stored - prefix);
    const to = Math.sqrt(wanted - prefix);
    if (Number.isInteger(from) && Number.isInteger(to) && from >= 1 && to >= 1) return { prefix, from, to };
  }
  return undefined;
}
