/** @file Bytes of elements on the device. */
import type { DType, ElementBytes } from "./manifest.js";

const BYTES: ElementBytes = { f32: 4, f16: 2, i32: 4, bool: 4 };

/** Bytes of an element; f32 where a manifest names no type. */
export const elementBytes = (dtype: DType = "f32"): number => BYTES[dtype];
