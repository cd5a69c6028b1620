/**
 * @file What a run of tests came to: ava's own report of one file, read line by line, and the sentences about all of
 * them. The report is ava's full one rather than TAP, which leaves out where an assertion stands.
 */

/** A file's tests. */
export interface FileResult {
  readonly name: string;
  readonly seconds: number;
  readonly passed: number;
  /** Titles, and a sentence for what failed outside of any test. */
  readonly failed: readonly string[];
  readonly skipped: readonly string[];
  /** What a reader needs of ava's report; empty if all went well. */
  readonly details: string;
}

/** Why a test is left out, by the end of its title, and how one gets it. The title of such a test must end so. */
export const REASONS: readonly { readonly mark: string; readonly says: (count: number) => string }[] = [
  {
    mark: "(needs the reference fixtures)",
    says: (n) => `${n} need${n === 1 ? "s" : ""} the reference fixtures (test/golden/README.md says how to get them)`,
  },
  {
    mark: "(needs an adapter with subgroup matrices)",
    says: (n) => `${n} need${n === 1 ? "s" : ""} an adapter with subgroup matrices (test/README.md says how to get one)`,
  },
  { mark: "(only in npm run test:full)", says: (n) => `${n} run${n === 1 ? "s" : ""} only in npm run test:full` },
];

const RESULT = /^ {2}(?:✔ |(?<failed>✘ \[fail\]: )|(?<skipped>- \[skip\] ))(?<title>.*)$/u;
const RULE = /^ {2}─$/u;
/** Before the first rule: titles, which are told elsewhere, and what tests logged. */
const TOLD = /^ {2}(?:✔ |✘ \[fail\]: |- \[skip\] |ℹ )|^ {4}/u;
/** Behind it: frames of a stack that are not the project's. */
const FOREIGN = /^ +at .*(?:node_modules\/ava\/|node:internal|Promise\.all \(index)/u;
const TOTAL = /^ {2}(?<count>\d+) (?:test|hook)s? (?<what>passed|failed|skipped)$/u;

/** Reads ava's report of one file as it comes. */
export class ReportReader {
  readonly #lines: string[] = [];
  readonly #found = { passed: 0, failed: [] as string[], skipped: [] as string[] };
  readonly #totals = { passed: 0, failed: 0, skipped: 0 };
  #rest = "";
  #ruled = false;

  /** Tests reported so far. */
  get count(): number {
    return this.#found.passed + this.#found.failed.length + this.#found.skipped.length;
  }

  /** @returns titles of tests that failed in this piece */
  read(chunk: string): readonly string[] {
    const before = this.#found.failed.length;
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
    return this.#found.failed.slice(before);
  }

  #line(line: string): void {
    if (RULE.test(line)) this.#ruled = true;
    // Behind the first rule come details, which may quote anything, and the totals.
    const result = this.#ruled ? null : RESULT.exec(line);
    const { title = "", failed, skipped } = result?.groups ?? {};
    if (failed !== undefined) this.#found.failed.push(title);
    else if (skipped !== undefined) this.#found.skipped.push(title);
    else if (result !== null) this.#found.passed++;
    const total = TOTAL.exec(line)?.groups;
    // TOTAL has no other words than these.
    if (this.#ruled && total !== undefined) this.#totals[total["what"] as "passed"] += Number(total["count"]);
    if (!RULE.test(line) && !(this.#ruled ? FOREIGN : TOLD).test(line)) this.#lines.push(line);
  }

  /**
   * The end of the report.
   * @param ended how ava ended: its exit code, or the signal
   * @param said what the file's process wrote by itself
   * @param some whether no test at all is fine, because a filter was given
   */
  end(name: string, seconds: number, ended: number | string, said: string, some: boolean): FileResult {
    this.read("\n");
    const { passed, skipped, failed } = this.#found;
    const none = this.count === 0 && some && typeof ended === "number";
    const outside: string[] = [];
    if (ended !== 0 && failed.length === 0 && !none) {
      outside.push(`ended with ${typeof ended === "number" ? `exit code ${ended}` : ended} outside of its tests`);
    }
    if (ended === 0 && this.count === 0) outside.push("has no tests");
    const told = this.#totals;
    // ava counts what passed only where nothing failed.
    const differs = told.skipped !== skipped.length || told.failed !== failed.length
      || (failed.length === 0 && told.passed !== passed);
    if (outside.length === 0 && !none && differs) outside.push("ava's totals are not those of its lines");
    const lines = outside.length > 0 ? [...this.#lines, ...said.split("\n").slice(-40)] : this.#lines;
    const wrong = [...failed, ...outside];
    return { name, seconds, passed, skipped, failed: wrong, details: wrong.length === 0 ? "" : compact(lines) };
  }
}

/** Lines as one text without gaps of many empty ones. */
const compact = (lines: readonly string[]): string =>
  lines.join("\n").replace(/\n(?:\s*\n){2,}/gu, "\n\n").replace(/^\n+|\s+$/gu, "");

const sum = (results: readonly FileResult[], of: (one: FileResult) => number): number =>
  results.reduce((n, one) => n + of(one), 0);

/** `7 min 05 s`, `4.2 s` */
export const showTime = (seconds: number): string => seconds < 60 ? `${seconds.toFixed(1)} s`
  : `${Math.floor(seconds / 60)} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;

/** `3 passed, 1 failed`, and `, 2 skipped: …` with a sentence for each reason. */
export function lastLine(results: readonly FileResult[]): string {
  const skipped = results.flatMap((one) => one.skipped);
  const line = `${sum(results, (one) => one.passed)} passed, ${sum(results, (one) => one.failed.length)} failed`;
  if (skipped.length === 0) return line;
  const reasons = REASONS.flatMap(({ mark, says }) => {
    const count = skipped.filter((title) => title.endsWith(mark)).length;
    return count === 0 ? [] : [says(count)];
  });
  const other = skipped.filter((title) => !REASONS.some(({ mark }) => title.endsWith(mark))).length;
  if (other > 0) reasons.push(other === 1 ? "1 says why in its title" : `${other} say why in their titles`);
  return `${line}, ${skipped.length} skipped: ${reasons.join(", ")}`;
}

/** The files that took longest, and all of them. @param seconds from start to end, files side by side */
export function timesLine(results: readonly FileResult[], seconds: number, load: number): string {
  const slow = [...results].sort((a, b) => b.seconds - a.seconds).slice(0, 8)
    .map((one) => `${one.name} ${Math.round(one.seconds)} s`);
  const all = `all ${results.length} in ${showTime(seconds)} at a load of ${load.toFixed(1)}`;
  return `slowest: ${slow.join(", ")}; ${all}`;
}

/** `[3/53] ops: 70 passed, 0 failed, 2 skipped  4.2 s` */
export function fileLine(result: FileResult, done: number, total: number): string {
  const { name, passed, failed, skipped, seconds } = result;
  const left = skipped.length === 0 ? "" : `, ${skipped.length} skipped`;
  const place = `${String(done).padStart(String(total).length)}/${total}`;
  return `[${place}] ${name}: ${passed} passed, ${failed.length} failed${left}  ${showTime(seconds)}`;
}
