/**
 * @file A training step as a graph: forward, loss, gradients, bound, optimizer, moving average. In one piece
 * (`trainingGraph`), or split at the gradients (`accumulationGraphs`) where a step takes several passes.
 */
import { makeOps } from "../ir/build.js";
import { differentiate } from "./differentiate.js";
import type { Graph, Node, Parameter } from "../ir/graph.js";
import type { Ops } from "../ir/op.js";
import { algebra } from "../ops/algebra.js";
import { pathOf } from "../ops/leaves.js";
import { clipRecord, globalNorm, limited, type Gradients } from "./clip.js";
import { correctOf } from "./evaluation.js";
import { predictionOf } from "./instances.js";
import { gathered, inLanes, single, type Unit } from "./lanes.js";
import { reopen, type OpenGraph } from "./open.js";
import type { ScalarInfo } from "../../runtime/training.js";
import type { ElaboratedRecipe } from "./recipe.js";
import { emaPath, gradientPath, StateTable, statePath, type StateTensor } from "./state.js";

/** A graph of a training step with everything needed to lower and to run it. */
export interface TrainingGraph {
  /**
   * Outputs: `loss`, `correct` where there are classes, `grad_norm` (before clipping) where asked for or needed.
   * Updates: the next value of every state tensor that changes. All updates read the values before the step.
   */
  readonly graph: Graph;
  /** Names of the inputs that the data brings, in the order of the loss. */
  readonly data: readonly string[];
  /** 0-d f32 inputs that change from step to step; an input's name is `step.NAME`. */
  readonly scalars: readonly ScalarInfo[];
  /** All state, parameters of the models first; frozen models among them. */
  readonly states: readonly StateTensor[];
  /** Gradients by parameter path, before any bound; empty in the graph that applies accumulated ones. */
  readonly gradients: ReadonlyMap<string, Node>;
  /** Paths of trained parameters that are decayed, and of those that are not. */
  readonly decayed: readonly string[];
  readonly undecayed: readonly string[];
}

export interface StepOptions {
  /**
   * Run on the forward graph before it is differentiated: what it recognises keeps its own gradient. Default: nothing.
   */
  readonly prepare?: (graph: Graph) => Graph;
  /**
   * Lays what the optimizer updates side by side, so that a few kernels update everything. The `updates` are those of
   * lanes then. Left out where an update needs more than the element it changes. Default false.
   */
  readonly lanes?: boolean;
  /** Gives `grad_norm` as an output even where nothing is clipped by it. Default false. */
  readonly gradientNorm?: boolean;
}

/** Name of the input of a per-step scalar: no parameter of a loss can have a dot. */
export const scalarInput = (scalar: ScalarInfo): string => `step.${scalar.name}`;

/** The forward graph's name for the output that accuracy is of. */
const PREDICTION = "prediction";

const SHARE: ScalarInfo = { name: "share", kind: "share" };

/** One optimizer step on one batch. */
export function trainingGraph(recipe: ElaboratedRecipe, options: StepOptions = {}): TrainingGraph {
  const draft = new Draft(recipe, options);
  const gradients = draft.gradients();
  draft.forward();
  draft.apply(draft.gather(gradients));
  return draft.finish(gradients);
}

/** A step in passes. */
interface AccumulationGraphs {
  /** Run once a pass: adds `share` times its gradient to the `gradient/…` tensors. Buffers advance with every pass. */
  readonly gather: TrainingGraph;
  /** Run once after the passes: the optimizer on the sums, which it sets back to zero. Takes no data. */
  readonly apply: TrainingGraph;
}

/** One optimizer step in several passes: with equal ones, `share` = 1 / passes, it is the step on their whole batch. */
export function accumulationGraphs(recipe: ElaboratedRecipe, options: StepOptions = {}): AccumulationGraphs {
  const gather = new Draft(recipe, options);
  const gradients = gather.gradients();
  gather.forward();
  gather.accumulate(gradients);
  const apply = new Draft(recipe, options);
  apply.apply(apply.takeSums());
  return { gather: gather.finish(gradients), apply: apply.finish(new Map()) };
}

/** The forward graph on a builder of its own, prepared, with the output that accuracy is of. */
function opened({ training, predictions }: ElaboratedRecipe, { prepare }: StepOptions): OpenGraph {
  const prediction = predictionOf(predictions);
  const outputs = new Map(training.outputs);
  if (prediction) outputs.set(PREDICTION, prediction);
  const whole = { ...training, outputs };
  return reopen(prepare ? prepare(whole) : whole);
}

/** One graph being put together. */
class Draft {
  readonly #recipe: ElaboratedRecipe;
  readonly #options: StepOptions;
  readonly #open: OpenGraph;
  readonly #table: StateTable;
  readonly #trained: readonly Parameter[];
  readonly #inputs = new Map<string, Node>();
  readonly #outputs = new Map<string, Node>();
  readonly #updates = new Map<string, Node>();
  readonly #scalars: ScalarInfo[] = [];
  readonly #units: readonly Unit[];
  /** Node of each unit, by its path. */
  readonly #nodes = new Map<string, Node>();
  #data: readonly string[] = [];

  constructor(recipe: ElaboratedRecipe, options: StepOptions) {
    this.#recipe = recipe;
    this.#options = options;
    this.#open = opened(recipe, options);
    this.#table = new StateTable(this.#ops("state"));
    const all = [...this.#open.graph.parameters.values()];
    this.#trained = all.filter((p) => p.trained);
    const { optimizer, settings: { clip } } = recipe;
    const laned = options.lanes === true && optimizer.elementwise && (!clip || clipRecord(clip).elementwise);
    this.#units = (laned ? inLanes : single)(this.#trained);
    const inside = new Map<string, { lane: string; offset: number }>();
    for (const { path, lane, members, length } of this.#units) {
      const [only] = members;
      if (lane === undefined && only) this.#nodes.set(path, only.parameter.node);
      if (lane === undefined) continue;
      this.#nodes.set(path, this.#table.lane(path, length));
      for (const { parameter, offset } of members) inside.set(parameter.path, { lane: path, offset });
    }
    for (const parameter of all) this.#table.keep(parameter, inside.get(parameter.path));
  }

  #ops(path: string): Ops {
    return makeOps(this.#open.builder, { path });
  }

  /** d loss / d each trained parameter. */
  gradients(): Gradients {
    const { builder, graph } = this.#open;
    const loss = graph.outputs.get("loss") as Node; // a recipe has a loss
    const { gradients } = differentiate(builder, loss, this.#trained.map((p) => p.node));
    return new Map(this.#trained.map((p, i): [string, Node] => [p.path, gradients[i] as Node])); // one each
  }

  /** The data, the loss, the accuracy, and what the forward pass changes. */
  forward(): void {
    const { graph } = this.#open;
    this.#data = [...graph.inputs.keys()];
    for (const [name, node] of graph.inputs) this.#inputs.set(name, node);
    for (const [path, node] of graph.updates) this.#updates.set(path, node);
    this.#outputs.set("loss", graph.outputs.get("loss") as Node); // a recipe has a loss
    const prediction = graph.outputs.get(PREDICTION);
    const correct = this.#recipe.classes === undefined || !prediction ? undefined
      : correctOf(this.#ops("correct"), prediction, graph.inputs);
    if (correct) this.#outputs.set("correct", correct);
  }

  /** Adds this pass's gradients to the sums. */
  accumulate(gradients: Gradients): void {
    const share = this.#scalar(SHARE);
    for (const unit of this.#units) {
      const ops = this.#ops(gradientPath(unit.path));
      const o = algebra(ops);
      const sum = this.#sumOf(unit);
      this.#updates.set(pathOf(sum), o.add(sum, o.mul(gathered(ops, unit, gradients), share)));
    }
  }

  /** The sums as gradients, zero afterwards. */
  takeSums(): Gradients {
    return new Map(this.#units.map((unit): [string, Node] => {
      const sum = this.#sumOf(unit);
      const zero = this.#ops(gradientPath(unit.path)).call("full", [], { shape: sum.shape, value: 0 });
      this.#updates.set(pathOf(sum), zero);
      return [unit.path, sum];
    }));
  }

  /** Gradients of parameters as those of units. */
  gather(gradients: Gradients): Gradients {
    return new Map(this.#units.map((unit) => [unit.path, gathered(this.#ops(`${unit.path}.grad`), unit, gradients)]));
  }

  #sumOf(unit: Unit): Node {
    return this.#table.besideUnit(unit, gradientPath, "gradient", "Gradient summed over passes.");
  }

  #scalar(scalar: ScalarInfo): Node {
    const name = scalarInput(scalar);
    const node = this.#ops(name).call("input", [], { name, shape: [] });
    this.#inputs.set(name, node);
    this.#scalars.push(scalar);
    return node;
  }

  /** Bounds, updates, and the moving average. @param gradients by unit */
  apply(gradients: Gradients): void {
    const { optimizer, settings: { ema } } = this.#recipe;
    const bound = this.#bound(gradients);
    const scalars = Object.fromEntries(optimizer.scalars.map((one) => [one.name, this.#scalar(one)]));
    for (const unit of this.#units) {
      const states = Object.fromEntries(optimizer.states.map((state) => [
        state, this.#table.besideUnit(unit, (path) => statePath(optimizer.kind, state, path), "optimizer",
          `State \`${state}\` of ${optimizer.kind}.`),
      ]));
      const gradient = bound.get(unit.path) as Node; // every unit has one
      const parameter = this.#nodes.get(unit.path) as Node; // every unit has one
      const o = algebra(this.#ops(`${unit.path}.${optimizer.kind}`));
      const next = optimizer.update(o, { parameter, gradient, states, scalars, decayed: unit.decay });
      for (const state of optimizer.states) {
        this.#updates.set(pathOf(states[state] as Node), next.states[state] as Node); // a record's own states
      }
      this.#updates.set(unit.path, next.parameter);
    }
    if (ema !== undefined) this.#average(ema);
  }

  #bound(gradients: Gradients): Gradients {
    const { optimizer, settings: { clip } } = this.#recipe;
    const ops = this.#ops("clip");
    const record = clip && clipRecord(clip);
    const needed = this.#options.gradientNorm === true || record?.needsNorm === true
      || (optimizer.normLimit !== undefined && !clip);
    const norm = needed ? globalNorm(this.#ops("grad_norm"), gradients) : undefined;
    if (norm) this.#outputs.set("grad_norm", norm);
    const held = clip && record
      ? record.bound({ ops, gradients, parameters: this.#nodes, norm }, clip.arguments) : gradients;
    if (optimizer.normLimit === undefined) return held;
    return limited(ops, held, clip || !norm ? globalNorm(ops, held) : norm, optimizer.normLimit);
  }

  /** ema ← decay·ema + (1 − decay)·next, parameters and buffers of trained models alike; whole numbers are copied. */
  #average(decay: number): void {
    const moved = (average: Node, next: Node): void => {
      const o = algebra(this.#ops(pathOf(average)));
      const value = next.dtype === "f32" ? o.add(o.mul(average, decay), o.mul(next, 1 - decay)) : next;
      this.#updates.set(pathOf(average), value);
    };
    for (const unit of this.#units) {
      const average = this.#table.besideUnit(unit, emaPath, "ema", "Moving average.");
      moved(average, this.#updates.get(unit.path) as Node); // every unit is updated
    }
    for (const parameter of this.#open.graph.parameters.values()) {
      const next = this.#open.graph.updates.get(parameter.path);
      if (parameter.trained || !next) continue;
      moved(this.#table.beside(parameter, emaPath(parameter.path), "ema", "Moving average."), next);
    }
  }

  finish(gradients: Gradients): TrainingGraph {
    const paths = (decay: boolean): string[] => this.#trained.filter((p) => p.decay === decay).map((p) => p.path);
    return {
      graph: {
        inputs: this.#inputs, parameters: this.#table.parameters, outputs: this.#outputs, updates: this.#updates,
      },
      data: this.#data, scalars: this.#scalars, states: this.#table.tensors, gradients,
      decayed: paths(true), undecayed: paths(false),
    };
  }
}
