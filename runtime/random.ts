/**
 * @file Counter-based random numbers: every draw is a function of (seed, stream, step, index), so a run repeats bit
 * for bit and resumes anywhere. Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", Philox.
 */

/** Four unsigned 32-bit words. */
export type Words4 = readonly [number, number, number, number];

/** The upper 32 bits of the product of two unsigned 32-bit numbers: both partial products stay below 2^53. */
function multiplyHigh(a: number, b: number): number {
  const low = a * (b & 0xffff);
  return Math.floor((a * (b >>> 16) + Math.floor(low / 65536)) / 65536) >>> 0;
}

/** Philox 4×32 with ten rounds. */
export function philox4x32_10(counter: Words4, key: readonly [number, number]): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** What a sequence of draws belongs to. */
export interface RandomKey {
  /** A non-negative safe integer. */
  readonly seed: number;
  /** Unsigned 32 bits: what the numbers are for. */
  readonly stream: number;
  /** Unsigned 32 bits: the optimizer step, or 0. */
  readonly step: number;
}

/**
 * Block `block` of four words: counter (block, attempt, step, stream), key (seed low, seed high). `attempt` counts
 * the redraws of a rejection method.
 */
export function randomWords({ seed, stream, step }: RandomKey, block: number, attempt = 0): Words4 {
  const counter = [block >>> 0, attempt >>> 0, step >>> 0, stream >>> 0] as const;
  return philox4x32_10(counter, [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0]);
}

/** A word as a number in [0, 1), a multiple of 2^-24: exact in float32. */
export function wordToUniform(word: number): number {
  return (word >>> 8) / 2 ** 24;
}

/** Two words as two independent standard normal numbers. Source: Box & Muller 1958. */
export function wordsToNormals(first: number, second: number): readonly [number, number] {
  const radius = Math.sqrt(-2 * Math.log((first + 1) / 2 ** 32));
  const angle = 2 * Math.PI * (second / 2 ** 32);
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}

/** Draw number `index` in [0, 1). */
export function uniformAt(key: RandomKey, index: number): number {
  const words = randomWords(key, Math.floor(index / 4));
  return wordToUniform(words[index % 4] ?? 0);
}

/** Draws number `first` to `first` + `target.length` − 1 in [0, 1). */
export function fillUniform(key: RandomKey, first: number, target: Float32Array): void {
  let words = randomWords(key, Math.floor(first / 4));
  for (let i = 0; i < target.length; i++) {
    const index = first + i;
    if (index % 4 === 0) words = randomWords(key, index / 4);
    target[i] = wordToUniform(words[index % 4] ?? 0);
  }
}

/** Standard normal draw number `index`. */
export function normalAt(key: RandomKey, index: number): number {
  const [a, b, c, d] = randomWords(key, Math.floor(index / 4));
  const pair = index % 4 < 2 ? wordsToNormals(a, b) : wordsToNormals(c, d);
  return index % 2 === 0 ? pair[0] : pair[1];
}

/** A stream's number from its name: FNV-1a over UTF-8, 32 bits. */
export function streamOf(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
