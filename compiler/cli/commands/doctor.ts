/** @file `deitc doctor`: the adapters of this machine, what they can do, and what would make it faster. */
import { Command } from "commander";
import type { AdapterListing } from "../../../runtime/node/adapters.js";
import { examples, printJsonValue, type Finish } from "../command.js";
import { Exit } from "../exit.js";
import { showBytes, showCount, table } from "../table.js";
import { TARGETS } from "../../targets/index.js";

export const doctorCommand = (finish: Finish): Command =>
  new Command("doctor")
    .description(
      "Lists the adapters of this machine with their features and limits, and suggests how to speed up deitc.",
    )
    .option("--json", "print JSON")
    .addHelpText("after", examples("deitc doctor", "deitc doctor --json"))
    .action(async (options: { json?: boolean }) => {
      const { listAdapters } = await import("../../../runtime/node/adapters.js");
      const report = await listAdapters();
      if (options.json) {
        printJsonValue({ node: process.version, platform: `${process.platform} ${process.arch}`, ...report });
      }
      else {
        process.stdout.write(`Node ${process.version} on ${process.platform} ${process.arch}\n`);
        report.adapters.forEach((adapter, i) => process.stdout.write(`\n${describeAdapter(adapter, i === 0)}`));
        if (report.adapters.length === 0) process.stdout.write("\nNo adapter found.\n");
        if (report.hints.length > 0) process.stdout.write(`\n${report.hints.map((hint) => `- ${hint}\n`).join("")}`);
      }
      finish(report.adapters.length === 0 ? Exit.device : Exit.done);
    });

/** Limits that decide what fits: their name here, and whether they are bytes. */
const SHOWN_LIMITS = [
  ["maxStorageBufferBindingSize", "largest tensor", true],
  ["maxBufferSize", "largest buffer", true],
  ["maxStorageBuffersPerShaderStage", "buffers per kernel", false],
  ["maxComputeWorkgroupStorageSize", "workgroup memory", true],
  ["maxComputeInvocationsPerWorkgroup", "threads per workgroup", false],
] as const;

/** The kernels that the adapter gets unless told otherwise. */
function kernelsFor({ type, subgroupSizes: [lanes] }: AdapterListing): string {
  const suits = type === "discrete" || type === "integrated" ? "hardware" : "software";
  const fitting = TARGETS.filter((target) => target.suits === suits && target.requires.lanes <= lanes);
  return fitting.toSorted((x, y) => y.rank - x.rank)[0]?.name ?? "no";
}

function describeAdapter(adapter: AdapterListing, taken: boolean): string {
  const [least, most] = adapter.subgroupSizes;
  const rows = [
    ["kind", `${adapter.type}, by ${adapter.backend}, ${kernelsFor(adapter)} kernels`],
    ["driver", [adapter.vendor, adapter.architecture, adapter.description].filter((part) => part !== "").join(", ")],
    ...SHOWN_LIMITS.map(
      ([name, label, bytes]) => [label, bytes ? showBytes(adapter.limits[name]) : showCount(adapter.limits[name])],
    ),
    ["lanes", most === 0 ? "unknown" : least === most ? String(most) : `${least} to ${most}`],
    ["features", adapter.features.join(" ")],
  ];
  return `${adapter.name}${taken ? "  (default)" : ""}\n${table(rows.map((row) => ["", ...row]))}`;
}
