/** @file Places for boxes in boxes and for the lines between them, by dagre's layered layout, top to bottom. */
import { Graph, layout } from "@dagrejs/dagre";

export interface Size {
  readonly width: number;
  readonly height: number;
}
/** Top left corner and size, in pixels. */
export interface Rect extends Size {
  readonly x: number;
  readonly y: number;
}
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A box without others in it, or one that is as large as what it holds. */
export interface Placeable {
  readonly id: string;
  readonly size?: Size;
  /** The box it lies in. */
  readonly inside?: string;
}

export interface Link {
  readonly from: string;
  readonly to: string;
  /** Room for a text beside it. */
  readonly label?: Size;
  /** Beside the way that the eye follows, which is kept short and straight. */
  readonly skips: boolean;
}

/** A link's way, and the middle of its label. */
export interface Route {
  readonly points: readonly Point[];
  readonly label?: Point;
}

export interface Layout {
  readonly size: Size;
  readonly rects: ReadonlyMap<string, Rect>;
  /** One a link, in the order of the links. */
  readonly routes: readonly Route[];
}

const GAPS = { ranksep: 40, nodesep: 26, edgesep: 18, marginx: 0, marginy: 0 };

/** What dagre adds to the labels that it is given. */
interface Placed extends Size {
  readonly x: number;
  readonly y: number;
  readonly points: readonly Point[];
}

export function layOut(boxes: readonly Placeable[], links: readonly Link[]): Layout {
  const graph = new Graph<unknown, object, object>({ compound: true, multigraph: true });
  graph.setGraph({ rankdir: "TB", ranker: "network-simplex", ...GAPS });
  for (const { id, size } of boxes) graph.setNode(id, { ...size });
  for (const { id, inside } of boxes) if (inside !== undefined) graph.setParent(id, inside);
  links.forEach(({ from, to, label, skips }, i) => {
    const room = label ? { ...label, labelpos: "r", labeloffset: 6 } : {};
    graph.setEdge(from, to, { weight: skips ? 1 : 12, minlen: 1, ...room }, String(i));
  });
  layout(graph);
  const rects = new Map(boxes.map(({ id }) => {
    const { x, y, width, height } = graph.node(id) as Placed; // dagre places every node that it has
    return [id, { x: x - width / 2, y: y - height / 2, width, height }] as const;
  }));
  const routes = links.map(({ from, to, label }, i): Route => {
    const { points, x, y } = graph.edge(from, to, String(i)) as Placed; // and every edge
    return { points, ...(label ? { label: { x, y } } : {}) };
  });
  const { width, height } = graph.graph() as Placed;
  return { size: { width, height }, rects, routes };
}
