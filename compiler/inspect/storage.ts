/** @file A drawing of a compiled graph's storage over time. */
import type { FamilyName } from "../../runtime/manifest.js";
import type { CompiledGraph } from "../pipeline.js";
import { familyOfTarget } from "../pipeline.js";
import { cut, escapeXml } from "./drawing.js";

function svg(width: number, height: number, title: string, parts: readonly string[]): string {
  const style = "text{font:11px ui-monospace,monospace;fill:#222}.small{font-size:9px;fill:#555}" +
    "rect{stroke:#888;stroke-width:.6}";
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size}>\n` +
    `<title>${escapeXml(title)}</title>\n<style>${style}</style>\n${parts.join("\n")}\n</svg>\n`;
}

/** A graph to draw, and what it is called. */
type Drawn = Pick<CompiledGraph, "families"> & { readonly name: string };

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
      `<rect x="${x}" y="${y}" width="${width}" height="18" rx="2" fill="#dfe8f5"/>` +
      `<text x="${x + 3}" y="${y + 13}" class="small">${label}</text></g>`,
    );
  });
  const title = `${compiled.name}, ${name}: ${steps.length} steps over ${family.slots.length} slots`;
  return svg(
    left + steps.length * step + 20, 60 + family.slots.length * 22, title,
    [`<text x="8" y="22">${escapeXml(title)}</text>`, ...parts],
  );
}

const isSlot = (ref: { readonly kind: string; readonly index: number } | undefined, index: number): boolean =>
  ref?.kind === "slot" && ref.index === index;
