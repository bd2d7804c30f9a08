/**
 * One job's keyed state in memory, between the commit that it was read after and the one that will write it. Keys are
 * asked for as events name them and read together; what a call changes is known here until it has been committed, and
 * a call that fails can be undone. Keys that were not changed are kept for the next step, as long as there are not
 * too many. It knows nothing of events, timers and Redis.
 */
import { messageOf } from "../kernel/errors.js";
import type { AnyJob, IndexEntry, LogEvent } from "./job.js";
import { type IndexChange, indexChanges } from "./job-index.js";
import { decodeState, encodeState } from "./pack.js";

/** Keys kept in memory for one job between commits. */
const CACHE_LIMIT = 20_000;
/** No event has touched a key since the last commit. */
export const CLEAN = Number.POSITIVE_INFINITY;
const NONE: readonly IndexEntry[] = [];

export interface KeyState {
  readonly key: string;
  /** Undefined until it has been read, and while the key is given up. */
  state: unknown;
  /**
   * Why the state that is stored cannot be read: it stays as it is, and the key's events become letters, until
   * somebody has repaired it.
   */
  fault: string | undefined;
  /** The earliest event time that touched the key since the last commit; CLEAN when none did. */
  touchedMs: number;
  /**
   * `cleared`: deleted since the last commit, so that there is no state; `anew`: given up, and begun again after
   * that.
   */
  life: "kept" | "cleared" | "anew";
  /** What the state of the last commit is found by, and that of the commit under way. */
  indexed: readonly IndexEntry[];
  indexing: readonly IndexEntry[];
}

/** A key as it was before a call. */
export interface StateBefore {
  /** Undefined when the key has been given up, and when the state cannot be read and so cannot be changed either. */
  packed: Buffer | undefined;
  touchedMs: number;
  life: KeyState["life"];
}

/** Reads states of one job; null for a key that has none. */
export type LoadStates = (job: string, keys: string[]) => Promise<(Buffer | null)[]>;

/** What readers are told of a key, its state's bytes when the view is the state itself. */
export type PublishView = (key: string, view: unknown, packed: Buffer | undefined) => void;

/** What a commit writes of one job's states, and of what they are found by. */
export interface StateChanges {
  set: [key: string, state: Buffer][];
  tombstones: string[];
  index: IndexChange[];
}

export class KeyedState<Event extends LogEvent> {
  readonly #job: AnyJob<Event>;
  readonly #keys = new Map<string, KeyState>();
  /** Named, and not read yet. */
  #wanted: KeyState[] = [];
  readonly #dirty = new Set<KeyState>();
  #unreadable: KeyState[] = [];
  /** States as they were packed after their last call; only where calls can be undone, and only for one step. */
  readonly #packed = new Map<KeyState, Buffer>();

  constructor(job: AnyJob<Event>) {
    this.#job = job;
  }

  get hasWanted(): boolean {
    return this.#wanted.length > 0;
  }

  /** A key's place in memory; what is new here is read by the next `fetch`. */
  want(key: string): KeyState {
    let held = this.#keys.get(key);
    if (!held) {
      held = { key, state: undefined, fault: undefined, touchedMs: CLEAN, life: "kept", indexed: NONE, indexing: NONE };
      this.#keys.set(key, held);
      this.#wanted.push(held);
    }
    return held;
  }

  /** Reads what is wanted. After a failure this object is of no more use. */
  async fetch(load: LoadStates): Promise<void> {
    const wanted = this.#wanted;
    if (wanted.length === 0) return;
    this.#wanted = [];
    const job = this.#job;
    const packed = await load(
      job.name,
      wanted.map(({ key }) => key),
    );
    for (let i = 0; i < wanted.length; i++) this.#fill(wanted[i] as KeyState, packed[i]);
  }

  #fill(held: KeyState, bytes: Buffer | null | undefined): void {
    try {
      held.state = bytes ? decodeState(bytes) : this.#job.initial(held.key);
      if (bytes && this.#job.index) held.indexed = this.#job.index(held.state, held.key);
    } catch (thrown) {
      this.#unreadable.push(held);
      const what = bytes ? "its stored state cannot be read" : "it has no initial state";
      held.fault = `${what}: ${messageOf(thrown)}`;
    }
  }

  /** Notes that a call changes a key, and makes sure that it has a state. @throws when it has none that can be read */
  touch(held: KeyState, atMs: number): void {
    if (held.fault !== undefined) throw new Error(held.fault);
    if (held.life === "cleared") {
      held.state = this.#job.initial(held.key);
      held.life = "anew";
    }
    if (held.touchedMs === CLEAN) this.#dirty.add(held);
    if (atMs < held.touchedMs) held.touchedMs = atMs;
  }

  clear(held: KeyState): void {
    held.state = undefined;
    held.life = "cleared";
  }

  /** Begins a step. */
  begin(): void {
    this.#packed.clear();
  }

  before(held: KeyState): StateBefore {
    const { state, fault, touchedMs, life } = held;
    const hasState = fault === undefined && life !== "cleared";
    return { packed: hasState ? (this.#packed.get(held) ?? encodeState(state)) : undefined, touchedMs, life };
  }

  /** Makes sure that what a call left can be committed. @throws when state or view cannot be packed */
  check(held: KeyState, withViews: boolean): void {
    const { state, key, touchedMs, life } = held;
    if (life === "cleared") {
      this.#packed.delete(held);
      return;
    }
    const packed = encodeState(state);
    this.#job.index?.(state, key);
    if (withViews && this.#job.view) encodeState(this.#job.view(state, key, touchedMs));
    this.#packed.set(held, packed);
  }

  undo(held: KeyState, { packed, touchedMs, life }: StateBefore): void {
    if (held.fault !== undefined) return;
    held.state = packed && decodeState(packed);
    held.life = life;
    held.touchedMs = touchedMs;
    if (touchedMs === CLEAN) this.#dirty.delete(held);
    if (packed) this.#packed.set(held, packed);
    else this.#packed.delete(held);
  }

  /**
   * What the next commit has to write: changed states, and keys that have none any more.
   * @param tell told of every change; left out: nobody asks. A view of null: the key has been given up
   * @throws what packing a state or making a view throws, its key in the message
   */
  changes(tell: PublishView | undefined): StateChanges {
    const job = this.#job;
    const set: [string, Buffer][] = [];
    const gone: string[] = [];
    const index: IndexChange[] = [];
    for (const held of this.#dirty) {
      const { key, state, touchedMs, life } = held;
      // Before a state that has begun anew, too: its view alone would be added to what readers know of the old one.
      if (life !== "kept") tell?.(key, null, undefined);
      if (life === "cleared") {
        gone.push(key);
        held.indexing = NONE;
        indexChanges(key, held.indexed, NONE, index);
        continue;
      }
      try {
        if (job.index) {
          held.indexing = job.index(state, key);
          indexChanges(key, held.indexed, held.indexing, index);
        }
        const packed = encodeState(state);
        set.push([key, packed]);
        if (tell && job.view) {
          const view = job.view(state, key, life === "anew" ? 0 : touchedMs);
          tell(key, view, view === state ? packed : undefined);
        }
      } catch (thrown) {
        throw new Error(`${job.name} on key ${key}: ${messageOf(thrown)}`, { cause: thrown });
      }
    }
    return { set, tombstones: gone, index };
  }

  /** To be called when the commit has been written: forgets what it carried. */
  committed(): void {
    for (const held of this.#dirty) {
      held.touchedMs = CLEAN;
      held.indexed = held.indexing;
      if (held.life === "cleared") this.#keys.delete(held.key);
      else held.life = "kept";
    }
    this.#dirty.clear();
    if (this.#keys.size > CACHE_LIMIT) this.#keys.clear();
    // Somebody may have repaired them when they are wanted next.
    for (const { key } of this.#unreadable) this.#keys.delete(key);
    this.#unreadable = [];
  }
}
