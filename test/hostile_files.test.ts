/** Files that are made to hurt: each ends in one typed error, in time and memory that its size allows. */
import test from "ava";
import { reportFault } from "../compiler/cli/exit.js";
import { DeitcError } from "../runtime/errors.js";
import { decodeImage } from "../runtime/node/images.js";
import { parseMetrics } from "../runtime/train/metrics.js";
import { decodeState } from "../runtime/train/state.js";
import { memoryAccess } from "../runtime/weights/access.js";
import { openCheckpoint } from "../runtime/weights/checkpoint.js";
import { encodeSafetensors, readSafetensors } from "../runtime/weights/safetensors.js";

const bytes = (...parts: readonly (Uint8Array | readonly number[] | string)[]): Uint8Array =>
  new Uint8Array(Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Uint8Array.from(part)))));

function safetensors(header: string): Uint8Array {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  return bytes(length, header);
}

/** PyTorch's legacy stream up to its main pickle. */
const legacy = (main: Uint8Array): Uint8Array => bytes(
  [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e], [0x80, 2, 0x4d, 0xe9, 3, 0x2e],
  [0x80, 2, 0x7d, 0x58, 13, 0, 0, 0], "little_endian", [0x88, 0x73, 0x2e], [0x80, 2], main,
);

/** A list, and `count` times what `item` makes appended to it. */
function appended(item: readonly number[], count: number): Uint8Array {
  const one = [...item, 0x61];
  const all = new Uint8Array(1 + count * one.length).fill(0x5d, 0, 1);
  for (let i = 0; i < count; i++) all.set(one, 1 + i * one.length);
  return all;
}

function state(changes: Readonly<Record<string, string>>, lines = ""): Uint8Array {
  const sums = JSON.stringify({ loss: 0, steps: 0, seconds: 0, total: 0 });
  const data = { dtype: "U8", bytes: new TextEncoder().encode(lines) } as const;
  return bytes(...encodeSafetensors([{ name: "metrics.jsonl", shape: [data.bytes.length], data }], {
    format: "deitc training state 2", recipe: "r", step: "1", sums, best: "null", counters: "{}", ...changes,
  }));
}

const file = (content: Uint8Array) => memoryAccess("f", content);
const epoch = { kind: "epoch", epoch: 1, step: 1, lr: 1, loss: 1, imagesPerSecond: 1, seconds: 1 };

const CASES: Readonly<Record<string, readonly [read: () => unknown, message: RegExp]>> = {
  "a safetensors key of 60 million characters":
    [() => readSafetensors(file(safetensors(`{"${"a".repeat(60e6)}":1}`))), /the name 'a{60}…' has 60000000 characters, over 1000$/],
  "a safetensors shape of a million axes":
    [() => readSafetensors(file(safetensors(`{"a":{"dtype":"F32","shape":[${"1,".repeat(1e6)}1],"data_offsets":[0,4]}}`))),
      /tensor 'a': its shape a list of 1000001 is not a list of sizes$/],
  "a pickle of four million dictionaries":
    [() => openCheckpoint(file(legacy(appended([0x7d], 4e6)))), /over 1000000 collections in the pickle/],
  "a state whose sums are null": [() => decodeState(file(state({ sums: "null" }))), /`sums` must be an object, got null$/],
  "a state whose best weights lie elsewhere":
    [() => decodeState(file(state({ best: '{"step":1,"weights":"../../x","evaluation":{}}' }))),
      /`best\.weights` must be "model" or "ema", got "\.\.\/\.\.\/x"$/],
  "a state whose counters are a list": [() => decodeState(file(state({ counters: "[1]" }))), /`counters` must be an object/],
  "a state with a line that is no record":
    [() => decodeState(file(state({}, "{}\n"))), /^f: metrics\.jsonl: line 1 is not a record of a run: `kind` must be/],
  "a record whose evaluation is a number": [() => parseMetrics(JSON.stringify({ ...epoch, model: 3 })), /`model` must be an object, got 3$/],
  "an image of a format that is not decoded":
    [() => decodeImage(bytes("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"), "f"), /not an image, or of an unsupported/],
};

for (const [what, [read, message]] of Object.entries(CASES)) {
  test.serial(what, async (t) => {
    const error = await t.throwsAsync(async () => read(), { instanceOf: DeitcError, message });
    t.true((error?.message.length ?? 0) < 300);
  });
}

test.serial("a name that acts on a terminal is told without its control characters", async (t) => {
  const hostile = safetensors(JSON.stringify({ "\u001b[2J\u0007": 1 }));
  const error = await t.throwsAsync(async () => readSafetensors(file(hostile)), { instanceOf: DeitcError });
  const said: string[] = [];
  const { write } = process.stderr;
  process.stderr.write = (text: string | Uint8Array) => { said.push(String(text)); return true; };
  try {
    reportFault(error);
  } finally {
    process.stderr.write = write;
  }
  t.regex(said.join(""), /tensor '\ufffd\[2J\ufffd': its header entry is not an object/u);
});
