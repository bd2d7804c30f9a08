/**
 * The source `published` (R13): what this deployment shows to the storefront, as a snapshot of measure `display`, at
 * every multiple of an interval. One process of all makes it; a process whose views are not fresh makes none, and the
 * next instant may be another's. Rows are taken from the views in slices, so a row may be up to a second newer than the
 * snapshot's instant: the events around the instant explain that.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { StorefrontView } from "../jobs/storefront/view.js";
import { type Clock, MINUTE_MS, sleep, stopwatch } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { PUBLISHED } from "../reconciliation/model.js";
import { SnapshotPartWriter, type SnapshotStore } from "../reconciliation/reports/snapshot-store.js";

export interface PublishedSourceOptions {
  readonly store: SnapshotStore;
  readonly view: StorefrontView;
  /** The shop's time. */
  readonly clock: Clock;
  /** Milliseconds of the shop's time; 0: never. */
  readonly everyMs: number;
  /** The shop's time up to which every partition of the view is complete. */
  asOfMs(): number;
  /** The age of the least fresh partition of the view, in real time. */
  ageMs(): number;
  readonly onTrouble: OnTrouble;
}

/** Older views are not what is shown at the instant. */
const MAX_AGE_MS = 1_000;
/** Together with that age it is what events around an instant explain. */
const MAX_TAKEN_MS = 1_000;
/** Rows taken in one turn of the event loop: about 2 ms. */
const SLICE = 2_000;
const POLL_MS = 250;

export class PublishedSource {
  readonly #options: PublishedSourceOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: PublishedSourceOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#options.everyMs > 0) this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, everyMs, onTrouble } = this.#options;
    const { signal } = this.#stop;
    let dueMs = nextAfter(clock.now(), everyMs);
    while (!signal.aborted) {
      await sleep(POLL_MS, signal);
      const nowMs = clock.now();
      if (signal.aborted || nowMs < dueMs) continue;
      dueMs = nextAfter(nowMs, everyMs);
      await this.publish(dueMs - everyMs).catch((thrown) =>
        onTrouble(`snapshot of what is published: ${messageOf(thrown)}`),
      );
    }
  }

  /**
   * Makes the snapshot of a due time unless another process makes it, the views are not fresh, or nothing is published.
   * @throws EngineError when it cannot be stored
   */
  async publish(dueMs: number): Promise<"complete" | "refused" | "not_fresh" | "not_mine" | "empty"> {
    const { store, view, everyMs, onTrouble } = this.#options;
    if (this.#options.ageMs() > MAX_AGE_MS) return "not_fresh";
    if (view.cells === 0) return "empty";
    if (!(await store.claim(PUBLISHED, dueMs, everyMs + MINUTE_MS))) return "not_mine";
    // Again: while Redis did not answer, the views have become older, and may catch up while they are read.
    if (this.#options.ageMs() > MAX_AGE_MS) return "not_fresh";
    const asOfMs = this.#options.asOfMs();
    const taken = stopwatch();
    const rows = await this.#take();
    if (taken() > MAX_TAKEN_MS) {
      onTrouble(`no snapshot of what is published: its ${rows.length} rows took ${Math.round(taken())} ms to read`);
      return "not_fresh";
    }
    const id = new Date(dueMs).toISOString();
    const whole = { source: PUBLISHED, id, measure: "display" as const, asOfMs, part: 1, parts: 1 };
    const writer = await store.receive({ ...whole, rows: rows.length });
    if (!(writer instanceof SnapshotPartWriter)) return "refused";
    try {
      for (const [i, [sku, location, units]] of rows.entries()) {
        const refusal = writer.add(sku, location, units);
        if (refusal) {
          onTrouble(`no snapshot of what is published: ${refusal.message}`);
          await writer.refuse(refusal);
          return "refused";
        }
        if (writer.isFull) await writer.drain();
        if (i % SLICE === 0) await nextTurn();
      }
      return (await writer.end()).outcome === "complete" ? "complete" : "refused";
    } catch (thrown) {
      await writer.abort();
      throw thrown;
    }
  }

  async #take(): Promise<[sku: string, location: string, units: number][]> {
    const rows: [string, string, number][] = [];
    let slice = 0;
    for (const [sku, { locations }] of this.#options.view.all()) {
      for (const [location, { display }] of locations) rows.push([sku, location, display]);
      slice += locations.size;
      if (slice < SLICE) continue;
      slice = 0;
      await nextTurn();
    }
    return rows;
  }
}

const nextAfter = (nowMs: number, everyMs: number): number => (Math.floor(nowMs / everyMs) + 1) * everyMs;
