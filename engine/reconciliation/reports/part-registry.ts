/**
 * Which reports (snapshots, or batches of movements) there are, and which of their parts have come. Every fact is
 * written once and never changed: a header when the first part begins, a part when its rows are stored, an end when the
 * report is complete or refused. So two processes that receive parts of one report at the same time, and one that is
 * killed in between, leave the same facts, and whichever is second reads what the first one has written. It has no
 * rows and no rules; only a removed report can be reported anew.
 */
import type { ReportKeys } from "../../stream/keys.js";
import type { RedisClient } from "../../stream/redis.js";

/** A part whose rows are stored. */
export interface StoredPart {
  /** Names the lists that hold its rows. */
  readonly writer: string;
  /** Of its rows in their order. */
  readonly digest: string;
  readonly rows: number;
  /** How many chunks each partition has. */
  readonly chunks: readonly number[];
}

/** A report with what is known of it. */
export interface Registered<Header, End> {
  /** `<source>/<id>`. */
  readonly name: string;
  readonly header: Header;
  readonly end?: End;
}

/** Reports of one kind at most, whatever became of them; an entry is about 300 bytes. */
const MAX_REPORTS = 4_096;

export class PartRegistry<Header, End> {
  readonly #redis: RedisClient;
  readonly #keys: ReportKeys;
  readonly #partsKeptMs: number;

  /** @param partsKeptMs how long parts are kept after the last one came */
  constructor(redis: RedisClient, keys: ReportKeys, partsKeptMs: number) {
    this.#redis = redis;
    this.#keys = keys;
    this.#partsKeptMs = partsKeptMs;
  }

  async isFull(): Promise<boolean> {
    return (await this.#redis.hlen(this.#keys.headers)) >= MAX_REPORTS;
  }

  /** Registers a report unless it is known. Returns its header: this one, or the one that came first. */
  async open(name: string, header: Header): Promise<Header> {
    const { headers } = this.#keys;
    if ((await this.#redis.hsetnx(headers, name, JSON.stringify(header))) === 1) return header;
    return parsed<Header>(await this.#redis.hget(headers, name)) ?? header;
  }

  async find(name: string): Promise<Registered<Header, End> | undefined> {
    const [header, end] = await Promise.all([
      this.#redis.hget(this.#keys.headers, name),
      this.#redis.hget(this.#keys.ends, name),
    ]);
    return header === null ? undefined : registered(name, header, end);
  }

  async all(): Promise<Registered<Header, End>[]> {
    const [headers, ends] = await Promise.all([
      this.#redis.hgetall(this.#keys.headers),
      this.#redis.hgetall(this.#keys.ends),
    ]);
    return Object.entries(headers).map(([name, header]) => registered<Header, End>(name, header, ends[name] ?? null));
  }

  /** Records a part unless its number is taken. Returns the part under that number. */
  async record(name: string, number: number, part: StoredPart): Promise<StoredPart> {
    const key = this.#keys.parts(name);
    const isFirst = (await this.#redis.hsetnx(key, String(number), JSON.stringify(part))) === 1;
    await this.#redis.pexpire(key, this.#partsKeptMs);
    if (isFirst) return part;
    return parsed<StoredPart>(await this.#redis.hget(key, String(number))) ?? part;
  }

  async part(name: string, number: number): Promise<StoredPart | undefined> {
    return parsed<StoredPart>(await this.#redis.hget(this.#keys.parts(name), String(number)));
  }

  /** The parts that have come, by their number. */
  async parts(name: string): Promise<ReadonlyMap<number, StoredPart>> {
    const stored = await this.#redis.hgetall(this.#keys.parts(name));
    return new Map(Object.entries(stored).map(([number, text]) => [Number(number), JSON.parse(text) as StoredPart]));
  }

  /** Ends a report unless it has ended. Returns how it ended. */
  async end(name: string, end: End): Promise<End> {
    const { ends } = this.#keys;
    if ((await this.#redis.hsetnx(ends, name, JSON.stringify(end))) === 1) return end;
    return parsed<End>(await this.#redis.hget(ends, name)) ?? end;
  }

  /** Those of the names whose completion was not made known yet. */
  async unannounced(names: readonly string[]): Promise<string[]> {
    if (names.length === 0) return [];
    const known = await this.#redis.hmget(this.#keys.announced, ...names);
    return names.filter((_, i) => known[i] === null);
  }

  async setAnnounced(name: string): Promise<void> {
    await this.#redis.hset(this.#keys.announced, name, "1");
  }

  /** True for the first caller of all processes; the claim ends by itself. */
  async claim(name: string, keptMs: number): Promise<boolean> {
    return (await this.#redis.set(this.#keys.claim(name), "1", "PX", keptMs, "NX")) === "OK";
  }

  /** Removes what is known of a report, all at once. Its rows are removed by others. */
  async remove(name: string): Promise<void> {
    const { headers, ends, announced, parts } = this.#keys;
    // One slot has all of them. Half of it would be a report that is received again.
    await this.#redis.multi().hdel(headers, name).hdel(ends, name).hdel(announced, name).del(parts(name)).exec();
  }
}

const parsed = <Value>(text: string | null): Value | undefined =>
  text === null ? undefined : (JSON.parse(text) as Value);

const registered = <Header, End>(name: string, header: string, end: string | null): Registered<Header, End> => ({
  name,
  header: JSON.parse(header) as Header,
  ...(end === null ? {} : { end: JSON.parse(end) as End }),
});
