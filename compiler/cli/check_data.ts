/** @file `--check-data`: every image is decoded, and those that cannot be are listed, instead of a run. */
import type { DataCheck } from "../../runtime/data/check.js";
import type { Dataset } from "../../runtime/data/loader.js";
import { counted, printable, someNames } from "../../runtime/text.js";
import { noteLines, printJsonValue } from "./command.js";
import { Exit, type ExitCode } from "./exit.js";
import { Progress } from "./progress.js";

/** Reads all images of a data set, with a bar. */
export async function checkWithProgress(dataset: Dataset): Promise<DataCheck> {
  const { checkImages } = await import("../../runtime/data/check.js");
  const progress = new Progress("checking", dataset.length, "images");
  return checkImages(dataset, (done) => progress.update(done)).finally(() => progress.end());
}

/** Reads all images and prints what is wrong with them. The exit code says whether anything is. */
export async function checkData(datasets: readonly Dataset[], json: boolean | undefined): Promise<ExitCode> {
  const found: (DataCheck & { readonly dataset: Dataset })[] = [];
  for (const dataset of datasets) found.push({ dataset, ...await checkWithProgress(dataset) });
  const bad = found.reduce((sum, one) => sum + one.bad.length, 0);
  if (json) {
    printJsonValue(found.map(({ dataset: { name, length, classes, notes = [] }, bad: images, lost }) => ({
      data: name, images: length, classes: classes.length, notes,
      bad: images.map(({ file, reason }) => ({ file, reason })), lost,
    })));
  } else {
    const lines = found.flatMap(({ dataset, bad: images, lost }) => [
      ...images.map(({ file, reason }) => `bad: ${printable(file)}: ${printable(reason)}`),
      ...(lost.length === 0 ? [] : [`${printable(dataset.name)}: no image of ${someNames(lost)} can be read`]),
    ]);
    const each = found.map(({ dataset: { name, length, classes }, bad: images }) =>
      `${printable(name)}: ${images.length} of ${length}, ${counted(classes.length, "class", "classes")}`).join("; ");
    const total = found.reduce((sum, { dataset }) => sum + dataset.length, 0);
    const summary = bad === 0 ? `all ${counted(total, "image")} can be read`
      : `${bad} of ${counted(total, "image")} cannot be read`;
    process.stdout.write(noteLines(found.flatMap(({ dataset: { notes = [] } }) => notes)));
    process.stdout.write(`${[...lines, `${summary} (${each})`].join("\n")}\n`);
  }
  return bad === 0 ? Exit.done : Exit.input;
}
