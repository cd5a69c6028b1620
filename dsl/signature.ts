/**
 * @file Signatures of ops, written in the language's own syntax: `(x: [..], axis: list, keep = false) -> [..]`.
 */
import type { Param, Type } from "./ast.js";
import { renderDiagnostics } from "./diagnostics.js";
import { parseSignatureText } from "./parse.js";

/** What a callable takes and gives. */
export interface Signature {
  readonly params: readonly Param[];
  readonly result: Type;
}

/** Parses a signature. @throws Error with the diagnostics: signatures are ours, never the user's. */
export function parseSignature(text: string): Signature {
  const { tree, diagnostics } = parseSignatureText({ path: "signature", text });
  if (tree === undefined || diagnostics.length > 0) {
    throw new Error(`signature \`${text}\`:\n${renderDiagnostics(diagnostics)}`);
  }
  return tree;
}

/** Parameters of a call of recipes, whose signature states no result. @throws Error as `parseSignature` does */
export const paramsOf = (signature: string): readonly Param[] => parseSignature(`${signature} -> []`).params;
