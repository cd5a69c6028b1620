/**
 * @file The typed module of what was compiled: a class that infers, and for a recipe one that trains as well. It is
 * built as ts-morph structures and printed three ways: TypeScript, the JavaScript that TypeScript's transpiler makes of
 * it, and declarations. Nothing is type-checked here (that alone would
 * take longer than the whole compile); the tests check the text under `tsc --strict`.
 */
import type {
  ClassDeclarationStructure, InterfaceDeclarationStructure, MethodDeclarationStructure, PropertyDeclarationStructure,
  StatementStructures,
} from "ts-morph";
import type { Artifact } from "../../runtime/artifact.js";
import type { Manifest, TensorInfo } from "../../runtime/manifest.js";
import type { TrainingManifest } from "../../runtime/training.js";
import {
  arrayType, classCount, classesOf, key, parameterCount, preprocessValue, shapesType, shapesValue, tensorDoc,
} from "./facts.js";
import { declared, imports, printThreeWays, RUNTIME, safe, type ModuleText, type Morph, type Part } from "./print.js";
import { recipePart } from "./recipe.js";

export type { ModuleText } from "./print.js";

/** Interface of the tensors a call takes or gives. */
function tensorsInterface(
  morph: Morph, name: string, doc: string, tensors: readonly TensorInfo[],
): InterfaceDeclarationStructure {
  return {
    kind: morph.StructureKind.Interface,
    name,
    isExported: true,
    docs: [doc],
    properties: tensors.map((t) => ({
      name: key(t.name), isReadonly: true, type: arrayType(t.dtype), docs: [safe(tensorDoc(t))],
    })),
  };
}

/** Constants of the model that are known without loading it. */
function statics(morph: Morph, manifest: Manifest): PropertyDeclarationStructure[] {
  const constant = (name: string, type: string, initializer: string, doc: string): PropertyDeclarationStructure => ({
    kind: morph.StructureKind.Property, name, type, initializer, docs: [doc], isStatic: true, isReadonly: true,
  });
  const model = JSON.stringify(manifest.name);
  const count = String(parameterCount(manifest));
  const classes = classCount(manifest);
  return [
    constant("model", model, model, "Name of the model in its `.deit` file."),
    constant(
      "inputs", shapesType(manifest.inputs), shapesValue(manifest.inputs), "Shapes of the inputs; `B` is the batch.",
    ),
    constant("outputs", shapesType(manifest.outputs), shapesValue(manifest.outputs), "Shapes of the outputs."),
    constant("parameterCount", count, count, "Number of trainable parameters."),
    ...(classes === undefined
      ? []
      : [constant("classes", String(classes), String(classes), "Number of classes in the prediction.")]),
    ...(manifest.preprocess === undefined
      ? []
      : [
        constant(
          "preprocess", "Preprocess", preprocessValue(manifest.preprocess),
          "Preprocessing of images, for `loadImages`.",
        ),
      ]),
  ];
}

function methods(morph: Morph, manifest: Manifest, name: string): MethodDeclarationStructure[] {
  const method = (structure: Omit<MethodDeclarationStructure, "kind">): MethodDeclarationStructure => ({
    kind: morph.StructureKind.Method, ...structure,
  });
  const outputs = manifest.outputs.map((t) => `\`${t.name}\``).join(", ");
  return [
    method({
      name: "load", isStatic: true, isAsync: true, returnType: `Promise<${name}>`,
      parameters: [{ name: "options", type: "LoadOptions" }],
      statements: [
        `const definition = await openArtifact(new URL("./", import.meta.url));`,
        "const inference = inferenceOf(definition, options.precision);",
        `return new ${name}(await load<${name}Inputs, ${name}Outputs>(inference, options));`,
      ],
      docs: [[
        "Loads the model onto an adapter. Batch, weights and adapter are chosen here, without compiling again.",
        "@throws WeightsError, AdapterError or OutOfMemoryError, each with a fix.",
      ].join("\n")],
    }),
    method({
      name: "infer", returnType: `Promise<${name}Outputs>`, 
      parameters: [
        { name: "inputs", type: `${name}Inputs` }, { name: "options", type: "InferOptions", hasQuestionToken: true },
      ],
      statements: ["return this.session.infer(inputs, options);"],
      docs: [[
        `Runs the model on one batch and reads ${outputs} back.`,
        "@throws InputError when a length does not fit its shape.",
      ].join("\n")],
    }),
    method({
      name: "profile", returnType: "Promise<Profile>", statements: ["return this.session.profile();"],
      docs: ["Runs the model again on the last inputs and measures every kernel."],
    }),
    method({
      name: "destroy", returnType: "void", statements: ["this.session.destroy();"],
      docs: ["Frees the device. The process can end after this."],
    }),
    method({
      name: "[Symbol.asyncDispose]", isAsync: true, returnType: "Promise<void>",
      statements: ["this.session.destroy();"],
      docs: [`For \`await using\`: the same as \`destroy()\`.`],
    }),
  ];
}

function modelClass(morph: Morph, manifest: Manifest, name: string): ClassDeclarationStructure {
  const session = `Session<${name}Inputs, ${name}Outputs>`;
  return {
    kind: morph.StructureKind.Class,
    name,
    isExported: true,
    docs: [safe(manifest.doc ?? `The model \`${manifest.name}\`.`)],
    properties: [
      ...statics(morph, manifest),
      {
        name: "session", type: session, isReadonly: true,
        docs: ["The session that runs the model: its device, memory and timing."],
      },
    ],
    ctors: [{
      scope: morph.Scope.Private, parameters: [{ name: "session", type: session }],
      statements: ["this.session = session;"],
    }],
    methods: methods(morph, manifest, name),
  };
}

const reexports = (morph: Morph): StatementStructures => ({
  kind: morph.StructureKind.ExportDeclaration,
  moduleSpecifier: RUNTIME,
  namedExports: ["loadImages", "topK"],
});

function modelPart(morph: Morph, manifest: Manifest, name: string): Part {
  return {
    values: ["inferenceOf", "load", "openArtifact"],
    types: ["InferOptions", "LoadOptions", ...(manifest.preprocess ? ["Preprocess"] : []), "Profile", "Session"],
    others: [
      tensorsInterface(morph, `${name}Inputs`, `Inputs of \`${name}.infer\`.`, manifest.inputs),
      tensorsInterface(morph, `${name}Outputs`, `Outputs of \`${name}.infer\`.`, manifest.outputs),
    ],
    classes: [modelClass(morph, manifest, name)],
  };
}

/** Prints the module of a model or a recipe. */
export async function printModule(artifact: Artifact): Promise<ModuleText> {
  const morph = await import("ts-morph");
  const { model, recipe } = classesOf(artifact);
  const parts = [
    modelPart(morph, artifact.graphs.infer, model),
    ...(recipe === undefined ? [] : [recipePart(morph, artifact as TrainingManifest, recipe)]), // it has a class
  ];
  const sorted = (of: (part: Part) => readonly string[]): string[] => [...new Set(parts.flatMap(of))].sort();
  const [values, types] = [sorted((part) => part.values), sorted((part) => part.types)];
  const others = parts.flatMap((part) => part.others);
  const classes = parts.flatMap((part) => part.classes);
  return printThreeWays(morph, `${artifact.name}, compiled by deitc ${artifact.compiler}`, {
    ts: [imports(morph, values, types), reexports(morph), ...others, ...classes],
    dts: [imports(morph, [], types), reexports(morph), ...others, ...classes.map((one) => declared(morph, one))],
  });
}
