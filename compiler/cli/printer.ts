/**
 * @file Prints modules in a thread of its own. Loading ts-morph takes as long as all passes together; here it loads
 * while they run. This file is both ends: the thread's entry, and the class that talks to it.
 */
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import type { Artifact } from "../../runtime/artifact.js";
import type { ModuleText } from "../emit/print.js";
import { CompilerBug } from "../ir/invariant.js";

/** What the thread answers. */
type Answer = { readonly text: ModuleText } | { readonly error: string };

/** A thread that prints modules. It does not keep the process alive. */
export class Printer {
  readonly #worker = new Worker(new URL(import.meta.url));

  constructor() {
    this.#worker.unref();
  }

  /** The module of a manifest, as `printModule` gives it. */
  print(manifest: Artifact): Promise<ModuleText> {
    const worker = this.#worker;
    worker.ref();
    return new Promise<ModuleText>((resolve, reject) => {
      worker.once("error", reject);
      worker.once("message", (answer: Answer) => {
        worker.off("error", reject);
        worker.unref();
        if ("text" in answer) resolve(answer.text);
        else reject(new CompilerBug(`a module is printed: ${answer.error}`));
      });
      worker.postMessage(manifest);
    });
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

if (!isMainThread && parentPort) {
  const port = parentPort;
  const emitting = Promise.all([import("../emit/module.js"), import("ts-morph")]);
  port.on("message", (manifest: Artifact) => {
    void emitting.then(([{ printModule }]) => printModule(manifest)).then(
      (text) => port.postMessage({ text } satisfies Answer),
      (error: unknown) => port.postMessage({ error: String(error) } satisfies Answer),
    );
  });
}
