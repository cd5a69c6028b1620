/**
 * @file The grammar of expressions: one method per line of the EBNF, from `expr` down to `primary`.
 */
import type { IToken, ParserMethod, TokenType } from "chevrotain";
import type * as ast from "./ast.js";
import { RecoveringParser } from "./recovery.js";
import * as t from "./tokens.js";

/** What an operator token means. */
const operators: ReadonlyMap<TokenType, ast.BinaryOperator> = new Map<TokenType, ast.BinaryOperator>([
  [t.Plus, "+"], [t.Minus, "-"], [t.Times, "*"], [t.Over, "/"], [t.Modulo, "%"], [t.Power, "^"], [t.Equal, "=="],
  [t.NotEqual, "!="], [t.AtMost, "<="], [t.AtLeast, ">="], [t.Less, "<"], [t.Greater, ">"],
  [t.And, "and"], [t.Or, "or"],
]);

const comparisons: readonly TokenType[] = [t.Equal, t.NotEqual, t.AtMost, t.AtLeast, t.Less, t.Greater];

type Rule<T> = ParserMethod<[], T>;
type Slice = Extract<ast.Index, { kind: "slice" }>;
type Arg = ast.Call["args"][number];

/** Rules for expressions. Nodes are built inside `ACTION`, which does not run while chevrotain records the grammar. */
export abstract class ExpressionGrammar extends RecoveringParser {
  /** `first` is the token the left operand begins with, which may be a bracket around it. */
  private binaryOf(first: IToken, operator: IToken, left: ast.Expr, right: ast.Expr): ast.Expr {
    // Every token an operator rule consumes is in the table.
    const sign = operators.get(operator.tokenType) as ast.BinaryOperator;
    return { kind: "binary", operator: sign, left, right, span: this.since(this.spanOf(first)) };
  }

  /** or [ "?" expr ":" expr ] */
  readonly expr: Rule<ast.Expr> = this.RULE("expr", () => {
    const first = this.LA(1);
    const test = this.SUBRULE(this.disjunction);
    let result = test;
    this.OPTION(() => {
      this.CONSUME(t.Question);
      const then = this.SUBRULE1(this.expr);
      this.CONSUME(t.Colon);
      const otherwise = this.SUBRULE2(this.expr);
      result = this.ACTION(
        () => ({ kind: "conditional", test, then, otherwise, span: this.since(this.spanOf(first)) })
      );
    });
    return result;
  });

  /** and { "or" and } */
  private readonly disjunction: Rule<ast.Expr> = this.RULE("disjunction", () => {
    const first = this.LA(1);
    let left = this.SUBRULE1(this.conjunction);
    this.MANY(() => {
      const operator = this.CONSUME(t.Or);
      const right = this.SUBRULE2(this.conjunction);
      left = this.ACTION(() => this.binaryOf(first, operator, left, right));
    });
    return left;
  });

  /** compare { "and" compare } */
  private readonly conjunction: Rule<ast.Expr> = this.RULE("conjunction", () => {
    const first = this.LA(1);
    let left = this.SUBRULE1(this.compare);
    this.MANY(() => {
      const operator = this.CONSUME(t.And);
      const right = this.SUBRULE2(this.compare);
      left = this.ACTION(() => this.binaryOf(first, operator, left, right));
    });
    return left;
  });

  /** sum { ( "==" | "!=" | "<=" | ">=" | "<" | ">" ) sum } */
  private readonly compare: Rule<ast.Expr> = this.RULE("compare", () => {
    const first = this.LA(1);
    let left = this.SUBRULE1(this.sum);
    this.MANY(() => {
      const operator = this.OR(comparisons.map((type) => ({ ALT: () => this.consume(0, type) })));
      const right = this.SUBRULE2(this.sum);
      left = this.ACTION(() => this.binaryOf(first, operator, left, right));
    });
    return left;
  });

  /** term { ( "+" | "-" ) term } */
  private readonly sum: Rule<ast.Expr> = this.RULE("sum", () => {
    const first = this.LA(1);
    let left = this.SUBRULE1(this.term);
    this.MANY(() => {
      const operator = this.OR([{ ALT: () => this.CONSUME(t.Plus) }, { ALT: () => this.CONSUME(t.Minus) }]);
      const right = this.SUBRULE2(this.term);
      left = this.ACTION(() => this.binaryOf(first, operator, left, right));
    });
    return left;
  });

  /** unary { ( "*" | "/" | "%" ) unary } */
  private readonly term: Rule<ast.Expr> = this.RULE("term", () => {
    const first = this.LA(1);
    let left = this.SUBRULE1(this.unary);
    this.MANY(() => {
      const operator = this.OR([
        { ALT: () => this.CONSUME(t.Times) },
        { ALT: () => this.CONSUME(t.Over) },
        { ALT: () => this.CONSUME(t.Modulo) },
      ]);
      const right = this.SUBRULE2(this.unary);
      left = this.ACTION(() => this.binaryOf(first, operator, left, right));
    });
    return left;
  });

  /** ( "-" | "not" ) unary | power */
  private readonly unary: Rule<ast.Expr> = this.RULE("unary", () =>
    this.OR<ast.Expr>([
      {
        ALT: () => {
          const sign = this.OR1([{ ALT: () => this.CONSUME(t.Minus) }, { ALT: () => this.CONSUME(t.Not) }]);
          const operand = this.SUBRULE(this.unary);
          const operator = sign.tokenType === t.Not ? "not" : "-";
          return this.ACTION(
            (): ast.Expr => ({ kind: "unary", operator, operand, span: this.since(this.spanOf(sign)) })
          );
        },
      },
      { ALT: () => this.SUBRULE(this.power) },
    ]),
  );

  /** postfix [ "^" unary ] */
  private readonly power: Rule<ast.Expr> = this.RULE("power", () => {
    const first = this.LA(1);
    const base = this.SUBRULE(this.postfix);
    let result = base;
    this.OPTION(() => {
      const operator = this.CONSUME(t.Power);
      const exponent = this.SUBRULE(this.unary);
      result = this.ACTION(() => this.binaryOf(first, operator, base, exponent));
    });
    return result;
  });

  /** primary { "(" … ")" [ "as" string ] | "[" … "]" | "." NAME }; only a name can be called. */
  private readonly postfix: Rule<ast.Expr> = this.RULE("postfix", () => {
    const first = this.LA(1);
    let object = this.SUBRULE(this.primary);
    this.MANY(() => {
      object = this.OR<ast.Expr>([
        { GATE: () => object.kind === "name", ALT: () => this.SUBRULE(this.call, { ARGS: [object] }) },
        {
          ALT: () => {
            const indices = this.SUBRULE(this.indices);
            return this.ACTION(
              (): ast.Expr => ({ kind: "index", object, indices, span: this.since(this.spanOf(first)) })
            );
          },
        },
        {
          ALT: () => {
            this.CONSUME(t.Dot);
            const name = this.CONSUME(t.Name);
            return this.ACTION(
              (): ast.Expr => (
                { kind: "member", object, name: this.nameOf(name), span: this.since(this.spanOf(first)) }
              )
            );
          },
        },
      ]);
    });
    return object;
  });

  /** "(" [ arg { "," arg } ] ")" [ "as" string ] after the name `callee`. */
  private readonly call: ParserMethod<[ast.Expr], ast.Expr> = this.RULE("call", (callee: ast.Expr) => {
    const args: Arg[] = [];
    this.CONSUME(t.LParen);
    this.OPTION1(() => {
      args.push(this.SUBRULE1(this.arg));
      this.MANY(() => {
        this.CONSUME(t.Comma);
        args.push(this.SUBRULE2(this.arg));
      });
    });
    this.CONSUME(t.RParen);
    const path = this.OPTION2(() => {
      this.CONSUME(t.As);
      return this.SUBRULE(this.string);
    });
    return this.ACTION((): ast.Expr => ({
      kind: "call", callee: { text: callee.kind === "name" ? callee.name : "", span: callee.span }, args,
      ...(path === undefined ? {} : { as: path }), span: this.since(callee.span),
    }));
  });

  /** [ NAME "=" ] expr */
  private readonly arg: Rule<Arg> = this.RULE("arg", () => {
    const name = this.OPTION({
      GATE: () => this.LA(2).tokenType === t.Assign,
      DEF: () => {
        const token = this.CONSUME(t.Name);
        this.CONSUME(t.Assign);
        return token;
      },
    });
    const value = this.SUBRULE(this.expr);
    return this.ACTION(() => {
      if (name === undefined) return { value, span: value.span };
      return { name: this.nameOf(name), value, span: this.since(this.spanOf(name)) };
    });
  });

  /** "[" index { "," index } "]" */
  private readonly indices: Rule<readonly ast.Index[]> = this.RULE("indices", () => {
    const indices: ast.Index[] = [];
    this.CONSUME(t.LBracket);
    this.AT_LEAST_ONE_SEP({ SEP: t.Comma, DEF: () => indices.push(this.SUBRULE(this.index)) });
    this.CONSUME(t.RBracket);
    return indices;
  });

  /** expr | [ expr ] ":" [ expr ] [ ":" [ expr ] ] */
  private readonly index: Rule<ast.Index> = this.RULE("index", () =>
    this.OR<ast.Index>([
      {
        ALT: () => {
          const from = this.SUBRULE(this.expr);
          let result = this.ACTION((): ast.Index => ({ kind: "at", value: from, span: from.span }));
          this.OPTION(() => {
            const rest = this.SUBRULE1(this.slice);
            result = this.ACTION((): ast.Index => ({ ...rest, from, span: this.since(from.span) }));
          });
          return result;
        },
      },
      { ALT: () => this.SUBRULE2(this.slice) },
    ]),
  );

  /** ":" [ expr ] [ ":" [ expr ] ] */
  private readonly slice: Rule<Slice> = this.RULE("slice", () => {
    const colon = this.CONSUME1(t.Colon);
    const to = this.OPTION1(() => this.SUBRULE1(this.expr));
    const step = this.OPTION2(() => {
      this.CONSUME2(t.Colon);
      return this.OPTION3(() => this.SUBRULE2(this.expr));
    });
    return this.ACTION((): Slice => ({
      kind: "slice", ...(to === undefined ? {} : { to }), ...(step === undefined ? {} : { step }),
      span: this.since(this.spanOf(colon)),
    }));
  });

  /** NUMBER | QUANTITY | string | "true" | "false" | "none" | NAME | "int" "(" … | "(" expr ")" | list */
  private readonly primary: Rule<ast.Expr> = this.RULE("primary", () =>
    this.OR<ast.Expr>([
      { ALT: () => this.literal(this.CONSUME(t.Num)) },
      { ALT: () => this.literal(this.CONSUME(t.Quantity)) },
      { ALT: () => this.SUBRULE(this.string) },
      { ALT: () => this.literal(this.CONSUME(t.True)) },
      { ALT: () => this.literal(this.CONSUME(t.False)) },
      { ALT: () => this.literal(this.CONSUME(t.None)) },
      { ALT: () => this.literal(this.CONSUME(t.Name)) },
      // The name of a type is that of the function, too, which makes such numbers.
      { GATE: () => this.LA(2).tokenType === t.LParen, ALT: () => this.literal(this.CONSUME(t.IntWord)) },
      {
        ALT: () => {
          this.CONSUME(t.LParen);
          const inner = this.SUBRULE(this.expr);
          this.CONSUME(t.RParen);
          return inner;
        },
      },
      { ALT: () => this.SUBRULE(this.list) },
    ]),
  );

  /** "[" [ expr { "," expr } ] "]" */
  private readonly list: Rule<ast.Expr> = this.RULE("list", () => {
    const items: ast.Expr[] = [];
    const open = this.CONSUME(t.LBracket);
    this.MANY_SEP({ SEP: t.Comma, DEF: () => items.push(this.SUBRULE(this.expr)) });
    this.CONSUME(t.RBracket);
    return this.ACTION((): ast.Expr => ({ kind: "list", items, span: this.since(this.spanOf(open)) }));
  });

  /** STRING, or the pieces of one with `{expr}` in it. */
  readonly string: Rule<ast.StringLiteral> = this.RULE("string", () =>
    this.OR<ast.StringLiteral>([
      {
        ALT: () => {
          const text = this.CONSUME(t.Text);
          return this.ACTION(
            (): ast.StringLiteral => (
              { kind: "string", parts: [t.unescape(text.image.slice(1, -1))], span: this.spanOf(text) }
            )
          );
        },
      },
      {
        ALT: () => {
          const open = this.CONSUME(t.TemplateOpen);
          const parts: (string | ast.Expr)[] = [];
          this.ACTION(() => parts.push(t.unescape(open.image.slice(1, -1))));
          parts.push(this.SUBRULE1(this.expr));
          this.MANY(() => {
            const next = this.CONSUME(t.TemplateNext);
            this.ACTION(() => parts.push(t.unescape(next.image.slice(1, -1))));
            parts.push(this.SUBRULE2(this.expr));
          });
          const close = this.CONSUME(t.TemplateClose);
          return this.ACTION((): ast.StringLiteral => ({
            kind: "string", parts: [...parts, t.unescape(close.image.slice(1, -1))].filter((part) => part !== ""),
            span: this.since(this.spanOf(open)),
          }));
        },
      },
    ]),
  );

  private literal(token: IToken): ast.Expr {
    return this.ACTION((): ast.Expr => {
      const span = this.spanOf(token);
      const [digits = "", unit = ""] = token.image.split(" ");
      switch (token.tokenType) {
        case t.Num: return { kind: "number", value: Number(digits), span };
        case t.Quantity: return { kind: "quantity", value: Number(digits), unit: unitOf(unit), span };
        case t.True: return { kind: "bool", value: true, span };
        case t.False: return { kind: "bool", value: false, span };
        case t.None: return { kind: "none", span };
        default: return { kind: "name", name: token.image, span };
      }
    });
  }
}

/** The plural of a unit the lexer has let through. */
function unitOf(word: string): ast.Unit {
  if (word.startsWith("image")) return "images";
  return word.startsWith("epoch") ? "epochs" : "steps";
}
