/** @file The records of a run as a file of JSON lines that can be followed while it runs. */

import { appendFile } from "node:fs/promises";
import { DeitcError } from "../../errors.js";
import { metricsLine, type MetricsRecord } from "../../train/metrics.js";
import { writeFileAtomic } from "../files.js";

/** Appends records; a full disk does not stop the run: every record is in the checkpoints too. */
export class MetricsLog {
  readonly path: string;
  #failed: string | undefined;

  private constructor(path: string) {
    this.path = path;
  }

  /** Starts the file with what a resumed run has already reported. Throws `FileError`. */
  static async open(path: string, records: readonly MetricsRecord[] = []): Promise<MetricsLog> {
    const text = records.map((record) => `${metricsLine(record)}\n`).join("");
    await writeFileAtomic(path, [new TextEncoder().encode(text)]);
    return new MetricsLog(path);
  }

  /** Appends a record. Returns what to warn of, once, when it cannot. */
  async add(record: MetricsRecord): Promise<string | undefined> {
    try {
      await appendFile(this.path, `${metricsLine(record)}\n`);
      return undefined;
    } catch (error) {
      const told = this.#failed !== undefined;
      this.#failed = error instanceof DeitcError || error instanceof Error ? error.message : String(error);
      return told ? undefined : `${this.path}: records are no longer written: ${this.#failed}`;
    }
  }
}
