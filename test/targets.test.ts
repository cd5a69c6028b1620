/** Targets are records: one list, a choice by rank and requirements, templates that fall back. */
import test from "ava";
import { TARGET_NAMES, TARGETS, templateOf, type Target } from "../compiler/targets/index.js";
import { familiesByRank, familyNamed } from "../runtime/families.js";
import { InputError } from "../runtime/errors.js";
import { listAdapters } from "../runtime/node/index.js";
import { compileText } from "./harness.js";

const KINDS = ["contraction", "attention", "attention_gradient"] as const;

test("names and ranks are told apart", (t) => {
  t.is(new Set(TARGET_NAMES).size, TARGETS.length);
  t.is(new Set(TARGETS.map(({ rank }) => rank)).size, TARGETS.length);
});

test("a target without a template takes that of the next lower rank", (t) => {
  const all: readonly Target[] = TARGETS;
  const top = all.toSorted((x, y) => y.rank - x.rank)[0];
  if (!top) return t.fail("there are targets");
  const stub: Target = { ...top, name: "stub", rank: top.rank + 10, templates: {} };
  for (const kind of KINDS) {
    const { template, from } = templateOf(kind, stub, [...TARGETS, stub]);
    t.is(from, top);
    t.true(template === top.templates[kind]);
  }
  const partial: Target = { ...stub, templates: { attention: top.templates.attention } as Target["templates"] };
  t.is(templateOf("attention", partial, [...TARGETS, partial]).from, partial);
  t.is(templateOf("contraction", partial, [...TARGETS, partial]).from, top);
});

test("a module has a family for each target, with what it requires", (t) => {
  const { manifest } = compileText("model m() { input x: [B, 5, 8] param w: [8, 6] ~ normal(1) output y = matmul(x, w) }");
  t.deepEqual(Object.keys(manifest.families), [...TARGET_NAMES]);
  for (const { name, rank, suits, requires } of TARGETS) {
    const family = familyNamed(manifest, name);
    t.like(family, { rank, suits, requires });
    for (const kernel of family.kernels) t.true((kernel.subgroup ?? 0) <= requires.lanes, name);
  }
  t.throws(() => familyNamed(manifest, "tensor"), { instanceOf: InputError, message: /no tensor kernels.*scalar, wide, tiled/ });
  t.throws(() => familyNamed(manifest, "toString"), { instanceOf: InputError });
});

test("what suits the adapter comes first, then what has the higher rank", (t) => {
  const families = Object.fromEntries(TARGETS.map((target) => [target.name, target]));
  t.deepEqual(familiesByRank(families, true), ["wide", "scalar", "tiled"]);
  t.deepEqual(familiesByRank(families, false), ["tiled", "wide", "scalar"]);
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
