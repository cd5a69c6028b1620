/**
 * @file A loaded model: the core of every generated module's API. Files, adapters' names and weights' formats are
 * elsewhere (`runtime/node`), so that this runs in a browser too.
 */
import type { ModuleDefinition } from "./artifact.js";
import { chooseFamily, type Device } from "./device.js";
import { InputError } from "./errors.js";
import { namesOf } from "./labels.js";
import { Lifetime, type StopSignal } from "./lifetime.js";
import type { FamilyName, Manifest, ParameterInfo, TensorInfo } from "./manifest.js";
import { elementsAt, parameterElements, showShape, sizeAt, type MemoryUse } from "./memory.js";
import type { LoadProgress } from "./pipelines.js";
import type { Profile } from "./profile.js";
import { Program, type Numbers } from "./program.js";
import { WRITES_IN_FLIGHT } from "./transfer.js";

/** Gives each parameter's values, in the manifest's order and shape. */
export type ParameterSource = (info: ParameterInfo, index: number) => Float32Array | Promise<Float32Array>;

/** Tensors by name: f32, and i32 for `i32` and `bool` ones. */
export type Tensors = Readonly<Record<string, Numbers>>;

/** How a module is loaded onto a device. */
export interface SessionOptions {
  readonly device: Device;
  /** Whether `destroy()` destroys the device as well. */
  readonly ownsDevice?: boolean;
  readonly weights: ParameterSource;
  /** Class names in the order of the logits (default: those that the model states). */
  readonly labels?: readonly string[];
  /** Maximum number of images per call of `infer`; storage is allocated for it (default: 1). */
  readonly batch?: number;
  /** The kernel family (default: chosen for the adapter). */
  readonly family?: FamilyName;
  /** Fills storage with NaN first, for tests. */
  readonly poison?: boolean;
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Ends the load, which then rejects with its reason; checked between kernels and between parameters. */
  readonly signal?: StopSignal;
}

/** Options of a call of `infer`. */
export interface InferOptions {
  /** Called after every submit with the dispatches done and their total. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Checked between submits. */
  readonly signal?: StopSignal;
}

/**
 * A model on a device. `Inputs` and `Outputs` are its tensors' names and element types, which a generated class
 * narrows. Calls run one after another in the order in which they are made.
 */
export class Session<
  Inputs extends object = Tensors,
  Outputs extends object = Readonly<Record<string, Float32Array>>,
> {
  readonly manifest: Manifest;
  /** Class names in the order of the logits, for `topK`: those given, else the model's; undefined without either. */
  readonly labels: readonly string[] | undefined;
  /** Those of them that were given or came with the weights; undefined where only the model states names. */
  readonly givenLabels: readonly string[] | undefined;
  readonly #program: Program;
  readonly #lifetime: Lifetime;

  private constructor(program: Program, { labels, ownsDevice = false }: SessionOptions) {
    this.manifest = program.manifest;
    this.givenLabels = labels;
    this.labels = labels ?? namesOf(program.manifest);
    this.#program = program;
    this.#lifetime = new Lifetime({
      message: `the model ${program.manifest.name} was destroyed: load it again to use it`,
      parent: program.device.lifetime,
      free: () => {
        program.destroy();
        if (ownsDevice) program.device.destroy();
      },
    });
  }

  /**
   * Loads a module: allocates, compiles, uploads the weights, and computes what depends only on them.
   * @throws AdapterError, OutOfMemoryError, DeviceLostError, DestroyedError, whatever `options.weights` throws, and the
   * signal's reason.
   */
  static async load<
    Inputs extends object = Tensors,
    Outputs extends object = Readonly<Record<string, Float32Array>>,
  >(definition: ModuleDefinition, options: SessionOptions): Promise<Session<Inputs, Outputs>> {
    return options.device.lifetime.use(async () =>
      new Session<Inputs, Outputs>(await loadProgram(definition, options), options));
  }

  /** The device it runs on. */
  get device(): Device {
    return this.#program.device;
  }
  /** The kernel family in use. */
  get family(): FamilyName {
    return this.#program.family;
  }
  /** Maximum number of images per call. */
  get batch(): number {
    return this.#program.batch;
  }
  /** Bytes on the device, by kind. */
  get memory(): MemoryUse {
    return this.#program.memory;
  }

  /**
   * Runs the model. Every input holds the same number of images, at most `batch`; fewer are padded with zeros and
   * the outputs cut to them. The inputs are those at the time of the call: the arrays may be changed after it.
   * @returns each output, row-major, `[images, …]`; fresh arrays.
   * @throws InputError for a wrong name, type or length, saying which is right; DestroyedError; the device's typed
   * errors.
   */
  async infer(inputs: Inputs, options: InferOptions = {}): Promise<Outputs> {
    this.#check();
    const { tensors: given, images } = checkInputs(this.manifest, this.batch, inputs);
    const bytes = given.reduce((n, { byteLength }) => n + byteLength, 0);
    // A call that starts at once has taken all of them before it waits for anything.
    const tensors = this.#lifetime.idle && bytes <= WRITES_IN_FLIGHT ? given : given.map((tensor) => tensor.slice());
    return this.#queue(async () => {
      await Promise.all(tensors.map((tensor, index) => this.#program.setInput(index, tensor)));
      const results = await this.#program.infer({ ...options, signal: this.#lifetime.signal(options.signal) });
      const outputs = this.manifest.outputs.map((info, index) => {
        const bytes =
          (info.sameAs === undefined ? results[index] : results[info.sameAs]?.slice(0)) ?? new ArrayBuffer(0);
        const length = elementsAt(info, images);
        const numbers = info.dtype === "f32" ? new Float32Array(bytes, 0, length) : new Int32Array(bytes, 0, length);
        return [info.name, numbers];
      });
      // The manifest that these names and types are read from is the one that `Outputs` was generated from.
      return Object.fromEntries(outputs) as Outputs;
    });
  }

  /** Measures one run, kernel by kernel, on the last inputs (zeros before the first call). */
  profile(): Promise<Profile> {
    return this.#queue(() => this.#program.profile());
  }

  /**
   * Replaces parameters by path and recomputes what depends on them. The values are those at the time of the call.
   * @throws InputError for an unknown path or values of the wrong length.
   */
  async setParameters(values: ReadonlyMap<string, Float32Array>): Promise<void> {
    this.#check();
    const known = new Map(this.manifest.parameters.map((info, index) => [info.path, { info, index }]));
    const checked = [...values].map(([path, data]) => {
      const found = known.get(path);
      if (!found) throw new InputError(`${this.manifest.name} has no parameter '${path}'`);
      checkParameter(found.info, data);
      return { index: found.index, data: data.slice() };
    });
    return this.#queue(async () => {
      for (const { index, data } of checked) await this.#program.setParameter(index, data);
      await this.#program.prepare();
    });
  }

  /** Every parameter as it is on the device, by path. */
  readParameters(): Promise<Map<string, Float32Array>> {
    return this.#queue(async () => {
      const values = new Map<string, Float32Array>();
      for (const [index, info] of this.manifest.parameters.entries()) {
        values.set(info.path, await this.#program.readParameter(index));
      }
      return values;
    });
  }

  /** A slot of the family's plan as floats, padding included. For tests. */
  readSlot(index: number): Promise<Float32Array> {
    return this.#queue(() => this.#program.readSlot(index));
  }

  /**
   * Frees what it holds on the device, once no call uses it; the process can then exit by itself. The inference under
   * way stops after what it has submitted and rejects with DestroyedError, as calls that wait or come later do; any
   * other call under way ends first.
   */
  destroy(): void {
    this.#lifetime.close();
  }

  /** Waits for the calls made, destroys, and waits until everything is freed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lifetime.settled();
    this.destroy();
    await this.#lifetime.ended;
  }

  #check(): void {
    this.#lifetime.check();
    this.device.check();
  }

  /** Runs `work` after all earlier calls: they share the device's input and output storage. */
  #queue<T>(work: () => Promise<T>): Promise<T> {
    return this.#lifetime.queue(() => {
      this.device.check();
      return work();
    });
  }
}

/** A program that is ready to run, its weights in place. Whoever calls holds the device. */
async function loadProgram(definition: ModuleDefinition, options: SessionOptions): Promise<Program> {
  const { device, batch = 1, onProgress, signal } = options;
  const { manifest } = definition;
  const family = chooseFamily(device, manifest, options.family);
  const program = await Program.allocate(device, manifest, { family, batch, poison: options.poison ?? false });
  const compiled = program.compile(definition.wgsl, { onProgress, signal });
  try {
    // A failure of the upload must not leave the compilation's unobserved.
    compiled.catch(() => undefined);
    await upload(program, options);
    await compiled;
    await program.prepare({
      onProgress: (done, total) => onProgress?.({ phase: "prepare", done, total }), signal,
    });
  } catch (error) {
    // It binds the buffers.
    await compiled.catch(() => undefined);
    program.destroy();
    throw error;
  }
  return program;
}

/** Asks for every parameter and writes it. */
async function upload(
  program: Program, { weights: source, onProgress, signal }: Pick<SessionOptions, "weights" | "onProgress" | "signal">,
): Promise<void> {
  const { parameters } = program.manifest;
  for (const [index, info] of parameters.entries()) {
    signal?.throwIfAborted();
    const values = await source(info, index);
    checkParameter(info, values);
    await program.setParameter(index, values);
    onProgress?.({ phase: "weights", done: index + 1, total: parameters.length });
  }
}

function checkParameter(info: ParameterInfo, values: Float32Array): void {
  const expected = parameterElements(info);
  if (values.length !== expected) {
    const shape = `[${info.shape.join(", ")}]`;
    throw new InputError(`parameter '${info.path}' ${shape} has ${expected} values, got ${values.length}`);
  }
}

/** The inputs in the manifest's order, and how many images they hold. */
function checkInputs(
  manifest: Manifest,
  batch: number,
  given: object,
): { tensors: readonly Numbers[]; images: number } {
  const expected = manifest.inputs.map((info) => `${info.name} ${showShape(info.shape)}`).join(", ");
  const names = new Set(manifest.inputs.map((info) => info.name));
  const unknown = Object.keys(given).find((name) => !names.has(name));
  if (unknown !== undefined) throw new InputError(`${manifest.name} has no input '${unknown}'; it takes ${expected}`);
  const values = new Map<string, unknown>(Object.entries(given));
  let images: { readonly count: number; readonly by: string } | undefined;
  const tensors = manifest.inputs.map((info) => {
    const tensor = values.get(info.name);
    if (tensor === undefined) {
      throw new InputError(`input '${info.name}' is missing; ${manifest.name} takes ${expected}`);
    }
    if (!isTensorOf(info, tensor)) {
      const type = info.dtype === "f32" ? "a Float32Array" : "an Int32Array";
      throw new InputError(`input '${info.name}' ${showShape(info.shape)} must be ${type}`);
    }
    const count = countImages(info, tensor.length, batch);
    if (count !== undefined) {
      if (images && images.count !== count) {
        throw new InputError(`input '${info.name}' holds ${count} images, but '${images.by}' holds ${images.count}`);
      }
      images = { count, by: info.name };
    }
    return tensor;
  });
  return { tensors, images: images?.count ?? batch };
}

const isTensorOf = (info: TensorInfo, tensor: unknown): tensor is Numbers =>
  info.dtype === "f32" ? tensor instanceof Float32Array : tensor instanceof Int32Array;

/** How many images `length` elements are; undefined when the shape does not depend on the batch. */
function countImages(info: TensorInfo, length: number, batch: number): number | undefined {
  const shape = showShape(info.shape);
  const base = elementsAt(info, 0);
  const perImage = elementsAt(info, 1) - base;
  if (perImage === 0) {
    if (length === base) return undefined;
    throw new InputError(`input '${info.name}' ${shape} has ${base} values, got ${length}`);
  }
  const count = (length - base) / perImage;
  if (!Number.isInteger(count) || count < 1) {
    const sizes = info.shape.map((d) => sizeAt(d, 1)).join(" × ");
    throw new InputError(
      `input '${info.name}' ${shape} has ${perImage} values per image (${sizes}), got ${length}`,
      { help: `pass between ${base + perImage} (one image) and ${base + perImage * batch} (batch ${batch}) values` },
    );
  }
  if (count > batch) {
    throw new InputError(`input '${info.name}' ${shape} holds ${count} images, but the model was loaded for ${batch}`, {
      help: `pass at most ${batch} images per call, or load with { batch: ${count} }`,
    });
  }
  return count;
}
