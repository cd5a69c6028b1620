/**
 * @file The header parameter `preprocess`: how an image becomes an input, as
 * `[side of the centre crop, shorter side before it, mean, std]`.
 */
import type { Preprocess } from "../../runtime/manifest.js";
import { isConstant, showShape, type Shape } from "../ir/dim.js";
import type { Frame } from "./frame.js";
import { show, type Value } from "./values.js";

type Triple = readonly [number, number, number];

/** What the header says of images; undefined where it says nothing, or after a diagnostic. */
export function preprocessOf(frame: Frame, header: ReadonlyMap<string, Value>): Preprocess | undefined {
  const value = header.get("preprocess");
  if (!value || value.kind === "none") return undefined;
  const [size, resize, mean, std, more] = value.kind === "list" ? value.items : [];
  const [side, shorter, means, deviations] = [wholeOf(size), wholeOf(resize), tripleOf(mean), tripleOf(std)];
  if (side && shorter && shorter >= side && means && deviations && !more) {
    const [images] = frame.given ?? frame.session.inputs;
    if (images && !takes(images[1].shape, side)) {
      frame.fail("value_error", {
        text: `\`preprocess\` makes images of [3, ${side}, ${side}], but the input \`${images[0]}\` is ` +
          showShape(images[1].shape),
        help: "give `preprocess` the size that the model takes",
      }, frame.span);
      return undefined;
    }
    return { size: side, resize: shorter, mean: means, std: deviations };
  }
  frame.fail("wrong_type", {
    text: `\`preprocess\` must be [size, resize, mean, std] with size at most resize, got ${show(value)}`,
    help: "for example, write `preprocess = [224, 256, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]`",
  }, frame.span);
  return undefined;
}

/** Whether an input is a batch of RGB images of this side. */
const takes = ([, ...image]: Shape, side: number): boolean =>
  image.every(isConstant) && image.map(({ c }) => c).join() === [3, side, side].join();

const wholeOf = (v: Value | undefined): number | undefined =>
  v?.kind === "number" && Number.isInteger(v.value) && v.value > 0 ? v.value : undefined;

function tripleOf(v: Value | undefined): Triple | undefined {
  const [r, g, b, more] = v?.kind === "list" ? v.items : [];
  if (r?.kind !== "number" || g?.kind !== "number" || b?.kind !== "number" || more) return undefined;
  return [r.value, g.value, b.value];
}
