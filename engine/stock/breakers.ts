/**
 * Breakers of the whole deployment (R14). The desired state of each, open, half-open or closed, is written in one place
 * first, with a version; then it is applied in every partition of its scope, where an older version never replaces a
 * newer one. A partition that cannot be reached, or that lost the write in a failover, has an older version: it is
 * reported as missing, and `repair` brings it up to date, in any process, once a second. When the time of a breaker is
 * over (`untilMs` is a point in time), each partition closes it itself, or makes it half-open. Each change is an event
 * of the log of every partition of its scope; before format 3 the log's number of events does not include it. A change
 * may depend on the newest version that its maker has read (`setIf`), so that it never overrides a later one.
 */
import { sleep, stopwatch, within } from "../kernel/clock.js";
import { assert, badInput, EngineError, messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { RedisClient } from "../stream/redis.js";
import {
  type BreakerAction,
  type BreakerCause,
  type BreakerScope,
  type BreakerStatus,
  breakerKey,
  breakerScopeOf,
  type DesiredBreaker,
  type OpenBreaker,
} from "./breaker.js";
import { breakerAt, isInScope, isRefusing } from "./breaker-rules.js";

/** The first format in which breakers may be half-open: the release before it would close them by time. */
const HALF_OPEN_FORMAT = 3;

/** A change that is wanted, without its version. */
export interface WantedBreaker extends BreakerCause {
  /** Only with `open`: how long; 0: until it is changed by hand. */
  forMs: number;
  /** Only with `open` and `forMs`: what it becomes then; left out: closed. */
  atEnd?: "half_open";
}

export interface BreakerChange {
  /** Whether any partition has changed. */
  changed: boolean;
  /** Partitions of its scope that have not applied it yet; empty: all have. */
  missing: number[];
  /** Of the change. */
  version: number;
}

/** Refused: the breaker has a change that the caller has not read. Nothing is changed. */
export interface VersionDiffers {
  outcome: "version_differs";
}

export interface BreakersOptions {
  redis: RedisClient;
  /** Hash: desired states of breakers, by scope. */
  key: string;
  partitions: number;
  partitionOf(sku: string): number;
  keysOf(partition: number): { head: string; breakers: string };
  /** The deployment's format. */
  format(): number;
  /**
   * Writes the desired state of a breaker, and returns it with its version; undefined when there is a change later than
   * `ifVersion`.
   */
  setDesired(
    scope: string,
    action: BreakerAction,
    wanted: WantedBreaker,
    ifVersion?: number,
  ): Promise<DesiredBreaker | undefined>;
  /** Applies the desired state in a partition. Returns whether that has changed anything there. */
  apply(partition: number, scope: string, desired: DesiredBreaker): Promise<boolean>;
}

type StoredBreaker = Omit<OpenBreaker, "scope">;

/** The actual state of a partition: its breakers, open and half-open, and the last applied version of each. */
interface PartitionBreakers {
  open: Map<string, StoredBreaker>;
  versions: Map<string, number>;
}

/** Stored name: the head's field with the last applied version of a breaker, as in ledger-breakers.lua. */
const versionField = (scope: string): string => `gate:${scope}`;

const REPAIR_EVERY_MS = 1_000;
/** A partition that does not answer in this time counts as not reachable. */
const ANSWER_MS = 1_000;
/** What was read counts for so long in `refuses`: two of the reads that come each second. */
const SEEN_FOR_MS = 2 * REPAIR_EVERY_MS;

/** All partitions as they were read, and the desired states. */
interface BreakersState {
  desired: Map<string, DesiredBreaker>;
  /** Undefined where a partition could not be read. */
  partitions: (PartitionBreakers | undefined)[];
}

export class Breakers {
  readonly #options: BreakersOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  /** As last read, while this process reads them once a second. */
  #seen: { breakers: readonly OpenBreaker[]; age: () => number } | undefined;
  /** How many changes through this object have begun or ended: a read during one may be older than the change. */
  #changes = 0;

  constructor(options: BreakersOptions) {
    this.#options = options;
  }

  /** Repairs once a second until stopped. */
  start(onTrouble: OnTrouble): void {
    this.#running ??= this.#run(onTrouble);
  }

  /** Does not wait for calls under way: they may take long, and their replies change nothing here. */
  stop(): void {
    this.#stop.abort();
  }

  /**
   * Opens, half-opens or closes a breaker everywhere in its scope. Fails only when the desired state cannot be written;
   * partitions that fail to apply it are returned as missing.
   * @throws EngineError `bad_input` when time or end do not fit the action; `format_too_old` for a half-open breaker
   *   while an upgrade is not finished
   */
  async set(
    scope: BreakerScope,
    action: BreakerAction,
    wanted: BreakerCause & Partial<WantedBreaker>,
  ): Promise<BreakerChange> {
    const change = await this.#set(scope, action, wanted);
    assert(change !== undefined, "a change without a condition was refused");
    return change;
  }

  /**
   * The same, unless the breaker has a change later than `ifVersion` (0: any change). Repeating the newest change of a
   * breaker, by its `changeId`, changes nothing and returns its version.
   */
  async setIf(
    scope: BreakerScope,
    action: BreakerAction,
    wanted: BreakerCause & Partial<WantedBreaker>,
    ifVersion: number,
  ): Promise<BreakerChange | VersionDiffers> {
    return (await this.#set(scope, action, wanted, ifVersion)) ?? { outcome: "version_differs" };
  }

  async #set(
    scope: BreakerScope,
    action: BreakerAction,
    wanted: BreakerCause & Partial<WantedBreaker>,
    ifVersion?: number,
  ): Promise<BreakerChange | undefined> {
    const { forMs = 0, atEnd } = wanted;
    if (forMs > 0 && action !== "open") throw badInput("breakers.set", "forMs", "is allowed only with open");
    if (atEnd !== undefined && forMs === 0)
      throw badInput("breakers.set", "atEnd", "is allowed only with open and a time (forMs)");
    if ((action === "half_open" || atEnd !== undefined) && this.#options.format() < HALF_OPEN_FORMAT)
      throw new EngineError(
        "a breaker cannot be half-open while processes of the previous release may run: run `shuiwei upgrade --finish`",
        { op: "breakers.set", code: "format_too_old", retryable: false },
      );
    const key = breakerKey(scope);
    this.#changes++;
    try {
      const desired = await this.#options.setDesired(key, action, { ...wanted, forMs }, ifVersion);
      if (!desired) return undefined;
      return { ...(await this.#applyIn(this.#partitionsOf(key), key, desired)), version: desired.version };
    } finally {
      this.#changes++;
      this.#seen = undefined;
    }
  }

  /**
   * Whether the ledger would refuse one of these lines, by what this process has read in the last two seconds: then an
   * order need not be written first. `false` promises nothing; the ledger decides.
   */
  refuses(lines: readonly { sku: string; location: string }[], nowMs: number): boolean {
    if (!this.#seen || this.#seen.age() > SEEN_FOR_MS) return false;
    return this.#seen.breakers.some(
      (breaker) =>
        isRefusing(breaker, nowMs) &&
        lines.some(
          (line) => isInScope(breaker.scope, line) && !breaker.missing?.includes(this.#options.partitionOf(line.sku)),
        ),
    );
  }

  /**
   * Breakers that are open or half-open somewhere, or shall be, each once, as the newest version of it says, with the
   * partitions where that is not in force.
   */
  async open(): Promise<OpenBreaker[]> {
    return this.#openIn(await this.#read());
  }

  /**
   * Every breaker with a recorded change, closed ones included, and those that are open without one, as they are at a
   * time. A closed one is deleted 30 days after it was closed.
   */
  async statuses(nowMs: number): Promise<BreakerStatus[]> {
    const state = await this.#read();
    const found = new Map<string, BreakerStatus>();
    for (const breaker of this.#openIn(state)) {
      const now = breakerAt(breaker, nowMs) ?? { ...breaker, state: "closed" as const };
      found.set(breakerKey(breaker.scope), { ...now, version: now.version ?? 0 });
    }
    for (const [key, { action, ...breaker }] of state.desired) {
      if ((found.get(key)?.version ?? -1) >= breaker.version) continue;
      // All partitions have applied it, and none refuses orders: it was closed, or its time is over.
      found.set(key, { ...breaker, scope: breakerScopeOf(key), state: "closed" });
    }
    return [...found.values()];
  }

  #openIn({ desired, partitions }: BreakersState): OpenBreaker[] {
    const found = new Map<string, StoredBreaker>();
    for (const partition of partitions)
      for (const [key, breaker] of partition?.open ?? []) {
        const known = found.get(key);
        if (!known || isNewer(breaker, known)) found.set(key, breaker);
      }
    for (const [key, { action, ...breaker }] of desired) {
      if (action === "close" || this.#behind(key, breaker.version, partitions).length === 0) continue;
      const known = found.get(key);
      if (!known || breaker.version > (known.version ?? 0)) found.set(key, { ...breaker, state: action });
    }
    return [...found].map(([key, breaker]) => {
      const { version = 0 } = breaker;
      const isInForce = (partition: number): boolean => {
        const there = partitions[partition]?.open.get(key);
        return there !== undefined && (there.version ?? 0) >= version;
      };
      const missing = this.#partitionsOf(key).filter((partition) => !isInForce(partition));
      return { ...breaker, scope: breakerScopeOf(key), ...(missing.length > 0 && { missing }) };
    });
  }

  /** Applies desired states in partitions that have an older version. Returns a sentence for each repaired breaker. */
  repair(): Promise<string[]> {
    return this.#repair(() => true);
  }

  async #repair(isDue: (key: string, desired: DesiredBreaker) => boolean): Promise<string[]> {
    const { desired, partitions } = await this.#read();
    const done: string[] = [];
    for (const [key, breaker] of desired) {
      if (this.#stop.signal.aborted || !isDue(key, breaker)) continue;
      const behind = this.#behind(key, breaker.version, partitions).filter((partition) => partitions[partition]);
      if (behind.length === 0) continue;
      const { missing } = await this.#applyIn(behind, key, breaker);
      const repaired = behind.filter((partition) => !missing.includes(partition));
      if (repaired.length > 0)
        done.push(`the breaker ${key} was not ${STATE_WORDS[breaker.action]} in ${listOf(repaired)}: it is now`);
    }
    return done;
  }

  async #run(onTrouble: OnTrouble): Promise<void> {
    const { signal } = this.#stop;
    let lastTrouble = "";
    // A version that is seen for the first time may still be on its way to the partitions.
    let seen = new Map<string, number>();
    while (!signal.aborted) {
      const elapsed = stopwatch();
      const before = seen;
      seen = new Map();
      const isKnown = (key: string, { version }: DesiredBreaker): boolean => {
        seen.set(key, version);
        return before.get(key) === version;
      };
      try {
        const repaired = await this.#repair(isKnown);
        if (!signal.aborted) for (const sentence of repaired) onTrouble(sentence);
        lastTrouble = "";
      } catch (thrown) {
        const trouble = `breakers: ${messageOf(thrown)}`;
        if (!signal.aborted && trouble !== lastTrouble) onTrouble(trouble);
        lastTrouble = trouble;
      }
      await sleep(Math.max(0, REPAIR_EVERY_MS - elapsed()), signal);
    }
  }

  async #applyIn(
    partitions: readonly number[],
    key: string,
    desired: DesiredBreaker,
  ): Promise<Omit<BreakerChange, "version">> {
    const settled = await Promise.allSettled(
      partitions.map((partition) => inTime(this.#options.apply(partition, key, desired))),
    );
    return {
      changed: settled.some((result) => result.status === "fulfilled" && result.value),
      missing: partitions.filter((_, i) => settled[i]?.status === "rejected"),
    };
  }

  /** @throws when no partition can be read, or the desired states cannot */
  async #read(): Promise<BreakersState> {
    const { redis, key, partitions, keysOf } = this.#options;
    const changes = this.#changes;
    const age = stopwatch();
    const texts = Object.entries(await inTime(redis.hgetall(key)));
    const desired = new Map(texts.map(([scope, text]) => [scope, JSON.parse(text) as DesiredBreaker]));
    const scopes = [...desired.keys()];
    const settled = await Promise.allSettled(
      Array.from({ length: partitions }, async (_, partition): Promise<PartitionBreakers> => {
        const { head, breakers } = keysOf(partition);
        const [hash, versions] = await inTime(
          Promise.all([
            redis.hgetall(breakers),
            scopes.length === 0 ? [] : redis.hmget(head, ...scopes.map(versionField)),
          ]),
        );
        return {
          open: new Map(Object.entries(hash).map(([scope, text]) => [scope, breakerOf(text)])),
          versions: new Map(scopes.map((scope, i) => [scope, Number(versions[i] ?? 0)])),
        };
      }),
    );
    if (settled.every(({ status }) => status === "rejected")) throw (settled[0] as PromiseRejectedResult).reason;
    const state = {
      desired,
      partitions: settled.map((result) => (result.status === "fulfilled" ? result.value : undefined)),
    };
    if (this.#running && changes === this.#changes) this.#seen = { breakers: this.#openIn(state), age };
    return state;
  }

  /** Partitions of a scope that have not applied a version, or that could not be read. */
  #behind(key: string, version: number, partitions: readonly (PartitionBreakers | undefined)[]): number[] {
    return this.#partitionsOf(key).filter((partition) => (partitions[partition]?.versions.get(key) ?? 0) < version);
  }

  #partitionsOf(key: string): number[] {
    const { partitions, partitionOf } = this.#options;
    const scope = breakerScopeOf(key);
    return scope.kind === "sku"
      ? [partitionOf(scope.sku)]
      : Array.from({ length: partitions }, (_, partition) => partition);
  }
}

/** One silent partition delays no other. A change that arrives late has a version, so it replaces no newer one. */
const inTime = <T>(call: Promise<T>): Promise<T> =>
  within(call, ANSWER_MS, () => {
    const detail = { op: "breakers", code: "unavailable", retryable: true, retryAfterMs: ANSWER_MS };
    return new EngineError("Redis has not answered within a second", detail);
  });

const breakerOf = (text: string): StoredBreaker =>
  ({ state: "open", ...(JSON.parse(text) as Partial<StoredBreaker>) }) as StoredBreaker;

/** Of two partitions' states: of the same version, one that is half-open has passed its end. */
const isNewer = (a: StoredBreaker, b: StoredBreaker): boolean =>
  (a.version ?? 0) > (b.version ?? 0) || (a.version === b.version && a.state === "half_open" && b.state === "open");

const STATE_WORDS: Readonly<Record<BreakerAction, string>> = {
  open: "open",
  half_open: "half-open",
  close: "closed",
};

const listOf = (partitions: readonly number[]): string =>
  `partition${partitions.length === 1 ? "" : "s"} ${partitions.join(", ")}`;
