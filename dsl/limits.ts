/**
 * @file Limits that are checked on tokens before the parser runs: a recursive parser, and everything that walks its
 * trees, must not overflow the stack on any input.
 */
import type { IToken } from "chevrotain";
import * as t from "./tokens.js";

/** Greatest source, in UTF-16 units: 1 MiB. */
export const MOST_CHARACTERS = 1 << 20;
/** Most tokens in a source: some 40 000 lines. */
export const MOST_TOKENS = 200_000;
/**
 * Greatest depth of brackets, blocks, unary operators, powers, conditionals and else-ifs together: parser recursion.
 */
const MOST_NESTING = 100;
/** Greatest depth of an expression's tree, which also counts each `+`, `.` and `[…]` of a chain. */
export const MOST_TREE_DEPTH = 1000;
/** Most errors reported for one source. */
export const MOST_ERRORS = 20;

/** One open bracket: upper bounds for what stands in it so far. */
interface Level {
  /** Nesting outside this bracket. */
  readonly outer: number;
  /** Depths of the deepest finished parts. */
  nesting: number;
  tree: number;
  /** Of the part being read (up to the next comma, `=` or keyword): operators, and the deepest bracket inside. */
  conditionals: number;
  prefixes: number;
  longestPrefixes: number;
  chain: number;
  innerNesting: number;
  innerTree: number;
  elseIfs: number;
}

const openLevel = (outer: number): Level => ({
  outer, nesting: 0, tree: 0,
  conditionals: 0, prefixes: 0, longestPrefixes: 0, chain: 0, innerNesting: 0, innerTree: 0, elseIfs: 0,
});

const openers = new Set([t.LParen, t.LBracket, t.LBrace, t.TemplateOpen]);
const closers = new Set([t.RParen, t.RBracket, t.RBrace, t.TemplateClose]);
const binary = new Set([
  t.Plus, t.Minus, t.Times, t.Over, t.Modulo, t.And, t.Or, t.Equal, t.NotEqual, t.AtMost, t.AtLeast, t.Less, t.Greater,
]);
const separators = new Set([
  t.Comma, t.Assign, t.Tilde, t.DotDot, t.Arrow, t.TemplateNext, t.Return, t.For, t.In,
  t.ParamWord, t.BufferWord, t.Update, t.Input, t.Output,
]);
const operandEnds = new Set([
  t.Name, t.Num, t.Quantity, t.Text, t.TemplateClose, t.RParen, t.RBracket, t.True, t.False, t.None, t.Underscore,
]);

/** Nesting of what stands next in a level. */
const open = (level: Level): number => level.conditionals + level.prefixes + level.elseIfs;

/** Ends the part being read: its bounds go to the level's. */
function finishPart(level: Level): void {
  const prefixes = Math.max(level.longestPrefixes, level.prefixes);
  level.nesting = Math.max(level.nesting, level.conditionals + prefixes + level.elseIfs + level.innerNesting);
  level.tree = Math.max(level.tree, level.chain + level.elseIfs + level.innerTree);
  level.conditionals = level.prefixes = level.longestPrefixes = level.chain = level.innerNesting = level.innerTree = 0;
}

/** Counts one operator of the part being read. */
function countOperator(level: Level, token: IToken, previous: IToken | undefined): void {
  const type = token.tokenType;
  const afterOperand = previous !== undefined && operandEnds.has(previous.tokenType);
  const isPrefix = type === t.Not || (type === t.Minus && !afterOperand);
  if (isPrefix || type === t.Power) {
    level.prefixes++;
    level.chain++;
  } else if (binary.has(type)) {
    level.longestPrefixes = Math.max(level.longestPrefixes, level.prefixes);
    level.prefixes = 0;
    level.chain++;
  } else if (type === t.Question) {
    level.conditionals++;
    level.chain++;
  } else if (type === t.Dot) {
    level.chain++;
  }
}

/** A token at which a limit is passed. */
interface TooDeep {
  readonly token: IToken;
  readonly limit: number;
}

/** The first token at which nesting or tree depth passes its limit, from upper bounds computed in one sweep. */
export function tooDeep(tokens: readonly IToken[]): TooDeep | undefined {
  const levels: Level[] = [openLevel(0)];
  let previous: IToken | undefined;
  for (const token of tokens) {
    let level = levels.at(-1) ?? openLevel(0);
    const type = token.tokenType;
    if (previous?.tokenType === t.RBrace && type !== t.Else) level.elseIfs = 0;
    if (type === t.If && previous?.tokenType === t.Else) level.elseIfs++;
    if (separators.has(type) || type === t.If) finishPart(level);
    else countOperator(level, token, previous);
    if (openers.has(type)) {
      if (type === t.LBracket || type === t.LParen) level.chain++;
      levels.push(openLevel(level.outer + 1 + open(level)));
    } else if (closers.has(type) && levels.length > 1) {
      finishPart(level);
      const { nesting, tree } = level;
      levels.pop();
      level = levels.at(-1) ?? level;
      level.innerNesting = Math.max(level.innerNesting, nesting + 1);
      level.innerTree = Math.max(level.innerTree, tree + 1);
      if (type === t.RBrace) finishPart(level);
    }
    const nesting = level.outer + open(level) + level.innerNesting;
    if (nesting > MOST_NESTING) return { token, limit: MOST_NESTING };
    if (level.chain + level.innerTree + level.elseIfs > MOST_TREE_DEPTH) return { token, limit: MOST_TREE_DEPTH };
    previous = token;
  }
  return undefined;
}
