/**
 * Breakers of the whole deployment (R14). The desired state of each, open or closed, is written in one place first,
 * with a version; then it is applied in every partition of its scope, where an older version never replaces a newer
 * one. A partition that cannot be reached, or that lost the write in a failover, has an older version: it is reported
 * as missing, and `repair` brings it up to date, in any process, once a second. Each partition closes a breaker itself
 * when its time is over: `untilMs` is a point in time.
 */
import { sleep } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { RedisClient } from "../stream/redis.js";
import type { BreakerScope, OpenBreaker } from "./model.js";
import { breakerKey } from "./partition-state.js";

/** Who opens or closes a breaker, and why; recorded with it. */
export interface BreakerCause {
  actor: string;
  onBehalfOf?: string;
  reason: string;
}

/** The desired state of a breaker. */
export interface DesiredBreaker extends BreakerCause {
  action: "open" | "close";
  version: number;
  sinceMs: number;
  /** 0: until it is closed by hand. */
  untilMs: number;
}

export interface BreakerChange {
  /** Whether any partition has changed. */
  changed: boolean;
  /** Partitions of its scope that have not applied it yet; empty: all have. */
  missing: number[];
}

export interface BreakersOptions {
  redis: RedisClient;
  /** Hash: desired states of breakers, by scope. */
  key: string;
  partitions: number;
  partitionOf(sku: string): number;
  keysOf(partition: number): { head: string; breakers: string };
  /** Writes the desired state of a breaker, and returns it with its version. */
  setDesired(scope: string, action: "open" | "close", cause: BreakerCause & { forMs: number }): Promise<DesiredBreaker>;
  /** Applies the desired state in a partition. Returns whether that has changed anything there. */
  apply(partition: number, scope: string, desired: DesiredBreaker): Promise<boolean>;
}

/** The actual state of a partition: breakers that are open in it, and the last applied version of each. */
interface PartitionBreakers {
  open: Map<string, Omit<OpenBreaker, "scope">>;
  versions: Map<string, number>;
}

/** Stored name: the head's field with the last applied version of a breaker, as in ledger-breakers.lua. */
const versionField = (scope: string): string => `gate:${scope}`;

const REPAIR_EVERY_MS = 1_000;

export class Breakers {
  readonly #options: BreakersOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: BreakersOptions) {
    this.#options = options;
  }

  /** Repairs once a second until stopped. */
  start(onTrouble: OnTrouble): void {
    this.#running ??= this.#run(onTrouble);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /**
   * Opens or closes a breaker everywhere in its scope. Fails only when the desired state cannot be written; partitions
   * that fail to apply it are returned as missing. `forMs` 0: until it is closed by hand.
   */
  async set(
    scope: BreakerScope,
    action: "open" | "close",
    cause: BreakerCause & { forMs: number },
  ): Promise<BreakerChange> {
    const key = breakerKey(scope);
    const desired = await this.#options.setDesired(key, action, cause);
    return this.#applyIn(this.#partitionsOf(key), key, desired);
  }

  /** Breakers that are open somewhere or shall be open, each once, with the partitions where they are not open. */
  async open(): Promise<OpenBreaker[]> {
    const { desired, partitions } = await this.#read();
    const found = new Map<string, OpenBreaker>();
    for (const partition of partitions)
      for (const [key, breaker] of partition?.open ?? [])
        if (!found.has(key)) found.set(key, { ...breaker, scope: scopeOf(key) });
    for (const [key, { action, version, ...breaker }] of desired)
      if (action === "open" && !found.has(key) && this.#behind(key, version, partitions).length > 0)
        found.set(key, { ...breaker, scope: scopeOf(key) });
    for (const [key, breaker] of found) {
      const missing = this.#partitionsOf(key).filter((partition) => !partitions[partition]?.open.has(key));
      if (missing.length > 0) breaker.missing = missing;
    }
    return [...found.values()];
  }

  /** Applies desired states in partitions that have an older version. Returns a sentence for each repaired breaker. */
  async repair(): Promise<string[]> {
    const { desired, partitions } = await this.#read();
    const done: string[] = [];
    for (const [key, breaker] of desired) {
      const behind = this.#behind(key, breaker.version, partitions).filter((partition) => partitions[partition]);
      if (behind.length === 0) continue;
      const { missing } = await this.#applyIn(behind, key, breaker);
      const repaired = behind.filter((partition) => !missing.includes(partition));
      if (repaired.length > 0)
        done.push(
          `the breaker ${key} was not ${breaker.action === "open" ? "open" : "closed"} in ${listOf(repaired)}: it is now`,
        );
    }
    return done;
  }

  async #run(onTrouble: OnTrouble): Promise<void> {
    const { signal } = this.#stop;
    let lastTrouble = "";
    while (!signal.aborted) {
      try {
        for (const repaired of await this.repair()) onTrouble(repaired);
        lastTrouble = "";
      } catch (thrown) {
        const trouble = `breakers: ${messageOf(thrown)}`;
        if (!signal.aborted && trouble !== lastTrouble) onTrouble(trouble);
        lastTrouble = trouble;
      }
      await sleep(REPAIR_EVERY_MS, signal);
    }
  }

  async #applyIn(partitions: readonly number[], key: string, desired: DesiredBreaker): Promise<BreakerChange> {
    const settled = await Promise.allSettled(
      partitions.map((partition) => this.#options.apply(partition, key, desired)),
    );
    return {
      changed: settled.some((result) => result.status === "fulfilled" && result.value),
      missing: partitions.filter((_, i) => settled[i]?.status === "rejected"),
    };
  }

  /** @throws when no partition can be read, or the desired states cannot */
  async #read(): Promise<{ desired: Map<string, DesiredBreaker>; partitions: (PartitionBreakers | undefined)[] }> {
    const { redis, key, partitions, keysOf } = this.#options;
    const texts = Object.entries(await redis.hgetall(key));
    const desired = new Map(texts.map(([scope, text]) => [scope, JSON.parse(text) as DesiredBreaker]));
    const scopes = [...desired.keys()];
    const settled = await Promise.allSettled(
      Array.from({ length: partitions }, async (_, partition): Promise<PartitionBreakers> => {
        const { head, breakers } = keysOf(partition);
        const [hash, versions] = await Promise.all([
          redis.hgetall(breakers),
          scopes.length === 0 ? [] : redis.hmget(head, ...scopes.map(versionField)),
        ]);
        return {
          open: new Map(Object.entries(hash).map(([scope, text]) => [scope, breakerOf(text)])),
          versions: new Map(scopes.map((scope, i) => [scope, Number(versions[i] ?? 0)])),
        };
      }),
    );
    if (settled.every(({ status }) => status === "rejected")) throw (settled[0] as PromiseRejectedResult).reason;
    return {
      desired,
      partitions: settled.map((result) => (result.status === "fulfilled" ? result.value : undefined)),
    };
  }

  /** Partitions of a scope that have not applied a version, or that could not be read. */
  #behind(key: string, version: number, partitions: readonly (PartitionBreakers | undefined)[]): number[] {
    return this.#partitionsOf(key).filter((partition) => (partitions[partition]?.versions.get(key) ?? 0) < version);
  }

  #partitionsOf(key: string): number[] {
    const { partitions, partitionOf } = this.#options;
    const scope = scopeOf(key);
    return scope.kind === "sku"
      ? [partitionOf(scope.sku)]
      : Array.from({ length: partitions }, (_, partition) => partition);
  }
}

function breakerOf(text: string): Omit<OpenBreaker, "scope"> {
  const { version: _, ...breaker } = JSON.parse(text) as Omit<OpenBreaker, "scope"> & { version?: number };
  return breaker;
}

const listOf = (partitions: readonly number[]): string =>
  `partition${partitions.length === 1 ? "" : "s"} ${partitions.join(", ")}`;

function scopeOf(key: string): BreakerScope {
  const at = key.indexOf(":");
  if (at < 0) return { kind: "shop" };
  const name = key.slice(at + 1);
  return key.startsWith("location:") ? { kind: "location", location: name } : { kind: "sku", sku: name };
}
