/**
 * @file Frees what lives on a device only when no call uses it any more. A device that skips validation does not check
 * whether the buffers of a command still exist, and crashes the process if one does not.
 */
import { DestroyedError } from "./errors.js";

/** What the runtime reads of an `AbortSignal`, which not every program's libraries declare. */
export interface StopSignal {
  readonly aborted: boolean;
  throwIfAborted(): void;
}

/** How something ends. */
interface LifetimeOptions {
  /** Message of the error for later calls: what was destroyed, and what to do. */
  readonly message: string;
  /** Gives back what is held; called once, when nobody uses it. */
  readonly free: () => void;
  /** What it lives on: used by every call that uses this. */
  readonly parent?: Lifetime;
}

/** Counts the calls that use something, and frees it once it is closed and the last of them has ended. */
export class Lifetime {
  readonly #message: string;
  readonly #free: () => void;
  readonly #parent: Lifetime | undefined;
  #users = 0;
  #closed = false;
  #told: () => void = () => undefined;
  /** Calls of `queue` that have not ended, and the end of the last of them. */
  #queued = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** Resolves when it was closed and freed. */
  readonly ended: Promise<void> = new Promise((resolve) => { this.#told = resolve; });

  constructor({ message, free, parent }: LifetimeOptions) {
    [this.#message, this.#free, this.#parent] = [message, free, parent];
  }

  /** Whether `close()` was called. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Whether a call of `queue` made now would start at once. */
  get idle(): boolean {
    return this.#queued === 0;
  }

  /** @throws DestroyedError after `close()`, its own or that of what it lives on */
  check(): void {
    if (this.#closed) throw new DestroyedError(this.#message);
    this.#parent?.check();
  }

  /** A signal that is aborted when `signal` is, or when this is closed. */
  signal(signal?: StopSignal): StopSignal {
    const aborted = (): boolean => this.#closed || signal?.aborted === true;
    return {
      get aborted() { return aborted(); },
      throwIfAborted: () => {
        signal?.throwIfAborted();
        this.check();
      },
    };
  }

  /** Runs `work`, which starts at once; nothing that it uses is freed before it has ended. @throws DestroyedError */
  async use<T>(work: () => Promise<T>): Promise<T> {
    this.check();
    const held = async (): Promise<T> => {
      this.#users++;
      try {
        return await work();
      } finally {
        this.#users--;
        this.#end();
      }
    };
    return this.#parent === undefined ? held() : this.#parent.use(held);
  }

  /** Does as `use` does after all earlier calls of `queue`. */
  queue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queued === 0 ? this.use(work) : this.#last.then(() => this.use(work));
    this.#queued++;
    const next = (): void => void this.#queued--;
    this.#last = result.then(next, next);
    return result;
  }

  /** Waits for the calls of `queue` made so far. */
  async settled(): Promise<void> {
    await this.#last;
  }

  /** Calls made from now on reject; what is held is freed as soon as no call uses it, at once if none does. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#end();
  }

  #end(): void {
    if (!this.#closed || this.#users > 0) return;
    this.#free();
    this.#told();
  }
}
