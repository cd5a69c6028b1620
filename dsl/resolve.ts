/**
 * @file From an entry file to a Program: reads imports through a host, gives every file its names, checks declarations.
 */
import type * as ast from "./ast.js";
import { checkDeclarations } from "./checks.js";
import { Diagnostics } from "./diagnostics.js";
import type { Diagnostic } from "./diagnostics.js";
import { parse } from "./parse.js";
import type { Declared, Program, Scope } from "./program.js";
import { checkRecipes } from "./recipe.js";
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
  readonly declared: readonly Declared[];
  readonly names: Map<string, Declared>;
}

/** Reads `entryPath` and all it imports. `program` is there when nothing is wrong. */
export function loadProgram(
  entryPath: string, host: SourceHost, options: LoadOptions,
): { readonly program?: Program; readonly diagnostics: readonly Diagnostic[] } {
  const loader = new Loader(host, options);
  const entry = loader.entry(entryPath);
  const diagnostics = loader.diagnostics;
  if (diagnostics.empty) checkDeclarations(loader.all(), options.opNames, diagnostics);
  if (diagnostics.empty) checkRecipes(loader.all(), options, diagnostics);
  if (entry === undefined || !diagnostics.empty) return { diagnostics: diagnostics.list() };
  return { program: programOf(entry, loader.sources()), diagnostics: [] };
}

function programOf(entry: Unit, sources: readonly ast.Source[]): Program {
  // The kind of a declaration decides its type.
  const ofKind = <D extends ast.Declaration>(kind: D["kind"]): readonly Declared<D>[] =>
    entry.declared.filter((one): one is Declared<D> => one.declaration.kind === kind);
  return {
    entry: entry.file.source, scope: scopeOf(entry.file.source, entry.names), sources,
    blocks: ofKind<ast.Block>("block"), models: ofKind<ast.Model>("model"), recipes: ofKind<ast.Recipe>("recipe"),
  };
}

const scopeOf = (source: ast.Source, names: ReadonlyMap<string, Declared>): Scope => ({
  source, lookup: (name) => names.get(name), names: () => [...names.keys()],
});

class Loader {
  readonly diagnostics = new Diagnostics();
  private readonly units = new Map<string, Unit | undefined>();
  private readonly read: ast.Source[] = [];
  private declarations = 0;

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
    const names = new Map<string, Declared>();
    const scope = scopeOf(source, names);
    const unit: Unit = { file, declared: file.declarations.map((declaration) => ({ declaration, scope })), names };
    this.declareOwn(unit);
    for (const one of file.imports) this.import(one, unit, diagnostics.length > 0, [...stack, path]);
    this.units.set(path, unit);
    return unit;
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

  private declareOwn({ file, declared, names }: Unit): void {
    const imported = new Map(file.imports.flatMap((one) => one.names.map((name) => [name.text, name] as const)));
    for (const one of declared) {
      const { name, kind } = one.declaration;
      const other = names.get(name.text)?.declaration.name ?? imported.get(name.text);
      if (other !== undefined) this.duplicate(`the ${kind}`, name, other);
      else names.set(name.text, one);
      this.checkShadow(name, kind);
    }
  }

  private duplicate(what: string, name: ast.Name, first: ast.Name): void {
    const [earlier, later] = name.span.start < first.span.start ? [name, first] : [first, name];
    const notes = [{ text: `\`${name.text}\` was first given here`, span: earlier.span }];
    this.diagnostics.report("duplicate_name", { name: name.text, what }, later.span, { notes });
  }

  private checkShadow(name: ast.Name, what: string): void {
    if (this.options.opNames.has(name.text)) {
      this.diagnostics.report("shadows_op", { name: name.text, what }, name.span);
    }
  }

  /** Brings the names of one import in. @param broken whether the importing file has syntax errors. */
  private import(one: ast.Import, unit: Unit, broken: boolean, stack: readonly string[]): void {
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
        if (first !== undefined) this.duplicate("the import", name, first);
        else if (!unit.declared.some((d) => d.declaration.name.text === name.text)) {
          this.duplicateImport(name, unit, one);
        }
        continue;
      }
      seen.set(name.text, name);
      if (target === undefined) continue;
      const found = target.declared.find((d) => d.declaration.name.text === name.text);
      if (found !== undefined) unit.names.set(name.text, found);
      else if (!broken && !this.isBroken(target)) {
        const known = target.declared.map((d) => d.declaration.name.text);
        this.diagnostics.report("unknown_import", { name: name.text, from: spec, known }, name.span);
      }
    }
  }

  private duplicateImport(name: ast.Name, unit: Unit, one: ast.Import): void {
    const earlier = unit.file.imports.slice(0, unit.file.imports.indexOf(one)).flatMap((other) => other.names);
    const first = earlier.find((other) => other.text === name.text);
    if (first !== undefined) this.duplicate("the import", name, first);
  }

  /** Whether a file's declarations may be incomplete, so that a missing one is no news. */
  private isBroken(unit: Unit): boolean {
    return this.diagnostics.list().some((d) => d.span.source === unit.file.source && d.code !== "duplicate_name");
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
