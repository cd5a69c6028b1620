import type { AttentionSpec, ContractionSpec, KernelText, Operand } from "./template.js";

const ld = (o: Operand, r: string, d: string, z: string): string => {
  const off = o.separable ? `(${o.base(r, z)}) + (${o.step(d)})` : o.offset(r, d, z);
  return o.vector === "none" ? `${o.buffer}[${off}]` : `${o.buffer}[(${off}) / 4][(${off}) % 4]`;
};
export function naiveContraction(s: ContractionSpec): KernelText {
  const guard = [s.a.guard?.("m", "z"), s.a.elementGuard?.("m", "k", "z"), s.b.guard?.("n", "z"), s.b.elementGuard?.("n", "k", "z")].filter(Boolean).join(" && ");
  const body = `let g = i32(wid.x + wid.y * nwg.x) * 64 + i32(lid);
if (g >= ${s.batches.wgsl} * ${s.rows.wgsl} * ${s.cols.wgsl}) { return; }
let n = g % ${s.cols.wgsl};
let m = (g / ${s.cols.wgsl}) % ${s.rows.wgsl};
let z = g / (${s.cols.wgsl} * ${s.rows.wgsl});
var acc = 0.0;
for (var k = 0; k < ${s.depth.wgsl}; k++) {
${guard ? `if (${guard}) {` : "{"}
acc += ${ld(s.a, "m", "k", "z")} * ${ld(s.b, "n", "k", "z")};
}
}
${s.epilogue({ row: "m", col: "n", batch: "z", value: "acc" })}`;
  return { enables: [], declarations: "", workgroupSize: 64, body, grid: [{ dim: s.batches.dim, per: 1 }, { dim: s.rows.dim, per: 1 }, { dim: s.cols.dim, per: 64 }] };
}
export function naiveAttention(s: AttentionSpec): KernelText {
  const body = `let g = i32(wid.x + wid.y * nwg.x) * 64 + i32(lid);
if (g >= ${s.batches.wgsl} * ${s.queries.wgsl}) { return; }
let m = g % ${s.queries.wgsl};
let z = g / ${s.queries.wgsl};
var top = -1e30;
for (var j = 0; j < ${s.keys.wgsl}; j++) {
var dot = 0.0;
for (var k = 0; k < ${s.width}; k++) { dot += ${ld(s.q, "m", "k", "z")} * ${ld(s.k, "j", "k", "z")}; }
top = max(top, dot * f32(${s.scale}));
}
var o: array<f32, ${s.valueWidth}>;
var total = 0.0;
for (var j = 0; j < ${s.keys.wgsl}; j++) {
var dot = 0.0;
for (var k = 0; k < ${s.width}; k++) { dot += ${ld(s.q, "m", "k", "z")} * ${ld(s.k, "j", "k", "z")}; }
let p = exp(dot * f32(${s.scale}) - top);
total += p;
for (var n = 0; n < ${s.valueWidth}; n++) { o[n] += p * ${ld(s.v, "j", "n", "z")}; }
}
for (var n = 0; n < ${s.valueWidth}; n++) {
let acc = o[n] / total;
${s.epilogue({ row: "m", col: "n", batch: "z", value: "acc" })}
}`;
  return { enables: [], declarations: "", workgroupSize: 64, body, grid: [{ dim: s.batches.dim, per: 1 }, { dim: s.queries.dim, per: 1 }] };
}
