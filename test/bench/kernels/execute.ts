/**
 * @file Runs one template's kernel on a device and times it.
 */
import { evalDim } from "../../../compiler/ir/dim.js";
import { FEATURES, type KernelText } from "../../../compiler/targets/template.js";
import type { Device } from "../../../runtime/device.js";
import type { Source } from "./cases.js";
import type { GPUBindGroup, GPUBuffer, GPUComputePipeline } from "../../../runtime/webgpu.js";

// WebGPU's flags, which Node has no globals for (and Dawn must not be imported before its adapter is chosen).
const [MAP_READ, COPY_SRC, COPY_DST, STORAGE] = [0x1, 0x4, 0x8, 0x80];
const MAP_MODE_READ = 0x1;

/** A buffer that a kernel reads. */
export interface Input {
  readonly name: string;
  readonly vector: boolean;
  readonly data: Float32Array;
}

/** The whole WGSL of a kernel: directives, bindings, `override B`, entry point. */
export function moduleText(kernel: KernelText, inputs: readonly Input[], outputs: readonly string[]): string {
  const bindings = [
    ...inputs.map(({ name, vector }) => `var<storage, read> ${name}: array<${vector ? "vec4f" : "f32"}>;`),
    ...outputs.map((name) => `var<storage, read_write> ${name}: array<f32>;`),
  ].map((text, i) => `@group(0) @binding(${i}) ${text}`);
  const builtins = [
    "@builtin(workgroup_id) wid: vec3u", "@builtin(num_workgroups) nwg: vec3u",
    "@builtin(local_invocation_index) lid: u32", ...(kernel.builtins ?? []),
  ];
  return [
    ...kernel.features.map((feature) => FEATURES[feature]), ...bindings, "override B: i32;",
    ...kernel.workgroupArrays.map(({ name, type, length }) => `var<workgroup> ${name}: array<${type}, ${length}>;`),
    kernel.declarations,
    `@compute @workgroup_size(${kernel.workgroupSize})`, `fn main(${builtins.join(", ")}) {`, kernel.body, "}", "",
  ].join("\n");
}

/** Workgroups over x and y; some more than the grid's when they do not fit on x. */
export function workgroupsOf({ grid }: KernelText, B: number): readonly [number, number] {
  const count = grid.reduce((n, { dim, per }) => n * Math.ceil(evalDim(dim, B) / per), 1);
  const y = Math.ceil(count / 65535);
  return [Math.ceil(count / y), y];
}

/** One kernel, ready to be dispatched again and again. */
export class Prepared {
  private constructor(
    readonly device: Device, readonly pipeline: GPUComputePipeline, readonly group: GPUBindGroup,
    readonly buffers: readonly GPUBuffer[], readonly outputs: readonly GPUBuffer[],
    readonly count: readonly [number, number],
  ) {}

  /** @param sizes elements of each output. Outputs start as NaN, so that what is not written shows. */
  static async make(
    device: Device, kernel: KernelText, inputs: readonly Input[],
    outputs: readonly { readonly name: string; readonly size: number }[], B: number,
  ): Promise<Prepared> {
    const gpu = device.gpu;
    const code = moduleText(kernel, inputs, outputs.map((o) => o.name));
    const usesB = /\bB\b/.test(code.replace("override B", "override"));
    const pipeline = await device.guard(gpu.createComputePipelineAsync({
      layout: "auto",
      compute: {
        module: gpu.createShaderModule({ code: usesB ? code : code.replace("override B: i32;", "") }),
        entryPoint: "main", ...(usesB ? { constants: { B } } : {}),
      },
    }));
    const upload = (data: Float32Array): GPUBuffer => {
      const usage = STORAGE | COPY_DST | COPY_SRC;
      const buffer = gpu.createBuffer({ size: Math.max(16, Math.ceil(data.byteLength / 16) * 16), usage });
      gpu.queue.writeBuffer(buffer, 0, data.slice());
      return buffer;
    };
    const ins = inputs.map(({ data }) => upload(data));
    const outs = outputs.map(({ size }) => upload(new Float32Array(size).fill(NaN)));
    const group = gpu.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [...ins, ...outs].map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    return new Prepared(device, pipeline, group, [...ins, ...outs], outs, workgroupsOf(kernel, B));
  }

  /** Dispatches `times` and waits. */
  async run(times = 1): Promise<void> {
    const { gpu } = this.device;
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.pipeline);
    pass.setBindGroup(0, this.group);
    for (let i = 0; i < times; i++) pass.dispatchWorkgroups(...this.count);
    pass.end();
    gpu.queue.submit([encoder.finish()]);
    await this.device.guard(gpu.queue.onSubmittedWorkDone());
  }

  /** What the outputs hold. */
  async read(): Promise<readonly Float32Array[]> {
    const { gpu } = this.device;
    return Promise.all(this.outputs.map(async (output) => {
      const staging = gpu.createBuffer({ size: output.size, usage: MAP_READ | COPY_DST });
      const encoder = gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(output, 0, staging, 0, output.size);
      gpu.queue.submit([encoder.finish()]);
      await this.device.guard(staging.mapAsync(MAP_MODE_READ));
      const data = new Float32Array(staging.getMappedRange().slice(0));
      staging.destroy();
      return data;
    }));
  }

  /** Best of three: wall and processor milliseconds of a dispatch, each measured over some `ms` milliseconds. */
  async time(ms: number): Promise<{ readonly wall: number; readonly cpu: number }> {
    const start = performance.now();
    await this.run();
    const times = Math.max(1, Math.min(500, Math.round(ms / (performance.now() - start))));
    let [wall, cpu] = [Infinity, Infinity];
    for (let round = 0; round < 3; round++) {
      const [from, used] = [performance.now(), process.cpuUsage()];
      await this.run(times);
      wall = Math.min(wall, (performance.now() - from) / times);
      const spent = process.cpuUsage(used);
      cpu = Math.min(cpu, (spent.user + spent.system) / 1000 / times);
    }
    return { wall, cpu };
  }

  destroy(): void {
    for (const buffer of this.buffers) buffer.destroy();
  }
}

/** Greatest difference over greatest magnitude; NaN when something was not written. */
export function errorOf(got: Float32Array, want: readonly number[]): number {
  let [difference, size] = [0, 0];
  want.forEach((w, i) => {
    const d = Math.abs((got[i] ?? NaN) - w);
    difference = d <= difference ? difference : d;
    size = Math.max(size, Math.abs(w));
  });
  return difference / size;
}

/** What the sources bind. */
export const inputsOf = (sources: readonly Source[]): readonly Input[] =>
  sources.map((s) => ({ name: s.operand.buffer, vector: s.operand.vector !== "none", data: s.data }));

/** What two runs of a kernel leave in its outputs; they must leave the same bits. */
export async function results(
  device: Device, kernel: KernelText, inputs: readonly Input[],
  outputs: readonly { readonly name: string; readonly size: number }[], B: number,
): Promise<readonly Float32Array[]> {
  const prepared = await Prepared.make(device, kernel, inputs, outputs, B);
  await prepared.run();
  const first = await prepared.read();
  await prepared.run();
  const second = await prepared.read();
  prepared.destroy();
  const same = first.every((x, i) => Buffer.from(x.buffer).equals(Buffer.from((second[i] ?? x).buffer)));
  if (!same) throw new Error("two runs gave different bits");
  return first;
}

/** Lanes that every subgroup of the device has, none where it has no subgroups. */
export const lanes = (device: Device): number =>
  device.features.has("subgroups") ? device.info.subgroupMinSize ?? 0 : 0;
