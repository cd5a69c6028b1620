/** The least time of kernels: their operations and bytes are those of the shapes, whichever of the two binds. */
import test from "ava";
import { floorsOf } from "../compiler/inspect/floor.js";
import { GPUS } from "../compiler/gpus.js";
import { inside } from "./cli_process.js";
import { compileFile, compileText } from "./harness.js";

const GPU = { name: "round numbers", f32: 1e12, f16: 8e12, bandwidth: 1e11 };
const MODEL = "model m() { input x: [B, 64, 256] param w: [256, 512] ~ normal(1) param b: [512] ~ zeros output y = gelu(matmul(x, w) + b) }";

test("a product is bound by its operations, elementwise work by its bytes", (t) => {
  const [product, ...none] = floorsOf(compileText(MODEL), "tiled", 16, GPU);
  t.deepEqual(none, []);
  // The epilogue's two operations an element are counted too.
  const [rows, elements] = [16 * 64, 16 * 64 * 512];
  t.is(product?.flops, 2 * rows * 256 * 512 + 2 * elements);
  t.is(product?.bytes, 4 * (rows * 256 + 256 * 512 + 512 + elements));
  t.is(product?.bound, "compute");
  t.is(product?.seconds, (product?.flops ?? 0) / GPU.f32);
  const [sum] = floorsOf(compileText("model m() { input x: [B, 512] output y = x + 1 }"), "tiled", 8, GPU);
  t.like(sum, { flops: 8 * 512, bytes: 2 * 4 * 8 * 512, bound: "memory", seconds: (2 * 4 * 8 * 512) / GPU.bandwidth });
});

test("products in f16 are measured by the peak of f16, and what is computed once is left out", (t) => {
  const floors = floorsOf(compileText(MODEL, "m", { precision: "f16" }), "tiled", 16, GPU);
  // The input is rounded by a kernel of its own; the weights are rounded before the first run.
  t.deepEqual(floors.map(({ kind }) => kind), ["map", "contraction"]);
  const [, product] = floors;
  t.is(product?.bytes, 2 * (16 * 64 * 256 + 256 * 512) + 4 * (512 + 16 * 64 * 512));
  t.is(product?.seconds, Math.max((product?.flops ?? 0) / GPU.f16, (product?.bytes ?? 0) / GPU.bandwidth));
});

test("DeiT-S has the operations that are published", (t) => {
  const floors = floorsOf(compileFile("models/deit_s.deit"), "tiled", 1, GPUS["h100"] ?? GPU);
  const flops = floors.reduce((n, one) => n + one.flops, 0);
  // 4.6 G multiplications and additions an image: Touvron et al. 2021, table 5. The last block computes one row only.
  t.true(flops > 2 * 4.2e9 && flops < 2 * 4.7e9, `${flops}`);
});

test.serial("the command line tells the sum, and refuses GPUs that it does not know", async (t) => {
  const { code, out, err } = await inside(".", ["explain", "models/deit_ti.deit", "--gpu", "h100", "--precision", "f16", "--batch", "256"]);
  t.is(code, 0, err);
  t.regex(out, /^deit_ti, tiled kernels at batch 256 on NVIDIA H100 SXM \(f32 66\.9 TFLOP\/s, f16 989 TFLOP\/s, 3350 GB\/s\)\n/u);
  t.regex(out, /A floor, not a prediction\.\n\nkernel +kind +GFLOP +MB +bound by +µs\n/u);
  t.regex(out, /\n1[12] × blocks\.i\.mlp\.fc2 +contraction +[\d.]+ +[\d.]+ +(?:compute|memory) +[\d.]+ +[\d.]+ %\n/u);
  t.regex(out, /\nsum of 88 kernels: \d+ GFLOP, \d+ MB, \d+ µs, [\d,]+ images\/s\n$/u);
  const step = await inside(".", ["explain", "models/shapes.deit", "--gpu", "m4", "--peak", "2", "--bandwidth", "50", "--json"]);
  t.is(step.code, 0, step.err);
  const { seconds, kernels } = JSON.parse(step.out) as { seconds: number; kernels: { seconds: number }[] };
  t.true(Math.abs(kernels.reduce((n, one) => n + one.seconds, 0) - seconds) < 1e-9 && kernels.length > 50);
  const unknown = await inside(".", ["explain", "models/deit_ti.deit", "--gpu", "tpu"]);
  t.is(unknown.code, 2);
  t.regex(unknown.err, /The GPUs are h100, a100, rtx4090, rx7900, m4, arc; --peak and --bandwidth describe another/u);
});
