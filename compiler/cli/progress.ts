/**
 * @file Progress of long work on standard error: a bar on a terminal, a line per interval elsewhere.
 */

/** Seconds between lines where there is no terminal. */
const INTERVAL = 5;
/** Seconds between redraws of a bar. */
const REDRAW = 0.1;
const BAR = 24;

const now = (): number => performance.now() / 1000;

/** `12.3 s`, `420 ms`, `3 min 20 s`. @param seconds not negative */
export function showSeconds(seconds: number): string {
  if (seconds < 0.9995) return `${seconds < 0.01 ? (seconds * 1000).toFixed(1) : Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** Counts work of a known size. Nothing is printed for work that ends within the first redraw or interval. */
export class Progress {
  readonly #label: string;
  readonly #total: number;
  readonly #unit: string;
  readonly #start = now();
  readonly #terminal = process.stderr.isTTY === true;
  #shown = now();
  #drawn = false;

  /** @param unit what is counted, in the plural: `rounds`, `tensors` */
  constructor(label: string, total: number, unit: string) {
    this.#label = label;
    this.#total = total;
    this.#unit = unit;
  }

  /** @param done of the total, so far */
  update(done: number, note = ""): void {
    const time = now();
    if (time - this.#shown < (this.#terminal ? REDRAW : INTERVAL)) return;
    this.#shown = time;
    this.#drawn = true;
    const line = this.#line(done, time - this.#start, note);
    process.stderr.write(this.#terminal ? `\r\x1b[K${line}` : `${line}\n`);
  }

  /** Clears the bar. */
  end(): void {
    if (this.#terminal && this.#drawn) process.stderr.write("\r\x1b[K");
  }

  #line(done: number, seconds: number, note: string): string {
    const share = this.#total > 0 ? Math.min(1, done / this.#total) : 1;
    const filled = Math.round(share * BAR);
    const bar = this.#terminal ? ` [${"#".repeat(filled)}${" ".repeat(BAR - filled)}]` : "";
    const left = share > 0 ? `, ${showSeconds((seconds * (1 - share)) / share)} left` : "";
    return `${this.#label}${bar} ${done}/${this.#total} ${this.#unit}${left}${note === "" ? "" : `  ${note}`}`;
  }
}

/** Shows what is going on while one long step runs: on a terminal at once, elsewhere once, when it takes long. */
export async function withStatus<T>(text: string, work: () => Promise<T>): Promise<T> {
  if (process.stderr.isTTY === true) {
    process.stderr.write(`\r\x1b[K${text} …`);
    return work().finally(() => void process.stderr.write("\r\x1b[K"));
  }
  const timer = setTimeout(() => void process.stderr.write(`${text} …\n`), 1000 * INTERVAL);
  return work().finally(() => clearTimeout(timer));
}
