/**
 * @file A random program: a model as a list of lines, each of which makes one value, so that a failing one can be made
 * smaller line by line.
 */
import { isConstant, showDim, type Dim, type Shape } from "../../compiler/ir/dim.js";
import type { DType } from "../../compiler/ir/graph.js";

/** A value of the program, and the line of text that makes it. */
export interface Line {
  readonly name: string;
  readonly shape: Shape;
  readonly dtype: DType;
  /** The right-hand side, or the whole of a declaration or an update. */
  readonly text: string;
  readonly kind: "input" | "param" | "value" | "update";
  /** Names that the text refers to. */
  readonly uses: readonly string[];
  /** Blocks of `deitc/nn.deit` that it calls. */
  readonly imports: readonly string[];
  /** No rounding is behind it: its order and its whole part are the same in f32 and in f64. */
  readonly exact: boolean;
}

export interface RandomProgram {
  readonly lines: readonly Line[];
  /** Names of lines that are outputs. */
  readonly outputs: readonly string[];
  readonly batch: number;
  /** The value of `training`. */
  readonly training: boolean;
}

/** A dimension as the language has it. */
export function dimText(d: Dim): string {
  if (isConstant(d)) return String(d.c);
  const head = d.b === 1 ? "B" : `${d.b} * B`;
  return d.c === 0 ? head : `${head} ${d.c < 0 ? "-" : "+"} ${Math.abs(d.c)}`;
}
export const shapeText = (shape: Shape): string => `[${shape.map(dimText).join(", ")}]`;

/** The program as a file with one model. */
export function textOf({ lines, outputs }: RandomProgram): string {
  const imports = [...new Set(lines.flatMap((line) => line.imports))].sort();
  const body = lines.map((line) => (line.kind === "value" ? `  ${line.name} = ${line.text}` : `  ${line.text}`));
  return [
    ...(imports.length > 0 ? [`import { ${imports.join(", ")} } from "deitc/nn.deit"`] : []),
    "model m() {", ...body, ...outputs.map((name) => `  output out_${name} = ${name}`), "}", "",
  ].join("\n");
}

/** Without the lines that no output and no update needs. */
export function pruned(program: RandomProgram): RandomProgram {
  const needed = new Set([...program.outputs, ...program.lines.filter(isUpdate).map((line) => line.name)]);
  for (const line of program.lines.toReversed()) if (needed.has(line.name)) line.uses.forEach((name) => needed.add(name));
  // A model has an input, whether it matters or not.
  const first = program.lines.find((line) => line.kind === "input");
  if (!program.lines.some((line) => line.kind === "input" && needed.has(line.name))) needed.add(first?.name ?? "");
  return { ...program, lines: program.lines.filter((line) => needed.has(line.name)) };
}

const isUpdate = ({ kind }: Line): boolean => kind === "update";

/** An input that takes the place of a value: what is behind the value is not needed any more. */
const asInput = ({ name, shape, dtype }: Line): Line => ({
  name, shape, dtype, kind: "input", uses: [], imports: [], exact: true,
  text: `input ${name}: ${dtype === "f32" ? "" : "i32"}${shapeText(shape)}`,
});

/**
 * The smallest program, by lines, that `fails` still holds of: outputs are dropped, values become inputs or an operand
 * of theirs, as long as it does.
 */
export async function shrink(
  program: RandomProgram, fails: (smaller: RandomProgram) => Promise<boolean>,
): Promise<RandomProgram> {
  let best = pruned(program);
  for (let again = true; again;) {
    again = false;
    for (const smaller of smallerOnes(best)) {
      if (!(await fails(smaller))) continue;
      [best, again] = [smaller, true];
      break;
    }
  }
  return best;
}

function* smallerOnes(program: RandomProgram): Generator<RandomProgram> {
  const { lines, outputs } = program;
  if (outputs.length > 1) {
    for (const name of outputs) yield pruned({ ...program, outputs: outputs.filter((other) => other !== name) });
  }
  if (program.batch > 1) yield { ...program, batch: 1 };
  for (const line of lines.filter(isUpdate)) {
    yield pruned({ ...program, lines: lines.filter((other) => other !== line) });
  }
  for (const line of lines.toReversed()) {
    if (line.kind !== "value") continue;
    const made = (replacement: Line): RandomProgram =>
      pruned({ ...program, lines: lines.map((other) => (other === line ? replacement : other)) });
    if (line.dtype !== "bool") yield made(asInput(line));
    for (const use of line.uses) {
      const operand = lines.find((other) => other.name === use);
      const alike = operand?.dtype === line.dtype && shapeText(operand.shape) === shapeText(line.shape);
      if (operand && alike && line.text !== use) yield made({ ...line, text: use, uses: [use], imports: [] });
    }
  }
  // What is only another name for a value goes.
  for (const line of lines) {
    const [use] = line.uses;
    if (line.kind !== "value" || line.text !== use) continue;
    const rename = (text: string): string => text.replace(new RegExp(`\\b${line.name}\\b`, "g"), use);
    const rest = lines.filter((other) => other !== line).map((other) =>
      ({ ...other, text: rename(other.text), uses: other.uses.map((name) => (name === line.name ? use : name)) }));
    yield pruned({ ...program, lines: rest, outputs: [...new Set(outputs.map(rename))] });
  }
}

/** `x1 [B, 3]`, for messages. */
export const describe = ({ name, shape }: Line): string => `${name} [${shape.map(showDim).join(", ")}]`;
