/**
 * @file Progress of long work on standard error: a bar on a terminal, a line per interval elsewhere.
 */
import { clearedOnSignal, redraws } from "../../runtime/node/last_line.js";
import type { LoadProgress } from "../../runtime/pipelines.js";
import { ProgressLine } from "../../runtime/node/progress_line.js";

/** Seconds before a step is told where there is no terminal. */
const INTERVAL = 5;

/** `12.3 s`, `420 ms`, `3 min 20 s`. @param seconds not negative */
export function showSeconds(seconds: number): string {
  if (seconds < 0.9995) return `${seconds < 0.01 ? (seconds * 1000).toFixed(1) : Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** Counts work of a known size. Nothing is printed for work that ends within the first redraw or interval. */
export class Progress {
  readonly #line: ProgressLine;

  /** @param unit what is counted, in the plural: `rounds`, `tensors`; none for a share of the whole */
  constructor(label: string, total: number, unit: string) {
    const count = (done: number, of: number): string =>
      unit === "" ? `${Math.floor((100 * done) / of)} %` : `${done}/${of} ${unit}`;
    this.#line = new ProgressLine(total, { label, count });
  }

  /** @param done of the total, so far */
  update(done: number, note = ""): void {
    this.#line.update(done, [], note);
  }

  /** Clears the bar. */
  end(): void {
    this.#line.end();
  }
}

/**
 * Shows what is going on while one long step runs: on a terminal at once, elsewhere once, when it takes long. The work
 * may say more exactly what that is.
 * @param blocks whether the work keeps this thread busy. No signal would be heard until its end, so Ctrl-C is left to
 * the system, which ends the process immediately and leaves the line.
 */
export async function withStatus<T>(
  text: string, work: (say: (text: string) => void) => Promise<T>, blocks = false,
): Promise<T> {
  const { stderr } = process;
  let said = text;
  if (redraws(stderr)) {
    const clear = (): void => void stderr.write("\r\x1b[K");
    const draw = (): void => void stderr.write(`\r\x1b[K${said} …`);
    draw();
    const release = blocks ? () => undefined : clearedOnSignal(clear);
    const say = (now: string): void => {
      if (now === said) return;
      said = now;
      draw();
    };
    return work(say).finally(() => {
      release();
      clear();
    });
  }
  const timer = setTimeout(() => void stderr.write(`${said} …\n`), 1000 * INTERVAL);
  return work((now) => { said = now; }).finally(() => clearTimeout(timer));
}

/**
 * Shows how far a load is that compiles kernels, and meanwhile may check images: those have a bar, and nothing else is
 * drawn beside it.
 * @param text says what is loaded
 * @param work takes what to call with the progress, and with images that were checked, of how many
 */
export function withLoading<T>(
  text: string,
  work: (onProgress: (progress: LoadProgress) => void, onCheck: (done: number, total: number) => void) => Promise<T>,
): Promise<T> {
  let checking: Progress | undefined;
  const end = (): void => {
    checking?.end();
    checking = undefined;
  };
  return withStatus(text, (say) => work(({ phase, done, total }) => {
    if (phase === "kernels" && checking === undefined) say(done < total ? `compiling ${done}/${total} kernels` : text);
  }, (done, total) => {
    checking ??= new Progress("checking", total, "images");
    checking.update(done);
    if (done === total) end();
  }).finally(end));
}
