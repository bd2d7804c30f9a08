/**
 * Joins the items of many callers into few calls, without a linger timer. Items that are added in one turn of the
 * event loop are sent together; while calls are in flight, further items queue, so calls grow with the load. A long
 * queue is sent as several calls, so that client and server work at the same time. Items are sent in the order in
 * which they were added, and every caller gets its own results. A failed call fails only the callers whose items were
 * in it; a failed item fails only its caller. The queue is bounded: past the limit callers get `overloaded`.
 */
import { EngineError, messageOf } from "./errors.js";

export interface TurnBatcherOptions<Item, Result> {
  op: string;
  /** Most items of one call. */
  batchLimit: number;
  /** Most items queued or in flight. */
  queueLimit: number;
  /** Makes one call; resolves to one result or failure an item, in order. */
  send(items: Item[]): Promise<(Result | ItemFailure)[]>;
}

/** In place of a result: the item was not done. */
export class ItemFailure {
  readonly cause: unknown;

  constructor(cause: unknown) {
    this.cause = cause;
  }
}

/** The items of one caller: several, or a single one. */
interface Group<Result> {
  results: Result[] | undefined;
  missing: number;
  /** The first failure; reported when no item of the group is in flight any more. */
  error: EngineError | undefined;
  resolve(results: Result[] | Result): void;
  reject(error: unknown): void;
}

const OVERLOADED_RETRY_MS = 1_000;
/** Most calls of one batcher in flight, when there are enough items: the server works on one while others travel. */
const CALLS_IN_FLIGHT = 4;
/**
 * Fewest items for a further call while others are in flight: at 5 µs each, 1 ms of work for the fixed price of a
 * call, some 50 µs.
 */
const MIN_ITEMS = 200;

let waiting: (() => void)[] = [];

/**
 * All batchers flush one after the other at the end of a turn, so that a connection can send their calls in one
 * write.
 */
function atEndOfTurn(flush: () => void): void {
  if (waiting.push(flush) > 1) return;
  setImmediate(() => {
    const flushes = waiting;
    waiting = [];
    for (const each of flushes) each();
  });
}

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

  /** Items queued or in flight. */
  get depth(): number {
    return this.#held;
  }

  add(items: readonly Item[]): Promise<Result[]> {
    if (items.length === 0) return Promise.resolve([]);
    return this.#enter(items.length, (resolve, reject) => {
      const results = new Array<Result>(items.length);
      const group = { results, missing: items.length, error: undefined, resolve, reject } as Group<Result>;
      for (let i = 0; i < items.length; i++) {
        this.#items.push(items[i] as Item);
        this.#groups.push(group);
        this.#indexes.push(i);
      }
    });
  }

  /** The same for a single item, and cheaper. */
  addOne(item: Item): Promise<Result> {
    return this.#enter(1, (resolve, reject) => {
      this.#items.push(item);
      this.#groups.push({ results: undefined, missing: 1, error: undefined, resolve, reject } as Group<Result>);
      this.#indexes.push(0);
    });
  }

  #enter<Answer>(
    items: number,
    queue: (resolve: (answer: Answer) => void, reject: (error: unknown) => void) => void,
  ): Promise<Answer> {
    const { op, queueLimit } = this.#options;
    // An empty queue accepts a group larger than the limit: otherwise it could never be sent.
    if (this.#held > 0 && this.#held + items > queueLimit) {
      return Promise.reject(
        new EngineError(`${op}: the queue is full with ${this.#held} items`, {
          op,
          code: "overloaded",
          retryable: true,
          retryAfterMs: OVERLOADED_RETRY_MS,
        }),
      );
    }
    this.#held += items;
    const answer = new Promise<Answer>(queue);
    this.#schedule();
    return answer;
  }

  /** Flushes at the end of this turn, so that callers that are answered in it can add items. */
  #schedule(): void {
    if (this.#scheduled || !this.#isDue()) return;
    this.#scheduled = true;
    atEndOfTurn(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  /** Whether to send now. Few items wait for the call in flight, because more will join them; many do not wait. */
  #isDue(): boolean {
    const waiting = this.#items.length;
    return this.#calls === 0 ? waiting > 0 : waiting >= this.#minItems() && this.#calls < CALLS_IN_FLIGHT;
  }

  #flush(): void {
    while (this.#isDue()) {
      const size = this.#callSize();
      // Cheap even for a long queue: the rest is moved once for each call.
      void this.#call(this.#items.splice(0, size), this.#groups.splice(0, size), this.#indexes.splice(0, size));
    }
  }

  /** Items of the next call: the queue in equal parts, each of at least the fewest items, as far as calls are free. */
  #callSize(): number {
    const waiting = this.#items.length;
    const parts = Math.min(Math.floor(waiting / this.#minItems()), CALLS_IN_FLIGHT - this.#calls);
    return Math.min(this.#options.batchLimit, Math.ceil(waiting / Math.max(1, parts)));
  }

  #minItems(): number {
    return Math.min(this.#options.batchLimit, MIN_ITEMS);
  }

  async #call(items: Item[], groups: Group<Result>[], indexes: number[]): Promise<void> {
    let results: (Result | ItemFailure)[] = [];
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
      const result = results[i];
      if (result instanceof ItemFailure) group.error ??= this.#errorOf(result.cause);
      else if (group.results) group.results[indexes[i] as number] = result as Result;
      group.error ??= error;
      if (--group.missing > 0) continue;
      if (group.error) group.reject(group.error);
      else group.resolve(group.results ?? (result as Result));
    }
  }

  #errorOf(thrown: unknown): EngineError {
    if (thrown instanceof EngineError) return thrown;
    const { op } = this.#options;
    const detail = { op, code: "unavailable", retryable: true, retryAfterMs: OVERLOADED_RETRY_MS };
    return new EngineError(`${op}: ${messageOf(thrown)}`, detail, { cause: thrown });
  }
}
