/** @file Finds a tensor for every parameter of a model: exact names first, then other projects' names. */

import { WeightsError } from "../errors.js";
import type { ParameterInfo } from "../manifest.js";
import { printable } from "../text.js";
import type { Checkpoint } from "./checkpoint.js";
import { elementCount, toFloat32, type StoredTensor } from "./dtype.js";
import { initialize } from "./initialize.js";
import { isClassifier, isIgnored, isPatchProjection, isPositionEmbedding, renamed, type Target } from "./names.js";
import { gridsOf, resamplePositionEmbedding, type ResampleRule } from "./posembed.js";

/** Where the values of one parameter come from. */
interface WeightSource {
  readonly parameter: ParameterInfo;
  readonly origin: "checkpoint" | "initializer";
  /** The values, float32, row-major, of the parameter's shape; read again at every call. */
  load(): Promise<Float32Array>;
}

/** One source per parameter, in the order asked for, and what was done to make them fit. */
export interface MatchedWeights {
  readonly sources: readonly WeightSource[];
  /** Notes to show, as sentences. */
  readonly notes: readonly string[];
}

/** What may differ between the file and the model. */
export interface MatchOptions {
  /** A classifier of another number of classes, or none in the file, is left at its initial values. */
  readonly allowHeadMismatch?: boolean;
  /** How position embeddings of another grid are resampled (default: `official`). */
  readonly positionEmbedding?: ResampleRule;
  /** Seed for parameters left at their initial values (default: 0). */
  readonly seed?: number;
}

/** Names of a list that a message shows. */
const SHOWN = 10;

/** The tensors of one parameter: one, or the parts to be stacked. */
type Pieces = (StoredTensor | undefined)[];

interface Problems {
  readonly missing: string[];
  readonly extra: string[];
  readonly misshapen: string[];
}

/**
 * Matches a checkpoint to a model's parameters. Throws one `WeightsError` (fault `mismatch`) that lists all missing,
 * extra and misshapen tensors.
 */
export function matchWeights(
  checkpoint: Checkpoint, parameters: readonly ParameterInfo[], options: MatchOptions = {},
): MatchedWeights {
  const problems: Problems = { missing: [], extra: [], misshapen: [] };
  const notes = [...checkpoint.notes];
  const pieces = assign(checkpoint, parameters, problems, notes, options);
  const sources = parameters.map((parameter) => (
    sourceOf(checkpoint, parameter, pieces.get(parameter.path), options, problems, notes)
  ));
  report(checkpoint, parameters.length, problems);
  return { sources, notes };
}

/** Gives every tensor of the file to a parameter; what is left is extra. */
function assign(
  checkpoint: Checkpoint, parameters: readonly ParameterInfo[], problems: Problems, notes: string[],
  options: MatchOptions,
): Map<string, Pieces> {
  const wanted = new Set(parameters.map(({ path }) => path));
  const pieces = new Map<string, Pieces>();
  const translated = new Map<string, number>();
  for (const [name, tensor] of checkpoint.tensors) {
    const rule = wanted.has(name) ? undefined : renamed(name);
    const target: Target = rule ?? { path: name };
    if (!wanted.has(target.path)) {
      const dropped = options.allowHeadMismatch === true && isClassifier(target.path);
      if (dropped) notes.push(`'${printable(name)}' is ignored: the model has no such classifier`);
      else if (!isIgnored(name)) problems.extra.push(printable(name));
      continue;
    }
    if (rule !== undefined) translated.set(rule.convention, (translated.get(rule.convention) ?? 0) + 1);
    place(checkpoint, pieces, target, tensor);
  }
  for (const [convention, count] of translated) notes.push(`translated ${count} tensor names from ${convention}`);
  return pieces;
}

function place(checkpoint: Checkpoint, pieces: Map<string, Pieces>, target: Target, tensor: StoredTensor): void {
  const { path, part = { index: 0, count: 1 } } = target;
  const list = pieces.get(path) ?? Array.from({ length: part.count }, () => undefined);
  if (list.length !== part.count || list[part.index] !== undefined) {
    const message = `it maps to '${path}', like another tensor of the file`;
    throw new WeightsError(message, { file: checkpoint.file, fault: "malformed", tensor: tensor.name });
  }
  list[part.index] = tensor;
  pieces.set(path, list);
}

function sourceOf(
  checkpoint: Checkpoint, parameter: ParameterInfo, pieces: Pieces | undefined, options: MatchOptions,
  problems: Problems, notes: string[],
): WeightSource {
  const { path, initializer } = parameter;
  const initial: WeightSource = {
    parameter, origin: "initializer", load: () => Promise.resolve(initialize(parameter, options.seed ?? 0)),
  };
  const tensors = (pieces ?? []).filter((piece) => piece !== undefined);
  if (pieces === undefined || tensors.length < pieces.length) {
    // Tables computed from dimensions are no weights; a file need not have them.
    if (pieces === undefined && !parameter.trained && initializer.kind === "values") return initial;
    if (pieces === undefined && options.allowHeadMismatch === true && isClassifier(path)) {
      notes.push(`'${path}' is not in the file: left at its initial values`);
      return initial;
    }
    const found = tensors.map(({ name }) => printable(name)).join(", ");
    problems.missing.push(found === "" ? path : `${path} (only ${found})`);
    return initial;
  }
  const stored = stackedShape(tensors);
  const load = stored && fit(checkpoint.file, parameter, stored, tensors, options, notes);
  if (load !== undefined) return { parameter, origin: "checkpoint", load };
  const file = stored ? shapeText(stored) : tensors.map(({ shape }) => shapeText(shape)).join(" + ");
  const otherClasses = isClassifier(path) && stored?.length === parameter.shape.length
    && stored.slice(1).every((size, axis) => size === parameter.shape[axis + 1]);
  if (otherClasses && options.allowHeadMismatch === true) {
    const classes = `${stored[0]} classes in the file, ${parameter.shape[0]} in the model`;
    notes.push(`'${path}' has ${classes}: left at its initial values`);
    return initial;
  }
  problems.misshapen.push(`${path} is ${file} in the file, ${shapeText(parameter.shape)} in the model`);
  return initial;
}

function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/** The shape of tensors stacked along their first axis; undefined when the other axes differ. */
function stackedShape(tensors: readonly StoredTensor[]): readonly number[] | undefined {
  const [first, ...others] = tensors;
  if (first === undefined || others.length === 0) return first?.shape;
  const [, ...rest] = first.shape;
  if (first.shape.length === 0 || others.some(({ shape }) => !sameShape(shape.slice(1), rest))) return undefined;
  return [tensors.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0), ...rest];
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

/** How tensors of shape `stored` become the parameter; undefined when they cannot. */
function fit(
  file: string, parameter: ParameterInfo, stored: readonly number[], tensors: readonly StoredTensor[],
  options: MatchOptions, notes: string[],
): (() => Promise<Float32Array>) | undefined {
  const { path, shape } = parameter;
  // Tables computed from dimensions may mask with infinities; weights are numbers.
  const finite = parameter.trained || parameter.initializer.kind !== "values";
  const read = (): Promise<Float32Array> => loadStacked(tensors, finite ? file : undefined);
  if (sameShape(stored, shape)) return read;
  const sameElements = elementCount(stored) === elementCount(shape) && stored[0] === shape[0];
  if (isPatchProjection(path) && stored.length === 2 && sameElements) {
    notes.push(`'${path}' is the matrix ${shapeText(stored)} in the file: used as ${shapeText(shape)}`);
    return read;
  }
  const [, from = 0] = stored;
  const [, to = 0, width = 0] = shape;
  const tables = sameShape(stored, [1, from, width]) && sameShape(shape, [1, to, width]);
  const grid = isPositionEmbedding(path) && tables ? gridsOf(from, to) : undefined;
  if (grid === undefined) return undefined;
  const rule = options.positionEmbedding ?? "official";
  const how = rule === "official" ? "bicubic, a = -0.75" : "bicubic, a = -0.5, antialiased";
  notes.push(`'${path}' is resampled from ${grid.from} × ${grid.from} to ${grid.to} × ${grid.to} patches (${how})`);
  return async () => resamplePositionEmbedding(await read(), grid, rule);
}

/** @param finite the file, where a NaN or an infinity in it is an error */
async function loadStacked(tensors: readonly StoredTensor[], finite: string | undefined): Promise<Float32Array> {
  const numbers = async (tensor: StoredTensor): Promise<Float32Array> => {
    const values = toFloat32(tensor.dtype, await tensor.read());
    if (finite !== undefined) checkFinite(values, tensor, finite);
    return values;
  };
  const [first] = tensors;
  if (first !== undefined && tensors.length === 1) return numbers(first);
  const result = new Float32Array(tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0));
  let at = 0;
  for (const tensor of tensors) {
    const values = await numbers(tensor);
    result.set(values, at);
    at += values.length;
  }
  return result;
}

function checkFinite(values: Float32Array, { name, dtype }: StoredTensor, file: string): void {
  // 0 times a finite number is 0, times any other NaN: one sum without a branch, as a model has many millions.
  let sum = 0;
  for (const value of values) sum += 0 * value;
  if (sum === 0) return;
  const at = values.findIndex((value) => !Number.isFinite(value));
  const range = dtype === "F64" ? ", or beyond float32" : "";
  throw new WeightsError(`element ${at} is ${values[at]}${range}: weights must be finite`, {
    file, fault: "refused", tensor: name,
    help: "the file is damaged, or was saved after training had diverged: use an earlier checkpoint",
  });
}

function listed(title: string, items: readonly string[], separator: string): string[] {
  if (items.length === 0) return [];
  const rest = items.length > SHOWN ? `${separator}and ${items.length - SHOWN} more` : "";
  return [`  ${title} (${items.length}): ${items.slice(0, SHOWN).join(separator)}${rest}`];
}

function report(checkpoint: Checkpoint, parameters: number, { missing, extra, misshapen }: Problems): void {
  if (missing.length + extra.length + misshapen.length === 0) return;
  const lines = [
    `the weights do not fit the model of ${parameters} tensors (the file has ${checkpoint.tensors.size})`,
    ...listed("missing in the file", missing, ", "),
    ...listed("not in the model", extra, ", "),
    ...listed("with a different shape", misshapen, "; "),
  ];
  const heads = [...missing, ...extra, ...misshapen.map((line) => line.split(" ")[0] ?? "")].every(isClassifier);
  const help = heads
    ? "only classifiers differ: leave them at their initial values with --allow-head-mismatch (in a program with " +
      "`allowHeadMismatch: true`), or compile the model for the file's classes, as with --set classes=10"
    : "check that the file belongs to this model, with its size, patches and number of heads";
  throw new WeightsError(lines.join("\n"), { file: checkpoint.file, fault: "mismatch", help });
}
