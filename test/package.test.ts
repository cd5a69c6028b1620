/** The package as npm packs it, in a new project of npm's defaults (CommonJS, nothing configured), as a user has it. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import anyTest, { type TestFn } from "ava";
import { packageFolder } from "../compiler/cli/package.js";

const root = packageFolder();
const run = promisify(execFile);

/** The new project. */
const test = anyTest as TestFn<{ folder: string }>;

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly bin: { readonly deitc: string };
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
};

/** Packages below a `node_modules`, scoped ones with their scope. */
const packagesIn = (folder: string): string[] =>
  readdirSync(folder).filter((name) => !name.startsWith(".")).flatMap((name) =>
    name.startsWith("@") ? readdirSync(join(folder, name)).map((inner) => `${name}/${inner}`) : [name]);

test.before(async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "deitc-package-"));
  t.context = { folder };
  // What `npm pack` writes, unpacked where npm would: scripts have run already, this is a test of what they built.
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], { cwd: root });
  const [packed] = JSON.parse(stdout) as { readonly filename: string }[];
  const installed = join(folder, "node_modules");
  mkdirSync(join(installed, "deitc"), { recursive: true });
  await run("tar", ["xzf", join(folder, packed?.filename ?? ""), "-C", join(installed, "deitc"), "--strip-components=1"]);
  // The dependencies of this clone stand for those that npm would install, all but the ones for development.
  const development = new Set(Object.keys(manifest.devDependencies));
  for (const name of packagesIn(join(root, "node_modules")).filter((one) => one !== "deitc" && !development.has(one))) {
    mkdirSync(join(installed, name, ".."), { recursive: true });
    symlinkSync(join(root, "node_modules", name), join(installed, name));
  }
  writeFileSync(join(folder, "package.json"), '{ "name": "mine", "version": "1.0.0", "main": "index.js" }\n');
  writeFileSync(join(folder, "small.deit"), `import { linear } from "deitc/nn.deit"
    model small(classes = 3, preprocess = [32, 32, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]) {
      input images: [B, 3, 32, 32]
      fc = linear(reshape(images, [B, 3072]), classes)
      output prediction = fc
    }
    `);
  await run(process.execPath, [join(installed, "deitc", manifest.bin.deitc), "compile", "small.deit"], { cwd: folder });
});

test.after.always((t) => rmSync(t.context.folder, { recursive: true, force: true }));

test("the package has what it says it exports and what its commands need, and nothing for development", (t) => {
  const home = join(t.context.folder, "node_modules", "deitc");
  const files = readdirSync(home, { recursive: true, encoding: "utf8" });
  const targets = Object.values(manifest.exports).flatMap((to) => (typeof to === "string" ? [to] : Object.values(to)));
  for (const file of [manifest.bin.deitc, ...targets, "LICENSE", "README.md", "models/vit.deit"]) {
    t.true(existsSync(join(home, file)), file);
  }
  // The embedded adapter, with its licences. `npm run build` puts it there; `tsc` alone does not.
  t.deepEqual(files.filter((file) => file.includes("swiftshader.")).map((file) => basename(file)).sort(), [
    "swiftshader.LICENSES.txt", "swiftshader.d.ts", "swiftshader.js", "swiftshader.tar.br",
  ]);
  t.is(packagesIn(join(home, "..")).find((name) => name.startsWith("@sparticuz/")), undefined);
  t.deepEqual(files.filter((file) => /\.map$|(^|[\\/])test[\\/]|\.tsbuildinfo$/.test(file)), []);
  const sources = files.filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"));
  t.deepEqual(sources, []);
  const naming = files.filter((file) => file.endsWith(".js") && /^\/\/# sourceMappingURL/m.test(readFileSync(join(home, file), "utf8")));
  t.deepEqual(naming, [], "no file names a source map that is not there");
});

test("every dependency has a range of versions", (t) => {
  for (const [name, range] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
    t.regex(range, /^[~^]?\d+\.\d+/, name);
  }
});

const PROGRAM = `
  const model = await Small.load({ randomWeights: { seed: 0 }, batch: 2, adapter: process.env.DEITC_ADAPTER });
  const { prediction } = await model.infer({ images: new Float32Array(2 * 3 * 32 * 32) });
  model.destroy();
  console.log(prediction.length, topK(prediction.subarray(0, 3), 1).length);`;

const programs = [
  { file: "use.mjs", text: `import { Small, topK } from "./out/small/index.js";\n${PROGRAM}` },
  {
    file: "use.cjs",
    text: `async function main() { const { Small, topK } = await import("./out/small/index.js");${PROGRAM} }\nmain();`,
  },
];

for (const { file, text } of programs) {
  test(`a project that is not a module imports a generated folder: ${file}`, async (t) => {
    const { folder } = t.context;
    writeFileSync(join(folder, file), text);
    const env = { ...process.env, DEITC_ADAPTER: process.env["DEITC_ADAPTER"] ?? "swiftshader" };
    const { stdout } = await run(process.execPath, [file], { cwd: folder, env });
    t.is(stdout, "6 1\n");
  });
}

test("TypeScript checks everything without the DOM, without skipping libraries and without other types", async (t) => {
  const { folder } = t.context;
  mkdirSync(join(folder, "node_modules", "@types"), { recursive: true });
  for (const name of ["@types/node", "undici-types"]) {
    if (!existsSync(join(folder, "node_modules", name))) symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  }
  writeFileSync(join(folder, "use.ts"), `
    import { Small, topK } from "./out/small/index.js";
    import { listAdapters, openDevice, WeightsError, type Session } from "deitc/runtime";
    import { planMemory } from "deitc/runtime/core";
    import type { Compiled } from "deitc/compiler";
    export async function best(images: Float32Array): Promise<number> {
      await using model = await Small.load({ weights: "small.safetensors", batch: 2 });
      const { prediction }: { readonly prediction: Float32Array } = await model.infer({ images });
      const adapter: string = model.session.device.info.description;
      // @ts-expect-error the model has no such input
      await model.infer({ pictures: images });
      return topK(prediction.subarray(0, Small.classes), 1)[0]?.index ?? adapter.length;
    }
    export type { Compiled, Session };
    export const all = [listAdapters, openDevice, planMemory, WeightsError];
  `);
  const compilerOptions = {
    strict: true, module: "nodenext", target: "es2022", lib: ["es2023"], types: [], skipLibCheck: false, noEmit: true,
    exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true,
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  // Without a list of files it takes the generated TypeScript below `out/` too.
  const { stdout } = await run(process.execPath, [tsc, "-p", "."], { cwd: folder }).catch((error: unknown) => error as { stdout: string });
  t.is(stdout, "");
});
