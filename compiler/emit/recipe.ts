/** @file The typed module of a compiled recipe: a class that trains it. */
import type { ClassDeclarationStructure, MethodDeclarationStructure, StatementStructures } from "ts-morph";
import type { TrainingManifest } from "../../runtime/training.js";
import { key } from "./facts.js";
import { safe, type Morph, type Part } from "./print.js";

function methods(morph: Morph, name: string): MethodDeclarationStructure[] {
  const method = (structure: Omit<MethodDeclarationStructure, "kind">): MethodDeclarationStructure => ({
    kind: morph.StructureKind.Method, ...structure,
  });
  return [
    method({
      name: "open", isStatic: true, isAsync: true, returnType: `Promise<${name}>`,
      parameters: [{ name: "options", type: "TrainerOptions", hasQuestionToken: true }],
      statements: [
        `const definition = recipeOf(await openArtifact(new URL("./", import.meta.url)));`,
        `return new ${name}(await openTrainer(definition, options));`,
      ],
      docs: [[
        "Opens data, folder and device. Every option has a default, mostly from the recipe. Its paths are relative to",
        "`base` (default: the working folder).",
        "@throws FileError, InputError, WeightsError, AdapterError or OutOfMemoryError, each with a fix.",
      ].join("\n")],
    }),
    method({
      name: "run", returnType: "AsyncGenerator<TrainingEvent, TrainingOutcome>",
      statements: ["return this.trainer.run();"],
      docs: ["Trains and yields events: `for await (const event of trainer.run()) …`."],
    }),
    method({
      name: "evaluate", returnType: "Promise<Evaluation>",
      parameters: [{ name: "options", type: "{ readonly ema?: boolean }", hasQuestionToken: true }],
      statements: ["return this.trainer.evaluate(options);"],
      docs: ["One pass over the evaluation data, with the weights or with their moving average."],
    }),
    method({
      name: "save", returnType: "Promise<void>",
      parameters: [
        { name: "path", type: "string" },
        { name: "options", type: "{ readonly ema?: boolean }", hasQuestionToken: true },
      ],
      statements: ["return this.trainer.save(path, options);"],
      docs: ["Writes the weights, or their moving average, as a safetensors file."],
    }),
    method({
      name: "destroy", returnType: "void", statements: ["this.trainer.destroy();"],
      docs: ["Frees the device. The process can end after this."],
    }),
    method({
      name: "[Symbol.asyncDispose]", isAsync: true, returnType: "Promise<void>",
      statements: ["this.trainer.destroy();"], docs: ["For `await using`: the same as `destroy()`."],
    }),
  ];
}

function recipeClass(morph: Morph, manifest: TrainingManifest, name: string): ClassDeclarationStructure {
  const recipe = JSON.stringify(manifest.name);
  const models = manifest.models.map((model) => [key(model.name), JSON.stringify(model.model)] as const);
  const fixed = { kind: morph.StructureKind.Property, isStatic: true, isReadonly: true } as const;
  return {
    kind: morph.StructureKind.Class, name, isExported: true,
    docs: [safe(manifest.doc === "" ? `The recipe \`${manifest.name}\`.` : manifest.doc)],
    properties: [
      {
        ...fixed, name: "recipe", type: recipe, initializer: recipe, docs: ["Name of the recipe in its `.deit` file."],
      },
      {
        ...fixed, name: "models", docs: ["Its models by their names in the recipe."],
        type: `{ ${models.map(([own, model]) => `readonly ${own}: ${model}`).join("; ")} }`,
        initializer: `{ ${models.map(([own, model]) => `${own}: ${model}`).join(", ")} }`,
      },
      { name: "trainer", type: "Run", isReadonly: true, docs: ["The run that trains: its device, memory and plan."] },
    ],
    ctors: [{
      scope: morph.Scope.Private, parameters: [{ name: "trainer", type: "Run" }],
      statements: ["this.trainer = trainer;"],
    }],
    methods: methods(morph, name),
  };
}

/** The class that trains, which is the module's `Trainer` as well. */
export function recipePart(morph: Morph, manifest: TrainingManifest, name: string): Part {
  const alias: StatementStructures = {
    kind: morph.StructureKind.ExportDeclaration, namedExports: [{ name, alias: "Trainer" }],
  };
  return {
    values: ["openArtifact", "openTrainer", "recipeOf"],
    types: ["Evaluation", "Trainer as Run", "TrainerOptions", "TrainingEvent", "TrainingOutcome"],
    others: [alias], classes: [recipeClass(morph, manifest, name)],
  };
}
