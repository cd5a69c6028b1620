/**
 * @file What asks a training to stop: Ctrl-C, SIGTERM, a terminal that hangs up, and standard output that cannot be
 * written any more. The first asks the run to stop after its step; a second signal ends the process.
 */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** 128 and the signal's number, as shells report it. */
const EXIT = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Why a run was asked to stop. */
interface StopReason {
  /** `Ctrl-C`, `SIGTERM`, or a sentence about standard output. */
  readonly text: string;
  /** What the process is to exit with: what a shell reports of the signal, else 1. */
  readonly exitCode: 1 | 129 | 130 | 143;
}

/** A signal that is aborted when the run is to stop, until it is disposed of. */
export interface Interrupt extends Disposable {
  readonly signal: AbortSignal;
  /** Undefined as long as nothing asked to stop. */
  readonly reason: StopReason | undefined;
}

/** @param told called once, when the run has been asked to stop */
export function onInterrupt(told: (reason: StopReason) => void = () => undefined): Interrupt {
  const controller = new AbortController();
  let reason: StopReason | undefined;
  const stop = (why: StopReason): void => {
    if (reason !== undefined) return;
    reason = why;
    controller.abort();
    told(why);
  };
  const release = (): void => { for (const [name, listener] of listeners) process.off(name, listener); };
  const heard = (name: (typeof SIGNALS)[number]): void => {
    const exitCode = EXIT[name];
    if (reason === undefined) return stop({ text: name === "SIGINT" ? "Ctrl-C" : name, exitCode });
    // The second one ends the process: the last checkpoint is whole, and what is half written is hidden.
    release();
    process.kill(process.pid, name);
    // The first process of a container survives its own signals.
    setImmediate(() => process.exit(exitCode));
  };
  const listeners = SIGNALS.map((name) => [name, () => heard(name)] as const);
  const broken = (error: NodeJS.ErrnoException): void => stop({
    text: error.code === "EPIPE" ? "the reader of standard output went away"
      : `standard output cannot be written: ${error.code === "ENOSPC" ? "no space left on the disk" : error.message}`,
    exitCode: 1,
  });
  for (const [name, listener] of listeners) process.on(name, listener);
  process.stdout.on("error", broken);
  return {
    signal: controller.signal,
    get reason() { return reason; },
    [Symbol.dispose](): void {
      release();
      process.stdout.off("error", broken);
    },
  };
}
