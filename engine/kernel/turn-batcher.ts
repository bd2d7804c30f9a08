/**
 * Joins what many callers ask into few calls, without a linger timer: a lone caller waits for nobody. What is asked
 * in one turn of the event loop goes out together, and while calls are under way the next ones gather, so calls grow
 * with the load; many items go out as several calls, so that both ends have something to do. Items go out in the
 * order they came and every caller gets its own results; a failed call fails only the callers whose items were in it,
 * and one that did a part of them fails those of the rest. The queue has a bound; past it `overloaded` tells the
 * caller to come back.
 */
import { EngineError, messageOf } from "./errors.js";

export interface TurnBatcherOptions<Item, Result> {
  op: string;
  /** Items of one call at most. */
  batchLimit: number;
  /** Items waiting or under way at most. */
  queueLimit: number;
  /** Does one call; resolves to one result an item, in order, or to why that item was not done. */
  send(items: Item[]): Promise<(Result | ItemFailure)[]>;
}

/** In place of a result. */
export class ItemFailure {
  readonly cause: unknown;

  constructor(cause: unknown) {
    this.cause = cause;
  }
}

/** What one caller has asked: several items, or a single one. */
interface Group<Result> {
  results: Result[] | undefined;
  missing: number;
  /** The first failure; told when nothing of the group is under way any more. */
  error: EngineError | undefined;
  resolve(results: Result[] | Result): void;
  reject(error: unknown): void;
}

const OVERLOADED_RETRY_MS = 1_000;
/** Calls of one batcher under way at once, when there are items enough: one is worked on while others travel. */
const CALLS_AT_ONCE = 4;
/**
 * Items that are worth a call beside those under way: at 5 µs each they make up for what a call costs by itself, some
 * 50 µs.
 */
const WORTH_A_CALL = 200;

let waiting: (() => void)[] = [];

/**
 * All batchers flush one after the other at the end of a turn, so that a connection may send their calls as one
 * write.
 */
function atTurnsEnd(flush: () => void): void {
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

  /** Items waiting or under way. */
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
    // A group larger than the whole bound is let into an empty queue, or it could never pass.
    if (this.#held > 0 && this.#held + items > queueLimit) {
      return Promise.reject(
        new EngineError(`${op}: ${this.#held} items are waiting already`, {
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

  /** At the end of this turn, so that whoever is answered in it can join in. */
  #schedule(): void {
    if (this.#scheduled || !this.#isDue()) return;
    this.#scheduled = true;
    atTurnsEnd(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  /** Few items wait for the call under way, because they will be more by then; many do not. */
  #isDue(): boolean {
    const waiting = this.#items.length;
    return this.#calls === 0 ? waiting > 0 : waiting >= this.#worthACall() && this.#calls < CALLS_AT_ONCE;
  }

  #flush(): void {
    while (this.#isDue()) {
      const size = this.#callSize();
      // Cheap also for a long queue: the rest is moved once for every call.
      void this.#call(this.#items.splice(0, size), this.#groups.splice(0, size), this.#indexes.splice(0, size));
    }
  }

  /** In equal parts, as many as are worth a call each and may be under way. */
  #callSize(): number {
    const waiting = this.#items.length;
    const parts = Math.min(Math.floor(waiting / this.#worthACall()), CALLS_AT_ONCE - this.#calls);
    return Math.min(this.#options.batchLimit, Math.ceil(waiting / Math.max(1, parts)));
  }

  #worthACall(): number {
    return Math.min(this.#options.batchLimit, WORTH_A_CALL);
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
