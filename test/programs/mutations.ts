/**
 * @file `npm run mutate:programs -- --count 1000`: puts each fault of the table into a copy of `dist`, tries random
 * programs with it until one fails, and prints which. `--only TEXT` takes the faults whose file or name has the text.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openUncheckedDevice } from "../harness.js";
import { faultsTogether, groupsOf, triedByPlan } from "./campaign.js";
import { faultsOf, WAYS } from "./check.js";
import { generate } from "./generate.js";
import { MUTATIONS, type Mutation } from "./mutation_table.js";

const FOUND = "found by seed ";
const { values } = parseArgs({
  options: { count: { type: "string", default: "1000" }, only: { type: "string", default: "" }, by: { type: "string" } },
});
const count = Number(values.count);

/** The first program that fails, and how, as the tests would try them; undefined where none of `count` does. */
async function firstFault(by: Mutation["by"]): Promise<string | undefined> {
  if (by === "plan") {
    for (let seed = 0; seed < count; seed++) {
      const program = generate(seed);
      for (const way of WAYS.filter(triedByPlan(seed))) {
        const [fault] = await faultsOf(program, way, { kind: "plan" });
        if (fault !== undefined) return `${FOUND}${seed}: ${fault.split("\n")[0]}`;
      }
    }
    return undefined;
  }
  const device = await openUncheckedDevice();
  for (const group of groupsOf(by, count)) {
    // Also where the process dies.
    process.stdout.write(`trying ${group.seeds[0]}\n`);
    const { faults } = await faultsTogether(group, { kind: "device", device, family: by });
    const n = faults.findIndex((lines) => lines.length > 0);
    if (n >= 0) return `${FOUND}${group.seeds[n]}: ${faults[n]?.[0]}`;
  }
  device.destroy();
  return undefined;
}

/** What a process says that tries programs with a fault; one that ends badly has found it, too. */
function tryWith(copy: string, { by, file, from, to, what }: Mutation): string {
  const path = join(copy, `dist/${file}.js`);
  const text = readFileSync(path, "utf8");
  if (text.split(from).length !== 2) return `its text is not once in ${file}.js, so nothing was tried`;
  writeFileSync(path, text.replace(from, () => to));
  const { stdout, stderr, status, signal } = spawnSync(
    process.execPath, [join(copy, "dist/test/programs/mutations.js"), "--by", by, "--count", String(count)],
    { encoding: "utf8" },
  );
  writeFileSync(path, text);
  const found = stdout.split("\n").find((line) => line.startsWith(FOUND));
  if (found !== undefined) return found;
  if (status === 0) return `not found by ${count} programs (${what})`;
  const reason = stderr.split("\n").find((line) => /error/i.test(line)) ?? String(signal ?? status);
  return `${FOUND}${/trying (\d+)\s*$/.exec(stdout)?.[1] ?? 0} or one of its group: ${reason}`;
}

function table(): void {
  const copy = mkdtempSync(join(tmpdir(), "deitc-mutations-"));
  const home = resolve(fileURLToPath(import.meta.url), "../../../..");
  cpSync(join(home, "dist"), join(copy, "dist"), { recursive: true });
  for (const name of ["node_modules", "models", "package.json"]) symlinkSync(join(home, name), join(copy, name));
  let missed = 0;
  for (const mutation of MUTATIONS.filter(({ what, file }) => `${file} ${what}`.includes(values.only))) {
    const { equivalent } = mutation;
    const result = equivalent === undefined ? tryWith(copy, mutation) : `changes no result: ${equivalent}`;
    if (equivalent === undefined && !result.startsWith(FOUND)) missed++;
    process.stdout.write(`${mutation.by}\t${mutation.file}: ${mutation.what}\t${result.slice(0, 200)}\n`);
  }
  rmSync(copy, { recursive: true });
  process.exitCode = missed > 0 ? 1 : 0;
}

if (values.by === undefined) table();
else process.stdout.write(`${await firstFault(values.by as Mutation["by"]) ?? "nothing found"}\n`);
