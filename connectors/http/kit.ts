/**
 * What the route groups share: the engine's parts that they stand on, and small things that all of them need. A route group is a function
 * of the server and this kit, one a file.
 */
import type { FastifyInstance, FastifyRequest, onRequestHookHandler } from "fastify";
import type { DepletionBoard } from "../../engine/jobs/depletion/view.js";
import type { ExceptionList } from "../../engine/jobs/order-flow/exceptions.js";
import type { OrderTracker } from "../../engine/jobs/order-flow/track.js";
import type { StorefrontLevels } from "../../engine/jobs/storefront/view.js";
import { chainIdFault } from "../../engine/kernel/chain-id.js";
import type { Clock } from "../../engine/kernel/clock.js";
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import type { OnTrouble } from "../../engine/kernel/logger.js";
import type { EraseOutcome } from "../../engine/orders/order-book.js";
import type { OrderDesk } from "../../engine/orders/order-desk.js";
import type { Categories } from "../../engine/stock/categories.js";
import type { Ledger } from "../../engine/stock/ledger.js";
import type { Access, TokenLookup } from "./access.js";
import type { Places } from "./admission.js";
import { MAX_FAULTS, pathText } from "./faults.js";
import type { Role } from "./identity.js";
import { badInputFault, HttpFault } from "./problem.js";
import type { Sessions } from "./sessions.js";

/** Why new work is not taken at the moment. */
export interface IntakeRefusal {
  code: "overloaded" | "store_full";
  /** In words, for the client. */
  reason: string;
  retryAfterMs: number;
}

export interface HttpDeps {
  ledger: Ledger;
  desk: OrderDesk;
  tracker: OrderTracker;
  exceptions: ExceptionList;
  levels: StorefrontLevels;
  board: DepletionBoard;
  categories: Categories;
  /** Takes away what is known of an order's buyer. */
  eraseBuyer(id: string): Promise<EraseOutcome>;
  /** The shop's time (ms) up to which the storefront view of this SKU's partition is known to be complete. */
  asOf(sku: string): number;
  /** How long ago that was, in milliseconds of real time. */
  ageMs(sku: string): number;
  /** The shop's clock: ids are made and times are judged by it. */
  clock: Clock;
  /** Seconds of the shop's time in one real second; 1 when left out. */
  speed?(): number;
  /** Channel code of ids made here, 2 characters of 0-9 A-Z. */
  channel: string;
  /** Location of a request that names none; `main` when left out. */
  defaultLocation?: string;
  /** Bearer tokens: `name:role:secret`, or a bare secret (name `default`, role `admin`). Empty: only allowed when `open`. */
  tokens: readonly string[];
  /** Further tokens, which may change at any time. */
  tokenFile?: TokenLookup;
  /** A demo on loopback: no token is needed, and only loopback host names are served. */
  open: boolean;
  /** What needs neither token nor session; left out: nothing beside what is public anyway. */
  openParts?: readonly ("screens" | "metrics")[];
  /** Sessions of browsers; left out: there are none. */
  sessions?: Sessions;
  /** Whether a Host header names this server; left out: any does. */
  isOurHost?(host: string | undefined): boolean;
  /** Whether the proxy in front says whose request it is (X-Forwarded-For). */
  trustProxy?: boolean;
  stopping(): boolean;
  /** What is wrong, in words; empty: ready. */
  readiness(): string[];
  /** What an operator should know of although the process is ready; nothing when left out. */
  warnings?(): string[];
  /** Refuses new work while the engine is behind or its store nearly full, and counts that; undefined: it is taken, as when left out. */
  refuseNew?(): IntakeRefusal | undefined;
  /** Requests under way at most; 4,096 when left out. */
  maxUnderWay?: number;
  /** New orders are refused while one that came before has waited so long already, in real ms; left out: never. */
  maxWaitMs?: number;
  /** Further metrics in Prometheus' text format. */
  metrics(): Promise<string>;
  /** Told of every unexpected error, with its instance id, and of trouble with the store. */
  onTrouble: OnTrouble;
}

export interface Kit {
  readonly deps: HttpDeps;
  readonly access: Access;
  readonly defaultLocation: string;
  /**
   * Lets only those with this role pass and notes who it is on the request; for a route's `onRequest`. Lets everybody pass in an open demo.
   */
  readonly authorize: (role: Role) => onRequestHookHandler;
  /** Of all requests, of bulk requests among them, and of those that begin a session, which are not among them. */
  readonly places: Readonly<Record<"requests" | "bulk" | "sessions", Places>>;
}

export type RouteGroup = (server: FastifyInstance, kit: Kit) => void;

/** In a route's schema: a token, or a session's cookie, is needed. */
export const TOKEN_NEEDED: Record<string, string[]>[] = [{ bearer: [] }, { session: [] }];

/** In a route's schema: everybody is let in. */
export const NO_TOKEN_NEEDED: typeof TOKEN_NEEDED = [];

/** ids, SKUs and small texts: 100 lines × (64 characters × 12 bytes escaped + 32 + 100 for the rest) is 90 KB. */
export const BODY_LIMIT = 128 * 1024;

/** A Redis read that failed is trouble with the world that may pass, whatever the client library calls it. */
export async function fromStore<T>(op: string, asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throw new EngineError(
      `${op}: ${messageOf(cause)}`,
      { op, code: "unavailable", retryable: true, retryAfterMs: 1_000 },
      { cause },
    );
  }
}

/** The query as sent, or a fault when its percent escapes are broken (a parser would let them stand). */
export function assertQuery(request: FastifyRequest): Record<string, unknown> {
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

/** Query texts are texts: this turns a field that looks like a whole number into one, and leaves everything else for the schema to refuse. */
export function readInteger(query: Record<string, unknown>, name: string): void {
  const given = query[name];
  if (typeof given === "string" && /^-?\d{1,15}$/.test(given)) query[name] = Number(given);
}

/** Throws on an order id that its schema could not see through: the check character may be wrong. */
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
