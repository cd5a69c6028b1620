/**
 * @file The contract between compiler and runtime for one graph: its tensors, kernels and steps, but its shaders' text.
 * Sizes are affine in the batch: `b`·B + `c`. What is compiled to a folder is one graph or several: see `artifact.ts`.
 */

/** b·B + c. */
export interface Size {
  readonly b: number;
  readonly c: number;
}

/** Element types, and the bytes of an element in a buffer: compiler and runtime have tables of this type. */
export interface ElementBytes {
  readonly f32: 4;
  readonly f16: 2;
  readonly i32: 4;
  readonly bool: 4;
}
export type DType = keyof ElementBytes;

/** What a model computes its products in: f32, or f16 with sums in f32. */
export type Precision = "f32" | "f16";

/** The name of a kernel family: of the kernels for one kind of adapter, chosen when a module is loaded. */
export type FamilyName = string;

export interface Manifest {
  /** Name of the model or recipe in the `.deit` file: `deit_b`. */
  readonly name: string;
  /** What the `.deit` file says of the model. */
  readonly doc?: string;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  /** Parameters and buffers in order of declaration; a binding refers to one by position. */
  readonly parameters: readonly ParameterInfo[];
  /** How images become the first input, when the model says so. */
  readonly preprocess?: Preprocess;
  /** What the classes of the prediction are called, in the order of the logits, when the model says so. */
  readonly classNames?: LabelSet | readonly string[];
  readonly families: Readonly<Record<FamilyName, Family>>;
}

/** Data sets whose class names the runtime knows. */
export type LabelSet = "imagenet" | "cifar10";

export interface TensorInfo {
  readonly name: string;
  readonly shape: readonly Size[];
  readonly dtype: DType;
  readonly doc?: string;
  /** Outputs: position of an earlier output that is the same tensor. It has the numbers; this one has no storage. */
  readonly sameAs?: number;
}

/** How a parameter or buffer starts. Amounts are the arguments of the initializer of the same name. */
export type Initializer =
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" }
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "uniform"; readonly bound: number }
  | { readonly kind: "normal"; readonly std: number }
  | { readonly kind: "trunc_normal"; readonly std: number }
  /** Fixed numbers, row-major (masks and the like). */
  | { readonly kind: "values"; readonly values: readonly number[] };

export interface ParameterInfo {
  readonly path: string;
  readonly shape: readonly number[];
  /** f32 unless it says otherwise. */
  readonly dtype?: DType;
  readonly trained: boolean;
  readonly decay: boolean;
  readonly initializer: Initializer;
  /** Lies inside an earlier parameter, a lane of many: the lane's position, and where it starts there in elements. */
  readonly inside?: { readonly parameter: number; readonly offset: number };
}

/** The evaluation transform: resize the shorter side to `resize` (Pillow bicubic), centre-crop `size`, normalize. */
export interface Preprocess {
  readonly size: number;
  readonly resize: number;
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}

export interface Family {
  /** Of the families that an adapter can run and that suit it, the one with the highest rank is chosen. */
  readonly rank: number;
  /** The adapters it is fast on: GPUs, or those that compute on the CPU. */
  readonly suits: "hardware" | "software";
  /**
   * What an adapter must have to run any of its kernels: WebGPU features, so many lanes of a subgroup or more, and f16
   * matrices of this shape, m × k by k × n, that subgroups of exactly so many lanes multiply into f32.
   */
  readonly requires: {
    readonly features: readonly string[];
    readonly lanes: number;
    readonly matrix?: { readonly m: number; readonly n: number; readonly k: number };
  };
  readonly kernels: readonly KernelInfo[];
  /** Storage that lives on the device besides parameters, inputs and outputs; one GPU buffer each. */
  readonly slots: readonly SlotInfo[];
  readonly programs: {
    /** Everything that depends on parameters alone that `run` does not change; once after they are in place. */
    readonly prepare: readonly Step[];
    readonly run: readonly Step[];
  };
  /** Done after `run`: next values of parameters, which no step could write in place. */
  readonly copies: readonly Copy[];
}

/** A tensor copied whole, in bytes. */
export interface Copy {
  readonly from: Ref;
  readonly to: Ref;
  readonly bytes: number;
}

export interface KernelInfo {
  /** File `kernels/<graph>/<family>/<name>.wgsl`. Entry point `main`; the batch is `override B: i32`. */
  readonly name: string;
  /** One per binding, group 0, in order. */
  readonly bindings: readonly ("read" | "read_write")[];
  readonly workgroupSize: number;
  /** Bytes of workgroup memory. */
  readonly workgroupBytes: number;
  /** WebGPU features it needs beyond the core (`subgroups`, `shader-f16`). */
  readonly features: readonly string[];
  /** Fewest lanes of a subgroup that its numbers are right on; absent when it uses none. */
  readonly subgroup?: number;
}

export interface SlotInfo {
  /**
   * `activation` is reused between steps; `derived` is written by `prepare` and kept; `packed` holds many tensors side
   * by side, is not reused, and what lies between them stays zero.
   */
  readonly kind: "activation" | "derived" | "packed";
  readonly bytes: Size;
  /** Paths of the tensors that live here in turn, for messages and profiles. */
  readonly tensors: readonly string[];
}

export type Ref =
  | { readonly kind: "parameter"; readonly index: number }
  /** All of a slot, or a part of one that holds many tensors side by side: bytes, the offset a multiple of 256. */
  | { readonly kind: "slot"; readonly index: number; readonly offset?: number; readonly bytes?: number }
  | { readonly kind: "input"; readonly index: number }
  | { readonly kind: "output"; readonly index: number };

/** One dispatch. */
export interface Step {
  readonly kernel: number;
  readonly bindings: readonly Ref[];
  /** Workgroups: Π ⌈size / per⌉. */
  readonly grid: readonly { readonly size: Size; readonly per: number }[];
  /** Parameter-style path of what it computes (`blocks.3.attn.qkv`). */
  readonly path: string;
  readonly flops: Size;
  readonly bytes: Size;
}
