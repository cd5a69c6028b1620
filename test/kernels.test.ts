/**
 * The compiled kernels of every op, of every op's gradient, and of graphs that are hard to fuse, against the
 * interpreter: on each family that the adapter runs, fused and not. `DEITC_ADAPTER` names another adapter.
 */
import test from "ava";
import type { Graph } from "../compiler/ir/graph.js";
import { OPS } from "../compiler/ops/index.js";
import type { CompileOptions } from "../compiler/pipeline.js";
import { adapterName, chooseFamily, isSoftware, type Device } from "../runtime/device.js";
import type { FamilyName } from "../runtime/manifest.js";
import { namesFor } from "../compiler/targets/index.js";
import { FUSION_CASES, textOf } from "./fusion_cases.js";
import {
  compileText, familiesOn, disagreements, expected, feedsOf, moduleOf, obstacleOf, openTestDevice, openUncheckedDevice, runModule,
  type Feeds, type Module,
} from "./harness.js";
import { randomGraph } from "./random_graphs.js";
import { forwardGraph, gradientCases, gradientGraph, opCases, type OpCase, type OpGraph } from "./op_graphs.js";

/**
 * Greatest difference over the greatest magnitude: f32 rounding in another order is some 1e-6, the shading language's
 * exp and division some 5e-6.
 */
const TOLERANCE = 1e-5;

let device: Device;
/** For tiled kernels of whole graphs: a software adapter compiles their checked accesses eight times as long. */
let unchecked: Device;
test.before(async (t) => {
  [device, unchecked] = [await openTestDevice(), await openUncheckedDevice()];
  t.log(`on ${adapterName(device.info)}`);
});
test.after.always(() => [device, unchecked].forEach((one) => one?.destroy()));

/** Options of a compile, fused or not. */
const optimized = (fuse: boolean): CompileOptions => (fuse ? {} : { without: ["fusion"] });

/** Batches to run. A software adapter takes seconds to compile one tiled kernel, so it compiles fewer. */
const batchesOf = (family: FamilyName, fuse: boolean): readonly number[] =>
  isSoftware(device.info) && (family === "tiled" || !fuse) ? [3] : [1, 3];

/** Whether an adapter is spared kernels: unfused tiled contractions are those of the ops once more. */
const isSpared = (family: FamilyName, fuse: boolean): boolean => family === "tiled" && !fuse && isSoftware(device.info);

/** What is wrong on a family, at every batch. Undefined: the adapter cannot run it. */
async function wrongOn(
  family: FamilyName, fuse: boolean, module: Module, graph: Graph, feeds: (batch: number) => Feeds, on = device,
): Promise<readonly string[] | undefined> {
  if (obstacleOf(on, module, family) !== undefined) return undefined;
  const wrong: string[] = [];
  for (const batch of batchesOf(family, fuse)) {
    const given = feeds(batch);
    const got = await runModule(on, module, family, batch, given);
    wrong.push(...disagreements(got, expected(graph, batch, given), TOLERANCE).map((w) => `B = ${batch}: ${w}`));
  }
  return wrong;
}

/** Cases whose kernels are others when nothing is fused. */
const fusible = (cases: readonly OpCase[], make: (cases: readonly OpCase[]) => OpGraph): readonly OpCase[] =>
  cases.filter((c) => moduleOf(make([c]).graph, "test", { without: ["fusion"] }).compiled.fusion.kernels.length
    > moduleOf(make([c]).graph).compiled.fusion.kernels.length);

/** Groups of records by what they are: one module each, so that the driver has much to compile at once. */
const GROUPS = [
  { name: "elementwise ops", has: ({ record }: OpCase) => record.kind === "elementwise" },
  { name: "contractions", has: ({ record }: OpCase) => record.kind === "contraction" || record.kind === "fused" },
  { name: "other ops", has: ({ record }: OpCase) => !["elementwise", "contraction", "fused"].includes(record.kind) },
] as const;
const KINDS = [
  { name: "forward", cases: opCases, make: forwardGraph },
  { name: "gradients", cases: gradientCases, make: gradientGraph },
] as const;

for (const kind of KINDS) {
  for (const group of GROUPS) {
    const cases = kind.cases.filter(group.has);
    let others: readonly OpCase[] | undefined;
    for (const fuse of [true, false]) {
      for (const family of namesFor("f32")) {
        test.serial(`${kind.name} of ${group.name}${fuse ? "" : ", not fused"}: ${family}`, async (t) => {
          const chosen = fuse ? cases : others ??= fusible(cases, kind.make);
          if (group.name === "contractions" && isSpared(family, fuse)) return void t.pass("on a software adapter");
          if (chosen.length === 0) return void t.pass("fused and not are the same kernels");
          const { graph, feeds } = kind.make(chosen);
          const module = moduleOf(graph, "test", optimized(fuse));
          const wrong = await wrongOn(family, fuse, module, graph, feeds);
          if (!wrong) t.log(`skipped: ${obstacleOf(device, module, family)}`);
          t.deepEqual(wrong ?? [], []);
        });
      }
    }
  }
}

test("every record that has samples is run, but those that draw random numbers", (t) => {
  const run = new Set(opCases.map((c) => c.record.name));
  const left = [...OPS.values()].filter((r) => r.samples.length > 0 && !run.has(r.name)).map((r) => r.name);
  t.deepEqual(left, ["bernoulli"]);
});

for (const c of FUSION_CASES) {
  test.serial(`fusion: ${c.name}`, async (t) => {
    for (const fuse of [true, false]) {
      const module = compileText(textOf(c), undefined, optimized(fuse));
      const { graph } = module.model;
      const anchored = module.fusion.kernels.some((k) => k.anchor !== undefined);
      for (const family of namesFor("f32")) {
        if (anchored && isSpared(family, fuse)) continue;
        const on = family === "tiled" ? unchecked : device;
        const wrong = await wrongOn(family, fuse, module, graph, (batch) => feedsOf(graph, batch, c.ranges), on);
        t.deepEqual(wrong ?? [], [], `${family}${fuse ? "" : ", not fused"}`);
      }
    }
  });
}

/** Random graphs amplify rounding more than models do. */
const LOOSE = 1e-4;

test("random graphs have a kernel for everything, fused and not", (t) => {
  for (let seed = 0; seed < 150; seed++) {
    const graph = randomGraph(seed, 30);
    for (const fuse of [true, false]) t.notThrows(() => moduleOf(graph, "random", optimized(fuse)), `seed ${seed}, fuse ${fuse}`);
  }
});

test.serial("random graphs on the adapter's own family", async (t) => {
  for (let seed = 0; seed < 12; seed++) {
    const graph = randomGraph(seed, 16);
    const module = moduleOf(graph, "random");
    const family = chooseFamily(device, module.manifest);
    const feeds = feedsOf(graph, 3);
    const got = await runModule(device, module, family, 3, feeds);
    t.deepEqual(disagreements(got, expected(graph, 3, feeds), LOOSE), [], `${family}, seed ${seed}`);
  }
});

test.serial("logarithms end where they end on paper", async (t) => {
  const compiled = compileText("model m(n = 4) { input x: [n] output y = log(x) }");
  const feeds = { inputs: new Map([["x", { shape: [4], data: Float32Array.of(-1, 0, -0, 1) }]]), parameters: new Map() };
  for (const family of familiesOn(device, compiled)) {
    const y = (await runModule(device, compiled, family, 1, feeds)).get("y");
    t.deepEqual([...(y ?? [])], [NaN, -Infinity, -Infinity, 0], family);
  }
});

test.serial("erfc keeps its digits where erf is nearly 1", async (t) => {
  // Values of Python's math.erfc. At 9 the exponent is −81: its rounding and the shading language's exp cost some 1e-5.
  const known = [[-3, 1.9999779095030015], [-0.5, 1.5204998778130465], [0, 1], [0.25, 0.7236736098317631], [1, 0.15729920705028513],
    [2.5, 0.0004069520174449589], [3, 2.2090496998585438e-5], [5, 1.5374597944280351e-12], [9, 4.13703174651381e-37]] as const;
  const values = known.map(([x]) => x);
  for (const [x, y] of known) {
    const exact = OPS.get("erfc")?.scalar?.(x) ?? NaN;
    t.true(Math.abs(exact / y - 1) < 1e-11, `${x}: ${exact}`);
  }
  const compiled = compileText("model m(n = 9) { input x: [n] output y = erfc(x) }");
  const feeds = { inputs: new Map([["x", { shape: [9], data: Float32Array.from(values) }]]), parameters: new Map() };
  for (const family of familiesOn(device, compiled)) {
    const y = (await runModule(device, compiled, family, 1, feeds)).get("y");
    for (const [i, [x, want]] of known.entries()) t.true(Math.abs((y?.[i] ?? NaN) / want - 1) < 3e-5, `${family} at ${x}: ${y?.[i]}`);
  }
});
