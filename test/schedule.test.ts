import test from "ava";
import { InputError } from "../runtime/errors.js";
import {
  learningRate, schedule, scheduleValue, scheduleWarning, type Schedule,
} from "../runtime/train/schedule.js";
import { goldenIndex } from "./golden.js";

interface Golden {
  readonly lr: number;
  readonly epochs: number;
  readonly warmup_epochs: number;
  readonly warmup_lr: number;
  readonly min_lr: number;
  readonly value_at: readonly number[];
  readonly used_by_official_loop_in_epoch: readonly number[];
}

const close = (got: number, want: number): boolean => Math.abs(got - want) <= 1e-12 * Math.abs(want);

const planOf = (g: Golden, stepping: Schedule["stepping"]): Schedule => schedule({
  kind: "cosine", lr: g.lr, length: g.epochs, warmup: g.warmup_epochs, warmupLr: g.warmup_lr, own: { min_lr: g.min_lr }, stepping,
});

test("cosine with warm-up is timm's to 1e-12, in both steppings", (t) => {
  const { schedules } = goldenIndex<{ schedules: Record<string, Golden> }>("schedule.json");
  t.is(Object.keys(schedules).length, 3);
  for (const [name, golden] of Object.entries(schedules)) {
    const [epochs, official, steps] = (["epochs", "official", "steps"] as const).map((how) => planOf(golden, how));
    if (!epochs || !official || !steps) return t.fail();
    golden.value_at.forEach((want, at) => {
      t.true(close(scheduleValue(epochs, at), want), `${name} at ${at}`);
      for (const inside of [0, 6]) t.true(close(learningRate(epochs, at * 7 + inside, 7), want));
      // A step on an epoch's border has the epoch's value.
      t.true(close(learningRate(steps, at * 7, 7), want));
    });
    golden.used_by_official_loop_in_epoch.forEach((want, epoch) => {
      for (const inside of [0, 6]) {
        t.true(close(learningRate(official, epoch * 7 + inside, 7), want), `${name}, official epoch ${epoch}`);
      }
    });
  }
  return undefined;
});

test("stepping by steps moves inside an epoch", (t) => {
  const plan = schedule({ kind: "cosine", lr: 1, own: { min_lr: 0 }, length: 2, warmup: 0.5, warmupLr: 0, stepping: "steps" });
  const values = Array.from({ length: 20 }, (_, step) => learningRate(plan, step, 10));
  t.deepEqual(values.slice(0, 5), [0, 0.2, 0.4, 0.6000000000000001, 0.8]);
  t.true(close(values[5] ?? 0, 0.5 * (1 + Math.cos(Math.PI * 5 / 20))));
  t.true(values.slice(5).every((value, i, all) => i === 0 || value < (all[i - 1] ?? 0)));
  t.is(learningRate(plan, 20, 10), 0);
});

test("step falls by its factor, constant stays", (t) => {
  const step = schedule({ kind: "step", lr: 0.4, length: 9, own: { every: 3, factor: 0.5 }, warmup: 1, warmupLr: 0.1 });
  t.deepEqual([0, 1, 2, 3, 5, 6, 8].map((e) => scheduleValue(step, e)), [0.1, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1]);
  const constant = schedule({ kind: "constant", lr: 0.25, length: 3 });
  t.deepEqual([0, 2, 7].map((e) => scheduleValue(constant, e)), [0.25, 0.25, 0.25]);
});

test("cosine_restarts falls in every cycle as a cosine does, in cycles that grow", (t) => {
  for (const [factor, decay, cycle] of [[2, 1, 10], [1, 0.5, 4], [1.5, 0.9, 3], [3, 1, 0.1]] as const) {
    const own = { cycle, factor, decay, min_lr: 0.01 };
    const plan = schedule({ kind: "cosine_restarts", lr: 1, length: 100, own });
    // Cycle by cycle, Loshchilov & Hutter 2017, equation 5.
    let [start, size, most] = [0, cycle as number, 1];
    for (let at = 0; at < 100; at++) {
      while (at >= start + size) [start, size, most] = [start + size, size * factor, most * decay];
      const want = 0.01 + 0.5 * (most - 0.01) * (1 + Math.cos(Math.PI * (at - start) / size));
      t.true(Math.abs(scheduleValue(plan, at) - want) < 1e-9, `factor ${factor} at ${at}: ${scheduleValue(plan, at)}, not ${want}`);
    }
  }
  const paper = schedule({ kind: "cosine_restarts", lr: 0.05, length: 200, own: { cycle: 10, factor: 2, decay: 1, min_lr: 0 } });
  for (const at of [0, 10, 30, 70, 150]) t.is(scheduleValue(paper, at), 0.05, `restart at ${at}`);
  for (const at of [5, 20, 50, 110]) t.true(close(scheduleValue(paper, at), 0.025), `half at ${at}`);
  const steps = schedule({ ...paper, stepping: "steps" });
  t.is(learningRate(steps, 10 * 7, 7), 0.05);
  t.true(learningRate(steps, 10 * 7 - 1, 7) < 1e-4);
  t.true(close(learningRate(steps, 20 * 7, 7), 0.025));
});

test("odd schedules give a warning, senseless ones are refused", (t) => {
  const base = { kind: "cosine", lr: 5e-6, length: 30, warmup: 5, own: { min_lr: 1e-5 } } as const;
  t.regex(scheduleWarning(schedule({ ...base, own: { min_lr: 5e-6 } })) ?? "", /min_lr = 0\.000005 .* stays constant/u);
  t.regex(scheduleWarning(schedule({ ...base, own: { min_lr: 1e-5 } })) ?? "", /min_lr = 0\.00001 .* rises/u);
  t.regex(scheduleWarning(schedule({ ...base, lr: 1e-3, warmup: 30 })) ?? "", /warm-up of 30 epochs/u);
  t.regex(scheduleWarning(schedule({ ...base, lr: 1e-3, warmupLr: 1 })) ?? "", /warmup_lr = 1 /u);
  t.is(scheduleWarning(schedule({ ...base, lr: 1e-3 })), undefined);
  t.throws(() => schedule({ ...base, length: 0 }), { instanceOf: InputError });
  t.throws(() => schedule({ ...base, lr: Number.NaN }), { instanceOf: InputError });
  t.throws(() => schedule({ kind: "step", lr: 1, length: 3, own: { every: 0, factor: 0.1 } }), { instanceOf: InputError });
  t.throws(() => schedule({ ...base, kind: "plateau" }), { instanceOf: InputError });
});
