/**
 * Parsing never throws and always ends: hostile texts, random bytes, random tokens, and mutations of real sources.
 */
import { readdirSync, readFileSync } from "node:fs";
import test from "ava";
import { format } from "../dsl/format.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { parse, parseExpression } from "../dsl/parse.js";
import { loadProgram, type SourceHost } from "../dsl/resolve.js";
import { mix } from "./golden.js";
import { HOSTILE } from "./hostile.js";
import { RECIPE_CALLS } from "../compiler/train/vocabulary.js";

for (const [name, [text, code]] of Object.entries(HOSTILE)) {
  test(`hostile: ${name}`, (t) => {
    const { file, diagnostics } = parse({ path: "x", text });
    t.is(diagnostics[0]?.code ?? "", code);
    t.true(diagnostics.length <= 20);
    t.true(renderDiagnostics(diagnostics).length < 20_000);
    if (diagnostics.length === 0) t.notThrows(() => format(file));
  });
}

const sources = readdirSync("models").filter((name) => name.endsWith(".deit")).map(
  (name) => readFileSync(`models/${name}`, "utf8")
);

/** Parses, renders, and formats what is sound; returns the number of errors. */
function survive(text: string): number {
  const { file, diagnostics } = parse({ path: "x", text });
  renderDiagnostics(diagnostics);
  if (diagnostics.length === 0) {
    const again = parse({ path: "x", text: format(file) });
    if (again.diagnostics.length > 0) throw new Error(`formatting broke:\n${text}`);
  }
  for (const { span } of diagnostics) {
    if (!(span.start >= 0 && span.end <= text.length && span.start <= span.end)) {
      throw new Error(`span outside:\n${text}`);
    }
  }
  if (diagnostics.length > 20) throw new Error("more than 20 errors");
  return diagnostics.length;
}

test("random bytes", (t) => {
  for (let seed = 0; seed < 300; seed++) {
    const bytes = Uint8Array.from({ length: 400 }, (_, i) => mix(seed, i) & 0xff);
    const text = seed % 2 === 0 ? new TextDecoder("latin1").decode(bytes) : new TextDecoder().decode(bytes);
    t.true(survive(text) > 0);
  }
});

test("random tokens", (t) => {
  const tokens = sources.join(" ").match(/"[^"\n]*"|\w+|[^\s\w]/g) ?? [];
  for (let seed = 0; seed < 600; seed++) {
    const count = 1 + (mix(seed, 1) % 200);
    const text = Array.from(
      { length: count }, (_, i) => tokens[mix(seed, i + 2) % tokens.length]
    ).join(seed % 3 === 0 ? "\n" : " ");
    t.notThrows(() => survive(text), text);
    t.notThrows(() => parseExpression({ path: "x", text }), text);
  }
});

/** One random edit: delete, repeat or move a piece, or put in a sign. */
function mutate(text: string, seed: number): string {
  const at = mix(seed, 1) % text.length;
  const length = 1 + (mix(seed, 2) % 12);
  const piece = text.slice(at, at + length);
  const elsewhere = mix(seed, 3) % text.length;
  switch (mix(seed, 4) % 4) {
    case 0: return text.slice(0, at) + text.slice(at + length);
    case 1: return text.slice(0, at) + piece + piece + text.slice(at + length);
    case 2: return text.slice(0, elsewhere) + piece + text.slice(elsewhere);
    default: return text.slice(0, at) + ("(){}[]\"=:,.~^?\n/"[mix(seed, 5) % 16] ?? "") + text.slice(at);
  }
}

test("mutations of the shipped models, parsed and loaded", (t) => {
  let broken = 0;
  for (let seed = 0; seed < 1200; seed++) {
    let text = sources[seed % sources.length] ?? "";
    for (let edit = 0; edit <= seed % 3; edit++) text = mutate(text, seed * 7 + edit);
    if (survive(text) > 0) broken++;
    const host: SourceHost = {
      read: (path) => (path === "x.deit" ? { text } : { text: "block linear(x: [B]) -> [B] { return x }" }),
      resolve: (_, spec) => ({ path: spec }),
    };
    t.notThrows(() => loadProgram("x.deit", host, { opNames: new Set(["exp"]), calls: RECIPE_CALLS }), text);
  }
  t.true(broken > 300 && broken < 1200, `${broken}`);
});

test("one slip gives few errors", (t) => {
  // Deleting one sign anywhere in a source: errors stay near it, not all over the file.
  let most = 0;
  let total = 0;
  let slips = 0;
  for (const text of sources) {
    for (const [index] of [...text.matchAll(/[(){}[\]=,:"]/g)].map((match) => [match.index] as const)) {
      if (mix(index, slips) % 5 !== 0) continue;
      const errors = survive(text.slice(0, index) + text.slice(index + 1));
      most = Math.max(most, errors);
      total += errors;
      slips++;
    }
  }
  t.log(`${slips} slips, ${(total / slips).toFixed(2)} errors each, at most ${most}`);
  t.true(total / slips < 2);
  t.true(most <= 8);
});
