/** @file The kernel families of a module: found by name, and in the order in which an adapter should try them. */
import { InputError } from "./errors.js";
import type { Family, FamilyName, Manifest } from "./manifest.js";

/** @throws InputError for a name that the module has no kernels of. */
export function familyNamed({ name: module, families }: Pick<Manifest, "name" | "families">, name: FamilyName): Family {
  const family = Object.hasOwn(families, name) ? families[name] : undefined;
  if (family) return family;
  throw new InputError(`${module} has no ${name} kernels; it was compiled for ${Object.keys(families).join(", ")}`);
}

/** Names by rank, the highest first; those that suit the adapter before the others. */
export function familiesByRank(
  families: Readonly<Record<FamilyName, Pick<Family, "rank" | "suits">>>, isSoftware: boolean,
): FamilyName[] {
  const wanted = isSoftware ? "software" : "hardware";
  const suits = (family: Pick<Family, "suits">): number => Number(family.suits === wanted);
  return Object.entries(families)
    .sort(([, x], [, y]) => suits(y) - suits(x) || y.rank - x.rank)
    .map(([name]) => name);
}
