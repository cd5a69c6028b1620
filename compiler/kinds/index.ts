/** @file Every kind of kernel around one op: the one list. */
import { invariant } from "../ir/invariant.js";
import type { OpRecord } from "../ir/op.js";
import { attention } from "./attention.js";
import { attentionGradient } from "./attention_gradient.js";
import { contraction } from "./contraction.js";
import type { Kind } from "./kind.js";

export const KINDS: readonly Kind[] = [contraction, attention, attentionGradient];

/** The kind of the kernels around an op; undefined for ops that kernels compute element by element. */
export const kindOf = (record: OpRecord): Kind | undefined => KINDS.find((kind) => kind.is(record));

/** The kind of the kernels around an op that has one. */
export function anchorKindOf(record: OpRecord): Kind {
  const kind = kindOf(record);
  invariant(kind, `${record.name} has a kind of kernel`);
  return kind;
}
