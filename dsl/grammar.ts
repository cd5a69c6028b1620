/**
 * @file The grammar of files: imports, blocks, models and recipes, one method per line of the EBNF.
 */
import type { ParserMethod } from "chevrotain";
import type * as ast from "./ast.js";
import { StatementGrammar } from "./statements.js";
import * as t from "./tokens.js";

type Rule<T> = ParserMethod<[], T>;
type Field = ast.Record_["fields"][number];

/** Parses files, expressions and signatures. One instance serves any number of texts, one at a time. */
export class Grammar extends StatementGrammar {
  constructor(checkAmbiguity = false) {
    super(checkAmbiguity);
    this.performSelfAnalysis();
  }

  /** { import } { { DOC } ( block | model | recipe ) } */
  readonly file: Rule<Pick<ast.File, "imports" | "declarations">> = this.RULE("file", () => {
    const imports: ast.Import[] = [];
    const declarations: ast.Declaration[] = [];
    this.repeat("file", "`import`, `block`, `model` or `recipe`", () => {
      this.MANY1(() => this.attempt("file", () => imports.push(this.SUBRULE(this.import))));
      this.MANY2(() => this.attempt("file", () => declarations.push(this.SUBRULE(this.declaration))));
    });
    return { imports, declarations };
  });

  /** "import" "{" NAME { "," NAME } "}" "from" STRING */
  private readonly import: Rule<ast.Import> = this.RULE("import", () => {
    const first = this.CONSUME(t.Import);
    const names: ast.Name[] = [];
    this.CONSUME(t.LBrace);
    this.AT_LEAST_ONE_SEP({
      SEP: t.Comma,
      DEF: () => {
        const name = this.CONSUME(t.Name);
        this.ACTION(() => names.push(this.nameOf(name)));
      },
    });
    this.CONSUME(t.RBrace);
    this.CONSUME(t.From);
    const from = this.SUBRULE(this.string);
    return this.ACTION((): ast.Import => ({ kind: "import", names, from, span: this.since(this.spanOf(first)) }));
  });

  /** { DOC } ( block | model | recipe ) */
  private readonly declaration: Rule<ast.Declaration> = this.RULE("declaration", () => {
    const doc = this.SUBRULE(this.doc);
    return this.OR<ast.Declaration>([
      { ALT: () => this.SUBRULE(this.block, { ARGS: [doc] }) },
      { ALT: () => this.SUBRULE(this.model, { ARGS: [doc] }) },
      { ALT: () => this.SUBRULE(this.recipe, { ARGS: [doc] }) },
    ]);
  });

  /** "block" NAME params "->" type body */
  private readonly block: ParserMethod<[string], ast.Block> = this.RULE("block", (doc: string) => {
    const first = this.CONSUME(t.BlockWord);
    const { head, body } = this.withHead(() => {
      const name = this.CONSUME(t.Name);
      const params = this.SUBRULE(this.params);
      this.CONSUME(t.Arrow);
      const result = this.SUBRULE(this.type);
      return this.ACTION(() => ({ name: this.nameOf(name), params, result }));
    }, () => this.SUBRULE(this.body));
    return this.ACTION((): ast.Block => ({ kind: "block", ...head, body, doc, span: this.since(this.spanOf(first)) }));
  });

  /** "model" NAME ( params body | "extends" NAME record ) */
  private readonly model: ParserMethod<[string], ast.Model> = this.RULE("model", (doc: string) => {
    const first = this.CONSUME(t.ModelWord);
    const name = this.CONSUME1(t.Name);
    const rest = this.OR<Pick<ast.Model, "definition" | "extension">>([
      {
        ALT: () => {
          const { head: params, body } = this.withHead(() => this.SUBRULE(this.params), () => this.SUBRULE(this.body));
          return { definition: { params, body } };
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.Extends);
          const base = this.CONSUME2(t.Name);
          const overrides = this.SUBRULE(this.record);
          return this.ACTION(() => ({ extension: { base: this.nameOf(base), overrides } }));
        },
      },
    ]);
    return this.ACTION(
      (): ast.Model => ({ kind: "model", name: this.nameOf(name), ...rest, doc, span: this.since(this.spanOf(first)) })
    );
  });

  /** "recipe" NAME [ "extends" NAME ] "{" { { DOC } member } "}" */
  private readonly recipe: ParserMethod<[string], ast.Recipe> = this.RULE("recipe", (doc: string) => {
    const first = this.CONSUME(t.RecipeWord);
    const name = this.CONSUME1(t.Name);
    const base = this.OPTION(() => {
      this.CONSUME(t.Extends);
      return this.CONSUME2(t.Name);
    });
    const members: ast.Member[] = [];
    this.CONSUME(t.LBrace);
    this.repeat("members", "a member of the recipe, such as `seed = 0`, or `}`", () => {
      this.MANY(() => this.attempt("members", () => members.push(this.SUBRULE(this.member))));
    });
    this.CONSUME(t.RBrace);
    return this.ACTION((): ast.Recipe => ({
      kind: "recipe", name: this.nameOf(name), ...(base === undefined ? {} : { base: this.nameOf(base) }), members, doc,
      span: this.since(this.spanOf(first)),
    }));
  });

  /** { DOC } NAME ( "=" expr | ":" NAME [ record ] [ "frozen" ] [ "from" STRING ] | params body ) */
  private readonly member: Rule<ast.Member> = this.RULE("member", () => {
    const doc = this.SUBRULE(this.doc);
    const token = this.CONSUME1(t.Name);
    const common = this.ACTION(() => ({ name: this.nameOf(token), doc }));
    return this.OR<ast.Member>([
      {
        ALT: () => {
          this.CONSUME(t.Assign);
          const value = this.SUBRULE(this.expr);
          return this.ACTION(
            (): ast.Member => ({ kind: "value", ...common, value, span: this.since(common.name.span) })
          );
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.Colon);
          const model = this.CONSUME2(t.Name);
          const overrides = this.OPTION1(() => this.SUBRULE(this.record));
          const frozen = this.OPTION2(() => this.CONSUME(t.Frozen));
          const weights = this.OPTION3(() => {
            this.CONSUME(t.From);
            return this.SUBRULE(this.string);
          });
          return this.ACTION((): ast.Member => ({
            kind: "instance", ...common, model: this.nameOf(model), frozen: frozen !== undefined,
            ...(overrides === undefined ? {} : { overrides }), ...(weights === undefined ? {} : { weights }),
            span: this.since(common.name.span),
          }));
        },
      },
      {
        ALT: () => {
          const { head: params, body } = this.withHead(() => this.SUBRULE(this.params), () => this.SUBRULE(this.body));
          return this.ACTION(
            (): ast.Member => ({ kind: "function", ...common, params, body, span: this.since(common.name.span) })
          );
        },
      },
    ]);
  });

  /** "{" { NAME "=" expr [ "," ] } "}" */
  private readonly record: Rule<ast.Record_> = this.RULE("record", () => {
    const open = this.CONSUME(t.LBrace);
    const fields: Field[] = [];
    this.repeat("fields", "`NAME = value` or `}`", () => {
      this.MANY(() => this.attempt("fields", () => {
        const name = this.CONSUME(t.Name);
        this.CONSUME(t.Assign);
        const value = this.SUBRULE(this.expr);
        this.OPTION(() => this.CONSUME(t.Comma));
        this.ACTION(() => fields.push({ name: this.nameOf(name), value }));
      }));
    });
    this.CONSUME(t.RBrace);
    return this.ACTION(() => ({ fields, span: this.since(this.spanOf(open)) }));
  });

  /** params "->" type, and nothing after. */
  readonly signature: Rule<{
    readonly params: readonly ast.Param[]; readonly result: ast.Type
  }> = this.RULE("signature", () => {
    const params = this.SUBRULE(this.params);
    this.CONSUME(t.Arrow);
    const result = this.SUBRULE(this.type);
    return { params, result };
  });
}
