/**
 * The contract of a receiver: an outside system that takes deliveries one by one, or several with one request. It
 * returns the outcome of each; when and how often a delivery is tried again is decided by the outbox. A delivery may
 * come more than once (after a crash, after a lost answer), so the receiving system must recognise it by its key and
 * kind. Its id alone is not enough: a Redis that has lost its newest writes assigns the same numbers again.
 */

/** One emit of a commit, on its way out. */
export interface Delivery {
  /**
   * `topic/partition/commit.index` of its emit. The same emit has the same id however often it is sent, as long as
   * Redis loses nothing.
   */
  readonly id: string;
  readonly kind: string;
  /** Deliveries of one key are sent in order: an order's id. */
  readonly key: string;
  /** Event time of its cause. */
  readonly atMs: number;
  readonly payload: unknown;
}

/** The outcome of one try. `retry`: the fault may pass. `refused`: no further try would change it. */
export type DeliveryOutcome =
  | {
      readonly outcome: "done";
      readonly receipt?: unknown;
      /** No request was sent, because none was needed: this does not count for the circuit. */
      readonly isUnsent?: boolean;
    }
  | {
      readonly outcome: "retry";
      /** May quote the receiver's answer, so it is kept in the dead letter only; logs have `brief`. */
      readonly reason: string;
      /** The same without a quotation; left out: `reason` has none. */
      readonly brief?: string;
      /**
       * The answer refuses the request, and not only for now: what is wrong, for an operator. If all deliveries get
       * it, the configuration is at fault; a delivery that gets it while others are accepted becomes a dead letter
       * in the end.
       */
      readonly fault?: string;
      /** No request was sent: this does not count for the circuit. */
      readonly isUnsent?: boolean;
      /** No answer came, or none from the receiver itself: it may have the delivery all the same. */
      readonly mayHaveArrived?: boolean;
      /** The receiver has asked for fewer requests. */
      readonly throttled?: boolean;
      /**
       * The receiver has accepted its part; another system that the delivery needs has failed.
       */
      readonly dependencyFailed?: boolean;
      /** How long to wait before the next request; of any delivery when throttled. */
      readonly retryAfterMs?: number;
    }
  | { readonly outcome: "refused"; readonly reason: string; readonly brief?: string };

/** A delivery that the receiver has accepted, with its answer. */
export interface Delivered {
  readonly delivery: Delivery;
  readonly receipt: unknown;
  /** When the answer came, by the outbox's wall clock. */
  readonly atMs: number;
}

/** How much one request may hold. */
export interface BatchLimits {
  readonly deliveries: number;
  /** Of the deliveries as they are stored; one that is larger is sent alone. Left out: no limit. */
  readonly bytes?: number;
}

export interface Receiver {
  /** Names the sink: its cursor, its dead letters, its rate limit. 1 to 32 of a-z 0-9 -. */
  readonly name: string;
  /** Whether emits of this kind are for it. Must stay the same while a process lives. */
  wants(kind: string): boolean;
  /**
   * Deliveries are of no use some time later: those that wait beyond the bounds while no process runs the sink are
   * passed over and become no dead letters. Left out: they become dead letters.
   */
  readonly isShortLived?: true;
  /** What deliveries are ordered by, when it is less than their key: those with the same text are sent in order. */
  orderOf?(delivery: Delivery): string;
  /**
   * Sends one request at most. Settles within finite time; a throw counts as `retry`.
   * @param signal aborts when the answer is not needed any more
   * @param mayHaveArrived whether a try before this one returned it
   */
  deliver(delivery: Delivery, signal: AbortSignal, mayHaveArrived: boolean): Promise<DeliveryOutcome>;
  /** Of a receiver that takes several deliveries with one request; it has `deliverBatch`, too. */
  readonly batch?: BatchLimits;
  /**
   * The same for two deliveries or more, none of the same key. Sends one request at most: it counts once for the rate
   * limit and for the requests under way. A single delivery is sent with `deliver`.
   * @param mayHaveArrived by position
   * @returns the outcome of each, by position; another number of them counts as a throw, which is `retry` for all
   */
  deliverBatch?(
    deliveries: readonly Delivery[],
    signal: AbortSignal,
    mayHaveArrived: readonly boolean[],
  ): Promise<readonly DeliveryOutcome[]>;
  /**
   * Called before the cursor moves past these deliveries, in order for each key; may be called again for the same
   * ones. A throw holds the cursor.
   */
  delivered?(partition: number, done: readonly Delivered[]): Promise<void>;
  /** Called for deliveries that become dead letters, in the same way. */
  deadLettered?(partition: number, deliveries: readonly Delivery[]): Promise<void>;
  /**
   * Called about once a second while a partition has no delivery waiting and its cursor is committed. A throw is
   * reported and changes nothing.
   */
  idle?(partition: number): Promise<void>;
}
