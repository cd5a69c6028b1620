/** @file Finds, orders and opens adapters through Dawn in Node. */
import { adapterName, Device, isSoftware, limitsOf, type Limits, type Patience } from "../device.js";
import { AdapterError } from "../errors.js";
import { setUpVulkan, vulkanHints, type VulkanSetup } from "./vulkan.js";
import type { GPUAdapter } from "../webgpu.js";

/**
 * The state of Dawn in this process, kept under one key of `globalThis` and nowhere else. It is unavoidable: the
 * Vulkan loader reads the environment once; two copies of this module in a process must not prepare it twice; and
 * Dawn aborts the process when an instance is collected before what was made from it.
 */
interface DawnState {
  setup?: Promise<VulkanSetup>;
  /** By their flags. */
  readonly instances: Map<string, GPU>;
  /** Those not yet destroyed or lost, with their adapters. */
  readonly devices: Map<Device, GPUAdapter>;
}

const STATE = Symbol.for("deitc.dawn");

function dawn(): DawnState {
  // No one else uses this key.
  const place = globalThis as { [STATE]?: DawnState };
  return (place[STATE] ??= { instances: new Map(), devices: new Map() });
}

/** How an adapter is opened. */
export interface AdapterOptions {
  /**
   * Part of an adapter's name, vendor or description, or one of the words `gpu`, `lavapipe`, `swiftshader`, `null`.
   * Default: the environment variable DEITC_ADAPTER, else the fastest kind available.
   */
  readonly adapter?: string;
  /** Validates every call and bounds every access, for development and tests. */
  readonly checked?: boolean;
}

export type AdapterType = "discrete" | "integrated" | "software" | "embedded";

/** An adapter and what it can do. */
export interface AdapterListing {
  /** The device's name, e.g. `NVIDIA H100 PCIe`, `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly name: string;
  /** Of `software` and `embedded` WebGPU is certain; `discrete` and `integrated` are told apart by name. */
  readonly type: AdapterType;
  readonly backend: string;
  readonly vendor: string;
  readonly architecture: string;
  /** Driver and version. */
  readonly description: string;
  readonly features: readonly string[];
  readonly limits: Limits;
  /** Minimum and maximum number of lanes; 0 if unknown. */
  readonly subgroupSizes: readonly [number, number];
}

/** What `deitc doctor` prints. */
export interface AdapterReport {
  /** In the order of preference: the first is the default. */
  readonly adapters: readonly AdapterListing[];
  /** Suggestions that would make it work or run faster, as sentences. */
  readonly hints: readonly string[];
}

/** Kinds in the order of preference. */
const PREFERENCE: readonly AdapterType[] = ["discrete", "integrated", "software", "embedded"];

/** Dawn's toggles in every mode: f16 on NVIDIA needs asking for, and rounded timestamps are useless in a profile. */
const ALWAYS = { enable: ["allow_unsafe_apis", "vulkan_enable_f16_on_nvidia"], disable: ["timestamp_quantization"] };
/**
 * Toggles of unchecked runs. They are safe because the calls and accesses are those the checked tests made, up to the
 * batch, whose sizes are checked before allocation; and because storage is cleared when it is allocated.
 */
const UNCHECKED = {
  enable: ["disable_robustness", "skip_validation", "disable_workgroup_init",
    "disable_polyfills_on_integer_div_and_mod"],
  disable: ["lazy_clear_resource_on_first_use", "enable_spirv_validation"],
};

/** Of a turn of the event loop while kernels are compiled by the cores that this process needs as well. */
const PAUSE_MS = 1;

/** A name that no adapter has: Dawn answers with the list of those there are. */
const NO_ADAPTER = "deitc-lists-adapters";

/** An adapter by Dawn's backend and the device's name. */
interface Found {
  readonly backend: string;
  readonly name: string;
  readonly type: AdapterType;
}

/** Dawn's instance for a set of flags, made once. @throws AdapterError when `webgpu` does not load here. */
async function instance(flags: readonly string[]): Promise<GPU> {
  const { instances } = dawn();
  const key = flags.join("\n");
  const made = instances.get(key);
  if (made) return made;
  try {
    const { create } = await import("webgpu");
    const gpu = instances.get(key) ?? create([...flags]);
    instances.set(key, gpu);
    return gpu;
  } catch (cause) {
    throw new AdapterError(`the package webgpu does not load on ${process.platform} ${process.arch}`, {
      cause,
      help: "it has builds for Linux (glibc) and Windows on x64 and arm64, and macOS: run `npm install webgpu` there",
    });
  }
}

const setup = (): Promise<VulkanSetup> => (dawn().setup ??= setUpVulkan());

function toggles(checked: boolean): readonly string[] {
  const enable = checked ? ALWAYS.enable : [...ALWAYS.enable, ...UNCHECKED.enable];
  const disable = checked ? ALWAYS.disable : [...ALWAYS.disable, ...UNCHECKED.disable];
  return [`enable-dawn-features=${enable.join()}`, `disable-dawn-features=${disable.join()}`];
}

/** WebGPU tells software from hardware, not cards from chips: those are known by their makers' product names. */
function typeOf(name: string): AdapterType {
  if (/swiftshader/i.test(name)) return "embedded";
  if (/llvmpipe|lavapipe|basic render/i.test(name)) return "software";
  const card = /nvidia|geforce|quadro|tesla|radeon (rx|pro|vii)|instinct|\barc\b/i;
  return card.test(name) ? "discrete" : "integrated";
}

/** Every adapter Dawn takes, best first. */
async function find(): Promise<readonly Found[]> {
  const gpu = await instance([`adapter=${NO_ADAPTER}`]);
  const text = await gpu.requestAdapter({ powerPreference: "high-performance" }).then(() => "", String);
  const all = [...text.matchAll(/backend: '([^']*)', name: '(.*)'$/gm)].map(([, backend = "", name = ""]) => ({
    backend, name, type: typeOf(name),
  }));
  // OpenGL offers the same devices again, and less of them.
  const native = all.filter(({ backend }) => !backend.startsWith("opengl"));
  const rank = ({ type }: Found): number => PREFERENCE.indexOf(type);
  return native.sort((x, y) => rank(x) - rank(y));
}

/** The adapter that `found` names. */
async function request(found: Found, checked: boolean): Promise<GPUAdapter | null> {
  const gpu = await instance([`backend=${found.backend}`, `adapter=${found.name}`, ...toggles(checked)]);
  return gpu.requestAdapter({ powerPreference: "high-performance" });
}

/** The backend that runs nothing: it checks that kernels compile. */
async function requestNull(checked: boolean): Promise<GPUAdapter | null> {
  const gpu = await instance(["backend=null", ...toggles(checked)]);
  return gpu.requestAdapter();
}

/**
 * The requested adapter, else the best.
 * @throws AdapterError listing the available adapters if none of them matches, or what to install if there are no
 * adapters.
 */
export async function openAdapter(options: AdapterOptions = {}): Promise<GPUAdapter> {
  const vulkan = await setup();
  const checked = options.checked ?? false;
  const asked = (options.adapter ?? process.env["DEITC_ADAPTER"] ?? "").trim();
  if (asked.toLowerCase() === "null") {
    const adapter = await requestNull(checked);
    if (adapter) return adapter;
  }
  if (asked === "") {
    // One look suffices on the machines that matter: a card is best, and with one driver there is no choice.
    const gpu = await instance(toggles(checked));
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    const name = adapter ? `${adapterName(adapter.info)} ${adapter.info.device}` : "";
    if (adapter && (typeOf(name) === "discrete" || vulkan.systemDrivers.length === 0)) return adapter;
  }
  const all = await find();
  const chosen = asked === "" ? all[0] : await match(all, asked);
  const adapter = chosen && (await request(chosen, checked));
  if (adapter) return adapter;
  throw missing(asked, all, vulkan);
}

/** The first adapter that `asked` means. */
async function match(all: readonly Found[], asked: string): Promise<Found | undefined> {
  const word = asked.toLowerCase();
  if (word === "gpu") return all.find(({ type }) => type === "discrete" || type === "integrated");
  const wanted = word === "lavapipe" ? "llvmpipe" : word;
  const named = all.find(({ name }) => name.toLowerCase().includes(wanted));
  if (named) return named;
  for (const found of all) {
    const info = (await request(found, false))?.info;
    if (info && `${info.vendor} ${info.architecture} ${info.description}`.toLowerCase().includes(wanted)) return found;
  }
  return undefined;
}

function missing(asked: string, all: readonly Found[], vulkan: VulkanSetup): AdapterError {
  const names = all.map(({ name }) => name);
  if (all.length > 0) {
    const list = names.map((name) => `'${name}'`).join(", ");
    return new AdapterError(`no adapter matches '${asked}'; available: ${list}`, {
      help: "use part of one of these names, or `gpu`, `lavapipe` or `swiftshader` if available",
    });
  }
  const help = vulkanHints(vulkan, names).join("; ") || "install a driver for your GPU";
  return new AdapterError("no adapter found", { help });
}

/**
 * Waits for work that needs the cores. Dawn's binding asks on every turn of the event loop whether it is done, without
 * a pause, which keeps a core busy: each turn sleeps a moment instead.
 */
const patiently: Patience = async (work) => {
  const never = new Int32Array(new SharedArrayBuffer(4));
  let pending = true;
  const pause = (): void => {
    if (!pending) return;
    Atomics.wait(never, 0, 0, PAUSE_MS);
    setImmediate(pause);
  };
  setImmediate(pause);
  try {
    return await work;
  } finally {
    pending = false;
  }
};

/** Opens a device on the requested adapter. Destroy it, or the process does not exit. @throws AdapterError */
export async function openDevice(options: AdapterOptions = {}): Promise<Device> {
  const adapter = await openAdapter(options);
  const device = isSoftware(adapter.info) ? await Device.open(adapter, patiently) : await Device.open(adapter);
  const { devices } = dawn();
  devices.set(device, adapter);
  void device.gpu.lost.then(() => void devices.delete(device));
  return device;
}

/** Every adapter of this machine with its abilities, best first, and what would make things faster. */
export async function listAdapters(): Promise<AdapterReport> {
  const vulkan = await setup();
  const adapters: AdapterListing[] = [];
  for (const found of await find()) {
    const adapter = await request(found, false);
    if (adapter) adapters.push(describe(found, adapter));
  }
  return { adapters, hints: vulkanHints(vulkan, adapters.map(({ name }) => name)) };
}

function describe(found: Found, { info, features, limits }: GPUAdapter): AdapterListing {
  const hardware = found.type === "discrete" || found.type === "integrated";
  return {
    name: found.name,
    type: hardware && isSoftware(info) ? "software" : found.type,
    backend: found.backend,
    vendor: info.vendor,
    architecture: info.architecture,
    description: info.description,
    features: [...features].sort(),
    limits: limitsOf(limits),
    subgroupSizes: [info.subgroupMinSize ?? 0, info.subgroupMaxSize ?? 0],
  };
}
