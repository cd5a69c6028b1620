/**
 * @file From an entry file to a Program: reads imports through a host, gives every file its names, checks declarations.
 */
import type * as ast from "./ast.js";
import { checkDeclarations, type Shipped } from "./checks.js";
import { Diagnostics } from "./diagnostics.js";
import type { Diagnostic } from "./diagnostics.js";
import { parse } from "./parse.js";
import type { Declared, Program, Scope } from "./program.js";
import { checkRecipes } from "./recipe.js";
import { faultyIn, unsoundIn } from "./soundness.js";
import type { RecipeCalls } from "./vocabulary.js";

/** Why a source could not be had. */
export type ReadError = "not_found" | "directory" | "too_large" | "unreadable" | "binary";

/** All file access of the front end. */
export interface SourceHost {
  /** The text at a path that `resolve` gave. */
  read(path: string): { readonly text: string } | { readonly error: ReadError };
  /**
   * The one path by which diagnostics and `read` know the file that `from` imports as `spec`; with `from` undefined,
   * the
   * file a person named. An import that leaves the project is "outside", and is neither read nor looked for.
   */
  resolve(from: string | undefined, spec: string): { readonly path: string } | {
    readonly error: "outside" | "not_found"
  };
  /** What may be imported from anywhere, as import statements spell it: for suggestions. */
  library?(): readonly string[];
}

/** What a program may call. */
export interface LoadOptions {
  /** Every built-in name that a body may call: ops, scalar functions, initializers. */
  readonly opNames: ReadonlySet<string>;
  /** What recipes may call, with signatures. */
  readonly calls: RecipeCalls;
}

/** Most files in one program. */
const MOST_FILES = 256;

/** Most blocks, models and recipes in one program. */
const MOST_DECLARATIONS = 2048;

/** A file with the names it sees. */
interface Unit {
  readonly file: ast.File;
  readonly scope: Scope;
  readonly declared: readonly Declared[];
  readonly names: Map<string, Declared>;
  /** Names of broken declarations and of imports that failed. */
  readonly missing: Set<string>;
}

/** What can be had of an entry file and all it imports. */
export interface Loaded {
  /** There when nothing is wrong. */
  readonly program?: Program;
  /**
   * There when the entry file could be read: the program with only those declarations that no error concerns, neither
   * in themselves nor in what they use. They can be compiled and checked further, whatever is wrong elsewhere.
   */
  readonly sound?: Program;
  /** The entry's declarations that are not in `sound`, as far as they were read. */
  readonly leftOut: readonly LeftOut[];
  readonly diagnostics: readonly Diagnostic[];
}

/** A declaration with errors: in its own text, or else in something it uses. */
export interface LeftOut {
  readonly declaration: ast.Declaration;
  readonly faulty: boolean;
}

/** Reads `entryPath` and all it imports, and checks what can be checked without shapes. */
export function loadProgram(entryPath: string, host: SourceHost, options: LoadOptions): Loaded {
  const loader = new Loader(host, options);
  const entry = loader.entry(entryPath);
  const { diagnostics } = loader;
  const all = loader.all();
  const broken = faultyIn(all, diagnostics.list());
  const whole = all.filter(({ declaration }) => !broken.has(declaration));
  checkDeclarations(whole, { ...options, shipped: loader.shipped }, diagnostics);
  const unknown = unsoundIn(all, diagnostics.list());
  checkRecipes(all, (recipe) => !unknown.has(recipe), options, diagnostics);
  const found = diagnostics.list();
  if (entry === undefined) return { leftOut: [], diagnostics: found };
  if (found.length === 0) {
    const program = programOf(entry, loader.sources(), new Set());
    return { program, sound: program, leftOut: [], diagnostics: [] };
  }
  const [faulty, unsound] = [faultyIn(all, found), unsoundIn(all, found)];
  const leftOut = entry.declared.filter(({ declaration }) => unsound.has(declaration)).map(
    ({ declaration }) => ({ declaration, faulty: faulty.has(declaration) }));
  return { sound: programOf(entry, loader.sources(), unsound), leftOut, diagnostics: found };
}

function programOf(
  { file, declared, scope }: Unit, sources: readonly ast.Source[], without: ReadonlySet<ast.Declaration>,
): Program {
  // The kind of a declaration decides its type.
  const ofKind = <D extends ast.Declaration>(kind: D["kind"]): readonly Declared<D>[] => declared.filter(
    (one): one is Declared<D> => one.declaration.kind === kind && !without.has(one.declaration));
  return {
    entry: file.source, scope, sources,
    blocks: ofKind<ast.Block>("block"), models: ofKind<ast.Model>("model"), recipes: ofKind<ast.Recipe>("recipe"),
  };
}

/** A file of the library, and how it is imported. */
interface LibraryFile {
  readonly spec: string;
  readonly file: ast.File;
}

/** All files of a host's library that can be read. */
export const readLibrary = (host: SourceHost): readonly LibraryFile[] =>
  (host.library?.() ?? []).flatMap((spec) => {
    const resolved = host.resolve(undefined, spec);
    const found = "path" in resolved ? host.read(resolved.path) : resolved;
    return "text" in found ? [{ spec, file: parse({ path: spec, text: found.text }).file }] : [];
  });

class Loader {
  readonly diagnostics = new Diagnostics();
  private readonly units = new Map<string, Unit | undefined>();
  private readonly read: ast.Source[] = [];
  private declarations = 0;
  private library: readonly LibraryFile[] | undefined;

  constructor(private readonly host: SourceHost, private readonly options: LoadOptions) {}

  all(): readonly Declared[] {
    return [...this.units.values()].flatMap((unit) => unit?.declared ?? []);
  }

  sources(): readonly ast.Source[] {
    return this.read;
  }

  entry(path: string): Unit | undefined {
    const resolved = this.host.resolve(undefined, path);
    const source: ast.Source = { path, text: "" };
    const nowhere = { source, start: 0, end: 0 };
    if ("error" in resolved) {
      this.diagnostics.report("file_not_found", { path }, nowhere);
      return undefined;
    }
    return this.load(resolved.path, nowhere, []);
  }

  /** Reads one file, once. @param at what asked for it. @param stack the files being read, entry first. */
  private load(path: string, at: ast.Span, stack: readonly string[]): Unit | undefined {
    if (this.units.has(path)) return this.units.get(path);
    this.units.set(path, undefined);
    if (this.read.length >= MOST_FILES) {
      this.diagnostics.report("too_many", { what: "files", limit: MOST_FILES, help: "import fewer files" }, at);
      return undefined;
    }
    const found = this.host.read(path);
    if ("error" in found) {
      this.reportUnread(path, found.error, at);
      return undefined;
    }
    const source: ast.Source = { path, text: found.text };
    this.read.push(source);
    const { file, diagnostics } = parse(source);
    this.declarations += file.declarations.length;
    if (this.declarations > MOST_DECLARATIONS) {
      this.diagnostics.report(
        "too_many", {
          what: "declarations", count: this.declarations, limit: MOST_DECLARATIONS, help: "import fewer files"
        }, at
      );
      return undefined;
    }
    this.diagnostics.addAll(diagnostics);
    const unit = this.unitOf(file);
    this.declareOwn(unit);
    for (const one of file.imports) this.import(one, unit, [...stack, path]);
    this.units.set(path, unit);
    return unit;
  }

  /** Where the library declares something, by kind and name; read when a name is unknown, and once. */
  readonly shipped: Shipped = (kind) => {
    this.library ??= readLibrary(this.host);
    // Of several files with a block of one name, those that hold blocks alone are meant to be imported.
    const isBlocks = ({ file }: LibraryFile): boolean => file.declarations.every((one) => one.kind === "block");
    const files = [...this.library.filter((one) => !isBlocks(one)), ...this.library.filter(isBlocks)];
    return new Map(files.flatMap(({ spec, file }) =>
      file.declarations.filter((one) => one.kind === kind).map(({ name }) => [name.text, spec] as const)));
  };

  private unitOf(file: ast.File): Unit {
    const names = new Map<string, Declared>();
    const missing = new Set(file.broken);
    const scope: Scope = {
      source: file.source, lookup: (name) => names.get(name), names: () => [...names.keys()],
      missing: (name) => !this.options.opNames.has(name)
        && (missing.has(name) || (file.unclear && !names.has(name))),
    };
    const declared = file.declarations.map((declaration) => ({ declaration, scope }));
    return { file, scope, declared, names, missing };
  }

  private reportUnread(path: string, error: ReadError, at: ast.Span): void {
    switch (error) {
      case "not_found":
        if (at.source.text === "") this.diagnostics.report("file_not_found", { path }, at);
        else this.diagnostics.report("import_not_found", { spec: path }, at);
        return;
      case "too_large":
        this.diagnostics.report(
          "too_large", {
            what: `\`${path}\``, size: "more than 1 MiB", limit: "1 MiB", help: "is this a `.deit` file?"
          }, at
        );
        return;
      case "directory":
      case "binary":
      case "unreadable":
        this.diagnostics.report("unreadable_file", { path, why: error }, at);
        return;
      default:
        error satisfies never;
    }
  }

  private declareOwn(unit: Unit): void {
    const { file, declared, names } = unit;
    const imported = new Map(file.imports.flatMap((one) => one.names.map((name) => [name.text, name] as const)));
    for (const one of declared) {
      const { name, kind } = one.declaration;
      const other = names.get(name.text)?.declaration.name ?? imported.get(name.text);
      if (other !== undefined) this.duplicate(unit, `the ${kind}`, name, other);
      else names.set(name.text, one);
      this.checkShadow(name, kind);
    }
  }

  private duplicate(unit: Unit, what: string, name: ast.Name, first: ast.Name): void {
    unit.missing.add(name.text);
    const [earlier, later] = name.span.start < first.span.start ? [name, first] : [first, name];
    const notes = [{ text: `the first \`${name.text}\` is here`, span: earlier.span }];
    this.diagnostics.report("duplicate_name", { name: name.text, what }, later.span, { notes });
  }

  private checkShadow(name: ast.Name, what: string): void {
    if (this.options.opNames.has(name.text)) {
      this.diagnostics.report("shadows_op", { name: name.text, what }, name.span);
    }
  }

  /** Brings the names of one import in. */
  private import(one: ast.Import, unit: Unit, stack: readonly string[]): void {
    this.bringIn(one, unit, stack);
    for (const { text } of one.names) if (!unit.names.has(text)) unit.missing.add(text);
  }

  private bringIn(one: ast.Import, unit: Unit, stack: readonly string[]): void {
    const spec = one.from.parts.map((part) => (typeof part === "string" ? part : "{…}")).join("");
    const resolved = this.resolveImport(unit.file.source.path, spec, one);
    if (resolved === undefined) return;
    const start = stack.indexOf(resolved);
    if (start >= 0) {
      this.diagnostics.report("import_cycle", { cycle: [...stack.slice(start), resolved] }, one.span);
      return;
    }
    const target = this.load(resolved, one.from.span, stack);
    const seen = new Map<string, ast.Name>();
    for (const name of one.names) {
      const first = seen.get(name.text);
      if (first !== undefined || unit.names.has(name.text)) {
        if (first !== undefined) this.duplicate(unit, "the name", name, first);
        else if (!unit.declared.some((d) => d.declaration.name.text === name.text)) {
          this.duplicateImport(name, unit, one);
        }
        continue;
      }
      seen.set(name.text, name);
      if (target === undefined) continue;
      const found = target.declared.find((d) => d.declaration.name.text === name.text);
      if (target.scope.missing(name.text)) unit.missing.add(name.text);
      if (found !== undefined) unit.names.set(name.text, found);
      else if (!unit.file.unclear && !target.scope.missing(name.text)) {
        const known = target.declared.map((d) => d.declaration.name.text);
        this.diagnostics.report("unknown_import", { name: name.text, from: spec, known }, name.span);
      }
    }
  }

  private duplicateImport(name: ast.Name, unit: Unit, one: ast.Import): void {
    const earlier = unit.file.imports.slice(0, unit.file.imports.indexOf(one)).flatMap((other) => other.names);
    const first = earlier.find((other) => other.text === name.text);
    if (first !== undefined) this.duplicate(unit, "the name", name, first);
  }

  /** The host's path of an import, or undefined with the error reported. */
  private resolveImport(from: string, spec: string, one: ast.Import): string | undefined {
    const span = one.from.span;
    const wrongForm = importForm(spec);
    if (wrongForm !== undefined) {
      this.diagnostics.report("import_not_found", { spec, help: wrongForm }, span);
      return undefined;
    }
    const resolved = this.host.resolve(from, spec);
    if ("path" in resolved) return resolved.path;
    if (resolved.error === "outside") this.diagnostics.report("import_outside", { spec }, span);
    else this.diagnostics.report("import_not_found", { spec }, span);
    return undefined;
  }
}

/** What is wrong with the form of an import, as a help, or undefined. */
function importForm(spec: string): string | undefined {
  if (/[\\\0{}]|:\/\//.test(spec)) return "write a plain path with forward slashes, such as `\"./vit.deit\"`";
  if (spec.startsWith("/")) {
    return "absolute paths are not imported; write it relative to this file, such as `\"./vit.deit\"`";
  }
  if (!/^(\.\.?|deitc)\//.test(spec)) {
    return `write \`"./${spec}"\` for a file beside this one, \`"deitc/${spec}"\` for a shipped model`;
  }
  // An import that leaves the project is reported as that, whatever it names.
  if (!spec.endsWith(".deit") && !spec.startsWith("../")) return "only `.deit` files are imported";
  return undefined;
}
