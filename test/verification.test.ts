/** What `verify` finds: wrong numbers, and the optimization that is at fault for them. */
import test from "ava";
import { report } from "../compiler/cli/commands/verify.js";
import { verifyOn } from "../compiler/cli/verification.js";
import type { Optimization } from "../compiler/optimizations.js";
import type { Compiled } from "../compiler/pipeline.js";
import { compileText } from "./harness.js";

const TEXT = `model m() {
  input x: [B, 6]
  param w: [6, 4] ~ normal(1)
  output y = gelu(matmul(x, w)) + 1
}`;
const adapter = process.env["DEITC_ADAPTER"] ?? "swiftshader";

/** The model with a number of its kernels changed. */
function broken(): Compiled {
  const right = compileText(TEXT);
  const wgsl = new Map([...right.wgsl].map(([name, text]) => [name, text.replaceAll("0.5", "0.75")]));
  return { ...right, wgsl };
}

/** Compiles right only without `culprit`. */
const compileWithout = (culprit: Optimization | undefined) => async (without: readonly Optimization[]): Promise<Compiled> =>
  (culprit !== undefined && without.includes(culprit) ? compileText(TEXT, undefined, { without }) : broken());

for (const culprit of ["joins", "patterns", "layout", "fusion"] as const) {
  test.serial(`the optimization at fault is named: ${culprit}`, async (t) => {
    const found = await verifyOn(broken(), compileWithout(culprit), { adapter, batch: 2 });
    t.true(found.wrong > 0);
    t.is(found.culprit, culprit);
    t.regex(report(found), new RegExp(`--without ${culprit}\\.\nThis is a bug in deitc\\. Please report`));
  });
}

test.serial("where no optimization is at fault, an op or the driver is", async (t) => {
  const found = await verifyOn(broken(), compileWithout(undefined), { adapter, batch: 2 });
  t.is(found.culprit, "none");
  t.regex(report(found), /WRONG[^]*an op or the driver is at fault[^]*Please report/);
});

test.serial("a right model has no culprit", async (t) => {
  const right = compileText(TEXT);
  const found = await verifyOn(right, async () => right, { adapter, batch: 2 });
  t.is(found.wrong, 0);
  t.is(found.culprit, undefined);
  t.regex(report(found), /all \d+ tensors agree within 0\.0001\n$/);
});
