/**
 * @file The golden numbers: where they are, tests that need them, and the generator that makes the weights and inputs
 * behind them. `test/golden/README.md` says what they are.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";

/** The project's own goldens: every index, and a small file of every kind. */
export const OWN = "test/golden";
/** Parent of the larger set, which a clone need not have: `fixtures/`, and `data/` with published weights. */
const SHARED = process.env["DEITC_SHARED"] ?? "../shared";

const firstOf = (...paths: readonly string[]): string | undefined => paths.find((path) => existsSync(path));

/** Where a golden file is, by its path in the set; undefined where neither the project nor the larger set has it. */
export const goldenFile = (path: string): string | undefined =>
  firstOf(join(OWN, path), join(SHARED, "fixtures", path));

/** Where a file or folder of the larger set's data is; undefined without it. */
export const sharedData = (path: string): string | undefined => firstOf(join(SHARED, "data", path));

/** An index, which the project always has. Its fields are the caller's to know. */
export const goldenIndex = <T>(path: string): T => JSON.parse(readFileSync(join(OWN, path), "utf8")) as T;

// ---- Tests that need files: the runner counts the skipped ones by these marks in their titles. ----

const NEEDS_FIXTURES = "(needs the reference fixtures)";
const NEEDS_FULL = "(only in npm run test:full)";

/** Whether the slow models run too. */
export const FULL = process.env["DEITC_FULL"] !== undefined;

/** What a test does with the files it asked for, by the names it asked with. */
type GoldenRun<K extends string> = (t: ExecutionContext, found: Readonly<Record<K, string>>) => unknown;

/** A test that runs where all its files are, and is skipped by name elsewhere. */
export function goldenTest<K extends string>(
  title: string, needs: Readonly<Record<K, string | undefined>>, run: GoldenRun<K>,
): void {
  if (Object.values(needs).includes(undefined)) return leftOut(title);
  const found = needs as Readonly<Record<K, string>>; // none is undefined
  test.serial(title, async (t) => void (await run(t, found)));
}

/** A golden test of a slow model. */
export function fullTest<K extends string>(
  title: string, needs: Readonly<Record<K, string | undefined>>, run: GoldenRun<K>,
): void {
  if (FULL) goldenTest(title, needs, run);
  else test.skip(`${title} ${NEEDS_FULL}`, (t) => t.pass());
}

/** Names, as a skipped test, what other tests leave out for want of a file. */
export function leftOut(title: string): void {
  test.skip(`${title} ${NEEDS_FIXTURES}`, (t) => t.pass());
}

// ---- The generator ----

export function fnv1a32(name: string): number {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) h = Math.imul(h ^ byte, 0x01000193);
  return h >>> 0;
}

/** 32 well-mixed bits of (seed, i). */
export function mix(seed: number, i: number): number {
  let h = (seed + Math.imul(i, 0x9e3779b9)) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** float32(base + scale·u(name, i)), row-major. */
export function generated(name: string, count: number, base: number, scale: number): Float32Array {
  const seed = fnv1a32(name);
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) out[i] = base + scale * ((mix(seed, i) >>> 8) / 8388608 - 1);
  return out;
}

/** An image batch [N, C, H, W] with low frequencies: noise over squares of one colour, `block` pixels a side. */
export function blocky(name: string, [n, c, h, w]: readonly [number, number, number, number], block: number): Float32Array {
  const [fine, coarse] = [fnv1a32(name), fnv1a32(`${name}:coarse`)];
  const u = (seed: number, i: number): number => (mix(seed, i) >>> 8) / 8388608 - 1;
  const [rows, cols] = [Math.ceil(h / block), Math.ceil(w / block)];
  const out = new Float32Array(n * c * h * w);
  for (let i = 0; i < out.length; i++) {
    const [plane, y, x] = [Math.floor(i / (h * w)), Math.floor(i / w) % h, i % w];
    out[i] = 0.5 * u(fine, i) + u(coarse, (plane * rows + Math.floor(y / block)) * cols + Math.floor(x / block));
  }
  return out;
}

/** Whole numbers in [0, modulus). */
export function integers(name: string, count: number, modulus: number): Int32Array {
  const seed = fnv1a32(name);
  return Int32Array.from({ length: count }, (_, i) => mix(seed, i) % modulus);
}

/** Base and scale of a parameter by its state-dict key and shape. */
export function ruleOf(key: string, shape: readonly number[], convGain = 1): { base: number; scale: number } {
  const last = key.split(".").pop() ?? key;
  const fanIn = shape.slice(1).reduce((n, d) => n * d, 1);
  if (last === "num_batches_tracked") return { base: 0, scale: 0 };
  if (last === "running_mean") return { base: 0, scale: 0.1 };
  if (last === "running_var") return { base: 1, scale: 0.2 };
  if (["cls_token", "dist_token", "pos_embed"].includes(last)) return { base: 0, scale: 0.05 };
  if (last.startsWith("gamma")) return { base: 0.5, scale: 0.1 };
  if (shape.length === 4) return { base: 0, scale: Math.sqrt((3 * convGain) / fanIn) };
  if (shape.length === 2 || shape.length === 3) return { base: 0, scale: Math.sqrt(3 / fanIn) };
  return last === "weight" ? { base: 1, scale: 0.1 } : { base: 0, scale: 0.05 };
}

/** A parameter's generated value. @param officialKey the key that is hashed, where it differs from `key`. */
export function parameterValue(prefix: string, key: string, shape: readonly number[], convGain = 1): Float32Array {
  const official = officialKey(key);
  const { base, scale } = ruleOf(official, shape, convGain);
  return generated(prefix + official, shape.reduce((n, d) => n * d, 1), base, scale);
}

/** The official repository's name of a timm parameter. */
export const officialKey = (key: string): string => key.replace(/\.ls([12])\.gamma$/, ".gamma_$1");

// ---- Comparisons and files ----

export const relativeL2 = (got: ArrayLike<number>, want: ArrayLike<number>): number => {
  let num = 0, den = 0;
  for (let i = 0; i < want.length; i++) {
    const w = want[i] as number; // i < length
    num += ((got[i] as number) - w) ** 2;
    den += w * w;
  }
  return Math.sqrt(num / den);
};

export function maxAbs(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let worst = 0;
  for (let i = 0; i < want.length; i++) worst = Math.max(worst, Math.abs((got[i] as number) - (want[i] as number))); // i < length
  return got.length === want.length ? worst : Infinity;
}

export function argMax(x: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < x.length; i++) if ((x[i] as number) > (x[best] as number)) best = i; // i < length
  return best;
}

export type GoldenTensors = Map<string, { shape: number[]; data: Float32Array | Float64Array | Uint8Array }>;

/** F32, F64 and U8 tensors of a golden safetensors file. Independent of the product's reader. */
export function readGolden(file: string): GoldenTensors {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  const out: GoldenTensors = new Map();
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const raw = new Uint8Array(bytes.subarray(8 + length + from, 8 + length + to)).buffer;
    out.set(name, { shape, data: dtype === "F32" ? new Float32Array(raw) : dtype === "F64" ? new Float64Array(raw) : new Uint8Array(raw) });
  }
  return out;
}
