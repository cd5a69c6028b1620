/**
 * @file The grammar of parameters, types and statements: one method per line of the EBNF.
 */
import type { IToken, ParserMethod } from "chevrotain";
import type * as ast from "./ast.js";
import { ExpressionGrammar } from "./expressions.js";
import * as t from "./tokens.js";

type Rule<T> = ParserMethod<[], T>;
type Otherwise = ast.Body | ast.If;

/** Rules for what blocks, models and losses are made of. */
export abstract class StatementGrammar extends ExpressionGrammar {
  /** { DOC } */
  protected readonly doc: Rule<string> = this.RULE("doc", () => {
    const lines: string[] = [];
    this.MANY(() => {
      const line = this.CONSUME(t.Doc);
      this.ACTION(() => lines.push(line.image.slice(3).replace(/^ /, "").trimEnd()));
    });
    return lines.join("\n");
  });

  /** "(" [ param { "," param } ] ")" */
  readonly params: Rule<readonly ast.Param[]> = this.RULE("params", () => {
    const params: ast.Param[] = [];
    this.CONSUME(t.LParen);
    this.MANY_SEP({ SEP: t.Comma, DEF: () => params.push(this.SUBRULE(this.param)) });
    this.CONSUME(t.RParen);
    return params;
  });

  /** { DOC } NAME [ ":" type ] [ "=" expr ] */
  private readonly param: Rule<ast.Param> = this.RULE("param", () => {
    const doc = this.SUBRULE(this.doc);
    const name = this.CONSUME(t.Name);
    const type = this.OPTION1(() => {
      this.CONSUME(t.Colon);
      return this.SUBRULE(this.type);
    });
    const initial = this.OPTION2(() => {
      this.CONSUME(t.Assign);
      return this.SUBRULE(this.expr);
    });
    return this.ACTION(() => ({
      name: this.nameOf(name), ...(type === undefined ? {} : { type }), ...(
        initial === undefined ? {} : { initial }
      ), doc,
      span: this.since(this.spanOf(name)),
    }));
  });

  /** "int" | "real" | "bool" | "list" | tensor */
  readonly type: Rule<ast.Type> = this.RULE("type", () => {
    const scalar = (token: IToken, name: ast.ScalarType["name"]): ast.Type =>
      this.ACTION((): ast.Type => ({ kind: "scalar", name, span: this.spanOf(token) }));
    return this.OR<ast.Type>([
      { ALT: () => scalar(this.CONSUME(t.IntWord), "int") },
      { ALT: () => scalar(this.CONSUME(t.RealWord), "real") },
      { ALT: () => scalar(this.CONSUME(t.BoolWord), "bool") },
      { ALT: () => scalar(this.CONSUME(t.ListWord), "list") },
      { ALT: () => this.SUBRULE(this.tensor) },
    ]);
  });

  /** [ "i32" ] "[" [ dim { "," dim } ] "]" */
  private readonly tensor: Rule<ast.TensorType> = this.RULE("tensor", () => {
    const first = this.LA(1);
    const whole = this.OPTION(() => this.CONSUME(t.I32));
    const dims: ast.DimType[] = [];
    this.CONSUME(t.LBracket);
    this.MANY_SEP({ SEP: t.Comma, DEF: () => dims.push(this.SUBRULE(this.dimension)) });
    this.CONSUME(t.RBracket);
    return this.ACTION((): ast.TensorType => ({
      kind: "tensor", dtype: whole === undefined ? "f32" : "i32", dims, span: this.since(this.spanOf(first)),
    }));
  });

  /** ".." | "_" | expr */
  private readonly dimension: Rule<ast.DimType> = this.RULE("dimension", () =>
    this.OR<ast.DimType>([
      { ALT: () => this.wordDimension("rest", this.CONSUME(t.DotDot)) },
      { ALT: () => this.wordDimension("inferred", this.CONSUME(t.Underscore)) },
      {
        ALT: () => {
          const expr = this.SUBRULE(this.expr);
          return this.ACTION((): ast.DimType => ({ kind: "expr", expr, span: expr.span }));
        },
      },
    ]),
  );

  private wordDimension(kind: "rest" | "inferred", token: IToken): ast.DimType {
    return this.ACTION((): ast.DimType => ({ kind, span: this.spanOf(token) }));
  }

  /** "{" { statement } "}" */
  protected readonly body: Rule<ast.Body> = this.RULE("body", () => {
    const open = this.CONSUME(t.LBrace);
    const statements: ast.Statement[] = [];
    this.repeat("body", "a statement or `}`", () => {
      this.MANY(() => this.attempt("body", () => statements.push(this.SUBRULE(this.statement))));
    });
    this.CONSUME(t.RBrace);
    return this.ACTION(() => ({ statements, span: this.since(this.spanOf(open)) }));
  });

  /** One statement; each alternative but the first opens with a word of its own. */
  private readonly statement: Rule<ast.Statement> = this.RULE("statement", () =>
    this.OR<ast.Statement>([
      { ALT: () => this.SUBRULE(this.assignment) },
      {
        ALT: () => {
          const first = this.CONSUME(t.Return);
          const value = this.SUBRULE1(this.expr);
          return this.ACTION((): ast.Statement => ({ kind: "return", value, span: this.since(this.spanOf(first)) }));
        },
      },
      { ALT: () => this.SUBRULE(this.stored) },
      {
        ALT: () => {
          const first = this.CONSUME(t.Input);
          const name = this.CONSUME2(t.Name);
          this.CONSUME(t.Colon);
          const type = this.SUBRULE(this.type);
          return this.ACTION(
            (): ast.Statement => (
              { kind: "input", name: this.nameOf(name), type, span: this.since(this.spanOf(first)) }
            )
          );
        },
      },
      {
        ALT: () => {
          const word = this.OR2([{ ALT: () => this.CONSUME(t.Update) }, { ALT: () => this.CONSUME(t.Output) }]);
          const name = this.CONSUME3(t.Name);
          this.CONSUME(t.Assign);
          const value = this.SUBRULE2(this.expr);
          const kind = word.tokenType === t.Update ? "update" : "output";
          return this.ACTION(
            (): ast.Statement => ({ kind, name: this.nameOf(name), value, span: this.since(this.spanOf(word)) })
          );
        },
      },
      { ALT: () => this.SUBRULE(this.loop) },
      { ALT: () => this.SUBRULE(this.if) },
    ]),
  );

  /** NAME { "," NAME } "=" expr */
  private readonly assignment: Rule<ast.Statement> = this.RULE("assignment", () => {
    const targets: ast.Name[] = [];
    this.AT_LEAST_ONE_SEP({
      SEP: t.Comma,
      DEF: () => {
        const name = this.CONSUME(t.Name);
        this.ACTION(() => targets.push(this.nameOf(name)));
      },
    });
    this.CONSUME(t.Assign);
    const value = this.SUBRULE(this.expr);
    return this.ACTION((): ast.Statement => {
      const first = targets[0]?.span ?? value.span;
      return { kind: "assign", targets, value, span: this.since(first) };
    });
  });

  /** "param" NAME ":" type "~" expr [ "no_decay" ] | "buffer" NAME ":" type "~" expr */
  private readonly stored: Rule<ast.Statement> = this.RULE("stored", () => {
    const word = this.OR([{ ALT: () => this.CONSUME(t.ParamWord) }, { ALT: () => this.CONSUME(t.BufferWord) }]);
    const name = this.CONSUME(t.Name);
    this.CONSUME(t.Colon);
    const type = this.SUBRULE(this.type);
    this.CONSUME(t.Tilde);
    const initial = this.SUBRULE(this.expr);
    const noDecay = this.OPTION({ GATE: () => word.tokenType === t.ParamWord, DEF: () => this.CONSUME(t.NoDecay) });
    return this.ACTION((): ast.Statement => {
      const common = { name: this.nameOf(name), type, initial, span: this.since(this.spanOf(word)) };
      return word.tokenType === t.ParamWord
        ? { kind: "param", ...common, noDecay: noDecay !== undefined }
        : { kind: "buffer", ...common };
    });
  });

  /** "for" NAME "in" expr ".." expr body */
  private readonly loop: Rule<ast.Statement> = this.RULE("loop", () => {
    const first = this.CONSUME(t.For);
    const name = this.CONSUME(t.Name);
    this.CONSUME(t.In);
    const from = this.SUBRULE1(this.expr);
    this.CONSUME(t.DotDot);
    const to = this.SUBRULE2(this.expr);
    const body = this.SUBRULE(this.body);
    return this.ACTION((): ast.Statement => ({
      kind: "for", name: this.nameOf(name), from, to, body, span: this.since(this.spanOf(first)),
    }));
  });

  /** "if" expr body [ "else" ( if | body ) ] */
  private readonly if: Rule<ast.If> = this.RULE("if", () => {
    const first = this.CONSUME(t.If);
    const test = this.SUBRULE(this.expr);
    const body = this.SUBRULE1(this.body);
    const otherwise = this.OPTION(() => {
      this.CONSUME(t.Else);
      return this.SUBRULE(this.otherwise);
    });
    return this.ACTION((): ast.If => ({
      kind: "if", test, body, ...(otherwise === undefined ? {} : { otherwise }), span: this.since(this.spanOf(first)),
    }));
  });

  private readonly otherwise: Rule<Otherwise> = this.RULE("otherwise", () =>
    this.OR<Otherwise>([{ ALT: () => this.SUBRULE(this.if) }, { ALT: () => this.SUBRULE(this.body) }]),
  );
}
