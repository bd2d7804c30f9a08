/**
 * Sessions of browsers. A pairing code can be used once within some minutes. The browser that sends it gets a session,
 * whose secret is in a cookie that scripts cannot read. Redis keeps the SHA-256 of both, never the secrets, so every
 * serving process can find and end a session. An ended session is refused by every process within a few seconds.
 * Codes have 80 random bits, and failed guesses are delayed.
 */
import { type Clock, systemClock } from "../../engine/kernel/clock.js";
import { secureBytes } from "../../engine/kernel/random.js";
import { pairingKey, sessionsKey } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { type Identity, isRole, type Role } from "./identity.js";
import { digestOf } from "./tokens.js";

export interface Session extends Identity {
  /** The first characters of its secret's hash. */
  readonly id: string;
  readonly createdMs: number;
  readonly expiresMs: number;
}

/** The session that a pairing code creates. */
export interface Pairing extends Identity {
  /** The session's lifetime in ms. */
  readonly forMs: number;
}

const PAIRING_MS = 10 * 60_000;
/** Without I, L, O and U, which are easily confused when read or typed. */
const CODE_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CODE_LENGTH = 16;
const SECRET_PATTERN = /^[A-Za-z0-9_-]{43}$/;
const ID_LENGTH = 16;
/** More than a shop has screens and people; above it, some must be revoked first. */
const MAX_SESSIONS = 2_000;
/** Sessions of one name that were created with a token, so that one token cannot use up all sessions. */
const MAX_SESSIONS_PER_NAME = 50;
/** A process accepts a cached session for this long after it was ended elsewhere. */
const CACHE_MS = 5_000;
const MAX_CACHED = 2_000;

export class Sessions {
  readonly #redis: RedisClient;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #cache = new Map<string, { session: Session | undefined; atMs: number }>();

  constructor(redis: RedisClient, prefix: string, clock: Clock = systemClock) {
    this.#redis = redis;
    this.#prefix = prefix;
    this.#clock = clock;
  }

  /** Makes a pairing code such as `7G3K-9QXA-0MTC-W2EB`. */
  async createPairing(pairing: Pairing): Promise<{ code: string; expiresMs: number }> {
    const characters = [...secureBytes(CODE_LENGTH)].map((byte) => CODE_ALPHABET[byte & 31]).join("");
    const key = pairingKey(this.#prefix, digestOf(characters));
    const { name, role, person, forMs } = pairing;
    const removals = person === undefined ? undefined : await this.#removalsOf(person);
    await this.#redis.set(key, JSON.stringify({ name, role, person, forMs, removals }), "PX", PAIRING_MS);
    return { code: characters.replace(/(.{4})(?=.)/g, "$1-"), expiresMs: this.#clock.now() + PAIRING_MS };
  }

  /**
   * Uses a code. Returns its session-to-be; undefined when the code is unknown, expired or used; `full` when there are
   * too many sessions: the code stays valid then.
   */
  async redeem(code: string): Promise<Pairing | "full" | undefined> {
    const characters = code.toUpperCase().replace(/[\s-]/g, "").replace(/[IL]/g, "1").replace(/O/g, "0");
    if (characters.length !== CODE_LENGTH) return undefined;
    const key = pairingKey(this.#prefix, digestOf(characters));
    if ((await this.#redis.exists(key)) === 0) return undefined;
    if ((await this.list()).length >= MAX_SESSIONS) return "full";
    const text = await this.#redis.getdel(key);
    if (text === null) return undefined;
    const { name, role, person, forMs, removals } = JSON.parse(text) as Pairing & { removals?: string };
    // Whoever has the id by now is another person.
    if (person !== undefined && removals !== (await this.#removalsOf(person))) return undefined;
    return isRole(role) ? { name, role, forMs, ...(person === undefined ? {} : { person }) } : undefined;
  }

  /** Whether one name has as many sessions as it may create with its token. */
  async isAtLimit(name: string): Promise<boolean> {
    return (await this.list()).filter((session) => session.name === name).length >= MAX_SESSIONS_PER_NAME;
  }

  /** Creates a session. Returns its secret, which is not stored; undefined when there are MAX_SESSIONS already. */
  async create({ name, role, person, forMs }: Pairing): Promise<{ secret: string; session: Session } | undefined> {
    if ((await this.list()).length >= MAX_SESSIONS) return undefined;
    const secret = secureBytes(32).toString("base64url");
    const createdMs = this.#clock.now();
    const digest = digestOf(secret);
    const session = {
      ...{ name, role, createdMs, expiresMs: createdMs + forMs },
      ...(person === undefined ? {} : { person }),
    };
    await this.#redis.hset(sessionsKey(this.#prefix), digest, JSON.stringify(session));
    return { secret, session: { id: digest.slice(0, ID_LENGTH), ...session } };
  }

  /** The session of a secret, or undefined. Reads Redis at most once in CACHE_MS. */
  async find(secret: string): Promise<Session | undefined> {
    if (!SECRET_PATTERN.test(secret)) return undefined;
    const digest = digestOf(secret);
    const nowMs = this.#clock.now();
    let cached = this.#cache.get(digest);
    if (!cached || Math.abs(nowMs - cached.atMs) > CACHE_MS) {
      const text = await this.#redis.hget(sessionsKey(this.#prefix), digest);
      cached = { session: sessionOf(digest, text), atMs: nowMs };
      this.#cache.delete(digest);
      this.#cache.set(digest, cached);
      if (this.#cache.size > MAX_CACHED) this.#cache.delete(this.#cache.keys().next().value as string);
    }
    const { session } = cached;
    return session && session.expiresMs > nowMs ? session : undefined;
  }

  /** Sessions that have not expired, the oldest first. Removes expired ones. */
  async list(): Promise<Session[]> {
    const key = sessionsKey(this.#prefix);
    const nowMs = this.#clock.now();
    const sessions: Session[] = [];
    const expired: string[] = [];
    for (const [digest, text] of Object.entries(await this.#redis.hgetall(key))) {
      const session = sessionOf(digest, text);
      if (session && session.expiresMs > nowMs) sessions.push(session);
      else expired.push(digest);
    }
    if (expired.length > 0) await this.#redis.hdel(key, ...expired);
    return sessions.sort((a, b) => a.createdMs - b.createdMs);
  }

  /** Ends all sessions of a person, and the codes that are still open. Safe to repeat. */
  async revokeOf(person: string): Promise<void> {
    const key = removalsKey(this.#prefix, person);
    await this.#redis.incr(key);
    // Codes that were made before have expired by then.
    await this.#redis.pexpire(key, 2 * PAIRING_MS);
    for (const session of await this.list()) if (session.person === person) await this.revoke(session.id);
  }

  /** Counts how often a person's phones were removed lately. */
  async #removalsOf(person: string): Promise<string> {
    return (await this.#redis.get(removalsKey(this.#prefix, person))) ?? "0";
  }

  /** Ends a session by its id. Returns false when there is none. */
  async revoke(id: string): Promise<boolean> {
    const key = sessionsKey(this.#prefix);
    const digests = (await this.#redis.hkeys(key)).filter((digest) => digest.slice(0, ID_LENGTH) === id);
    if (digests.length === 0) return false;
    for (const digest of digests) this.#cache.delete(digest);
    return (await this.#redis.hdel(key, ...digests)) > 0;
  }
}

/** A restore leaves it out, as the codes. */
const removalsKey = (prefix: string, person: string): string => pairingKey(prefix, `removals:${person}`);

function sessionOf(digest: string, text: string | null): Session | undefined {
  if (text === null) return undefined;
  const { name, role, person, createdMs, expiresMs } = JSON.parse(text) as Omit<Session, "id">;
  if (!isRole(role)) return undefined;
  const session = { id: digest.slice(0, ID_LENGTH), name, role: role as Role, createdMs, expiresMs };
  return person === undefined ? session : { ...session, person };
}

export const COOKIE = "shuiwei_session";

/** The session's secret in a request's cookies, if any. */
export function cookieOf(header: string | undefined): string | undefined {
  for (const pair of header?.split(";") ?? []) {
    const at = pair.indexOf("=");
    if (pair.slice(0, at).trim() === COOKIE) return pair.slice(at + 1).trim();
  }
  return undefined;
}

/** A `Set-Cookie` header; seconds 0 deletes the cookie. */
export const cookieFor = (secret: string, seconds: number, secure: boolean): string =>
  `${COOKIE}=${secret}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure ? "; Secure" : ""}`;
