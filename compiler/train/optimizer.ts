/**
 * @file The optimizers: one record each, listed once. An update is an expression over one parameter, its gradient and
 * its state, of any shape: it builds a node a parameter, or one over a lane of many.
 */
import type { Node } from "../ir/graph.js";
import type { ScalarInfo } from "../../runtime/training.js";
import type { Algebra } from "../ops/algebra.js";
import type { Arguments } from "./settings.js";
import {
  listOf, numberOf, numbersIn, within, type CallFault, type CallRecord, type Range,
} from "../../runtime/train/vocabulary/record.js";

/** What one parameter's update is computed from. States and scalars are under their record's names. */
export interface Slots {
  readonly parameter: Node;
  readonly gradient: Node;
  readonly states: Readonly<Record<string, Node>>;
  readonly scalars: Readonly<Record<string, Node>>;
  /** Whether weight decay applies. */
  readonly decayed: boolean;
}

/** The values after the step. */
export interface Next {
  readonly parameter: Node;
  readonly states: Readonly<Record<string, Node>>;
}

/** An optimizer with its numbers. */
export interface Optimizer {
  readonly kind: string;
  /** What the schedule starts from. */
  readonly lr: number;
  readonly weightDecay: number;
  /** Names of the tensors each parameter has, of its shape, zero at first. */
  readonly states: readonly string[];
  readonly scalars: readonly ScalarInfo[];
  /** All gradients are divided by max(1, norm / limit) before the updates. */
  readonly normLimit?: number;
  /** Whether an update reads nothing but the same element of its slots, so that one kernel can run over a lane. */
  readonly elementwise: boolean;
  update(o: Algebra, slots: Slots): Next;
}

/** One optimizer. */
interface OptimizerRecord extends CallRecord {
  /** The optimizer for arguments that `check` has let through. */
  create(given: Arguments): Optimizer;
}

const RATE = {
  lr: "The learning rate after the warm-up, for the batch as the recipe states it: nothing rescales it.",
  weight_decay: "Strength of the pull of parameters towards 0, in proportion to their values.",
};
const MOMENTS = {
  ...RATE, betas: "Decay of the moving averages of the gradient and of its square.",
  eps: "Added to the denominator against a division by 0.",
};

const LR: ScalarInfo = { name: "lr", kind: "learning_rate" };

const slot = (nodes: Readonly<Record<string, Node>>, name: string): Node => nodes[name] as Node; // a record's own names

const NOT_NEGATIVE: Range = { least: 0 };
/** A share of what was before: 1 would never forget. */
const KEPT: Range = { least: 0, below: 1 };

/** The numbers of Adam's family. */
interface Moments {
  readonly lr: number;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

const checkDecays = (kind: string, given: Arguments): CallFault | undefined =>
  within(kind, given, { lr: NOT_NEGATIVE, weight_decay: NOT_NEGATIVE }) ?? numbersIn(kind, given, "betas", 2, KEPT);
const checkMoments = (kind: string) => (given: Arguments): CallFault | undefined =>
  checkDecays(kind, given) ?? within(kind, given, { eps: NOT_NEGATIVE });

function momentsOf(given: Arguments): Moments {
  const [beta1, beta2] = listOf(given["betas"]);
  return {
    lr: numberOf(given["lr"]), weightDecay: numberOf(given["weight_decay"]), beta1: numberOf(beta1),
    beta2: numberOf(beta2), eps: numberOf(given["eps"]),
  };
}

const corrections = ({ beta1, beta2 }: Moments): readonly ScalarInfo[] => [
  LR, { name: "correction1", kind: "bias_correction", beta: beta1 },
  { name: "correction2", kind: "bias_correction", beta: beta2 },
];

/** Means of the gradient and of its square, and the corrected first over the root of the corrected second. */
function adam(o: Algebra, { beta1, beta2, eps }: Moments, { gradient: g, states, scalars }: Slots) {
  const m = o.add(o.mul(slot(states, "m"), beta1), o.mul(g, 1 - beta1));
  const v = o.add(o.mul(slot(states, "v"), beta2), o.mul(o.unary("square", g), 1 - beta2));
  const root = o.div(o.unary("sqrt", v), o.unary("sqrt", slot(scalars, "correction2")));
  return { m, v, direction: o.div(o.div(m, slot(scalars, "correction1")), o.add(root, eps)) };
}

const adamw: OptimizerRecord = {
  name: "adamw", signature: "(lr: real, weight_decay = 0.05, betas = [0.9, 0.999], eps = 1e-8)",
  about: MOMENTS, check: checkMoments("adamw"),
  doc: "Adam with decoupled weight decay: θ(1 − lr·decay) − lr·m̂ / (√v̂ + eps). " +
    "Source: Loshchilov & Hutter 2019; torch.optim.AdamW.",
  create(given) {
    const moments = momentsOf(given);
    const { lr, weightDecay } = moments;
    return {
      kind: "adamw", lr, weightDecay, states: ["m", "v"], scalars: corrections(moments), elementwise: true,
      update(o, slots) {
        const rate = slot(slots.scalars, "lr");
        const { m, v, direction } = adam(o, moments, slots);
        return { parameter: o.sub(kept(o, slots, weightDecay), o.mul(rate, direction)), states: { m, v } };
      },
    };
  },
};

/** What decoupled weight decay leaves of a parameter: θ(1 − lr·decay). */
const kept = (o: Algebra, { parameter, scalars, decayed }: Slots, weightDecay: number): Node =>
  (decayed && weightDecay !== 0 ? o.mul(parameter, o.sub(1, o.mul(slot(scalars, "lr"), weightDecay))) : parameter);

const lion: OptimizerRecord = {
  name: "lion", signature: "(lr: real, weight_decay = 0.5, betas = [0.9, 0.99])",
  about: { ...RATE, betas: "Shares of the moving average that are kept: for the step, and from step to step." },
  check: (given) => checkDecays("lion", given),
  doc: "The sign of a moving average alone: θ(1 − lr·decay) − lr·sign(β₁·m + (1 − β₁)·g), then " +
    "m ← β₂·m + (1 − β₂)·g. It takes a tenth of adamw's learning rate and ten times its decay. " +
    "Source: Chen et al. 2023, algorithm 2; timm, Lion.",
  create(given) {
    const [beta1, beta2] = listOf(given["betas"]).map(numberOf) as [number, number]; // `check` has counted
    const [lr, weightDecay] = [numberOf(given["lr"]), numberOf(given["weight_decay"])];
    return {
      kind: "lion", lr, weightDecay, states: ["m"], scalars: [LR], elementwise: true,
      update(o, slots) {
        const average = (beta: number): Node =>
          o.add(o.mul(slot(slots.states, "m"), beta), o.mul(slots.gradient, 1 - beta));
        const step = o.mul(slot(slots.scalars, "lr"), o.unary("sign", average(beta1)));
        return { parameter: o.sub(kept(o, slots, weightDecay), step), states: { m: average(beta2) } };
      },
    };
  },
};

const sgd: OptimizerRecord = {
  name: "sgd", signature: "(lr: real, momentum = 0.9, weight_decay = 0, nesterov = false)",
  doc: "Stochastic gradient descent: g + decay·θ into the momentum, θ − lr·momentum; `nesterov` looks one step " +
    "ahead. Source: Sutskever et al. 2013; torch.optim.SGD.",
  about: {
    ...RATE, momentum: "Share of the last step's direction that is kept.",
    nesterov: "Whether the gradient is looked at one step ahead.",
  },
  check: (given) => within("sgd", given, { lr: NOT_NEGATIVE, momentum: KEPT, weight_decay: NOT_NEGATIVE })
    ?? (given["nesterov"] === true && given["momentum"] === 0
      ? { text: "`nesterov` of `sgd` needs a momentum", help: "leave it out", argument: "nesterov" } : undefined),
  create(given) {
    const [lr, momentum, weightDecay] =
      [numberOf(given["lr"]), numberOf(given["momentum"]), numberOf(given["weight_decay"])];
    const nesterov = given["nesterov"] === true;
    const states = momentum === 0 ? [] : ["momentum"];
    return {
      kind: "sgd", lr, weightDecay, states, scalars: [LR], elementwise: true,
      update(o, { parameter, gradient, states: known, scalars, decayed }): Next {
        const rate = slot(scalars, "lr");
        const g = decayed && weightDecay !== 0 ? o.add(gradient, o.mul(parameter, weightDecay)) : gradient;
        const step = (direction: Node): Node => o.sub(parameter, o.mul(rate, direction));
        if (momentum === 0) return { parameter: step(g), states: {} };
        // Zero at first, so that the first step's momentum is g, as torch has it.
        const next = o.add(o.mul(slot(known, "momentum"), momentum), g);
        return { parameter: step(nesterov ? o.add(g, o.mul(next, momentum)) : next), states: { momentum: next } };
      },
    };
  },
};

const lamb: OptimizerRecord = {
  name: "lamb", signature: "(lr: real, weight_decay = 0.02, betas = [0.9, 0.999], eps = 1e-6)",
  about: MOMENTS, check: checkMoments("lamb"),
  doc: "Adam's direction plus decay·θ, as long as the parameter: ratio ‖θ‖ / ‖direction‖, 1 where either is 0 or the " +
    "parameter is not decayed. Gradients are divided by max(1, global norm). " +
    "Source: You et al. 2020; timm 1.0.29 Lamb.",
  create(given) {
    const moments = momentsOf(given);
    const { lr, weightDecay } = moments;
    return {
      kind: "lamb", lr, weightDecay, states: ["m", "v"], scalars: corrections(moments), normLimit: 1,
      elementwise: false,
      update(o, slots) {
        const { parameter, scalars } = slots;
        const { m, v, direction } = adam(o, moments, slots);
        const decayed = slots.decayed && weightDecay !== 0;
        const step = decayed ? trusted(o, parameter, o.add(direction, o.mul(parameter, weightDecay))) : direction;
        return { parameter: o.sub(parameter, o.mul(slot(scalars, "lr"), step)), states: { m, v } };
      },
    };
  },
};

/** `direction` scaled to the length of `parameter`, as it is where one of the two is zero. */
function trusted(o: Algebra, parameter: Node, direction: Node): Node {
  const [weights, length] = [norm(o, parameter), norm(o, direction)];
  const divisor = o.where(o.gt(length, 0), length, 1);
  const ratio = o.where(o.gt(weights, 0), o.where(o.gt(length, 0), o.div(weights, divisor), 1), 1);
  return o.mul(direction, ratio);
}

/** √Σ x² over all axes, each kept as 1. */
const norm = (o: Algebra, x: Node): Node =>
  o.unary("sqrt", o.sum(o.unary("square", x), x.shape.map((_, axis) => axis)));

const all: readonly OptimizerRecord[] = [adamw, lion, sgd, lamb];

/** Every optimizer by its name. */
export const OPTIMIZERS: ReadonlyMap<string, OptimizerRecord> = new Map(all.map((record) => [record.name, record]));
