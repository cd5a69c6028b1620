/**
 * @file The part of WebGPU that the runtime uses, as types of its own. The declarations of `@webgpu/types` name the
 * browser's interfaces (`ImageBitmap`, `EventTarget`): a program that has no DOM library could not check ours if they
 * referred to those. Real adapters, of Dawn or of a browser, are assignable to these. Source: w3.org/TR/webgpu.
 */

/** What the runtime reads or asks for; an adapter may have more. */
type Feature = "subgroups" | "shader-f16" | "timestamp-query";

export interface GPUAdapter {
  readonly __brand: "GPUAdapter";
  readonly features: ReadonlySet<string>;
  readonly limits: GPUSupportedLimits;
  readonly info: GPUAdapterInfo;
  requestDevice(descriptor: {
    requiredFeatures: Feature[]; requiredLimits: Readonly<Record<string, number>>;
  }): Promise<GPUDevice>;
}

export interface GPUAdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  readonly isFallbackAdapter: boolean;
}

/** Bytes and counts. */
export interface GPUSupportedLimits {
  readonly maxBufferSize: number;
  readonly maxStorageBufferBindingSize: number;
  readonly maxStorageBuffersPerShaderStage: number;
  readonly maxComputeWorkgroupStorageSize: number;
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupSizeX: number;
  readonly maxComputeWorkgroupSizeY: number;
  readonly maxComputeWorkgroupSizeZ: number;
  readonly maxComputeWorkgroupsPerDimension: number;
}

export interface GPUError {
  readonly message: string;
}

export interface GPUDeviceLostInfo {
  readonly message: string;
}

export type GPUErrorFilter = "validation" | "out-of-memory" | "internal";

interface GPUComputePipelineDescriptor {
  label?: string;
  layout: GPUPipelineLayout | "auto";
  compute: { module: GPUShaderModule; entryPoint: string; constants?: Record<string, number> };
}

export interface GPUDevice {
  readonly __brand: "GPUDevice";
  readonly features: ReadonlySet<string>;
  readonly limits: GPUSupportedLimits;
  readonly queue: GPUQueue;
  readonly lost: Promise<GPUDeviceLostInfo>;
  createBuffer(descriptor: { label?: string; size: number; usage: number }): GPUBuffer;
  createShaderModule(descriptor: { label?: string; code: string }): GPUShaderModule;
  createBindGroupLayout(descriptor: { entries: GPUBindGroupLayoutEntry[] }): GPUBindGroupLayout;
  createPipelineLayout(descriptor: { bindGroupLayouts: GPUBindGroupLayout[] }): GPUPipelineLayout;
  createBindGroup(descriptor: {
    label?: string; layout: GPUBindGroupLayout; entries: { binding: number; resource: GPUBufferBinding }[];
  }): GPUBindGroup;
  createComputePipeline(descriptor: GPUComputePipelineDescriptor): GPUComputePipeline;
  createComputePipelineAsync(descriptor: GPUComputePipelineDescriptor): Promise<GPUComputePipeline>;
  createCommandEncoder(): GPUCommandEncoder;
  createQuerySet(descriptor: { type: "timestamp"; count: number }): GPUQuerySet;
  pushErrorScope(filter: GPUErrorFilter): void;
  popErrorScope(): Promise<GPUError | null>;
  addEventListener(type: "uncapturederror", listener: (event: { readonly error: GPUError }) => void): void;
  removeEventListener(type: "uncapturederror", listener: (event: { readonly error: GPUError }) => void): void;
  destroy(): void;
}

interface GPUQueue {
  readonly __brand: "GPUQueue";
  submit(commands: GPUCommandBuffer[]): void;
  onSubmittedWorkDone(): Promise<undefined>;
  writeBuffer(buffer: GPUBuffer, offset: number, data: ArrayBufferView | ArrayBufferLike, from?: number, size?: number):
    void;
}

export interface GPUBuffer {
  readonly __brand: "GPUBuffer";
  label: string;
  /** Bytes. */
  readonly size: number;
  readonly usage: number;
  readonly mapState: "unmapped" | "pending" | "mapped";
  mapAsync(mode: number, offset?: number, size?: number): Promise<undefined>;
  getMappedRange(offset?: number, size?: number): ArrayBuffer;
  unmap(): undefined;
  destroy(): undefined;
}

/** Bytes of a buffer. */
export interface GPUBufferBinding {
  buffer: GPUBuffer;
  offset?: number;
  size?: number;
}

export interface GPUBindGroupLayoutEntry {
  binding: number;
  visibility: number;
  buffer: { type: "read-only-storage" | "storage" };
}

export interface GPUCommandEncoder {
  readonly __brand: "GPUCommandEncoder";
  beginComputePass(descriptor?: {
    timestampWrites: { querySet: GPUQuerySet; beginningOfPassWriteIndex: number; endOfPassWriteIndex: number };
  }): GPUComputePassEncoder;
  copyBufferToBuffer(from: GPUBuffer, fromOffset: number, to: GPUBuffer, toOffset: number, size: number): void;
  clearBuffer(buffer: GPUBuffer): void;
  resolveQuerySet(set: GPUQuerySet, first: number, count: number, to: GPUBuffer, offset: number): void;
  finish(): GPUCommandBuffer;
}

export interface GPUComputePassEncoder {
  readonly __brand: "GPUComputePassEncoder";
  setPipeline(pipeline: GPUComputePipeline): void;
  setBindGroup(index: number, group: GPUBindGroup): void;
  dispatchWorkgroups(x: number, y: number): void;
  dispatchWorkgroupsIndirect(size: GPUBuffer, offset: number): void;
  end(): void;
}

interface GPUQuerySet {
  readonly __brand: "GPUQuerySet";
  label: string;
  readonly type: "timestamp" | "occlusion";
  readonly count: number;
  destroy(): undefined;
}

export interface GPUBindGroup {
  readonly __brand: "GPUBindGroup";
  label: string;
}

export interface GPUBindGroupLayout {
  readonly __brand: "GPUBindGroupLayout";
  label: string;
}

export interface GPUPipelineLayout {
  readonly __brand: "GPUPipelineLayout";
  label: string;
}

interface GPUShaderModule {
  readonly __brand: "GPUShaderModule";
  label: string;
  getCompilationInfo(): Promise<GPUCompilationInfo>;
}

export interface GPUComputePipeline {
  readonly __brand: "GPUComputePipeline";
  label: string;
  getBindGroupLayout(index: number): GPUBindGroupLayout;
}

interface GPUCommandBuffer {
  readonly __brand: "GPUCommandBuffer";
  label: string;
}

interface GPUCompilationInfo {
  readonly __brand: "GPUCompilationInfo";
  readonly messages: readonly GPUCompilationMessage[];
}

interface GPUCompilationMessage {
  readonly __brand: "GPUCompilationMessage";
  readonly message: string;
  readonly type: "error" | "warning" | "info";
  readonly lineNum: number;
  readonly linePos: number;
  readonly offset: number;
  readonly length: number;
}
