/** @file What `deitc explain FILE` prints of a model: its header, its kernels, and every fusion taken and refused. */
import type { FamilyName, Manifest, Step } from "../../runtime/manifest.js";
import { printableLines } from "../../runtime/text.js";
import { pathOf } from "../fuse/fusion.js";
import { showShape } from "../ir/dim.js";
import { parameterCount } from "../emit/facts.js";
import type { Compiled, CompiledGraph } from "../pipeline.js";
import { showCount, showNumber, table } from "./table.js";
import { familyNamed } from "../../runtime/families.js";

const ROW_LIMIT = 120;

/** Everything about a model that fits a few screens. @param compiled as it was just compiled, where it was */
export const summaryText = (manifest: Manifest, names: readonly FamilyName[], compiled?: Compiled): string => [
  headText(manifest, compiled?.model), ...names.map((name) => stepsText(manifest, name)),
  ...(compiled ? [fusedText(compiled), refusedText(compiled), rulesText(compiled)] : []),
].join("\n");

/** What the compiler decided about one graph of several. */
export const decisionsText = (graph: CompiledGraph, name: string): string => [
  `${name}: ${graph.fusion.kernels.length} kernels, each storing one tensor\n`, fusedText(graph),
  refusedText(graph), rulesText(graph),
].join("\n");

function headText(manifest: Manifest, model: Compiled["model"] | undefined): string {
  const trained = manifest.parameters.filter((p) => p.trained);
  const tensors = [
    ...manifest.inputs.map((t) => ["input", t] as const), ...manifest.outputs.map((t) => ["output", t] as const)
  ];
  const rows = [
    ...[...model?.header ?? []].map(([name, value]) => ["", name, headerValue(value)]),
    ...tensors.map(([kind, t]) => [kind, t.name, `${t.dtype} ${showShape(t.shape)}`]),
  ];
  const doc = manifest.doc === undefined ? "" : `${printableLines(manifest.doc)}\n`;
  const count = showCount(parameterCount(manifest));
  return `${manifest.name}: ${count} parameters in ${trained.length} tensors\n${doc}${table(rows)}`;
}

/** A header value as the file would spell it. */
function headerValue(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  if ("value" in value) return String(value.value);
  if ("items" in value && Array.isArray(value.items)) return `[${value.items.map(headerValue).join(", ")}]`;
  return "kind" in value ? String(value.kind) : "";
}

function stepsText(manifest: Manifest, name: FamilyName): string {
  const { programs, kernels } = familyNamed(manifest, name);
  const row = (program: string, { path, kernel, flops, bytes }: Step): string[] => [
    program, path, kernels[kernel]?.name ?? "", showNumber((flops.b + flops.c) / 1e6),
    showNumber((bytes.b + bytes.c) / 2 ** 20),
  ];
  const rows = [...programs.prepare.map((s) => row("prepare", s)), ...programs.run.map((s) => row("infer", s))];
  const shown = rows.length > ROW_LIMIT
    ? [...rows.slice(0, ROW_LIMIT), ["", `… and ${rows.length - ROW_LIMIT} more`, "", "", ""]]
    : rows;
  const head = ["", "path", "kernel", "MFLOP", "MiB"];
  const title = `${name}: ${programs.run.length} dispatches per forward pass, ${kernels.length} kernels`;
  return `${title} (figures for one image)\n${table([head, ...shown], [3, 4])}`;
}

/** What was decided about a graph, for programs: its kernels, what is stored, and the rules that fired. */
export const decisionsJson = ({ fusion, firings }: CompiledGraph): object => ({
  kernels: fusion.kernels.map(
    (kernel) => ({ kind: kernel.kind, path: pathOf(kernel), ops: kernel.members.map((node) => node.op) })),
  stored: fusion.refusals.map(({ node, reason }) => ({ op: node.op, path: node.origin.path, reason })),
  rules: Object.fromEntries(firings),
});

/** Kernels of the same make together: `12 ×  contraction: matmul add gelu  blocks.0.mlp.fc1 …`. */
function fusedText({ fusion }: CompiledGraph): string {
  const groups = new Map<string, string[]>();
  for (const kernel of fusion.kernels) {
    const made = `${kernel.kind}: ${kernel.members.map((node) => node.op).join(" ")}`;
    groups.set(made, [...(groups.get(made) ?? []), pathOf(kernel) || kernel.root.op]);
  }
  const rows = [...groups].map(([made, paths]) => [`${paths.length} ×`, made, paths[0] ?? ""]);
  return `Fused: the ops inside each kernel, and the first kernel of that make\n${table(rows, [0])}`;
}

/** Tensors stored although one consumer could have taken them in, by reason. */
function refusedText({ fusion, refusals }: CompiledGraph): string {
  const groups = new Map<string, string[]>();
  const note = (reason: string, path: string): void => void groups.set(reason, [...(groups.get(reason) ?? []), path]);
  for (const { node, reason } of fusion.refusals) note(`${node.op}: ${reason}`, node.origin.path);
  for (const refusal of refusals) note(`rule ${refusal.rule}: ${refusal.reason}`, refusal.origin.path);
  const rows = [...groups].map(([reason, paths]) => [`${paths.length} ×`, reason, paths[0] ?? ""]);
  return rows.length === 0
    ? "Not fused: nothing\n"
    : `Not fused: why a tensor is stored, and the first example\n${table(rows, [0])}`;
}

function rulesText({ firings }: CompiledGraph): string {
  const rows = [...firings].filter(([, times]) => times > 0).map(([rule, times]) => [`${times} ×`, rule]);
  return `Rewrite rules that fired\n${table(rows, [0])}`;
}
