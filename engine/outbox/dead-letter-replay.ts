/**
 * Delivers dead letters once more that an operator has requested. One may hold all deliveries of a commit, and an
 * operator may request all at once: so only a small part of the backlog is theirs, and new deliveries wait for that
 * part at most.
 */
import type { StoredDeadLetter } from "../stream/dead-letter.js";
import { emitsOf } from "../stream/emit-dead-letter.js";
import type { Emit } from "../stream/job.js";
import type { PartitionKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { RequestedReplays } from "../stream/requested-replays.js";
import type { Backlog, Pending, Replay } from "./backlog.js";

export interface DeadLetterReplayOptions {
  readonly redis: RedisClient;
  /** The sink's. */
  readonly keys: PartitionKeys;
  readonly backlog: Backlog;
  wants(kind: string): boolean;
  /** Called with deliveries that may be sent now. */
  onReady(ready: readonly Pending[]): void;
  /** Called with a dead letter of which this sink wants no emit any more. */
  onNeedless(id: string): void;
}

/** A dead letter that has been read, whose deliveries are not all in the backlog yet. */
interface Started {
  readonly replay: Replay;
  readonly emits: readonly (readonly [index: number, emit: Emit])[];
  /** Of a delivery. */
  readonly bytes: number;
  next: number;
}

export class DeadLetterReplay {
  readonly #options: DeadLetterReplayOptions;
  readonly #requested: RequestedReplays;
  /** Those of one read at most. */
  readonly #started: Started[] = [];
  #hasMore = false;

  constructor(options: DeadLetterReplayOptions) {
    this.#options = options;
    this.#requested = new RequestedReplays(options.redis, options.keys);
  }

  /** Whether there is more to deliver, and now room for it. */
  get isDue(): boolean {
    return this.#hasMore && this.#options.backlog.isReplayLow;
  }

  /** Adds deliveries to the backlog, as many as it has room for. */
  async fill(): Promise<void> {
    const { backlog } = this.#options;
    this.#hasMore = true;
    if (!this.#addStarted()) return;
    for await (const deadLetters of this.#requested.read((id) => backlog.hasDeadLetter(id))) {
      for (const deadLetter of deadLetters) this.#start(deadLetter);
      if (!this.#addStarted()) return;
    }
    this.#hasMore = false;
  }

  #start(deadLetter: StoredDeadLetter): void {
    const { backlog, wants, onNeedless } = this.#options;
    const emits = emitsOf(deadLetter);
    // Without its bytes it stays a dead letter, and its request stays: the operator has to remove them.
    if (emits.length === 0) {
      this.#requested.pass(deadLetter.id);
      return;
    }
    backlog.addDeadLetter(deadLetter.id);
    // A process without the receiver may have kept more than that.
    const wanted = emits.filter(([, { kind }]) => wants(kind));
    if (wanted.length === 0) {
      onNeedless(deadLetter.id);
      return;
    }
    const bytes = deadLetter.fields.reduce((sum, { length }) => sum + length, 0) / wanted.length;
    this.#started.push({ replay: { deadLetter, left: wanted.length }, emits: wanted, bytes, next: 0 });
  }

  /** Returns false when there is no room for more. */
  #addStarted(): boolean {
    const { backlog, onReady } = this.#options;
    const ready: Pending[] = [];
    for (let each = this.#started[0]; each && backlog.hasReplayRoom; each = this.#started[0]) {
      const [index, emit] = each.emits[each.next++] as (typeof each.emits)[number];
      ready.push(...backlog.addReplayed(each.replay, index, emit, each.bytes));
      if (each.next === each.emits.length) this.#started.shift();
    }
    onReady(ready);
    return backlog.hasReplayRoom;
  }
}
