/** @file Every target that is compiled: the one list. */
import { invariant } from "../ir/invariant.js";
import { scalar } from "./scalar.js";
import type { Target, Templates } from "./target.js";
import { tiled } from "./tiled.js";
import { wide } from "./wide.js";

export type { Target } from "./target.js";

export const TARGETS = [scalar, wide, tiled] as const satisfies readonly Target[];
export type TargetName = (typeof TARGETS)[number]["name"];
export const TARGET_NAMES: readonly TargetName[] = TARGETS.map(({ name }) => name);

/** The target of a name that is one. */
export function targetNamed(name: string): Target {
  const found = TARGETS.find((target) => target.name === name);
  invariant(found, `${name} is a target`);
  return found;
}

/**
 * The template of a kind of kernel for a target, and the target it is from: its own, else that of the next lower rank
 * that has one.
 * @param among the targets to look through; all unless given
 */
export function templateOf<Kind extends keyof Templates>(
  kind: Kind, target: Target, among: readonly Target[] = TARGETS,
): { readonly template: Templates[Kind]; readonly from: Target } {
  const from = among.filter(({ rank }) => rank <= target.rank).sort((x, y) => y.rank - x.rank)
    .find(({ templates }) => templates[kind] !== undefined);
  const template = from?.templates[kind];
  invariant(from && template, `a target of rank ${target.rank} or less has a template of ${kind}`);
  return { template, from };
}
