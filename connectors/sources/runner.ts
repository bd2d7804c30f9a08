/**
 * Pulls one source, again and again, in one process at a time: whoever holds its lease. It pulls by the schedule, when
 * somebody asks for it, and soon again after a failure, and records how each pull went. A process that loses the lease
 * ends its pull; what it would still write is rejected. It never throws for what a source does: that is a fault of the
 * source, which people see.
 */
import { type Clock, systemClock } from "../../engine/kernel/clock.js";
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import { type OnTrouble, withoutSecrets } from "../../engine/kernel/logger.js";
import { type Zone, zoneOf } from "../../engine/kernel/zone.js";
import type { MovementStore } from "../../engine/reconciliation/reports/movement-store.js";
import type { SnapshotStore } from "../../engine/reconciliation/reports/snapshot-store.js";
import { FAULTS_KEPT, type PullState, type SourceRegistry } from "../../engine/reconciliation/source-registry.js";
import { renewTask, type Task } from "../../engine/stream/commit.js";
import { sourceKeys } from "../../engine/stream/keys.js";
import { type Lease, LeasedLoop } from "../../engine/stream/leased-loop.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { nowArgument } from "../../engine/stream/server-clock.js";
import type { PullKind } from "../source.js";
import type { PullConfiguration, SourceConfiguration } from "./configuration.js";
import { type OpenedSource, openSource } from "./open-source.js";
import { loadSourcesLibrary, SourceProgress } from "./progress.js";
import { type PullResult, pullMovements, pullSnapshot } from "./pull.js";
import { nextDueMs, overdueAfterMs } from "./schedule.js";

export interface SourceRunnerOptions {
  readonly configuration: SourceConfiguration;
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly registry: SourceRegistry;
  readonly snapshots: Pick<SnapshotStore, "receive" | "complete">;
  readonly movements: Pick<MovementStore, "receive">;
  /** The shop's. */
  readonly clock: Clock;
  readonly zone: string;
  readonly owner: string;
  readonly leaseMs: number;
  readonly serverClock?: Clock;
  /** Texts that no message may show. */
  readonly secrets: readonly string[];
  readonly onTrouble: OnTrouble;
}

/** How often a runner looks whether a pull is due or asked for. */
const POLL_MS = 1_000;
const MAX_FAULT_LENGTH = 500;

export class SourceRunner {
  readonly #options: SourceRunnerOptions;
  readonly #zone: Zone;
  readonly #loop: LeasedLoop;
  /** States that could not be recorded, in a Redis that is full: without them a pull would begin again at once. */
  readonly #unrecorded = new Map<PullKind, PullState>();
  /** The same of the newest request. */
  #handled: string | undefined;

  constructor(options: SourceRunnerOptions) {
    const { configuration, redis, prefix, owner, leaseMs, serverClock, onTrouble } = options;
    this.#options = options;
    this.#zone = zoneOf(options.zone);
    this.#loop = new LeasedLoop({
      ...{ redis, owner, leaseMs, onTrouble },
      keys: sourceKeys(prefix, configuration.name),
      partition: 0,
      clock: systemClock,
      ...(serverClock ? { serverClock } : {}),
      prepare: () => loadSourcesLibrary(redis),
      work: (lease, signal) => this.#work(lease, signal),
      place: { source: configuration.name },
    });
  }

  get isOwned(): boolean {
    return this.#loop.isOwned;
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  async #work(lease: Lease, stopping: AbortSignal): Promise<void> {
    const lost = new AbortController();
    const signal = AbortSignal.any([stopping, lost.signal]);
    this.#unrecorded.clear();
    const opened = await openSource(this.#options.configuration, this.#options);
    const renewing = this.#renew(lease.task, lost, signal);
    try {
      const { redis, prefix, configuration } = this.#options;
      const progress = new SourceProgress(redis, sourceKeys(prefix, configuration.name), lease.task.epoch);
      while (!signal.aborted) {
        const pulled = await this.#pullWhatIsDue(opened, progress, signal);
        if (pulled) lease.progressed();
        if (pulled !== "more") await systemClock.sleep(POLL_MS, signal);
      }
    } finally {
      lost.abort();
      await renewing;
      await opened.close();
    }
    if (lost.signal.reason instanceof EngineError) throw lost.signal.reason;
  }

  /** Renews the lease until the work ends; aborts the work when the lease is another's, or may be. */
  async #renew(task: Task, lost: AbortController, signal: AbortSignal): Promise<void> {
    const { redis, prefix, configuration, leaseMs, serverClock } = this.#options;
    const keys = sourceKeys(prefix, configuration.name);
    let renewedMs = systemClock.now();
    while (!signal.aborted) {
      await systemClock.sleep(leaseMs / 3, signal);
      if (signal.aborted) return;
      try {
        await renewTask(redis, keys, task, leaseMs, nowArgument(serverClock));
        renewedMs = systemClock.now();
      } catch (thrown) {
        const isTemporary = !(thrown instanceof EngineError) || !/^stale/.test(thrown.code);
        if (isTemporary && systemClock.now() - renewedMs < leaseMs) continue;
        lost.abort(thrown);
      }
    }
  }

  async #pullWhatIsDue(
    opened: OpenedSource,
    progress: SourceProgress,
    signal: AbortSignal,
  ): Promise<"more" | "once" | undefined> {
    const { configuration, registry, clock } = this.#options;
    const requested = await registry.requested(configuration.name);
    // Another time, not a later one: whoever asks may have a clock that is behind.
    const asked = requested && String(requested.atMs);
    const isAsked = asked !== undefined && asked !== this.#handled && asked !== (await progress.cursor("request"));
    let did: "more" | "once" | undefined;
    for (const kind of ["snapshot", "movements"] as const) {
      const pull = configuration.pulls[kind];
      if (pull === undefined) continue;
      const state = this.#unrecorded.get(kind) ?? (await registry.state(configuration.name, kind));
      if (!isAsked && nextDueMs(pull.schedule, state, clock.now(), this.#zone) > clock.now()) continue;
      const result = await this.#pull(kind, pull, state, opened, progress, signal);
      if (signal.aborted) return undefined;
      did = result?.more === true ? "more" : (did ?? "once");
    }
    if (isAsked) {
      this.#handled = asked;
      await progress.setCursor("request", asked);
    }
    return did;
  }

  async #pull(
    kind: PullKind,
    pull: PullConfiguration,
    before: PullState | undefined,
    opened: OpenedSource,
    progress: SourceProgress,
    signal: AbortSignal,
  ): Promise<PullResult | undefined> {
    const { configuration, snapshots, movements, clock, zone, owner, onTrouble } = this.#options;
    const startedMs = clock.now();
    const { source, client } = opened;
    const stores = { snapshots, movements, progress };
    const parts = { configuration, source, client, zone, clock, stores };
    const requestsBefore = { ...client.figures };
    let result: PullResult | undefined;
    let faults: readonly string[];
    try {
      result = kind === "snapshot" ? await pullSnapshot(parts, signal) : await pullMovements(parts, signal);
      faults = result.faults;
    } catch (thrown) {
      if (signal.aborted) return undefined;
      faults = [this.#shown(messageOf(thrown))];
    }
    const endedMs = clock.now();
    const isSuccess = result !== undefined && result.outcome !== "refused";
    const outcome = result?.outcome ?? "failed";
    if (!isSuccess && before?.outcome !== outcome)
      onTrouble(`source ${configuration.name}: ${outcome}: ${faults[0] ?? ""}`, { source: configuration.name });
    const failures = isSuccess ? 0 : (before?.failures ?? 0) + 1;
    const lastSuccessMs = isSuccess ? endedMs : before?.lastSuccessMs;
    const reachedMs = isSuccess ? (result?.reachedMs ?? before?.reachedMs) : before?.reachedMs;
    const attempt = { lastAttemptMs: startedMs, outcome, failures } as const;
    await this.#record(kind, {
      ...attempt,
      ...(lastSuccessMs === undefined ? {} : { lastSuccessMs }),
      ...(reachedMs === undefined ? {} : { reachedMs }),
      rows: isSuccess ? (result?.rows ?? 0) : (before?.rows ?? 0),
      rowsTotal: (before?.rowsTotal ?? 0) + (result?.rows ?? 0),
      durationMs: endedMs - startedMs,
      nextDueMs: nextDueMs(pull.schedule, attempt, endedMs, this.#zone),
      overdueMs: isSuccess
        ? overdueAfterMs(pull.schedule, endedMs, this.#zone)
        : (before?.overdueMs ?? overdueAfterMs(pull.schedule, startedMs, this.#zone)),
      requests: (before?.requests ?? 0) + client.figures.requests - requestsBefore.requests,
      throttled: (before?.throttled ?? 0) + client.figures.throttled - requestsBefore.throttled,
      faults: [
        ...faults.map((message) => ({ atMs: endedMs, message: this.#shown(message) })),
        ...(before?.faults ?? []),
      ].slice(0, FAULTS_KEPT),
      process: owner,
    });
    return result;
  }

  async #record(kind: PullKind, state: PullState): Promise<void> {
    const { registry, configuration, onTrouble } = this.#options;
    try {
      await registry.record(configuration.name, kind, state);
      this.#unrecorded.delete(kind);
    } catch (thrown) {
      this.#unrecorded.set(kind, state);
      onTrouble(`source ${configuration.name}: a pull cannot be recorded: ${messageOf(thrown)}`, {
        source: configuration.name,
      });
    }
  }

  #shown(message: string): string {
    const text = withoutSecrets(message, this.#options.secrets);
    return text.length > MAX_FAULT_LENGTH ? `${text.slice(0, MAX_FAULT_LENGTH)}…` : text;
  }
}
