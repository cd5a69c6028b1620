/** @file Ctrl-C during training: the first asks the run to stop after its step, the second ends the process. */

/** A signal that Ctrl-C aborts, until it is disposed of. */
export interface Interrupt extends Disposable {
  readonly signal: AbortSignal;
}

/** @param told called once, when the run has been asked to stop */
export function onInterrupt(told: () => void = () => undefined): Interrupt {
  const controller = new AbortController();
  const names = ["SIGINT", "SIGTERM"] as const;
  const remove = (): void => { for (const name of names) process.off(name, heard); };
  // A second one meets the default again, which ends the process: the last checkpoint is whole.
  const heard = (): void => {
    remove();
    controller.abort();
    told();
  };
  for (const name of names) process.on(name, heard);
  return { signal: controller.signal, [Symbol.dispose]: remove };
}
