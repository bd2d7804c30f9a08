/**
 * Objects that will be deleted, each with the time from when on it may be: those that no manifest names any more, and
 * those of an attempt that has not ended, which become named or are left over. The list is kept in Redis beside the
 * lease, because a process that ends must not leave objects behind for good. A name whose deletion may have begun is
 * not used for a new object: a deletion that arrives late would delete it.
 */
import { DAY_MS } from "../kernel/clock.js";

/** A name and when its object may be deleted. */
export type Discard = readonly [member: string, atMs: number];

/**
 * How long an object is kept after the last manifest that names it. A reader may have an older manifest for 15 s; the
 * rest is for readers that are slow, and for clocks that differ.
 */
export const DISCARD_AFTER_MS = 120_000;
/** The clocks of two owners differ by less; names that are due by then may be under deletion already. */
const MARGIN_MS = 30_000;
/** Of a name that another owner may be deleting: a frozen process goes on with its deletion when it wakes. */
const UNUSED_MS = DAY_MS;
/** Begins the entries of such names; no name begins with it. */
const UNUSED = "!";
/** 25 MB of Redis; publications of a million SKUs, 1 % of which change each time, replace 13,000 in the time above. */
const MAX_DISCARDS = 200_000;

export class Discards {
  readonly #atMs = new Map<string, number>();
  #changed = new Set<string>();
  #abandoned = 0;

  /** @param stored as of the last commit */
  constructor(stored: readonly Discard[] = []) {
    for (const [member, atMs] of stored) this.#atMs.set(member, atMs);
  }

  get size(): number {
    return this.#atMs.size;
  }

  /** How many names were dropped, since the last call, because there were too many: their objects stay in the store. */
  takeAbandoned(): number {
    const abandoned = this.#abandoned;
    this.#abandoned = 0;
    return abandoned;
  }

  /** Whether a new object must not have this name. */
  isTaken(name: string, nowMs: number): boolean {
    return this.#atMs.has(UNUSED + name) || (this.#atMs.get(name) ?? Number.POSITIVE_INFINITY) < nowMs + MARGIN_MS;
  }

  /** These objects may be deleted from `atMs` on, unless a manifest names them. */
  add(names: Iterable<string>, atMs: number): void {
    for (const name of names) this.#set(name, atMs);
    while (this.#atMs.size > MAX_DISCARDS) {
      const [oldest] = this.#atMs.keys();
      this.remove([oldest as string]);
      this.#abandoned++;
    }
  }

  /** A manifest names them, or they are deleted. */
  remove(names: Iterable<string>): void {
    for (const name of names) if (this.#atMs.delete(name)) this.#changed.add(name);
  }

  /** Does not use names again that somebody may be deleting, for a day. */
  avoid(names: Iterable<string>, nowMs: number): void {
    for (const name of names) this.#set(UNUSED + name, nowMs + UNUSED_MS);
  }

  /** Names that an owner whose clock is ahead may be deleting now. */
  nearlyDue(nowMs: number): string[] {
    return this.due(nowMs + MARGIN_MS);
  }

  /** Names whose objects may be deleted. */
  due(nowMs: number): string[] {
    const due: string[] = [];
    for (const [member, atMs] of this.#atMs) {
      if (atMs > nowMs) continue;
      if (member.startsWith(UNUSED)) this.remove([member]);
      else due.push(member);
    }
    return due;
  }

  /** What the next commit has to write. */
  changes(): { set: Discard[]; removed: string[] } {
    const members = [...this.#changed];
    return {
      set: members.flatMap((member): Discard[] => {
        const atMs = this.#atMs.get(member);
        return atMs === undefined ? [] : [[member, atMs]];
      }),
      removed: members.filter((member) => !this.#atMs.has(member)),
    };
  }

  /** The changes are written. */
  committed(): void {
    this.#changed = new Set();
  }

  #set(member: string, atMs: number): void {
    // The oldest come first.
    this.#atMs.delete(member);
    this.#atMs.set(member, atMs);
    this.#changed.add(member);
  }
}
