/**
 * @file The token table, in words, and the lexer. A string with `{expr}` in it becomes several tokens, so that the
 * parser sees the expressions in place.
 */
import type { IToken, TokenType } from "chevrotain";
import { createToken, Lexer, tokenMatcher } from "./chevrotain.js";
import type { Source, Span } from "./ast.js";
import { Diagnostics } from "./diagnostics.js";

const token = (
  name: string, pattern: RegExp | string, label: string
): TokenType => createToken({ name, pattern, label });

export const Name = token("Name", /[A-Za-z_][A-Za-z_0-9]*/, "a name");
const keyword = (text: string): TokenType =>
  createToken({ name: `Keyword_${text}`, pattern: text, longer_alt: Name, label: `\`${text}\`` });
const sign = (name: string, text: string): TokenType => token(name, text, `\`${text}\``);

const Space = createToken({ name: "Space", pattern: /[ \t\r\n\uFEFF]+/, group: Lexer.SKIPPED, line_breaks: true });
export const Doc = token("Doc", /\/\/\/(?!\/)[^\r\n]*/, "a `///` comment");
const Comment = createToken({ name: "Comment", pattern: /\/\/[^\r\n]*/, group: "comments" });

export const Text = token("Text", /"(?:[^"\\{\r\n]|\\[^\r\n]|\{[^{}"\r\n]*\})*"/, "a string");
const BadText = token("BadText", /"[^\r\n]*/, "a string");
/** `"blocks.{`, `}.b{`, `}"`: made from a Text with expressions. */
export const TemplateOpen = token("TemplateOpen", Lexer.NA, "a string");
export const TemplateNext = token("TemplateNext", Lexer.NA, "`}` of the string");
export const TemplateClose = token("TemplateClose", Lexer.NA, "`}` of the string");

const NUMBER = /\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/.source;
export const Quantity = token(
  "Quantity", new RegExp(`${NUMBER} (?:images?|epochs?|steps?)(?![A-Za-z_0-9])`), "a count"
);
export const Num = token("Num", new RegExp(`${NUMBER}(?![A-Za-z_0-9]|\\.\\d)`), "a number");
const BadNumber = token("BadNumber", /\d+(?:\.\d+)*[A-Za-z_0-9]*/, "a number");

export const Import = keyword("import");
export const From = keyword("from");
export const BlockWord = keyword("block");
export const ModelWord = keyword("model");
export const RecipeWord = keyword("recipe");
export const Extends = keyword("extends");
export const Frozen = keyword("frozen");
export const As = keyword("as");
export const ParamWord = keyword("param");
export const BufferWord = keyword("buffer");
export const Update = keyword("update");
export const Input = keyword("input");
export const Output = keyword("output");
export const Return = keyword("return");
export const For = keyword("for");
export const In = keyword("in");
export const If = keyword("if");
export const Else = keyword("else");
export const NoDecay = keyword("no_decay");
export const And = keyword("and");
export const Or = keyword("or");
export const Not = keyword("not");
export const True = keyword("true");
export const False = keyword("false");
export const None = keyword("none");
export const IntWord = keyword("int");
export const RealWord = keyword("real");
export const BoolWord = keyword("bool");
export const ListWord = keyword("list");
export const I32 = keyword("i32");
const keywords = [
  Import, From, BlockWord, ModelWord, RecipeWord, Extends, Frozen, As, ParamWord, BufferWord, Update, Input, Output,
  Return, For, In, If, Else, NoDecay, And, Or, Not, True, False, None, IntWord, RealWord, BoolWord, ListWord, I32,
];

export const Underscore = createToken({ name: "Underscore", pattern: "_", longer_alt: Name, label: "`_`" });
export const DotDot = sign("DotDot", "..");
export const Dot = sign("Dot", ".");
export const Arrow = sign("Arrow", "->");
export const Equal = sign("Equal", "==");
export const NotEqual = sign("NotEqual", "!=");
export const AtMost = sign("AtMost", "<=");
export const AtLeast = sign("AtLeast", ">=");
export const Less = sign("Less", "<");
export const Greater = sign("Greater", ">");
export const Assign = sign("Assign", "=");
export const Plus = sign("Plus", "+");
export const Minus = sign("Minus", "-");
export const Times = sign("Times", "*");
export const Over = sign("Over", "/");
export const Modulo = sign("Modulo", "%");
export const Power = sign("Power", "^");
export const Tilde = sign("Tilde", "~");
export const Question = sign("Question", "?");
export const Colon = sign("Colon", ":");
export const Comma = sign("Comma", ",");
export const LParen = sign("LParen", "(");
export const RParen = sign("RParen", ")");
export const LBracket = sign("LBracket", "[");
export const RBracket = sign("RBracket", "]");
export const LBrace = sign("LBrace", "{");
export const RBrace = sign("RBrace", "}");

/** Longest name: names become parts of file names. */
const MOST_NAME_CHARACTERS = 80;
/**
 * What ends a line for some programs and not for others, or drives terminals: in strings and comments too, since what
 * is made from the source quotes it in comments.
 */
const HIDDEN = /[\0-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F\u2028\u2029]/;

/** What no other token begins with: read as a token, for the lexer is slow at reporting many errors of its own. */
const LEGAL = / |[\t\r\n\uFEFF\w"/.(){}[\]<>=+\-*%^~?:,]/;
const illegal = Array.from({ length: 0x10000 }, (_, code) => code).filter(
  (code) => !LEGAL.test(String.fromCharCode(code))
);
const Unknown = createToken({
  name: "Unknown", pattern: /[^ \t\r\n\uFEFF\w"/.(){}[\]<>=+\-*%^~?:,]+/,
  start_chars_hint: illegal, label: "a foreign character",
});

const lexed = [
  Space, Doc, Comment, Text, BadText, Quantity, Num, BadNumber,
  // `int` before `in`: the lexer takes the first that fits.
  ...[...keywords].sort((a, b) => b.name.length - a.name.length), Underscore, Name,
  DotDot, Dot, Arrow, Equal, NotEqual, AtMost, AtLeast, Less, Greater, Assign, Plus, Minus, Times, Over, Modulo, Power,
  Tilde, Question, Colon, Comma, LParen, RParen, LBracket, RBracket, LBrace, RBrace, Unknown,
];
/** Every token type the parser may see. */
export const vocabulary: readonly TokenType[] = [...lexed, TemplateOpen, TemplateNext, TemplateClose];

const lexer = new Lexer(lexed, { positionTracking: "onlyOffset", ensureOptimizations: true });
const reserved: ReadonlySet<TokenType> = new Set(keywords);

/** Whether a token is a word of the language and so no name. */
export const isReserved = (t: IToken): boolean => reserved.has(t.tokenType);
const declarationWords: ReadonlySet<TokenType> = new Set([Import, BlockWord, ModelWord, RecipeWord]);
/** Whether a token is a word that only opens an import or a declaration. */
export const opensDeclaration = (t: IToken): boolean => declarationWords.has(t.tokenType);
export const is = (t: IToken, type: TokenType): boolean => tokenMatcher(t, type);
/** Offset after a token's last character. */
export const endOf = (t: IToken): number => t.startOffset + t.image.length;

/** The tokens of a source, its `//` comments, and what could not be read (those characters are left out). */
interface Lexed {
  readonly tokens: IToken[];
  readonly comments: readonly IToken[];
  readonly diagnostics: Diagnostics;
}

/** Cuts a source into tokens. Stops reporting after `mostErrors`. */
export function lex(source: Source, mostErrors: number): Lexed {
  const { tokens: raw, groups, errors } = lexer.tokenize(source.text);
  const diagnostics = new Diagnostics();
  const tokens: IToken[] = [];
  let left = mostErrors;
  let quietUntil = 0;
  const foreign = (start: number, length: number): void => {
    // One a line: quotes come in pairs, and pasted text is foreign throughout.
    if (left <= 0 || start < quietUntil) return;
    const newline = source.text.indexOf("\n", start);
    quietUntil = newline < 0 ? source.text.length : newline;
    left--;
    const span = { source, start, end: start + length };
    diagnostics.report("unknown_character", unknownCharacter(source.text, start, length), span);
  };
  const hidden = ({ image, startOffset }: IToken): void => {
    const at = image.search(HIDDEN);
    if (at >= 0) foreign(startOffset + at, 1);
  };
  for (const one of raw) {
    const span: Span = { source, start: one.startOffset, end: endOf(one) };
    if (is(one, Unknown)) foreign(span.start, span.end - span.start);
    else {
      if (is(one, Text) || is(one, Doc)) hidden(one);
      if (left > 0 && reportBad(one, span, diagnostics)) left--;
      if (is(one, Text) && one.image.includes("{")) pushTemplate(one, tokens);
      else tokens.push(one);
    }
  }
  for (const { offset, length } of errors) foreign(offset, length);
  const comments = groups["comments"] ?? [];
  quietUntil = 0;
  comments.forEach(hidden);
  return { tokens, comments, diagnostics };
}

function unknownCharacter(text: string, offset: number, length: number): { text: string; code: string; help?: string } {
  const bad = String.fromCodePoint(text.codePointAt(offset) ?? 0);
  const code = `U+${(bad.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
  const meant: Readonly<Record<string, string>> = {
    "'": 'strings take double quotes: `"…"`',
    "“": 'strings take straight quotes: `"…"`',
    "”": 'strings take straight quotes: `"…"`',
    "×": "multiply with `*`",
    "·": "multiply with `*`",
    "−": "subtract with `-`",
    "–": "subtract with `-`",
    "#": "comments begin with `//`",
    ";": "statements need no separator",
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`",
    "→": "write `->`",
    "\u00A0": "this is a no-break space: type a plain one",
    "@": "multiply matrices with `matmul(a, b)`",
  };
  const help = meant[bad];
  const shown = length > 8 ? `${text.slice(offset, offset + 8)}…` : text.slice(offset, offset + length);
  return { text: shown, code, ...(help === undefined ? {} : { help }) };
}

/** Reports a malformed number or string. @returns whether it was one. */
function reportBad(one: IToken, span: Span, diagnostics: Diagnostics): boolean {
  if (is(one, BadNumber)) {
    const text = one.image.length > 24 ? `${one.image.slice(0, 24)}…` : one.image;
    diagnostics.report("bad_number", { text }, span);
  } else if ((is(one, Num) || is(one, Quantity)) && !Number.isFinite(Number.parseFloat(one.image))) {
    diagnostics.report(
      "bad_number", { text: one.image.slice(0, 24), help: "the largest number is about 1.8e308" }, span
    );
  } else if (is(one, Name) && one.image.length > MOST_NAME_CHARACTERS) {
    const values = {
      what: `the name \`${one.image.slice(0, 24)}…\``, size: `${one.image.length} characters`,
      limit: String(MOST_NAME_CHARACTERS), help: "shorten it: names become parts of file names",
    };
    diagnostics.report("too_large", values, span);
  } else if (is(one, BadText)) {
    const closed = /^"(?:[^"\\]|\\.)*"/.test(one.image);
    diagnostics.report("bad_string", closed
      ? {
        why: "a `{` in this string has no matching `}`", help: "write `{expr}` for a value, `\\{` for a literal brace"
      }
      : { why: "this string is not closed on its line", help: "close it with `\"`" }, span);
  } else if (is(one, Text)) {
    const escape = /\\[^"\\nt{}]/.exec(one.image.replace(/\\\\/g, "__"));
    if (escape === null) return false;
    const start = span.start + escape.index;
    const values = { why: `\`${escape[0]}\` is not an escape sequence`, help: "write `\\\\` for a backslash" };
    diagnostics.report("bad_string", values, { ...span, start, end: start + 2 });
  } else {
    return false;
  }
  return true;
}

/** Whether a token is malformed text that was reported when it was read. */
export const isBad = (t: IToken): boolean => is(t, BadNumber) || is(t, BadText);

/** `"a{b}c"` as TemplateOpen `"a{`, the tokens of `b`, TemplateClose `}c"`. */
function pushTemplate(text: IToken, tokens: IToken[]): void {
  const holes = [...text.image.matchAll(/\\.|\{([^{}]*)\}/g)].filter((match) => match[0].startsWith("{"));
  if (holes.length === 0) {
    tokens.push(text);
    return;
  }
  const piece = (tokenType: TokenType, from: number, to: number): IToken => ({
    image: text.image.slice(from, to), startOffset: text.startOffset + from, tokenType,
    tokenTypeIdx: tokenType.tokenTypeIdx ?? 0,
  });
  let from = 0;
  holes.forEach((hole, i) => {
    const open = hole.index + 1;
    tokens.push(piece(i === 0 ? TemplateOpen : TemplateNext, from, open));
    from = open + (hole[1] ?? "").length;
    for (const inner of lexer.tokenize(text.image.slice(open, from)).tokens) {
      if (!is(inner, Unknown)) tokens.push({ ...inner, startOffset: text.startOffset + open + inner.startOffset });
    }
  });
  tokens.push(piece(TemplateClose, from, text.image.length));
}

/** The characters a piece of string text stands for. */
export const unescape = (text: string): string =>
  text.replace(/\\(.)/g, (_, sign: string) => (sign === "n" ? "\n" : sign === "t" ? "\t" : sign));
/** The inverse of `unescape`, fit to stand between quotes. */
export const escape = (text: string): string =>
  text.replace(/["\\{]/g, (sign) => `\\${sign}`).replace(/\n/g, "\\n").replace(/\t/g, "\\t");
