/**
 * @file Sources that ask for much. Tests look at what they are answered; how soon is measured by `npm run bench`, since
 * a test that looks at the clock fails on a busy machine.
 */
const body = (statement: string): string => `block f(x: [B]) -> [B] {\n  y = ${statement}\n  return y\n}\n`;
const times = (text: string, count: number): string => text.repeat(count);

/** For the parser: text and the first error code, or "" for a text that is fine. */
export const HOSTILE: Readonly<Record<string, readonly [text: string, code: string]>> = {
  "nothing": ["", ""],
  "10 000 nested parentheses": [body(`${times("(", 10_000)}x${times(")", 10_000)}`), "too_deep"],
  "10 000 open parentheses": [body(times("(", 10_000)), "too_deep"],
  "90 nested parentheses": [body(`${times("(", 90)}x${times(")", 90)}`), ""],
  "98 open brackets": [body(times("[", 97)), "unexpected_token"],
  "nested calls": [body(`${times("f(", 5000)}x${times(")", 5000)}`), "too_deep"],
  "unary chain": [body(`${times("-", 20_000)}x`), "too_deep"],
  "not chain": [body(`${times("not ", 20_000)}x`), "too_deep"],
  "power chain": [body(`${times("x^", 20_000)}x`), "too_deep"],
  "conditional chain": [body(`${times("a ? b : ", 20_000)}x`), "too_deep"],
  "prefixes and open parentheses": [body(times("- - - -f(", 60)), "too_deep"],
  "long sum": [body(`${times("x + ", 20_000)}x`), "too_deep"],
  "sum of 900": [body(`${times("x + ", 900)}x`), ""],
  "member chain": [body(`x${times(".a", 20_000)}`), "too_deep"],
  "index chain": [body(`x${times("[0]", 20_000)}`), "too_deep"],
  "else-if chain": [
    `block f(x: [B]) -> [B] {\n${times("if a { y = 1 } else ", 20_000)}{ y = 2 } return y }`, "too_deep"
  ],
  "90 else-ifs": [`block f(x: [B]) -> [B] {\n${times("if a { y = 1 } else ", 90)}{ y = 2 } return y }`, ""],
  "nested loops": [`block f(x: [B]) -> [B] ${times("{ for i in 0..2 ", 10_000)}`, "too_deep"],
  "5 MB": [times("x", 5 << 20), "too_large"],
  "many statements": [body(times("3\na = 1 ", 100_000)), "too_large"],
  "many errors": [body(times("= =\n a = = b", 20_000)), "unexpected_token"],
  "quotes": [times('"', 1 << 17), "unexpected_token"],
  "one string that never ends": [`"${times("\\", 1 << 19)}`, "bad_string"],
  "holes": [body(`"${times("{a}", 50_000)}"`), ""],
  "empty holes": [body(`"${times("{}", 5000)}"`), "unexpected_token"],
  "long list": [body(`[${times("1, ", 50_000)}1]`), ""],
  "slashes": [times("/", 1 << 19), ""],
  "doc lines": [times("/// a\n", 50_000), "unexpected_token"],
  "digits": [times("1", 1 << 19), "bad_number"],
  "NUL bytes": [times("\0", 10_000), "unknown_character"],
  "lone surrogates": [times("\uD800 ", 10_000), "unknown_character"],
};

const model = (...lines: readonly string[]): string => [
  "model m(n = 3) {", "  input x: [B, n]", ...lines, "}",
].join("\n");

/** Lists that hold the one before twice: 2⁴⁰ items behind 40 short lines. */
export const DOUBLED = Array.from({ length: 39 }, (_, i) => `  l${i + 1} = [l${i}, l${i}]`);
const doubled = (use: string): string => model("  l0 = [1, 1]", ...DOUBLED, `  output y = ${use}`);

/** For elaboration, each stopped by a limit: `too_many`. */
export const GREEDY: Readonly<Record<string, string>> = {
  "a list that holds another twice, 39 times over, compared": doubled("l39 == l38 ? x : x + 1"),
  "a list that holds another twice, compared with one like it": doubled("x * (l39 == [l38, l38] ? 1 : 2)"),
  "a list that holds another twice, given to an op": doubled("reshape(x, l39)"),
  "a list that holds another twice, summed": doubled("x + sum(l39)"),
  "one great list, gone through again and again": model(
    "  l = range(100000)", "  for i in 0..90000 { a = l == l }", "  output y = x",
  ),
  "a loop in a loop": model("  for i in 0..1000 { for j in 0..1000 { a = 1 } }", "  output y = x"),
  "a long loop of tensors": model(
    "  for i in 0..90000 { x = x + i + i * x + x * x + x * 3 * i - x / 2 }", "  output y = x",
  ),
  "a range without end": model("  a = range(1000000000000)", "  output y = x"),
};
