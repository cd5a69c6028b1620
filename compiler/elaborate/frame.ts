/**
 * @file Where elaboration stands: a `Session` is one graph being built, a `Frame` one block or model being run in it.
 */
import type * as ast from "../../dsl/ast.js";
import { diagnose, Diagnostics, type ChainLink, type Details, type Diagnostic } from "../../dsl/diagnostics.js";
import type { Code, ValuesOf } from "../../dsl/messages.js";
import type { Scope } from "../../dsl/program.js";
import { parseSignature, type Signature } from "../../dsl/signature.js";
import type { Dim, Shape } from "../ir/dim.js";
import { GraphBuilder, type Node, type Origin, type Parameter } from "../ir/graph.js";
import type { OpRecord } from "../ir/op.js";
import { EVALUATIONS, INSTANCES, LimitReached, LIST_ITEMS, LOOP_TURNS } from "./limits.js";
import { ERROR, list, type ListValue, type Value } from "./values.js";

const place = (code: Code, { source, start, end }: ast.Span): string => `${code}|${source.path}|${start}|${end}|`;

/** A block or model that was run, for `explain`. */
export interface BlockInstance {
  readonly path: string;
  readonly block: string;
  readonly call: ast.Span;
  readonly result?: Shape;
}

/** A parameter with the frame it was declared in: tells two declarations of one path apart. */
export interface Declaration {
  readonly parameter: Parameter;
  readonly frame: Frame;
  readonly span: ast.Span;
}

/** See `evaluate.ts`. */
type Evaluator = (frame: Frame, expr: ast.Expr, name?: string) => Value;

/** One graph being built. */
export class Session {
  readonly builder = new GraphBuilder();
  readonly parameters = new Map<string, Declaration>();
  readonly inputs = new Map<string, Node>();
  readonly updates = new Map<string, Node>();
  readonly instances: BlockInstance[] = [];
  readonly #found = new Map<string, Diagnostic>();
  #turns = 0;
  #calls = 0;
  #items = 0;
  #evaluations = 0;

  readonly #signatures = new Map<string, Signature>();

  /** @param evaluate the evaluator, given here because everything that it calls evaluates expressions in turn */
  constructor(readonly ops: ReadonlyMap<string, OpRecord>, readonly evaluate: Evaluator) {}

  /** The parameters of an op, as its record writes them. */
  signatureOf(record: Pick<OpRecord, "name" | "signature">): Signature {
    const known = this.#signatures.get(record.name);
    if (known) return known;
    const signature = parseSignature(record.signature);
    this.#signatures.set(record.name, signature);
    return signature;
  }


  /**
   * Everything found so far, by position; the same error at the same place is kept once, whatever instance found it.
   */
  get diagnostics(): Diagnostic[] {
    const all = new Diagnostics();
    all.addAll(this.#found.values());
    return [...all.list()];
  }

  report(diagnostic: Diagnostic): void {
    const { code, span, message } = diagnostic;
    // Several arguments may be missing at one place, each a mistake of its own.
    const key = place(code, span) + (code === "missing_argument" ? message : "");
    if (!this.#found.has(key)) this.#found.set(key, diagnostic);
  }

  /** Whether this has been said of this place: spares making the message again in every turn of a loop. */
  knows(code: Code, span: ast.Span): boolean {
    return this.#found.has(place(code, span));
  }

  countTurns(frame: Frame, span: ast.Span, turns: number): void {
    this.#turns += turns;
    if (this.#turns > LOOP_TURNS) frame.stop(span, "loop iterations", LOOP_TURNS, this.#turns);
  }

  countCall(frame: Frame, span: ast.Span): void {
    if (++this.#calls > INSTANCES) frame.stop(span, "block calls", INSTANCES, this.#calls);
  }

  countItems(frame: Frame, span: ast.Span, items: number): void {
    this.#items += items;
    if (this.#items > LIST_ITEMS) frame.stop(span, "list items", LIST_ITEMS, this.#items);
  }

  countEvaluation(frame: Frame, span: ast.Span): void {
    if (++this.#evaluations > EVALUATIONS) frame.stop(span, "expressions to evaluate", EVALUATIONS, this.#evaluations);
  }
}

/** Where a dimension got its value: `D = 192 from x`. */
interface DimBinding {
  readonly name: string;
  readonly value: Dim;
  /** The argument or parameter it was read off. */
  readonly from: string;
  readonly span: ast.Span;
}

interface FrameInit {
  readonly session: Session;
  readonly scope: Scope;
  /** `attention`, `model deit_ti`. */
  readonly label: string;
  readonly path: string;
  /** What stands in the chain for this frame: the call, or the declaration of a model. */
  readonly span: ast.Span;
  readonly caller?: Frame;
  /** The innermost call around that has no name for its parameters. */
  readonly unnamed?: ast.Call;
  readonly training: boolean;
  /** Its parameters are not trained. */
  readonly frozen: boolean;
  readonly doc: string;
  readonly instances?: ReadonlyMap<string, Callable>;
  readonly given?: ReadonlyMap<string, Node>;
  readonly sharing?: object;
  /** Where values of a model's header were given by its user: part of the chain. */
  readonly settings?: readonly ChainLink[];
}

/** A model instance of a recipe, called in its loss: `student(images)`. */
export type Callable = (caller: Frame, call: ast.Call) => Value;

/** One run of a body. */
export class Frame {
  readonly session: Session;
  readonly scope: Scope;
  readonly label: string;
  readonly path: string;
  readonly span: ast.Span;
  readonly caller: Frame | undefined;
  readonly unnamed: ast.Call | undefined;
  readonly training: boolean;
  readonly frozen: boolean;
  readonly doc: string;
  /** Values by name; rebound by assignments. */
  readonly names = new Map<string, Value>();
  /** Where capitals were bound, for notes. */
  readonly bindings = new Map<string, DimBinding>();
  /** The shape `..` stands for. */
  rest: { readonly shape: Shape; readonly from: string; readonly span: ast.Span } | undefined;
  /** Paths of this body's parameters and buffers by name. */
  readonly buffers = new Map<string, string>();
  /** Model instances callable here. */
  readonly instances: ReadonlyMap<string, Callable>;
  /**
   * Tensors for the inputs of a model that is called; undefined at the top, where `input` makes an input of the
   * graph.
   */
  readonly given: ReadonlyMap<string, Node> | undefined;
  /** The model instance this is part of: runs of one instance share their parameters. */
  readonly sharing: object;
  readonly settings: readonly ChainLink[];
  readonly outputs = new Map<string, Value>();
  /** Inputs and outputs as the text writes them. */
  readonly inputDocs = new Map<string, string>();
  readonly outputDocs = new Map<string, string>();
  /** Buffers this body has updated. */
  readonly updated = new Set<string>();
  /** What `return` gave. */
  result: { readonly value: Value; readonly span: ast.Span } | undefined;
  /** A condition could not be decided: what was not run must not be missed. */
  broken = false;
  /** Left-hand name of the statement being run: the end of its nodes' paths. */
  target = "";

  constructor(init: FrameInit) {
    this.session = init.session;
    this.scope = init.scope;
    this.label = init.label;
    this.path = init.path;
    this.span = init.span;
    this.caller = init.caller;
    this.unnamed = init.unnamed;
    this.training = init.training;
    this.frozen = init.frozen;
    this.instances = init.instances ?? new Map();
    this.given = init.given;
    this.sharing = init.sharing ?? init.caller?.sharing ?? this;
    this.doc = init.doc;
    this.settings = init.settings ?? [];
  }

  /** The value of an expression here. @param name the name on the left of it */
  evaluate(expr: ast.Expr, name?: string): Value {
    return this.session.evaluate(this, expr, name);
  }

  /** Reports the catalogue's entry `code` and gives back the value that absorbs follow-ons. */
  fail<C extends Code>(code: C, values: ValuesOf<C>, span: ast.Span, details: Omit<Details, "chain"> = {}): Value {
    if (this.session.knows(code, span)) return ERROR;
    this.session.report(diagnose(code, values, span, { ...details, chain: this.chain() }));
    return ERROR;
  }

  /** Reports `too_many` and ends the elaboration. */
  stop(span: ast.Span, what: string, limit: number, count: number): never {
    this.fail("too_many", { what, count, limit }, span);
    throw new LimitReached("a limit of elaboration was reached");
  }

  /** How this frame came to be run, innermost first. */
  chain(): ChainLink[] {
    const links: ChainLink[] = [];
    for (let frame: Frame | undefined = this; frame; frame = frame.caller) {
      links.push({ what: frame.label, span: frame.span }, ...frame.settings);
    }
    return links;
  }

  /** What a frame beside this one has in common with it. */
  outside(): FrameInit {
    const { session, scope, label, path, span, caller, training, frozen, doc } = this;
    return { session, scope, label, path, span, caller, training, frozen, doc };
  }

  /** The run of a model this frame is part of: its own frame, or the one it was called from. */
  get run(): Frame {
    return this.caller && this.caller.sharing === this.sharing ? this.caller.run : this;
  }

  /** The source under a span, on one line. */
  text(span: ast.Span): string {
    const text = span.source.text.slice(span.start, span.end).replace(/\s+/g, " ").trim();
    return text.length <= 60 ? text : `${text.slice(0, 57)}…`;
  }

  origin(span: ast.Span): Origin {
    return { path: join(this.path, this.target), span };
  }
}

/** A list of these items, within the limit on items: those of the lists among them count again. */
export function madeList(frame: Frame, span: ast.Span, items: readonly Value[]): ListValue {
  const made = list(items);
  frame.session.countItems(frame, span, made.size);
  return made;
}

/** `blocks.0` and `attn` to `blocks.0.attn`; an empty part adds nothing. */
export const join = (path: string, name: string): string =>
  (path === "" ? name : name === "" ? path : `${path}.${name}`);
