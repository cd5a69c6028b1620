/**
 * @file What a target is: one record for a kind of adapter, with the kernels that suit it. Targets are listed once, in
 * `targets/index.ts`; nothing else names one.
 */
import type { Precision } from "../../runtime/manifest.js";
import type { PartialTemplate, Specs } from "./template.js";

/** Hand-tuned templates by kind of kernel. */
export type Templates = { readonly [Kind in keyof Specs]: PartialTemplate<Specs[Kind]> };

export interface Target<Name extends string = string> {
  /** What users call it: `--family NAME`, `kernels/NAME/`. */
  readonly name: Name;
  readonly doc: string;
  /** Precisions that it is compiled for. */
  readonly precisions: readonly Precision[];
  /** Of the targets that an adapter can run, the one with the highest rank is chosen. */
  readonly rank: number;
  /** What an adapter must have to run any of its kernels. */
  readonly requires: {
    /** WebGPU features. */
    readonly features: readonly string[];
    /** Fewest lanes of a subgroup; 0 where none are used. Exactly so many where matrices are needed. */
    readonly lanes: number;
    /** f16 matrices, m × k by k × n, that subgroups multiply into f32. */
    readonly matrix?: { readonly m: number; readonly n: number; readonly k: number };
  };
  /** The adapters it is fast on. On others it runs only when it is asked for, or when nothing else can. */
  readonly suits: "hardware" | "software";
  /** Threads of a workgroup that walk one row of `longest` elements together; 1: each thread has rows of its own. */
  rowThreads(longest: number): number;
  /** What it lacks is taken from the target of the next lower rank that has it. */
  readonly templates: Partial<Templates>;
}

/** Checks a record, and keeps its name as a type. */
export const defineTarget = <const Name extends string>(target: Target<Name>): Target<Name> => target;
