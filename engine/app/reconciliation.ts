/**
 * Reconciliation in a running engine: the stores of what sources report, and the engine's own source `published`. It is
 * the same in every process; a serving one takes reports and sweeps, and one of them makes each published snapshot.
 */

import { CONSISTENCY_TOPIC, requestedEvent, snapshotEvent } from "../jobs/consistency/events.js";
import { ConsistencyView } from "../jobs/consistency/view.js";
import { StorefrontAnchors } from "../jobs/storefront/anchors.js";
import { StorefrontView } from "../jobs/storefront/view.js";
import { chainId } from "../kernel/chain-id.js";
import type { Clock } from "../kernel/clock.js";
import { Comparer } from "../reconciliation/comparison/comparer.js";
import { ComparisonStore } from "../reconciliation/comparison/comparison-store.js";
import { Localiser } from "../reconciliation/localisation/localisation.js";
import { MovementStore } from "../reconciliation/reports/movement-store.js";
import { SnapshotStore } from "../reconciliation/reports/snapshot-store.js";
import { settledUnits } from "../reconciliation/settlement/settled-rows.js";
import { Settlement } from "../reconciliation/settlement/settlement.js";
import { SettlementStore } from "../reconciliation/settlement/settlement-store.js";
import { SourceRegistry } from "../reconciliation/source-registry.js";
import { SourceWatch } from "../reconciliation/source-watch.js";
import { BalanceHistory } from "../stock/as-of.js";
import { Corrections } from "../stock/corrections.js";
import type { Ledger } from "../stock/ledger.js";
import type { RedisClient } from "../stream/redis.js";
import type { EngineSettings } from "./engine-settings.js";
import type { Lifecycle } from "./lifecycle.js";
import { PublishedSource } from "./published-source.js";
import { eventTopicNamed, type RunningTopic, topicNamed, viewsOf } from "./running-topics.js";

export interface EngineReconciliation {
  readonly snapshots: SnapshotStore;
  readonly movements: MovementStore;
  readonly comparer: Comparer;
  readonly comparisons: ComparisonStore;
  readonly localiser: Localiser;
  readonly settlement: Settlement;
  /** The sources that are pulled. */
  readonly sources: SourceRegistry;
  readonly sourceWatch: SourceWatch;
  readonly consistencyView: ConsistencyView;
  /** Asks the workers for a comparison. */
  requestComparison(actor: string): Promise<void>;
}

export interface ReconciliationParts {
  readonly redis: RedisClient;
  /** For what reads much: commands do not wait behind it. */
  readonly viewRedis: RedisClient;
  readonly ledger: Ledger;
  readonly topics: readonly RunningTopic[];
  readonly clock: Clock;
}

export async function startReconciliation(
  { prefix, partitions, snapshotsKept, snapshotRetentionMs, publishedEveryMs = 0, onTrouble }: EngineSettings,
  { redis, viewRedis, ledger, topics, clock }: ReconciliationParts,
  lifecycle: Lifecycle,
): Promise<EngineReconciliation> {
  const { follower } = topicNamed(topics, "stock");
  const view = viewsOf(topics).of(StorefrontView);
  const consistency = eventTopicNamed(topics, CONSISTENCY_TOPIC);
  const shared = { redis, prefix, partitions, clock, onTrouble };
  const snapshots = new SnapshotStore({
    ...shared,
    ...(snapshotsKept === undefined ? {} : { keep: snapshotsKept }),
    ...(snapshotRetentionMs === undefined ? {} : { keepMs: snapshotRetentionMs }),
    onComplete: (snapshot) => consistency.append([snapshotEvent(snapshot)]),
    locations: () => (Number.isFinite(follower.oldestAgeMs()) ? view.locations : undefined),
  });
  const movements = new MovementStore(shared);
  const published = new PublishedSource({
    store: snapshots,
    view,
    clock,
    everyMs: publishedEveryMs,
    asOfMs: () => follower.asOf(),
    ageMs: () => follower.oldestAgeMs(),
    onTrouble,
  });
  const sources = new SourceRegistry(redis, prefix);
  const sourceWatch = new SourceWatch(sources, clock);
  for (const part of [snapshots, movements, published, sourceWatch]) await lifecycle.start(part);
  const comparisons = new ComparisonStore(redis, prefix);
  const reading = { redis: viewRedis, prefix, partitions };
  const corrections = new Corrections(reading);
  const history = new BalanceHistory({ ...reading, anchors: new StorefrontAnchors(viewRedis) });
  const displayCoefficient = (sku: string): number | undefined => view.get(sku)?.displayCoefficient;
  const comparer = new Comparer({
    snapshots,
    history,
    store: comparisons,
    partitions,
    clock,
    freshMsOf: (source) => sourceWatch.freshnessMs(source),
    settledUnits: (snapshot, partition) => settledUnits(corrections, snapshot, partition),
    displayCoefficient,
  });
  const localiser = new Localiser({
    ...reading,
    ...{ snapshots, movements, history, corrections, displayCoefficient },
  });
  const store = new SettlementStore(redis, prefix);
  const policies = () => sources.conflicts();
  const settlement = new Settlement({ ledger, corrections, store, comparisons, policies, clock });
  return {
    ...{ snapshots, movements, comparer, comparisons, localiser, settlement, sources, sourceWatch },
    consistencyView: viewsOf(topics).of(ConsistencyView),
    requestComparison: (actor) => consistency.append([requestedEvent(chainId("CR", clock.now()), actor)]),
  };
}
