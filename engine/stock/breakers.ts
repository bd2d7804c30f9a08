/**
 * Breakers of the whole deployment (R14). What each is to be, open or closed, is written in one place first, with a
 * version; then it is applied in every partition of its scope, where an older version never replaces a newer one. A
 * partition that cannot be reached, or that has lost the write in a failover, is behind its version: it is told by
 * number, and `repair` brings it up to date, in any process, once a second. Closing by time is each partition's own
 * affair: `until` is an instant.
 */
import { sleep } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { RedisClient } from "../stream/redis.js";
import { breakerKey } from "./decide.js";
import type { BreakerScope, OpenBreaker } from "./model.js";

/** Who opens or closes a breaker, and why; recorded with it. */
export interface BreakerCause {
  actor: string;
  onBehalfOf?: string;
  reason: string;
}

/** What a breaker is to be. */
export interface WantedBreaker extends BreakerCause {
  action: "open" | "close";
  version: number;
  sinceMs: number;
  /** 0: until it is closed by hand. */
  untilMs: number;
}

export interface BreakerChange {
  /** Whether it has changed anything in a partition. */
  changed: boolean;
  /** Partitions of its scope where it is not in force yet; empty: it is complete. */
  missing: number[];
}

export interface BreakersOptions {
  redis: RedisClient;
  /** Hash: what each breaker is to be, by scope. */
  key: string;
  partitions: number;
  partitionOf(sku: string): number;
  keysOf(partition: number): { head: string; breakers: string };
  /** Writes what a breaker is to be, and returns it with its version. */
  want(scope: string, action: "open" | "close", cause: BreakerCause & { forMs: number }): Promise<WantedBreaker>;
  /** Applies it in a partition. Returns whether that has changed anything there. */
  apply(partition: number, scope: string, wanted: WantedBreaker): Promise<boolean>;
}

/** A partition as it is: which breakers are open in it, and up to which version each has been applied. */
interface PartitionBreakers {
  open: Map<string, Omit<OpenBreaker, "scope">>;
  versions: Map<string, number>;
}

/** The head's field that holds the version of a breaker that was applied last; as in ledger.lua. */
const versionField = (scope: string): string => `gate:${scope}`;

const LOOK_EVERY_MS = 1_000;

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
   * Opens or closes a breaker everywhere in its scope. Once it is written what it is to be, it does not fail for a
   * partition: that one is missing.
   */
  async set(
    scope: BreakerScope,
    action: "open" | "close",
    cause: BreakerCause & { forMs: number },
  ): Promise<BreakerChange> {
    const key = breakerKey(scope);
    const wanted = await this.#options.want(key, action, cause);
    return this.#applyIn(this.#touched(key), key, wanted);
  }

  /** Breakers that are open somewhere or are to be, each once, with the partitions where they are not open. */
  async open(): Promise<OpenBreaker[]> {
    const { wanted, partitions } = await this.#look();
    const found = new Map<string, OpenBreaker>();
    for (const partition of partitions)
      for (const [key, breaker] of partition?.open ?? [])
        if (!found.has(key)) found.set(key, { ...breaker, scope: scopeOf(key) });
    for (const [key, { action, version, ...breaker }] of wanted)
      if (action === "open" && !found.has(key) && this.#behind(key, version, partitions).length > 0)
        found.set(key, { ...breaker, scope: scopeOf(key) });
    for (const [key, breaker] of found) {
      const missing = this.#touched(key).filter((partition) => !partitions[partition]?.open.has(key));
      if (missing.length > 0) breaker.missing = missing;
    }
    return [...found.values()];
  }

  /** Brings partitions up to date that are behind what a breaker is to be. Returns what it did, in words. */
  async repair(): Promise<string[]> {
    const { wanted, partitions } = await this.#look();
    const done: string[] = [];
    for (const [key, breaker] of wanted) {
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
        for (const words of await this.repair()) onTrouble(words);
        lastTrouble = "";
      } catch (thrown) {
        const words = `breakers: ${messageOf(thrown)}`;
        if (!signal.aborted && words !== lastTrouble) onTrouble(words);
        lastTrouble = words;
      }
      await sleep(LOOK_EVERY_MS, signal);
    }
  }

  async #applyIn(partitions: readonly number[], key: string, wanted: WantedBreaker): Promise<BreakerChange> {
    const settled = await Promise.allSettled(
      partitions.map((partition) => this.#options.apply(partition, key, wanted)),
    );
    return {
      changed: settled.some((result) => result.status === "fulfilled" && result.value),
      missing: partitions.filter((_, i) => settled[i]?.status === "rejected"),
    };
  }

  /** @throws when no partition can be reached, or not even what the breakers are to be */
  async #look(): Promise<{ wanted: Map<string, WantedBreaker>; partitions: (PartitionBreakers | undefined)[] }> {
    const { redis, key, partitions, keysOf } = this.#options;
    const texts = Object.entries(await redis.hgetall(key));
    const wanted = new Map(texts.map(([scope, text]) => [scope, JSON.parse(text) as WantedBreaker]));
    const scopes = [...wanted.keys()];
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
      wanted,
      partitions: settled.map((result) => (result.status === "fulfilled" ? result.value : undefined)),
    };
  }

  /** Partitions of a scope that have not applied a version, or do not say. */
  #behind(key: string, version: number, partitions: readonly (PartitionBreakers | undefined)[]): number[] {
    return this.#touched(key).filter((partition) => (partitions[partition]?.versions.get(key) ?? 0) < version);
  }

  #touched(key: string): number[] {
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
