/**
 * Who is let in. Tokens are compared by their hashes in constant time, so an answer's delay says nothing about them. A demo without
 * tokens answers loopback host names only and no other site's pages, so that no web page that its user happens to visit can reach it,
 * not even by pointing a name of its own at this machine. Once the server is stopping, everything but its health is refused.
 */
import { hash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { onRequestHookHandler } from "fastify";
import { EngineError } from "../../engine/kernel/errors.js";
import type { HttpDeps } from "./kit.js";
import { problemOf, retryAfter, sendProblem } from "./problem.js";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Answered while the server is stopping, too. */
    whenStopping?: boolean;
  }
}

const LOOPBACK_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i;
const BEARER = /^Bearer +([A-Za-z0-9\-._~+/]+=*) *$/i;
const SHORTEST_TOKEN = 16;

const sha256 = (text: string): Buffer => hash("sha256", text, "buffer");

/** What the API's answers say to browsers and caches; routes that may be stored say so themselves. */
const API_HEADERS = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** Throws EngineError `bad_option` when the tokens cannot protect anything. */
export function assertTokens({ tokens, open }: Pick<HttpDeps, "tokens" | "open">): void {
  const fault =
    tokens.length === 0 && !open
      ? "no bearer token is set: nobody could write; set SHUIWEI_TOKENS"
      : tokens.some((token) => token.length < SHORTEST_TOKEN)
        ? `a bearer token has fewer than ${SHORTEST_TOKEN} characters`
        : tokens.some((token) => !BEARER.test(`Bearer ${token}`))
          ? "a bearer token has characters that a header cannot carry (letters, digits and -._~+/ are taken)"
          : undefined;
  if (fault) throw new EngineError(fault, { op: "http.start", code: "bad_option", retryable: false, place: "tokens" });
}

/** Why a request must not be served by an open demo, or undefined. Also for upgrades, which no hook sees. */
export function strangerFault(request: IncomingMessage): "misdirected_request" | "forbidden_origin" | undefined {
  const { host, origin } = request.headers;
  if (host === undefined || !LOOPBACK_HOST.test(host)) return "misdirected_request";
  if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) return "forbidden_origin";
  return undefined;
}

const STRANGER_DETAILS = {
  misdirected_request: "a demo answers to localhost, 127.0.0.1 and [::1] only",
  forbidden_origin: "a demo answers its own pages only",
};

/** The hook that every request passes first. */
export function entryGuard(deps: Pick<HttpDeps, "open" | "stopping">): onRequestHookHandler {
  return (request, reply, done) => {
    reply.headers(API_HEADERS);
    if (deps.open) {
      const fault = strangerFault(request.raw);
      if (fault) {
        sendProblem(reply, problemOf(fault, STRANGER_DETAILS[fault]));
        return;
      }
    }
    if (deps.stopping() && request.routeOptions.config.whenStopping !== true) {
      sendProblem(reply, problemOf("stopping", "send the request again, to another server or a little later"), {
        ...retryAfter(1),
        connection: "close",
      });
      return;
    }
    const encoding = request.headers["content-encoding"];
    if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
      sendProblem(reply, problemOf("unsupported_encoding", "send the body as it is"), {
        "accept-encoding": "identity",
      });
      return;
    }
    done();
  };
}

/** The hook of routes that need a token. */
export function tokenGuard({ tokens, open }: Pick<HttpDeps, "tokens" | "open">): onRequestHookHandler {
  if (open) return (_request, _reply, done) => done();
  const known = tokens.map(sha256);
  return (request, reply, done) => {
    const given = BEARER.exec(request.headers.authorization ?? "")?.[1];
    if (given !== undefined) {
      const digest = sha256(given);
      let matches = 0;
      for (const each of known) matches += timingSafeEqual(each, digest) ? 1 : 0;
      if (matches > 0) {
        done();
        return;
      }
    }
    const wrong = given !== undefined;
    const challenge = wrong ? 'Bearer realm="shuiwei", error="invalid_token"' : 'Bearer realm="shuiwei"';
    const detail = wrong ? "the token is not known" : "send Authorization: Bearer <token>";
    sendProblem(reply, problemOf("unauthorized", detail), { "www-authenticate": challenge });
  };
}
