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

/** A template, and the target it is from. */
interface Origin<Kind extends keyof Templates> {
  readonly template: Templates[Kind];
  readonly from: Target;
}

/**
 * The templates of a kind of kernel for a target, in the order in which they are asked: its own, then those of lower
 * ranks, but none that needs matrices, whose shape the adapter may not have.
 * @param among the targets to look through; all unless given
 */
export function templatesOf<Kind extends keyof Templates>(
  kind: Kind, target: Target, among: readonly Target[] = TARGETS,
): readonly Origin<Kind>[] {
  const others = ranked(among).filter(({ rank, requires }) => rank < target.rank && requires.matrix === undefined);
  return [target, ...others].flatMap((from): Origin<Kind>[] => {
    const template = from.templates[kind];
    return template ? [{ template, from }] : [];
  });
}

/** The kernel of a target, by the first of its templates that is made for what the spec says. */
export function kernelText<Kind extends keyof Templates>(kind: Kind, spec: Specs[Kind], target: Target): KernelText {
  for (const { template } of templatesOf(kind, target)) {
    const text = template(spec);
    if (text) return text;
  }
  invariant(false, `a target of rank ${target.rank} or less has a template of ${kind} for everything`);
}
