/**
 * @file Diagnostics: what is wrong, where, and what to do; their collector; their text and JSON forms.
 */
import type { Span } from "./ast.js";
import { messages } from "./messages.js";
import type { Code, Message, ValuesOf } from "./messages.js";
import { baseName, positionOf, showLine, showPlace } from "./source.js";

/** A second place that has to do with it, such as where a name was bound. */
export interface Note {
  readonly text: string;
  readonly span: Span;
}

/** One step of the instantiation chain, innermost first: `attention` called at `span`. */
export interface ChainLink {
  readonly what: string;
  readonly span: Span;
}

/** One user mistake. */
export interface Diagnostic {
  readonly code: Code;
  /** One sentence with the actual values. */
  readonly message: string;
  readonly span: Span;
  /** Printed after the carets. */
  readonly label?: string;
  readonly notes: readonly Note[];
  readonly chain: readonly ChainLink[];
  /** One fix. */
  readonly help?: string;
}

/** The optional parts of a diagnostic. */
export interface Details {
  readonly label?: string;
  readonly notes?: readonly Note[];
  readonly chain?: readonly ChainLink[];
}

/** What a part of a printed text is, for whoever gives it a colour. */
export type Tone = "error" | "message" | "place" | "gutter" | "caret" | "note" | "help" | "ok";
/** Gives a text the look of its tone. */
export type Paint = (tone: Tone, text: string) => string;
const plain: Paint = (_, text) => text;

/** Most diagnostics printed at once; the rest is counted. */
const SHOWN = 20;
/** Widest excerpt of a source line. */
const EXCERPT = 160;

/** Makes a diagnostic of the catalogue's entry `code`. */
export function diagnose<C extends Code>(code: C, values: ValuesOf<C>, span: Span, details: Details = {}): Diagnostic {
  // Indexing the catalogue by a type parameter yields a union of functions; `values` is by its type the one that fits.
  const make = messages[code].make as (values: ValuesOf<C>) => Message;
  const { message, help } = make(values);
  return {
    code, message, span, notes: details.notes ?? [], chain: details.chain ?? [],
    ...(details.label === undefined ? {} : { label: details.label }),
    ...(help === undefined ? {} : { help }),
  };
}

/** Collects diagnostics; gives them by position, files in the order they first appeared, without exact duplicates. */
export class Diagnostics {
  private readonly all = new Map<string, Diagnostic>();
  private readonly files = new Map<string, number>();

  get empty(): boolean {
    return this.all.size === 0;
  }

  add(diagnostic: Diagnostic): void {
    const { code, message, span } = diagnostic;
    if (!this.files.has(span.source.path)) this.files.set(span.source.path, this.files.size);
    const key = `${code}\n${span.source.path}\n${span.start}\n${span.end}\n${message}`;
    if (!this.all.has(key)) this.all.set(key, diagnostic);
  }

  /** Adds the catalogue's entry `code` at `span`. */
  report<C extends Code>(code: C, values: ValuesOf<C>, span: Span, details: Details = {}): void {
    this.add(diagnose(code, values, span, details));
  }

  addAll(diagnostics: Iterable<Diagnostic>): void {
    for (const diagnostic of diagnostics) this.add(diagnostic);
  }

  list(): readonly Diagnostic[] {
    const file = (d: Diagnostic): number => this.files.get(d.span.source.path) ?? 0;
    return [...this.all.values()].sort(
      (a, b) => file(a) - file(b) || a.span.start - b.span.start || a.span.end - b.span.end
    );
  }
}

/** Control characters would drive the terminal; tabs would misplace the carets. */
const printable = (text: string): string =>
  text.replace(/\t/g, " ").replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, "\uFFFD");

/** The line of a span with carets under it, cut to a window around the span when the line is very long. */
function frame(span: Span, label: string | undefined, paint: Paint): readonly string[] {
  const { text } = span.source;
  const { line } = positionOf(span.source, span.start);
  const lineStart = span.start === 0 ? 0 : text.lastIndexOf("\n", span.start - 1) + 1;
  const newline = text.indexOf("\n", span.start);
  const end = newline < 0 ? text.length : newline;
  const lineEnd = end > lineStart && text[end - 1] === "\r" ? end - 1 : end;
  const from = span.start - lineStart > EXCERPT - 40 ? span.start - 40 : lineStart;
  const to = Math.min(lineEnd, from + EXCERPT);
  const excerpt = printable(text.slice(from, to)).trimEnd();
  const before = [...printable(text.slice(from, span.start))].length;
  const marked = [...printable(text.slice(span.start, Math.min(span.end, to)).trimEnd())].length;
  const gutter = String(line);
  const head = from > lineStart ? "…" : "";
  const carets = "^".repeat(Math.max(1, marked)) + (label === undefined ? "" : ` ${label}`);
  return [
    `${paint("gutter", `${gutter} |`)} ${head}${excerpt}${to < lineEnd ? "…" : ""}`,
    `${paint("gutter", `${" ".repeat(gutter.length)} |`)} ${" ".repeat(before + head.length)}${paint("caret", carets)}`,
  ];
}

/** The text form of one diagnostic, without a final newline. A span of an empty source names the file only. */
export function renderDiagnostic(d: Diagnostic, paint: Paint = plain): string {
  const lines = [`${paint("error", `error[${d.code}]`)}: ${paint("message", printable(d.message))}`];
  if (d.span.source.text === "") lines.push(`  ${paint("place", printable(d.span.source.path))}`);
  else lines.push(`  ${paint("place", printable(showPlace(d.span)))}`, ...frame(d.span, d.label, paint));
  for (const note of d.notes) {
    lines.push(`  ${paint("note", `note: ${printable(note.text)} (${printable(showPlace(note.span))})`)}`);
  }
  if (d.chain.length > 0) {
    const links = d.chain.map((link) => `${link.what} (${showLine(link.span)})`).join(", ");
    lines.push(`  ${paint("note", printable(`in ${links}`))}`);
  }
  if (d.help !== undefined) lines.push(`  ${paint("help", `help: ${printable(d.help)}`)}`);
  return lines.join("\n");
}

/** All of them, a blank line between, the first twenty in full. */
export function renderDiagnostics(diagnostics: readonly Diagnostic[], paint: Paint = plain): string {
  const shown = diagnostics.slice(0, SHOWN).map((one) => renderDiagnostic(one, paint));
  const rest = diagnostics.length - SHOWN;
  if (rest > 0) shown.push(`… and ${rest} more error${rest === 1 ? "" : "s"}`);
  return shown.join("\n\n");
}

/** A diagnostic for programs to read; lines and columns count from 1, `end` is exclusive. */
export interface DiagnosticJson {
  readonly code: string;
  readonly message: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly endLine: number;
  readonly endColumn: number;
  readonly label?: string;
  readonly help?: string;
  readonly notes: readonly {
    readonly text: string; readonly file: string; readonly line: number; readonly column: number
  }[];
  readonly chain: readonly { readonly what: string; readonly file: string; readonly line: number }[];
}

/** The JSON form of one diagnostic. */
export function diagnosticJson(d: Diagnostic): DiagnosticJson {
  const start = positionOf(d.span.source, d.span.start);
  const end = positionOf(d.span.source, d.span.end);
  return {
    code: d.code, message: d.message, file: d.span.source.path,
    line: start.line, column: start.column, endLine: end.line, endColumn: end.column,
    ...(d.label === undefined ? {} : { label: d.label }),
    ...(d.help === undefined ? {} : { help: d.help }),
    notes: d.notes.map(({ text, span }) => ({ text, file: span.source.path, ...positionOf(span.source, span.start) })),
    chain: d.chain.map(
      ({ what, span }) => ({ what, file: baseName(span.source.path), line: positionOf(span.source, span.start).line })
    ),
  };
}
