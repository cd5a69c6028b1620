/** @file The package sharp, which decodes and encodes images. Its binary is a package of its own, one per system. */
import { DeitcError } from "../errors.js";

/** sharp, loaded with the first image. @throws DeitcError with code `dependency` when it does not load here */
export async function openSharp(): Promise<typeof import("sharp").default> {
  try {
    return (await import("sharp")).default;
  } catch (cause) {
    const { platform, arch } = process;
    const message = `the package sharp, which reads images, does not load on ${platform} ${arch}`;
    throw new DeitcError("dependency", "device", message, {
      cause,
      help: "run `npm install --include=optional sharp` on this system: its binary is an optional package, which "
        + "`--omit=optional` and a node_modules folder of another system lack",
    });
  }
}
