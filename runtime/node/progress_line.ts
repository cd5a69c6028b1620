/** @file How far long work is: a bar on a terminal, a line per interval elsewhere. */

import { SingleBar } from "cli-progress";
import { printable, printableLines } from "../text.js";
import { clearedOnSignal, redraws } from "./last_line.js";

/** Seconds before a bar is drawn or drawn again, and between lines where there is no terminal. */
const REDRAW = 0.1;
const INTERVAL = 5;
const BAR = 20;

/** Where the line goes. */
export type ProgressStream = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

/** `48 s`, `3 min 20 s`, `2 h 05 min`. @param seconds not negative */
export function showDuration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

/** The library's bar, whose timer would keep a command that failed in its middle alive for ever. */
class Bar extends SingleBar {
  declare readonly timer: NodeJS.Timeout | null;

  override render(): void {
    super.render();
    this.timer?.unref();
  }
}

/** What a line shows, and how. */
interface ProgressLineOptions {
  /** In front of the bar. */
  readonly label?: string;
  /** What is done, of the total. */
  readonly count?: (done: number, total: number) => string;
  /**
   * Shows the first update at once, and takes the time left from the first that has something done: for work that
   * goes on from somewhere. Else nothing is shown of work that ends soon, and time runs from the construction.
   */
  readonly eager?: boolean;
  readonly stream?: ProgressStream;
  /** Seconds. */
  readonly clock?: () => number;
}

/** Shows the progress of work of a known size. */
export class ProgressLine {
  readonly #total: number;
  readonly #label: string;
  readonly #count: (done: number, total: number) => string;
  readonly #stream: ProgressStream;
  readonly #clock: () => number;
  #began: { readonly at: number; readonly done: number } | undefined;
  #shown: number;
  #bar: Bar | undefined;
  #release: () => void = () => undefined;

  constructor(total: number, {
    label = "", count = (done, of) => `${done}/${of}`, eager = false,
    stream = process.stderr, clock = () => performance.now() / 1000,
  }: ProgressLineOptions = {}) {
    [this.#total, this.#label, this.#count] = [total, label, count];
    [this.#stream, this.#clock] = [stream, clock];
    this.#shown = eager ? -Infinity : clock();
    this.#began = eager ? undefined : { at: this.#shown, done: 0 };
  }

  /** @param done of the total, so far  @param facts stand after the count  @param note stands at the end */
  update(done: number, facts: readonly string[] = [], note = ""): void {
    const now = this.#clock();
    if (done > 0) this.#began ??= { at: now, done };
    const terminal = redraws(this.#stream);
    // A bar that is on the screen redraws itself, as often as the eye wants it.
    if (this.#bar === undefined && now - this.#shown < (terminal ? REDRAW : INTERVAL)) return;
    const parts = [this.#count(done, this.#total), ...facts, this.#left(done, now), note];
    const text = printable(parts.filter((part) => part !== "").join("  "));
    if (this.#bar !== undefined) return this.#bar.update(done, { text });
    this.#shown = now;
    const label = this.#label === "" ? "" : `${printable(this.#label)} `;
    if (!terminal) return void this.#stream.write(`${label}${text}\n`);
    this.#bar = new Bar({
      // The label is no part of the format: it may hold braces.
      format: "{label}[{bar}]  {text}", barsize: BAR, barCompleteChar: "#", barIncompleteChar: " ",
      stream: this.#stream, fps: 1 / REDRAW, clearOnComplete: true,
      // The cursor and the wrapping are left as they are: nothing has to be put back.
      hideCursor: null, linewrap: true, gracefulExit: false,
    });
    this.#bar.start(this.#total, done, { label, text });
    this.#release = clearedOnSignal(() => this.end());
  }

  /** Prints a line above the bar. */
  line(text: string): void {
    this.end();
    this.#stream.write(`${printableLines(text)}\n`);
  }

  /** Clears the bar; an update brings it back. */
  end(): void {
    this.#bar?.stop();
    this.#bar = undefined;
    this.#release();
  }

  #left(done: number, now: number): string {
    if (this.#began === undefined || done >= this.#total) return "";
    const { at, done: before } = this.#began;
    if (done <= before || now <= at) return "";
    return `${showDuration(((now - at) / (done - before)) * (this.#total - done))} left`;
  }
}
