/**
 * Applies the routes of an event topic to the emits of one partition of another topic: which events each becomes, and
 * in which partition of the target. Pure: the same emits give the same events, so they may be forwarded again. An emit
 * that its route cannot map, or whose event is not valid, becomes a dead letter and does not hold the others.
 */
import { messageOf } from "../kernel/errors.js";
import type { DeadLetter, StoredDeadLetter } from "./dead-letter.js";
import { emitPicker, emitsOf } from "./emit-dead-letter.js";
import type { EmitEntry } from "./emits.js";
import { encodeEvent } from "./event-entry.js";
import { digestOf, type ForwardedCommit, type ReplayedDeadLetter } from "./event-producer.js";
import type { Emit } from "./job.js";
import { partitionOf } from "./partition.js";
import type { Route } from "./route.js";

export interface EmitRouterOptions {
  /** `<topic>/<partition>` of the emits; event ids begin with it. */
  source: string;
  routes: readonly Route[];
  /** Of the target. */
  partitions: number;
}

/** What entries become. */
export interface RoutedBatch {
  /** By partition of the target. */
  commits: Map<number, ForwardedCommit[]>;
  events: number;
  deadLetters: DeadLetter[];
}

export const emptyBatch = (): RoutedBatch => ({ commits: new Map(), events: 0, deadLetters: [] });

/** What dead letters become that are replayed. */
export interface RoutedReplay {
  /** By partition of the target. */
  calls: Map<number, ReplayedDeadLetter[]>;
  /** Those that failed again, anew. */
  deadLetters: DeadLetter[];
  /** Ids of all that were tried. */
  done: string[];
}

/** Packed events by partition of the target. */
type Parts = Map<number, Buffer[]>;

export class EmitRouter {
  readonly #options: EmitRouterOptions;

  constructor(options: EmitRouterOptions) {
    this.#options = options;
  }

  /** Whether a route has emits of a kind. */
  wants(kind: string): boolean {
    return this.#options.routes.some(({ kinds }) => kinds.includes(kind));
  }

  /**
   * Adds what an entry becomes to a batch.
   * @param settled so many of its emits have their dead letters already
   */
  add(batch: RoutedBatch, { commit, emits, stored }: EmitEntry, settled: number): void {
    const parts: Parts = new Map();
    let pick: ReturnType<typeof emitPicker> | undefined;
    for (const [index, emit] of emits.entries()) {
      try {
        this.#route(emit, commit, index, parts);
      } catch (thrown) {
        if (index < settled) continue;
        const { job, key } = emit;
        const reason = messageOf(thrown);
        pick ??= emitPicker(stored);
        const fields = pick([index]);
        batch.deadLetters.push({ offset: commit, job, index, key, reason, tries: 1, fields, isOwn: true });
      }
    }
    if (parts.size === 0) return;
    const digest = digestOf(stored);
    for (const [partition, events] of parts) {
      addTo(batch.commits, partition, { commit, digest, events });
      batch.events += events.length;
    }
  }

  replayOf(requested: readonly StoredDeadLetter[]): RoutedReplay {
    const replay: RoutedReplay = { calls: new Map(), deadLetters: [], done: [] };
    for (const deadLetter of requested) {
      const found = emitsOf(deadLetter);
      // Without its bytes it stays a dead letter, and its request stays: the operator has to remove them.
      if (found.length === 0) continue;
      replay.done.push(deadLetter.id);
      const parts: Parts = new Map();
      let pick: ReturnType<typeof emitPicker> | undefined;
      for (const [index, emit] of found) {
        try {
          this.#route(emit, deadLetter.offset, index, parts);
        } catch (thrown) {
          // The others of its group are forwarded; it becomes a dead letter of its own.
          pick ??= emitPicker(deadLetter);
          const { id: was, first = was, tries, deliveries: _, digest: __, ...record } = deadLetter;
          const { job, key } = emit;
          const own = { job, index, key, fields: pick([index]), isOwn: true, reason: messageOf(thrown) };
          replay.deadLetters.push({ ...record, ...own, tries: tries + 1, was, first });
        }
      }
      const { id, offset, index, digest } = deadLetter;
      // A partition may have taken the entry before it was given up. An emit alone has failed, so none has it.
      const entry = index === undefined && digest ? { commit: offset, digest: Buffer.from(digest, "hex") } : undefined;
      for (const [partition, events] of parts) addTo(replay.calls, partition, { id, events, ...(entry && { entry }) });
    }
    return replay;
  }

  /** Adds the event of an emit, if it becomes one, to its partition. Throws what its route throws. */
  #route(emit: Emit, commit: number, index: number, parts: Parts): void {
    const { source, routes, partitions } = this.#options;
    const event = routes.find(({ kinds }) => kinds.includes(emit.kind))?.event(emit);
    if (!event) return;
    const { key, kind, payload } = event;
    const id = `${source}/${commit}.${index}`;
    const packed = encodeEvent({ id, key, kind, payload, atMs: Math.floor(emit.atMs) });
    addTo(parts, partitionOf(key, partitions), packed);
  }
}

function addTo<Item>(lists: Map<number, Item[]>, partition: number, item: Item): void {
  const list = lists.get(partition);
  if (list) list.push(item);
  else lists.set(partition, [item]);
}
