/**
 * Sessions of browsers: the wall, a phone, the desk. A pairing code is given out once and can be used once within
 * some minutes; whoever brings it gets a session, whose secret lives in a cookie that no script can read. Redis keeps
 * the SHA-256 of both, never the secrets, so every process that serves knows a session and can end it. A session that
 * was ended is refused everywhere within a few seconds. Codes have 80 random bits and are slowed when guessed.
 */
import { type Clock, systemClock } from "../../engine/kernel/clock.js";
import { secureBytes } from "../../engine/kernel/random.js";
import { pairingKey, sessionsKey } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { type Identity, isRole, type Role } from "./identity.js";
import { digestOf } from "./tokens.js";

export interface Session extends Identity {
  /** The beginning of its secret's hash: enough to name it. */
  readonly id: string;
  readonly createdMs: number;
  readonly expiresMs: number;
}

/** What a code will be a session of. */
export interface Pairing extends Identity {
  /** How long the session will last, in ms. */
  readonly forMs: number;
}

export const PAIRING_MS = 10 * 60_000;
/** No I, L, O and U: read aloud and typed, they are mistaken. */
const CODE_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CODE_LENGTH = 16;
const SECRET_PATTERN = /^[A-Za-z0-9_-]{43}$/;
const ID_LENGTH = 16;
/** More than a shop has screens and people; whoever pairs more has lost track, and revokes some first. */
const MAX_SESSIONS = 2_000;
/** Of one name that were created with a token: whoever begins more has lost track, or wants to take every place. */
const MAX_OF_A_NAME = 50;
/** A session that was ended is known for so long yet to a process that has just seen it. */
const KNOWN_MS = 5_000;
const KNOWN_KEPT = 2_000;

export class Sessions {
  readonly #redis: RedisClient;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #known = new Map<string, { session: Session | undefined; atMs: number }>();

  constructor(redis: RedisClient, prefix: string, clock: Clock = systemClock) {
    this.#redis = redis;
    this.#prefix = prefix;
    this.#clock = clock;
  }

  /** Makes a code such as `7G3K-9QXA-0MTC-W2EB`. */
  async createPairing(pairing: Pairing): Promise<{ code: string; expiresMs: number }> {
    const characters = [...secureBytes(CODE_LENGTH)].map((byte) => CODE_ALPHABET[byte & 31]).join("");
    const key = pairingKey(this.#prefix, digestOf(characters));
    const { name, role, forMs } = pairing;
    await this.#redis.set(key, JSON.stringify({ name, role, forMs }), "PX", PAIRING_MS);
    return { code: characters.replace(/(.{4})(?=.)/g, "$1-"), expiresMs: this.#clock.now() + PAIRING_MS };
  }

  /**
   * Uses a code up. Returns what it stands for; undefined when it is not known, over, or used; `full` when no session
   * can begin now: the code stays good then.
   */
  async redeem(code: string): Promise<Pairing | "full" | undefined> {
    const characters = code.toUpperCase().replace(/[\s-]/g, "").replace(/[IL]/g, "1").replace(/O/g, "0");
    if (characters.length !== CODE_LENGTH) return undefined;
    const key = pairingKey(this.#prefix, digestOf(characters));
    if ((await this.#redis.exists(key)) === 0) return undefined;
    if ((await this.list()).length >= MAX_SESSIONS) return "full";
    const text = await this.#redis.getdel(key);
    if (text === null) return undefined;
    const { name, role, forMs } = JSON.parse(text) as Pairing;
    return isRole(role) ? { name, role, forMs } : undefined;
  }

  /** Whether one name has as many sessions as it may begin with its token. */
  async isAtLimit(name: string): Promise<boolean> {
    return (await this.list()).filter((session) => session.name === name).length >= MAX_OF_A_NAME;
  }

  /**
   * Begins a session. Returns its secret, which is kept nowhere here; undefined when there are MAX_SESSIONS already.
   */
  async create({ name, role, forMs }: Pairing): Promise<{ secret: string; session: Session } | undefined> {
    if ((await this.list()).length >= MAX_SESSIONS) return undefined;
    const secret = secureBytes(32).toString("base64url");
    const createdMs = this.#clock.now();
    const digest = digestOf(secret);
    const session = { name, role, createdMs, expiresMs: createdMs + forMs };
    await this.#redis.hset(sessionsKey(this.#prefix), digest, JSON.stringify(session));
    return { secret, session: { id: digest.slice(0, ID_LENGTH), ...session } };
  }

  /** The session of a secret, or undefined. Asks Redis at most once in KNOWN_MS. */
  async find(secret: string): Promise<Session | undefined> {
    if (!SECRET_PATTERN.test(secret)) return undefined;
    const digest = digestOf(secret);
    const nowMs = this.#clock.now();
    let known = this.#known.get(digest);
    if (!known || Math.abs(nowMs - known.atMs) > KNOWN_MS) {
      const text = await this.#redis.hget(sessionsKey(this.#prefix), digest);
      known = { session: sessionOf(digest, text), atMs: nowMs };
      this.#known.delete(digest);
      this.#known.set(digest, known);
      if (this.#known.size > KNOWN_KEPT) this.#known.delete(this.#known.keys().next().value as string);
    }
    const { session } = known;
    return session && session.expiresMs > nowMs ? session : undefined;
  }

  /** Sessions that are not over, the oldest first; those that are over are removed. */
  async list(): Promise<Session[]> {
    const key = sessionsKey(this.#prefix);
    const nowMs = this.#clock.now();
    const sessions: Session[] = [];
    const over: string[] = [];
    for (const [digest, text] of Object.entries(await this.#redis.hgetall(key))) {
      const session = sessionOf(digest, text);
      if (session && session.expiresMs > nowMs) sessions.push(session);
      else over.push(digest);
    }
    if (over.length > 0) await this.#redis.hdel(key, ...over);
    return sessions.sort((a, b) => a.createdMs - b.createdMs);
  }

  /** Ends a session by its id. Returns false when there is none. */
  async revoke(id: string): Promise<boolean> {
    const key = sessionsKey(this.#prefix);
    const digests = (await this.#redis.hkeys(key)).filter((digest) => digest.slice(0, ID_LENGTH) === id);
    if (digests.length === 0) return false;
    for (const digest of digests) this.#known.delete(digest);
    return (await this.#redis.hdel(key, ...digests)) > 0;
  }
}

function sessionOf(digest: string, text: string | null): Session | undefined {
  if (text === null) return undefined;
  const { name, role, createdMs, expiresMs } = JSON.parse(text) as Omit<Session, "id">;
  return isRole(role) ? { id: digest.slice(0, ID_LENGTH), name, role: role as Role, createdMs, expiresMs } : undefined;
}

export const COOKIE = "shuiwei_session";

/** The session's secret that a request's cookies carry, if any. */
export function cookieOf(header: string | undefined): string | undefined {
  for (const pair of header?.split(";") ?? []) {
    const at = pair.indexOf("=");
    if (pair.slice(0, at).trim() === COOKIE) return pair.slice(at + 1).trim();
  }
  return undefined;
}

/** A `Set-Cookie` header; seconds 0 takes the cookie back. */
export const cookieFor = (secret: string, seconds: number, secure: boolean): string =>
  `${COOKIE}=${secret}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure ? "; Secure" : ""}`;
