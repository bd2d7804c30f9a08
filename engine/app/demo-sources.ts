/**
 * What the outside systems of the demo (demo-systems.ts) have, and when they are pulled. They follow the ledger
 * exactly, until shortly before 18:00 of the first day: then most of an evening delivery is entered in the ledger a
 * second time. The WMS has counted it once; ERP and storefront take over what the ledger books, so that two sides part
 * by more than the breaker's threshold, and the WMS is right. What a settlement corrects in the ledger, ERP and
 * storefront take over; what is rejected, the WMS books. The systems are made up; pulls, comparison, breaker and
 * settlement are the product's own.
 */
import { WAREHOUSES } from "../../connectors/demo-shop/catalogue.js";
import type { DemoShop } from "../../connectors/demo-shop/index.js";
import { chainId } from "../kernel/chain-id.js";
import { HOUR_MS, MINUTE_MS, sleep } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { type Measure, measuredUnits } from "../reconciliation/model.js";
import { Corrections } from "../stock/corrections.js";
import { type Balances, cellOf, POOLS } from "../stock/model.js";
import { type BookedCell, DEMO_ACTOR, DEMO_SYSTEMS, type DemoSystem, type DemoSystems } from "./demo-systems.js";
import type { Engine } from "./engine.js";

/** The system that has counted the delivery once. */
export const COUNTING: DemoSystem = "wms";

/** Times of the first day, after midnight. */
const FIRST_PULL_MS = 10 * MINUTE_MS;
const DELIVERY_MS = 17 * HOUR_MS + 30 * MINUTE_MS;
const SECOND_ENTRY_MS = 17 * HOUR_MS + 58 * MINUTE_MS;
/** Until then pulls come every two hours; then every five minutes, so that the breaker finds fresh snapshots. */
const OFTEN_FROM_MS = 17 * HOUR_MS + 50 * MINUTE_MS;
const OFTEN_UNTIL_MS = 20 * HOUR_MS;
const SELDOM_MS = 2 * HOUR_MS;
const OFTEN_MS = 5 * MINUTE_MS;

/** Goods of the delivery, by their rank in the catalogue; the last one is entered once only. */
const DELIVERED_RANKS = [36, 111, 204, 317, 420, 559] as const;
/** The share of the shop's stock that the second entries are: clearly more than the breaker's threshold of 0.5 %. */
const DOUBLED_SHARE = 0.0085;
/** Deliveries come in cartons; each position has one carton more than the one before, so that no two are equal. */
const CARTON_UNITS = 24;

/** Decisions that are looked at: far more than the delivery has positions. */
const MAX_DECISIONS = 200;
/** Real time between two looks at the clock. */
const CHECK_MS = 250;
/** Commands of an instant so long ago, in real time, are in the log: what is read of it does not change any more. */
const SETTLED_MS = 500;

interface Row {
  readonly sku: string;
  readonly location: string;
  readonly balances: Balances;
}

export class DemoSources {
  readonly #engine: Engine;
  readonly #systems: DemoSystems;
  readonly #shop: DemoShop;
  readonly #corrections: Corrections;
  readonly #onTrouble: OnTrouble;
  /** On hand in the whole shop, as of the last booking. */
  #totalUnits = 0;
  #delivery: readonly BookedCell[] = [];
  /** When the delivery had come, and when its second entries had been made. */
  #deliveredMs: number | undefined;
  #doubledMs: number | undefined;
  /** The instant that the systems have booked last. */
  #bookedMs = 0;

  constructor(
    engine: Engine,
    { systems, shop, onTrouble }: { systems: DemoSystems; shop: DemoShop; onTrouble: OnTrouble },
  ) {
    const { redis, settings } = engine;
    this.#engine = engine;
    this.#systems = systems;
    this.#shop = shop;
    this.#corrections = new Corrections({ redis, prefix: settings.prefix, partitions: settings.partitions });
    this.#onTrouble = onTrouble;
  }

  /** Lets the systems book and be pulled, and receives the delivery, at their times; until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#engine;
    let dueMs = FIRST_PULL_MS;
    while (!signal.aborted) {
      await sleep(CHECK_MS, signal);
      const dayMs = clock.now() - this.#shop.rushStartMs;
      try {
        if (dayMs >= DELIVERY_MS && this.#deliveredMs === undefined) await this.#deliver();
        if (dayMs >= SECOND_ENTRY_MS && this.#isBooked() && this.#doubledMs === undefined) await this.#enterAgain();
        const cause = dayMs >= dueMs ? "its time has come" : await this.#causeToPull();
        if (cause === undefined || signal.aborted) continue;
        await this.#book(signal);
        await this.#systems.pull(this.#engine, cause);
        if (dayMs >= dueMs) dueMs = nextPullMs(dayMs);
      } catch (thrown) {
        if (!signal.aborted) this.#onTrouble(`demo sources: ${messageOf(thrown)}`);
      }
    }
    await this.#systems.stopPulling();
  }

  /** The newest instant of which the log does not change any more. */
  #settledMs(): number {
    const { clock, settings } = this.#engine;
    return Math.floor(clock.now() - SETTLED_MS * (settings.shopTime?.speed() ?? 1));
  }

  /** Whether the systems have the delivery: a snapshot between its two entries shows which of them is wrong. */
  #isBooked(): boolean {
    return this.#deliveredMs !== undefined && this.#bookedMs >= this.#deliveredMs;
  }

  /**
   * Why the systems are pulled before their time. After a settlement those that agreed before have an older figure than
   * the corrected ledger. When somebody else asks, what has been pulled since is older than the question.
   */
  async #causeToPull(): Promise<string | undefined> {
    if (this.#deliveredMs === undefined) return undefined;
    if (!this.#isBooked()) return this.#deliveredMs <= this.#settledMs() ? "a delivery has come" : undefined;
    if (this.#doubledMs === undefined) return undefined;
    const { settlement, sources } = this.#engine.reconciliation;
    const { decisions } = await settlement.decisions(1);
    const [newest] = decisions;
    const settledMs = newest?.result?.atMs ?? newest?.decision.atMs ?? 0;
    if (settledMs > this.#bookedMs && settledMs < this.#settledMs()) return "differences were settled";
    const asked = await sources.requested(COUNTING);
    const isAsked = asked !== undefined && asked.atMs > this.#bookedMs && asked.actor !== DEMO_ACTOR;
    return isAsked && asked.atMs < this.#settledMs() ? `${asked.actor} has asked` : undefined;
  }

  /** All systems book what they have at one instant. */
  async #book(signal: AbortSignal): Promise<void> {
    const atMs = this.#settledMs();
    const rows = await this.#ledgerAt(atMs, signal);
    const doubled = await this.#stillDoubled(atMs);
    this.#totalUnits = rows.reduce((sum, { balances }) => sum + measuredUnits(balances, "on_hand"), 0);
    const cellsOf = (source: DemoSystem, measure: Measure): BookedCell[] =>
      rows.map(({ sku, location, balances }) => {
        const tooMany = source === COUNTING ? (doubled.get(cellOf(sku, location)) ?? 0) : 0;
        return { sku, location, units: Math.max(0, measuredUnits(balances, measure) - tooMany) };
      });
    const cells = Object.fromEntries(DEMO_SYSTEMS.map(({ source, measure }) => [source, cellsOf(source, measure)]));
    this.#systems.book(atMs, cells as Record<DemoSystem, BookedCell[]>);
    this.#bookedMs = atMs;
  }

  async #ledgerAt(atMs: number, signal: AbortSignal): Promise<Row[]> {
    const { stock, settings } = this.#engine;
    const rows: Row[] = [];
    for (let partition = 0; partition < settings.partitions; partition++) {
      const scanned = await stock.history.scan(partition, [atMs], 0, signal);
      if (scanned.outcome !== "scanned")
        throw new EngineError(`the ledger cannot be read as of the snapshot's instant: ${scanned.outcome}`, {
          op: "demo.report",
          code: scanned.outcome,
          retryable: true,
        });
      const [instant] = scanned.instants;
      const { cells, length } = scanned;
      for (let cell = 0; instant !== undefined && cell < length; cell++) {
        const sku = cells.skus[cells.skuOf[cell] as number] as string;
        const location = cells.locations[cells.locationOf[cell] as number] as string;
        const first = cell * POOLS.length;
        const balances = Object.fromEntries(
          POOLS.map((pool, i) => [pool, instant.balances[first + i] as number]),
        ) as unknown as Balances;
        rows.push({ sku, location, balances });
      }
    }
    return rows;
  }

  /** The evening delivery, as everybody books it. Sent again after a failure, under the same ids. */
  async #deliver(): Promise<void> {
    const doubled = DELIVERED_RANKS.length - 1;
    const cartons = Math.ceil((this.#totalUnits * DOUBLED_SHARE) / doubled / CARTON_UNITS);
    if (this.#delivery.length === 0)
      this.#delivery = DELIVERED_RANKS.map((rank, i) => ({
        sku: this.#shop.catalogue.skus[rank]?.code as string,
        location: (WAREHOUSES[i % WAREHOUSES.length] as (typeof WAREHOUSES)[number]).location,
        units: (cartons + i) * CARTON_UNITS,
      }));
    for (const position of this.#delivery) await this.#receive(position, DELIVERY_MS, "evening delivery");
    this.#deliveredMs = this.#engine.clock.now();
  }

  /** The mistake that the demo is about. */
  async #enterAgain(): Promise<void> {
    for (const position of this.#delivery.slice(0, -1))
      await this.#receive(position, SECOND_ENTRY_MS, "evening delivery, entered a second time");
    this.#doubledMs = this.#engine.clock.now();
  }

  async #receive({ sku, location, units }: BookedCell, dayMs: number, reason: string): Promise<void> {
    await this.#engine.stock.ledger.apply({
      kind: "receive",
      id: chainId("RC", this.#shop.rushStartMs + dayMs, `${reason}/${sku}/${location}`),
      ...{ sku, location, units, reason },
      actor: `receiving.${location.toLowerCase()}`,
    });
  }

  /** What the ledger has too many of as of an instant: the second entries, less what was settled since. See above. */
  async #stillDoubled(atMs: number): Promise<ReadonlyMap<string, number>> {
    const doubledMs = this.#doubledMs;
    if (doubledMs === undefined || atMs < doubledMs) return new Map();
    const doubled = new Map(
      this.#delivery.slice(0, -1).map(({ sku, location, units }) => [cellOf(sku, location), units]),
    );
    for (let partition = 0; partition < this.#engine.settings.partitions; partition++)
      for (const { cell, units, bookedMs } of await this.#corrections.settledAfter(partition, doubledMs)) {
        const before = doubled.get(cell);
        if (before !== undefined && bookedMs <= atMs) doubled.set(cell, Math.max(0, before + units));
      }
    const { decisions } = await this.#engine.reconciliation.settlement.decisions(MAX_DECISIONS);
    for (const { decision } of decisions)
      if (decision.kind === "reject" && decision.proposal.source === COUNTING && decision.atMs >= doubledMs)
        doubled.delete(cellOf(decision.proposal.sku, decision.proposal.location));
    return doubled;
  }
}

/** When the next pull is due after one at `dayMs`. */
function nextPullMs(dayMs: number): number {
  const isOften = dayMs >= OFTEN_FROM_MS && dayMs < OFTEN_UNTIL_MS;
  const everyMs = isOften ? OFTEN_MS : SELDOM_MS;
  const nextMs = (Math.floor(dayMs / everyMs) + 1) * everyMs;
  return dayMs < OFTEN_FROM_MS ? Math.min(nextMs, OFTEN_FROM_MS) : nextMs;
}
