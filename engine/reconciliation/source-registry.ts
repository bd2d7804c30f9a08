/**
 * The records of a deployment about the sources that it pulls (R29): which are configured, how their pulls went, and
 * who asked for one at once. Any process reads it: the command line, the HTTP API, the desk and the comparison. Values
 * are absolute and written by the process that pulls the source, so a repeated or late write does little harm; it
 * decides nothing about stock. A source that pushes its snapshots is not in it.
 */
import { sourceListKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import type { Measure } from "./model.js";
import { ASK_ALWAYS, type ConflictPolicies } from "./settlement/conflict-policy.js";

export type PulledKind = "snapshot" | "movements";

/** A source as it is configured. */
export interface ConfiguredSource {
  readonly name: string;
  /** Of outside system, such as `wangdian`. */
  readonly kind: string;
  readonly about: string;
  readonly measure: Measure;
  /** What is pulled, and when: `every 15m`, `daily 17:45`. */
  readonly pulls: Readonly<Partial<Record<PulledKind, string>>>;
  /** A snapshot older than this is not compared. */
  readonly freshnessMs: number;
}

/** Something that went wrong with a pull. */
export interface SourceFault {
  readonly atMs: number;
  /** A sentence with its place, such as the page and row. */
  readonly message: string;
}

/** How the pulls of one source and kind went. Times are the shop's. */
export interface PullState {
  readonly lastAttemptMs: number;
  readonly lastSuccessMs?: number;
  /** The newest instant that was brought: of a snapshot, its own; of movements, the end of the span. */
  readonly reachedMs?: number;
  /** `nothing_new` is a success; `refused`: rows or snapshot are at fault; `failed`: no complete answer. */
  readonly outcome: "stored" | "nothing_new" | "refused" | "failed";
  /** Of the last success, and of all pulls. */
  readonly rows: number;
  readonly rowsTotal: number;
  readonly durationMs: number;
  /** Failed or refused in a row. */
  readonly failures: number;
  readonly nextDueMs: number;
  /** From then on a success is overdue. */
  readonly overdueMs: number;
  readonly requests: number;
  readonly throttled: number;
  /** The newest first; FAULTS_KEPT at most. */
  readonly faults: readonly SourceFault[];
  /** Who pulls it. */
  readonly process: string;
}

export interface SourceReport extends ConfiguredSource {
  /** Undefined: not pulled yet. */
  readonly states: Readonly<Partial<Record<PulledKind, PullState>>>;
}

export interface PullRequested {
  readonly atMs: number;
  readonly actor: string;
  readonly reason: string;
}

export const FAULTS_KEPT = 20;
/** Of what is configured for all sources; no source has this name. */
const ALL = "*";

export class SourceRegistry {
  readonly #redis: RedisClient;
  readonly #keys: ReturnType<typeof sourceListKeys>;

  constructor(redis: RedisClient, prefix: string) {
    this.#redis = redis;
    this.#keys = sourceListKeys(prefix);
  }

  /** Replaces what is configured; states of sources that are gone are removed. */
  async configure(sources: readonly ConfiguredSource[], conflicts: ConflictPolicies): Promise<void> {
    const { configured, states, requests } = this.#keys;
    const entries: [string, string][] = sources.map((source) => [source.name, JSON.stringify(source)]);
    entries.push([ALL, JSON.stringify({ conflicts })]);
    const [before, known] = await Promise.all([this.#redis.hkeys(configured), this.#redis.hkeys(states)]);
    const names = new Set(entries.map(([name]) => name));
    const gone = before.filter((name) => !names.has(name));
    const goneStates = known.filter((name) => !names.has(name.slice(0, name.lastIndexOf("/"))));
    await this.#redis.hset(configured, Object.fromEntries(entries));
    if (gone.length > 0)
      await Promise.all([this.#redis.hdel(configured, ...gone), this.#redis.hdel(requests, ...gone)]);
    if (goneStates.length > 0) await this.#redis.hdel(states, ...goneStates);
  }

  /** The configured sources by name, each with how its pulls went. */
  async list(): Promise<readonly SourceReport[]> {
    const { configured, states } = this.#keys;
    const [sources, pulls] = await Promise.all([this.#redis.hgetall(configured), this.#redis.hgetall(states)]);
    return Object.entries(sources)
      .filter(([name]) => name !== ALL)
      .map(([name, text]) => ({ ...(JSON.parse(text) as ConfiguredSource), states: statesOf(name, pulls) }))
      .sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** Which report wins for each measure; without a configuration a person is asked. */
  async conflicts(): Promise<ConflictPolicies> {
    const text = await this.#redis.hget(this.#keys.configured, ALL);
    return text === null ? ASK_ALWAYS : (JSON.parse(text) as { conflicts: ConflictPolicies }).conflicts;
  }

  async state(source: string, kind: PulledKind): Promise<PullState | undefined> {
    const text = await this.#redis.hget(this.#keys.states, `${source}/${kind}`);
    return text === null ? undefined : (JSON.parse(text) as PullState);
  }

  /** By the process that pulls the source. */
  async record(source: string, kind: PulledKind, state: PullState): Promise<void> {
    await this.#redis.hset(this.#keys.states, `${source}/${kind}`, JSON.stringify(state));
  }

  /**
   * Asks for pulls at once; the process that pulls the source begins within a second, or when its pull under way ends.
   * @param names left out: all configured sources
   * @returns the names that are asked for; those that are not configured are left out
   */
  async requestPull(request: PullRequested, names?: readonly string[]): Promise<string[]> {
    const configured = (await this.#redis.hkeys(this.#keys.configured)).filter((name) => name !== ALL);
    const asked = configured.filter((name) => names?.includes(name) ?? true);
    if (asked.length > 0) {
      const text = JSON.stringify(request);
      await this.#redis.hset(this.#keys.requests, Object.fromEntries(asked.map((name) => [name, text])));
    }
    return asked;
  }

  /** The newest request for a source. */
  async requested(source: string): Promise<PullRequested | undefined> {
    const text = await this.#redis.hget(this.#keys.requests, source);
    return text === null ? undefined : (JSON.parse(text) as PullRequested);
  }
}

function statesOf(name: string, pulls: Readonly<Record<string, string>>): SourceReport["states"] {
  const states: Partial<Record<PulledKind, PullState>> = {};
  for (const kind of ["snapshot", "movements"] as const) {
    const text = pulls[`${name}/${kind}`];
    if (text !== undefined) states[kind] = JSON.parse(text) as PullState;
  }
  return states;
}
