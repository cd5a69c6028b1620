/**
 * @file Loaded before a training process (`node --import`), it kills the process at a random moment of the step after
 * the one that DIE_AFTER names, counted from the start of the process. From outside, a busy machine might let the run
 * end first.
 */
let left = Number(process.env["DIE_AFTER"]);
const die = (): void => void process.kill(process.pid, "SIGKILL");
/** In the one form that the command line uses. */
const write = process.stdout.write.bind(process.stdout) as (chunk: string | Uint8Array) => boolean;
process.stdout.write = (chunk: string | Uint8Array): boolean => {
  const steps = String(chunk).split('"kind":"step"').length - 1;
  if (steps > 0 && left <= 0) die();
  const done = write(chunk);
  left -= steps;
  if (steps > 0 && left <= 0) setTimeout(die, 30 * Math.random());
  return done;
};
