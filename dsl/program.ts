/**
 * @file What the front end hands to the compiler: all files read, names resolved, every declaration known.
 */
import type * as ast from "./ast.js";

/** A block, model or recipe together with the file whose names its body sees. */
export interface Declared<D extends ast.Declaration = ast.Declaration> {
  readonly declaration: D;
  readonly scope: Scope;
}

/** The names one file can use: its own declarations and its imports, by local name. */
export interface Scope {
  readonly source: ast.Source;
  lookup(name: string): Declared | undefined;
  /** Every name, for suggestions. */
  names(): readonly string[];
  /**
   * Whether `name` stands, or may stand, for something whose own text or import has errors. Who uses it is not to
   * blame, and cannot be checked in full.
   */
  missing(name: string): boolean;
}

/** The entry file with everything it imports. Declarations are those of the entry file itself, in source order. */
export interface Program {
  readonly entry: ast.Source;
  readonly scope: Scope;
  readonly blocks: readonly Declared<ast.Block>[];
  readonly models: readonly Declared<ast.Model>[];
  readonly recipes: readonly Declared<ast.Recipe>[];
  /** Every source read, entry first, then imports in order of first use: what a watcher watches. */
  readonly sources: readonly ast.Source[];
}
