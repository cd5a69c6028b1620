/** @file The last line of a terminal, where work shows how far it is; and that it is cleared when a signal comes. */
import { constants } from "node:os";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** Whether a stream is a terminal whose lines can be drawn again. */
export const redraws = (stream: { readonly isTTY?: boolean }): boolean =>
  stream.isTTY === true && process.env["TERM"] !== "dumb";

/**
 * Calls `clear` when a signal comes, until the function that it returns is called. Then the signal does what it did
 * before: what others listening to it do, or else it ends the process, so that a shell sees 130 or 143.
 */
export function clearedOnSignal(clear: () => void): () => void {
  const release = (): void => { for (const name of SIGNALS) process.off(name, heard); };
  const heard = (name: NodeJS.Signals): void => {
    release();
    clear();
    if (process.listenerCount(name) > 0) return;
    process.kill(process.pid, name);
    // The first process of a container survives its own signals.
    setImmediate(() => process.exit(128 + constants.signals[name]));
  };
  // Before others listen, so that what they print does not run into the line.
  for (const name of SIGNALS) process.prependListener(name, heard);
  return release;
}
