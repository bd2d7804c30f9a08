/**
 * Silences, in one Redis hash that all processes read and write. A silence never changes: who ends it before its time
 * writes a second field, and the first one counts. Those that ended a day ago are removed with the next change, and of
 * very many that have ended only the newest are kept. What is read is at most a second old.
 */
import { type Clock, DAY_MS } from "../kernel/clock.js";
import { secureBytes } from "../kernel/random.js";
import { alertingKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { type Fields, HashCache } from "./hash-cache.js";
import type { Silence } from "./silence.js";

/** Each alert is compared with every one of them. */
export const MAX_SILENCES = 200;
const KEPT_MS = DAY_MS;
/** Of those that have ended: somebody may add and end them again and again, and each decision reads all. */
export const MAX_ENDED = 500;
const END = "/end";

type NewSilence = Omit<Silence, "id" | "createdMs" | "endedBy">;

export class SilenceStore {
  readonly #redis: RedisClient;
  readonly #key: string;
  readonly #hash: HashCache<readonly Silence[]>;
  readonly #clock: Clock;

  /** @param clock the shop's, by which silences end */
  constructor(redis: RedisClient, prefix: string, clock: Clock) {
    this.#redis = redis;
    this.#key = alertingKeys(prefix).silences;
    this.#hash = new HashCache(redis, this.#key, silencesOf);
    this.#clock = clock;
  }

  /**
   * Adds a silence; one that is the same and has not ended is returned instead, so that a request may be repeated.
   * @returns the silence with its id; `too_many` when MAX_SILENCES have not ended
   */
  add(silence: NewSilence): Promise<Silence | "too_many"> {
    return this.#hash.inTurn(() => this.#add(silence));
  }

  async #add(silence: NewSilence): Promise<Silence | "too_many"> {
    const nowMs = this.#clock.now();
    const kept = await this.#hash.readNow();
    const same = kept.find((each) => each.untilMs > nowMs && isSame(each, silence));
    if (same) return same;
    if (kept.filter(({ untilMs }) => untilMs > nowMs).length >= MAX_SILENCES) return "too_many";
    // The newest first.
    const ended = kept.filter(({ untilMs }) => untilMs <= nowMs);
    const removed = ended.filter(({ untilMs }, index) => index >= MAX_ENDED || untilMs <= nowMs - KEPT_MS);
    const added: Silence = { ...silence, id: secureBytes(12).toString("base64url"), createdMs: nowMs };
    await this.#hash.write(
      { [added.id]: JSON.stringify(added) },
      removed.flatMap(({ id }) => [id, `${id}${END}`]),
    );
    return added;
  }

  /** Ends a silence now. Of several calls the first one counts. @returns the silence; undefined: there is none */
  async end(id: string, actor: string): Promise<Silence | undefined> {
    const find = async () => (await this.#hash.readNow()).find((each) => each.id === id);
    const known = await find();
    const nowMs = this.#clock.now();
    if (!known || known.untilMs <= nowMs) return known;
    await this.#redis.hsetnx(this.#key, `${id}${END}`, JSON.stringify({ atMs: nowMs, actor }));
    return find();
  }

  /** Those that have not ended, as they are now: who decides by them must not use those of a second ago. */
  async active(): Promise<readonly Silence[]> {
    const nowMs = this.#clock.now();
    return (await this.#hash.readNow()).filter(({ untilMs }) => untilMs > nowMs);
  }

  /** Those that have not ended and those of the last day, the newest first, as they were within the last second. */
  async list(): Promise<readonly Silence[]> {
    const sinceMs = this.#clock.now() - KEPT_MS;
    return (await this.#hash.read()).filter(({ untilMs }) => untilMs > sinceMs);
  }
}

const isSame = (one: Omit<Silence, "id" | "createdMs">, other: Omit<Silence, "id" | "createdMs">): boolean =>
  (["rule", "sku", "category", "location", "untilMs", "reason", "actor"] as const).every(
    (name) => one[name] === other[name],
  );

function silencesOf(fields: Fields): Silence[] {
  return Object.entries(fields)
    .filter(([field]) => !field.endsWith(END))
    .map(([id, text]) => {
      const silence = JSON.parse(text) as Silence;
      const end = fields[`${id}${END}`];
      if (end === undefined) return silence;
      const { atMs, actor } = JSON.parse(end) as { atMs: number; actor: string };
      return { ...silence, untilMs: Math.min(silence.untilMs, atMs), endedBy: actor };
    })
    .sort((one, other) => other.createdMs - one.createdMs || (one.id < other.id ? -1 : 1));
}
