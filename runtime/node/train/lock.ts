/**
 * @file The lock of a run's folder: one process at a time writes into it. The lock is a file that names its holder, so
 * that it also works where folders are shared between machines, and so that a refusal can say who is in the way.
 */
import { randomUUID } from "node:crypto";
import { readFileSync, unlinkSync } from "node:fs";
import { link, open, readFile, readlink, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { object, optional, text, whole } from "../../check/schema.js";
import { FileError } from "../../errors.js";
import { systemCode } from "../files.js";

const NAME = "run.lock";

/** Who holds a lock. */
interface Holder {
  readonly host: string;
  readonly pid: number;
  /** ISO 8601. */
  readonly since: string;
  /** Tells two locks of one process apart. */
  readonly token: string;
  /** Of Linux, where they can be read: the boot, the process's namespace, and when it started, in clock ticks. */
  readonly boot?: string;
  readonly space?: string;
  readonly started?: string;
}

/** A file's text; `unread` says what stands for that of one that cannot be read. */
const textOf = (
  path: string, unread: (error: unknown) => string | undefined = () => undefined,
): Promise<string | undefined> => readFile(path, "utf8").then((found) => found.trim(), unread);
/** The content of a lock: empty for one that is there but cannot be read, undefined for none. */
const lockText = (path: string): Promise<string | undefined> =>
  textOf(path, (error) => (["ENOENT", "ENOTDIR"].includes(systemCode(error) ?? "") ? undefined : ""));

/** When a process started, in clock ticks since the boot: its number alone is given to another one later. */
async function startOf(pid: number | "self"): Promise<string | undefined> {
  const line = await textOf(`/proc/${pid}/stat`);
  // The second field is the program's name in parentheses, which may hold spaces. Source: proc(5), field 22.
  return line?.slice(line.lastIndexOf(")") + 2).split(" ")[19];
}

async function ourselves(): Promise<Holder> {
  const [boot, space, started] = await Promise.all([
    textOf("/proc/sys/kernel/random/boot_id"), readlink("/proc/self/ns/pid").catch(() => undefined), startOf("self"),
  ]);
  const [host, since, token] = [hostname(), new Date().toISOString(), randomUUID()];
  return { host, pid: process.pid, since, token, boot, space, started };
}

const holderCheck = object<Holder>({
  host: text, pid: whole(1), since: text, token: text,
  boot: optional(text), space: optional(text), started: optional(text),
});

function parse(content: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(content);
    return holderCheck(value) === undefined ? value as Holder : undefined; // as the check says
  } catch {
    return undefined;
  }
}

/** Whether the holder still runs; `unknown` where that cannot be seen from here. */
async function lookAt(holder: Holder, own: Holder): Promise<"running" | "gone" | "unknown"> {
  if (holder.host !== own.host) return "unknown";
  if (holder.boot !== own.boot) return "gone";
  // Two containers may share the name of their machine, and number their processes each for itself.
  if (holder.space !== own.space) return "unknown";
  const started = await startOf(holder.pid);
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (systemCode(error) === "ESRCH") return "gone";
  }
  if (started === holder.started) return "running";
  // A system may hide the processes of other users.
  return started === undefined ? "unknown" : "gone";
}

const showHolder = ({ host, pid, since }: Holder): string => `process ${pid} on ${host} since ${since}`;

/** A name for a moment. It is not among those that whoever holds the folder clears as left behind by a killed run. */
const nameBeside = (folder: string, { token }: Holder): string => join(folder, `.${NAME}.${token}`);

/** Writes the lock unless there is one. Returns whether it did. */
async function create(folder: string, holder: Holder): Promise<boolean> {
  const [path, beside] = [join(folder, NAME), nameBeside(folder, holder)];
  const content = `${JSON.stringify(holder)}\n`;
  try {
    // As a second name of a whole file: nobody ever reads half a lock.
    await writeFile(beside, content);
    await link(beside, path);
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].includes(systemCode(error) ?? "")) throw error;
  } finally {
    await rm(beside, { force: true });
  }
  // A file system without links.
  try {
    const file = await open(path, "wx");
    await file.writeFile(content).finally(() => file.close());
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  }
}

/** A held lock. */
export class FolderLock {
  /** A sentence about a lock that was taken over. */
  readonly note: string | undefined;
  readonly #folder: string;
  readonly #own: Holder;

  private constructor(folder: string, own: Holder, note: string | undefined) {
    [this.#folder, this.#own, this.note] = [folder, own, note];
  }

  /**
   * Locks an existing folder. The lock of a process that no longer runs is taken over.
   * @param force takes over any lock but that of a process that is seen to run
   * @throws FileError when another process holds it, or may hold it
   */
  static async take(folder: string, force = false): Promise<FolderLock> {
    const own = await ourselves();
    const path = join(folder, NAME);
    let note: string | undefined;
    for (;;) {
      if (await create(folder, own)) return new FolderLock(folder, own, note);
      const content = await lockText(path);
      if (content === undefined) continue;
      note = await mayTakeOver(folder, content, own, force);
      // Renamed rather than removed: of two that take it over at once, one finds that it took away the other's lock.
      const away = nameBeside(folder, own);
      await rename(path, away).catch((error: unknown) => { if (systemCode(error) !== "ENOENT") throw error; });
      const taken = await lockText(away);
      if (taken !== undefined && taken !== content) await link(away, path).catch(() => undefined);
      await rm(away, { recursive: true, force: true });
    }
  }

  /** Throws `FileError` when another process has taken the folder over. A lock that was removed is written again. */
  async check(): Promise<void> {
    const content = await lockText(join(this.#folder, NAME));
    // Where the folder itself is gone, whoever writes into it hears it.
    if (content === undefined && await create(this.#folder, this.#own).catch(() => true)) return;
    const holder = parse(content ?? "");
    if (holder?.token === this.#own.token) return;
    const who = holder === undefined ? "another process" : showHolder(holder);
    throw new FileError(`taken over by ${who}: nothing more is written into it`, {
      file: this.#folder, fault: "unwritable", help: "let one training at a time write into a folder",
    });
  }

  /** Gives the folder free. */
  release(): void {
    const path = join(this.#folder, NAME);
    try {
      if (parse(readFileSync(path, "utf8"))?.token === this.#own.token) unlinkSync(path);
    } catch {
      // What cannot be removed is taken over when this process is gone.
    }
  }
}

/** What to say of a lock that is taken over. Throws `FileError` for one that is not. */
async function mayTakeOver(folder: string, content: string, own: Holder, force: boolean): Promise<string> {
  const holder = parse(content);
  const state = holder === undefined ? "unknown" : await lookAt(holder, own);
  const who = holder === undefined ? `${NAME} cannot be read` : showHolder(holder);
  if (state === "gone") return `${folder} was locked by ${who}, which no longer runs: the lock was taken over`;
  if (state === "unknown" && force) return `${folder} was locked by ${who}: the lock was taken over by force`;
  throw state === "running"
    ? new FileError(`another training writes into this folder: ${who}`, {
      file: folder, fault: "unwritable", help: "wait until it ends, stop it, or choose another folder with --out",
    })
    : new FileError(`the folder is locked: ${who}; from here, nobody can see whether it still runs`, {
      file: folder, fault: "unwritable", help: "if it no longer runs, take the folder over with --force",
    });
}
