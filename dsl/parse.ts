/**
 * @file Text to syntax tree. Parsing never throws and always ends: limits are checked on the text and on its tokens
 * before the parser runs.
 */
import type { IToken, ParserMethod } from "chevrotain";
import type * as ast from "./ast.js";
import { EOF } from "./chevrotain.js";
import { diagnose } from "./diagnostics.js";
import type { Diagnostic, Note } from "./diagnostics.js";
import { foundWords, unexpectedHelp } from "./expected.js";
import { Grammar } from "./grammar.js";
import { MOST_CHARACTERS, MOST_ERRORS, MOST_TOKENS, MOST_TREE_DEPTH, tooDeep } from "./limits.js";
import { lineIndex, lineStarts, positionOf } from "./source.js";
import * as t from "./tokens.js";

/** Building the grammar's tables takes some 20 ms; every parse sets its whole state anew. */
const grammar = new Grammar();

/** A syntax tree, as far as it could be read, and what is wrong with the text. */
export interface Parsed<T> {
  readonly tree: T | undefined;
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Parses a file. A declaration whose head could not be read is left out of `file`; one with errors in its body is
 * there as far as it was read. Both are named in `broken`.
 */
export function parse(source: ast.Source): { readonly file: ast.File; readonly diagnostics: readonly Diagnostic[] } {
  const { tree, diagnostics, tokens } = run(source, (g) => g.file);
  const [imports, declarations] = [tree?.imports ?? [], tree?.declarations ?? []];
  const damage = tree === undefined ? { broken: new Set<string>(), unclear: true }
    : damageOf(declarations, tokens, diagnostics);
  return { file: { source, imports, declarations, ...damage }, diagnostics };
}

/** Which declarations the errors of a text concern, by name where their name can be read. */
function damageOf(
  declarations: readonly ast.Declaration[], tokens: readonly IToken[], diagnostics: readonly Diagnostic[],
): Pick<ast.File, "broken" | "unclear"> {
  const broken = new Set<string>();
  if (diagnostics.length === 0) return { broken, unclear: false };
  const read = new Map(declarations.map((one) => [one.name.span.start, one]));
  /** Where each attempt at a declaration begins, and its declaration if it was read. */
  const begun: { readonly start: number; readonly declaration: ast.Declaration | undefined }[] = [];
  let unclear = false;
  tokens.forEach((token, i) => {
    if (![t.BlockWord, t.ModelWord, t.RecipeWord].includes(token.tokenType)) return;
    const name = tokens[i + 1];
    const declaration = name && read.get(name.startOffset);
    begun.push({ start: token.startOffset, declaration });
    if (declaration !== undefined) return;
    if (name?.tokenType === t.Name) broken.add(name.image);
    else unclear = true;
  });
  for (const { span } of diagnostics) {
    // An error at the word that opens a declaration is about what stands before it.
    const around = begun.findLast(({ start }) => start < span.start);
    if (around === undefined) unclear = true;
    else if (around.declaration !== undefined) {
      if (span.start < around.declaration.span.end) broken.add(around.declaration.name.text);
      else unclear = true;
    }
  }
  return { broken, unclear };
}

/** Parses one expression, such as a rewrite rule's. */
export function parseExpression(source: ast.Source): Parsed<ast.Expr> {
  return run(source, (g) => g.expr);
}

/** Parses `(x: [..], keep = false) -> [..]`. */
export function parseSignatureText(source: ast.Source): Parsed<{
  readonly params: readonly ast.Param[]; readonly result: ast.Type
}> {
  return run(source, (g) => g.signature);
}

/** What was parsed, with the tokens it was read from. */
interface Run<T> extends Parsed<T> {
  readonly tokens: readonly IToken[];
}

/** Runs one top rule over a source. `tree` is undefined if the rule itself failed, or a limit was passed. */
function run<T>(source: ast.Source, rule: (g: Grammar) => ParserMethod<[], T>): Run<T> {
  if (source.text.length > MOST_CHARACTERS) {
    const size = `${(source.text.length / MOST_CHARACTERS).toFixed(1)} MiB of text`;
    const start = { source, start: 0, end: 1 };
    const values = { what: `\`${source.path}\``, size, limit: "1 MiB", help: "is this a `.deit` file?" };
    return { tree: undefined, diagnostics: [diagnose("too_large", values, start)], tokens: [] };
  }
  const { tokens, diagnostics } = t.lex(source, MOST_ERRORS);
  const bad = diagnostics.list();
  if (bad.length >= MOST_ERRORS) return { tree: undefined, diagnostics: bad, tokens };
  const last = tokens[MOST_TOKENS];
  if (last !== undefined) {
    const span = { source, start: last.startOffset, end: t.endOf(last) };
    const size = `${tokens.length} tokens`;
    diagnostics.report(
      "too_large", { what: `\`${source.path}\``, size, limit: String(MOST_TOKENS), help: "split it into files" }, span
    );
    return { tree: undefined, diagnostics: diagnostics.list(), tokens };
  }
  const deep = tooDeep(tokens);
  if (deep !== undefined) {
    const what = deep.limit === MOST_TREE_DEPTH ? "this expression" : "the text";
    diagnostics.report(
      "too_deep", { what, limit: deep.limit }, { source, start: deep.token.startOffset, end: t.endOf(deep.token) }
    );
    return { tree: undefined, diagnostics: diagnostics.list(), tokens };
  }
  grammar.source = source;
  grammar.lines = lineStarts(source.text);
  grammar.input = tokens;
  // Chevrotain gives undefined, whatever the rule's type, when the rule itself failed.
  const tree = rule(grammar).call(grammar) as T | undefined;
  const errorLines = new Set(bad.map((d) => lineIndex(grammar.lines, d.span.start)));
  for (const { token, message } of grammar.errors) {
    const found = unexpected(source, tokens, token, message);
    // What a malformed token breaks, on its line or at the next token, is its follow-on.
    const before = tokens[(token.tokenType === EOF ? tokens.length : tokens.indexOf(token)) - 1];
    const places = [found.span.start, ...(before === undefined ? [] : [before.startOffset])];
    const follows = t.isBad(token) || places.some((at) => errorLines.has(lineIndex(grammar.lines, at)));
    if (!follows) diagnostics.add(found);
  }
  return { tree, diagnostics: diagnostics.list().slice(0, MOST_ERRORS), tokens };
}

/** A syntax error as a diagnostic; `expected` is in words. */
function unexpected(source: ast.Source, tokens: readonly IToken[], found: IToken, expected: string): Diagnostic {
  const atEnd = found.tokenType === EOF;
  const index = atEnd ? tokens.length : tokens.indexOf(found);
  const end = source.text.trimEnd().length;
  const span = atEnd
    ? { source, start: Math.max(0, end - 1), end }
    : { source, start: found.startOffset, end: t.endOf(found) };
  const notes = unclosed(source, tokens, index, expected);
  const help = notes.length > 0 ? undefined : unexpectedHelp(found, expected, tokens, index);
  const values = { expected, found: foundWords(found, EOF), ...(help === undefined ? {} : { help }) };
  return diagnose("unexpected_token", values, span, { notes });
}

const pairs: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/** Where the bracket opened that should have been closed before token `index`, if that is on another line. */
function unclosed(source: ast.Source, tokens: readonly IToken[], index: number, expected: string): readonly Note[] {
  const open: IToken[] = [];
  for (const token of tokens.slice(0, index)) {
    if (Object.hasOwn(pairs, token.image)) open.push(token);
    else if (Object.values(pairs).includes(token.image)) open.pop();
  }
  const opener = open.at(-1);
  if (opener === undefined || !expected.includes(`\`${pairs[opener.image]}\``)) return [];
  const next = tokens[index];
  if (opener.image === "{" && next !== undefined && !t.opensDeclaration(next)) return [];
  const span = { source, start: opener.startOffset, end: t.endOf(opener) };
  const at = next?.startOffset ?? source.text.length;
  if (positionOf(source, opener.startOffset).line === positionOf(source, at).line) return [];
  return [{ text: `this \`${opener.image}\` is not closed`, span }];
}
