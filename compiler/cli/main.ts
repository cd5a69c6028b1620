#!/usr/bin/env node
/** @file The `deitc` command. */
import { runCommandLine } from "./program.js";

// A reader that stops early (`deitc explain … | head`) is not an error. A command that listens too, such as `train`,
// which saves a checkpoint first, ends by itself.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (process.stdout.listenerCount("error") === 1) process.exit(error.code === "EPIPE" ? process.exitCode ?? 0 : 1);
});
// Messages that nobody can read any more, as after a terminal hung up, are no reason to stop.
process.stderr.on("error", () => undefined);
process.exitCode = await runCommandLine(process.argv.slice(2));
