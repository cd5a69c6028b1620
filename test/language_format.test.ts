/**
 * The canonical layout: parse∘format is the identity on trees (spans aside), formatting twice changes nothing, comments
 * stay; on all sources of the project and on random ones.
 */
import { readdirSync, readFileSync } from "node:fs";
import test from "ava";
import { format } from "../dsl/format.js";
import { parse } from "../dsl/parse.js";
import { mix } from "./golden.js";

const strip = (tree: unknown): string =>
  JSON.stringify(tree, (key, value: unknown) => (key === "span" || key === "source" ? undefined : value));

/** The canonical form of a text without errors, checked for both properties. */
function formatted(text: string): string {
  const first = parse({ path: "x", text });
  if (first.diagnostics.length > 0) throw new Error(`${first.diagnostics[0]?.message ?? ""}\n${text}`);
  const once = format(first.file);
  const second = parse({ path: "x", text: once });
  if (second.diagnostics.length > 0) throw new Error(`${second.diagnostics[0]?.message ?? ""}\n${once}`);
  if (strip(first.file) !== strip(second.file)) throw new Error(`another tree:\n${text}\n----\n${once}`);
  const twice = format(second.file);
  if (twice !== once) throw new Error(`not idempotent:\n${once}\n----\n${twice}`);
  return once;
}

for (const file of readdirSync("models").filter((name) => name.endsWith(".deit"))) {
  test(`models/${file} is in the canonical layout`, (t) => {
    const text = readFileSync(`models/${file}`, "utf8");
    t.is(formatted(text), text);
  });
}

test("every test source that parses keeps its tree", (t) => {
  let count = 0;
  for (const folder of ["test/language", "test/language/parts"]) {
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".deit") && name !== "folder.deit")) {
      const text = readFileSync(`${folder}/${file}`, "utf8");
      if (parse({ path: file, text }).diagnostics.length > 0) continue;
      formatted(text);
      count++;
    }
  }
  t.true(count > 20);
});

test("layout of one of each", (t) => {
  const text = `
// licence
import {a,b} from "./x.deit"   // why
/// Doc.
block f(x:[..,I],n:int,t:i32[B,_],m=(1+2)*3)->[..,I]{ y,z=g(x[:,1:,::2,-1],n=2)as"b.{n+1}" // trailing
  // before

  // after a blank line


  if not(a==b)and c<3{return y}else if d{ for i in 0..n-1{ y=-(-y)^-2 } }else{ }
  return a?b:c?d:e }
model m extends vit{a=1,b=[1,2]} model n extends vit {}
recipe r extends s{ /* */
`.replace("/* */", `
  x:m{a=1}frozen from "w"
  length=5 epochs // five
  /// The loss.
  loss(a:[],b:[B]){ return (a*b)+none }
}`);
  t.is(formatted(text), `// licence
import { a, b } from "./x.deit"  // why

/// Doc.
block f(x: [.., I], n: int, t: i32[B, _], m = (1 + 2) * 3) -> [.., I] {
  y, z = g(x[:, 1:, ::2, -1], n = 2) as "b.{n + 1}"  // trailing
  // before

  // after a blank line

  if not (a == b) and c < 3 { return y } else if d {
    for i in 0..n - 1 { y = -(-y)^-2 }
  } else {}
  return a ? b : c ? d : e
}

model m extends vit { a = 1  b = [1, 2] }
model n extends vit {}

recipe r extends s {
  x: m { a = 1 } frozen from "w"
  length = 5 epochs  // five
  /// The loss.
  loss(a: [], b: [B]) { return (a * b) + none }
}
`);
});

test("long lines are wrapped at 120 columns", (t) => {
  const name = "a_rather_long_name_of_a_value";
  const many = Array.from({ length: 12 }, (_, i) => `${name}_${i}`);
  const text = `block f(${many.map((one) => `${one}: [B, N]`).join(", ")}) -> [B] {
y = g(${many.join(", ")})
z = ${many.join(" + ")}
w = ${name} > 3 ? ${many.slice(0, 3).join(" * ")} : ${many.slice(3, 6).join(" * ")}
v = [${many.join(", ")}]
u = g(h(${many.join(", ")}), k = [${many.join(", ")}])
return (${many.slice(0, 6).join(" + ")}) * (${many.slice(6).join(" - ")})
}`;
  const lines = formatted(text).split("\n");
  t.true(lines.every((line) => line.length <= 120));
  t.true(lines.length > 30);
});

test("no comment is lost", (t) => {
  const text = readFileSync("models/vit.deit", "utf8");
  let id = 0;
  // A line comment may stand wherever a line ends; `///` lines and strings are left alone.
  const commented = text.split("\n").map((line) => (/\/\//.test(line) ? line : `${line} // c${id++}`)).join("\n");
  const result = formatted(commented);
  t.true(id > 40);
  for (let i = 0; i < id; i++) t.is(result.split(new RegExp(`// c${i}(?!\\d)`)).length, 2, `c${i}`);
});

/** Random expressions with random brackets, line breaks and spaces. */
class Writer {
  private i = 0;
  constructor(private readonly seed: number) {}
  private pick(n: number): number {
    return mix(this.seed, this.i++) % n;
  }
  private space(): string {
    return [" ", "", "  ", "\n", " // note\n"][this.pick(40) < 36 ? this.pick(3) : 3 + this.pick(2)] ?? " ";
  }
  expr(depth: number): string {
    const sub = (): string => this.expr(depth - 1);
    const s = (): string => this.space();
    if (depth <= 0) {
      return ["x", "N", "3", "0.5", "5e-4", "true", "none", '"t"', '"b.{i + 1}.{j}"', "2 epochs"][this.pick(10)] ?? "x";
    }
    const name = ["f", "concat", "a_longer_callee_name"][this.pick(3)] ?? "f";
    switch (this.pick(10)) {
      case 0: return `(${s()}${sub()}${s()})`;
      case 1: return `-${sub()}`;
      case 2: return `not ${sub()}`;
      case 3: return `${name}(${s()}${sub()},${s()}n${s()}=${s()}${sub()}${s()})`;
      case 4: return `${name}(${sub()}) as "p"`;
      case 5: return `[${s()}${sub()},${s()}${sub()}${s()}]`;
      case 6: return `x[${sub()},${s()}:${s()}, ${sub()}${s()}:${sub()}]`;
      case 7: return `(${sub()})${s()}?${s()}(${sub()})${s()}:${s()}${sub()}`;
      case 8: return `(${sub()}).logits`;
      default: {
        const operator = [
          "+", "-", "*", "/", "%", "^", "==", "!=", "<=", ">=", "<", ">", "and", "or"
        ][this.pick(14)] ?? "+";
        return `${this.side(sub())} ${operator} ${this.side(sub())}`;
      }
    }
  }
  /** A bare operand, or one in brackets. */
  private side(text: string): string {
    return this.pick(2) === 0 ? `(${text})` : text;
  }
}

test("random expressions keep their tree", (t) => {
  let checked = 0;
  for (let seed = 0; seed < 1500; seed++) {
    const body = new Writer(seed).expr(1 + (seed % 6));
    const text = `block f(x: [B]) -> [B] {\n  y = ${body}\n  return y\n}\n`;
    // Some are no programs (`not` after an operator, say): those only have to be refused.
    if (parse({ path: "x", text }).diagnostics.length > 0) continue;
    t.true(formatted(text).length > 0);
    checked++;
  }
  t.true(checked > 800, `${checked}`);
});
