/**
 * Publishes under one lease, at each due time: objects first, the manifest when all are stored, and then it deletes
 * what nobody can need any more. Every name is recorded in Redis before its object is stored, so an owner that ends
 * anywhere leaves a complete publication and a record of what is left over. An older state never replaces a newer one.
 * An error of the store ends an attempt, and the next one follows within the interval; one of the lease ends the task.
 * What the store has lost is written again when it is found (lost-objects.ts).
 */
import { monotonicClock, type Scheduler, stopwatch } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { Content, type Draft } from "./content.js";
import { DISCARD_AFTER_MS, Discards } from "./discards.js";
import type { ChangeCollection, DisplaySource } from "./display-source.js";
import { LostObjects } from "./lost-objects.js";
import { encodeManifest } from "./manifest.js";
import { ObjectWriter } from "./object-writer.js";
import type { PublicationFigures } from "./publication-figures.js";
import type { PublicationRecord } from "./publication-record.js";
import type { PublicationStore } from "./publication-store.js";
import { readPublication, type StoredPublication } from "./stored-publication.js";
import { Turns } from "./turns.js";

export interface PublicationTaskOptions {
  readonly store: PublicationStore;
  readonly source: DisplaySource;
  readonly record: PublicationRecord;
  /** Of the lease. */
  readonly epoch: number;
  /** Publications are due at its multiples since the epoch of Unix time. */
  readonly everyMs: number;
  readonly leaseMs: number;
  /** How long shared caches may keep a manifest that the store serves by itself. */
  readonly cacheSeconds: number;
  /** Real time. */
  readonly clock: Scheduler;
  readonly onTrouble: OnTrouble;
}

/** An older view is not published. */
const MAX_VIEW_AGE_MS = 2_000;
/** When the view stays too old for this long, another process may have a better one. */
const STEP_BACK_AFTER_MS = 15_000;
/** How often a view that is too old is looked at again. */
const POLL_MS = 250;
const BACKOFF_FIRST_MS = 250;
const DELETED_AT_ONCE = 500;
/** From the record of a name to the manifest that has or drops it: a store that takes longer fails. */
const ATTEMPT_MS = 60_000;

export class PublicationTask {
  readonly #options: PublicationTaskOptions;
  readonly #figures: PublicationFigures;
  readonly #lost = new AbortController();
  readonly #changes: ChangeCollection;
  /** Why the lease is lost, or may be. */
  #failure: unknown;
  #dueMs = 0;
  /** The newest due time at which the view was too old. */
  #staleMs = 0;
  /** Since when it is. */
  #staleSinceMs: number | undefined;
  #stepsBack = false;
  #discards = new Discards();
  /** Undefined: to be read from the store. */
  #stored: StoredPublication | undefined;
  /** Texts of the manifests that the store may have: not known is which of two while it has not answered. */
  #possible: readonly (Uint8Array | undefined)[] | undefined;
  readonly #writer: ObjectWriter;
  /** Undefined: all SKUs are to be read. */
  #content: Content | undefined;
  readonly #lostObjects = new LostObjects();
  #backoffMs = BACKOFF_FIRST_MS;
  /** By the monotonic clock, when the lease was requested or extended last. */
  #renewedMs: number;

  /** @param askedMs when the lease was requested, by the monotonic clock */
  constructor(options: PublicationTaskOptions, figures: PublicationFigures, askedMs: number) {
    this.#options = options;
    this.#figures = figures;
    this.#renewedMs = askedMs;
    this.#changes = options.source.collectChanges();
    this.#writer = new ObjectWriter({
      store: options.store,
      isTaken: (name) => this.#discards.isTaken(name, options.clock.now()),
      record: (names, signal) => this.#recordNames(names, signal),
    });
  }

  /**
   * Works until the signal aborts, or its view stays too old. Call it once.
   * @param progressed called after each publication
   * @returns whether another process should have the lease
   * @throws EngineError when the lease is another's, or may be
   */
  async run(stopping: AbortSignal, progressed: () => void): Promise<boolean> {
    const signal = AbortSignal.any([stopping, this.#lost.signal]);
    const renewing = this.#renew(signal);
    try {
      await this.#begin(signal);
      while (!signal.aborted && !this.#stepsBack) {
        if (await this.#publishWhenDue(signal)) progressed();
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    } finally {
      this.#lost.abort();
      await renewing;
      this.#changes.end();
    }
    if (this.#failure !== undefined) throw this.#failure;
    return this.#stepsBack;
  }

  async #begin(signal: AbortSignal): Promise<void> {
    const { store, record, clock } = this.#options;
    // Before any object is stored, whose manifest would be refused.
    await store.check?.(signal);
    const { dueMs, discards } = await record.read();
    this.#discards = new Discards(discards);
    // The owner before may be frozen in the middle of a deletion.
    this.#discards.avoid(this.#discards.nearlyDue(clock.now()), clock.now());
    this.#stored = await this.#read(signal);
    this.#dueMs = Math.min(dueMs, this.#nextDueMs());
  }

  /** @returns whether something was published */
  async #publishWhenDue(signal: AbortSignal): Promise<boolean> {
    const { clock, source, onTrouble, everyMs } = this.#options;
    // The clock may have been set back.
    this.#dueMs = Math.min(this.#dueMs, this.#nextDueMs());
    const waitMs = this.#dueMs - clock.now();
    if (waitMs > 0) {
      await clock.sleep(waitMs, signal);
      return false;
    }
    if (source.ageMs() > MAX_VIEW_AGE_MS) {
      await this.#waitForView(signal);
      return false;
    }
    this.#staleSinceMs = undefined;
    try {
      const isPublished = await this.#publish(signal);
      this.#backoffMs = BACKOFF_FIRST_MS;
      return isPublished;
    } catch (thrown) {
      if (signal.aborted || !(thrown instanceof EngineError)) throw thrown;
      this.#figures.failures++;
      onTrouble(`a publication failed: ${messageOf(thrown)}; another attempt in ${this.#backoffMs} ms`, {});
      await clock.sleep(this.#backoffMs, signal);
      this.#backoffMs = Math.min(this.#backoffMs * 2, everyMs);
      return false;
    }
  }

  async #waitForView(signal: AbortSignal): Promise<void> {
    const { clock, everyMs, onTrouble } = this.#options;
    const latestMs = this.#nextDueMs() - everyMs;
    if (this.#staleMs !== latestMs) this.#figures.skipped.stale++;
    this.#staleMs = latestMs;
    this.#staleSinceMs ??= clock.now();
    this.#stepsBack = clock.now() - this.#staleSinceMs > STEP_BACK_AFTER_MS;
    if (this.#stepsBack) onTrouble("the views of this process stay too old; another process may publish", {});
    else await clock.sleep(POLL_MS, signal);
  }

  async #publish(signal: AbortSignal): Promise<boolean> {
    const { clock, source } = this.#options;
    const elapsedMs = stopwatch();
    this.#stored ??= await this.#read(signal);
    // A due time that comes meanwhile has a publication of its own.
    const nextDueMs = this.#nextDueMs();
    // Before the displays, so that these contain everything up to here.
    const asOfMs = Math.floor(source.asOfMs() / 1_000) * 1_000;
    const positions = [...source.positions()];
    if (asOfMs < this.#stored.asOfMs) {
      this.#figures.skipped.older++;
      this.#dueMs = nextDueMs;
      return false;
    }
    const content = await this.#refresh(signal);
    const draft = content.draft();
    const written = await this.#writer.write(content, draft, this.#stored.names, signal);
    const index = draft.indexes as string[];
    const { leaves } = content.counts;
    const json = encodeManifest({ asOfMs, positions, skus: content.skus, leaves, index });
    await this.#replace({ json, names: namesIn(draft), nextDueMs }, signal);
    content.adopt(draft);
    this.#figures.publications++;
    this.#figures.objects += written.objects;
    this.#figures.bytes += written.bytes;
    this.#figures.newest = { asOfMs, atMs: clock.now(), skus: content.skus, tookMs: elapsedMs(), ...written };
    await this.#deleteDue(signal);
    await this.#findLost(signal);
    return true;
  }

  /** Brings the content up to date. */
  async #refresh(signal: AbortSignal): Promise<Content> {
    const { source } = this.#options;
    const turns = new Turns();
    const taken = this.#changes.take();
    const content = this.#content;
    // Should this not end, the next attempt reads all.
    this.#content = undefined;
    if (content && taken !== "all") {
      for (const sku of taken) {
        content.set(sku, source.displayOf(sku));
        if (turns.isOver) await turns.next();
      }
    }
    const isUsable = content !== undefined && taken !== "all" && content.isSuited;
    this.#content = isUsable ? content : await Content.of(source.all(), source.skus, turns);
    signal.throwIfAborted();
    return this.#content;
  }

  /** Before they are stored. */
  async #recordNames(names: readonly string[], signal: AbortSignal): Promise<void> {
    this.#discards.add(names, this.#options.clock.now() + ATTEMPT_MS + DISCARD_AFTER_MS);
    await this.#commit(this.#dueMs, signal);
  }

  async #replace(
    { json, names, nextDueMs }: { json: Uint8Array; names: Set<string>; nextDueMs: number },
    signal: AbortSignal,
  ): Promise<void> {
    const { store, clock, epoch, cacheSeconds } = this.#options;
    const stored = this.#stored as StoredPublication;
    const dropped = [...stored.names].filter((name) => !names.has(name));
    this.#discards.add(dropped, clock.now() + ATTEMPT_MS + DISCARD_AFTER_MS);
    await this.#commit(nextDueMs, signal);
    // Should the store not answer, the next attempt reads which of the two it has.
    this.#possible = [stored.json, json];
    this.#stored = undefined;
    const version = await store.replaceManifest(json, stored.version, { epoch, cacheSeconds }, signal);
    if (version === undefined) throw this.#lose(replacedBy(store.place));
    // What this process publishes next is newer, also when its clock is set back meanwhile.
    this.#stored = { version, asOfMs: 0, names, json };
    this.#dueMs = nextDueMs;
    this.#writer.named();
    this.#discards.remove(names);
    this.#discards.add(dropped, clock.now() + DISCARD_AFTER_MS);
  }

  /** Deletes what is due, and leaves the rest to the next publication when that is due. */
  async #deleteDue(signal: AbortSignal): Promise<void> {
    const { store, clock, leaseMs, onTrouble } = this.#options;
    const due = this.#discards.due(clock.now());
    for (let from = 0; from < due.length; from += DELETED_AT_ONCE) {
      // An owner that has lost the lease must not delete.
      const isOwner = monotonicClock.now() - this.#renewedMs < leaseMs;
      if (signal.aborted || !isOwner || clock.now() >= this.#dueMs) break;
      const names = due.slice(from, from + DELETED_AT_ONCE);
      try {
        await store.delete(names, signal);
        this.#discards.remove(names);
        this.#figures.deleted += names.length;
      } catch (thrown) {
        // It may still be done.
        this.#discards.avoid(names, clock.now());
        if (!signal.aborted) onTrouble(`objects of former publications are not deleted yet: ${messageOf(thrown)}`, {});
        break;
      }
    }
    this.#figures.waiting = this.#discards.size;
    this.#figures.abandoned += this.#discards.takeAbandoned();
  }

  /** When an object is missing, all SKUs are read again and the next publication stores it. */
  async #findLost(signal: AbortSignal): Promise<void> {
    const { store, clock, onTrouble } = this.#options;
    const stored = this.#stored;
    if (stored === undefined || clock.now() >= this.#dueMs) return;
    try {
      // A store that is slow must not delay the next publication.
      const untilDue = AbortSignal.any([signal, AbortSignal.timeout(this.#dueMs - clock.now())]);
      const lost = await this.#lostObjects.find(stored.names, store, untilDue);
      if (lost.size === 0) return;
      onTrouble(`${store.place}: ${[...lost].join(", ")} missing; all SKUs are read again to write what is lost`, {});
      this.#stored = { ...stored, names: new Set([...stored.names].filter((name) => !lost.has(name))) };
      this.#content = undefined;
    } catch (thrown) {
      if (!signal.aborted) onTrouble(`objects of the publication cannot be checked: ${messageOf(thrown)}`, {});
    }
  }

  /** @throws EngineError when the store has a manifest that this owner does not know */
  async #read(signal: AbortSignal): Promise<StoredPublication> {
    const { store, clock, onTrouble } = this.#options;
    const stored = await readPublication(store, clock.now(), onTrouble, signal);
    if (this.#possible && !this.#possible.some((json) => isSame(json, stored.json)))
      throw this.#lose(replacedBy(store.place));
    return stored;
  }

  async #commit(dueMs: number, signal: AbortSignal): Promise<void> {
    const askedMs = monotonicClock.now();
    try {
      await this.#options.record.commit({ dueMs, ...this.#discards.changes() }, signal);
    } catch (thrown) {
      throw this.#lose(thrown);
    }
    this.#renewedMs = askedMs;
    this.#discards.committed();
  }

  /** Renews the lease until the work ends; ends the work when the lease is another's, or may be. */
  async #renew(signal: AbortSignal): Promise<void> {
    const { record, leaseMs } = this.#options;
    while (!signal.aborted) {
      await monotonicClock.sleep(leaseMs / 3, signal);
      if (signal.aborted) return;
      const askedMs = monotonicClock.now();
      try {
        await record.renew();
        this.#renewedMs = askedMs;
      } catch (thrown) {
        const isTemporary = !(thrown instanceof EngineError) || !/^stale/.test(thrown.code);
        if (isTemporary && monotonicClock.now() - this.#renewedMs < leaseMs) continue;
        this.#lose(thrown);
      }
    }
  }

  /** Ends the work. @returns its error */
  #lose(thrown: unknown): unknown {
    this.#failure ??= thrown;
    this.#lost.abort(thrown);
    return thrown;
  }

  /** The first due time after now. */
  #nextDueMs(): number {
    const { everyMs, clock } = this.#options;
    return (Math.floor(clock.now() / everyMs) + 1) * everyMs;
  }
}

/** @param draft complete */
const namesIn = ({ leaves, indexes }: Draft): Set<string> => new Set([...leaves, ...indexes] as string[]);

const isSame = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;

function replacedBy(place: string): EngineError {
  const detail = { op: "publication.replace", code: "replaced", retryable: true, input: place };
  return new EngineError(`${place}: another process has replaced the manifest`, detail);
}
