/** @file Drawings of a compiled model: its kernels as a graph, and its storage over time. */
import type { FamilyName } from "../../runtime/manifest.js";
import { showShape } from "../ir/dim.js";
import type { FusedKernel } from "../fuse/fusion.js";
import type { Node } from "../ir/graph.js";
import type { CompiledGraph } from "../pipeline.js";
import { familyOfTarget } from "../pipeline.js";

const COLOURS: Readonly<Record<FusedKernel["kind"], string>> = {
  map: "#dfe8f5", row: "#e2f2df", contraction: "#fbe6cf", attention: "#f5d9e6",
  attention_gradient: "#e9d9f5",
};
const BOX = { width: 300, height: 40, across: 340, down: 64 };

const escapeXml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
const cut = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function svg(width: number, height: number, title: string, parts: readonly string[]): string {
  const style = "text{font:11px ui-monospace,monospace;fill:#222}.small{font-size:9px;fill:#555}" +
    "rect{stroke:#888;stroke-width:.6}";
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size}>\n` +
    `<title>${escapeXml(title)}</title>\n<style>${style}</style>\n${parts.join("\n")}\n</svg>\n`;
}

/** A graph to draw, and what it is called. */
type Drawn = Pick<CompiledGraph, "fusion" | "families"> & { readonly manifest: { readonly name: string } };

/** Every kernel a box, with what is computed inside; arrows are stored tensors. Kernels of a row could run together. */
export function drawGraph(compiled: Drawn): string {
  const { kernels } = compiled.fusion;
  const rowOf = new Map<Node, number>();
  const rows: FusedKernel[][] = [];
  for (const kernel of kernels) {
    const row = Math.max(0, ...kernel.reads.map((read) => (rowOf.get(read) ?? -1) + 1));
    rowOf.set(kernel.root, row);
    (rows[row] ??= []).push(kernel);
  }
  const place = new Map<Node, { x: number; y: number }>();
  rows.forEach(
    (row, y) => row.forEach((kernel, x) => place.set(kernel.root, { x: 20 + x * BOX.across, y: 20 + y * BOX.down })),
  );
  const boxes = kernels.map((kernel) => box(kernel, place.get(kernel.root) ?? { x: 0, y: 0 }));
  const arrows = kernels.flatMap(
    (kernel) => kernel.reads.map((read) => arrow(place.get(read), place.get(kernel.root))),
  );
  const width = 40 + BOX.across * Math.max(1, ...rows.map((row) => row.length));
  return svg(
    width, 40 + BOX.down * rows.length, `${compiled.manifest.name}: ${kernels.length} kernels`,
    [...arrows.filter(Boolean), ...boxes],
  );
}

function box({ kind, root, members }: FusedKernel, { x, y }: { x: number; y: number }): string {
  const ops = members.map((node) => node.op).join(" ");
  const label = `${root.origin.path || root.op} ${showShape(root.shape)}`;
  return `<g><title>${escapeXml(`${label}\n${kind}: ${ops}`)}</title>` +
    `<rect x="${x}" y="${y}" width="${BOX.width}" height="${BOX.height}" rx="4" fill="${COLOURS[kind]}"/>` +
    `<text x="${x + 8}" y="${y + 16}">${escapeXml(cut(label, 42))}</text>` +
    `<text x="${x + 8}" y="${y + 31}" class="small">${escapeXml(cut(`${kind}: ${ops}`, 52))}</text></g>`;
}

function arrow(from: { x: number; y: number } | undefined, to: { x: number; y: number } | undefined): string {
  if (!from || !to) return "";
  const [x1, y1, x2, y2] = [from.x + BOX.width / 2, from.y + BOX.height, to.x + BOX.width / 2, to.y];
  // A tensor read far below goes around the boxes between.
  const bend = y2 - y1 > BOX.down ? BOX.width / 2 + 12 : 0;
  const curve = `M${x1} ${y1} C${x1 + bend} ${y1 + 24} ${x2 + bend} ${y2 - 24} ${x2} ${y2}`;
  return `<path d="${curve}" fill="none" stroke="#999"/>`;
}

/** Storage slots down, steps across: a bar from the step that writes a tensor to the last that reads it. */
export function drawPlan(compiled: Drawn, name: FamilyName): string {
  const { family } = familyOfTarget(compiled, name).planned;
  const steps = family.programs.run;
  const step = 14;
  const left = 190;
  const parts = family.slots.map((slot, i) => {
    const y = 44 + i * 22;
    const size = `${slot.bytes.b === 0 ? "" : `${slot.bytes.b}·B + `}${slot.bytes.c} bytes`;
    const [name, below] = [escapeXml(`slot ${i} ${slot.kind}`), y + 13];
    return `<text x="8" y="${below}">${name}</text><text x="96" y="${below}" class="small">${size}</text>`;
  });
  steps.forEach(({ bindings, path }, at) => {
    const written = bindings[bindings.length - 1];
    if (written?.kind !== "slot") return;
    const index = written.index;
    const next = steps.findIndex((s, i) => i > at && isSlot(s.bindings[s.bindings.length - 1], index));
    const before = next < 0 ? steps.length : next;
    const last = steps.slice(0, before).findLastIndex((s) => s.bindings.slice(0, -1).some((ref) => isSlot(ref, index)));
    const width = Math.max(1, Math.max(last, at) - at + 1) * step - 2;
    const [x, y] = [left + at * step, 44 + index * 22];
    const label = escapeXml(cut(path, Math.max(1, Math.floor(width / 5.6))));
    parts.push(
      `<g><title>${escapeXml(path)}</title>` +
      `<rect x="${x}" y="${y}" width="${width}" height="18" rx="2" fill="${COLOURS.map}"/>` +
      `<text x="${x + 3}" y="${y + 13}" class="small">${label}</text></g>`,
    );
  });
  const title = `${compiled.manifest.name}, ${name}: ${steps.length} steps over ${family.slots.length} slots`;
  return svg(
    left + steps.length * step + 20, 60 + family.slots.length * 22, title,
    [`<text x="8" y="22">${escapeXml(title)}</text>`, ...parts],
  );
}

const isSlot = (ref: { readonly kind: string; readonly index: number } | undefined, index: number): boolean =>
  ref?.kind === "slot" && ref.index === index;
