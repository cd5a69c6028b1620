/**
 * @file Two tokens of every layer as further outputs of a model: which tensors and rows they are is read from the
 * graph, or told by the user.
 */
import type { TokenPair } from "../../runtime/evaluate.js";
import { makeOps } from "../ir/build.js";
import { UserError } from "../ir/invariant.js";
import { isOp } from "../ir/op.js";
import { slice } from "../ops/views.js";
import { isConstant, sameShape, showShape, type Shape } from "../ir/dim.js";
import { rootsOf, topological, type Graph, type Node } from "../ir/graph.js";
import { compileGraph, graphManifest, type Compiled } from "../pipeline.js";
import { reopen } from "../train/open.js";

/** Rows of [B, N, D] that are compared. */
type Rows = readonly [first: number, second: number];

/** What `--tokens` says: paths of tensors [B, N, D], `*` for any one part, and two rows of them. */
export interface TokenChoice {
  readonly paths: readonly string[];
  readonly rows: Rows;
}

/** Layers of a model in their order, and the rows of each. */
interface TokenLayers {
  readonly rows: Rows;
  readonly layers: readonly { readonly layer: string; readonly node: Node }[];
}

/** The layers that the user names. @throws UserError for a row beyond the tokens; undefined where no path fits */
export function layersNamed({ graph, name }: Compiled["model"], { paths, rows }: TokenChoice): TokenLayers | undefined {
  const escaped = (path: string): string => path.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", "[^.]+");
  const patterns = paths.map((path) => new RegExp(`^${escaped(path)}$`));
  const results = resultsByPath(topological(rootsOf(graph)).filter(({ shape }) => isTokens(shape)));
  const layers = [...results].filter(([path]) => patterns.some((pattern) => pattern.test(path)))
    .map(([layer, node]) => ({ layer, node })).sort((a, b) => a.node.id - b.node.id);
  for (const { layer, node } of layers) {
    const tokens = node.shape[1]?.c ?? 0;
    const beyond = rows.find((row) => row >= tokens);
    if (beyond !== undefined) {
      throw new UserError(`${layer} of ${name} is ${showShape(node.shape)}: there is no token ${beyond}`,
        `tokens count from 0 to ${tokens - 1}`);
    }
  }
  return layers.length === 0 ? undefined : { rows, layers };
}

/**
 * The layers of a model of which two outputs each read one token of the same tensor [B, N, D]: what goes into the first
 * of a row of numbered blocks, what each of them gives, and that tensor. Undefined for any other model.
 */
export function layersFound({ graph }: Compiled["model"]): TokenLayers | undefined {
  const read = [...new Set(graph.outputs.values())].map(tokensRead).filter((found) => found.length === 1).flat();
  const source = read[0]?.source;
  const [first, second, more] = [...new Set(read.map(({ row }) => row))].sort((a, b) => a - b);
  if (!source || read.some((other) => other.source !== source)) return undefined;
  if (first === undefined || second === undefined || more !== undefined) return undefined;
  const nodes = topological([source]).filter(({ shape }) => sameShape(shape, source.shape));
  const blocks = numberedBlocks(resultsByPath(nodes));
  const [start] = blocks;
  if (!start) return { rows: [first, second], layers: [{ layer: layerName(source), node: source }] };
  const home = `${start.layer}.`;
  const entry = nodes.findIndex(({ origin: { path } }) => path === start.layer || path.startsWith(home));
  const before = nodes[entry - 1];
  return {
    rows: [first, second],
    layers: [
      ...(before ? [{ layer: "input", node: before }] : []), ...blocks,
      ...(blocks.some(({ node }) => node === source) ? [] : [{ layer: layerName(source), node: source }]),
    ],
  };
}

const layerName = ({ origin, op }: Node): string => origin.path || op;

/** [B, N, D] */
const isTokens = ([batch, tokens, width, more]: Shape): boolean =>
  batch?.b === 1 && batch.c === 0 && tokens !== undefined && isConstant(tokens) &&
  width !== undefined && isConstant(width) && more === undefined;

/** The last node of every path: what it gives to others. */
const resultsByPath = (nodes: readonly Node[]): Map<string, Node> =>
  new Map(nodes.map((node) => [node.origin.path, node]));

/** The longest row of results whose paths differ in the number at their end: `blocks.0`, `blocks.1`, … */
function numberedBlocks(results: ReadonlyMap<string, Node>): { readonly layer: string; readonly node: Node }[] {
  const rows = new Map<string, { layer: string; node: Node }[]>();
  for (const [layer, node] of results) {
    const [, home] = /^(.*\.)\d+$/.exec(layer) ?? [];
    if (home !== undefined) rows.set(home, [...(rows.get(home) ?? []), { layer, node }]);
  }
  const longest = [...rows.values()].reduce((a, b) => (b.length > a.length ? b : a), []);
  return longest.sort((a, b) => a.node.id - b.node.id);
}

/** Single tokens of tensors [B, N, D] that an output is computed from, as near to it as there are any. */
function tokensRead(output: Node): { readonly source: Node; readonly row: number }[] {
  const [found, seen, open] = [[] as { source: Node; row: number }[], new Set<Node>(), [output]];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    const row = rowOf(node);
    const [source] = node.inputs;
    if (row !== undefined && source) found.push({ source, row });
    else open.push(...node.inputs);
  }
  return found;
}

/** The token that a slice takes; undefined when it takes more, or is not a slice. */
function rowOf(node: Node): number | undefined {
  const { inputs: [source], shape } = node;
  if (!isOp(slice, node) || !source || !isTokens(source.shape) || !isTokens(shape)) return undefined;
  const taken = shape[1]?.c === 1 && shape[2]?.c === source.shape[2]?.c;
  return taken ? node.attrs.starts[1]?.c : undefined;
}

/** The model compiled anew with the two tokens of every layer as outputs [B, 2, D]. */
export function withTokens(
  compiled: Compiled, { rows, layers }: TokenLayers,
): { readonly module: Pick<Compiled, "manifest" | "wgsl">; readonly tokens: readonly TokenPair[] } {
  const named = layers.map(({ layer, node }) => ({ layer, output: `tokens of ${layer}`, node }));
  const tapped: Graph = {
    ...compiled.model.graph,
    outputs: new Map([...compiled.model.graph.outputs, ...named.map(({ output, node }) => [output, node] as const)]),
  };
  const { builder, graph } = reopen(tapped);
  const [low, high] = [Math.min(...rows), Math.max(...rows)];
  const outputs = new Map(graph.outputs);
  for (const { layer, output } of named) {
    const node = graph.outputs.get(output);
    if (node) outputs.set(output, makeOps(builder, { path: `${layer} tokens` }).call("slice", [node], {
      starts: [null, low, null], stops: [null, high + 1, null], steps: [1, high - low, 1],
    }));
  }
  const made = compileGraph({ ...graph, outputs }, `${compiled.manifest.name}, tokens kept`);
  const manifest = { ...compiled.manifest, ...graphManifest(compiled.manifest.name, made) };
  return { module: { manifest, wgsl: made.wgsl }, tokens: named.map(({ layer, output }) => ({ layer, output })) };
}
