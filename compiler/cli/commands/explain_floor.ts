/** @file `deitc explain --gpu`: the least time that a GPU needs for a model's kernels or for a recipe's step. */
import { inferenceGraph } from "../../../runtime/artifact.js";
import { floorsOf, type KernelFloor } from "../../inspect/floor.js";
import { GPUS, type Gpu } from "../../gpus.js";
import type { CompiledArtifact } from "../../artifact.js";
import type { CompiledGraph } from "../../pipeline.js";
import { printJsonValue } from "../command.js";
import { compiledOf, type Explained, type ExplainOptions } from "../explained.js";
import { showCount, showNumber, table } from "../table.js";

const HEADER = ["kernel", "kind", "GFLOP", "MB", "bound by", "µs", ""];
/** Kernels that are listed, those that take longest. */
const LISTED = 20;

/** The GPU that the options name, with what they say otherwise. */
function gpuOf({ gpu = "h100", peak, bandwidth }: ExplainOptions): Gpu {
  const known = GPUS[gpu] as Gpu; // the option's parser has looked
  if (peak === undefined && bandwidth === undefined) return known;
  return {
    name: `${known.name} with other peaks`, f32: peak === undefined ? known.f32 : peak * 1e12,
    f16: peak === undefined ? known.f16 : peak * 1e12,
    bandwidth: bandwidth === undefined ? known.bandwidth : bandwidth * 1e9,
  };
}

/** The graphs of one step: inference in the precision that is asked for, or a recipe's training. */
function graphsOf({ graphs }: CompiledArtifact, { precision }: ExplainOptions): readonly CompiledGraph[] {
  const { train, gather, apply, infer } = graphs;
  const training = train ? [train] : gather && apply ? [gather, apply] : undefined;
  return training ?? [graphs[inferenceGraph(precision)] ?? infer];
}

/** Kernels of one path up to numbers and of one size, together. */
interface Row extends KernelFloor {
  readonly count: number;
}

function grouped(floors: readonly KernelFloor[]): readonly Row[] {
  const rows = new Map<string, Row>();
  for (const floor of floors) {
    const path = floor.path.replaceAll(/\.\d+(?=\.|$)/gu, ".i");
    const key = `${path} ${floor.kind} ${floor.flops} ${floor.bytes}`;
    const known = rows.get(key);
    const sum = (of: (one: KernelFloor) => number): number => of(floor) + (known ? of(known) : 0);
    rows.set(key, {
      ...floor, path, count: (known?.count ?? 0) + 1,
      flops: sum((one) => one.flops), bytes: sum((one) => one.bytes), seconds: sum((one) => one.seconds),
    });
  }
  return [...rows.values()].sort((x, y) => y.seconds - x.seconds);
}

/** The text, or nothing where it was printed as JSON. */
export function explainFloor(explained: Explained, options: ExplainOptions): string {
  const compiled = compiledOf(explained, "--gpu");
  const graphs = graphsOf(compiled, options);
  const [gpu, batch] = [gpuOf(options), options.batch];
  const family = options.family.find((name) => graphs.every(({ families }) => families.has(name)))
    ?? [...graphs[0]?.families.keys() ?? []].at(-1) ?? "";
  const floors = graphs.flatMap((graph) => floorsOf(graph, family, batch, gpu));
  const total = (of: (one: KernelFloor) => number): number => floors.reduce((sum, one) => sum + of(one), 0);
  const [seconds, flops, bytes] = [total((f) => f.seconds), total((f) => f.flops), total((f) => f.bytes)];
  const images = batch / seconds;
  if (options.json) {
    printJsonValue({ gpu, batch, family, kernels: floors, flops, bytes, seconds, images });
    return "";
  }
  const micro = (s: number): string => showNumber(s * 1e6);
  const cells = (row: Row): string[] => [
    row.count > 1 ? `${row.count} × ${row.path}` : row.path, row.kind, showNumber(row.flops / 1e9),
    showNumber(row.bytes / 1e6), row.bound, micro(row.seconds), `${((100 * row.seconds) / seconds).toFixed(1)} %`,
  ];
  const rows = grouped(floors);
  const rest = rows.length - LISTED;
  const peaks = `f32 ${showNumber(gpu.f32 / 1e12)} TFLOP/s, f16 ${showNumber(gpu.f16 / 1e12)} TFLOP/s, ` +
    `${showNumber(gpu.bandwidth / 1e9)} GB/s`;
  return `${explained.manifest.name}, ${family} kernels at batch ${batch} on ${gpu.name} (${peaks})\n` +
    "The least time of each kernel: its operations at the peak or its bytes at the bandwidth. " +
    "A floor, not a prediction.\n\n" +
    table([HEADER, ...rows.slice(0, LISTED).map(cells)], [2, 3, 5, 6]) +
    (rest > 0 ? `and ${rest} more rows\n` : "") +
    `\nsum of ${floors.length} kernels: ${showNumber(flops / 1e9)} GFLOP, ${showNumber(bytes / 1e6)} MB, ` +
    `${micro(seconds)} µs, ${showCount(Math.round(images))} images/s\n`;
}
