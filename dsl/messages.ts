/**
 * @file The catalogue of every error: code, sentence, help, and the rule behind it. No message text lives elsewhere,
 * except what ops report about their own operands.
 */
import { listNames, suggest } from "./suggest.js";

/** What a person reads: one sentence with the actual values, and one fix. */
export interface Message {
  readonly message: string;
  readonly help?: string;
}

/** One error code. `explain` states the rule, for `deitc explain CODE`. */
export interface Entry<V> {
  readonly explain: string;
  make(values: V): Message;
}

const entry = <V>(explain: string, make: (values: V) => Message): Entry<V> => ({ explain, make });

/** For faults whose finder has the words: ops about their operands, the elaborator about values. */
interface Ready {
  readonly text: string;
  readonly help?: string;
}
const ready = ({ text, help }: Ready): Message => (help === undefined ? { message: text } : { message: text, help });

const cycle = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(" → ");
const orUnits = (
  value: string, units: readonly string[]
): string => units.map((unit) => `\`${value} ${unit}\``).join(" or ");
const units = (n: readonly string[]): string => n.join(" or ");

/** The verb for what is declared; everything else, such as an argument or a member, is given. */
const TWICE: Readonly<Record<string, string>> = {
  "the block": "declared", "the model": "declared", "the recipe": "declared", "the parameter": "declared",
  "the name": "imported", "the result": "named",
};

/** Every error code with its message. */
export const messages = {
  // Text
  unexpected_token: entry(
    "The text does not follow the grammar.",
    (v: { expected: string; found: string; help?: string }) =>
      ready({ text: `expected ${v.expected}, found ${v.found}`, ...(v.help === undefined ? {} : { help: v.help }) }),
  ),
  unknown_character: entry(
    "Outside strings and comments a file holds ASCII letters, digits and the signs of the grammar.",
    (v: { text: string; code: string; help?: string }) =>
      ready({
        text: `\`${v.text}\` (${v.code}) is not allowed here`,
        help: v.help ?? "delete it; names are ASCII letters, digits and `_`",
      }),
  ),
  bad_number: entry(
    "A number is digits, optionally with a decimal point between digits and an exponent: `12`, `0.5`, `5e-4`.",
    (v: { text: string; help?: string }) => ready(
      { text: `\`${v.text}\` is not a number`, help: v.help ?? "write digits, as in `12`, `0.5` or `5e-4`" }
    ),
  ),
  bad_string: entry(
    "A string ends on its line; `{expr}` inserts a value; escapes are \\\" \\\\ \\n \\t \\{ \\}.",
    (v: { why: string; help: string }) => ({ message: v.why, help: v.help }),
  ),

  // Limits
  too_large: entry(
    "Sources, lists and tensors have a maximum size, so that a typo cannot exhaust memory.",
    (v: { what: string; size: string; limit: string; help?: string }) =>
      ready(
        { text: `${v.what} has ${v.size}; the limit is ${v.limit}`, help: v.help ?? "make it smaller, or split it" }
      ),
  ),
  too_deep: entry(
    "Brackets, blocks, operator chains and instances have a maximum nesting depth.",
    (v: { what: string; limit: number; help?: string }) =>
      ready({
        text: `${v.what} is nested more than ${v.limit} deep`,
        help: v.help ?? "move the inner parts into statements of their own",
      }),
  ),
  too_many: entry(
    "Loop iterations, block calls and files are limited in number, so that compilation always ends.",
    (v: { what: string; count?: number; limit: number; help?: string }) =>
      ready({
        text: `${v.count === undefined ? "too many" : v.count} ${v.what}; the limit is ${v.limit}`,
        help: v.help ?? "check the bound for a mistyped digit or unit",
      }),
  ),

  // Files
  file_not_found: entry("The file to compile does not exist.", (v: { path: string }) => ({
    message: `the file \`${v.path}\` does not exist`,
    help: "check the path; it is relative to the current folder",
  })),
  unreadable_file: entry(
    "A source is a readable UTF-8 text file.",
    (v: { path: string; why: "directory" | "binary" | "unreadable" }) => ({
      message: {
        directory: `\`${v.path}\` is a folder, not a file`,
        binary: `\`${v.path}\` is not UTF-8 text`,
        unreadable: `\`${v.path}\` cannot be read`,
      }[v.why],
      help: {
        directory: "name a `.deit` file inside it", binary: "name a `.deit` source", unreadable: "check its permissions"
      }[v.why],
    }),
  ),
  import_not_found: entry(
    "An import names a `.deit` file relative to its own (`\"./vit.deit\"`) or a shipped one (`\"deitc/vit.deit\"`).",
    (v: { spec: string; help?: string }) =>
      ready({
        text: `cannot find the import \`${v.spec}\``,
        help: v.help ?? 'write a path relative to this file (`"./vit.deit"`), or a shipped one (`"deitc/vit.deit"`)',
      }),
  ),
  import_outside: entry("Imports stay inside the nearest folder with a `package.json`, after resolving links.", (
    v: { spec: string }
  ) => ({
    message: `\`${v.spec}\` is outside the project`,
    help: "copy the file into the project (the nearest folder with a `package.json`)",
  })),
  import_cycle: entry("Imports between files must not form a cycle.", (v: { cycle: readonly string[] }) => ({
    message: `these files import each other: ${cycle(v.cycle)}`,
    help: "move what they share into a third file",
  })),

  // Names
  unknown_name: entry(
    "A name is used that is not defined in this scope.",
    (v: { name: string; known: Iterable<string>; what?: string; names?: string; text?: string; help?: string }) => ({
      message: v.text ?? `there is no ${v.what ?? "value"} \`${v.name}\` here`,
      help: v.help ?? suggest(v.name, v.known, v.names ?? "known here"),
    }),
  ),
  unknown_import: entry("An import names something its file does not declare.", (
    v: { name: string; from: string; known: Iterable<string> }
  ) => ({
    message: `\`${v.from}\` declares no \`${v.name}\``,
    help: suggest(v.name, v.known, "declarations there"),
  })),
  unknown_override: entry("Only header parameters can be overridden.", (
    v: { name: string; model: string; known: Iterable<string> }
  ) => ({
    message: `\`${v.model}\` has no parameter \`${v.name}\``,
    help: suggest(v.name, v.known, "its parameters"),
  })),
  unknown_argument: entry("A call names an argument its callee does not have.", (
    v: { name: string; callee: string; known: Iterable<string> }
  ) => ({
    message: `\`${v.callee}\` has no argument \`${v.name}\``,
    help: suggest(v.name, v.known, "its arguments"),
  })),
  too_many_arguments: entry("A call passes more arguments than its callee takes.", (
    v: { callee: string; given: number; taken: number; signature: string }
  ) => ({
    message: `\`${v.callee}\` takes ${v.taken} argument${v.taken === 1 ? "" : "s"}, got ${v.given}`,
    help: `its signature is \`${v.signature}\``,
  })),
  unknown_target: entry("`--target` names a declaration of the file.", (
    v: { name: string; path: string; known: Iterable<string> }
  ) => ({
    message: `\`${v.path}\` has no model or recipe \`${v.name}\``,
    help: suggest(v.name, v.known, "this file has"),
  })),
  not_a_recipe: entry("Only a recipe can be trained; it names the model that it trains.", (
    v: { name: string; path: string; known: readonly string[] }
  ) => ({
    message: `\`${v.name}\` in \`${v.path}\` is a model, not a recipe`,
    help: v.known.length === 0 ? `declare a recipe that trains it: \`recipe my_recipe { student: ${v.name} … }\``
      : `choose a recipe with \`--target\`: ${listNames(v.known, "or")}`,
  })),
  ambiguous_target: entry("A file with several models or recipes is compiled with `--target NAME`.", (
    v: { path: string; known: readonly string[] }
  ) => ({
    message: v.known.length === 0
      ? `\`${v.path}\` has no model and no recipe` : `\`${v.path}\` has several models or recipes`,
    help: v.known.length === 0 ? "declare a model" : `choose one with \`--target\`: ${listNames(v.known, "or")}`,
  })),
  duplicate_name: entry("A name may be declared once in a file or a header, and given once in a record or a call.", (
    v: { name: string; what: string }
  ) => ({
    message: `${v.what} \`${v.name}\` is ${TWICE[v.what] ?? "given"} twice`,
    help: "rename or delete one of the two",
  })),
  shadows_op: entry("Blocks and imports must not reuse the name of a built-in op or function.", (
    v: { name: string; what: string }
  ) => ({
    message: `the ${v.what} \`${v.name}\` has the name of a built-in op`,
    help: `rename it, for instance \`${v.name}_block\``,
  })),
  extends_cycle: entry("A chain of `extends` ends in a model or recipe that extends nothing.", (
    v: { cycle: readonly string[] }
  ) => ({
    message: `these extend each other: ${cycle(v.cycle)}`,
    help: "give one of them a header and body of its own",
  })),
  recursive_block: entry("Blocks must not call themselves, directly or through other blocks.", (
    v: { cycle: readonly string[] }
  ) => ({
    message: `these blocks call each other recursively: ${cycle(v.cycle)}`,
    help: "repeat with `for i in 0..n { … }`",
  })),
  not_a_model: entry("Models are extended and instantiated, recipes extended, blocks and ops called.", (
    v: { name: string; is: string; wanted: string; help?: string }
  ) =>
    ready({
      text: `\`${v.name}\` is a ${v.is}; a ${v.wanted} is needed here`,
      ...(v.help === undefined ? {} : { help: v.help }),
    }),
  ),

  // Statements
  misplaced_statement: entry(
    "`input`, `output`: models; `return`: blocks, losses; `param`, `buffer`, `update`: blocks, models. Nowhere else.",
    (v: { what: string; where: string; help: string }) => (
      { message: `\`${v.what}\` is not allowed in a ${v.where}`, help: v.help }
    ),
  ),
  missing_return: entry("A block or loss returns a value on every path.", (v: { what: string; name: string }) => ({
    message: `the ${v.what} \`${v.name}\` returns nothing`,
    help: "end it with `return …`",
  })),
  missing_output: entry("A model has at least one output.", (v: { model: string }) => ({
    message: `the model \`${v.model}\` has no output`,
    help: "name its result: `output logits = …`",
  })),
  missing_input: entry("A model has at least one input.", (v: { model: string }) => ({
    message: `the model \`${v.model}\` has no input`,
    help: "declare one: `input images: [B, 3, 224, 224]`",
  })),

  // Types and shapes
  missing_argument: entry("A parameter without a default is given no value.", (
    v: { callee: string; name: string; signature: string; how?: string }
  ) => ({
    message: `\`${v.callee}\` needs a value for \`${v.name}\``,
    help: v.how ?? `its signature is \`${v.signature}\``,
  })),
  wrong_type: entry("A value does not have the type expected there: int, real, bool, list, string or tensor.", ready),
  shape_mismatch: entry("Two sizes that must be equal are not.", ready),
  rank_mismatch: entry("A tensor does not have the number of dimensions expected there.", ready),
  element_count: entry("Reshaping keeps the number of elements.", ready),
  value_error: entry("A value is outside the range allowed there.", ready),
  random_in_inference: entry(
    "Random numbers are drawn in training only: in inference a model gives the same outputs for the same inputs.",
    (v: { callee: string }) => ({
      message: `\`${v.callee}\` draws random numbers, which inference does not allow`,
      help: `put the call inside \`if training { … }\`, as \`drop_path\` in deitc/nn.deit does`,
    }),
  ),
  not_an_integer: entry(
    "A dimension is a positive integer, an `int` an integer; it is checked before any product.",
    (v: { what: string; value: number; working?: string; help?: string; positive?: boolean }) =>
      ready({
        text: `${v.what} must be ${v.positive === false ? "an integer" : "a positive integer"}, got ${v.value}`,
        ...(v.help ?? v.working ? { help: [v.working, v.help].filter((part) => part !== undefined).join("; ") } : {}),
      }),
  ),
  symbolic_batch: entry("The batch `B` is chosen when the module is loaded.", (v: { where: string }) => ({
    message: `the batch \`B\` cannot determine ${v.where}`,
    help: "the batch is known only when the module is loaded; use it in a shape or in tensor arithmetic",
  })),
  unnamed_parameters: entry("The name on the left of a call is the path of its parameters.", (
    v: { callee: string; name: string }
  ) => ({
    message: `this call of \`${v.callee}\` has parameters but no name`,
    help: `write \`${v.name} = ${v.callee}(…)\`, or add \`as "${v.name}"\``,
  })),
  duplicate_path: entry("Every parameter has a path of its own: weights are never shared by accident.", (
    v: { path: string }
  ) => ({
    message: `two parameters would have the path \`${v.path}\``,
    help: "give one of the calls another name on the left, or `as \"…\"`",
  })),
  bad_path: entry(
    "A parameter path consists of ASCII letters, digits and `_`, separated by single points or hyphens.",
    (v: { path: string }) => ({
      message: `${JSON.stringify(v.path.length > 60 ? `${v.path.slice(0, 59)}…` : v.path)} is not a parameter path`,
      help: "use letters, digits and `_`, separated by points, as in `\"blocks.0\"`",
    }),
  ),
  tensor_condition: entry("`if`, `for` and `?:` take compile-time values.", (v: { where: string; text?: string }) => ({
    message: `${v.where} needs a compile-time value, got a tensor${v.text === undefined ? "" : ` ${v.text}`}`,
    help: "use `where(c, a, b)`",
  })),

  // Recipes
  missing_unit: entry("Counts in a recipe have a unit.", (
    v: { what: string; value: string; units: readonly string[] }
  ) => ({
    message: `\`${v.what}\` needs a unit`,
    help: `write ${orUnits(v.value, v.units)}`,
  })),
  wrong_unit: entry("A count in a recipe has the unit expected there; dividing equal units gives a plain number.", (
    v: { what: string; found: string; units: readonly string[]; value?: string; help?: string }
  ) => ({
    message: `${v.what} takes ${v.units.length === 0 ? "a plain number" : units(v.units)}, got ${v.found}`,
    help: v.help ?? (
      v.units.length === 0
        ? `write ${v.value ?? "it"} without a unit, or divide by the same unit`
        : `write ${orUnits(v.value ?? "5", v.units)}`
    ),
  })),
  missing_member: entry("A recipe states what it trains, on which data, for how long and how.", (
    v: { recipe: string; member: string; example: string; text?: string }
  ) => ({
    message: v.text ?? `the recipe \`${v.recipe}\` has no \`${v.member}\``,
    help: `add \`${v.example}\``,
  })),
  unused_constant: entry("A recipe's own constants must be used by its loss or its other members.", (
    v: { name: string; known: Iterable<string>; help?: string }
  ) => ({
    message: `\`${v.name}\` is never used`,
    help: v.help ?? suggest(v.name, v.known, "known members"),
  })),
  frozen_without_weights: entry("A frozen model needs trained weights: random weights teach nothing.", (
    v: { name: string; model: string }
  ) => ({
    message: `\`${v.name}\` is frozen but has no weights`,
    help: `write \`${v.name}: ${v.model} frozen from "….safetensors"\``,
  })),
  no_gradient: entry("The loss depends on every trained parameter.", (
    v: { path: string; instance?: string; output?: string }
  ) => ({
    message: `the loss does not depend on \`${v.path}\`${v.instance === undefined ? "" : ` of \`${v.instance}\``}`,
    help: v.output === undefined ? "use an output that depends on it" : `use the output \`${v.output}\` in the loss`,
  })),
};

/** An error code. */
export type Code = keyof typeof messages;

/** The values the message of code `C` is made of. */
export type ValuesOf<C extends Code> = Parameters<(typeof messages)[C]["make"]>[0];

/** Whether a string (such as an op's `fault`) is a code of the catalogue. */
export const isCode = (text: string): text is Code => Object.hasOwn(messages, text);

/** Codes whose finder brings the words: what an op may put in `fault`. */
type ReadyCode = "wrong_type" | "shape_mismatch" | "rank_mismatch" | "element_count" | "value_error";
const READY: readonly string[] = ["wrong_type", "shape_mismatch", "rank_mismatch", "element_count", "value_error"];
export const isReadyCode = (text: string): text is ReadyCode => READY.includes(text);
