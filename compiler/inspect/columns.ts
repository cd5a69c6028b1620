/** @file A long network in columns, read from top to bottom and from left to right. */
import { isBox, type Folded, type Item } from "./fold.js";
import type { Kernel, Source } from "./network.js";

/** Kernels below one another in a column, about: as many as fit two screens. */
const TALL = 22;

const kernelsOf = (item: Item): readonly Kernel[] => (isBox(item) ? item.items.flatMap(kernelsOf) : [item]);

/** The items in order, in columns whose highest is as low as can be. A box that fits none is drawn as what it holds. */
export function columnsOf({ items, standsFor }: Folded): readonly (readonly Item[])[] {
  /** Kernels of the longest way through an item: others are drawn beside them. */
  const heightOf = (item: Item): number => {
    const heights = new Map<Source, number>();
    const above = (source: Source): number =>
      heights.get(typeof source === "string" ? source : standsFor(source)) ?? 0;
    for (const kernel of kernelsOf(item)) heights.set(kernel, 1 + Math.max(0, ...kernel.sources.map(above)));
    return Math.max(...heights.values());
  };
  const total = items.reduce((n, item) => n + heightOf(item), 0);
  if (total <= 1.5 * TALL) return [items];
  const most = Math.ceil(total / TALL);
  const share = Math.ceil(total / most);
  const open = (item: Item): readonly Item[] =>
    (isBox(item) && !item.repeated && heightOf(item) > share ? item.items.flatMap(open) : [item]);
  const opened = items.flatMap(open).map((item) => ({ item, height: heightOf(item) }));
  let capacity = share;
  while (filled(opened, capacity).length > most) capacity += 1;
  return filled(opened, capacity);
}

/** As many items to a column as `capacity` allows, one at least. */
function filled(
  items: readonly { readonly item: Item; readonly height: number }[], capacity: number,
): readonly (readonly Item[])[] {
  const columns: Item[][] = [];
  let room = 0;
  for (const { item, height } of items) {
    room -= height;
    if (room < 0 || columns.length === 0) {
      columns.push([]);
      room = capacity - height;
    }
    columns.at(-1)?.push(item);
  }
  return columns;
}
