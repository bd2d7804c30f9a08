/**
 * Who is let in: whoever has a token with the role that a route needs (401 without one, 403 with too little). A demo without tokens answers
 * loopback host names only and no other site's pages, so that no web page that its user happens to visit can reach it,
 * not even by pointing a name of its own at this machine. Once the server is stopping, everything but its health is refused.
 */
import type { IncomingMessage } from "node:http";
import type { FastifyRequest, onRequestHookHandler } from "fastify";
import { EngineError } from "../../engine/kernel/errors.js";
import { DEMO_IDENTITY, type Identity, mayDo, type Role, roleFault } from "./identity.js";
import type { HttpDeps } from "./kit.js";
import { type Problem, problemOf, retryAfter, sendProblem } from "./problem.js";
import { digestOf, readTokens, type TokenTable } from "./tokens.js";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Answered while the server is stopping, too. */
    whenStopping?: boolean;
  }
}

const LOOPBACK_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i;
const BEARER = /^Bearer +([A-Za-z0-9\-._~+/]+=*) *$/i;

/** What the API's answers say to browsers and caches; routes that may be stored say so themselves. */
const API_HEADERS = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** The tokens that are set. Throws EngineError `bad_option` when they cannot protect anything. */
export function tokensOf({ tokens, open }: Pick<HttpDeps, "tokens" | "open">): TokenTable {
  if (tokens.length === 0 && !open)
    throw new EngineError("no bearer token is set: nobody could write; set SHUIWEI_TOKENS", {
      op: "http.start",
      code: "bad_option",
      retryable: false,
      place: "tokens",
    });
  return readTokens(tokens);
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

/** Makes the hooks of routes that need a role. */
export function authorization(table: TokenTable, open: boolean): (role: Role) => onRequestHookHandler {
  return (role) => (request, reply, done) => {
    const identity = open ? DEMO_IDENTITY : identify(table, request);
    if (identity === undefined) {
      const { problem, challenge } = stranger(request);
      sendProblem(reply, problem, { "www-authenticate": challenge });
      return;
    }
    if (!mayDo(identity, role)) {
      sendProblem(reply, problemOf("forbidden", roleFault(identity, role)));
      return;
    }
    request.identity = identity;
    done();
  };
}

function identify(table: TokenTable, { headers }: FastifyRequest): Identity | undefined {
  const secret = BEARER.exec(headers.authorization ?? "")?.[1];
  return secret === undefined ? undefined : table.get(digestOf(secret));
}

function stranger({ headers }: FastifyRequest): { problem: Problem; challenge: string } {
  const wrong = BEARER.test(headers.authorization ?? "");
  return {
    problem: problemOf("unauthorized", wrong ? "the token is not known" : "send Authorization: Bearer <token>"),
    challenge: wrong ? 'Bearer realm="shuiwei", error="invalid_token"' : 'Bearer realm="shuiwei"',
  };
}
