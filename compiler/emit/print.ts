/**
 * @file Modules as ts-morph structures, printed three ways: TypeScript, the JavaScript that TypeScript's transpiler
 * makes of it, and declarations.
 */
import type { ClassDeclarationStructure, SourceFile, StatementStructures } from "ts-morph";

/** ts-morph as a module value: loaded only when something is emitted. */
export type Morph = typeof import("ts-morph");

/** The text of a module in its three forms. */
export interface ModuleText {
  readonly ts: string;
  readonly js: string;
  readonly dts: string;
}

/** What of the runtime a part of a module uses, and what it declares. */
export interface Part {
  readonly values: readonly string[];
  readonly types: readonly string[];
  readonly others: readonly StatementStructures[];
  readonly classes: readonly ClassDeclarationStructure[];
}

export const RUNTIME = "deitc/runtime";

/** A comment's end inside a documentation text would end the comment that holds it. */
export const safe = (doc: string): string => doc.replaceAll("*/", "*\\/");

/** The declaration of a class: signatures without bodies, values or the word `async`. */
export function declared({ Scope }: Morph, structure: ClassDeclarationStructure): ClassDeclarationStructure {
  return {
    ...structure,
    hasDeclareKeyword: true,
    properties: (structure.properties ?? []).map(({ initializer: _, ...property }) => property),
    ctors: [{ scope: Scope.Private }],
    methods: (structure.methods ?? []).map(({ statements: _, isAsync: __, ...method }) => method),
  };
}

/** Values and types from the runtime. */
export function imports(morph: Morph, names: readonly string[], types: readonly string[]): StatementStructures {
  return {
    kind: morph.StructureKind.ImportDeclaration,
    moduleSpecifier: RUNTIME,
    namedImports: [...names.map((name) => ({ name })), ...types.map((name) => ({ name, isTypeOnly: true }))],
  };
}

/** Prints a module. @param origin what it was made from, for its first line */
export function printThreeWays(
  morph: Morph, origin: string,
  { ts: full, dts: declarations }: { readonly ts: StatementStructures[]; readonly dts: StatementStructures[] },
): ModuleText {
  const project = new morph.Project({
    useInMemoryFileSystem: true,
    skipLoadingLibFiles: true,
    manipulationSettings: { indentationText: morph.IndentationText.TwoSpaces, newLineKind: morph.NewLineKind.LineFeed },
  });
  const head = `// ${origin}. Generated from a .deit file; edit that file instead.`;
  const print = (path: string, first: string, statements: StatementStructures[]): string => {
    const file: SourceFile = project.createSourceFile(path, { statements });
    return `${first}\n${file.getFullText()}`;
  };
  // `Symbol.asyncDispose` and `URL` are declared by libraries that not every program's settings name.
  const disposable = '/// <reference lib="esnext.disposable" />\n';
  const code = print("index.ts", head, full);
  const ts = `/// <reference types="node" />\n${disposable}${code}`;
  const dts = disposable + print("index.d.ts", head, declarations);
  const { outputText: js } = morph.ts.transpileModule(code, {
    compilerOptions: {
      target: morph.ts.ScriptTarget.ES2022, module: morph.ts.ModuleKind.ESNext, newLine: morph.ts.NewLineKind.LineFeed,
    },
  });
  return { ts, js, dts };
}
