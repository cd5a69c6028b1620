/** @file `deitc convert`: a checkpoint of any kind to safetensors with timm's names. */
import { Command } from "commander";
import { printable } from "../../../runtime/text.js";
import type { Checkpoint } from "../../../runtime/weights/checkpoint.js";
import type { ElementType, StoredTensor } from "../../../runtime/weights/dtype.js";
import type { TensorToWrite } from "../../../runtime/weights/safetensors.js";
import { examples, noteLines, printJsonValue, type Finish } from "../command.js";
import { CommandError, Exit } from "../exit.js";
import { EMA } from "../model.js";
import { Progress } from "../progress.js";
import { showBytes, showCount } from "../table.js";

interface Options {
  readonly ema?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

export const convertCommand = (finish: Finish): Command =>
  new Command("convert")
    .description("Converts a checkpoint (.pth, .pt, .th, .bin, .safetensors) to .safetensors with timm's names.")
    .argument("<checkpoint>", "the file to read; its format is detected by content, and nothing in it is executed")
    .argument("<out>", "the .safetensors file to write")
    .option(...EMA)
    .option("--force", "overwrite the output file if it exists")
    .option("--json", "print JSON")
    .addHelpText("after", examples(
      "deitc convert deit_tiny_patch16_224-a1311bcf.pth deit_ti.safetensors",
      "deitc convert --ema checkpoint.pth averaged.safetensors",
    ))
    .action(async (from: string, to: string, options: Options) => {
      await convert(from, to, options);
      finish(Exit.done);
    });

async function convert(from: string, to: string, options: Options): Promise<void> {
  const [{ existsSync }, { writeFileAtomic }, { openCheckpointFile }, { encodeSafetensors }] = await Promise.all([
    import("node:fs"), import("../../../runtime/node/files.js"), import("../../../runtime/node/checkpoint.js"),
    import("../../../runtime/weights/safetensors.js"),
  ]);
  if (existsSync(to) && !options.force) {
    throw new CommandError(`${to}: already exists`, "choose another name, or replace it with --force");
  }
  const { checkpoint, close } = await openCheckpointFile(from, { ema: options.ema ?? false });
  try {
    const { tensors, notes } = await renamedTensors(checkpoint);
    await writeFileAtomic(to, encodeSafetensors(tensors, { ...Object.fromEntries(checkpoint.metadata), format: "pt" }));
    const bytes = tensors.reduce(
      (n, { data }) => n + (data instanceof Float32Array ? data.byteLength : data.bytes.byteLength), 0,
    );
    if (options.json) printJsonValue({ from, to, format: checkpoint.format, tensors: tensors.length, bytes, notes });
    else {
      process.stdout.write(noteLines(notes));
      process.stdout.write(
        `${to}: ${showCount(tensors.length)} tensors, ${showBytes(bytes)}, from ${checkpoint.format}\n`,
      );
    }
  } finally {
    await close();
  }
}

/** A tensor of the result: where its parts, stacked along the first axis, come from. */
interface Gathered {
  readonly parts: (StoredTensor | undefined)[];
}

/** Every tensor under timm's name, elements as they are stored. */
async function renamedTensors(checkpoint: Checkpoint): Promise<{ tensors: TensorToWrite[]; notes: string[] }> {
  const { renamed } = await import("../../../runtime/weights/names.js");
  const notes = [...checkpoint.notes];
  const conventions = new Map<string, number>();
  const gathered = new Map<string, Gathered>();
  for (const [name, tensor] of checkpoint.tensors) {
    const rule = renamed(name);
    if (rule) conventions.set(rule.convention, (conventions.get(rule.convention) ?? 0) + 1);
    const path = rule?.path ?? name;
    const { index, count } = rule?.part ?? { index: 0, count: 1 };
    const entry = gathered.get(path) ?? { parts: Array.from({ length: count }, () => undefined) };
    if (entry.parts.length !== count || entry.parts[index] !== undefined) {
      const both = `two tensors map to '${printable(path)}', one of them '${printable(name)}'`;
      throw new CommandError(`${checkpoint.file}: ${both}`);
    }
    entry.parts[index] = tensor;
    gathered.set(path, entry);
  }
  for (const [convention, count] of conventions) notes.push(`translated ${count} tensor names from ${convention}`);
  const progress = new Progress("reading", gathered.size, "tensors");
  const tensors: TensorToWrite[] = [];
  for (const [path, { parts }] of gathered) {
    tensors.push(await stacked(checkpoint.file, path, parts));
    progress.update(tensors.length, path);
  }
  progress.end();
  return { tensors, notes };
}

async function stacked(
  file: string, path: string, parts: readonly (StoredTensor | undefined)[],
): Promise<TensorToWrite> {
  const present = parts.filter((part) => part !== undefined);
  const [first] = present;
  if (first === undefined || present.length < parts.length) {
    throw new CommandError(
      `${file}: '${printable(path)}' consists of ${parts.length} tensors, but only ` +
        `${present.map((p) => printable(p.name)).join(", ")} is present`,
    );
  }
  if (present.length === 1) {
    return { name: path, shape: first.shape, data: { dtype: first.dtype, bytes: await first.read() } };
  }
  const rest = (tensor: StoredTensor): string => `${tensor.dtype} ${tensor.shape.slice(1).join("×")}`;
  if (present.some((part) => rest(part) !== rest(first))) {
    throw new CommandError(`${file}: the parts of '${printable(path)}' do not fit together`);
  }
  const shape = [present.reduce((n, part) => n + (part.shape[0] ?? 0), 0), ...first.shape.slice(1)];
  return { name: path, shape, data: { dtype: first.dtype, bytes: await joined(present) } };
}

async function joined(
  parts: readonly { readonly dtype: ElementType; read(): Promise<Uint8Array> }[]
): Promise<Uint8Array> {
  return Buffer.concat(await Promise.all(parts.map((part) => part.read())));
}
