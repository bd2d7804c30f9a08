/**
 * One job's keyed state in memory, between the commit after which it was read and the commit that will write it. The
 * keys of many events are read together. Changes are kept here until they have been committed, and a call that fails
 * can be undone. Unchanged keys stay cached for the next batch, as long as there are not too many. Events, timers and
 * Redis are handled elsewhere.
 */
import { messageOf } from "../kernel/errors.js";
import { type ChangePosition, type ClosingWrite, encodeClosing } from "./closings.js";
import type { AnyJob, IndexEntry, LogEvent } from "./job.js";
import { type IndexChange, indexChanges } from "./job-index.js";
import { decodeState, encodeState } from "./pack.js";
import { encodeWithHeader, periodOf, STATE_HEADER_FORMAT, stateOf, versionOf, withoutHeader } from "./state-codec.js";

/** Keys kept in memory for one job between commits. */
const CACHE_LIMIT = 20_000;
const NEVER = Number.POSITIVE_INFINITY;
/** Periods whose closings a replay removes, the latest: older ones have expired, as long as jobs keep fewer. */
const MOST_REMOVED = 1_000;
/** No event has changed a key since the last commit. */
const CLEAN = Number.POSITIVE_INFINITY;
const NONE: readonly IndexEntry[] = [];

export interface KeyState {
  readonly key: string;
  /** Undefined until it has been read, and while the key is cleared. */
  state: unknown;
  /**
   * Why the stored state cannot be read: it is not changed, and the key's events become dead letters, until an
   * operator has repaired it.
   */
  fault: string | undefined;
  /** The earliest event time that changed the key since the last commit; CLEAN when none did. */
  touchedMs: number;
  /**
   * `cleared`: deleted since the last commit, so that there is no state; `recreated`: cleared, and begun again after
   * that.
   */
  life: "kept" | "cleared" | "recreated";
  /** Index entries of the state in the last commit, and in the next one. */
  indexed: readonly IndexEntry[];
  indexing: readonly IndexEntry[];
  /**
   * When the period of the last change ends, by the log's clock: the next change from then on needs a closing. 0: no
   * period is known. Never, for a job without closings.
   */
  openUntilMs: number;
  /** Whether it has a state beside the initial one; only for a job with closings. */
  exists: boolean;
}

/** A key as it was before a call. */
export interface StateBefore {
  /** Undefined when the key is cleared, or when its state cannot be read and so cannot be changed either. */
  packed: Buffer | undefined;
  touchedMs: number;
  life: KeyState["life"];
  openUntilMs: number;
  exists: boolean;
  /** How many closings there were. */
  closings: number;
}

/** Reads states of one job; null for a key that has none. */
export type LoadStates = (job: string, keys: string[]) => Promise<(Buffer | null)[]>;

/** Publishes a key's view; `packed` holds its bytes when the view is the state itself. */
export type PublishView = (key: string, view: unknown, packed: Buffer | undefined) => void;

/** What a commit writes of one job's states and their index. */
export interface StateChanges {
  set: [key: string, state: Buffer][];
  tombstones: string[];
  index: IndexChange[];
  closings: ClosingWrite[];
  /** How long the closings are stored. */
  closingsKeptMs: number;
}

export class KeyedState<Event extends LogEvent> {
  readonly #job: AnyJob<Event>;
  readonly #keys = new Map<string, KeyState>();
  /** Keys to be read by the next `fetch`. */
  #wanted: KeyState[] = [];
  readonly #dirty = new Set<KeyState>();
  #unreadable: KeyState[] = [];
  /** States as they were packed after their last call; only in isolated mode, and only for one batch. */
  readonly #packed = new Map<KeyState, Buffer>();
  readonly #version: number;
  /** Length of a period; 0: the job keeps no closings, or the format does not allow them yet. */
  #periodMs = 0;
  #closings: ClosingWrite[] = [];

  constructor(job: AnyJob<Event>) {
    this.#job = job;
    this.#version = versionOf(job);
  }

  get hasWanted(): boolean {
    return this.#wanted.length > 0;
  }

  /** A key's entry in memory; a new one is read by the next `fetch`. */
  want(key: string): KeyState {
    let held = this.#keys.get(key);
    if (!held) {
      held = {
        key,
        state: undefined,
        fault: undefined,
        touchedMs: CLEAN,
        life: "kept",
        indexed: NONE,
        indexing: NONE,
        openUntilMs: this.#periodMs === 0 ? NEVER : 0,
        exists: false,
      };
      this.#keys.set(key, held);
      this.#wanted.push(held);
    }
    return held;
  }

  /** Reads all wanted keys. After an error this object must not be used any more. */
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
      held.state = bytes ? stateOf(this.#job, held.key, bytes) : this.#job.initial(held.key);
      if (bytes && this.#periodMs > 0) {
        held.exists = true;
        held.openUntilMs = ((periodOf(bytes) ?? -1) + 1) * this.#periodMs;
      }
      if (bytes && this.#job.index) held.indexed = this.#job.index(held.state, held.key);
    } catch (thrown) {
      this.#unreadable.push(held);
      const what = bytes ? "its stored state cannot be read" : "it has no initial state";
      held.fault = `${what}: ${messageOf(thrown)}`;
    }
  }

  /** Marks a key as changed by a call, and ensures that it has a state. @throws when its state cannot be read */
  touch(held: KeyState, atMs: number): void {
    if (held.fault !== undefined) throw new Error(held.fault);
    if (held.life === "cleared") {
      held.state = this.#job.initial(held.key);
      held.life = "recreated";
    }
    if (held.touchedMs === CLEAN) this.#dirty.add(held);
    if (atMs < held.touchedMs) held.touchedMs = atMs;
  }

  /**
   * Records the state before a change, which is the key's first in its period; call it when the log's clock has reached
   * `openUntilMs`, before `touch`.
   */
  close(held: KeyState, position: ChangePosition): void {
    if (held.fault !== undefined) return;
    const period = Math.floor(position.clockMs / this.#periodMs);
    const packed = held.exists && held.life !== "cleared" ? this.#encode(held) : undefined;
    this.#closings.push({ period, key: held.key, bytes: encodeClosing(position, packed) });
    held.openUntilMs = (period + 1) * this.#periodMs;
    held.exists = true;
  }

  /**
   * Before the replay of what happened at `fromMs`, by the log's clock: removes the closings from then on, which lack
   * it. The key's next change writes one again.
   * @param toMs the log's clock
   */
  removeClosings(held: KeyState, fromMs: number, toMs: number): void {
    if (held.fault !== undefined || this.#periodMs === 0) return;
    const to = Math.floor(toMs / this.#periodMs);
    const from = Math.max(Math.floor(fromMs / this.#periodMs), to - MOST_REMOVED);
    for (let period = from; period <= to; period++) this.#closings.push({ period, key: held.key, bytes: undefined });
    held.openUntilMs = 0;
    held.exists = true;
  }

  clear(held: KeyState): void {
    held.state = undefined;
    held.life = "cleared";
  }

  /** Begins a batch. @param format that may be written */
  begin(format: number): void {
    this.#packed.clear();
    const periodMs = format < STATE_HEADER_FORMAT ? 0 : (this.#job.closings?.periodMs ?? 0);
    if (periodMs === this.#periodMs) return;
    this.#periodMs = periodMs;
    // Read again, with their periods.
    this.#keys.clear();
  }

  before(held: KeyState): StateBefore {
    const { state, fault, touchedMs, life, openUntilMs, exists } = held;
    const hasState = fault === undefined && life !== "cleared";
    const packed = hasState ? (this.#packed.get(held) ?? encodeState(state)) : undefined;
    return { packed, touchedMs, life, openUntilMs, exists, closings: this.#closings.length };
  }

  /** Checks that the result of a call can be committed. @throws when state or view cannot be packed */
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

  undo(held: KeyState, { packed, touchedMs, life, openUntilMs, exists, closings }: StateBefore): void {
    if (held.fault !== undefined) return;
    held.openUntilMs = openUntilMs;
    held.exists = exists;
    this.#closings.length = closings;
    held.state = packed && decodeState(packed);
    held.life = life;
    held.touchedMs = touchedMs;
    if (touchedMs === CLEAN) this.#dirty.delete(held);
    if (packed) this.#packed.set(held, packed);
    else this.#packed.delete(held);
  }

  /**
   * What the next commit has to write: changed states, and keys whose state is deleted.
   * @param publish called with every changed view, and with null for a cleared key; undefined: views are not wanted
   * @throws what packing a state or making a view throws, its key in the message
   */
  changes(publish: PublishView | undefined): StateChanges {
    const job = this.#job;
    const set: [string, Buffer][] = [];
    const tombstones: string[] = [];
    const index: IndexChange[] = [];
    for (const held of this.#dirty) {
      const { key, state, touchedMs, life } = held;
      // Also before the view of a recreated state: readers would otherwise merge it into the view of the old one.
      if (life !== "kept") publish?.(key, null, undefined);
      if (life === "cleared") {
        tombstones.push(key);
        held.indexing = NONE;
        indexChanges(key, held.indexed, NONE, index);
        continue;
      }
      try {
        if (job.index) {
          held.indexing = job.index(state, key);
          indexChanges(key, held.indexed, held.indexing, index);
        }
        const packed = this.#encode(held);
        set.push([key, packed]);
        if (publish && job.view) {
          const view = job.view(state, key, life === "recreated" ? 0 : touchedMs);
          publish(key, view, view === state ? withoutHeader(packed) : undefined);
        }
      } catch (thrown) {
        throw new Error(`${job.name} on key ${key}: ${messageOf(thrown)}`, { cause: thrown });
      }
    }
    return { set, tombstones, index, closings: this.#closings, closingsKeptMs: job.closings?.keptMs ?? 0 };
  }

  /** A state as it is stored. */
  #encode({ state, openUntilMs }: KeyState): Buffer {
    if (this.#periodMs === 0)
      return this.#version === 1 ? encodeState(state) : encodeWithHeader(this.#version, undefined, state);
    const period = openUntilMs === 0 ? undefined : openUntilMs / this.#periodMs - 1;
    return encodeWithHeader(this.#version, period, state);
  }

  /** Call this when the commit has been written. */
  committed(): void {
    for (const held of this.#dirty) {
      held.touchedMs = CLEAN;
      held.indexed = held.indexing;
      if (held.life === "cleared") this.#keys.delete(held.key);
      else held.life = "kept";
    }
    this.#dirty.clear();
    this.#closings = [];
    if (this.#keys.size > CACHE_LIMIT) this.#keys.clear();
    // Read again when they are wanted next: an operator may have repaired them.
    for (const { key } of this.#unreadable) this.#keys.delete(key);
    this.#unreadable = [];
  }
}
