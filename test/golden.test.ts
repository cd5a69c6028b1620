/**
 * The goldens themselves: a clone has one of every kind, and the weights and inputs behind them have the reference's
 * bits.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { blocky, fnv1a32, generated, goldenIndex, integers, mix, OWN } from "./golden.js";
import { micro } from "./micro.js";

test("a clone has a golden of every kind", (t) => {
  const { files, refuse, broken } = goldenIndex<Readonly<Record<string, object>>>("pth/index.json");
  const wanted = [
    "forward/deit_tiny_patch16_224.safetensors", "teachers/regnety_004.safetensors", "posembed.safetensors",
    "augment/randaugment.safetensors", "augment/mixup.safetensors", "cifar/logits.safetensors",
    "images/n02692877_airship.JPEG", "images/n01773549_barn_spider.JPEG", "images/n02951585_can_opener.JPEG",
    "images/crop0.u8.gz", "images/crop1.u8.gz", "images/crop2.u8.gz",
    // Every gradient of a plain and of a distilled model; the parameters after ten steps with either optimizer.
    "micro/plain_h2.ls0.1.safetensors", "micro/dist_h2.dl_hard_0.5_1.0.safetensors",
    "micro/train.adamw_plain.safetensors", "micro/train.lamb_plain.safetensors",
    ...[files, refuse, broken].flatMap((group) => Object.keys(group ?? {}).map((name) => `pth/${name}`)),
  ];
  t.deepEqual(wanted.filter((file) => !existsSync(join(OWN, file))), []);
  // One file of each micro configuration is enough for its logits.
  const gradients = Object.values(micro.gradients);
  const here = gradients.filter(({ file }) => existsSync(join(OWN, "micro", file))).map(({ config }) => config);
  t.deepEqual(gradients.map(({ config }) => config).filter((config) => !here.includes(config)), []);
});

test("the goldens stay under 5 MB", (t) => {
  const files = readdirSync(OWN, { recursive: true, encoding: "utf8" }).map((file) => statSync(join(OWN, file)));
  t.true(files.reduce((sum, file) => sum + file.size, 0) < 5e6);
});

interface Check {
  readonly name: string;
  readonly shape: readonly number[];
  readonly sha256: string;
  readonly first8: readonly number[];
  readonly last: number;
}
interface Checks {
  readonly cases: readonly (Check & {
    readonly base: number; readonly scale: number; readonly fnv1a32: number; readonly hash: readonly number[];
  })[];
  readonly blocky: Check & { readonly shape: readonly [number, number, number, number]; readonly block: number };
  readonly integers: {
    readonly name: string; readonly count: number; readonly modulus: number; readonly values: readonly number[];
  };
}

test("the generator gives the reference's bits", (t) => {
  const checks = goldenIndex<Checks>("generator.json");
  const same = (values: Float32Array, { name, first8, last, sha256 }: Check): void => {
    t.deepEqual([...values.subarray(0, 8)], [...first8], name);
    t.is(values.at(-1), last, name);
    t.is(createHash("sha256").update(new Uint8Array(values.buffer)).digest("hex"), sha256, name);
  };
  for (const one of checks.cases) {
    t.is(fnv1a32(one.name), one.fnv1a32, one.name);
    t.deepEqual(one.hash.map((_, i) => mix(one.fnv1a32, i)), [...one.hash], one.name);
    same(generated(one.name, one.shape.reduce((n, d) => n * d, 1), one.base, one.scale), one);
  }
  same(blocky(checks.blocky.name, checks.blocky.shape, checks.blocky.block), checks.blocky);
  const { name, count, modulus, values } = checks.integers;
  t.deepEqual([...integers(name, count, modulus)], [...values]);
});
