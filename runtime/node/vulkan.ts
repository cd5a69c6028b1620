/**
 * @file Gets a process ready for Vulkan before Dawn looks for it: which drivers there are, and a loader. Drivers are
 * announced through the environment, which the loader reads, so there is one chance a process.
 */
import { existsSync, readdirSync } from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { isMainThread } from "node:worker_threads";
import { findSwiftShader, type Absent, type SwiftShader } from "./swiftshader.js";

/** What was found. */
export interface VulkanSetup {
  /** ICD descriptions of the system's drivers, in the order they are offered; the embedded one comes after them. */
  readonly systemDrivers: readonly string[];
  readonly embedded: SwiftShader | Absent;
  /** Whose loader is used; `none` when there is no Vulkan at all. */
  readonly loader: "system" | "embedded" | "none" | "not needed";
}

/** dlopen's RTLD_NODELETE: the library stays when `process.dlopen` closes it again. */
const RTLD_NODELETE = 0x1000;
const LOADER = "libvulkan.so.1";

/**
 * Sets VK_DRIVER_FILES and its older name VK_ICD_FILENAMES to the system's drivers (those the variables name, else
 * those the loader would find) followed by the embedded one, and makes a loader resident. Call it once a process,
 * before `webgpu` is imported, from the main thread (a worker's environment is a copy that the loader does not see).
 */
export async function setUpVulkan(): Promise<VulkanSetup> {
  const embedded = await findSwiftShader();
  if (process.platform !== "linux") return { systemDrivers: [], embedded, loader: "not needed" };
  const icd = "icd" in embedded ? embedded.icd : undefined;
  const told = process.env["VK_DRIVER_FILES"] || process.env["VK_ICD_FILENAMES"];
  const systemDrivers = (told ? told.split(":") : installedDrivers()).filter((file) => file !== "" && file !== icd);
  // Listed rather than added by VK_ADD_DRIVER_FILES, which loaders before 1.3.207 (Ubuntu 22.04's) do not know.
  const list = icd === undefined ? systemDrivers : [...systemDrivers, icd];
  if (list.length > 0) process.env["VK_DRIVER_FILES"] = process.env["VK_ICD_FILENAMES"] = list.join(":");
  return { systemDrivers, embedded, loader: openLoader("icd" in embedded ? embedded.loader : undefined) };
}

/** Makes the system's loader resident under its name, else the embedded one, so that Dawn's own dlopen finds it. */
function openLoader(embedded: string | undefined): VulkanSetup["loader"] {
  if (becomesResident(LOADER)) return "system";
  return embedded !== undefined && becomesResident(embedded) ? "embedded" : "none";
}

/** Opens a shared library that is no Node addon: Node says so by an error after it is loaded. */
function becomesResident(file: string): boolean {
  const { RTLD_NOW, RTLD_GLOBAL } = os.constants.dlopen;
  try {
    process.dlopen({ exports: {} }, file, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    return true;
  } catch (error) {
    return error instanceof Error && error.message.includes("did not self-register");
  }
}

/** ICD descriptions where the loader looks for them. Source: Khronos Vulkan-Loader, LoaderDriverInterface.md. */
function installedDrivers(): readonly string[] {
  const { env } = process;
  const home = os.homedir();
  const list = (value: string | undefined, otherwise: string): readonly string[] => (value || otherwise).split(":");
  const roots = [
    env["XDG_CONFIG_HOME"] || path.join(home, ".config"),
    ...list(env["XDG_CONFIG_DIRS"], "/etc/xdg"),
    "/etc",
    env["XDG_DATA_HOME"] || path.join(home, ".local/share"),
    ...list(env["XDG_DATA_DIRS"], "/usr/local/share:/usr/share"),
  ];
  const files = roots.flatMap((root) => {
    const folder = path.join(root, "vulkan", "icd.d");
    if (!existsSync(folder)) return [];
    return readdirSync(folder).filter((name) => name.endsWith(".json")).sort().map((name) => path.join(folder, name));
  });
  return [...new Set(files)];
}

/** What stands between this machine and a faster adapter, as sentences. `names` are the adapters that work. */
export function vulkanHints(setup: VulkanSetup, names: readonly string[]): readonly string[] {
  const hints: string[] = [];
  const has = (pattern: RegExp): boolean => names.some((name) => pattern.test(name));
  if (process.platform !== "linux") return hints;
  if (names.length === 0 && !isMainThread) {
    return ["this is a worker thread, whose environment the Vulkan loader does not see: open the adapter on the main " +
      "thread or in a child process"];
  }
  if (existsSync("/proc/driver/nvidia/version") && !has(/nvidia/i)) {
    hints.push(
      "an NVIDIA driver is loaded, but its Vulkan part is missing (nvidia_icd.json, libGLX_nvidia.so.0): " +
        "in a container set NVIDIA_DRIVER_CAPABILITIES=all, elsewhere install the driver's libnvidia-gl package",
    );
  }
  if (setup.systemDrivers.some((file) => /lvp/.test(path.basename(file))) && !has(/llvmpipe/i)) {
    hints.push("Mesa's software Vulkan is installed but refused: Debian 12's 22.3 is too old, 23 or newer is needed");
  }
  const hardware = names.some((name) => !/swiftshader|llvmpipe/i.test(name));
  if (!hardware && existsSync("/dev/dri") && readdirSync("/dev/dri").some((name) => name.startsWith("renderD"))) {
    hints.push("there is a GPU (/dev/dri), but no working Vulkan driver for it: install mesa-vulkan-drivers or " +
      "the vendor's driver, and make sure that you may open /dev/dri/renderD* (group `render`)");
  }
  if (!hardware) {
    hints.push(has(/llvmpipe/i)
      ? "only software adapters: results are correct, but slow"
      : "only the embedded software adapter: results are correct, but very slow; the package mesa-vulkan-drivers, " +
        "version 23 or newer, provides one about ten times faster");
  }
  if ("absent" in setup.embedded) hints.push(setup.embedded.absent);
  return hints;
}
