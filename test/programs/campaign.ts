/**
 * @file Many random programs in a row: which ways each is tried, and a report of what is wrong, made as small as it gets.
 */
import { compileGraph, familyOfTarget } from "../../compiler/pipeline.js";
import { TARGET_NAMES, type TargetName } from "../../compiler/targets/index.js";
import { soil } from "../harness.js";
import { deviceResults, expectationOf, faultsIn, faultsOf, WAYS, type Engine, type Expectation, type Way } from "./check.js";
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

/** Ways that the tests try a program by its plan: both fused, one of the two not fused. */
export const triedByPlan = (seed: number) => ({ fuse, gradient }: Way): boolean => fuse || gradient === (seed % 2 === 0);

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

/** Programs of one module. */
const AT_ONCE = 20;

/** Programs that are tried together. */
export interface Group {
  readonly seeds: readonly number[];
  readonly way: Way;
}

/** A family's first programs, as many to a module as fit, each way in turn; the same program another way by family. */
export const groupsOf = (family: TargetName, programs: number): readonly Group[] =>
  Array.from({ length: programs / AT_ONCE }, (_, group) => ({
    seeds: Array.from({ length: AT_ONCE }, (_, i) => group * AT_ONCE + i),
    way: WAYS[(group + TARGET_NAMES.indexOf(family)) % WAYS.length] as Way, // in range
  }));

/** What is wrong with each program of a group, and how many of them have kernels in workgroup memory. */
export async function faultsTogether(
  { seeds, way }: Group, engine: Extract<Engine, { kind: "device" }>,
): Promise<{ readonly faults: readonly (readonly string[])[]; readonly tiled: number }> {
  const all = seeds.map((seed) => ({ ...generate(seed), batch: BATCH }));
  const parts = all.map((program) => expectationOf(program, way.gradient));
  const compiled = compileGraph(unionOf(parts.map((part) => part.graph)), "m", {
    without: way.fuse ? [] : ["fusion"], verify: true, targets: [engine.family],
  });
  await soil(engine.device);
  const got = await deviceResults(compiled, BATCH, feedsOfUnion(parts), engine);
  const { kernels, programs } = familyOfTarget(compiled, engine.family).planned.family;
  const tiled = [...programs.prepare, ...programs.run].filter(({ kernel }) => (kernels[kernel]?.workgroupBytes ?? 0) > 0);
  return {
    faults: all.map((program, part) => faultsIn(
      program, way.gradient, parts[part] as Expectation, (name) => got.get(renamedIn(part, name)), // a program each
    )),
    tiled: new Set(tiled.map(({ path }) => partOf(path))).size,
  };
}

/** Many programs as one module on a device: what is wrong is tried again by itself and made smaller. */
export async function tryTogether(
  group: Group, engine: Extract<Engine, { kind: "device" }>, tally: Tally,
): Promise<void> {
  const { seeds, way } = group;
  const { faults: found, tiled } = await faultsTogether(group, engine);
  tally.programs += seeds.length;
  tally.runs += seeds.length;
  tally.tiled += tiled;
  for (const [part, faults] of found.entries()) {
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
