/** @file The figures of steps on the device, a row each, read back when somebody asks: a step waits for nobody. */
import type { Device } from "../device.js";
import { BufferUsage, createBuffers, MAP_READ } from "../transfer.js";
import type { GPUBuffer, GPUCommandEncoder } from "../webgpu.js";

/** What a row holds, in order: outputs of the step of these names. */
export const FIGURES = ["loss", "correct", "grad_norm"] as const;
/** Floats of a row. */
const ROW = 4;

/** Rows of figures, filled by copies on the device. */
export class StepFigures {
  /** Rows there are. */
  static readonly capacity = 256;
  readonly #device: Device;
  readonly #rows: GPUBuffer;
  readonly #staging: GPUBuffer;

  private constructor(device: Device, rows: GPUBuffer, staging: GPUBuffer) {
    [this.#device, this.#rows, this.#staging] = [device, rows, staging];
  }

  static async create(device: Device): Promise<StepFigures> {
    const size = 4 * ROW * StepFigures.capacity;
    const { copySource, copyTarget, mapRead } = BufferUsage;
    const [rows] = await createBuffers(device, () => "figures of steps", [size], copySource | copyTarget);
    const [staging] = await createBuffers(device, () => "read-back of figures", [size], mapRead | copyTarget);
    // One size gives one buffer.
    return new StepFigures(device, rows as GPUBuffer, staging as GPUBuffer);
  }

  /** Encodes the copy of a 0-d output into a row. @param column of `FIGURES` */
  keep(encoder: GPUCommandEncoder, row: number, column: number, output: GPUBuffer): void {
    encoder.copyBufferToBuffer(output, 0, this.#rows, 4 * (ROW * row + column), 4);
  }

  /** The first `count` rows, once everything submitted is done: [count, 4]. */
  async read(count: number): Promise<Float32Array> {
    const bytes = 4 * ROW * count;
    const { gpu } = this.#device;
    const encoder = gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(this.#rows, 0, this.#staging, 0, bytes);
    gpu.queue.submit([encoder.finish()]);
    await this.#device.guard(this.#staging.mapAsync(MAP_READ, 0, bytes));
    const rows = new Float32Array(this.#staging.getMappedRange(0, bytes).slice(0));
    this.#staging.unmap();
    return rows;
  }

  /** The row that starts at `i`, by column; NaN if it is missing. */
  static row(rows: Float32Array, i: number): readonly [loss: number, correct: number, gradNorm: number] {
    const at = (column: number): number => rows[ROW * i + column] ?? NaN;
    return [at(0), at(1), at(2)];
  }

  destroy(): void {
    this.#rows.destroy();
    this.#staging.destroy();
  }
}
