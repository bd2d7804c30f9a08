/**
 * Who a request comes from: a bearer token, or the cookie of a session. The one place that answers this, for routes,
 * pages and WebSocket upgrades alike, so that no way in is without its checks: a wrong token is counted, told and
 * made to wait; a right one is found without waiting and without asking Redis. A cookie goes along with whatever a
 * browser sends, so what it may cause (writes, sockets) must come from a page of this server.
 */
import type { IncomingMessage } from "node:http";
import type { FastifyReply, FastifyRequest, onRequestHookHandler } from "fastify";
import { sleep } from "../../engine/kernel/clock.js";
import { addressOf, originOf } from "./client.js";
import type { HttpDeps } from "./deps.js";
import { FailedLogins, LoginReport } from "./failed-logins.js";
import { DEMO_IDENTITY, type Identity, mayDo, type Role, roleFault, type TokenLookup } from "./identity.js";
import { type ProblemCode, problemOf, retryAfter, sendProblem } from "./problem.js";
import { cookieOf } from "./sessions.js";
import { fromStore } from "./store-errors.js";
import { digestOf } from "./tokens.js";

const BEARER = /^Bearer +([A-Za-z0-9\-._~+/]+=*) *$/i;
const SAFE_METHODS: ReadonlySet<string | undefined> = new Set(["GET", "HEAD"]);
/** How soon whoever was refused at once may try again. */
const RETRY_SECONDS = 5;
const CHALLENGE = 'Bearer realm="shuiwei"';

export interface Refusal {
  code: Extract<ProblemCode, "unauthorized" | "forbidden" | "forbidden_origin" | "overloaded">;
  detail: string;
  headers: Record<string, string>;
}

/** Somebody who is let in; `quotaKey` is what several screens of one client have in common. */
export interface Authenticated {
  identity: Identity;
  /** Known by the cookie of a session, not by a token. */
  isSession: boolean;
  quotaKey: string;
}

type Parts = Pick<HttpDeps, "open" | "openParts" | "sessions" | "trustProxy" | "onTrouble">;

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
      report.note(address, what);
    });
  }

  /** Whether everybody may see this. */
  isOpen(part: "screens" | "metrics"): boolean {
    return this.#parts.open || this.#parts.openParts?.includes(part) === true;
  }

  /** The hook of routes that need a role. */
  authorize(role: Role): onRequestHookHandler {
    return (request, reply, done) => {
      const known = this.#atOnce(request.raw);
      if (known) this.#pass(known, role, request, reply, done);
      else
        this.#slowly(request.raw, !SAFE_METHODS.has(request.method)).then((verdict) => {
          if ("code" in verdict) refuse(reply, verdict);
          else this.#pass(verdict.identity, role, request, reply, done);
        }, done);
    };
  }

  /** Who asks, or why that may not be: for what is no route. */
  async authenticate(raw: IncomingMessage, { needsOrigin = false } = {}): Promise<Authenticated | Refusal> {
    const known = this.#atOnce(raw);
    return known
      ? { identity: known, isSession: false, quotaKey: this.quotaKeyOf(raw) }
      : this.#slowly(raw, needsOrigin);
  }

  /** Whether a request brings anything to be known by. */
  hasCredentials({ headers }: IncomingMessage): boolean {
    return headers.authorization !== undefined || cookieOf(headers.cookie) !== undefined;
  }

  /** Whether a request that was let in is known by the cookie of a session, not by a token. */
  isSession(raw: IncomingMessage): boolean {
    return this.#atOnce(raw) === undefined;
  }

  /** Of a client without a session: its address. */
  quotaKeyOf(raw: IncomingMessage): string {
    return `address ${addressOf(raw, this.#parts.trustProxy === true)}`;
  }

  /** Notes a failed login, lets its answer wait, and says how it is refused. */
  async rejectLogin(raw: IncomingMessage, what: "token" | "pairing code"): Promise<Refusal> {
    const address = addressOf(raw, this.#parts.trustProxy === true);
    const waitMs = this.#failed.failed(address, what);
    if (waitMs === undefined)
      return {
        code: "overloaded",
        detail: "too many logins from there have failed; try again later",
        headers: retryAfter(RETRY_SECONDS),
      };
    try {
      await sleep(waitMs);
    } finally {
      this.#failed.waited(address);
    }
    return {
      code: "unauthorized",
      detail: `the ${what} is not known`,
      headers: { "www-authenticate": `${CHALLENGE}, error="invalid_token"` },
    };
  }

  /** Without waiting for anything; undefined when that does not tell. */
  #atOnce({ headers }: IncomingMessage): Identity | undefined {
    if (this.#parts.open) return DEMO_IDENTITY;
    if (headers.authorization === undefined) return undefined;
    const secret = BEARER.exec(headers.authorization)?.[1];
    return secret === undefined ? undefined : this.#tokens.get(digestOf(secret));
  }

  async #slowly(raw: IncomingMessage, needsOrigin: boolean): Promise<Authenticated | Refusal> {
    const { authorization, cookie } = raw.headers;
    if (authorization !== undefined && BEARER.test(authorization)) return this.rejectLogin(raw, "token");
    const secret = authorization === undefined ? cookieOf(cookie) : undefined;
    const { sessions } = this.#parts;
    if (secret === undefined || !sessions) return unnamed("send Authorization: Bearer <token>");
    const session = await fromStore("sessions.find", sessions.find(secret));
    if (!session) return unnamed("the session is over: pair again");
    if (needsOrigin && originOf(raw) !== "own")
      return {
        code: "forbidden_origin",
        detail: "with a session only this server's own pages may do that",
        headers: {},
      };
    return { identity: session, isSession: true, quotaKey: `session ${session.id}` };
  }

  #pass(identity: Identity, role: Role, request: FastifyRequest, reply: FastifyReply, done: () => void): void {
    if (!mayDo(identity, role)) {
      refuse(reply, { code: "forbidden", detail: roleFault(identity, role), headers: {} });
      return;
    }
    request.identity = identity;
    done();
  }
}

const unnamed = (detail: string): Refusal => ({
  code: "unauthorized",
  detail,
  headers: { "www-authenticate": CHALLENGE },
});

/** Answers a refusal as a problem. */
export const refuse = (reply: FastifyReply, { code, detail, headers }: Refusal): FastifyReply =>
  sendProblem(reply, problemOf(code, detail), headers);
