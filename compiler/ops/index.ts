/**
 * @file The list of all ops: the one place where a new record is named.
 */
import { invariant } from "../ir/invariant.js";
import type { OpRecord } from "../ir/op.js";
import { activations } from "./activations.js";
import { arithmetic } from "./arithmetic.js";
import { attentions } from "./attention.js";
import { channelsLast } from "./channels_last.js";
import { conv2d, pooling } from "./convolution.js";
import { indexing } from "./indexing.js";
import { joins } from "./joins.js";
import { lanes } from "./lanes.js";
import { leaves } from "./leaves.js";
import { logic } from "./logic.js";
import { matmul } from "./matmul.js";
import { reductions } from "./reductions.js";
import { resize } from "./resize.js";
import { rows } from "./rows.js";
import { views } from "./views.js";

const all: readonly OpRecord[] = [
  ...leaves, ...arithmetic, ...logic, ...activations, ...reductions, ...rows,
  matmul, ...attentions, ...lanes, conv2d, ...channelsLast, ...pooling, resize, ...views, ...joins, ...indexing,
];

/** Every op by its name. */
export const OPS: ReadonlyMap<string, OpRecord> = new Map(all.map((record) => [record.name, record]));
invariant(OPS.size === all.length, "every op has a name of its own");

/** The ops that compute one element from one element of each operand. */
export const ELEMENTWISE: readonly string[] = all.filter(({ kind }) => kind === "elementwise").map(({ name }) => name);

/** The record of an op the compiler itself names. */
export function recordOf(name: string): OpRecord {
  const record = OPS.get(name);
  invariant(record !== undefined, `the op \`${name}\` exists`);
  return record;
}
