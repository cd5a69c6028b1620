/** What the runner reads in ava's reports, and what it says about all of them. */
import { readFileSync } from "node:fs";
import test from "ava";
import { fileLine, lastLine, REASONS, ReportReader, showTime, timesLine, type FileResult } from "./run_report.js";

const SOUND = `
  before hook
    ℹ on SwiftShader
  ✔ one
  ✔ two (1.5s)
    ℹ ✔ logged
  - [skip] three (needs the reference fixtures)
  ─

  2 tests passed
  1 test skipped
`;
const BROKEN = `
  ✔ one
  ✘ [fail]: two
    ℹ logged
  ─

  two
  dist/test/x.test.js:3

   3: t.is(1, 2);

  ✔ quoted

  Difference (- actual, + expected):

  - 1
  + 2

      at Runner.runTest (file:///home/x/node_modules/ava/lib/runner.js:362:30)
  ─

  1 test failed
`;

const read = (text: string, ended: number | string = 0, said = "", some = false): FileResult => {
  const reader = new ReportReader();
  reader.read(text);
  return reader.end("x", 1.25, ended, said, some);
};

test("a sound report is counted, and needs no details", (t) => {
  const { passed, failed, skipped, details } = read(SOUND);
  t.deepEqual([passed, failed, skipped, details], [2, [], ["three (needs the reference fixtures)"], ""]);
});

test("what failed is told as it comes, its details at the end without what was sound", (t) => {
  const reader = new ReportReader();
  const cut = BROKEN.indexOf("fail]");
  t.deepEqual([...reader.read(BROKEN.slice(0, cut)), ...reader.read(BROKEN.slice(cut))], ["two"]);
  const { passed, failed, details } = reader.end("x", 1, 1, "", false);
  t.deepEqual([passed, failed], [1, ["two"]]);
  t.true(details.startsWith("  two\n  dist/test/x.test.js:3\n\n   3: t.is(1, 2);\n\n  ✔ quoted\n"), details);
  t.true(details.endsWith("  - 1\n  + 2\n\n  1 test failed"), details);
  t.false(/one|logged|ava\/lib/u.test(details));
});

test("an end outside of the tests, no tests, and totals that differ are failures", (t) => {
  const crash = read(SOUND, 1, "a\nb");
  t.deepEqual(crash.failed, ["ended with exit code 1 outside of its tests"]);
  t.true(crash.details.endsWith("a\nb"));
  t.deepEqual(read(SOUND, "SIGKILL").failed, ["ended with SIGKILL outside of its tests"]);
  t.deepEqual(read("\n  ✘ No tests found in x\n").failed, ["has no tests"]);
  t.deepEqual(read("", 1).failed, ["ended with exit code 1 outside of its tests"]);
  t.deepEqual(read("", 1, "", true).failed, [], "a filter may leave none");
  const other = read(SOUND.replace("2 tests passed", "3 tests passed"));
  t.deepEqual(other.failed, ["ava's totals are not those of its lines"]);
});

const file = (name: string, seconds: number, passed: number, skipped: readonly string[] = []): FileResult =>
  ({ name, seconds, passed, failed: [], skipped, details: "" });
const marks = REASONS.map(({ mark }) => mark);

test("the last line counts, with a sentence for each reason to skip", (t) => {
  t.is(lastLine([file("a", 1, 2), file("b", 1, 3)]), "5 passed, 0 failed");
  t.is(lastLine([file("a", 1, 2, [`x ${marks[0]}`, `y ${marks[0]}`]), file("b", 1, 3, [`z ${marks[1]}`, "odd", `w ${marks[2]}`])]),
    "5 passed, 0 failed, 5 skipped: 2 need the reference fixtures (test/golden/README.md says how to get them), "
    + "1 needs an adapter with subgroup matrices (test/README.md says how to get one), "
    + "1 runs only in npm run test:full, 1 says why in its title");
});

test("lines about files and times", (t) => {
  t.is(fileLine(file("ops", 4.21, 70, ["x"]), 3, 53), "[ 3/53] ops: 70 passed, 0 failed, 1 skipped  4.2 s");
  t.is(timesLine([file("a", 1, 1), file("b", 61, 1)], 425.9, 2),
    "slowest: b 61 s, a 1 s; all 2 in 7 min 05 s at a load of 2.0");
  t.is(showTime(59.94), "59.9 s");
});

test("tests are left out under the marks that the runner knows", (t) => {
  const code = ["golden", "matrices"].map((name) => readFileSync(`test/${name}.ts`, "utf8")).join("\n");
  for (const mark of marks) t.true(code.includes(mark), mark);
});
