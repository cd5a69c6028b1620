/**
 * @file Operands of subgroup matrices: blocks of f16 operands staged in workgroup memory as they lie in theirs, eight
 * halves at a time, and the matrices loaded from there.
 *
 * Lines in workgroup memory are one vector longer than they need be, so that neighbouring lines start in other banks.
 */
import type { Extent, KernelText, Operand } from "./template.js";
import { clamped, isMultiple } from "./tile_extent.js";
import { both, range } from "./tile_operand.js";

/** A shape of matrices that an adapter multiplies, and the lanes of its subgroups. */
export interface MatrixShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly lanes: number;
}

/** What a kernel of matrices is made of besides its body. */
export const matrixKernel = ({ m, n, k }: MatrixShape) => ({
  features: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"],
  builtins: ["@builtin(subgroup_id) subgroup: u32"],
  declarations: [
    `alias Left = subgroup_matrix_left<f16, ${k}, ${m}>;`,
    `alias Right = subgroup_matrix_right<f16, ${n}, ${k}>;`,
    `alias Sums = subgroup_matrix_result<f32, ${n}, ${m}>;`,
    "",
  ].join("\n"),
}) as const satisfies Partial<KernelText>;

/** Halves that are staged at a time: a `vec4u`. */
const EIGHT = 8;
/** The array in workgroup memory. */
export const STAGED = "staged";

/** A block of an operand's rows and depths on its way through workgroup memory. */
export interface Block {
  /** Prefix of every name that is declared for it. */
  readonly name: string;
  readonly operand: Operand;
  /** Of the operand's rows and depths; what lies beyond the depths is zero, beyond the rows the last row again. */
  readonly rowExtent: Extent;
  readonly depthExtent: Extent;
  /** Of the block, multiples of eight. */
  readonly rows: number;
  readonly depths: number;
  /** The i32 expression of its first row. */
  readonly start: string;
  /** First vector in workgroup memory. */
  readonly base: number;
  readonly threads: number;
}

/** Whether neighbours in workgroup memory are rows, as they are in the operand; else they are depths. */
const isByRow = ({ operand }: Block): boolean => operand.vector === "row";
const linesOf = (block: Block): number => (isByRow(block) ? block.depths : block.rows);
/** Vectors of a line, without the one that keeps lines apart. */
const acrossOf = (block: Block): number => (isByRow(block) ? block.rows : block.depths) / EIGHT;
const strideOf = (block: Block): number => acrossOf(block) + 1;
const turnsOf = ({ rows, depths, threads }: Block): number => Math.ceil((rows * depths) / EIGHT / threads);

/** Vectors of workgroup memory that the block takes. */
export const vectorsOf = (block: Block): number => linesOf(block) * strideOf(block);

/** Runs `text` where the thread has a vector in a turn. */
function inTurn(block: Block, turn: number, text: string): string {
  const vectors = (block.rows * block.depths) / EIGHT;
  const all = (turn + 1) * block.threads <= vectors;
  return `${all ? "" : `if (${block.name}_at${turn} < ${vectors}) `}{\n${text}}\n`;
}

/** Statements that say where the thread's vectors lie, and declare them. */
export function places(block: Block): string {
  const { name, base, threads } = block;
  return range(turnsOf(block)).map((i) => [
    `let ${name}_at${i} = thread + ${i * threads};`,
    `let ${name}_line${i} = ${name}_at${i} / ${acrossOf(block)};`,
    `let ${name}_place${i} = (${name}_at${i} % ${acrossOf(block)}) * ${EIGHT};`,
    `let ${name}_to${i} = ${base} + ${name}_line${i} * ${strideOf(block)} + (${name}_place${i} >> 3u);`,
    `var ${name}${i} = vec4u();`,
    "",
  ].join("\n")).join("");
}

/** Statements that load the thread's vectors of the block that starts at depth `at`. */
export const loads = (block: Block, at: string): string => range(turnsOf(block)).map((i) =>
  inTurn(block, i, isByRow(block) ? rowsAt(block, i, at) : depthsAt(block, i, at))).join("");

/** Statements that put them into workgroup memory. */
export const stage = (block: Block): string => range(turnsOf(block)).map((i) =>
  inTurn(block, i, `${STAGED}[${block.name}_to${i}] = ${block.name}${i};\n`)).join("");

/**
 * The matrix of a type whose first element is at a row and depth of the block, u32 expressions.
 * @param across what the matrix's columns are: depths for Left matrices; for Right ones the rows where depths are
 * summed, the depths where rows are
 */
export function matrix(
  block: Block, type: string, [row, depth]: readonly [string, string], across: "rows" | "depths",
): string {
  const [line, place] = isByRow(block) ? [depth, row] : [row, depth];
  const major = isByRow(block) === (across === "rows") ? "row_major" : "col_major";
  return `subgroupMatrixLoad<${type}, ${major}>` +
    `(&${STAGED}, ${block.base}u + (${line}) * ${strideOf(block)}u + (${place}) / ${EIGHT}u, ${strideOf(block)}u)`;
}

/** The two halves of a vector, as four f16 each. */
const packed = (low: string, high: string): string =>
  `vec4u(bitcast<vec2u>(${low}), bitcast<vec2u>(${high}))`;

/** The index into the operand's buffer, in fours where it has vectors. */
function indexOf({ operand }: Block, row: string, depth: string): string {
  const elements = operand.separable
    ? `${operand.base(row, "batch")} + ${operand.step(depth)}` : operand.offset(row, depth, "batch");
  return operand.vector === "none" ? elements : `(${elements}) >> 2u`;
}

/** What lies at a row and depth, or zero: of elements, or of four neighbours. */
function guardedAt(block: Block, row: string, depth: string, inside: string | undefined): string {
  const { operand } = block;
  const guard = both(both(operand.guard?.(row, "batch"), operand.elementGuard?.(row, depth, "batch")), inside);
  const index = indexOf(block, row, depth);
  if (guard === undefined) return `${operand.buffer}[${index}]`;
  const zero = operand.vector === "none" ? "0.0h" : "vec4h()";
  return `select(${zero}, ${operand.buffer}[select(0, ${index}, ${guard})], ${guard})`;
}

/** Eight depths of one row. */
function depthsAt(block: Block, i: number, at: string): string {
  const { name, operand, rowExtent, rows, start, depthExtent: depth, depths } = block;
  const exact = isMultiple(depth, depths);
  const row = `let row = ${clamped(`${start} + ${name}_line${i}`, rowExtent, rows)};\n`;
  const from = `let first = ${at} + ${name}_place${i};\n`;
  const value = (l: number): string =>
    guardedAt(block, "row", `(first + ${l})`, exact ? undefined : `first + ${l} < ${depth.wgsl}`);
  if (operand.vector === "depth") return `${row}${from}${name}${i} = ${packed(value(0), value(4))};\n`;
  const four = (l: number): string => `vec4h(${range(4).map((n) => value(l + n)).join(", ")})`;
  return `${row}${from}${name}${i} = ${packed(four(0), four(4))};\n`;
}

/** Eight rows of one depth. */
function rowsAt(block: Block, i: number, at: string): string {
  const { name, rowExtent, rows, start, operand, depthExtent: depth, depths } = block;
  const exact = isMultiple(depth, depths);
  const inside = exact ? undefined : `first < ${depth.wgsl}`;
  const lines = [`let first = ${at} + ${name}_line${i};`];
  const fours = [0, 4].map((l) => {
    const row = `row${l}`;
    lines.push(`let ${row} = ${clamped(`${start} + ${name}_place${i} + ${l}`, rowExtent, rows, 4)};`);
    const guards = range(4).map((n) => both(
      operand.guard?.(`(${row} + ${n})`, "batch"), operand.elementGuard?.(`(${row} + ${n})`, "first", "batch")));
    if (guards.every((guard) => guard === undefined)) {
      return guardedAt(block, row, "first", inside);
    }
    const all = guards.map((guard) => both(guard, inside) ?? "true");
    all.forEach((guard, n) => lines.push(`let guard${l}_${n} = ${guard};`));
    const names = range(4).map((n) => `guard${l}_${n}`);
    const index = `select(0, ${indexOf(block, row, "first")}, ${names.join(" | ")})`;
    return `select(vec4h(), ${operand.buffer}[${index}], vec4<bool>(${names.join(", ")}))`;
  });
  lines.push(`${name}${i} = ${packed(fours[0] ?? "", fours[1] ?? "")};`);
  return `${lines.join("\n")}\n`;
}
