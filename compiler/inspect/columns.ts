/** @file A long network in columns, read from top to bottom and from left to right. */
import { isBox, type Item } from "./fold.js";

/** Kernels of a column, about: as many as fit two screens. */
const TALL = 22;

/** Kernels that are drawn for an item. */
const heightOf = (item: Item): number =>
  (isBox(item) ? item.items.reduce((n, inner) => n + heightOf(inner), 0) : 1);

/** The items in order, in columns of about equal height. A box that does not fit a column is drawn as what it holds. */
export function columnsOf(items: readonly Item[]): readonly (readonly Item[])[] {
  const total = items.reduce((n, item) => n + heightOf(item), 0);
  if (total <= 1.5 * TALL) return [items];
  const capacity = Math.ceil(total / Math.round(total / TALL));
  const open = (item: Item): readonly Item[] =>
    (isBox(item) && !item.repeated && heightOf(item) > capacity ? item.items.flatMap(open) : [item]);
  const columns: Item[][] = [[]];
  let filled = 0;
  for (const item of items.flatMap(open)) {
    const height = heightOf(item);
    // Half of it may stand out: otherwise columns would be shorter on average, and more.
    if (filled > 0 && filled + height / 2 > capacity) {
      columns.push([]);
      filled = 0;
    }
    columns.at(-1)?.push(item);
    filled += height;
  }
  return columns;
}
