/**
 * What one partition has read and not yet delivered, in memory: which delivery of each key is next, and how far the
 * cursor may move. Deliveries of one key, or of what the receiver orders by, are sent one after the other; others in
 * any order, so the cursor stays at the oldest that is not settled, and those settled after it are sent again after a
 * crash. Bounded: reading stops while `hasRoom` is false. Pure.
 */
import type { StoredDeadLetter } from "../stream/dead-letter.js";
import type { EmitEntry } from "../stream/emits.js";
import type { Emit } from "../stream/job.js";
import type { Delivery } from "./receiver.js";
import { Tries } from "./retry.js";

/** Deliveries in memory: a second of the rush for one partition of sixteen, several times over. */
export const WINDOW_DELIVERIES = 4_000;
export const WINDOW_BYTES = 16 * 1024 * 1024;
/**
 * Of these, what dead letters under replay may take: new deliveries are sent after what is in memory before them, and
 * are not to wait long. More are added as soon as half of them are settled.
 */
export const REPLAY_DELIVERIES = 250;
const REPLAY_BYTES = WINDOW_BYTES / 4;
/**
 * Entries and deliveries above the cursor, settled ones included: at most these are sent again after a crash,
 * beside the last entry read.
 */
const SPAN_LIMIT = 20_000;

/** Delivered are all entries up to this one, and the first `emits` emits of the next one. */
export interface Cursor {
  readonly entry: number;
  readonly emits: number;
}

/** What the backlog needs of an entry. */
export type BacklogEntry = Omit<EmitEntry, "stored">;

/** A dead letter that is tried again, with the deliveries of it that are not settled yet. */
export interface Replay {
  readonly deadLetter: StoredDeadLetter;
  left: number;
}

/** A delivery that is not settled. */
export class Pending {
  readonly delivery: Delivery;
  readonly commit: number;
  readonly index: number;
  readonly bytes: number;
  readonly job: string;
  /** Undefined for a dead letter that is tried again: the cursor does not wait for it. */
  readonly position: EntryPosition | undefined;
  readonly replay: Replay | undefined;
  /** Deliveries with the same one are sent one after the other. */
  readonly order: string;
  readonly tries = new Tries();
  /** Whether a request of it has no answer yet. */
  isUnderWay = false;
  /** Its entry has overflowed: it becomes a dead letter and is not sent any more. */
  isOverflowed = false;
  /** Whether the receiver may have it from a try without an answer. */
  mayHaveArrived = false;

  constructor(
    delivery: Delivery,
    job: string,
    commit: number,
    index: number,
    bytes: number,
    from: EntryPosition | Replay,
    order = delivery.key,
  ) {
    this.delivery = delivery;
    this.order = order;
    this.job = job;
    this.commit = commit;
    this.index = index;
    this.bytes = bytes;
    this.position = "entry" in from ? from : undefined;
    this.replay = "entry" in from ? undefined : from;
  }
}

/** The index of a delivery among the wanted ones of its entry. */
interface EntryPosition {
  readonly entry: Entry;
  readonly at: number;
}

interface Entry extends Pick<BacklogEntry, "commit" | "committedMs" | "startBytes"> {
  readonly pendings: Pending[];
  /** Indexes of the wanted emits, and whether each is settled. */
  readonly indexes: readonly number[];
  readonly settled: boolean[];
  /** The first that is not settled. */
  at: number;
}

export class Backlog {
  readonly #idOf: (commit: number, index: number) => string;
  readonly #orderOf: (delivery: Delivery) => string;
  readonly #keys = new Map<string, Pending[]>();
  readonly #entries: Entry[] = [];
  readonly #deadLetters = new Set<string>();
  #cursor: Cursor;
  #read: number;
  #deliveries = 0;
  #bytes = 0;
  #span = 0;
  /** Of dead letters that are tried again. */
  #replayed = 0;
  #replayedBytes = 0;

  /**
   * @param idOf the id of a delivery
   * @param orderOf what deliveries are ordered by
   */
  constructor(
    cursor: Cursor,
    idOf: (commit: number, index: number) => string,
    orderOf: (delivery: Delivery) => string = ({ key }) => key,
  ) {
    this.#cursor = cursor;
    this.#read = cursor.entry;
    this.#idOf = idOf;
    this.#orderOf = orderOf;
  }

  get cursor(): Cursor {
    return this.#cursor;
  }

  /** The last entry read. */
  get readUpTo(): number {
    return this.#read;
  }

  /** Deliveries that are not settled. */
  get size(): number {
    return this.#deliveries;
  }

  get hasRoom(): boolean {
    return this.#deliveries < WINDOW_DELIVERIES && this.#bytes < WINDOW_BYTES && this.#span < SPAN_LIMIT;
  }

  /** Whether there is room for one more delivery of a dead letter. */
  get hasReplayRoom(): boolean {
    return this.hasRoom && this.#replayed < REPLAY_DELIVERIES && this.#replayedBytes < REPLAY_BYTES;
  }

  /** Whether at least half of what replays may take is free. */
  get isReplayLow(): boolean {
    return this.hasRoom && this.#replayed <= REPLAY_DELIVERIES / 2 && this.#replayedBytes <= REPLAY_BYTES / 2;
  }

  /** Whether nothing more is read until the oldest delivery is settled. */
  get isBlocked(): boolean {
    return this.#span >= SPAN_LIMIT;
  }

  /** The oldest entry that is not settled; undefined when all are. */
  get oldest(): Pick<BacklogEntry, "commit" | "committedMs" | "startBytes"> | undefined {
    return this.#entries[0];
  }

  /** Adds an entry. Returns the deliveries that may be sent at once. */
  add(
    { commit, previous, committedMs, startBytes, bytes, emits }: BacklogEntry,
    wants: (kind: string) => boolean,
  ): Pending[] {
    // The emits that the cursor counts are of an entry that was deleted.
    if (this.#entries.length === 0 && previous > this.#cursor.entry) this.#cursor = { entry: previous, emits: 0 };
    const from = this.#entries.length === 0 ? this.#cursor.emits : 0;
    const indexes: number[] = [];
    for (let i = from; i < emits.length; i++) if (wants((emits[i] as Emit).kind)) indexes.push(i);
    const share = indexes.length === 0 ? 0 : bytes / indexes.length;
    const settled = indexes.map(() => false);
    const start = startBytes === undefined ? {} : { startBytes };
    const entry: Entry = { commit, committedMs, ...start, indexes, settled, at: 0, pendings: [] };
    this.#entries.push(entry);
    this.#read = commit;
    this.#span += 1 + indexes.length;
    const ready: Pending[] = [];
    for (let at = 0; at < indexes.length; at++) {
      const index = indexes[at] as number;
      const pending = this.#pendingOf(emits[index] as Emit, commit, index, share, { entry, at });
      entry.pendings.push(pending);
      this.#enqueue(pending, ready);
    }
    this.#advance();
    return ready;
  }

  /** Whether this dead letter is under replay, or replayed without a commit that removes it. */
  hasDeadLetter(id: string): boolean {
    return this.#deadLetters.has(id);
  }

  /** Adds a dead letter that is to be tried again; its deliveries follow. */
  addDeadLetter(id: string): void {
    this.#deadLetters.add(id);
  }

  /**
   * Adds a delivery of a dead letter, after the other deliveries of its key. Returns it if it may be sent at once,
   * otherwise nothing.
   */
  addReplayed(replay: Replay, index: number, emit: Emit, bytes: number): Pending[] {
    const ready: Pending[] = [];
    this.#enqueue(this.#pendingOf(emit, replay.deadLetter.offset, index, bytes, replay), ready);
    return ready;
  }

  /**
   * Takes out the oldest entry, whatever waits of it: the cursor passes it. A request under way keeps its place before
   * the other deliveries of its key until it is settled.
   * @returns the deliveries that were not settled, and those of their keys that may be sent now
   */
  takeOldest(): { commit: number; unsettled: Pending[]; ready: Pending[] } | undefined {
    const entry = this.#entries.shift();
    if (!entry) return undefined;
    const unsettled = entry.pendings.filter((_, at) => !entry.settled[at]);
    const ready: Pending[] = [];
    for (const pending of unsettled) {
      pending.isOverflowed = true;
      if (pending.isUnderWay) continue;
      const queue = this.#keys.get(pending.order) as Pending[];
      const at = queue.indexOf(pending);
      queue.splice(at, 1);
      this.#left(pending, queue);
      if (at === 0 && queue[0]) ready.push(queue[0]);
    }
    this.#span -= 1 + entry.indexes.length;
    this.#cursor = { entry: entry.commit, emits: 0 };
    this.#advance();
    return { commit: entry.commit, unsettled, ready: ready.filter(({ isOverflowed }) => !isOverflowed) };
  }

  /** Records that a delivery needs no further try. Returns the next one of its key, if there is one. */
  settle(pending: Pending): Pending | undefined {
    const { position: place } = pending;
    const queue = this.#keys.get(pending.order) as Pending[];
    queue.shift();
    this.#left(pending, queue);
    if (place) {
      place.entry.settled[place.at] = true;
      this.#advance();
    }
    return queue[0];
  }

  /** The removal of a dead letter has been committed: the same one may be added again. */
  deadLetterRemoved(id: string): void {
    this.#deadLetters.delete(id);
  }

  #left({ order, bytes, replay }: Pending, queue: readonly Pending[]): void {
    if (queue.length === 0) this.#keys.delete(order);
    this.#deliveries--;
    this.#bytes -= bytes;
    if (!replay) return;
    this.#replayed--;
    this.#replayedBytes -= bytes;
  }

  #enqueue(pending: Pending, ready: Pending[]): void {
    const queue = this.#keys.get(pending.order);
    if (queue) queue.push(pending);
    else {
      this.#keys.set(pending.order, [pending]);
      ready.push(pending);
    }
    this.#deliveries++;
    this.#bytes += pending.bytes;
    if (!pending.replay) return;
    this.#replayed++;
    this.#replayedBytes += pending.bytes;
  }

  #pendingOf(emit: Emit, commit: number, index: number, bytes: number, from: EntryPosition | Replay): Pending {
    const { job, kind, key, atMs, payload } = emit;
    const delivery = { id: this.#idOf(commit, index), kind, key, atMs, payload };
    return new Pending(delivery, job, commit, index, bytes, from, this.#orderOf(delivery));
  }

  #advance(): void {
    let passed = 0;
    for (const entry of this.#entries) {
      while (entry.settled[entry.at]) entry.at++;
      const isSettled = entry.at === entry.indexes.length;
      this.#cursor = isSettled
        ? { entry: entry.commit, emits: 0 }
        : { entry: this.#cursor.entry, emits: entry.indexes[entry.at] as number };
      if (!isSettled) break;
      passed++;
      this.#span -= 1 + entry.indexes.length;
    }
    if (passed > 0) this.#entries.splice(0, passed);
  }
}
