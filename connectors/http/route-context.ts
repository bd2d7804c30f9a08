/**
 * What the route groups share: the engine's parts, authentication, limits, and small checks of requests. A route group
 * is a function of the server and this context; each has its own file.
 */
import type { FastifyInstance, FastifyRequest, onRequestHookHandler, preValidationHookHandler } from "fastify";
import { chainIdFault } from "../../engine/kernel/chain-id.js";
import type { FreshnessBudget } from "../../engine/publication/freshness.js";
import type { CallbackLimits } from "../connector.js";
import type { Access } from "./access.js";
import type { ConcurrencyLimit } from "./admission.js";
import type { HttpDeps } from "./deps.js";
import { MAX_FAULTS, pathText } from "./faults.js";
import type { Role } from "./identity.js";
import { badInputFault, HttpFault } from "./problem.js";

export interface RouteContext {
  readonly deps: HttpDeps;
  readonly access: Access;
  readonly defaultLocation: string;
  /** How long caches may keep what the storefront is shown. */
  readonly freshness: FreshnessBudget;
  /**
   * For a route's `onRequest`: accepts only clients with this role and sets the request's identity. Accepts every
   * client in an open demo.
   */
  readonly authorize: (role: Role) => onRequestHookHandler;
  /** The same for a person's session, and for other clients with this role, if any. */
  readonly authorizePerson: (role?: Role) => onRequestHookHandler;
  /** For all requests, for bulk requests among them, and for requests that create a session, counted apart. */
  readonly limits: Readonly<Record<"requests" | "bulk" | "sessions", ConcurrencyLimit>>;
  /** Of routes that other systems call without a token. */
  readonly callbacks: CallbackLimits;
}

export type RouteGroup = (server: FastifyInstance, context: RouteContext) => void;

/** In a route's schema: a token or a session cookie is needed. */
export const TOKEN_NEEDED: Record<string, string[]>[] = [{ bearer: [] }, { session: [] }];

/** In a route's schema: the route is public. */
export const NO_TOKEN_NEEDED: typeof TOKEN_NEEDED = [];

/** ids, SKUs and small texts: 100 lines × (64 characters × 12 bytes escaped + 32 + 100 for the rest) is 90 KB. */
export const BODY_LIMIT = 128 * 1024;

/** The query as sent. Throws when its percent escapes are broken; the parser would keep them as text. */
function assertQuery(request: FastifyRequest): Record<string, unknown> {
  const { url } = request.raw;
  const at = url?.indexOf("?") ?? -1;
  if (at >= 0) {
    try {
      decodeURIComponent(url?.slice(at) ?? "");
    } catch {
      throw new HttpFault("bad_request", "the query has a broken percent escape");
    }
  }
  return request.query as Record<string, unknown>;
}

/**
 * Turns a query field that looks like a whole number into one, because query values are texts. The schema refuses
 * everything else.
 */
function readInteger(query: Record<string, unknown>, name: string): void {
  const given = query[name];
  if (typeof given === "string" && /^-?\d{1,15}$/.test(given)) query[name] = Number(given);
}

/** For a route's `preValidation`: checks the query's form, and reads these parameters as integers. */
export const queryWith =
  (...integers: string[]): preValidationHookHandler =>
  (request, _reply, done) => {
    const query = assertQuery(request);
    for (const name of integers) readInteger(query, name);
    done();
  };

/** For a route's `preValidation`: checks the query's form, and reads a parameter that came once as a list, too. */
export const queryWithList =
  (name: string): preValidationHookHandler =>
  (request, _reply, done) => {
    const query = assertQuery(request);
    if (typeof query[name] === "string") query[name] = [query[name]];
    done();
  };

/** Throws when an order id's check character is wrong, which its schema cannot check. */
export function assertOrderId(id: string): void {
  const fault = chainIdFault(id);
  if (fault !== undefined) throw badInputFault([{ field: "id", message: fault }]);
}

/** Refuses a body where none is expected; an empty object passes. */
export function assertNoBody(body: unknown): void {
  if (body === undefined || body === null) return;
  if (typeof body !== "object" || Array.isArray(body))
    throw badInputFault([{ field: "", message: "must be empty or an empty object" }]);
  const names = Object.keys(body);
  if (names.length > 0)
    throw badInputFault(
      names.slice(0, MAX_FAULTS).map((name) => ({ field: pathText([name]), message: "is not a known field" })),
    );
}

export const isoOf = (ms: number): string => new Date(ms).toISOString();
