/**
 * @file All commands put together. A command's file holds its options and help; what it needs to run is imported when
 * it runs, so that each starts fast.
 */
import { Command, CommanderError } from "commander";
import { VERSION } from "../emit/version.js";
import { paintFor } from "./colour.js";
import type { Finish } from "./command.js";
import { benchCommand } from "./commands/bench.js";
import { checkCommand } from "./commands/check.js";
import { compileCommand } from "./commands/compile.js";
import { convertCommand } from "./commands/convert.js";
import { doctorCommand } from "./commands/doctor.js";
import { Exit, reportFault, type ExitCode } from "./exit.js";
import { evalCommand } from "./commands/eval.js";
import { explainCommand } from "./commands/explain.js";
import { fmtCommand } from "./commands/fmt.js";
import { predictCommand } from "./commands/predict.js";
import { trainCommand } from "./commands/train.js";
import { verifyCommand } from "./commands/verify.js";

const COMMANDS = [
  compileCommand, checkCommand, fmtCommand, explainCommand, trainCommand, evalCommand,
  predictCommand, benchCommand, verifyCommand, convertCommand, doctorCommand,
];

const EXAMPLES = `
Examples:
  deitc compile models/deit_b.deit
  deitc predict models/deit_ti.deit --random-weights photo.jpg
  deitc train recipe.deit
  deitc explain models/deit_ti.deit --memory

Exit codes: 0 success, 1 invalid input, 2 wrong usage, 3 device error, 70 a bug in deitc,
129, 130 or 143 ended by SIGHUP, Ctrl-C or SIGTERM. NO_COLOR=1 turns colours off, FORCE_COLOR=1 on.`;

/** Runs one command line. @param args without the program's name */
export async function runCommandLine(args: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = Exit.done;
  const program = commandLine((result) => {
    code = result;
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return code;
  } catch (error) {
    // Commander has printed its message; help and version end here too, with its own exit code 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? Exit.done : Exit.usage;
    return reportFault(error);
  }
}

/** All commands; what does not parse is thrown. @param finish is told how a command ended */
export function commandLine(finish: Finish): Command {
  const program = new Command("deitc")
    .description(
      "Compiles vision transformers and recipes written in .deit files to WGSL and a typed module; infers and trains " +
      "on any GPU.",
    )
    .version(VERSION)
    .addHelpText("after", EXAMPLES)
    .exitOverride()
    .configureOutput({
      outputError: (text, print) => print(text.replace(/^error/u, (word) => paintFor(process.stderr)("error", word))),
    })
    .showHelpAfterError("(see --help)");
  for (const make of COMMANDS) program.addCommand(make(finish).copyInheritedSettings(program));
  return program;
}
