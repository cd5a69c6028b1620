/** @file `deitc check`: reads and checks files without writing anything. */
import { Command } from "commander";
import { examples, printJsonValue, type Finish } from "../command.js";
import { DiagnosticsError, Exit, reportFault, type ExitCode } from "../exit.js";
import { showCount } from "../table.js";

interface Options {
  readonly target?: string;
  readonly json?: boolean;
}

export const checkCommand = (finish: Finish): Command =>
  new Command("check")
    .description("Checks .deit files: grammar, names, shapes and parameter paths of every model in them.")
    .argument("<files...>", "the .deit files")
    .option("--target <name>", "check this model only")
    .option("--json", "print JSON: a list of diagnostics")
    .addHelpText("after", examples("deitc check models/deit_b.deit", "deitc check --json models/*.deit"))
    .action(async (files: string[], options: Options) => finish(await check(files, options)));

async function check(files: readonly string[], options: Options): Promise<ExitCode> {
  const { diagnosticJson } = await import("../../../dsl/diagnostics.js");
  const found: unknown[] = [];
  let code: ExitCode = Exit.done;
  for (const [i, file] of files.entries()) {
    try {
      const lines = await checkFile(file, options.target);
      if (!options.json) process.stdout.write(lines);
    } catch (error) {
      if (!(error instanceof DiagnosticsError)) throw error;
      code = Exit.input;
      found.push(...error.diagnostics.map(diagnosticJson));
      if (!options.json) {
        if (i > 0) process.stderr.write("\n");
        reportFault(error);
      }
    }
  }
  if (options.json) printJsonValue(found);
  return code;
}

/** One line a model. @throws DiagnosticsError */
async function checkFile(file: string, target: string | undefined): Promise<string> {
  const [{ readProgram, refuse }, { elaborateModel }, { OPS }] = await Promise.all([
    import("../source.js"), import("../../elaborate/index.js"), import("../../ops/index.js"),
  ]);
  const program = await readProgram(file);
  // A model with parameters that have no default is a base for others: it is checked where it is extended.
  const concrete = program.models
    .filter(({ declaration }) => !(declaration.definition?.params ?? []).some((param) => param.initial === undefined))
    .map(({ declaration }) => declaration.name.text);
  const names = target === undefined ? concrete : [target];
  const lines = names.map((name) => {
    const { model, diagnostics } = elaborateModel(program, name, { training: false, ops: OPS });
    refuse(diagnostics);
    const parameters = [...(model?.graph.parameters.values() ?? [])].filter((p) => p.trained);
    const count = parameters.reduce((n, { node }) => n + node.shape.reduce((m, d) => m * d.c, 1), 0);
    return `${file}: ${name}, ${showCount(count)} parameters in ${parameters.length} tensors\n`;
  });
  const others = program.blocks.length + program.recipes.length + program.models.length - concrete.length;
  if (target === undefined && others > 0) {
    lines.push(`${file}: ${others} further declaration${others === 1 ? "" : "s"}\n`);
  }
  return lines.length === 0 ? `${file}: nothing is declared\n` : lines.join("");
}
