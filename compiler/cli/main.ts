#!/usr/bin/env node
/** @file The `deitc` command. */
import { runCommandLine } from "./program.js";

// A reader that went away (`deitc explain … | head`) is no fault of anybody.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
process.exitCode = await runCommandLine(process.argv.slice(2));
