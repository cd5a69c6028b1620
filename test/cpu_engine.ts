/** @file A step engine on the CPU: a linear classifier with momentum and a moving average, for tests of the loop. */
import type { Batch } from "../runtime/data/loader.js";
import type { EvaluationSums, StepEngine, StepMetrics, StepScalars } from "../runtime/train/step_engine.js";
import type { EngineState, StateRole } from "../runtime/train/state.js";

export interface CpuEngineOptions {
  /** The loss is no number from this step on. */
  readonly diverges?: number;
  /** Milliseconds each step takes besides. */
  readonly slow?: number;
}

export class CpuEngine implements StepEngine {
  readonly hasEma = true;
  readonly weight: Float32Array;
  readonly #classes: number;
  readonly #velocity: Float32Array;
  readonly #ema: Float32Array;
  readonly #options: CpuEngineOptions;
  #losses: number[] = [];
  #bad: number | undefined;
  #steps = 0;

  constructor(classes: number, features: number, options: CpuEngineOptions = {}) {
    [this.#classes, this.#options] = [classes, options];
    this.weight = Float32Array.from({ length: classes * features }, (_, i) => Math.sin(i) / 100);
    this.#velocity = new Float32Array(this.weight.length);
    this.#ema = this.weight.slice();
  }

  #probabilities(weight: Float32Array, image: Float32Array): Float32Array {
    const scores = new Float32Array(this.#classes);
    for (let c = 0; c < this.#classes; c++) {
      let sum = 0;
      const row = c * image.length;
      for (let i = 0; i < image.length; i++) sum += (weight[row + i] ?? 0) * (image[i] ?? 0);
      scores[c] = sum;
    }
    const top = Math.max(...scores);
    const powers = scores.map((score) => Math.exp(score - top));
    const total = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / total);
  }

  async step(batch: Batch, { step, lr }: StepScalars): Promise<void> {
    if (this.#options.slow !== undefined) await new Promise((done) => { setTimeout(done, this.#options.slow); });
    const features = this.weight.length / this.#classes;
    const gradient = new Float32Array(this.weight.length);
    let loss = 0;
    for (let b = 0; b < batch.labels.length; b++) {
      const image = batch.images.subarray(b * features, (b + 1) * features);
      const p = this.#probabilities(this.weight, image);
      for (let c = 0; c < this.#classes; c++) {
        const target = batch.targets[b * this.#classes + c] ?? 0;
        loss -= target * Math.log((p[c] ?? 0) + 1e-9);
        const error = ((p[c] ?? 0) - target) / batch.labels.length;
        for (let i = 0, at = c * features; i < features; i++, at++) {
          gradient[at] = (gradient[at] ?? 0) + error * (image[i] ?? 0);
        }
      }
    }
    for (let i = 0; i < gradient.length; i++) {
      this.#velocity[i] = 0.9 * (this.#velocity[i] ?? 0) + (gradient[i] ?? 0);
      this.weight[i] = (this.weight[i] ?? 0) - lr * (this.#velocity[i] ?? 0);
      this.#ema[i] = 0.9 * (this.#ema[i] ?? 0) + 0.1 * (this.weight[i] ?? 0);
    }
    if (this.#options.diverges !== undefined && step >= this.#options.diverges) this.#bad ??= step;
    this.#losses.push(loss / batch.labels.length);
    this.#steps++;
  }

  metrics(): Promise<StepMetrics> {
    const loss = this.#losses.reduce((a, b) => a + b, 0) / this.#losses.length;
    this.#losses = [];
    if (this.#bad === undefined) return Promise.resolve({ loss, gradNorm: 1 });
    return Promise.resolve({ loss: Number.NaN, nonFinite: { step: this.#bad, tensor: "head.weight" } });
  }

  evaluate(batch: Batch, useEma: boolean): Promise<EvaluationSums> {
    const features = this.weight.length / this.#classes;
    const sums = { loss: 0, top1: 0, top5: 0 };
    for (let b = 0; b < batch.labels.length; b++) {
      if (batch.mask[b] !== 1) continue;
      const image = batch.images.subarray(b * features, (b + 1) * features);
      const p = this.#probabilities(useEma ? this.#ema : this.weight, image);
      const own = p[batch.labels[b] ?? 0] ?? 0;
      const above = p.filter((other) => other > own).length;
      sums.loss -= Math.log(own + 1e-9);
      sums.top1 += above < 1 ? 1 : 0;
      sums.top5 += above < 5 ? 1 : 0;
    }
    return Promise.resolve(sums);
  }

  #roles(): readonly (readonly [StateRole, Float32Array])[] {
    return [["parameter", this.weight], ["optimizer.momentum", this.#velocity], ["ema", this.#ema]];
  }

  readState(): Promise<EngineState> {
    const shape = [this.#classes, this.weight.length / this.#classes];
    const tensors = this.#roles().map(([role, data]) => ({ role, path: "head.weight", shape, data: data.slice() }));
    return Promise.resolve({ tensors, counters: { steps: this.#steps } });
  }

  writeState({ tensors, counters }: EngineState): Promise<void> {
    for (const [role, data] of this.#roles()) {
      const found = tensors.find((tensor) => tensor.role === role);
      if (found === undefined) return Promise.reject(new Error(`the state has no ${role}`));
      data.set(found.data);
    }
    this.#steps = counters["steps"] ?? 0;
    return Promise.resolve();
  }
}
