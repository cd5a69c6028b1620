/**
 * @file Spans, and going on after a syntax error: at the next statement, member or declaration, told by words of the
 * language and by indentation, so that independent errors are all found and their consequences are not.
 */
import type { IRecognitionException, IToken, TokenType } from "chevrotain";
import { EmbeddedActionsParser, EOF, isRecognitionException, MismatchedTokenException } from "./chevrotain.js";
import type * as ast from "./ast.js";
import { ErrorWords } from "./expected.js";
import { MOST_ERRORS } from "./limits.js";
import { lineIndex } from "./source.js";
import * as t from "./tokens.js";

const statementWords: ReadonlySet<TokenType> = new Set([
  t.Return, t.ParamWord, t.BufferWord, t.Update, t.Input, t.Output, t.For, t.If,
]);

/** Where parsing can go on after an error, by what is being read. */
type Region = "file" | "body" | "members" | "fields";

/** What all grammar rules share. */
export abstract class RecoveringParser extends EmbeddedActionsParser {
  /** The text being parsed: spans point into it. */
  source: ast.Source = { path: "", text: "" };
  /** Offsets of the source's lines, for recovery by indentation. */
  lines: readonly number[] = [0];

  constructor(checkAmbiguity: boolean) {
    super([...t.vocabulary], {
      maxLookahead: 3, recoveryEnabled: false, skipValidations: !checkAmbiguity, errorMessageProvider: new ErrorWords(),
    });
  }

  protected spanOf(token: IToken): ast.Span {
    return { source: this.source, start: token.startOffset, end: t.endOf(token) };
  }

  /** From `first` to the token just read. */
  protected since(first: ast.Span): ast.Span {
    return { source: this.source, start: first.start, end: t.endOf(this.LA(0)) };
  }

  protected nameOf(token: IToken): ast.Name {
    return { text: token.image, span: this.spanOf(token) };
  }

  /** Reads items until their end; what cannot begin one is reported and skipped. */
  protected repeat(region: Region, expected: string, items: () => void): void {
    for (;;) {
      items();
      if (this.RECORDING_PHASE || this.atEnd(region)) return;
      if (region === "fields" && this.LA(1).tokenType !== t.Comma) return;
      this.attempt(region, () => {
        throw new MismatchedTokenException(expected, this.LA(1), this.LA(0));
      });
    }
  }

  private atEnd(region: Region): boolean {
    const type = this.LA(1).tokenType;
    if (type === EOF) return true;
    return region !== "file" && (type === t.RBrace || t.opensDeclaration(this.LA(1)));
  }

  /** Runs `item`; on a syntax error saves it and moves to where the next item of the region may begin. */
  protected attempt(region: Region, item: () => void): void {
    if (this.RECORDING_PHASE) return item();
    const start = this.LA(1);
    try {
      item();
    } catch (error) {
      this.save(error);
      if (this.errors.length >= MOST_ERRORS) while (this.LA(1).tokenType !== EOF) this.SKIP_TOKEN();
      else this.skip(region, start);
    }
  }

  /**
   * Runs `head`; after a syntax error in it, still reads the body for errors of its own, then gives up the declaration.
   */
  protected withHead<T>(head: () => T, body: () => ast.Body): { readonly head: T; readonly body: ast.Body } {
    if (this.RECORDING_PHASE) return { head: head(), body: body() };
    let result: T;
    try {
      result = head();
    } catch (error) {
      this.save(error);
      while (!this.stopsHead(this.LA(1))) this.SKIP_TOKEN();
      if (this.LA(1).tokenType === t.LBrace) body();
      throw error;
    }
    return { head: result, body: body() };
  }

  private stopsHead(token: IToken): boolean {
    return token.tokenType === t.LBrace || token.tokenType === EOF || (
      t.opensDeclaration(token) && this.opensLine(token)
    );
  }

  /** Notes a syntax error; anything else is a bug and goes on. */
  private save(error: unknown): void {
    if (!(error instanceof Error) || !isRecognitionException(error)) throw error;
    // `isRecognitionException` is chevrotain's test for exactly this type, but no type guard.
    const found = error as IRecognitionException;
    // A second error at one token is the first's, met again by an enclosing rule.
    if (!this.errors.some((one) => one.token === found.token)) this.errors = [...this.errors, found];
  }

  /** Skips at least to the next line, and over balanced braces, until an item may begin or the region ends. */
  private skip(region: Region, start: IToken): void {
    const column = this.columnOf(start);
    let braces = 0;
    let moved = this.LA(1) !== start;
    for (; this.LA(1).tokenType !== EOF; this.SKIP_TOKEN(), moved = true) {
      const next = this.LA(1);
      const type = next.tokenType;
      if (moved && t.opensDeclaration(next) && this.opensLine(next)) return;
      if (moved && region === "file" && type === t.Doc && braces === 0 && this.columnOf(next) <= column) return;
      if (type === t.LBrace) braces++;
      else if (type === t.RBrace && braces > 0) braces--;
      else if (type === t.RBrace && region !== "file") return;
      else if (moved && braces === 0 && this.mayBegin(region, next, column)) return;
    }
  }

  private mayBegin(region: Region, token: IToken, column: number): boolean {
    if (region === "file" || !this.opensLine(token)) return false;
    if (region === "body" && statementWords.has(token.tokenType)) return true;
    return (token.tokenType === t.Name || token.tokenType === t.Doc) && this.columnOf(token) <= column;
  }

  /** Whether the next token is the first of its line. */
  private opensLine(next: IToken): boolean {
    const previous = this.LA(0);
    if (Number.isNaN(previous.startOffset)) return true;
    return lineIndex(this.lines, previous.startOffset) < lineIndex(this.lines, next.startOffset);
  }

  /** Characters between a token and the start of its line. */
  private columnOf(token: IToken): number {
    if (token.tokenType === EOF) return 0;
    return token.startOffset - (this.lines[lineIndex(this.lines, token.startOffset)] ?? 0);
  }
}
