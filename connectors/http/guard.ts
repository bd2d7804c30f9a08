/**
 * The first checks of every request, before authentication. The Host header must name this server, so that no web page
 * that a user visits can reach it by DNS rebinding. A demo without tokens answers loopback host names only, and no
 * pages of other sites. Once the server is stopping, everything but its health is refused.
 */
import type { IncomingMessage } from "node:http";
import type { onRequestHookHandler } from "fastify";
import { EngineError } from "../../engine/kernel/errors.js";
import { originOf } from "./client.js";
import { hasTruncatedHeaders } from "./connections.js";
import type { HttpDeps } from "./deps.js";
import type { TokenLookup } from "./identity.js";
import { problemOf, retryAfter, sendProblem } from "./problem.js";
import { isGzip } from "./streamed-body.js";
import { readTokens } from "./tokens.js";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Also answered while the server is stopping. */
    whenStopping?: boolean;
    /** Answered under any host name: its content is public, for example for a CDN. */
    anyHost?: boolean;
  }
}

const LOOPBACK_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i;

/** Headers of every answer for browsers. */
export const SECURITY_HEADERS = {
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** Those and, for caches, that they keep nothing; routes whose answers may be cached replace it. */
const API_HEADERS = { "cache-control": "no-store", ...SECURITY_HEADERS };

/** The configured tokens. Throws EngineError `bad_option` when there are none. */
export function tokensOf({ tokens, tokenFile, open }: Pick<HttpDeps, "tokens" | "tokenFile" | "open">): TokenLookup {
  if (tokens.length === 0 && !tokenFile && !open)
    throw new EngineError("no bearer token is set, so nobody could write: set SHUIWEI_TOKENS or --tokens-file", {
      op: "http.start",
      code: "bad_option",
      retryable: false,
      input: "tokens",
    });
  const table = readTokens(tokens);
  return tokenFile ? { get: (digest) => table.get(digest) ?? tokenFile.get(digest) } : table;
}

type HostOrOriginFault = "misdirected_request" | "forbidden_origin";

/** Why a request is not for this server, or undefined. Also for upgrades, for which no hook runs. */
export function hostOrOriginFault(
  request: IncomingMessage,
  { open, isAllowedHost }: Pick<HttpDeps, "open" | "isAllowedHost">,
): HostOrOriginFault | undefined {
  const { host } = request.headers;
  if (!open) return isAllowedHost?.(host) === false ? "misdirected_request" : undefined;
  if (host === undefined || !LOOPBACK_HOST.test(host)) return "misdirected_request";
  return originOf(request) === "other" ? "forbidden_origin" : undefined;
}

const faultDetail = (fault: HostOrOriginFault, open: boolean): string => {
  if (!open) return "this server does not accept this host name; its operator can add it to --allowed-hosts";
  return fault === "forbidden_origin"
    ? "a demo answers requests of its own pages only"
    : "a demo accepts the host names localhost, 127.0.0.1 and [::1] only";
};

/** The first hook of every request. */
export function entryGuard(deps: Pick<HttpDeps, "open" | "isAllowedHost" | "stopping">): onRequestHookHandler {
  return (request, reply, done) => {
    reply.headers(API_HEADERS);
    if (hasTruncatedHeaders(request.raw)) {
      sendProblem(reply, problemOf("headers_too_large", "the request has 1,000 headers or more"), {
        connection: "close",
      });
      return;
    }
    const fault = request.routeOptions.config.anyHost && !deps.open ? undefined : hostOrOriginFault(request.raw, deps);
    if (fault) {
      sendProblem(reply, problemOf(fault, faultDetail(fault, deps.open)));
      return;
    }
    if (deps.stopping() && request.routeOptions.config.whenStopping !== true) {
      sendProblem(reply, problemOf("stopping", "send the request again, to another server or later"), {
        ...retryAfter(1),
        connection: "close",
      });
      return;
    }
    const encoding = request.headers["content-encoding"];
    const isStreamed = request.routeOptions.config.streamed === true;
    if (encoding !== undefined && encoding.toLowerCase() !== "identity" && !(isStreamed && isGzip(request))) {
      const detail = isStreamed ? "send the body plain or with gzip" : "send the body without compression";
      sendProblem(reply, problemOf("unsupported_encoding", detail), {
        "accept-encoding": isStreamed ? "gzip, identity" : "identity",
      });
      return;
    }
    done();
  };
}
