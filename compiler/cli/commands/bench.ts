/** @file `deitc bench`: images a second and milliseconds a kernel, kernel families against each other in one run. */
import { Command } from "commander";
import type { Device } from "../../../runtime/device.js";
import type { FamilyName, Manifest } from "../../../runtime/manifest.js";
import type { Profile } from "../../../runtime/profile.js";
import type { ModuleDefinition } from "../../../runtime/artifact.js";
import type { Session } from "../../../runtime/session.js";
import { examples, printJsonValue, TRUST, wholeNumber, wholeNumbers, type Finish } from "../command.js";
import { Exit, UsageError } from "../exit.js";
import { randomInputs } from "../inputs.js";
import { openModel, readArtifact } from "../artifact.js";
import { families, FAMILY_LIST, loadOptions, withRunOptions, type RunOptions } from "../model.js";
import { Progress, showSeconds, withLoading, withStatus } from "../progress.js";
import { showNumber, table } from "../table.js";
import { familyNamed } from "../../../runtime/families.js";

interface Options extends RunOptions {
  readonly batch: readonly number[];
  readonly family?: readonly FamilyName[];
  readonly rounds: number;
  readonly kernels: number;
}

export const benchCommand = (finish: Finish): Command =>
  withRunOptions(new Command("bench")
    .description("Measures a model on an adapter: images/s, GFLOP/s, and ms per kernel.")
    .argument("<model>", "FILE.deit, FILE.deit:NAME, or a folder that deitc compile wrote")
    .option("--batch <list>", "batch sizes, separated by commas", wholeNumbers, [1])
    .option("--family <list>", `kernel families side by side: ${FAMILY_LIST} (default: the adapter's)`, families)
    .option(...TRUST)
    .option("--rounds <n>", "measured runs of each", wholeNumber(1), 5)
    .option("--kernels <n>", "kernels to list, the slowest first", wholeNumber(0), 12))
    .addHelpText(
      "after", "\nWeights do not affect speed: without --weights, they are random.",
    )
    .addHelpText("after", examples(
      "deitc bench models/deit_ti.deit --batch 1,8 --family scalar,tiled",
      "deitc bench out/deit_s --adapter gpu --json",
    ))
    .action(async (model: string, options: Options) => {
      await bench(model, options);
      finish(Exit.done);
    });

/** One batch in one family. */
interface Measured {
  readonly batch: number;
  readonly family: FamilyName;
  /** Of each round, in seconds. */
  readonly seconds: readonly number[];
  readonly load: number;
  readonly first: number;
  readonly flops: number;
  readonly profile: Profile;
}

async function bench(path: string, options: Options): Promise<void> {
  if (options.batch.length === 0) throw new UsageError("--batch is empty");
  const notes: string[] = [];
  const { definition } = await openModel(await readArtifact(path, options));
  const [{ openDevice }, { adapterName, chooseFamily }] = await Promise.all([
    import("../../../runtime/node/adapters.js"), import("../../../runtime/device.js"),
  ]);
  const { checked = false } = definition;
  const device = await openDevice({ checked, ...(options.adapter === undefined ? {} : { adapter: options.adapter }) });
  try {
    const chosen = options.family ?? [chooseFamily(device, definition.manifest)];
    const results: Measured[] = [];
    for (const batch of options.batch) {
      results.push(...await measure(definition, device, batch, chosen, options, notes));
    }
    const adapter = adapterName(device.info);
    if (options.json) {
      printJsonValue({ model: definition.manifest.name, adapter, checked, notes, results: results.map(forJson) });
    }
    else process.stdout.write(report(definition.manifest, adapter, results, options, checked));
  } finally {
    device.destroy();
  }
}

/** All families at one batch, taking turns, so that what disturbs the machine disturbs them alike. */
async function measure(
  definition: ModuleDefinition, device: Device, batch: number, chosen: readonly FamilyName[], options: Options,
  notes: string[],
): Promise<Measured[]> {
  const { load } = await import("../../../runtime/node/module.js");
  const inputs = randomInputs(definition.manifest, { device, families: chosen, batch }, options.seed);
  const weights = options.weights === undefined ? { ...options, randomWeights: true } : options;
  const entrants: { session: Session; load: number; first: number; seconds: number[] }[] = [];
  try {
    for (const family of chosen) {
      const start = performance.now();
      const session = await withLoading(`loading ${family}`, (onProgress) =>
        load(definition, { ...loadOptions(weights, notes), device, batch, family, onProgress }));
      const loaded = performance.now();
      entrants.push({ session, load: (loaded - start) / 1000, first: 0, seconds: [] });
    }
    for (const entrant of entrants) {
      entrant.first = await withStatus(
        `first run of ${entrant.session.family}`, () => runOnce(entrant.session, inputs),
      );
    }
    const progress = new Progress(`batch ${batch}`, options.rounds, "rounds");
    for (let round = 0; round < options.rounds; round++) {
      for (const entrant of entrants) entrant.seconds.push(await runOnce(entrant.session, inputs));
      progress.update(round + 1);
    }
    progress.end();
    const measured: Measured[] = [];
    for (const { session, load: loading, first, seconds } of entrants) {
      const steps = familyNamed(definition.manifest, session.family).programs.run;
      const flops = steps.reduce((n, { flops: { b, c } }) => n + b * batch + c, 0);
      measured.push(
        { batch, family: session.family, seconds, load: loading, first, flops, profile: await session.profile() },
      );
    }
    return measured;
  } finally {
    for (const { session } of entrants) session.destroy();
  }
}

async function runOnce(session: Session, inputs: Readonly<Record<string, Float32Array | Int32Array>>): Promise<number> {
  const start = performance.now();
  await session.infer(inputs);
  return (performance.now() - start) / 1000;
}

const median = (list: readonly number[]): number => {
  const sorted = list.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
};

/** Dispatches of one kernel together. */
interface KernelTime {
  readonly kernel: string;
  readonly dispatches: number;
  readonly ms: number;
  readonly gflop: number;
  readonly gb: number;
}

function byKernel({ rows }: Profile): KernelTime[] {
  const sums = new Map<string, KernelTime>();
  for (const { kernel, ms, gflops, gbs } of rows) {
    const sum = sums.get(kernel) ?? { kernel, dispatches: 0, ms: 0, gflop: 0, gb: 0 };
    const seconds = ms / 1000;
    sums.set(kernel, {
      kernel, dispatches: sum.dispatches + 1, ms: sum.ms + ms,
      gflop: sum.gflop + gflops * seconds, gb: sum.gb + gbs * seconds,
    });
  }
  return [...sums.values()].sort((a, b) => b.ms - a.ms);
}

const forJson = (m: Measured): unknown => ({
  batch: m.batch, family: m.family,
  seconds: m.seconds, medianSeconds: median(m.seconds), imagesPerSecond: m.batch / median(m.seconds),
  gflops: m.flops / median(m.seconds) / 1e9, loadSeconds: m.load, firstSeconds: m.first, clock: m.profile.clock,
  kernels: byKernel(m.profile).map(({ kernel, dispatches, ms, gflop, gb }) => ({
    kernel, dispatches, ms, gflops: ms > 0 ? (gflop / ms) * 1000 : 0, gbs: ms > 0 ? (gb / ms) * 1000 : 0,
  })),
});

function report(
  manifest: Manifest, adapter: string, results: readonly Measured[], options: Options, checked: boolean,
): string {
  const rows = results.map((m) => {
    const seconds = median(m.seconds);
    return [
      String(m.batch), m.family,
      showNumber(m.batch / seconds), showSeconds(seconds), showSeconds(Math.min(...m.seconds)),
      showNumber(m.flops / seconds / 1e9), showSeconds(m.load), showSeconds(m.first),
    ];
  });
  const head = ["batch", "family", "images/s", "median", "fastest", "GFLOP/s", "load", "first run"];
  const figures = table([head, ...rows], [0, 2, 3, 4, 5, 6, 7]);
  const note = checked ? "note: with WebGPU's checks, because this is a folder; --trust measures without them\n" : "";
  const summary = `${manifest.name} on ${adapter}, ${options.rounds} rounds\n${note}\n${figures}`;
  if (options.kernels === 0) return summary;
  return summary + results.map((m) => kernelTable(m, options.kernels)).join("");
}

function kernelTable({ batch, family, profile }: Measured, most: number): string {
  const kernels = byKernel(profile);
  const total = kernels.reduce((n, k) => n + k.ms, 0);
  const clock = profile.clock === "timestamps" ? "GPU timestamps" : "one submit per kernel, including its launch";
  const rows = kernels.slice(0, most).map(({ kernel, dispatches, ms, gflop, gb }) => [
    kernel, `${dispatches}×`, showNumber(ms), `${((100 * ms) / total).toFixed(1)} %`,
    showNumber((gflop / ms) * 1000), showNumber((gb / ms) * 1000),
  ]);
  const rest = kernels.length > most ? `… and ${kernels.length - most} more kernels\n` : "";
  const head = ["kernel", "", "ms", "share", "GFLOP/s", "GB/s"];
  const title = `batch ${batch}, ${family}: ${showNumber(total)} ms in kernels (${clock})`;
  return `\n${title}\n${table([head, ...rows], [1, 2, 3, 4, 5])}${rest}`;
}
