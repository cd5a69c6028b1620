/** @file The line that a running training shows: loss, learning rate, images a second, time left. */

import type { TrainingEvent } from "../../train/loop.js";
import type { Evaluation, MetricsRecord } from "../../train/metrics.js";

/** Seconds between redraws of the bar, and between lines where there is no terminal. */
const REDRAW = 0.1;
const INTERVAL = 5;
const BAR = 20;

/** `48 s`, `3 min 20 s`, `2 h 05 min`. @param seconds not negative */
export function showDuration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

/** Four digits: `1.234e-5`, `0.0005`, `2.303`. */
export function showNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2).replace("e+", "e");
  return Number(value.toPrecision(4)).toString();
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
const showEvaluation = (name: string, { top1, loss }: Evaluation): string =>
  `${name} ${percent(top1)} (loss ${showNumber(loss)})`;

/** A record as a line for people. */
export function showRecord(record: MetricsRecord, steps: number): string {
  const rate = `${showNumber(record.imagesPerSecond)} images/s`;
  switch (record.kind) {
    case "step":
      return `step ${record.step}/${steps}  loss ${showNumber(record.loss)}  lr ${showNumber(record.lr)}  ${rate}`;
    case "epoch": {
      const found = [
        ...(record.model === undefined ? [] : [showEvaluation("accuracy", record.model)]),
        ...(record.ema === undefined ? [] : [showEvaluation("EMA", record.ema)]),
      ];
      return [`epoch ${record.epoch}`, `loss ${showNumber(record.loss)}`, ...found, rate].join("  ");
    }
    default: return record satisfies never;
  }
}

/** Where the line goes. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Shows the events of a run: a bar on a terminal, lines elsewhere. Epochs and warnings always get a line. */
export class TrainingProgress {
  readonly #steps: number;
  readonly #out: ProgressStream;
  readonly #clock: () => number;
  #shown = -Infinity;
  #last: MetricsRecord | undefined;
  /** When this process had done its first step, and which that was: start-up does not count. */
  #began: { readonly at: number; readonly step: number } | undefined;
  #step = 0;
  #drawn = false;

  /** @param steps of the whole run */
  constructor(
    steps: number, out: ProgressStream = process.stderr, clock: () => number = () => performance.now() / 1000,
  ) {
    [this.#steps, this.#out, this.#clock] = [steps, out, clock];
  }

  /** Shows an event, or nothing when the line was drawn a moment ago. */
  show(event: TrainingEvent): void {
    switch (event.kind) {
      case "step":
        this.#began ??= { at: this.#clock(), step: event.step };
        this.#step = event.step;
        return this.#draw("");
      case "evaluating": return this.#draw(`evaluating ${event.weights} ${event.done}/${event.total}`);
      case "record":
        this.#last = event.record;
        if (event.record.kind === "epoch") this.line(showRecord(event.record, this.#steps));
        return undefined;
      case "saved": return undefined;
      case "warning": return this.line(`warning: ${event.text}`);
      default: return event satisfies never;
    }
  }

  /** Prints a line above the bar. */
  line(text: string): void {
    this.end();
    this.#out.write(`${text}\n`);
  }

  /** Clears the bar. */
  end(): void {
    if (this.#drawn) this.#out.write("\r\x1b[K");
    this.#drawn = false;
  }

  #draw(note: string): void {
    const now = this.#clock();
    const terminal = this.#out.isTTY === true;
    if (now - this.#shown < (terminal ? REDRAW : INTERVAL)) return;
    this.#shown = now;
    const text = this.#text(now, terminal, note);
    if (!terminal) return void this.#out.write(`${text}\n`);
    this.#out.write(`\r\x1b[K${text.slice(0, Math.max(20, (this.#out.columns ?? 80) - 1))}`);
    this.#drawn = true;
  }

  #text(now: number, terminal: boolean, note: string): string {
    const share = Math.min(1, this.#step / this.#steps);
    const filled = Math.round(share * BAR);
    const parts = [
      ...(terminal ? [`[${"#".repeat(filled)}${" ".repeat(BAR - filled)}]`] : []), `${this.#step}/${this.#steps}`,
    ];
    if (this.#last !== undefined) {
      const { loss, lr, imagesPerSecond } = this.#last;
      parts.push(`loss ${showNumber(loss)}`, `lr ${showNumber(lr)}`, `${showNumber(imagesPerSecond)} images/s`);
    }
    const { at = now, step = 0 } = this.#began ?? {};
    if (this.#step > step && now > at && this.#step < this.#steps) {
      parts.push(`${showDuration(((now - at) / (this.#step - step)) * (this.#steps - this.#step))} left`);
    }
    return [...parts, ...(note === "" ? [] : [note])].join("  ");
  }
}
