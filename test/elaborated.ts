/**
 * @file Elaborates files of the project and texts of a test.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { builtins, elaborateModel, type Elaboration, type ElaborateOptions,
  type ElaboratedModel } from "../compiler/elaborate/index.js";
import { OPS } from "../compiler/ops/index.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import type { Program } from "../dsl/program.js";
import { loadProgram, type SourceHost } from "../dsl/resolve.js";
import { RECIPE_CALLS } from "../compiler/train/vocabulary.js";

export const opNames = builtins(OPS);

/** Files of the project, and texts of the test by name. */
export function host(texts: Readonly<Record<string, string>> = {}): SourceHost {
  return {
    read(file) {
      const text = texts[file];
      return { text: text ?? readFileSync(file, "utf8") };
    },
    resolve(from, spec) {
      const file = from === undefined ? spec : path.posix.join(path.posix.dirname(from), spec);
      const known = file in texts || (existsSync(file) && statSync(file).isFile());
      return known ? { path: file } : { error: "not_found" };
    },
  };
}

export function load(file: string, texts?: Readonly<Record<string, string>>): Program {
  const { program, diagnostics } = loadProgram(file, host(texts), { opNames, calls: RECIPE_CALLS });
  if (!program) throw new Error(renderDiagnostics(diagnostics));
  return program;
}

export const elaborate = (program: Program, target?: string, options: Partial<ElaborateOptions> = {}): Elaboration =>
  elaborateModel(program, target, { training: false, ops: OPS, ...options });

export function modelOf(program: Program, target?: string, options: Partial<ElaborateOptions> = {}): ElaboratedModel {
  const { model, diagnostics } = elaborate(program, target, options);
  if (!model) throw new Error(renderDiagnostics(diagnostics));
  return model;
}

/** A model written in the test, which may import from `models/`. */
export const written = (text: string, options: Partial<ElaborateOptions> = {}): Elaboration =>
  elaborate(load("written.deit", { "written.deit": text }), undefined, options);

export function writtenModel(text: string, options: Partial<ElaborateOptions> = {}): ElaboratedModel {
  const { model, diagnostics } = written(text, options);
  if (!model) throw new Error(renderDiagnostics(diagnostics));
  return model;
}

export const sizes = (model: ElaboratedModel): Map<string, number[]> =>
  new Map([...model.graph.parameters].map(([name, p]) => [name, p.node.shape.map((d) => d.c)]));

export const count = (model: ElaboratedModel): number =>
  [...model.graph.parameters.values()].filter((p) => p.trained)
    .reduce((n, p) => n + p.node.shape.reduce((size, d) => size * d.c, 1), 0);

export const codes = (e: Elaboration): string[] => e.diagnostics.map((d) => d.code);
