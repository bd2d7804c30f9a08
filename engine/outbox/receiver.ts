/**
 * The contract of a receiver: an outside system that takes deliveries one by one. It says what became of each, and
 * nothing about when or how often to try: that is the outbox's. A delivery may come more than once (after a crash,
 * after an answer that was lost), so whoever receives it must know it again by its key and kind. Its id alone will
 * not do: a Redis that comes back without its newest writes gives numbers out again.
 */

/** One emit of a commit, on its way out. */
export interface Delivery {
  /**
   * `topic/partition/commit.index`: where it comes from. The same emit has the same id however often it is sent, as
   * long as Redis loses nothing.
   */
  readonly id: string;
  readonly kind: string;
  /** What its order is kept by: an order's id. */
  readonly key: string;
  /** Event time of what caused it. */
  readonly atMs: number;
  readonly payload: unknown;
}

/** What became of one try. `again` is for trouble that may pass, `refused` for what no further try would change. */
export type DeliveryOutcome =
  | {
      readonly outcome: "done";
      readonly receipt?: unknown;
      /** The receiver has not been asked, for nothing was to be sent: this says nothing about it. */
      readonly isUnsent?: boolean;
    }
  | {
      readonly outcome: "retry";
      /** May quote what the receiver said, so it goes into the dead letter and nowhere else; logs have `brief`. */
      readonly reason: string;
      /** The same without a word of the receiver's; left out: the reason is that. */
      readonly brief?: string;
      /**
       * An answer came that refuses, and not for now: what is amiss, in words for an operator. When it befalls all
       * deliveries alike it is a fault of configuration; a delivery that is refused so while others are taken is
       * given up in the end.
       */
      readonly fault?: string;
      /** The receiver has not been asked: this says nothing about it. */
      readonly isUnsent?: boolean;
      /** No answer has come, or none of the receiver's own: it may have the delivery all the same. */
      readonly mayHaveArrived?: boolean;
      /** The receiver is there, and has asked for less. */
      readonly throttled?: boolean;
      /**
       * The receiver has taken its part; something else that belongs to the delivery is missing, and no failure of
       * the receiver's.
       */
      readonly dependencyFailed?: boolean;
      /** How long it wants to be left alone; by everybody when throttled. */
      readonly retryAfterMs?: number;
    }
  | { readonly outcome: "refused"; readonly reason: string; readonly brief?: string };

/** A delivery that the receiver has, with what it said. */
export interface Delivered {
  readonly delivery: Delivery;
  readonly receipt: unknown;
  /** When the answer came, by the outbox's wall clock. */
  readonly atMs: number;
}

export interface Receiver {
  /** Names the sink: its cursor, its dead letters, its pace. 1 to 32 of a-z 0-9 -. */
  readonly name: string;
  /** Whether emits of this kind are for it. Must stay the same while a process lives. */
  wants(kind: string): boolean;
  /**
   * Sends one request at most. Settles within finite time; a throw counts as `again`.
   * @param signal aborts when nobody waits for the answer any more
   * @param mayHaveArrived whether a try before this one said so
   */
  deliver(delivery: Delivery, signal: AbortSignal, mayHaveArrived: boolean): Promise<DeliveryOutcome>;
  /**
   * Told before the cursor moves past them, in order for each key; may be told of the same ones again. A throw holds
   * the cursor.
   */
  delivered?(partition: number, done: readonly Delivered[]): Promise<void>;
  /** Told of deliveries that become dead letters, in the same way. */
  deadLettered?(partition: number, deliveries: readonly Delivery[]): Promise<void>;
  /**
   * Told about once a second while a partition has nothing that waits; what has been delivered is written down. A
   * throw is told and does no harm.
   */
  idle?(partition: number): Promise<void>;
}
