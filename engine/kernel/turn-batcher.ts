/**
 * Joins what many callers ask into few calls, without a linger timer: a lone caller waits for nobody. What is asked in one turn of the event
 * loop goes out together, and while calls are under way the next ones gather, so calls grow with the load. Items go out in the order
 * they came and every caller gets its own results; a failed call fails only the callers whose items were in it. The queue has a bound;
 * past it `overloaded` tells the caller to come back.
 */
import { EngineError, messageOf } from "./errors.js";

export interface TurnBatcherOptions<Item, Result> {
  op: string;
  /** Items of one call at most. */
  batchLimit: number;
  /** Items waiting or under way at most. */
  queueLimit: number;
  /** Does one call; resolves to one result an item, in order. */
  send(items: Item[]): Promise<Result[]>;
}

interface Group<Result> {
  results: Result[];
  missing: number;
  /** The first failure; told when nothing of the group is under way any more. */
  error: EngineError | undefined;
  resolve(results: Result[]): void;
  reject(error: unknown): void;
}

const OVERLOADED_RETRY_MS = 1_000;
/** Calls of one batcher under way at once, when there are items to fill them: one is worked on while others travel. */
const FULL_CALLS = 4;

export class TurnBatcher<Item, Result> {
  readonly #options: TurnBatcherOptions<Item, Result>;
  #items: Item[] = [];
  #groups: Group<Result>[] = [];
  #indexes: number[] = [];
  #held = 0;
  #calls = 0;
  #scheduled = false;

  constructor(options: TurnBatcherOptions<Item, Result>) {
    this.#options = options;
  }

  /** Items waiting or under way. */
  get depth(): number {
    return this.#held;
  }

  add(items: readonly Item[]): Promise<Result[]> {
    if (items.length === 0) return Promise.resolve([]);
    const { op, queueLimit } = this.#options;
    // A group larger than the whole bound is let into an empty queue, or it could never pass.
    if (this.#held > 0 && this.#held + items.length > queueLimit) {
      return Promise.reject(
        new EngineError(`${op}: ${this.#held} items are waiting already`, {
          op,
          code: "overloaded",
          retryable: true,
          retryAfterMs: OVERLOADED_RETRY_MS,
        }),
      );
    }
    this.#held += items.length;
    return new Promise((resolve, reject) => {
      const group: Group<Result> = {
        results: new Array(items.length),
        missing: items.length,
        error: undefined,
        resolve,
        reject,
      };
      for (let i = 0; i < items.length; i++) {
        this.#items.push(items[i] as Item);
        this.#groups.push(group);
        this.#indexes.push(i);
      }
      this.#schedule();
    });
  }

  /** At the end of this turn, so that whoever is answered in it can join in. */
  #schedule(): void {
    if (this.#scheduled || !this.#isDue()) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  /** A part of a batch waits for the call under way, because it will have grown by then; a full one does not. */
  #isDue(): boolean {
    const waiting = this.#items.length;
    return this.#calls === 0 ? waiting > 0 : waiting >= this.#options.batchLimit && this.#calls < FULL_CALLS;
  }

  #flush(): void {
    const { batchLimit } = this.#options;
    while (this.#isDue()) {
      // Cheap also for a long queue: the rest is moved once for every `batchLimit` items.
      const items = this.#items.splice(0, batchLimit);
      void this.#call(items, this.#groups.splice(0, items.length), this.#indexes.splice(0, items.length));
    }
  }

  async #call(items: Item[], groups: Group<Result>[], indexes: number[]): Promise<void> {
    let results: Result[] = [];
    let error: EngineError | undefined;
    this.#calls++;
    try {
      results = await this.#options.send(items);
    } catch (thrown) {
      error = this.#errorOf(thrown);
    }
    this.#calls--;
    this.#held -= items.length;
    this.#schedule();
    for (let i = 0; i < items.length; i++) {
      const group = groups[i] as Group<Result>;
      group.results[indexes[i] as number] = results[i] as Result;
      group.error ??= error;
      if (--group.missing > 0) continue;
      if (group.error) group.reject(group.error);
      else group.resolve(group.results);
    }
  }

  #errorOf(thrown: unknown): EngineError {
    if (thrown instanceof EngineError) return thrown;
    const { op } = this.#options;
    const detail = { op, code: "unavailable", retryable: true, retryAfterMs: OVERLOADED_RETRY_MS };
    return new EngineError(`${op}: ${messageOf(thrown)}`, detail, { cause: thrown });
  }
}
