/**
 * @file What a run was trained on, to notice when it is resumed with other data: the names and sizes of the images and
 * their classes. Their pixels are not read. The list is part of every state, so that a difference can be named.
 */
import { stat } from "node:fs/promises";
import { gunzipSync, gzipSync } from "node:zlib";
import { anyText, list, object, record, whole } from "../../check/schema.js";
import type { Dataset } from "../../data/loader.js";
import { counted, printable, someNames } from "../../text.js";

/** A data set as it is compared. */
interface Listing {
  readonly classes: readonly string[];
  /** Images. */
  readonly length: number;
  /** Sizes in bytes by path below the data set's folder; empty where images are not files. */
  readonly files: Readonly<Record<string, number>>;
}

/** Both parts of the data. */
type Parts = Readonly<Record<"training" | "evaluation", Listing>>;

const listing = object<Listing>({ classes: list(anyText), length: whole(0), files: record(anyText, whole(0)) });
const partsCheck = object<Parts>({ training: listing, evaluation: listing });
/** Bytes of an unpacked list, as many as a text may have. */
const MOST_BYTES = 2 ** 29 - 32;

/** Files looked at at a time. */
const AT_ONCE = 64;

async function listingOf({ classes, length, files = [] }: Dataset): Promise<Listing> {
  const root = rootOf(files);
  const sizes: Record<string, number> = {};
  for (let at = 0; at < files.length; at += AT_ONCE) {
    await Promise.all(files.slice(at, at + AT_ONCE).map(async (path) => {
      // A file that has vanished since it was listed is reported when it is read.
      sizes[path.slice(root)] = (await stat(path).catch(() => undefined))?.size ?? 0;
    }));
  }
  // In the order of the data set, whichever was looked at first.
  const inOrder = files.map((path) => path.slice(root)).map((path) => [path, sizes[path] ?? 0] as const);
  return { classes, length, files: Object.fromEntries(inOrder) };
}

/** Length of what all paths have in common, up to a slash: a data set may be moved as a whole. */
function rootOf(paths: readonly string[]): number {
  const [first = "", last = ""] = [paths[0], paths.at(-1)];
  let same = 0;
  while (same < first.length && first[same] === last[same]) same++;
  return first.slice(0, same).lastIndexOf("/") + 1;
}

/** The list of a run's data, packed. The same data gives the same bytes. */
export async function packData(
  { training, evaluation }: { readonly training: Dataset; readonly evaluation: Dataset },
): Promise<Uint8Array> {
  const parts: Parts = { training: await listingOf(training), evaluation: await listingOf(evaluation) };
  return new Uint8Array(gzipSync(JSON.stringify(parts)));
}

/** A packed list; undefined for bytes that are none. */
function unpack(bytes: Uint8Array): Parts | undefined {
  try {
    const value: unknown = JSON.parse(gunzipSync(bytes, { maxOutputLength: MOST_BYTES }).toString("utf8"));
    return partsCheck(value) === undefined ? value as Parts : undefined; // as the check says
  } catch {
    return undefined;
  }
}

/** What differs between two lists, as sentences; none when nothing does. */
export function dataDifferences(before: Uint8Array, now: Uint8Array): string[] {
  const [old, fresh] = [unpack(before), unpack(now)];
  if (old === undefined || fresh === undefined) return ["the state's list of images cannot be read"];
  // Parts drawn from one folder are compared together: a name that changes also draws other images for each part.
  const [all, allNow] = [together(old), together(fresh)];
  const joint = all === undefined || allNow === undefined ? [] : listingDifferences(all, allNow);
  if (joint.length > 0) return joint;
  return (["training", "evaluation"] as const).flatMap((part) =>
    listingDifferences(old[part], fresh[part]).map((text) => `${part} data: ${text}`));
}

/** Both parts as one; undefined where a path is in both, as in folders for each part, or where there are no files. */
function together({ training, evaluation }: Parts): Listing | undefined {
  const [some, others] = [Object.entries(training.files), Object.entries(evaluation.files)];
  if (some.length === 0 || others.some(([path]) => path in training.files)) return undefined;
  const files = Object.fromEntries([...some, ...others].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return { classes: training.classes, length: training.length + evaluation.length, files };
}

function listingDifferences(before: Listing, now: Listing): string[] {
  const found: string[] = [];
  const renamed = renamedClasses(before, now);
  for (const [from, to] of renamed) found.push(`class '${printable(from)}' was renamed to '${printable(to)}'`);
  const [gone, added] = [
    before.classes.filter((name) => !now.classes.includes(name) && !renamed.has(name)),
    now.classes.filter((name) => !before.classes.includes(name) && ![...renamed.values()].includes(name)),
  ];
  if (gone.length > 0) found.push(`${counted(gone.length, "class", "classes")} removed: ${someNames(gone)}`);
  if (added.length > 0) found.push(`${counted(added.length, "class", "classes")} added: ${someNames(added)}`);
  const moved = [...renamed].flatMap(([from, to]) => [`${from}/`, `${to}/`]);
  const own = (path: string): boolean => !moved.some((folder) => path.startsWith(folder));
  const [old, fresh] = [before.files, now.files];
  const lost = Object.keys(old).filter((path) => own(path) && !(path in fresh));
  const more = Object.keys(fresh).filter((path) => own(path) && !(path in old));
  const other = Object.keys(fresh).filter((path) => path in old && old[path] !== fresh[path]);
  if (lost.length > 0) found.push(`${counted(lost.length, "image")} removed: ${someNames(lost)}`);
  if (more.length > 0) found.push(`${counted(more.length, "image")} added: ${someNames(more)}`);
  if (other.length > 0) {
    found.push(`${counted(other.length, "image has another size", "images have other sizes")}: ${someNames(other)}`);
  }
  if (found.length === 0 && before.length !== now.length) {
    found.push(`${before.length} images before, ${now.length} now`);
  }
  const order = before.classes.join("\n") !== now.classes.join("\n");
  if (found.length === 0 && order) found.push("the classes have another order");
  return found;
}

/** Classes that have the same images under another name. */
function renamedClasses(before: Listing, now: Listing): ReadonlyMap<string, string> {
  const content = ({ files }: Listing, name: string): string => JSON.stringify(Object.entries(files)
    .filter(([path]) => path.startsWith(`${name}/`)).map(([path, size]) => [path.slice(name.length), size]));
  const renamed = new Map<string, string>();
  const fresh = now.classes.filter((name) => !before.classes.includes(name));
  for (const name of before.classes.filter((one) => !now.classes.includes(one))) {
    const same = fresh.find((other) => content(now, other) === content(before, name) && content(before, name) !== "[]");
    if (same === undefined) continue;
    renamed.set(name, same);
    fresh.splice(fresh.indexOf(same), 1);
  }
  return renamed;
}
