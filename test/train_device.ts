/**
 * @file Compiled recipes on a device, step by step, with nothing of the trainer in between.
 */
import type { Tensor } from "../compiler/ir/op.js";
import type { CompiledRecipe } from "../compiler/train/compile.js";
import { chooseFamily, type Device } from "../runtime/device.js";
import type { FamilyName, Manifest } from "../runtime/manifest.js";
import { Program } from "../runtime/program.js";
import { storedStates } from "../runtime/train/states.js";
import { ParameterStore } from "../runtime/store.js";
import type { Numbers } from "../runtime/transfer.js";
import type { StateInfo } from "../runtime/training.js";
import { bare } from "./harness.js";
import { scalarAt, type Tensors } from "./recipes.js";

type GraphName = keyof CompiledRecipe["manifest"]["graphs"];

export class DeviceSteps {
  readonly #programs = new Map<GraphName, Program>();
  readonly #compiled = new Set<GraphName>();
  private constructor(readonly compiled: CompiledRecipe, readonly store: ParameterStore) {}

  /**
   * All graphs of a recipe at one batch, compiled when they are first run.
   * @param start of each state but lanes, by path
   */
  static async open(
    device: Device, compiled: CompiledRecipe, batch: number, start: (state: StateInfo) => Float32Array,
    family?: FamilyName, poison = true,
  ): Promise<DeviceSteps> {
    const { states, graphs } = compiled.manifest;
    const users = Object.values<Manifest>({ ...graphs })
      .map((manifest) => ({ manifest, family: chooseFamily(device, manifest, family) }));
    const store = await ParameterStore.allocate(device, storedStates(compiled.manifest, users));
    const steps = new DeviceSteps(compiled, store);
    for (const [name, manifest] of Object.entries(graphs) as [GraphName, Manifest][]) { // graphs by their names
      const program = await Program.allocate(
        device, manifest, { family: chooseFamily(device, manifest, family), batch, store, poison },
      );
      steps.#programs.set(name, program);
    }
    for (const state of states) if (state.role !== "lane") await store.write(state.path, start(state));
    return steps;
  }

  has(name: GraphName): boolean {
    return this.#programs.has(name);
  }

  /** One run of a graph at step `step`, counted from 1. @returns its outputs */
  async run(name: GraphName, data: Tensors, step: number, lr: number, passes = 1): Promise<ReadonlyMap<string, number[]>> {
    const program = this.#programs.get(name);
    if (!program) throw new Error(`the recipe has a graph ${name}`);
    // A software adapter takes its time over every kernel: only what is run is compiled.
    if (!this.#compiled.has(name)) {
      await program.compile(async (of, kernel) => bare(this.compiled.wgsl.get(`${name}/${of}/${kernel}`) ?? ""));
      this.#compiled.add(name);
    }
    const scalars = new Map(this.compiled.manifest.scalars.map((s) => [`step.${s.name}`, s]));
    for (const [index, { name: input }] of program.manifest.inputs.entries()) {
      const scalar = scalars.get(input);
      const tensor = data.get(input)?.data;
      const values: Numbers = scalar ? Float32Array.of(scalarAt(scalar, step, lr, passes))
        : tensor instanceof Int32Array ? tensor : Float32Array.from(tensor ?? []);
      await program.setInput(index, values);
    }
    await program.prepare();
    const results = await program.infer();
    return new Map(program.manifest.outputs.map(({ name: output, sameAs }, i) =>
      [output, [...new Float32Array(results[sameAs ?? i] ?? new ArrayBuffer(0))]]));
  }

  /** All states but lanes. */
  async states(): Promise<Map<string, Tensor>> {
    const all = new Map<string, Tensor>();
    for (const { path, role, shape } of this.compiled.manifest.states) {
      if (role !== "lane") all.set(path, { shape, data: new Float32Array(await this.store.read(path)) });
    }
    return all;
  }

  destroy(): void {
    for (const program of this.#programs.values()) program.destroy();
    this.store.destroy();
  }
}
