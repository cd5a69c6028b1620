/** @file `deitc explain` of a recipe: its facts, the graphs of its steps, its kernels and its memory. */
import type { Program } from "../../../dsl/program.js";
import { membersOf } from "../../../dsl/recipe.js";
import type { FamilyName, Size } from "../../../runtime/manifest.js";
import type { Argument, CallSetting, Count, TrainingManifest } from "../../../runtime/training.js";
import type { CompiledArtifact } from "../../artifact.js";
import { evalDim } from "../../ir/dim.js";
import type { CompiledGraph } from "../../pipeline.js";
import type { CompiledRecipe } from "../../train/compile.js";
import { printJsonValue } from "../command.js";
import { compiledOf, graphsOf, kernelsOf, type Explained, type ExplainOptions } from "../explained.js";
import { MEMORY_KINDS, passImages, RecipeMemory, sumOf, type ActivationSlot } from "../recipe_memory.js";
import { decisionsJson, decisionsText } from "../summary.js";
import { showAffine, showBytes, showCount, showNumber, table } from "../table.js";

/** Slots listed by `--memory`, and names told of each. */
const SLOTS_SHOWN = 20;
const NAMES_SHOWN = 3;
const SLOT_COLUMNS = ["slot", "bytes", "", "kept", "all its tensors in turn"];

/** The text, or nothing where it was printed as JSON. */
export function explainRecipe(explained: Explained, manifest: TrainingManifest, options: ExplainOptions): string {
  const { compiled, loss = "" } = explained;
  if (options.json) {
    printJsonValue(forJson(recipeOf(explained, "--json"), loss, options.family));
    return "";
  }
  if (options.memory) {
    return options.family.map((name) => memoryText(recipeOf(explained, "--memory"), name)).join("\n");
  }
  if (options.parameters) return statesText(manifest);
  const decisions = compiled ? trainingGraphs(compiled).map(([name, graph]) => decisionsText(graph, name)) : [];
  return [headText(manifest, loss), dispatchesText(manifest), ...decisions].join("\n");
}

/** The recipe as it was just compiled. */
function recipeOf(explained: Explained, what: string): CompiledRecipe {
  return compiledOf(explained, what) as CompiledRecipe; // its manifest is a recipe's
}

/** The graphs of training by name, in the order in which they are used. */
const trainingGraphs = ({ graphs }: CompiledArtifact): (readonly [string, CompiledGraph])[] =>
  ["train", "gather", "apply", "evaluate"].flatMap((name) => {
    const graph = graphs[name];
    return graph ? [[name, graph] as const] : [];
  });

// ---- Facts ----

/** The loss as the file has it. */
export function lossText(program: Program, name: string): string {
  const recipe = program.recipes.find(({ declaration }) => declaration.name.text === name);
  const span = recipe && membersOf(recipe).get("loss")?.member.span;
  return span?.source.text.slice(span.start, span.end).replace(/\s+/gu, " ").trim() ?? "";
}

const showCountOf = ({ value, unit }: Count): string => `${value} ${value === 1 ? unit.slice(0, -1) : unit}`;

function showArgument(value: Argument): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object" || value === null) return String(value);
  return "unit" in value ? showCountOf(value) : `[${[...value].map(showArgument).join(", ")}]`;
}

const showCall = ({ name, arguments: given }: CallSetting): string =>
  `${name}(${Object.entries(given).map(([key, value]) => `${key} = ${showArgument(value)}`).join(", ")})`;

const elements = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** Pairs of words about the recipe. */
function factsOf(manifest: TrainingManifest, loss: string): [string, string][] {
  const { settings, states, models } = manifest;
  const trained = states.filter((state) => state.trained);
  const undecayed = trained.filter(({ decay }) => !decay);
  const count = (list: typeof states): string => showCount(list.reduce((n, { shape }) => n + elements(shape), 0));
  const passes = settings.accumulate === 1 ? "" : ` in ${settings.accumulate} passes of ${passImages(manifest)}`;
  return [
    ...models.map(({ name, model, frozen, weights }): [string, string] => [
      name, `${model}${frozen ? ", frozen" : ", trained"}${weights === undefined ? "" : `, from ${weights}`}`,
    ]),
    ["data", showCall(settings.data)],
    ...(settings.eval ? [["evaluated on", showCall(settings.eval)] as [string, string]] : []),
    ["augment", settings.augment.length === 0 ? "none" : settings.augment.map(showCall).join(", ")],
    ["batch", `${settings.batch} images${passes}`], ["length", showCountOf(settings.length)],
    ["trained", `${count(trained)} parameters in ${trained.length} tensors`],
    ["optimizer", showCall(settings.optimizer)], ["schedule", showCall(settings.schedule)],
    ["clip", settings.clip === undefined ? "none" : showCall(settings.clip)],
    ["ema", settings.ema === undefined ? "none" : String(settings.ema)],
    ["precision", settings.precision], ["seed", String(settings.seed)],
    ["no decay", undecayed.length === 0 ? "none" : `${count(undecayed)} parameters in ${undecayed.length} tensors: ` +
      endsOf(undecayed.map(({ path }) => path))],
    ...(loss === "" ? [] : [["loss", loss] as [string, string]]),
  ];
}

/** Paths, those of numbered blocks told once: `blocks.*.norm1.weight`. */
const endsOf = (paths: readonly string[]): string =>
  [...new Set(paths.map((path) => path.replace(/(?<=^|\.)\d+(?=\.)/gu, "*")))].join(", ");

function headText(manifest: TrainingManifest, loss: string): string {
  const { name, doc } = manifest;
  return `${name}: a recipe\n${doc === "" ? "" : `${doc}\n`}${table(factsOf(manifest, loss))}`;
}

// ---- Dispatches ----

interface Dispatches {
  readonly graph: string;
  readonly family: FamilyName;
  readonly prepare: number;
  readonly run: number;
  readonly copies: number;
  readonly kernels: number;
  /** At the recipe's images a pass. */
  readonly flops: number;
  readonly bytes: number;
}

function dispatchesOf(manifest: TrainingManifest): Dispatches[] {
  const images = passImages(manifest);
  return graphsOf(manifest).flatMap(([graph, made]) =>
    Object.entries(made.families).map(([family, { programs, kernels, copies }]) => {
      const sum = (sizes: readonly Size[]): number => sizes.reduce((n, { b, c }) => n + b * images + c, 0);
      return {
        graph, family, prepare: programs.prepare.length, run: programs.run.length, copies: copies.length,
        kernels: kernels.length, flops: sum(programs.run.map(({ flops }) => flops)),
        bytes: sum(programs.run.map(({ bytes }) => bytes)),
      };
    }));
}

function dispatchesText(manifest: TrainingManifest): string {
  const head = ["graph", "family", "dispatches", "prepare", "copies", "kernels", "MFLOP", "MiB"];
  const rows = dispatchesOf(manifest).map((row) => [
    row.graph, row.family, String(row.run), String(row.prepare), String(row.copies), String(row.kernels),
    showNumber(row.flops / 1e6), showNumber(row.bytes / 2 ** 20),
  ]);
  const images = passImages(manifest);
  const how = manifest.graphs.train ? "`train` is a step"
    : `a step is ${manifest.settings.accumulate} times \`gather\`, then \`apply\``;
  return `Dispatches: ${how}; \`prepare\` runs once after the parameters are changed from outside ` +
    `(figures at ${images} images)\n${table([head, ...rows], [2, 3, 4, 5, 6, 7])}`;
}

function statesText({ states }: TrainingManifest): string {
  return table(states.map((state) => {
    const { path, shape, role, trained, decay, initial } = state;
    const how = trained ? (decay ? "trained" : "trained, no decay") : "";
    return [path, `[${shape.join(", ")}]`, role, initial.kind, how];
  }));
}

// ---- Memory ----

/** 1, 2, 4, … and the recipe's images of a pass. */
function batchesUpTo(images: number): number[] {
  const batches: number[] = [];
  for (let b = 1; b < images; b *= 2) batches.push(b);
  return [...batches, images];
}

function memoryText(recipe: CompiledRecipe, name: FamilyName): string {
  const memory = new RecipeMemory(recipe, name);
  const { manifest } = recipe;
  const images = passImages(manifest);
  const affine = memory.affine();
  const used = MEMORY_KINDS.filter((kind) => affine[kind].b > 0 || affine[kind].c > 0);
  const peak = used.reduce((n, kind) => ({ b: n.b + affine[kind].b, c: n.c + affine[kind].c }), { b: 0, c: 0 });
  const formulas = [...used.map((kind) => [kind, showAffine(affine[kind])]), ["peak", showAffine(peak)]];
  const rows = batchesUpTo(images).map((batch) => {
    const bytes = memory.at(batch);
    return [String(batch), ...used.map((kind) => showBytes(bytes[kind])), showBytes(sumOf(bytes))];
  });
  const columns = ["B", ...used, "peak"];
  const { batch, accumulate } = manifest.settings;
  const passes = accumulate === 1 ? "" : ` (a batch of ${batch} is ${accumulate} passes)`;
  const slots = memory.slots.toSorted((x, y) => evalDim(y.bytes, images) - evalDim(x.bytes, images))
    .slice(0, SLOTS_SHOWN);
  const saved = memory.slots.filter(({ kept }) => kept !== undefined).length;
  return [
    `${manifest.name}, ${name}: bytes on the device, B images of a pass${passes}`,
    `exact if B is a multiple of 4, otherwise up to 12 bytes more per tensor\n${table(formulas, [1])}`,
    table([columns, ...rows], columns.map((_, i) => i)),
    `The largest of ${memory.slots.length} slots of activations at B = ${images}; ` +
      `${saved} hold what the backward pass keeps`,
    table([SLOT_COLUMNS, ...slots.map((slot) => slotRow(slot, images))], [0, 1, 2]),
  ].join("\n");
}

function slotRow({ index, bytes, kept, tensors }: ActivationSlot, images: number): string[] {
  const more = tensors.length - NAMES_SHOWN;
  const names = `${tensors.slice(0, NAMES_SHOWN).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  const fills = kept?.bytes.b === bytes.b && kept.bytes.c === bytes.c;
  const tensor = kept === undefined ? "–" : `${kept.path}${fills ? "" : ` (${showAffine(kept.bytes)})`}`;
  return [String(index), showAffine(bytes), showBytes(evalDim(bytes, images)), tensor, names];
}

// ---- JSON ----

function forJson(recipe: CompiledRecipe, loss: string, families: readonly FamilyName[]): unknown {
  const { manifest } = recipe;
  const images = passImages(manifest);
  const paths = (decay: boolean): string[] =>
    manifest.states.filter((state) => state.trained && state.decay === decay).map(({ path }) => path);
  const memory = families.map((family) => {
    const made = new RecipeMemory(recipe, family);
    const at = batchesUpTo(images).map((batch) => {
      const bytes = made.at(batch);
      return { batch, ...bytes, peak: sumOf(bytes) };
    });
    return { family, formula: made.affine(), at, slots: made.slots };
  });
  return {
    recipe: manifest.name, doc: manifest.doc, models: manifest.models, settings: manifest.settings, loss,
    data: manifest.data, decayed: paths(true), undecayed: paths(false), dispatches: dispatchesOf(manifest),
    graphs: Object.fromEntries(trainingGraphs(recipe).map(([name, graph]) => [name, {
      ...decisionsJson(graph),
      held: graph.refusals.map(({ rule, reason, origin }) => ({ rule, reason, path: origin.path })),
    }])),
    kernels: kernelsOf(manifest).filter(({ family }) => families.some((name) => name === family))
      .map(({ id, paths: computed }) => ({ id, paths: computed })),
    memory,
  };
}
