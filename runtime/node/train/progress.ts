/** @file The line that a running training shows: loss, learning rate, images per second, time left. */

import type { TrainingEvent } from "../../train/loop.js";
import type { Evaluation, MetricsRecord } from "../../train/metrics.js";
import { ProgressLine, type ProgressStream } from "../progress_line.js";

export { showDuration } from "../progress_line.js";

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

/** Shows the events of a run: a bar on a terminal, lines elsewhere. Epochs and warnings always get a line. */
export class TrainingProgress {
  readonly #steps: number;
  readonly #line: ProgressLine;
  #last: MetricsRecord | undefined;
  #step = 0;

  /** @param steps of the whole run @param clock seconds */
  constructor(steps: number, stream: ProgressStream = process.stderr, clock?: () => number) {
    this.#steps = steps;
    this.#line = new ProgressLine(steps, { eager: true, stream, clock });
  }

  /** Shows an event, or nothing when the line was drawn a moment ago. */
  show(event: TrainingEvent): void {
    switch (event.kind) {
      case "step":
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
    this.#line.line(text);
  }

  /** Clears the bar. */
  end(): void {
    this.#line.end();
  }

  #draw(note: string): void {
    const facts = this.#last === undefined ? [] : [
      `loss ${showNumber(this.#last.loss)}`, `lr ${showNumber(this.#last.lr)}`,
      `${showNumber(this.#last.imagesPerSecond)} images/s`,
    ];
    this.#line.update(this.#step, facts, note);
  }
}
