/** Targets are records: one list, a choice by rank and requirements, templates that fall back. */
import test from "ava";
import { RANKED_NAMES, TARGET_NAMES, TARGETS, templatesOf, TEMPLATE_KINDS, type Target } from "../compiler/targets/index.js";
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

test("a target's kernels are by its own template, else by that of the next lower rank that is made for them", (t) => {
  if (!TOP) return t.fail("there are targets");
  t.true(TEMPLATE_KINDS.length >= 3);
  const stub: Target = { ...TOP, name: "stub", rank: TOP.rank + 10, templates: {} };
  for (const kind of TEMPLATE_KINDS) {
    const found = templatesOf(kind, stub);
    // The adapter of one target may lack the matrices of another.
    const having = ALL.filter(({ templates, requires }) => templates[kind] && !requires.matrix).toSorted((x, y) => y.rank - x.rank);
    t.deepEqual(found.map(({ from }) => from.name), having.map(({ name }) => name), kind);
    t.true(found.every(({ template, from }) => template === from.templates[kind]));
  }
  const partial: Target = { ...stub, templates: { attention: templatesOf("attention", TOP)[0]?.template } };
  t.is(templatesOf("attention", partial)[0]?.from, partial);
  t.is(templatesOf("contraction", partial)[0]?.from.name, "tiled");
});

test("kernels for matrices of one shape are never those of another, whatever they are left with", (t) => {
  // Nine queries: too few for tiles of 64, enough for those of 32.
  const { wgsl } = compileText(`model m() {
    input q: [B, 4, 9, 32] input k: [B, 4, 40, 32] input v: [B, 4, 40, 32]
    output y = matmul(softmax(matmul(q, transpose(k)), axis = -1), v)
  }`, "m", { precision: "f16" });
  const [small, large] = ["tensor_small", "tensor"].map((name) => [...wgsl].filter(([key]) => key.startsWith(`${name}/`)).map(([, text]) => text));
  t.true(small?.some((text) => text.includes("subgroup_matrix_left<f16, 8, 8>")));
  t.false(large?.some((text) => text.includes("subgroup_matrix_left<f16, 8, 8>")));
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
