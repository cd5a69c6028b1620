/**
 * @file A pickle machine that executes nothing: a closed list of opcodes builds plain data, and every global is looked
 * up in a table of ours. What is not listed is refused by name. Source: the opcode list in CPython's pickletools.
 */

import { WeightsError, type FileFault } from "../errors.js";
import { printable } from "../text.js";
import { opcodeName } from "./opcodes.js";

/** Values that a pickle builds but this machine does not know: the table's builders make them. */
export abstract class Foreign {}

/** A Python tuple; lists are arrays, dictionaries and ordered dictionaries are maps. */
export class Tuple {
  constructor(readonly items: readonly PickleValue[]) {}
}

/** A name that a pickle may refer to; without `build` it may be named but not called. */
export class Global {
  constructor(readonly name: string, readonly build?: (args: readonly PickleValue[]) => PickleValue) {}
}

/** Stands in for an object of a class that is known to be harmless and of no use here; nothing was run to make it. */
export class Inert {
  readonly fields = new Map<PickleValue, PickleValue>();
  constructor(readonly type: string, readonly args: readonly PickleValue[]) {}
}

export type PickleValue =
  | null | boolean | number | bigint | string | PickleValue[] | Map<PickleValue, PickleValue>
  | Tuple | Global | Inert | Foreign;

/** What the surroundings give to a pickle. */
export interface PickleContext {
  /** For messages. */
  readonly file: string;
  readonly globals: ReadonlyMap<string, Global>;
  /** The value of a persistent id; refused when absent. */
  readonly persistent?: (id: PickleValue) => PickleValue;
}

/** Open marks, that is nested collections under construction. Real checkpoints stay under 20. */
const DEPTH_LIMIT = 1000;
/** Values on the stack. Python writes collections in batches of 1000. */
const STACK_LIMIT = 1_000_000;
/** Values, and collections among them, of a whole pickle: one byte makes a dictionary, which takes hundreds. */
const VALUE_LIMIT = 16_000_000;
const COLLECTION_LIMIT = 1_000_000;

/** Reads the pickle that starts at `start`; `end` is the byte after it. Throws `WeightsError`. */
export function readPickle(
  bytes: Uint8Array, start: number, context: PickleContext,
): { readonly value: PickleValue; readonly end: number } {
  return new Machine(bytes, start, context).run();
}

class Machine {
  private readonly view: DataView;
  private stack: PickleValue[] = [];
  private readonly marks: PickleValue[][] = [];
  private readonly memo = new Map<number, PickleValue>();
  /** Elements that may still be copied from one collection into another: keeps all work linear in the bytes. */
  private copies: number;
  private values = 0;
  private collections = 0;

  constructor(private readonly bytes: Uint8Array, private at: number, private readonly context: PickleContext) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.copies = 4 * bytes.byteLength;
  }

  run(): { value: PickleValue; end: number } {
    for (;;) {
      const opcode = this.byte();
      if (opcode === 0x2e) return { value: this.pop(), end: this.at };
      const operation = operations.get(opcode);
      if (operation === undefined) throw this.fault("refused", `pickle opcode ${opcodeName(opcode)} is not accepted`);
      operation(this);
    }
  }

  fault(fault: FileFault, message: string): WeightsError {
    const help = fault === "refused"
      ? "checkpoints of tensors do not need it; save only the state_dict, preferably as safetensors" : undefined;
    const detail = { file: this.context.file, fault };
    const text = `${printable(message)} (pickle byte ${this.at})`;
    return new WeightsError(text, help === undefined ? detail : { ...detail, help });
  }

  private take(count: number): number {
    const at = this.at;
    if (count > this.bytes.byteLength - at) throw this.fault("truncated", "the pickle is cut short");
    this.at += count;
    return at;
  }
  byte(): number { return this.view.getUint8(this.take(1)); }
  uint16(): number { return this.view.getUint16(this.take(2), true); }
  int32(): number { return this.view.getInt32(this.take(4), true); }
  uint32(): number { return this.view.getUint32(this.take(4), true); }
  /** Floats alone are big-endian. */
  float64(): number { return this.view.getFloat64(this.take(8), false); }
  skip(count: number): void { this.take(count); }

  text(length: number): string {
    const at = this.take(length);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.bytes.subarray(at, at + length));
    } catch {
      throw this.fault("malformed", "a string is not UTF-8");
    }
  }

  line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end < 0 || end - this.at > 1000) throw this.fault("malformed", "a name is not terminated");
    const text = this.text(end - this.at);
    this.skip(1);
    return text;
  }

  /** Two's complement, little-endian, of `length` bytes. */
  long(length: number): number | bigint {
    const at = this.take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[at + i] ?? 0);
    const signed = BigInt.asIntN(8 * length, value);
    const small = Number(signed);
    return Number.isSafeInteger(small) ? small : signed;
  }

  push(value: PickleValue): void {
    if (++this.values > VALUE_LIMIT) throw this.fault("refused", `over ${VALUE_LIMIT} values in the pickle`);
    if (this.stack.length >= STACK_LIMIT) throw this.fault("refused", `over ${STACK_LIMIT} values on the pickle stack`);
    this.stack.push(value);
  }
  /** Pushes a collection that is new. */
  make(value: PickleValue): void {
    if (++this.collections > COLLECTION_LIMIT) {
      throw this.fault("refused", `over ${COLLECTION_LIMIT} collections in the pickle`);
    }
    this.push(value);
  }
  pop(): PickleValue {
    const value = this.stack.pop();
    if (value === undefined) throw this.fault("malformed", "the pickle pops a value from an empty stack");
    return value;
  }
  top(): PickleValue {
    const value = this.stack.at(-1);
    if (value === undefined) throw this.fault("malformed", "the pickle looks at an empty stack");
    return value;
  }
  mark(): void {
    if (this.marks.length >= DEPTH_LIMIT) throw this.fault("refused", `the pickle nests deeper than ${DEPTH_LIMIT}`);
    this.marks.push(this.stack);
    this.stack = [];
  }
  popMark(): PickleValue[] {
    const items = this.stack;
    const outer = this.marks.pop();
    if (outer === undefined) throw this.fault("malformed", "the pickle pops a mark that does not exist");
    this.stack = outer;
    return items;
  }
  /** A tuple of the topmost `count` values. */
  tuple(count: number): void {
    const items: PickleValue[] = [];
    for (let i = 0; i < count; i++) items.unshift(this.pop());
    this.make(new Tuple(items));
  }

  put(index: number): void {
    if (this.memo.size >= VALUE_LIMIT) throw this.fault("refused", `over ${VALUE_LIMIT} memos in the pickle`);
    this.memo.set(index, this.top());
  }
  memoize(): void { this.put(this.memo.size); }
  get(index: number): void {
    const value = this.memo.get(index);
    if (value === undefined) throw this.fault("malformed", `the pickle has no memo ${index}`);
    this.push(value);
  }

  append(items: readonly PickleValue[]): void {
    const list = this.top();
    if (!Array.isArray(list)) throw this.fault("malformed", "the pickle appends to a non-list");
    for (const item of items) list.push(item);
  }
  setItems(items: readonly PickleValue[]): void {
    const map = this.top();
    if (!(map instanceof Map)) throw this.fault("malformed", "the pickle sets an item of a non-dictionary");
    if (items.length % 2 !== 0) throw this.fault("malformed", "a dictionary key has no value");
    for (let i = 0; i < items.length; i += 2) map.set(items[i] ?? null, items[i + 1] ?? null);
  }

  global(module: string, name: string): void {
    const full = `${module}.${name}`;
    const known = this.context.globals.get(full);
    if (known === undefined) {
      throw this.fault("refused", `the pickle refers to '${full.slice(0, 120)}', which no checkpoint of tensors needs`);
    }
    this.push(known);
  }
  stackGlobal(): void {
    const name = this.pop();
    const module = this.pop();
    if (typeof name !== "string" || typeof module !== "string") {
      throw this.fault("malformed", "the name of a global is not a string");
    }
    this.global(module, name);
  }

  /** REDUCE and NEWOBJ alike: only a builder from the table is ever called. */
  construct(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(callee instanceof Global)) throw this.fault("refused", "the pickle calls an object that is not a global");
    if (callee.build === undefined) throw this.fault("refused", `the pickle calls '${callee.name}'`);
    if (!(args instanceof Tuple)) throw this.fault("malformed", `the arguments of '${callee.name}' are not a tuple`);
    for (const arg of args.items) this.charge(Array.isArray(arg) ? arg.length : 0);
    this.make(callee.build(args.items));
  }

  /** The state of a stand-in becomes its fields; that of an ordered dictionary (module versions) is left out. */
  build(): void {
    const state = this.pop();
    const target = this.top();
    if (target instanceof Map) return;
    if (!(target instanceof Inert)) throw this.fault("malformed", "the pickle sets the state of a stateless object");
    if (!(state instanceof Map)) return;
    this.charge(state.size);
    for (const [key, value] of state) target.fields.set(key, value);
  }

  persistent(): void {
    const id = this.pop();
    if (this.context.persistent === undefined) throw this.fault("refused", "the pickle refers to outside data here");
    this.push(this.context.persistent(id));
  }

  private charge(elements: number): void {
    this.copies -= elements;
    if (this.copies < 0) throw this.fault("refused", "the pickle copies the same collection again and again");
  }
}

/** Everything accepted but STOP. */
const operations: ReadonlyMap<number, (m: Machine) => void> = new Map([
  [0x80, (m) => { if (m.byte() > 5) throw m.fault("refused", "the pickle protocol is newer than 5"); }], // PROTO
  [0x95, (m) => m.skip(8)], // FRAME
  [0x28, (m) => m.mark()], // MARK
  [0x4e, (m) => m.push(null)], // NONE
  [0x88, (m) => m.push(true)], // NEWTRUE
  [0x89, (m) => m.push(false)], // NEWFALSE
  [0x4a, (m) => m.push(m.int32())], // BININT
  [0x4b, (m) => m.push(m.byte())], // BININT1
  [0x4d, (m) => m.push(m.uint16())], // BININT2
  [0x8a, (m) => m.push(m.long(m.byte()))], // LONG1
  [0x47, (m) => m.push(m.float64())], // BINFLOAT
  [0x58, (m) => m.push(m.text(m.uint32()))], // BINUNICODE
  [0x8c, (m) => m.push(m.text(m.byte()))], // SHORT_BINUNICODE
  [0x7d, (m) => m.make(new Map())], // EMPTY_DICT
  [0x5d, (m) => m.make([])], // EMPTY_LIST
  [0x29, (m) => m.make(new Tuple([]))], // EMPTY_TUPLE
  [0x74, (m) => m.make(new Tuple(m.popMark()))], // TUPLE
  [0x85, (m) => m.tuple(1)], // TUPLE1
  [0x86, (m) => m.tuple(2)], // TUPLE2
  [0x87, (m) => m.tuple(3)], // TUPLE3
  [0x71, (m) => m.put(m.byte())], // BINPUT
  [0x72, (m) => m.put(m.uint32())], // LONG_BINPUT
  [0x94, (m) => m.memoize()], // MEMOIZE
  [0x68, (m) => m.get(m.byte())], // BINGET
  [0x6a, (m) => m.get(m.uint32())], // LONG_BINGET
  [0x61, (m) => { const item = m.pop(); m.append([item]); }], // APPEND
  [0x65, (m) => { const items = m.popMark(); m.append(items); }], // APPENDS
  [0x73, (m) => { const value = m.pop(); const key = m.pop(); m.setItems([key, value]); }], // SETITEM
  [0x75, (m) => { const items = m.popMark(); m.setItems(items); }], // SETITEMS
  [0x63, (m) => { const module = m.line(); m.global(module, m.line()); }], // GLOBAL
  [0x93, (m) => m.stackGlobal()], // STACK_GLOBAL
  [0x52, (m) => m.construct()], // REDUCE
  [0x81, (m) => m.construct()], // NEWOBJ
  [0x62, (m) => m.build()], // BUILD
  [0x51, (m) => m.persistent()], // BINPERSID
]);
