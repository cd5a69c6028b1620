/** The command line as a process of its own and inside of the test's, and a small model for it. */
import { spawn, type ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { mock } from "node:test";
import { fileURLToPath } from "node:url";
import { runCommandLine } from "../compiler/cli/program.js";

const main = fileURLToPath(new URL("../compiler/cli/main.js", import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export function start(folder: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const adapter = process.env["DEITC_ADAPTER"] ?? "swiftshader";
  return spawn(process.execPath, [main, ...args], {
    cwd: folder, env: { ...process.env, DEITC_DEBUG: "", DEITC_ADAPTER: adapter, ...env },
  });
}

/** Runs a command line to its end. */
export async function deitc(
  folder: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, input = "",
): Promise<Outcome> {
  const child = start(folder, args, env);
  let [out, err] = ["", ""];
  child.stdout?.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (err += chunk.toString()));
  child.stdin?.on("error", () => undefined).end(input);
  const code = await new Promise<number | null>((resolve) => void child.on("close", resolve));
  // The software driver's own notices on opening an adapter are not ours.
  const ours = err.split("\n").filter((line) => !/^Warning: max\w+ artificially reduced/.test(line)).join("\n");
  return { code, out, err: ours };
}

/**
 * Runs a command line inside of this process, where what counts is what it says and writes: a process takes half a
 * second to start. One at a time.
 */
export async function inside(folder: string, args: readonly string[]): Promise<Outcome> {
  const [here, said] = [process.cwd(), { stdout: "", stderr: "" }];
  const writes = (["stdout", "stderr"] as const).map((name) => mock.method(process[name], "write", (chunk: unknown) => {
    said[name] += String(chunk);
    return true;
  }));
  process.chdir(folder);
  try {
    const code = await runCommandLine(args);
    return { code, out: said.stdout, err: said.stderr };
  } finally {
    process.chdir(here);
    for (const write of writes) write.mock.restore();
  }
}

export const SMALL = `import { linear } from "deitc/nn.deit"
/// Two layers over 32 × 32 pixels.
model small(width = 8, classes = 3) {
  input images: [B, 3, 32, 32]
  fc1 = linear(reshape(images, [B, 3072]), width)
  fc2 = linear(gelu(fc1), classes)
  output prediction = fc2
}
`;

/** A small model in the test's folder. */
export function small(folder: string): string {
  writeFileSync(join(folder, "small.deit"), SMALL);
  return "small.deit";
}
