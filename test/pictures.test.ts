/** Pictures of compiled graphs, read back: nothing overprinted, every dispatch accounted for, repeated blocks once. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import sharp from "sharp";
import { drawGraph } from "../compiler/inspect/picture.js";
import type { Compiled } from "../compiler/pipeline.js";
import { compiledRecipe } from "../compiler/train/compile.js";
import { familyNamed } from "../runtime/families.js";
import { inside } from "./cli_process.js";
import { compileFile, compileText } from "./harness.js";
import { elaborate, recipeText } from "./recipes.js";
import { elementsOf, isInside, overlap, type Element } from "./svg_boxes.js";

const draw = (compiled: Compiled, target = "tiled"): string =>
  drawGraph({ ...compiled, name: compiled.manifest.name, images: 1 }, target);

const texts = (elements: readonly Element[]): Element[] => elements.filter(({ name }) => name === "text");
const withClass = (elements: readonly Element[], name: string): Element[] =>
  elements.filter(({ classes }) => classes.includes(name));
/** `blocks.0 … blocks.10 × 11`, from top to bottom and left to right. */
const folds = (svg: string): string[] => [...svg.matchAll(/<title>(\S+ … \S+ × \d+)/g)].map(([, fold = ""]) => fold);

/** The rectangle of each module that is drawn for several, with their number. */
function repeated(elements: readonly Element[]): { readonly rect: Element; readonly times: number }[] {
  const frames = withClass(elements, "repeated").filter((one) => one.height > 20); // not the legend's
  return withClass(elements, "times").map((badge) => {
    const around = frames.filter((frame) => isInside(badge, frame)).sort((a, b) => a.height - b.height || b.y - a.y);
    const [nearest] = around;
    if (!nearest) throw new Error(`${badge.text} is in no frame`);
    // Three frames are painted for depth: the last of them is where it should be.
    const front = around.filter(({ height, width }) => height === nearest.height && width === nearest.width)
      .sort((a, b) => a.x - b.x)[0] ?? nearest;
    return { rect: front, times: Number(badge.text.slice(2)) };
  });
}

/** What holds of every picture. @param steps dispatches that it should account for */
async function check(t: ExecutionContext, name: string, svg: string, steps: number): Promise<void> {
  const elements = elementsOf(svg);
  const page = elements.find(({ classes }) => classes.includes("page"));
  if (!page) return t.fail(`${name}: has a page`);
  const words = texts(elements);
  const overprinted = words.flatMap((a, i) => words.slice(i + 1).filter((b) => overlap(a, b)).map((b) => `${a.text} | ${b.text}`));
  t.deepEqual(overprinted, [], name);
  t.deepEqual(words.filter((word) => !isInside(word, page)).map(({ text }) => text), [], `${name}: all text is on the page`);
  const cards = withClass(elements, "kernel");
  const covered = words.filter((word) => cards.some((card) => overlap(word, card) && !isInside(word, card)));
  t.deepEqual(covered.map(({ text }) => text), [], `${name}: no text crosses a kernel's border`);
  t.deepEqual(cards.flatMap((a, i) => cards.slice(i + 1).filter((b) => overlap(a, b)).map(() => name)), []);
  const runs = repeated(elements);
  const count = (card: Element): number =>
    runs.filter(({ rect }) => isInside(card, rect)).reduce((n, { times }) => n * times, 1);
  t.is(cards.reduce((n, card) => n + count(card), 0), steps, `${name}: kernels drawn, times the blocks they stand for`);
  // A renderer reads it as XML, strictly.
  const { width, height } = await sharp(Buffer.from(svg), { limitInputPixels: false }).metadata();
  t.deepEqual([width, height], [page.width, page.height], name);
}

const UNSEEN = readdirSync(join("test", "unseen")).filter((file) => file.endsWith(".deit")).map((file) => join("test", "unseen", file));
const MODELS: readonly (readonly [file: string, target?: string])[] = [
  ["models/deit_b.deit"], ["models/deit_b_distilled.deit", "deit_b_distilled"], ["models/resnet.deit", "resnet18"],
  ["models/regnet.deit", "regnety_004"], ["models/efficientnet.deit", "efficientnet_b0"],
  ...UNSEEN.map((file) => [file] as const),
];
for (const [file, target] of MODELS) {
  test(`${target ?? file}: no text lies over another, and every dispatch is drawn`, async (t) => {
    const compiled = compileFile(file, target, { targets: ["tiled"] });
    const { programs, kernels } = familyNamed(compiled.manifest, "tiled");
    const svg = draw(compiled);
    await check(t, target ?? file, svg, programs.run.length);
    const elements = elementsOf(svg);
    const named = withClass(texts(elements), "dim").map(({ text }) => text);
    const known = kernels.map(({ name }) => name);
    t.true(named.length > 0);
    t.deepEqual(named.filter((name) => !known.some((one) => one === name || (name.endsWith("…") && one.startsWith(name.slice(0, -1))))), []);
    t.is(draw(compileFile(file, target, { targets: ["tiled"] })), svg, "the same model gives the same bytes");
  });
}

test("repeated blocks are drawn once, and those that differ by themselves", (t) => {
  const of = (file: string, target: string): string[] => folds(draw(compileFile(file, target, { targets: ["tiled"] })));
  // The last block computes the class token alone: what follows reads nothing else.
  t.deepEqual(of("models/deit_b.deit", "deit_b"), ["blocks.0 … blocks.10 × 11"]);
  t.deepEqual(of("models/resnet.deit", "resnet18"), ["layer1.0 … layer1.1 × 2"]);
  t.deepEqual(of("models/regnet.deit", "regnety_004"), ["s2.b2 … s2.b3 × 2", "s3.b2 … s3.b6 × 5", "s4.b2 … s4.b6 × 5"]);
  t.deepEqual(of("models/efficientnet.deit", "efficientnet_b0"),
    ["blocks.3.1 … blocks.3.2 × 2", "blocks.4.1 … blocks.4.2 × 2", "blocks.5.1 … blocks.5.3 × 3"]);
});

const chain = (body: string, depth = 6): string => `import { linear } from "deitc/nn.deit"
block step(x: [B, D], hidden: int) -> [B, D] {
  fc1 = linear(x, hidden)
  fc2 = linear(gelu(fc1), D)
  return x + fc2
}
model chain() {
  input x: [B, 8]
  for i in 0..${depth} { ${body} }
  output y = x
}`;
const chained = (body: string): string => draw(compileText(chain(body), "chain", { targets: ["tiled"] }));

test("a block is folded only where the rest of the network cannot tell it from the others", (t) => {
  const plain = "x = step(x, 16) as \"blocks.{i}\"";
  t.deepEqual(folds(chained(plain)), ["blocks.0 … blocks.5 × 6"]);
  t.deepEqual(folds(chained("x = step(x, i == 3 ? 24 : 16) as \"blocks.{i}\"")), ["blocks.0 … blocks.2 × 3", "blocks.4 … blocks.5 × 2"]);
  // What an output names is seen: block 2 ends a run.
  t.deepEqual(folds(chained(`${plain} if i == 2 { output middle = x }`)), ["blocks.0 … blocks.2 × 3", "blocks.3 … blocks.5 × 3"]);
  // Each of these reads the input, none the one before it.
  t.deepEqual(folds(chained("a = linear(x, 16) as \"blocks.{i}\" if i == 5 { x = a }")), []);
});

test("residual connections are lines of their own, and the legend has what is drawn and nothing else", (t) => {
  const svg = draw(compileFile("models/deit_b.deit", undefined, { targets: ["tiled"] }));
  const lines = (text: string): Element[] => withClass(elementsOf(text), "link").filter(({ name, text: hint }) => name === "path" && hint !== "");
  // Two around attention, two around the MLP: in the block that stands for eleven, and in the last.
  const hints = lines(svg).filter(({ classes }) => classes.includes("skip")).map(({ text }) => text.split(":")[0]);
  t.deepEqual(hints, [
    "patch_embed.proj.y → blocks.0.attn.proj", "blocks.0.attn.proj → blocks.0.mlp.fc2",
    "blocks.0.mlp.fc2 → blocks.11.attn.proj", "blocks.11.attn.proj → blocks.11.mlp.fc2",
  ]);
  const legend = (text: string): string[] => withClass(texts(elementsOf(text)), "legend").map((one) => one.text);
  t.deepEqual(legend(svg), [
    "contraction", "attention", "row: sums along axes", "input", "output", "repeated blocks, drawn once", "skip connection",
  ]);
  const resnet = legend(draw(compileFile("models/resnet.deit", "resnet18", { targets: ["tiled"] })));
  t.true(resnet.includes("prepared once after loading") && resnet.includes("map: element by element"));
  t.false(resnet.includes("attention"));
  t.true(svg.includes("@media(prefers-color-scheme:dark)"));
  const [figures] = withClass(texts(elementsOf(svg)), "figures");
  // Without the last block's 196 patch tokens, which nothing reads: of 12 blocks of 2.92 GFLOP, 11 are whole.
  t.is(figures?.text, "86,567,656 parameters · 33 GFLOP for one image · 87 kernels per run · family tiled");
});

test("a step of training is drawn as well: forward and backward", async (t) => {
  const { recipe } = elaborate(recipeText({ more: "clip = global_norm(1.0)  ema = 0.99" }));
  if (!recipe) return t.fail("the recipe is right");
  const { graphs, manifest } = compiledRecipe(recipe, { verify: true });
  if (!graphs.train || !manifest.graphs.train) return t.fail("it has a step");
  const svg = drawGraph({ ...graphs.train, name: "tiny, train", images: 4 }, "scalar");
  await check(t, "train", svg, familyNamed(manifest.graphs.train, "scalar").programs.run.length);
  t.regex(svg, /for 4 images/);
  t.true(withClass(texts(elementsOf(svg)), "far").some(({ text }) => text.startsWith("reads ")), "what the backward pass keeps is named");
});

test("a graph of more than 300 different kernels takes seconds", async (t) => {
  const compiled = compileText(chain("x = step(x, 8 + i) as \"blocks.{i}\"", 160), "chain", { targets: ["tiled"], verify: false });
  const before = process.cpuUsage();
  const svg = draw(compiled);
  const { user, system } = process.cpuUsage(before);
  t.log(`${((user + system) / 1e6).toFixed(1)} s of CPU time`);
  // Of a layout whose time grows with the square of the graph, not of this machine.
  t.true(user + system < 30e6);
  const { programs } = familyNamed(compiled.manifest, "tiled");
  t.true(programs.run.length > 300);
  await check(t, "long", svg, programs.run.length);
});

test.serial("a kernel has one name in the list, in JSON and in the picture", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "deitc-pictures-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "chain.deit"), chain("x = step(x, 16 + i) as \"blocks.{i}\"", 2));
  const outcome = await inside(folder, ["explain", "chain.deit", "--json", "--svg", "drawn"]);
  t.is(outcome.code, 0, outcome.err);
  const { kernels } = JSON.parse(outcome.out) as { kernels: { path: string }[] };
  const list = (await inside(folder, ["explain", "chain.deit"])).out;
  const listed = [...list.matchAll(/^infer +(\S+) +(\S+)/gm)].map(([, path = "", name = ""]) => ({ path, name }));
  t.is(listed.length, 4);
  t.deepEqual(kernels.map(({ path }) => path), listed.map(({ path }) => path));
  const hints = elementsOf(readFileSync(join(folder, "drawn", "graph.svg"), "utf8")).map(({ text }) => text);
  for (const { path, name } of listed) {
    t.true(hints.some((hint) => hint.startsWith(`${path}: `) && hint.includes(`kernel ${name} (`)), path);
  }
});
