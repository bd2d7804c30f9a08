/** A comparison with given differences, and a ledger that holds what it has found, for tests of settlements. */
import { chainId } from "../../../engine/kernel/chain-id.js";
import { type Clock, ManualClock } from "../../../engine/kernel/clock.js";
import { ComparisonStore } from "../../../engine/reconciliation/comparison/comparison-store.js";
import { type Difference, LEDGER, NO_DIVERGENCE, type Snapshot } from "../../../engine/reconciliation/model.js";
import type { ConflictPolicies } from "../../../engine/reconciliation/settlement/conflict-policy.js";
import { Settlement, type SettlementOptions } from "../../../engine/reconciliation/settlement/settlement.js";
import { SettlementStore } from "../../../engine/reconciliation/settlement/settlement-store.js";
import { Corrections } from "../../../engine/stock/corrections.js";
import { Ledger } from "../../../engine/stock/ledger.js";
import { eventsOf } from "../../../engine/stock/log-entry.js";
import type { StockCommand, StockEvent } from "../../../engine/stock/model.js";
import { stockKeys } from "../../../engine/stream/keys.js";
import { readLog } from "../../../engine/stream/log.js";
import type { RedisClient } from "../../../engine/stream/redis.js";

export const START_MS = Date.UTC(2026, 5, 18, 10);
export const PREFIX = "settlement-test";
export const CAUSE = { actor: "li.wei", reason: "counted again" };
export const WIDE = { rows: 1_000, units: 1_000_000 };

export interface FoundDifference {
  readonly source?: string;
  readonly sku: string;
  readonly location?: string;
  readonly sourceUnits: number;
  readonly ledgerUnits: number;
  readonly explainedUnits?: number;
}

export class SettlementBed {
  readonly clock = new ManualClock(START_MS);
  readonly ledger: Ledger;
  readonly corrections: Corrections;
  readonly store: SettlementStore;
  readonly partitions: number;
  readonly redis: RedisClient;
  readonly comparisons: ComparisonStore;

  constructor(redis: RedisClient, partitions = 2) {
    this.redis = redis;
    this.partitions = partitions;
    const shared = { redis, prefix: PREFIX, partitions };
    this.ledger = new Ledger({ ...shared, clock: this.clock });
    this.corrections = new Corrections(shared);
    this.store = new SettlementStore(redis, PREFIX);
    this.comparisons = new ComparisonStore(redis, PREFIX);
  }

  settlement(more: Partial<SettlementOptions> & { clock?: Clock } = {}): Settlement {
    const { ledger, corrections, store, comparisons, clock } = this;
    return new Settlement({ ledger, corrections, store, comparisons, clock, ...more });
  }

  /** The ledger under another client. */
  ledgerOn(redis: RedisClient): Ledger {
    return new Ledger({ redis, prefix: PREFIX, partitions: this.partitions, clock: this.clock });
  }

  pass(ms: number): void {
    this.clock.moveTo(this.clock.now() + ms);
  }

  id(): string {
    return chainId("S1", this.clock.now());
  }

  at(sku: string, location = "SH"): { id: string; sku: string; location: string } {
    return { id: this.id(), sku, location };
  }

  async receive(units: Readonly<Record<string, number>>): Promise<void> {
    await this.ledger.applyMany(
      Object.entries(units).map(([sku, each]): StockCommand => ({ kind: "receive", ...this.at(sku), units: each })),
    );
  }

  async eventsIn(partition: number): Promise<StockEvent[]> {
    const entries = await readLog(this.redis, stockKeys(PREFIX, partition).log, 0, 100_000);
    return entries.flatMap((entry) => eventsOf(entry).events);
  }

  async sellable(sku: string): Promise<number | undefined> {
    return (await this.ledger.balances(sku))?.get("SH")?.sellable;
  }

  /** Stores a comparison; a minute passes between the snapshots and it. Returns its id. */
  async compare(found: readonly FoundDifference[], asOfMs = this.clock.now()): Promise<string> {
    this.clock.moveTo(asOfMs + 60_000);
    const atMs = this.clock.now();
    const sources = [...new Set(found.map(({ source = "wms" }) => source))];
    const snapshots = sources.map(
      (source): Snapshot => ({
        ...{ source, id: `${source}-1`, measure: "on_hand", asOfMs, rows: found.length, completedMs: asOfMs },
      }),
    );
    const pairs = sources.map((a) => ({
      pair: { a, b: LEDGER, shop: NO_DIVERGENCE, locations: {}, skus: [], top: [], onlyInA: 0, onlyInB: 0 },
      differences: found.filter(({ source = "wms" }) => source === a).map(differenceOf),
    }));
    const id = chainId("CP", atMs);
    const shared = { id, atMs, cause: "demand", snapshots, leftOut: {}, durationMs: 1 } as const;
    await this.comparisons.put({ ...shared, pairs: pairs.map(({ pair }) => pair) }, pairs);
    return id;
  }
}

export const ranked = (...order: string[]): (() => Promise<ConflictPolicies>) => {
  const policy = { policy: "rank", order } as const;
  return async () => ({ on_hand: policy, sellable: policy, display: policy });
};

const differenceOf = ({ sku, location = "SH", sourceUnits, ledgerUnits, ...more }: FoundDifference): Difference => ({
  ...{ sku, location, aUnits: sourceUnits, bUnits: ledgerUnits, explainedUnits: more.explainedUnits ?? 0 },
});
