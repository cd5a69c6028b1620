#!/usr/bin/env node
/** @file The `deitc` command. */
import { runCommandLine } from "./program.js";

// A reader that went away (`deitc explain … | head`) is no fault of anybody. A command that listens too, as a training
// does to save what it has, ends by itself.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (process.stdout.listenerCount("error") === 1) process.exit(error.code === "EPIPE" ? process.exitCode ?? 0 : 1);
});
// Messages that nobody can read any more, as after a terminal hung up, are no reason to stop.
process.stderr.on("error", () => undefined);
process.exitCode = await runCommandLine(process.argv.slice(2));
