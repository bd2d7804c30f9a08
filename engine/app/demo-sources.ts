/**
 * The outside systems of the demo: an ERP, a WMS and a storefront that report snapshots of the shop's stock. They
 * follow the ledger exactly, until shortly before 18:00 of the first day: then an evening delivery is received, of
 * which the WMS loses all bookings but one, so that the figures part by more than the breaker's threshold. What a
 * settlement corrects in the ledger, the WMS does not lack any more, nor what is rejected: the WMS books it then. These
 * systems are made up; snapshots, comparison, breaker and settlement are the product's own.
 */
import { WAREHOUSES } from "../../connectors/demo-shop/catalogue.js";
import type { DemoShop } from "../../connectors/demo-shop/index.js";
import { chainId } from "../kernel/chain-id.js";
import { HOUR_MS, MINUTE_MS, sleep } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { type Measure, measuredUnits } from "../reconciliation/model.js";
import { SnapshotPartWriter } from "../reconciliation/snapshot-store.js";
import { Corrections } from "../stock/corrections.js";
import { type Balances, cellOf, POOLS } from "../stock/model.js";
import type { Engine } from "./engine.js";

const SYSTEMS = [
  { source: "erp", measure: "on_hand" },
  { source: "wms", measure: "on_hand" },
  { source: "storefront", measure: "display" },
] as const satisfies readonly { source: string; measure: Measure }[];

/** The system that loses bookings. */
export const LOSING = "wms";

/** Times of the first day, after midnight. */
const FIRST_REPORT_MS = 10 * MINUTE_MS;
const DELIVERY_MS = 17 * HOUR_MS + 58 * MINUTE_MS;
/** Until then reports come every two hours; then every five minutes, so that the breaker finds fresh ones. */
const OFTEN_FROM_MS = 17 * HOUR_MS + 50 * MINUTE_MS;
const OFTEN_UNTIL_MS = 20 * HOUR_MS;
const SELDOM_MS = 2 * HOUR_MS;
const OFTEN_MS = 5 * MINUTE_MS;

/** Goods of the delivery, by their rank in the catalogue; the last one is booked by everybody. */
const DELIVERED_RANKS = [36, 111, 204, 317, 420, 559] as const;
/** The share of the shop's stock that the lost bookings are: clearly more than the breaker's threshold of 0.5 %. */
const LOST_SHARE = 0.0085;
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
  readonly #shop: DemoShop;
  readonly #corrections: Corrections;
  readonly #onTrouble: OnTrouble;
  /** Bookings that the losing system lacks: units by cell, and since when. */
  readonly #lost = new Map<string, number>();
  #deliveredMs: number | undefined;
  /** The instant of the last report. */
  #reportedMs = 0;
  /** On hand in the whole shop, as of the last report. */
  #totalUnits = 0;

  constructor(engine: Engine, shop: DemoShop, onTrouble: OnTrouble) {
    const { redis, settings } = engine;
    this.#engine = engine;
    this.#shop = shop;
    this.#corrections = new Corrections({ redis, prefix: settings.prefix, partitions: settings.partitions });
    this.#onTrouble = onTrouble;
  }

  /** Reports, and receives the delivery, at their times; until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#engine;
    let dueMs = FIRST_REPORT_MS;
    while (!signal.aborted) {
      await sleep(CHECK_MS, signal);
      const dayMs = clock.now() - this.#shop.rushStartMs;
      try {
        if (dayMs >= DELIVERY_MS && this.#deliveredMs === undefined) await this.#deliver();
        if (dayMs < dueMs && !(await this.#isDecided())) continue;
        await this.#report(signal);
        dueMs = nextReportMs(dayMs);
      } catch (thrown) {
        if (!signal.aborted) this.#onTrouble(`demo sources: ${messageOf(thrown)}`);
      }
    }
  }

  /** The newest instant of which the log does not change any more. */
  #settledMs(): number {
    const { clock, settings } = this.#engine;
    return Math.floor(clock.now() - SETTLED_MS * (settings.shopTime?.speed() ?? 1));
  }

  /**
   * Whether differences were settled since the last report: then all systems report again at once, because those that
   * agreed before have an older figure than the corrected ledger.
   */
  async #isDecided(): Promise<boolean> {
    if (this.#deliveredMs === undefined) return false;
    const { decisions } = await this.#engine.reconciliation.settlement.decisions(1);
    const [newest] = decisions;
    const settledMs = newest?.result?.atMs ?? newest?.decision.atMs ?? 0;
    return settledMs > this.#reportedMs && settledMs < this.#settledMs();
  }

  /** All systems report what they have at one instant. */
  async #report(signal: AbortSignal): Promise<void> {
    const asOfMs = this.#settledMs();
    const rows = await this.#ledgerAt(asOfMs, signal);
    const lost = await this.#stillLost(asOfMs);
    this.#totalUnits = rows.reduce((sum, { balances }) => sum + measuredUnits(balances, "on_hand"), 0);
    for (const { source, measure } of SYSTEMS)
      await this.#send(source, measure, asOfMs, rows, source === LOSING ? lost : new Map());
    this.#reportedMs = asOfMs;
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

  async #send(
    source: string,
    measure: Measure,
    asOfMs: number,
    rows: readonly Row[],
    lost: ReadonlyMap<string, number>,
  ): Promise<void> {
    const id = `demo-${asOfMs}`;
    const header = { source, id, measure, asOfMs, part: 1, parts: 1, rows: rows.length };
    const writer = await this.#engine.reconciliation.snapshots.receive(header);
    if (!(writer instanceof SnapshotPartWriter)) return;
    try {
      for (const { sku, location, balances } of rows) {
        const missing = lost.get(cellOf(sku, location)) ?? 0;
        writer.add(sku, location, Math.max(0, measuredUnits(balances, measure) - missing));
        if (writer.isFull) await writer.drain();
      }
      await writer.end();
    } catch (thrown) {
      await writer.abort();
      throw thrown;
    }
  }

  /** The evening delivery. Sent again after a failure, under the same ids. */
  async #deliver(): Promise<void> {
    const atMs = this.#shop.rushStartMs + DELIVERY_MS;
    const cartons = Math.ceil((this.#totalUnits * LOST_SHARE) / (DELIVERED_RANKS.length - 1) / CARTON_UNITS);
    const lost: [cell: string, units: number][] = [];
    for (const [i, rank] of DELIVERED_RANKS.entries()) {
      const sku = this.#shop.catalogue.skus[rank]?.code as string;
      const { location } = WAREHOUSES[i % WAREHOUSES.length] as (typeof WAREHOUSES)[number];
      const units = (cartons + i) * CARTON_UNITS;
      await this.#engine.stock.ledger.apply({
        kind: "receive",
        id: chainId("RC", atMs, `evening delivery/${sku}/${location}`),
        ...{ sku, location, units },
        actor: `receiving.${location.toLowerCase()}`,
        reason: "evening delivery",
      });
      if (i < DELIVERED_RANKS.length - 1) lost.push([cellOf(sku, location), units]);
    }
    for (const [cell, units] of lost) this.#lost.set(cell, units);
    this.#deliveredMs = this.#engine.clock.now();
  }

  /** What the losing system lacks as of an instant, less what was settled since: see above. */
  async #stillLost(asOfMs: number): Promise<ReadonlyMap<string, number>> {
    if (this.#deliveredMs === undefined || asOfMs < this.#deliveredMs) return new Map();
    const lost = new Map(this.#lost);
    for (let partition = 0; partition < this.#engine.settings.partitions; partition++)
      for (const { cell, units, bookedMs } of await this.#corrections.settledAfter(partition, this.#deliveredMs)) {
        const before = lost.get(cell);
        if (before !== undefined && bookedMs <= asOfMs) lost.set(cell, Math.max(0, before + units));
      }
    const { decisions } = await this.#engine.reconciliation.settlement.decisions(MAX_DECISIONS);
    for (const { decision } of decisions)
      if (decision.kind === "reject" && decision.proposal.source === LOSING && decision.atMs >= this.#deliveredMs)
        lost.delete(cellOf(decision.proposal.sku, decision.proposal.location));
    return lost;
  }
}

/** When the next report is due after one at `dayMs`. */
function nextReportMs(dayMs: number): number {
  const isOften = dayMs >= OFTEN_FROM_MS && dayMs < OFTEN_UNTIL_MS;
  const everyMs = isOften ? OFTEN_MS : SELDOM_MS;
  const nextMs = (Math.floor(dayMs / everyMs) + 1) * everyMs;
  return dayMs < OFTEN_FROM_MS ? Math.min(nextMs, OFTEN_FROM_MS) : nextMs;
}
