/**
 * @file A GPU device with the adapter's own limits and features, whose faults become typed errors. Nothing here knows
 * where the adapter came from: a browser's `navigator.gpu` or Dawn in Node.
 */
import { AdapterError, DeitcError, DestroyedError, DeviceLostError, OutOfMemoryError } from "./errors.js";
import { familiesByRank, familyNamed } from "./families.js";
import { Lifetime } from "./lifetime.js";
import type { Family, FamilyName, Manifest } from "./manifest.js";
import { Shared } from "./shared.js";
import type {
  GPUAdapter, GPUAdapterInfo, GPUComputePipeline, GPUDevice, GPUDeviceLostInfo, GPUError, GPUErrorFilter,
  GPUSupportedLimits,
} from "./webgpu.js";

/** What kernels may ask for; requested where the adapter has it. */
const WANTED_FEATURES = [
  "subgroups", "shader-f16", "timestamp-query", "chromium-experimental-subgroup-matrix",
] as const;

/** Limits that compute needs, requested at the adapter's value: a device otherwise gets the specification's minimum. */
const WANTED_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const;

/** One of the limits that are read and requested. */
export type LimitName = (typeof WANTED_LIMITS)[number];
/** Values of the limits that compute needs: bytes, counts. */
export type Limits = Readonly<Record<LimitName, number>>;

/** The limits of an adapter or a device that compute needs. */
export function limitsOf(limits: GPUSupportedLimits): Limits {
  // The keys are exactly WANTED_LIMITS, which is what the record's type lists.
  return Object.fromEntries(WANTED_LIMITS.map((name) => [name, limits[name]])) as Limits;
}

/** Whether the adapter computes on the CPU: WebGPU's own word for it, then the known names. */
export function isSoftware(info: GPUAdapterInfo): boolean {
  return info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe/i.test(`${info.device} ${info.description}`);
}

/** What people call an adapter: `NVIDIA H100 PCIe`, `SwiftShader driver 5.0.0`. */
export function adapterName(info: GPUAdapterInfo): string {
  return info.description || info.device || info.vendor || "an unnamed adapter";
}

/** The faults of an error scope, in the order in which the scopes are opened. */
const FILTERS = ["internal", "out-of-memory", "validation"] as const satisfies readonly GPUErrorFilter[];

const DESTROYED = "the device was destroyed: open another one";

/** Whether the driver compiles a kernel when it is first run, not when its pipeline is made: Mesa's on the CPU does. */
const compilesLate = (info: GPUAdapterInfo): boolean => /llvmpipe|lavapipe/i.test(`${info.device} ${info.description}`);

/** Waits for what other threads do. */
export type Patience = <T>(work: Promise<T>) => Promise<T>;

/** A pipeline, and whether it was run once. */
interface CompiledKernel {
  readonly pipeline: GPUComputePipeline;
  ran: boolean;
}

/** A device, its traits, and the faults it met. */
export class Device {
  readonly gpu: GPUDevice;
  readonly info: GPUAdapterInfo;
  readonly limits: Limits;
  readonly features: ReadonlySet<string>;
  /** Computes on the CPU. */
  readonly software: boolean;
  /** Compiles kernels when they are first run, not when their pipelines are made. */
  readonly compilesAtFirstRun: boolean;
  /** Compiled kernels of the programs on it, by text and constants. */
  readonly pipelines = new Shared<CompiledKernel>();
  /** Waits for kernels that are being compiled. */
  readonly patiently: Patience;
  #fault: DeitcError | undefined;
  readonly #pending = new Set<(fault: DeitcError) => void>();
  /** What lives on the device uses it by this; it goes when nothing does any more. */
  readonly lifetime: Lifetime;

  private constructor(gpu: GPUDevice, info: GPUAdapterInfo, patiently: Patience) {
    [this.gpu, this.patiently] = [gpu, patiently];
    const uncaptured = (event: { readonly error: GPUError }): void => this.#fail(typed(event.error, "the device"));
    this.lifetime = new Lifetime({
      message: DESTROYED,
      free: () => {
        // Dawn holds its listeners, and what they refer to, for ever: the device would keep its threads and memory.
        gpu.removeEventListener("uncapturederror", uncaptured);
        gpu.destroy();
      },
    });
    this.info = info;
    this.limits = limitsOf(gpu.limits);
    this.features = new Set(gpu.features);
    this.software = isSoftware(info);
    this.compilesAtFirstRun = compilesLate(info);
    gpu.addEventListener("uncapturederror", uncaptured);
    void gpu.lost.then((lost) => this.#fail(this.#lostError(lost)));
  }

  /**
   * A device with all the limits and the wanted features that `adapter` has.
   * @param patiently waits for kernels that are being compiled, where awaiting them costs something
   * @throws AdapterError when the adapter gives none.
   */
  static async open(adapter: GPUAdapter, patiently: Patience = (work) => work): Promise<Device> {
    try {
      const gpu = await adapter.requestDevice({
        requiredFeatures: WANTED_FEATURES.filter((name) => adapter.features.has(name)),
        requiredLimits: limitsOf(adapter.limits),
      });
      return new Device(gpu, adapter.info, patiently);
    } catch (cause) {
      throw new AdapterError(`${adapterName(adapter.info)} cannot create a device: ${reasonOf(cause)}`, {
        cause,
        help: "`deitc doctor` lists the adapters of this machine; choose another with `--adapter NAME`",
      });
    }
  }

  /** Whether `destroy()` was called. */
  get destroyed(): boolean {
    return this.lifetime.closed;
  }

  /**
   * Runs `build`, which must be synchronous (error scopes are a stack that other calls would slip into), and rejects
   * with a typed error when the device reports one for it.
   * @param what the thing being built, for messages: "slot 3 (tensor 'x')".
   */
  async scoped<T>(what: string, build: () => T): Promise<T> {
    this.check();
    for (const filter of FILTERS) this.gpu.pushErrorScope(filter);
    let built: { readonly value: T } | { readonly thrown: unknown };
    try {
      built = { value: build() };
    } catch (thrown) {
      built = { thrown };
    }
    const errors = await this.guard(Promise.all(FILTERS.map(() => this.gpu.popErrorScope())));
    const error = errors.find((e) => e !== null);
    if (error) throw typed(error, what);
    if ("thrown" in built) throw built.thrown;
    return built.value;
  }

  /** `work`, or the fault that the device meets while it is pending. */
  guard<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#fault) reject(this.#fault);
      this.#pending.add(reject);
      const settle = (): void => void this.#pending.delete(reject);
      work.then(
        (value) => (settle(), resolve(value)),
        // A read-back rejects in the same turn as the loss that caused it; the loss is the better message.
        (error: unknown) => void setTimeout(() => (settle(), reject(this.#fault ?? error)), 0),
      );
    });
  }

  /** @throws the fault that the device met, or DestroyedError after `destroy()`. */
  check(): void {
    if (this.#fault) throw this.#fault;
    this.lifetime.check();
  }

  /**
   * Frees everything that lives on the device, once no call uses it: one under way ends with what it has submitted.
   * Calls made later reject with DestroyedError.
   */
  destroy(): void {
    this.lifetime.close();
  }

  /** Destroys, and waits until everything is freed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    await this.lifetime.ended;
  }

  #fail(fault: DeitcError): void {
    this.#fault ??= fault;
    for (const reject of this.#pending) reject(fault);
    this.#pending.clear();
  }

  #lostError(lost: GPUDeviceLostInfo): DeitcError {
    if (this.destroyed) return new DestroyedError(DESTROYED);
    return new DeviceLostError(`${adapterName(this.info)} was lost: ${firstLine(lost.message)}`, {
      help: "the driver reset or crashed, or ran out of memory; try a smaller batch, or another adapter",
    });
  }
}

/** The typed error of what WebGPU reports about `what`. */
function typed(error: GPUError, what: string): DeitcError {
  // Dawn's and the browsers' error objects have the classes WebGPU names; Node has no globals to compare with.
  const kind = error.constructor.name;
  const text = `${what}: ${firstLine(error.message)}`;
  switch (kind) {
    case "GPUOutOfMemoryError":
      return new OutOfMemoryError(`${what}: the device is out of memory`, {
        cause: error,
        help: "use a smaller batch, `accumulate` in a recipe, or an adapter with more memory",
      });
    case "GPUValidationError":
      return new DeitcError("validation", "device", text, { cause: error, help: "this is a bug in deitc: report it" });
    default:
      return new DeitcError("device", "device", text, { cause: error, help: "try another adapter, or a newer driver" });
  }
}

/** First line of a message that Dawn prefixes with "validation:". */
function firstLine(message: string): string {
  const lines = message.split("\n").filter((line) => line.trim() !== "" && !/^\w[\w-]*:$/.test(line));
  return lines[0] ?? message;
}

const reasonOf = (cause: unknown): string => firstLine(cause instanceof Error ? cause.message : String(cause));

/** Whether subgroups of exactly so many lanes multiply f16 matrices of the shape into f32. */
function multiplies(
  { subgroupMinSize, subgroupMaxSize, subgroupMatrixConfigs = [] }: GPUAdapterInfo,
  { m, n, k }: NonNullable<Family["requires"]["matrix"]>, lanes: number,
): boolean {
  return subgroupMinSize === lanes && subgroupMaxSize === lanes && [...subgroupMatrixConfigs].some((one) =>
    one.componentType === "f16" && one.resultComponentType === "f32" && one.M === m && one.N === n && one.K === k);
}

/** Why `device` cannot run `family`, as a phrase, or undefined when it can. */
function obstacle(device: Device, family: Family): string | undefined {
  const feature = family.requires.features.find((name) => !device.features.has(name));
  if (feature !== undefined) return `it needs the feature ${feature}`;
  const available = device.features.has("subgroups") ? device.info.subgroupMinSize ?? 0 : 0;
  if (family.requires.lanes > available) {
    return `it needs subgroups of ${family.requires.lanes} lanes, the adapter has ${available}`;
  }
  const matrix = family.requires.matrix;
  if (matrix && !multiplies(device.info, matrix, family.requires.lanes)) {
    const shape = `${matrix.m} × ${matrix.k} by ${matrix.k} × ${matrix.n}`;
    return `it needs f16 matrices, ${shape}, multiplied by subgroups of ${family.requires.lanes} lanes`;
  }
  for (const kernel of family.kernels) {
    const missing = kernel.features.find((name) => !device.features.has(name));
    if (missing !== undefined) return `kernel '${kernel.name}' needs the feature ${missing}`;
    const lanes = device.info.subgroupMinSize ?? 0;
    if ((kernel.subgroup ?? 0) > lanes) {
      return `kernel '${kernel.name}' needs subgroups of ${kernel.subgroup} lanes, the adapter has ${lanes}`;
    }
    const needs = [
      [kernel.workgroupSize, "maxComputeInvocationsPerWorkgroup"],
      [kernel.workgroupBytes, "maxComputeWorkgroupStorageSize"],
      [kernel.bindings.length, "maxStorageBuffersPerShaderStage"],
    ] as const;
    for (const [need, limit] of needs) {
      if (need > device.limits[limit]) {
        return `kernel '${kernel.name}' needs ${limit} ${need}, the adapter has ${device.limits[limit]}`;
      }
    }
  }
  return undefined;
}

/**
 * The kernel family to run `manifest` with: the one asked for, else the first by rank, of those that suit the adapter
 * before the others, that it can run.
 * @throws AdapterError naming the feature, the lanes or the limit that is missing when none can run.
 */
export function chooseFamily(device: Device, manifest: Manifest, asked?: FamilyName): FamilyName {
  const order = asked === undefined ? familiesByRank(manifest.families, device.software) : [asked];
  const obstacles: string[] = [];
  for (const name of order) {
    const found = obstacle(device, familyNamed(manifest, name));
    if (found === undefined) return name;
    obstacles.push(`${name}: ${found}`);
  }
  throw new AdapterError(`${adapterName(device.info)} cannot run ${manifest.name}: ${obstacles.join("; ")}`, {
    help: "`deitc doctor` lists the adapters of this machine with their features; choose another with `--adapter NAME`",
  });
}
