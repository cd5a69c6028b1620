/**
 * @file Loaded before a process (`node --import`), it lets one of the calls that change files fail. FAULT names what
 * happens at which call, counted from 0: `kill:7`, `part:7` (half a write, then a kill), `full:7` (no space from then
 * on), `full-once:7`, `sync:7` (an error of the disk while flushing), `rename:7`, `clock:7` (both clocks jump a day).
 */
import fs from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";

const [kind = "", at = ""] = (process.env["FAULT"] ?? "").split(":");
let calls = 0;

const failed = (code: string, syscall: string): Error =>
  Object.assign(new Error(`${code}: injected, ${syscall}`), { code, syscall, errno: -1 });

/** What becomes of a call; undefined for one that is let through. */
function verdict(name: string): Error | undefined {
  const now = calls++ - Number(at);
  if (now < 0) return undefined;
  if (kind === "kill" && now === 0) process.kill(process.pid, "SIGKILL");
  if (kind === "clock" && now === 0) jump(calls % 2 === 0 ? -86_400_000 : 86_400_000);
  const writes = name === "write" || name === "open" || name === "mkdir" || name === "link" || name === "copyFile";
  if (kind === "full" && writes) return failed("ENOSPC", name);
  if (kind === "full-once" && now < 3 && writes) return failed("ENOSPC", name);
  if (kind === "sync" && name === "sync" && now < 20) return failed("EIO", name);
  if (kind === "rename" && name === "rename" && now < 20) return failed("EIO", name);
  return undefined;
}

/** @param by milliseconds */
function jump(by: number): void {
  const [date, performanceNow] = [Date.now.bind(Date), performance.now.bind(performance)];
  Date.now = () => date() + by;
  performance.now = () => performanceNow() + by;
}

const files = fs.promises as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
const probe = await fs.promises.open(process.execPath, "r");
const handles = Object.getPrototypeOf(probe) as Record<string, (...args: unknown[]) => Promise<unknown>>;
await probe.close();

/** Puts the fault in front of a call. */
function watch(home: typeof files, name: string): void {
  const real = home[name];
  if (real === undefined) throw new Error(`there is no call ${name}`);
  home[name] = async function (this: unknown, ...args: unknown[]) {
    // Only what is opened to be written counts.
    if (name === "open" && !["w", "wx", "a"].includes(String(args[1]))) return real.apply(this, args);
    if (kind === "part" && name === "write" && calls >= Number(at)) {
      const [bytes] = args as [Uint8Array];
      await real.call(this, bytes, 0, Math.floor(bytes.byteLength / 2), null);
      await (this as FileHandle).datasync();
      process.kill(process.pid, "SIGKILL");
    }
    const error = verdict(name);
    if (error !== undefined) throw error;
    return real.apply(this, args);
  };
}

if (kind !== "") {
  for (const name of ["open", "rename", "link", "copyFile", "mkdir", "rm", "unlink"]) watch(files, name);
  for (const name of ["write", "sync"]) watch(handles, name);
  syncBuiltinESMExports();
  process.on("exit", () => void process.stderr.write(`calls ${calls}\n`));
}
