/** Kernels by subgroup matrices against the interpreter, on an adapter that has them: DEITC_ADAPTER names it. */
import test from "ava";
import { tensorTarget } from "../compiler/targets/tensor.js";
import type { Device } from "../runtime/device.js";
import { compileText, errorOf, expected, feedsOf, openUncheckedDevice, runModule } from "./harness.js";

let device: Device;
test.before(async () => { device = await openUncheckedDevice(); });
test.after.always(() => device?.destroy());

const CASES: Readonly<Record<string, string>> = {
  "NT, odd sizes": "input x: [B, 37, 40] param w: [50, 40] ~ normal(1) output y = matmul(x, transpose(w)) + 1",
  "NN, odd sizes": "input x: [B, 37, 40] param w: [40, 52] ~ normal(1) output y = gelu(matmul(x, w))",
  "TN": "input x: [B, 24, 36] input z: [B, 24, 44] output y = matmul(transpose(x), z)",
  "no vectors": "input x: [B, 37, 39] param w: [51, 39] ~ normal(1) output y = matmul(x, transpose(w))",
  "convolution": "import { conv } from \"deitc/nn.deit\"\n input x: [B, 16, 9, 9] output y = conv(x, 20, kernel = 3, bias = true)",
  "bias, gelu, residual, scale": "input x: [B, 37, 40] input r: [B, 37, 52] param w: [40, 52] ~ normal(1) param b: [52] ~ normal(1) param s: [37, 1] ~ normal(1) output y = r + gelu(matmul(x, w) + b) * s output z = r * 2",
  "rows of a concatenation": "input x: [B, 37, 40] param t: [1, 1, 52] ~ normal(1) param w: [40, 52] ~ normal(1) output y = concat([expand(t, shape = [B, 1, 52]), matmul(x, w)], axis = 1)",
  "attention": "input q: [B, 2, 37, 24] input k: [B, 2, 45, 24] input v: [B, 2, 45, 40] output y = matmul(softmax(matmul(q, transpose(k)) * 1.5, axis = -1), v)",
  "attention, equal scores": "input q: [B, 1, 20, 8] input k: [B, 1, 20, 8] input v: [B, 1, 20, 8] output y = matmul(softmax(matmul(q, transpose(k)) * 0.5, axis = -1), v)",
  "attention whose scores grow": "input q: [B, 1, 20, 8] input k: [B, 1, 90, 8] input v: [B, 1, 90, 8] output y = matmul(softmax(matmul(q, transpose(k * reshape(float(arange(90)), shape = [90, 1]))), axis = -1), v)",
  "many tiles": "input x: [B, 70, 72] param w: [136, 72] ~ normal(1) output y = matmul(x, transpose(w))",
};

/** As large as two matrices each way for each of four subgroups: software takes minutes to compile more. */
const TILE = { m: 32, n: 32, k: 16, down: 2, across: 2 };

for (const size of [8, 16]) {
  const target = tensorTarget(`tensor_${size}`, "", 50, { m: size, n: size, k: size, lanes: 8 }, [TILE, TILE], { subgroups: 2, keys: 16 });
  for (const [name, body] of Object.entries(CASES)) {
    test.serial(`${name}, ${size}×${size}×${size}`, async (t) => {
      const [imports, ...rest] = body.startsWith("import") ? body.split("\n") : ["", body];
      const compiled = compileText(`${imports}\nmodel m() { ${rest.join("\n")} }`, "m", { precision: "f16", targets: [target] });
      const batch = 2;
      const feeds = feedsOf(compiled.graph, batch);
      t.true([...compiled.wgsl.values()].some((text) => text.includes("subgroupMatrixLoad")));
      const got = await runModule(device, compiled, target.name, batch, feeds);
      for (const [output, tensor] of expected(compiled.graph, batch, feeds)) {
        const error = errorOf(got.get(output), tensor.data);
        t.log(`${output}: ${error.toExponential(1)}`);
        t.true(error <= 2e-3, output);
      }
    });
  }
}
