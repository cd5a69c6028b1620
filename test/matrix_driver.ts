/**
 * @file A Vulkan driver whose subgroups multiply matrices in software: Mesa's lavapipe from version 25.2 on. No clone has
 * one of its own; DEITC_MATRICES names a folder with it, as test/README.md says.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

/** The folder, if there is one. */
export const MATRICES = process.env["DEITC_MATRICES"];

/** Whether a driver in front of lavapipe lists more sizes of matrices than its own 8 × 8 × 8. */
export const HAS_LARGE_MATRICES = MATRICES !== undefined && existsSync(join(MATRICES, "libcoopmat.so"));

/** Test files that are started with the driver. */
const FILES = ["tensor", "precision", "programs_half"];

/** What a test file is started with: node, and its environment. */
export function startedWith(name: string): { readonly node: string; readonly env: NodeJS.ProcessEnv } {
  if (MATRICES === undefined || !FILES.includes(name)) return { node: process.execPath, env: process.env };
  const driver = join(MATRICES, "lavapipe.json");
  // A node of its own, where the driver needs another C library than the system's.
  const own = join(MATRICES, "lavapipe/node");
  return {
    node: existsSync(own) ? own : process.execPath,
    env: {
      ...process.env, VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver, DEITC_ADAPTER: "llvmpipe",
      // Read by a driver in front of lavapipe that lists more sizes of matrices, where there is one.
      COOPMAT_DRIVER: join(MATRICES, "root/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so"),
    },
  };
}
