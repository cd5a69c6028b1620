/** @file Every target that is compiled: the one list. */
import type { Precision } from "../../runtime/manifest.js";
import { invariant } from "../ir/invariant.js";
import { scalar } from "./scalar.js";
import type { Target, Templates } from "./target.js";
import { tensor, tensorSmall } from "./tensor.js";
import { tiled } from "./tiled.js";
import type { KernelText, Specs } from "./template.js";
import { wide } from "./wide.js";

export type { Target } from "./target.js";

export const TARGETS = [scalar, wide, tiled, tensorSmall, tensor] as const satisfies readonly Target[];
export type TargetName = (typeof TARGETS)[number]["name"];
export const TARGET_NAMES: readonly TargetName[] = TARGETS.map(({ name }) => name);

const ranked = (among: readonly Target[]): readonly Target[] => among.toSorted((x, y) => y.rank - x.rank);
/** From the highest rank to the lowest. */
export const RANKED_NAMES: readonly string[] = ranked(TARGETS).map(({ name }) => name);
/** Those that are compiled in a precision, in that order. */
export const namesFor = (wanted: Precision): readonly string[] =>
  ranked(TARGETS).filter(({ precisions }) => precisions.includes(wanted)).map(({ name }) => name);

/** The target of a name that is one. */
export function targetNamed(name: string): Target {
  const found = TARGETS.find((target) => target.name === name);
  invariant(found, `${name} is a target`);
  return found;
}

/** Every kind of kernel that has templates: the target of the lowest rank has all of them. */
export const TEMPLATE_KINDS = Object.keys(scalar.templates) as readonly (keyof Templates)[]; // its own keys

/** The kernel of a target: by its own template, else by that of the next lower rank that is made for it. */
export function kernelText<Kind extends keyof Templates>(kind: Kind, spec: Specs[Kind], target: Target): KernelText {
  for (const { templates } of [target, ...ranked(TARGETS).filter(({ rank }) => rank < target.rank)]) {
    const text = templates[kind]?.(spec);
    if (text) return text;
  }
  invariant(false, `a target of rank ${target.rank} or less has a template of ${kind} for everything`);
}

/**
 * The template of a kind of kernel for a target, and the target it is from: its own, else that of the next lower rank
 * that has one.
 * @param among the targets to look through; all unless given
 */
export function templateOf<Kind extends keyof Templates>(
  kind: Kind, target: Target, among: readonly Target[] = TARGETS,
): { readonly template: Templates[Kind]; readonly from: Target } {
  const from = ranked(among).find(({ rank, templates }) => rank <= target.rank && templates[kind] !== undefined);
  const template = from?.templates[kind];
  invariant(from && template, `a target of rank ${target.rank} or less has a template of ${kind}`);
  return { template, from };
}
