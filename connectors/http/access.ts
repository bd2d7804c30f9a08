/**
 * Authentication: by a bearer token or by the cookie of a session. Routes, pages and WebSocket upgrades all use it, so
 * that no entry lacks its checks. A wrong token is counted, reported and delayed; a right one is found without delay
 * and without a call to Redis. A browser sends a cookie with every request, so writes and sockets with a cookie must
 * come from a page of this server.
 */
import type { IncomingMessage } from "node:http";
import type { FastifyReply, FastifyRequest, onRequestHookHandler } from "fastify";
import { sleep } from "../../engine/kernel/clock.js";
import { addressOf, originOf } from "./client.js";
import type { HttpDeps } from "./deps.js";
import { FailedLogins, LoginReport } from "./failed-logins.js";
import {
  DEMO_IDENTITY,
  type Identity,
  mayDo,
  personFault,
  type Role,
  roleFault,
  type TokenLookup,
} from "./identity.js";
import { type ProblemCode, problemOf, retryAfter, sendProblem } from "./problem.js";
import { cookieOf, type Session, type Sessions } from "./sessions.js";
import { fromStore } from "./store-errors.js";
import { digestOf } from "./tokens.js";

const BEARER = /^Bearer +([A-Za-z0-9\-._~+/]+=*) *$/i;
const SAFE_METHODS: ReadonlySet<string | undefined> = new Set(["GET", "HEAD"]);
/** Retry-After of a login that was refused without delay. */
const RETRY_SECONDS = 5;
const CHALLENGE = 'Bearer realm="shuiwei"';

export interface Refusal {
  code: Extract<ProblemCode, "unauthorized" | "forbidden" | "forbidden_origin" | "overloaded">;
  detail: string;
  headers: Record<string, string>;
}

/** An authenticated client; `quotaKey` is the same for several screens of one client. */
export interface Authenticated {
  identity: Identity;
  /** By the cookie of a session, not by a token. */
  isSession: boolean;
  quotaKey: string;
}

type Parts = Pick<HttpDeps, "open" | "openParts" | "sessions" | "alerting" | "trustProxy" | "onTrouble">;
/** Why an identity may not use a route; undefined: it may. */
type Check = (identity: Identity) => string | undefined;

export class Access {
  readonly #parts: Parts;
  readonly #tokens: TokenLookup;
  readonly #failed: FailedLogins;

  /** @param count counts failed logins */
  constructor(parts: Parts, tokens: TokenLookup, count: (what: string) => void) {
    this.#parts = parts;
    this.#tokens = tokens;
    const report = new LoginReport(parts.onTrouble);
    this.#failed = new FailedLogins((address, what) => {
      count(what);
      report.add(address, what);
    });
  }

  /** Whether this is public. */
  isOpen(part: "screens" | "metrics"): boolean {
    return this.#parts.open || this.#parts.openParts?.includes(part) === true;
  }

  /** The hook of routes that need a role. */
  authorize(role: Role): onRequestHookHandler {
    return this.#authorize((identity) => (mayDo(identity, role) ? undefined : roleFault(identity, role)));
  }

  /** The hook of routes for a person's session, and for others with this role, if any. */
  authorizePerson(role?: Role): onRequestHookHandler {
    return this.#authorize((identity) => {
      if (identity.person !== undefined || (role !== undefined && mayDo(identity, role))) return undefined;
      return personFault(identity, role);
    });
  }

  /** The client, or why it is refused: for requests that are not routes. */
  async authenticate(raw: IncomingMessage, { needsOrigin = false } = {}): Promise<Authenticated | Refusal> {
    const known = this.#tokenIdentity(raw);
    return known
      ? { identity: known, isSession: false, quotaKey: this.quotaKeyOf(raw) }
      : this.#sessionOrRefusal(raw, needsOrigin);
  }

  /** Whether a request has a token or a session cookie, right or wrong. */
  hasCredentials({ headers }: IncomingMessage): boolean {
    return headers.authorization !== undefined || cookieOf(headers.cookie) !== undefined;
  }

  /** Whether an authenticated request has a session, not a token. */
  isSession(raw: IncomingMessage): boolean {
    return !this.#parts.open && this.#tokenIdentity(raw) === undefined;
  }

  /** The quota key of a client without a session: its address. */
  quotaKeyOf(raw: IncomingMessage): string {
    return `address ${addressOf(raw, this.#parts.trustProxy === true)}`;
  }

  /** Records a failed login, delays its answer, and returns the refusal. */
  async rejectLogin(raw: IncomingMessage, what: "token" | "pairing code"): Promise<Refusal> {
    const address = addressOf(raw, this.#parts.trustProxy === true);
    const waitMs = this.#failed.record(address, what);
    if (waitMs === undefined)
      return {
        code: "overloaded",
        detail: "too many logins from this address have failed; try again later",
        headers: retryAfter(RETRY_SECONDS),
      };
    try {
      await sleep(waitMs);
    } finally {
      this.#failed.endDelay(address);
    }
    return {
      code: "unauthorized",
      detail: `the ${what} is not known`,
      headers: { "www-authenticate": `${CHALLENGE}, error="invalid_token"` },
    };
  }

  #authorize(check: Check): onRequestHookHandler {
    return (request, reply, done) => {
      const known = this.#tokenIdentity(request.raw);
      if (known) accept(known, check, request, reply, done);
      else
        this.#sessionOrRefusal(request.raw, !SAFE_METHODS.has(request.method)).then((result) => {
          if ("code" in result) refuse(reply, result);
          else accept(result.identity, check, request, reply, done);
        }, done);
    };
  }

  /** The identity of a right token, found without waiting; undefined without one. */
  #tokenIdentity({ headers }: IncomingMessage): Identity | undefined {
    // In a demo a browser that was paired is the person's all the same.
    if (this.#parts.open) return cookieOf(headers.cookie) === undefined ? DEMO_IDENTITY : undefined;
    if (headers.authorization === undefined) return undefined;
    const secret = BEARER.exec(headers.authorization)?.[1];
    return secret === undefined ? undefined : this.#tokens.get(digestOf(secret));
  }

  async #sessionOrRefusal(raw: IncomingMessage, needsOrigin: boolean): Promise<Authenticated | Refusal> {
    if (this.#parts.open) return this.#demoClient(raw);
    const { authorization, cookie } = raw.headers;
    if (authorization !== undefined && BEARER.test(authorization)) return this.rejectLogin(raw, "token");
    const secret = authorization === undefined ? cookieOf(cookie) : undefined;
    const { sessions } = this.#parts;
    if (secret === undefined || !sessions) return unauthorized("send Authorization: Bearer <token>");
    const session = await this.#sessionOf(sessions, secret);
    if (!session) return unauthorized("the session has ended: pair again");
    if (needsOrigin && originOf(raw) !== "own")
      return {
        code: "forbidden_origin",
        detail: "with a session, only pages of this server may do this",
        headers: {},
      };
    return { identity: session, isSession: true, quotaKey: `session ${session.id}` };
  }

  /** Everybody may do everything there; who was paired with a person's link is that person. */
  async #demoClient(raw: IncomingMessage): Promise<Authenticated> {
    const { sessions } = this.#parts;
    const secret = cookieOf(raw.headers.cookie);
    const session = secret === undefined ? undefined : sessions && (await this.#sessionOf(sessions, secret));
    const identity = session?.person === undefined ? DEMO_IDENTITY : { ...session, role: DEMO_IDENTITY.role };
    return { identity, isSession: false, quotaKey: this.quotaKeyOf(raw) };
  }

  /** A session that has not ended. That of a person ends with the person, although a process may still hold it. */
  async #sessionOf(sessions: Sessions, secret: string): Promise<Session | undefined> {
    const session = await fromStore("sessions.find", sessions.find(secret));
    if (session?.person === undefined) return session;
    const person = await fromStore("people.get", this.#parts.alerting.people.get(session.person));
    return person && session;
  }
}

function accept(
  identity: Identity,
  check: Check,
  request: FastifyRequest,
  reply: FastifyReply,
  done: () => void,
): void {
  const fault = check(identity);
  if (fault !== undefined) {
    refuse(reply, { code: "forbidden", detail: fault, headers: {} });
    return;
  }
  request.identity = identity;
  done();
}

const unauthorized = (detail: string): Refusal => ({
  code: "unauthorized",
  detail,
  headers: { "www-authenticate": CHALLENGE },
});

/** Answers a refusal as a problem. */
export const refuse = (reply: FastifyReply, { code, detail, headers }: Refusal): FastifyReply =>
  sendProblem(reply, problemOf(code, detail), headers);
