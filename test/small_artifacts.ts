/** @file A small model and a recipe that trains it, compiled once a process: what changes are made to. */
import { resolve } from "node:path";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { loadProgram } from "../dsl/resolve.js";
import type { CompiledArtifact } from "../compiler/artifact.js";
import { nodeHost } from "../compiler/cli/host.js";
import { compileArtifact, emitArtifact, language } from "../compiler/index.js";

/** What `JSON.parse` gives, to be changed. */
export interface Json {
  [key: string]: unknown;
}

const SOURCE = `import { vit } from "deitc/vit.deit"
import { cross_entropy } from "deitc/losses.deit"
model small extends vit { image = 32  patch = 16  dim = 16  depth = 1  heads = 2  classes = 8 }
recipe lesson {
  pupil: small
  data = shapes(train = 16, test = 8)
  batch = 4 images
  length = 2 steps
  augment = [horizontal_flip(0.5), normalize("imagenet")]
  optimizer = adamw(lr = 1e-3)
  schedule = cosine(warmup = 1 steps)
  ema = 0.9
  loss(images: [B, 3, H, W], labels: i32[B]) { return cross_entropy(pupil(images).logits, labels) }
}
`;

interface Small {
  readonly compiled: CompiledArtifact;
  /** Text of `manifest.json`. */
  readonly manifest: string;
}

const made = new Map<string, Promise<Small>>();

/** Compiled, with its manifest as it is written. */
export function compiledSmall(kind: "model" | "recipe"): Promise<Small> {
  const known = made.get(kind);
  if (known) return known;
  const fresh = compile(kind === "model" ? "small" : "lesson");
  made.set(kind, fresh);
  return fresh;
}

async function compile(name: string): Promise<Small> {
  const host = nodeHost(resolve("models"));
  const { program, diagnostics } = loadProgram("small.deit", {
    resolve: (from, path) => (from === undefined ? { path: "small.deit" } : host.resolve(from, path)),
    read: (path) => (path === "small.deit" ? { text: SOURCE } : host.read(path)),
  }, language());
  if (!program) throw new Error(renderDiagnostics(diagnostics));
  const { compiled, diagnostics: more } = compileArtifact(program, name);
  if (!compiled) throw new Error(renderDiagnostics(more));
  const files = await emitArtifact(compiled, () => Promise.resolve({ ts: "", js: "", dts: "" }));
  return { compiled, manifest: files.get("manifest.json") ?? "" };
}
