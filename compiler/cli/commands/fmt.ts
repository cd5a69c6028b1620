/** @file `deitc fmt`: the one layout of `.deit` text. */
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { Command } from "commander";
import { printable } from "../../../runtime/text.js";
import { examples, type Finish } from "../command.js";
import { CommandError, DiagnosticsError, Exit, reportFault, UsageError, type ExitCode } from "../exit.js";

interface Options {
  readonly check?: boolean;
  readonly write?: boolean;
}

export const fmtCommand = (finish: Finish): Command =>
  new Command("fmt")
    .description("Formats .deit files: prints the result, or rewrites the files.")
    .argument("<files...>", "the .deit files; - is standard input")
    .option("--write", "rewrite the files in place")
    .option("--check", "write nothing; exit code 1 and the names of files that would change")
    .addHelpText(
      "after",
      examples("deitc fmt --write models/*.deit", "deitc fmt --check models/*.deit", "deitc fmt - < model.deit"),
    )
    .action(async (files: string[], options: Options) => finish(await fmt(files, options)));

async function fmt(files: readonly string[], options: Options): Promise<ExitCode> {
  if (options.check && options.write) throw new UsageError("give either --check or --write, not both");
  let code: ExitCode = Exit.done;
  for (const file of files) {
    try {
      const text = read(file);
      const formatted = await layout(file, text);
      if (options.check) {
        if (formatted === text) continue;
        process.stdout.write(`${printable(file)}\n`);
        code = Exit.input;
      } else if (options.write && file !== "-") {
        if (formatted !== text) replace(file, formatted);
      } else process.stdout.write(formatted);
    } catch (error) {
      const known = error instanceof DiagnosticsError || error instanceof CommandError;
      if (!known) throw error;
      code = reportFault(error);
    }
  }
  return code;
}

/** The text of a file that may be one of ours. @throws CommandError for what is no text */
function read(file: string): string {
  if (file !== "-" && statSync(file).isDirectory()) {
    throw new CommandError(`${file}: is a folder`, "name the .deit files in it");
  }
  const bytes = readFileSync(file === "-" ? 0 : file);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new CommandError(`${file}: is not UTF-8 text`, "is this a .deit file?");
  }
}

/** @throws DiagnosticsError where the text does not parse */
async function layout(path: string, text: string): Promise<string> {
  const [{ parse }, { format }, { refuse }] = await Promise.all([
    import("../../../dsl/parse.js"), import("../../../dsl/format.js"), import("../source.js"),
  ]);
  const { file, diagnostics } = parse({ path, text });
  refuse(diagnostics);
  return format(file);
}

/** The old text or all of the new, whatever happens in between. */
function replace(file: string, text: string): void {
  const beside = `${file}.${process.pid}.partial`;
  try {
    writeFileSync(beside, text, { flag: "wx", flush: true });
    renameSync(beside, file);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
}
