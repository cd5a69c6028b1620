/** Kernels by subgroup matrices against the interpreter, which rounds to f16 as they do. */
import test from "ava";
import { tensorTarget } from "../compiler/targets/tensor.js";
import type { Device } from "../runtime/device.js";
import { compileText, errorOf, expected, feedsOf, openUncheckedDevice, runModule } from "./harness.js";
import { matrixTest } from "./matrices.js";
import { MATRICES } from "./matrix_driver.js";

let device: Device;
test.before(async () => {
  if (MATRICES !== undefined) device = await openUncheckedDevice();
});
test.after.always(() => device?.destroy());

/** As large as two matrices each way for each of four subgroups: software takes minutes to compile more. */
const TILE = { m: 32, n: 32, k: 16, down: 2, across: 2 };
const BATCH = 2;
/** Weights of attention are rounded to f16 inside the kernel. */
const TOLERANCE = { contraction: 1e-6, attention: 1e-3 };

const attention = (q: string, k: string, v: string, scores: string): string =>
  `input q: ${q} input k: ${k} input v: ${v} output y = matmul(softmax(${scores}, axis = -1), v)`;

const CASES: Readonly<Record<string, string>> = {
  "rows by rows, odd sizes": "input x: [B, 37, 40] param w: [50, 40] ~ normal(1) output y = matmul(x, transpose(w)) + 1",
  "rows by columns, odd sizes": "input x: [B, 37, 40] param w: [40, 52] ~ normal(1) output y = gelu(matmul(x, w))",
  "columns by columns": "input x: [B, 24, 36] input z: [B, 24, 44] output y = matmul(transpose(x), z)",
  "no neighbours in fours": "input x: [B, 37, 39] param w: [51, 39] ~ normal(1) output y = matmul(x, transpose(w))",
  "a convolution": `import { conv } from "deitc/nn.deit"
    input x: [B, 16, 9, 9] output y = conv(x, 20, kernel = 3, bias = true)`,
  "bias, gelu, residual, scale": `input x: [B, 37, 40] input r: [B, 37, 52] param w: [40, 52] ~ normal(1)
    param b: [52] ~ normal(1) param s: [37, 1] ~ normal(1)
    output y = r + gelu(matmul(x, w) + b) * s output z = r * 2`,
  "rows of a concatenation": `input x: [B, 37, 40] param t: [1, 1, 52] ~ normal(1) param w: [40, 52] ~ normal(1)
    output y = concat([expand(t, shape = [B, 1, 52]), matmul(x, w)], axis = 1)`,
  "many tiles": "input x: [B, 70, 72] param w: [136, 72] ~ normal(1) output y = matmul(x, transpose(w))",
  "attention of odd sizes": attention(
    "[B, 2, 37, 24]", "[B, 2, 45, 24]", "[B, 2, 45, 40]", "matmul(q, transpose(k)) * 1.5"),
  "attention of equal sizes": attention(
    "[B, 1, 20, 8]", "[B, 1, 20, 8]", "[B, 1, 20, 8]", "matmul(q, transpose(k)) * 0.5"),
  "attention whose scores grow from block to block": attention("[B, 1, 20, 8]", "[B, 1, 90, 8]", "[B, 1, 90, 8]",
    "matmul(q, transpose(k * reshape(float(arange(90)), shape = [90, 1])))"),
};

for (const size of [8, 16]) {
  const target = tensorTarget(`tensor_${size}`, "", 50, { m: size, n: size, k: size, lanes: 8 }, [TILE, TILE],
    { subgroups: 2, keys: 16 });
  for (const [name, text] of Object.entries(CASES)) {
    matrixTest(`${name}, ${size} × ${size} × ${size}`, async (t) => {
      const [, imports = "", body = ""] = /^(import .*\n)?([^]*)$/u.exec(text) ?? [];
      const compiled = compileText(`${imports}model m() { ${body} }`, "m", { precision: "f16", targets: [target] });
      t.true([...compiled.wgsl.values()].some((kernel) => kernel.includes("subgroupMatrixMultiplyAccumulate")));
      const feeds = feedsOf(compiled.graph, BATCH);
      const got = await runModule(device, compiled, target.name, BATCH, feeds);
      const most = TOLERANCE[name.startsWith("attention") ? "attention" : "contraction"];
      for (const [output, tensor] of expected(compiled.graph, BATCH, feeds)) {
        const error = errorOf(got.get(output), tensor.data);
        t.log(`${output}: ${error.toExponential(1)}`);
        t.true(error <= most, `${output} is off by ${error}`);
      }
    }, size);
  }
}
