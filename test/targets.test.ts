/** Targets are records: one list, a choice by rank and requirements, templates that fall back. */
import test from "ava";
import { RANKED_NAMES, TARGET_NAMES, TARGETS, templateOf, TEMPLATE_KINDS, type Target } from "../compiler/targets/index.js";
import { familiesByRank, familyNamed } from "../runtime/families.js";
import { InputError } from "../runtime/errors.js";
import { listAdapters } from "../runtime/node/index.js";
import { compileText } from "./harness.js";

const ALL: readonly Target[] = TARGETS;
const [TOP] = ALL.toSorted((x, y) => y.rank - x.rank);

test("names and ranks are told apart", (t) => {
  t.is(new Set(TARGET_NAMES).size, TARGETS.length);
  t.is(new Set(TARGETS.map(({ rank }) => rank)).size, TARGETS.length);
});

test("a target without a template takes that of the next lower rank", (t) => {
  if (!TOP) return t.fail("there are targets");
  t.true(TEMPLATE_KINDS.length >= 3);
  const stub: Target = { ...TOP, name: "stub", rank: TOP.rank + 10, templates: {} };
  for (const kind of TEMPLATE_KINDS) {
    const { template, from } = templateOf(kind, stub, [...TARGETS, stub]);
    t.true(from === templateOf(kind, TOP).from && template === from.templates[kind], kind);
    // The nearest that has one, none between.
    t.false(ALL.some((other) => other.templates[kind] && other.rank > from.rank && other.rank <= TOP.rank), kind);
  }
  const partial: Target = { ...stub, templates: { attention: templateOf("attention", TOP).template } };
  t.is(templateOf("attention", partial, [...TARGETS, partial]).from, partial);
  t.is(templateOf("contraction", partial, [...TARGETS, partial]).from, templateOf("contraction", TOP).from);
});

test("a module has a family for each target, with what it requires", (t) => {
  const { manifest } = compileText("model m() { input x: [B, 5, 8] param w: [8, 6] ~ normal(1) output y = matmul(x, w) }");
  const full = ALL.filter(({ precisions }) => precisions.includes("f32"));
  t.deepEqual(Object.keys(manifest.families), full.map(({ name }) => name));
  for (const { name, rank, suits, requires } of full) {
    const family = familyNamed(manifest, name);
    t.like(family, { rank, suits, requires });
    for (const kernel of family.kernels) t.true((kernel.subgroup ?? 0) <= requires.lanes, name);
  }
  t.throws(() => familyNamed(manifest, "tensor"), { instanceOf: InputError, message: new RegExp(`no tensor kernels.*${full.map(({ name }) => name).join(", ")}`) });
  t.throws(() => familyNamed(manifest, "toString"), { instanceOf: InputError });
});

test("what suits the adapter comes first, then what has the higher rank", (t) => {
  const families = Object.fromEntries(TARGETS.map((target) => [target.name, target]));
  const suited = (kind: Target["suits"]): string[] =>
    RANKED_NAMES.filter((name) => TARGETS.some((target) => target.name === name && target.suits === kind));
  t.deepEqual(familiesByRank(families, true), [...suited("software"), ...suited("hardware")]);
  t.deepEqual(familiesByRank(families, false), [...suited("hardware"), ...suited("software")]);
  t.true(suited("software").length >= 2 && suited("hardware").length >= 1);
});

test.serial("the doctor's list ends with the embedded adapter", async (t) => {
  const { adapters, hints } = await listAdapters();
  const last = adapters.at(-1);
  t.is(last?.type, "embedded");
  t.deepEqual(last?.subgroupSizes, [4, 4]);
  t.true(last?.features.includes("subgroups"));
  t.true((last?.limits.maxStorageBufferBindingSize ?? 0) >= 2 ** 27);
  t.true(hints.every((hint) => hint.length > 20));
});
