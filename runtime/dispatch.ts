/**
 * @file A program as a straight line of prebuilt dispatches: one compute pass and one submit a run where the device
 * is fast, cut at dispatch boundaries by a time budget where it is slow.
 */
import type { Device } from "./device.js";
import type { StopSignal } from "./lifetime.js";
import type { Step } from "./manifest.js";
import type { GPUBindGroup, GPUCommandEncoder, GPUComputePipeline } from "./webgpu.js";

/** One dispatch with everything the encoder needs. */
export interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  /** Workgroups along x and y; the kernel linearises them again. */
  readonly x: number;
  readonly y: number;
  readonly step: Step;
  /** Name of the kernel. */
  readonly kernel: string;
  readonly flops: number;
  /** Bytes read and written. */
  readonly bytes: number;
}

/** How a run is watched and ended. */
export interface RunOptions {
  /** Called after every submit with the number of dispatches done and in all. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Checked between submits. */
  readonly signal?: StopSignal;
  /** Encodes what follows the last dispatch in the same submit: copies to staging. */
  readonly finish?: (encoder: GPUCommandEncoder) => void;
  /** Resolves when the last submit is done and its results can be read; the queue's own promise unless given. */
  readonly settle?: () => Promise<unknown>;
}

/** Seconds of work a submit may hold: progress shows, a signal is answered, and no driver resets. */
const SUBMIT_SECONDS = 0.5;
/** Work (`workOf`) a second that an unmeasured device is credited with: little, so that the first cuts are short. */
const INITIAL_RATE = { software: 2e9, hardware: 2e11 };
/** Share of the expected time that is slept through rather than polled, and the least worth it, in seconds. */
const SLEPT_SHARE = 0.85;
const SHORTEST_SLEEP = 0.008;
/** Seconds: a submit found done so soon after a sleep was done before, nobody knows when. */
const OVERSLEPT = 0.0005;
/** Runs before the expectations are good enough to sleep by: the first one is cold. */
const COLD_RUNS = 2;

/** Work of a dispatch, in FLOPs: moving a byte is counted as four of them. */
const workOf = (dispatch: Dispatch): number => dispatch.flops + 4 * dispatch.bytes + 1000;

const sleep = (seconds: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, seconds * 1000));

/** A list of dispatches that is run again and again, and what was learnt of how long each takes. */
export class Sequence {
  readonly dispatches: readonly Dispatch[];
  readonly #device: Device;
  /** Expected seconds of each dispatch. */
  readonly #seconds: Float64Array;
  /** Dispatches before this one were measured at least once. */
  #measured = 0;
  /** Runs completed. */
  #runs = 0;

  constructor(device: Device, dispatches: readonly Dispatch[]) {
    this.#device = device;
    this.dispatches = dispatches;
    const rate = device.software ? INITIAL_RATE.software : INITIAL_RATE.hardware;
    this.#seconds = Float64Array.from(dispatches, (d) => workOf(d) / rate);
  }

  /** End of the submit that starts at dispatch `from`: as many as the budget holds, at least one. */
  cut(from: number): number {
    let end = from;
    let seconds = 0;
    while (end < this.dispatches.length) {
      seconds += this.#seconds[end] ?? 0;
      if (end > from && seconds > SUBMIT_SECONDS) break;
      end++;
    }
    return end;
  }

  /**
   * Runs every dispatch in order and resolves when the results can be read.
   * @throws the device's typed faults, and the signal's reason between submits.
   */
  async run(options: RunOptions = {}): Promise<void> {
    const total = this.dispatches.length;
    let from = 0;
    do {
      options.signal?.throwIfAborted();
      this.#device.check();
      const end = this.cut(from);
      const last = end === total;
      const began = performance.now();
      this.#submit(from, end, last ? options.finish : undefined);
      const slept = await this.#rest(from, end);
      const woke = performance.now();
      const settle = (last ? options.settle : undefined) ?? (() => this.#device.gpu.queue.onSubmittedWorkDone());
      await this.#device.guard(settle());
      const now = performance.now();
      this.#learn(from, end, (now - began) / 1000, slept && now - woke < 1000 * OVERSLEPT);
      options.onProgress?.(end, total);
      from = end;
    } while (from < total);
    this.#runs++;
  }

  /** Whether a run is known to fit one submit: it may then be posted behind others. */
  get isShort(): boolean {
    return this.#runs >= COLD_RUNS && this.cut(0) === this.dispatches.length;
  }

  /** Submits every dispatch at once, behind what is under way. @returns resolves when they are done */
  async post(finish?: (encoder: GPUCommandEncoder) => void): Promise<void> {
    this.#device.check();
    this.#submit(0, this.dispatches.length, finish);
    await this.#device.guard(this.#device.gpu.queue.onSubmittedWorkDone());
  }

  #submit(from: number, end: number, finish?: (encoder: GPUCommandEncoder) => void): void {
    const encoder = this.#device.gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    let pipeline: GPUComputePipeline | undefined;
    for (let i = from; i < end; i++) {
      const dispatch = this.dispatches[i];
      if (dispatch === undefined) break;
      if (dispatch.pipeline !== pipeline) {
        pipeline = dispatch.pipeline;
        pass.setPipeline(pipeline);
      }
      pass.setBindGroup(0, dispatch.bindGroup);
      pass.dispatchWorkgroups(dispatch.x, dispatch.y);
    }
    pass.end();
    finish?.(encoder);
    this.#device.gpu.queue.submit([encoder.finish()]);
  }

  /**
   * Sleeps through most of a submit's expected time. Dawn polls on the event loop as long as a promise of its is
   * pending, which takes a core from an adapter that computes on the CPU.
   */
  async #rest(from: number, end: number): Promise<boolean> {
    const seconds = this.#runs < COLD_RUNS ? 0 : SLEPT_SHARE * this.#sum(from, end);
    if (seconds < SHORTEST_SLEEP) return false;
    await sleep(seconds);
    return true;
  }

  #sum(from: number, end: number): number {
    return this.#seconds.subarray(from, end).reduce((a, b) => a + b, 0);
  }

  /** Scales the expectations of the dispatches just run; those never run yet follow. */
  #learn(from: number, end: number, seconds: number, overslept: boolean): void {
    const expected = this.#sum(from, end);
    if (expected === 0) return;
    const first = end > this.#measured;
    const ratio = overslept ? SLEPT_SHARE ** 2 : seconds / expected;
    // Later runs trust a faster time at once and a slower one by quarters: oversleeping costs, waking early does not.
    const factor = first || ratio < 1 ? ratio : 1 + (ratio - 1) / 4;
    const to = first ? this.dispatches.length : end;
    for (let i = from; i < to; i++) this.#seconds[i] = (this.#seconds[i] ?? 0) * factor;
    if (first) this.#measured = end;
  }
}
