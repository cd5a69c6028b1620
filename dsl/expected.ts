/**
 * @file What may stand at a place, in words: the parser's error texts, by rule and token.
 */
import type { IParserErrorMessageProvider, IToken, TokenType } from "chevrotain";
import { slipHelp } from "./slips.js";
import * as t from "./tokens.js";

/** Words for a missing token where its label alone would not say all that may stand there: by rule, then token. */
const mismatches: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  call: { RParen: "`,` or `)`" },
  list: { RBracket: "`,` or `]`" },
  indices: { RBracket: "`,` or `]`" },
  tensor: { RBracket: "`,` or `]`" },
  params: { RParen: "`,` or `)`" },
  import: { RBrace: "`,` or `}`", Text: "the path of a file, such as `\"./vit.deit\"`" },
  record: { RBrace: "`NAME = value` or `}`" },
  recipe: { LBrace: "`extends` or `{`" },
  expr: { Colon: "`:` and the value for the other case" },
  assignment: { Assign: "`=`" },
  postfix: { Name: "the name of an output" },
  statement: { Name: "a name" },
  block: { Arrow: "`->` and the type of the result", Name: "the name of the block" },
};

/** What may stand right after an opening bracket, by rule. */
const openings: Readonly<Record<string, string>> = {
  call: "an argument", list: "a value", tensor: "a dimension", params: "a parameter",
};

/** Words for a choice none of whose alternatives fits, by rule. */
const choices: Readonly<Record<string, string>> = {
  declaration: "`block`, `model` or `recipe`",
  model: "`(` and parameters, or `extends`",
  member: "`=`, `:` or `(`",
  type: "a type: `int`, `real`, `bool`, `list`, or a shape such as `[B, N, D]`",
  tensor: "a shape such as `[B, N, D]`",
  dimension: "a dimension: a name, a number, `_` or `..`",
  statement: "a statement",
  otherwise: "`{` or `if`",
  index: "an index: a value or a slice such as `1:`",
  string: "a string",
  unary: "an expression",
  primary: "an expression",
  postfix: "an operator",
};

/** Gives chevrotain's exceptions what was expected as their message; the rest of the sentence is the catalogue's. */
export class ErrorWords implements IParserErrorMessageProvider {
  buildMismatchTokenMessage(
    { expected, previous, ruleName }: { expected: TokenType; previous: IToken; ruleName: string }
  ): string {
    const first = openings[ruleName];
    if (first !== undefined && [t.LParen, t.LBracket].includes(previous.tokenType)) {
      return `${first} or ${expected.LABEL ?? ""}`;
    }
    return mismatches[ruleName]?.[expected.name] ?? expected.LABEL ?? expected.name;
  }
  buildNotAllInputParsedMessage(_: { firstRedundant: IToken; ruleName: string }): string {
    return "an operator or the end of the text";
  }
  buildNoViableAltMessage({ ruleName }: { ruleName: string }): string {
    return choices[ruleName] ?? "something else";
  }
  buildEarlyExitMessage({ ruleName }: { ruleName: string }): string {
    return choices[ruleName] ?? "an expression";
  }
}

/** What stands there, in words. */
export function foundWords(found: IToken, eof: TokenType): string {
  if (found.tokenType === eof) return "the end of the file";
  if (found.tokenType === t.Doc) return "a `///` comment";
  const text = found.image.length > 32 ? `${found.image.slice(0, 32)}…` : found.image;
  if (t.isReserved(found)) return `the keyword \`${text}\``;
  return `\`${text}\``;
}

/** A fix for the slips people make, if this looks like one. @param index of `found` in `tokens` */
export function unexpectedHelp(
  found: IToken, expected: string, tokens: readonly IToken[], index: number,
): string | undefined {
  const [type, previous] = [found.tokenType, tokens[index - 1]];
  const foreign = slipHelp(tokens, index, expected);
  if (foreign !== undefined) return foreign;
  if (type === t.Import) return "imports go at the top of the file";
  if (type === t.Doc) return "a `///` comment documents the declaration, parameter or member after it; write `//` here";
  if (t.isReserved(found) && /^(a name|the name of|a parameter)/.test(expected)) {
    return `\`${found.image}\` is a keyword; choose another name`;
  }
  if (type === t.Assign && expected !== "`->` and the type of the result") {
    return "compare with `==`; `=` only defines a name or passes an argument";
  }
  if (type === t.LParen && expected === "`=`") return "give the result a name: `y = f(x)`";
  if (type === t.LParen && expected === "an operator") return "only blocks and ops can be called, by name";
  if (type === t.Comma && /^a (statement|member)/.test(expected)) {
    return "delete it: members and statements have no separator";
  }
  if (type === t.Comma && previous?.tokenType === t.Comma) return "delete one of the two commas";
  if ((type === t.RParen || type === t.RBracket) && previous?.tokenType === t.Comma) {
    return "delete the comma before it";
  }
  return undefined;
}
