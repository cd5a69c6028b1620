/** @file Targets with the faults that a campaign must see, each at one seed: for the test of the campaign itself. */
import type { Try } from "./targets.js";

const AT = 3;
const broken = (fault: () => unknown) => async (): Promise<Try> => async (seed) => {
  if (seed === AT) await fault();
  return "refused";
};

export const BROKEN: Readonly<Record<string, () => Promise<Try>>> = {
  crash: broken(() => process.kill(process.pid, "SIGSEGV")),
  hang: broken(() => { for (;;); }),
  raw: broken(() => { throw new TypeError("not typed"); }),
  unhandled: broken(async () => {
    void Promise.reject(new Error("nobody waits"));
    await new Promise((resolve) => void setTimeout(resolve, 10));
  }),
  memory: broken(async () => {
    for (const kept: Buffer[] = []; ;) {
      kept.push(Buffer.alloc(2 ** 26, kept.length));
      await new Promise((resolve) => void setTimeout(resolve, 5));
    }
  }),
};
