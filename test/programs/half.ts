/**
 * @file Random programs whose products are in f16, compared with the interpreter, which rounds as they do. A number near
 * the middle of two may be rounded to either: what is compared is coarser than in f32, and still far finer than a wrong
 * element.
 */
import { interpret } from "../../compiler/inspect/interpret.js";
import type { Tensor } from "../../compiler/ir/op.js";
import { compileGraph } from "../../compiler/pipeline.js";
import { scalar } from "../../compiler/targets/scalar.js";
import type { Target } from "../../compiler/targets/index.js";
import type { Device } from "../../runtime/device.js";
import { errorOf } from "../harness.js";
import { deviceResults, expectationOf, planResults } from "./check.js";
import { generate } from "./generate.js";
import { textOf } from "./program.js";

const TOLERANCE = 2e-3;
/** Rounding of another order may be so many times that of the interpreter's; where that is more, nothing is to be learnt. */
const SLACK = 30;
const HOPELESS = 1e-2;

/** By the plan on the CPU, or by a target's kernels on a device. */
export type HalfEngine = { readonly kind: "plan" } | { readonly kind: "device"; readonly device: Device; readonly target: Target };

/** What became of a program. */
export interface HalfResult {
  /** Whether it has products at all. */
  readonly halved: boolean;
  /** Whether some kernel multiplies matrices by subgroups. */
  readonly matrices: boolean;
  readonly faults: readonly string[];
}

/** Tries one program. A crash is a fault as well. */
export async function tryHalf(seed: number, gradient: boolean, engine: HalfEngine): Promise<HalfResult> {
  const program = generate(seed);
  const fault = (text: string): string => `seed ${seed}, ${gradient ? "gradient" : "forward"}: ${text}\n${textOf(program)}`;
  try {
    const { graph, feeds } = expectationOf(program, gradient);
    const target: Target = engine.kind === "plan" ? { ...scalar, precisions: ["f16"] } : engine.target;
    const compiled = compileGraph(graph, "m", { precision: "f16", verify: true, targets: [target] });
    const texts = [...compiled.wgsl.values()];
    const halved = texts.some((text) => text.includes("f16"));
    const matrices = texts.some((text) => text.includes("subgroupMatrixMultiplyAccumulate"));
    if (!halved) return { halved, matrices, faults: [] };
    const run = (precision: "f32" | "f64"): ReadonlyMap<string, Tensor> => {
      const { outputs, updates } = interpret(compiled.graph, { batch: program.batch, ...feeds, precision });
      return new Map([...outputs, ...[...updates].map(([path, tensor]) => [`next ${path}`, tensor] as const)]);
    };
    const [exact, rounded] = [run("f64"), run("f32")];
    const got = engine.kind === "plan" ? planResults(compiled, program.batch, feeds)
      : await deviceResults(compiled, program.batch, feeds, { kind: "device", device: engine.device, family: target.name });
    const faults = [...exact].flatMap(([name, { data }]) => {
      const own = errorOf(rounded.get(name)?.data, data);
      if (!(own <= HOPELESS)) return [];
      const error = errorOf(got.get(name), data);
      return error <= Math.max(TOLERANCE, SLACK * own) ? [] : [fault(`${name} is off by ${error.toExponential(1)}`)];
    });
    return { halved, matrices, faults };
  } catch (error) {
    return { halved: true, matrices: false, faults: [fault(error instanceof Error ? (error.stack ?? error.message) : String(error))] };
  }
}
