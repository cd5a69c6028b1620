/**
 * @file Places in source texts: lines and columns of offsets, spans over nodes.
 */
import type { Source, Span } from "./ast.js";

/** A place people can read: both count from 1, columns in Unicode characters. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Offsets at which the lines of `text` begin; the first is 0. */
export function lineStarts(text: string): readonly number[] {
  const starts = [0];
  for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1)) starts.push(i + 1);
  return starts;
}

/** Number of the line (from 0) that holds `offset`, by binary search in `starts`. */
export function lineIndex(starts: readonly number[], offset: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((starts[middle] ?? 0) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Line and column of an offset. */
export function positionOf(source: Source, offset: number): Position {
  const before = source.text.slice(0, offset);
  const start = before.lastIndexOf("\n") + 1;
  let line = 1;
  for (let i = before.indexOf("\n"); i >= 0; i = before.indexOf("\n", i + 1)) line++;
  return { line, column: [...before.slice(start)].length + 1 };
}

/** Line (from 1) on which a span begins. */
const lineOf = (span: Span): number => positionOf(span.source, span.start).line;

/** `models/vit.deit:7:20`. */
export function showPlace(span: Span): string {
  const { line, column } = positionOf(span.source, span.start);
  return `${span.source.path}:${line}:${column}`;
}

/** `vit.deit:7`: the file's last path segment and the line. */
export const showLine = (span: Span): string => `${baseName(span.source.path)}:${lineOf(span)}`;

/** The part of a path after its last slash. */
export const baseName = (path: string): string => path.slice(
  Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1
);

/** The characters of a span. */
export const textOf = (span: Span): string => span.source.text.slice(span.start, span.end);
