/** @file `deitc verify`: the compiled kernels against the interpreter, tensor by tensor, on the user's own adapter. */
import { Command } from "commander";
import type { FamilyName } from "../../../runtime/manifest.js";
import type { Optimization } from "../../optimizations.js";
import type { Compiled } from "../../pipeline.js";
import {
  amount, examples, leftOut, printJsonValue, wholeNumber, withLeftOut, type Finish, type LeftOut,
} from "../command.js";
import { compileModelOf, sourceParts } from "../artifact.js";
import { paintFor } from "../colour.js";
import { Exit, type ExitCode } from "../exit.js";
import { families, FAMILY_LIST, withRunOptions, type RunOptions } from "../model.js";
import { readProgram } from "../source.js";
import { table } from "../table.js";
import { verifyOn, type Verification } from "../verification.js";

interface Options extends RunOptions, LeftOut {
  readonly batch: number;
  readonly family?: readonly FamilyName[];
  readonly tolerance?: number;
}

export const verifyCommand = (finish: Finish): Command =>
  withLeftOut(withRunOptions(new Command("verify")
    .description(
      "Runs every kernel of a model on an adapter and compares each stored tensor with the interpreter's float64."
    )
    .argument("<model>", "FILE.deit or FILE.deit:NAME; of a recipe, the model that it trains")
    .option("--batch <n>", "images", wholeNumber(1), 1)
    .option("--family <list>", `kernel families: ${FAMILY_LIST} (default: the adapter's)`, families)
    .option("--tolerance <x>", "largest relative error allowed (default: 1e-4, in f16 5e-3)", amount)))
    .addHelpText("after", "\nWithout --weights every parameter is random, biases too. Exit code 3: a tensor is wrong.")
    .addHelpText("after", examples(
      "deitc verify models/deit_ti.deit", "deitc verify models/deit_s.deit --weights deit_s.safetensors --adapter gpu",
    ))
    .action(async (file: string, options: Options) => finish(await verify(file, options)));

async function verify(path: string, options: Options): Promise<ExitCode> {
  const { file, target } = sourceParts(path, options.target, "verify");
  const program = await readProgram(file);
  const selection = { ...options, ...(target === undefined ? {} : { target }) };
  const compile = (without: readonly Optimization[]): Promise<Compiled> =>
    compileModelOf(program, selection, { without });
  const found = await verifyOn(await compile(leftOut(options)), compile, options);
  if (options.json) printJsonValue(found);
  else {
    const paint = paintFor(process.stdout);
    // After the columns are laid out, which colours would be counted in.
    const text = report(found).replace(/^(?:ok|WRONG)\b/gmu, (word) => paint(word === "ok" ? "ok" : "error", word));
    process.stdout.write(text);
  }
  return found.wrong > 0 ? Exit.device : Exit.done;
}

/** What was found, as a table, and what to do where something is wrong. */
export function report({ model, adapter, tensors: results, tolerance, culprit }: Verification): string {
  const wrong = results.filter((r) => r.wrong);
  const worst = results.toSorted((a, b) => b.relative - a.relative).slice(0, 5);
  const shown = results.filter((r) => r.wrong || r.output || worst.includes(r)).slice(0, 40);
  const rows = shown.map((r) => [
    r.wrong ? "WRONG" : "ok", r.family, r.output ? `output ${r.tensor}` : r.tensor,
    r.maxAbs.toExponential(1), r.relative.toExponential(1),
  ]);
  const verdict = wrong.length === 0
    ? `all ${results.length} tensors agree within ${tolerance}`
    : `${wrong.length} of ${results.length} tensors are off by more than ${tolerance}, first ${wrong[0]?.tensor ?? ""}`;
  const head = ["", "family", "tensor", "max abs", "relative"];
  return `${model} on ${adapter}, against the interpreter in float64\n${table([head, ...rows], [3, 4])}${verdict}\n` +
    (culprit === undefined ? "" : advice(culprit));
}

function advice(culprit: Optimization | "none"): string {
  const report = "This is a bug in deitc. Please report it with the .deit file, `deitc doctor`, and this table.\n";
  if (culprit === "none") {
    return "Leaving out optimizations makes no difference: an op or the driver is at fault. Try another --adapter.\n" +
      report;
  }
  return `Without ${culprit} all tensors agree. Until it is fixed, compile with --without ${culprit}.\n${report}`;
}
