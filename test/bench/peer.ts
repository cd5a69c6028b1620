/**
 * @file Our side of a comparison with other packages: a process that compiles a model, loads it on the adapter there is
 * and times steps on request. It speaks lines: a JSON object after `@@` when ready, then answers to `run N` and `quit`.
 *
 * `node dist/test/bench/peer.js --preset=deit-ti --batch=1 --mode=infer`, with `PEERS_DATA` naming the folder of
 * `<preset>.safetensors` and `<preset>-b<batch>.x.f32`.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { language } from "../../compiler/index.js";
import { compileModel } from "../../compiler/pipeline.js";
import { nodeHost } from "../../compiler/cli/host.js";
import { loadProgram } from "../../dsl/resolve.js";
import { load } from "../../runtime/node/index.js";
import { familyNamed } from "../../runtime/families.js";

const args = new Map(process.argv.slice(2).map((a) => a.replace(/^--/, "").split("=") as [string, string]));
const preset = args.get("preset") ?? "deit-ti";
const batch = Number(args.get("batch") ?? 1);
const data = process.env["PEERS_DATA"] ?? "data";
const say = (message: object): void => void process.stdout.write(`@@${JSON.stringify(message)}\n`);

/** Model file and header overrides of a preset. */
const PRESETS: Readonly<Record<string, { file: string; overrides: Record<string, number> }>> = {
  "deit-ti": { file: "deit_ti.deit", overrides: {} },
  "deit-s": { file: "deit_s.deit", overrides: {} },
  "deit-micro": { file: "deit_ti.deit", overrides: { image: 32, patch: 4, depth: 6, classes: 10 } },
};

async function main(): Promise<void> {
  const born = performance.now();
  const chosen = PRESETS[preset];
  if (!chosen || args.get("mode") === "train") throw new Error(`no preset ${preset} for ${args.get("mode")}`);
  const { program } = loadProgram(join(import.meta.dirname, "../../../models", chosen.file), nodeHost(), language());
  const { compiled } = program ? compileModel(program, undefined, { overrides: chosen.overrides }) : {};
  if (!compiled) throw new Error(`${chosen.file} does not compile`);
  const session = await load(
    { manifest: compiled.manifest, wgsl: async (family, kernel) => compiled.wgsl.get(`${family}/${kernel}`) ?? "" },
    { weights: join(data, `${preset}.safetensors`), batch },
  );
  const bytes = readFileSync(join(data, `${preset}-b${batch}.x.f32`));
  const images = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  const step = async (): Promise<Float32Array> => (await session.infer({ images }))["logits"] as Float32Array; // vit's output
  const start = performance.now();
  const out = await step();
  say({ ready: true, initMs: start - born, firstMs: performance.now() - start, info: session.family, out: [...out.slice(0, 4000)] });
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, count] = line.trim().split(" ");
    if (command === "run") {
      const ms: number[] = [];
      const cpu: number[] = [];
      for (let i = 0; i < Number(count); i++) {
        const [used, from] = [process.cpuUsage(), performance.now()];
        await step();
        ms.push(performance.now() - from);
        const now = process.cpuUsage(used);
        cpu.push((now.user + now.system) / 1000);
      }
      const dispatch = familyNamed(compiled.manifest, session.family).programs.run.length;
      say({ ms, cpu, losses: [], counts: { dispatch, submit: 1 } });
    } else if (command === "quit") {
      say({ bye: true, peakRssMb: process.resourceUsage().maxRSS / 1024 });
      session.destroy();
      process.exit(0);
    }
  }
}

main().catch((error: unknown) => {
  say({ error: String(error) });
  process.exit(1);
});
