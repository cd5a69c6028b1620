/**
 * @file The canonical layout of a file. Comments stay at their statement, member, parameter or declaration; single
 * blank lines stay; declarations of several lines stand apart.
 */
import type { IToken } from "chevrotain";
import type * as ast from "./ast.js";
import { fill, flat, showString, showType, WIDTH, wrap } from "./layout.js";
import { MOST_ERRORS } from "./limits.js";
import { endOf, Doc, is, lex } from "./tokens.js";

/** The canonical text of a file that was parsed without errors; parsing it gives the same tree. */
export function format(file: ast.File): string {
  return new Printer(file.source).file(file);
}

class Printer {
  private readonly lines: string[] = [];
  private readonly comments: IToken[];
  private readonly docs: IToken[];
  private indent = "";
  /** Offset after the last thing printed. */
  private last = 0;
  /** Just after an opening brace or at the top, where no blank line stands. */
  private fresh = true;

  constructor(private readonly source: ast.Source) {
    const { tokens, comments } = lex(source, MOST_ERRORS);
    this.comments = [...comments];
    this.docs = tokens.filter((token) => is(token, Doc));
  }

  file({ imports, declarations }: ast.File): string {
    for (const one of imports) {
      this.lead(one.span.start, one.span.end);
      this.import(one);
      this.trail(one.span.end);
    }
    let apart = false;
    declarations.forEach((one, i) => {
      const from = this.lines.length;
      this.lead(one.span.start, headEnd(one), one.doc);
      const first = this.lines.length;
      this.declaration(one);
      this.trail(one.span.end);
      const long = this.lines.length - first > 1;
      if ((apart || (long && i + imports.length > 0)) && this.lines[from] !== "") this.lines.splice(from, 0, "");
      apart = long;
    });
    this.flush(this.source.text.length);
    return this.lines.length === 0 ? "" : `${this.lines.join("\n")}\n`;
  }

  private put(text: string): void {
    const [first = "", ...rest] = text.split("\n");
    this.lines.push(first === "" ? "" : this.indent + first, ...rest);
    this.fresh = false;
  }

  /** A blank line, if the source has one between the last thing printed and `start`. */
  private gap(start: number): void {
    if (!this.fresh && /\n[ \t\r]*\n/.test(this.source.text.slice(this.last, start))) this.put("");
  }

  /** Prints the comments before `end`, each on its line. */
  private flush(end: number): void {
    for (let next = this.comments[0]; next !== undefined && next.startOffset < end; next = this.comments[0]) {
      this.gap(next.startOffset);
      this.put(next.image.trimEnd());
      this.last = endOf(next);
      this.comments.shift();
    }
  }

  /**
   * What stands above a thing: comments before it and inside its first lines (up to `inside`), blank line, `///` lines.
   */
  private lead(start: number, inside: number, doc = ""): void {
    this.flush(Math.max(start, inside));
    while (this.docs[0] !== undefined && this.docs[0].startOffset < this.last) this.docs.shift();
    const first = doc === "" ? start : (this.docs[0]?.startOffset ?? start);
    this.gap(Math.min(first, start));
    if (doc !== "") for (const line of doc.split("\n")) this.put(line === "" ? "///" : `/// ${line}`);
  }

  /** Notes that a thing ending at `end` is printed, and takes the comment that follows it on its line. */
  private trail(end: number): void {
    this.last = Math.max(this.last, end);
    const next = this.comments[0];
    if (next === undefined || !/^[ \t,]*$/.test(this.source.text.slice(end, next.startOffset))) return;
    this.lines.push(`${this.lines.pop() ?? ""}  ${next.image.trimEnd()}`);
    this.last = endOf(next);
    this.comments.shift();
  }

  private import({ names, from }: ast.Import): void {
    const tail = ` from ${showString(from)}`;
    const line = `import { ${names.map((name) => name.text).join(", ")} }${tail}`;
    if (line.length <= WIDTH) this.put(line);
    else this.put(`import {${fill(names.map((name) => () => name.text), "")}}${tail}`);
  }

  private declaration(one: ast.Declaration): void {
    switch (one.kind) {
      case "block":
        this.head(`block ${one.name.text}`, one.params, ` -> ${showType(one.result)}`, one.body);
        return this.body(one.body);
      case "model":
        if (one.definition !== undefined) {
          this.head(`model ${one.name.text}`, one.definition.params, "", one.definition.body);
          this.body(one.definition.body);
        }
        if (one.extension !== undefined) {
          const head = `model ${one.name.text} extends ${one.extension.base.text} `;
          this.put(head + this.record(one.extension.overrides, head.length, 0));
        }
        return;
      case "recipe":
        return this.recipe(one);
      default:
        return one satisfies never;
    }
  }

  private recipe({ name, base, members, span }: ast.Recipe): void {
    this.put(`recipe ${name.text}${base === undefined ? "" : ` extends ${base.text}`} {`);
    this.open(this.source.text.indexOf("{", (base ?? name).span.end) + 1);
    for (const member of members) {
      this.lead(member.span.start, member.kind === "function" ? member.body.span.start : member.span.end, member.doc);
      this.member(member);
      this.trail(member.span.end);
    }
    this.close(span.end);
  }

  private member(member: ast.Member): void {
    const name = member.name.text;
    switch (member.kind) {
      case "value":
        return this.assign(`${name} = `, member.value);
      case "instance": {
        const weights = member.weights === undefined ? "" : ` from ${showString(member.weights)}`;
        const end = (member.frozen ? " frozen" : "") + weights;
        const head = `${name}: ${member.model.text}`;
        const column = this.indent.length + head.length + 1;
        const record = member.overrides === undefined ? "" : ` ${this.record(member.overrides, column, end.length)}`;
        return this.put(head + record + end);
      }
      case "function":
        this.head(name, member.params, "", member.body);
        return this.body(member.body);
      default:
        return member satisfies never;
    }
  }

  /** `{ a = 1  b = 2 }`, or a field a line where that is too long. */
  private record({ fields }: ast.Record_, column: number, tail: number): string {
    if (fields.length === 0) return "{}";
    const line = `{ ${fields.map(({ name, value }) => `${name.text} = ${flat(value)}`).join("  ")} }`;
    if (column + line.length + tail <= WIDTH) return line;
    const indent = `${this.indent}  `;
    const rows = fields.map(({ name, value }) => {
      const head = `${indent}${name.text} = `;
      return head + wrap(value, { indent, column: head.length, tail: 0 });
    });
    return `{\n${rows.join("\n")}\n${this.indent}}`;
  }

  /** A header up to its body. Parameters go over several lines if they are documented, commented or too long. */
  private head(name: string, params: readonly ast.Param[], result: string, body: ast.Body): void {
    const line = `${name}(${params.map((param) => showParam(param)).join(", ")})${result} {`;
    const documented = params.some((param) => param.doc !== "");
    if (!documented && this.indent.length + line.length <= WIDTH) return this.put(line.slice(0, -2));
    this.put(`${name}(`);
    const { indent } = this;
    this.indent += "  ";
    let row: ast.Param[] = [];
    const flushRow = (last: boolean): void => {
      if (row.length === 0) return;
      const items = row.map((param) => (at: { indent: string; column: number; tail: number }) => wrapParam(param, at));
      const text = fill(items, indent).trim();
      this.put(last ? text : `${text},`);
      row = [];
    };
    params.forEach((param) => {
      if (param.doc !== "") {
        flushRow(false);
        for (const docLine of param.doc.split("\n")) this.put(docLine === "" ? "///" : `/// ${docLine}`);
      }
      row.push(param);
    });
    flushRow(true);
    this.indent = indent;
    this.put(`)${result}`);
    this.last = body.span.start;
  }

  /** Appends a body to the line printed last. */
  private body(body: ast.Body): void {
    const head = this.lines.pop() ?? "";
    const only = body.statements[0];
    const hasComment = (this.comments[0]?.startOffset ?? Infinity) < body.span.end;
    if (only === undefined && !hasComment) return void this.lines.push(`${head} {}`);
    const oneLine = !this.source.text.slice(body.span.start, body.span.end).includes("\n");
    const isAlone = body.statements.length === 1 && oneLine && !hasComment;
    if (only !== undefined && isAlone && only.kind !== "for" && only.kind !== "if") {
      const { head: start, value, end } = simple(only);
      const line = `${head} { ${start}${value === undefined ? "" : flat(value)}${end} }`;
      if (line.length <= WIDTH) return void this.lines.push(line);
    }
    this.lines.push(`${head} {`);
    this.open(body.span.start + 1);
    for (const statement of body.statements) this.statement(statement);
    this.close(body.span.end);
  }

  /** Goes one step in after a `{` that ends at `offset`. */
  private open(offset: number): void {
    this.trail(offset);
    this.indent += "  ";
    this.fresh = true;
  }

  private close(end: number): void {
    this.flush(end);
    this.indent = this.indent.slice(2);
    this.put("}");
    this.last = end;
  }

  private statement(statement: ast.Statement): void {
    const inside = statement.kind === "for" || statement.kind === "if" ? statement.body.span.start : statement.span.end;
    this.lead(statement.span.start, inside);
    if (statement.kind === "for") {
      this.put(`for ${statement.name.text} in ${flat(statement.from)}..${flat(statement.to)}`);
      this.body(statement.body);
    } else if (statement.kind === "if") {
      this.if(statement);
    } else {
      const { head, value, end } = simple(statement);
      this.assign(head, value, end);
    }
    this.trail(statement.span.end);
  }

  private if(statement: ast.If): void {
    this.put(`if ${flat(statement.test)}`);
    this.body(statement.body);
    let next = statement.otherwise;
    while (next !== undefined) {
      const isIf: boolean = "kind" in next;
      this.lines.push(`${this.lines.pop() ?? ""} else${"kind" in next ? ` if ${flat(next.test)}` : ""}`);
      this.body("kind" in next ? next.body : next);
      next = isIf && "kind" in next ? next.otherwise : undefined;
    }
  }

  /** A name with its value, wrapped if need be. */
  private assign(head: string, value: ast.Expr | undefined, end = ""): void {
    const { indent } = this;
    const place = { indent, column: indent.length + head.length, tail: end.length };
    this.put(head + (value === undefined ? "" : wrap(value, place)) + end);
  }
}

/** Offset at which a declaration's body or value begins: comments before it move above the declaration. */
function headEnd(one: ast.Declaration): number {
  if (one.kind === "block") return one.body.span.start;
  if (one.kind === "model") return one.definition?.body.span.start ?? one.span.end;
  return (one.base ?? one.name).span.end;
}

function showParam({ name, type, initial }: ast.Param): string {
  const typed = type === undefined ? name.text : `${name.text}: ${showType(type)}`;
  return initial === undefined ? typed : `${typed} = ${flat(initial)}`;
}

function wrapParam(
  param: ast.Param, at: { readonly indent: string; readonly column: number; readonly tail: number }
): string {
  const { name, type, initial } = param;
  if (initial === undefined) return showParam(param);
  const head = `${name.text}${type === undefined ? "" : `: ${showType(type)}`} = `;
  return head + wrap(initial, { ...at, column: at.column + head.length });
}

/** The parts of a statement without a body. */
function simple(
  statement: Exclude<ast.Statement, { kind: "for" | "if" }>
): { head: string; value?: ast.Expr; end: string } {
  switch (statement.kind) {
    case "assign":
      return { head: `${statement.targets.map((name) => name.text).join(", ")} = `, value: statement.value, end: "" };
    case "return":
      return { head: "return ", value: statement.value, end: "" };
    case "param":
    case "buffer": {
      const end = statement.kind === "param" && statement.noDecay ? " no_decay" : "";
      return {
        head: `${statement.kind} ${statement.name.text}: ${showType(statement.type)} ~ `, value: statement.initial, end
      };
    }
    case "update":
    case "output":
      return { head: `${statement.kind} ${statement.name.text} = `, value: statement.value, end: "" };
    case "input":
      return { head: `input ${statement.name.text}: ${showType(statement.type)}`, end: "" };
    default:
      return statement satisfies never;
  }
}
