/**
 * @file Many random programs in a row: which ways each is tried, and a report of what is wrong, made as small as it gets.
 */
import { compileGraph, familyOfTarget } from "../../compiler/pipeline.js";
import { deviceResults, expectationOf, faultsOf, WAYS, wrongIn, type Engine, type Way } from "./check.js";
import { generate } from "./generate.js";
import { shrink, textOf, type RandomProgram } from "./program.js";
import { feedsOfUnion, nameIn, partOf, unionOf } from "./union.js";

/** A fault of a program, and the smallest program that has one the same way. */
export interface Fault {
  readonly seed: number;
  readonly way: Way;
  readonly engine: string;
  readonly faults: readonly string[];
  readonly smallest: RandomProgram;
}

export interface Tally {
  /** Programs, and times that one of them was compiled and run. */
  programs: number;
  runs: number;
  /** Programs with kernels in workgroup memory, of those tried together. */
  tiled: number;
  /** Values too far from float64 in plain float32 to say anything of. */
  hopeless: number;
  readonly faults: Fault[];
}

export const nameOf = (engine: Engine): string => (engine.kind === "plan" ? "plan" : engine.family);

/** Tries one program each way on each engine. @param choose which of them; all unless given */
export async function tryProgram(
  seed: number, engines: readonly Engine[], tally: Tally,
  choose: (way: Way, engine: Engine) => boolean = () => true,
): Promise<void> {
  const program = generate(seed);
  tally.programs++;
  for (const gradient of [false, true]) {
    const tried = engines.flatMap((engine) => WAYS.filter((way) => way.gradient === gradient && choose(way, engine))
      .map((way) => ({ way, engine })));
    if (tried.length === 0) continue;
    const expectation = expectationOf(program, gradient);
    tally.hopeless += [...expectation.tolerance.values()].filter((x) => x === Infinity).length;
    for (const { way, engine } of tried) {
      tally.runs++;
      const faults = await faultsOf(program, way, engine, expectation);
      if (faults.length === 0) continue;
      const smallest = await shrink(program, async (smaller) => (await faultsOf(smaller, way, engine)).length > 0);
      tally.faults.push({ seed, way, engine: nameOf(engine), faults, smallest });
    }
  }
}

/** Many programs as one module on a device: what is wrong is tried again by itself and made smaller. */
export async function tryTogether(
  seeds: readonly number[], way: Way, engine: Extract<Engine, { kind: "device" }>, tally: Tally,
): Promise<void> {
  const parts = seeds.map((seed) => expectationOf({ ...generate(seed), batch: BATCH }, way.gradient));
  const graph = unionOf(parts.map((part) => part.graph));
  const compiled = compileGraph(graph, "m", {
    without: way.fuse ? [] : ["fusion"], verify: true, targets: [engine.family],
  });
  const got = await deviceResults(compiled, BATCH, feedsOfUnion(parts), engine);
  tally.programs += seeds.length;
  tally.runs += seeds.length;
  const { kernels, programs } = familyOfTarget(compiled, engine.family).planned.family;
  const tiled = [...programs.prepare, ...programs.run].filter(({ kernel }) => (kernels[kernel]?.workgroupBytes ?? 0) > 0);
  tally.tiled += new Set(tiled.map(({ path }) => partOf(path))).size;
  for (const [part, expectation] of parts.entries()) {
    const faults = wrongIn(expectation, (name) => got.get(renamedIn(part, name)));
    const seed = seeds[part];
    if (faults.length === 0 || seed === undefined) continue;
    const alone: Tally = { programs: 0, runs: 0, tiled: 0, hopeless: 0, faults: [] };
    await tryProgram(seed, [engine], alone, (other) => other.fuse === way.fuse && other.gradient === way.gradient);
    const smallest = alone.faults[0]?.smallest ?? generate(seed);
    tally.faults.push({ seed, way, engine: engine.family, faults, smallest });
  }
}

/** Images of programs that are run together. */
const BATCH = 2;
const NEXT = /^next /;
const renamedIn = (part: number, name: string): string =>
  (NEXT.test(name) ? `next ${nameIn(part, name.replace(NEXT, ""))}` : nameIn(part, name));

/** What a person needs to see of a fault. */
export const describeFault = ({ seed, way, engine, faults, smallest }: Fault): string => [
  `seed ${seed}, ${engine}, ${way.gradient ? "gradient" : "forward"}${way.fuse ? "" : ", not fused"}, ` +
    `batch ${smallest.batch}${smallest.training ? ", training" : ""}:`,
  ...faults.slice(0, 4), textOf(smallest),
].join("\n");
