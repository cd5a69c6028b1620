/**
 * @file What one update of the optimizer covers: a parameter, or a lane of many that lie side by side.
 */
import type { Node, Parameter } from "../ir/graph.js";
import type { Ops } from "../ir/op.js";
import { LANE_GRAIN } from "../ops/lanes.js";
import { sizeOf } from "../ir/dim.js";

/** Parameters that one expression updates. */
export interface Unit {
  /** Of the parameter, or of the lane: `lane/parameter.0`. */
  readonly path: string;
  /** Position among the lanes; undefined where it is one parameter. */
  readonly lane?: number;
  readonly members: readonly { readonly parameter: Parameter; readonly offset: number }[];
  /** Elements, those between members included. */
  readonly length: number;
  /** Whether weight decay applies: to all members or none. */
  readonly decay: boolean;
}

/** Elements of the longest lane: 128 MiB, which every adapter binds. */
const LONGEST = 2 ** 25;
/** A lane is a multiple of this, so that sums over it have rows of it. */
export const LANE_ROW = 1024;

const roundUp = (n: number, step: number): number => Math.ceil(n / step) * step;
const sizeOfParameter = (p: Parameter): number => sizeOf(p.node.shape).c;

/** Every parameter by itself. */
export const single = (parameters: readonly Parameter[]): Unit[] => parameters.map((parameter) => ({
  path: parameter.path, members: [{ parameter, offset: 0 }], length: sizeOfParameter(parameter), decay: parameter.decay,
}));

/** Parameters in lanes, those that are decayed apart from the others, in their order. */
export function inLanes(parameters: readonly Parameter[]): Unit[] {
  const units: Unit[] = [];
  for (const decay of [true, false]) {
    let members: Unit["members"][number][] = [];
    let length = 0;
    const close = (): void => {
      if (members.length === 0) return;
      const lane = units.length;
      units.push({ path: `lane/parameter.${lane}`, lane, members, length: roundUp(length, LANE_ROW), decay });
      [members, length] = [[], 0];
    };
    for (const parameter of parameters.filter((p) => p.decay === decay)) {
      const size = sizeOfParameter(parameter);
      if (length + size > LONGEST) close();
      members.push({ parameter, offset: length });
      length = roundUp(length + size, LANE_GRAIN);
    }
    close();
  }
  return units;
}

/** Tensors by parameter path as one of the unit's length: side by side in a lane, as they are otherwise. */
export function gathered(ops: Ops, unit: Unit, tensors: ReadonlyMap<string, Node>): Node {
  const parts = unit.members.map(({ parameter }) => tensors.get(parameter.path) as Node); // one each
  if (unit.lane === undefined) return parts[0] as Node; // one member
  return ops.call("pack", parts.map((part, i) => ops.call("place", [part], { part: i })), {
    offsets: unit.members.map(({ offset }) => offset), length: unit.length,
  });
}
