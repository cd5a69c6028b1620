/**
 * @file Syntax of other languages, Python's above all: what to write instead, where a syntax error looks like it.
 */
import type { IToken } from "chevrotain";
import { meaningOf } from "./synonyms.js";
import * as t from "./tokens.js";

/** Words that open what other languages declare in place of a block, a model or an import. */
const BLOCK = "a function is a `block`: `block NAME(x: [B, N]) -> [B, N] { … }`";
const MODEL = "a network is a `model`, and a layer is a `block`";
const OPENERS: Readonly<Record<string, string>> = {
  def: BLOCK, fn: BLOCK, func: BLOCK, function: BLOCK, class: MODEL, module: MODEL, struct: MODEL,
};

/** Words that other languages put in front of a definition. */
const DEFINERS: readonly string[] = ["auto", "const", "let", "val", "var"];

const IMPORT = 'write `import { NAME } from "./FILE.deit"`';

const SIZE = "the type of an input or of a block's parameter names its sizes: `x: [B, N]` makes `N` known";

/** An operator that other languages join with `=`. */
const COMPOUND = [t.Plus, t.Minus, t.Times, t.Over, t.Modulo];

/**
 * What to write instead at `tokens[index]`, where `expected` was expected; undefined where nothing looks familiar.
 * @param index is `tokens.length` at the end of the text
 */
export function slipHelp(tokens: readonly IToken[], index: number, expected: string): string | undefined {
  const [before, previous, found, next] = [-2, -1, 0, 1].map((step) => tokens[index + step]);
  if (found === undefined) return undefined;
  const type = found.tokenType;
  if (expected.includes("`block`, `model` or `recipe`")) {
    return type === t.From ? IMPORT : Object.hasOwn(OPENERS, found.image) ? OPENERS[found.image] : undefined;
  }
  if (previous?.tokenType === t.Import) return IMPORT;
  if (type === t.Assign && expected === "`~`") return initialHelp(tokens, index);
  if (expected === "`=`") return definitionHelp(previous, found, next);
  if (type === t.Colon && expected === "`{`") return "put the body in braces: `{ … }`";
  if (type === t.Else && expected === "`{`") return "write a choice between two values as `condition ? a : b`";
  if (expected === "`..`") return "a loop runs over whole numbers: `for i in 0..n { … }`";
  if (type === t.Times && previous?.tokenType === t.Times) return "raise to a power with `^`";
  if (type === t.LParen && before?.tokenType === t.Dot && previous?.tokenType === t.Name) {
    if (previous.image === "size") return SIZE;
    return `there are no methods and no modules: call an op or a block by its name, as in \`${called(previous)}(x)\``;
  }
  return undefined;
}

/** The name that a call of another library most likely has here. */
function called({ image }: IToken): string {
  const snake = image.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toLowerCase();
  return meaningOf(image) ?? snake;
}

/** Help where the `=` of a definition should stand. */
function definitionHelp(
  previous: IToken | undefined, found: IToken, next: IToken | undefined,
): string | undefined {
  const word = previous?.image ?? "";
  if (found.tokenType === t.Name && DEFINERS.includes(word)) {
    return `deitc has no \`${word}\`; write \`${found.image} = …\``;
  }
  if (found.tokenType === t.Name && Object.hasOwn(OPENERS, word)) {
    return "blocks and models are declared side by side, not inside each other";
  }
  if (word === "elif") return "write `else if`";
  if (word === "while") return "a loop runs over whole numbers: `for i in 0..n { … }`";
  if (found.tokenType === t.Colon) return `a definition has no type: write \`${word} = …\``;
  if (COMPOUND.includes(found.tokenType) && next?.tokenType === t.Assign) {
    return `write \`${word} = ${word} ${found.image} …\``;
  }
  return undefined;
}

/** `param w: [D] = normal(0.3)`. */
function initialHelp(tokens: readonly IToken[], index: number): string {
  const at = tokens.slice(0, index).findLastIndex(({ tokenType }) => [t.ParamWord, t.BufferWord].includes(tokenType));
  const [kind, name, value] = [at, at + 1, index + 1].map((place) => tokens[place]?.image ?? "");
  const call = tokens[index + 2]?.tokenType === t.LParen ? "(…)" : "";
  return `initial values follow a \`~\`: write \`${kind} ${name}: […] ~ ${value}${call}\``;
}
