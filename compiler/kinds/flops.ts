/** @file Amounts of work that may hold the batch. */
import { dim, invariantMul, type Dim } from "../ir/dim.js";

/** x·y; where both hold the batch, y at batch 1: an estimate. */
export const scaled = (x: Dim, y: Dim): Dim => invariantMul(x, y.b !== 0 && x.b !== 0 ? dim(y.b + y.c) : y);
