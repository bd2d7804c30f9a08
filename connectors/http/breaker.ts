/**
 * The breaker over HTTP (R14): lists breakers that are open or half-open with their evidence, changes one by hand, and
 * lists the newest changes, those by the engine itself included. Each change is an event with an actor. `BreakerWatch`
 * computes why an order is refused and when it may be sent again; it reads the store at most once a second, however
 * many orders are refused.
 */
import type { FastifyInstance } from "fastify";
import type { Static } from "typebox";
import { HISTORY_KEPT } from "../../engine/jobs/consistency/state.js";
import { stopwatch } from "../../engine/kernel/clock.js";
import type { BreakerScope, OpenBreaker } from "../../engine/stock/breaker.js";
import { isInScope } from "../../engine/stock/breaker-rules.js";
import type { HttpDeps } from "./deps.js";
import { causeOf } from "./identity.js";
import { badInputFault } from "./problem.js";
import { isoOf, queryWith, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import {
  type Breaker,
  BreakerAnswer,
  BreakerBody,
  BreakerChange,
  BreakerHistory,
  BreakerHistoryQuery,
} from "./schemas/breaker.js";
import { problems } from "./schemas/problem.js";
import { fromStore } from "./store-errors.js";

/** R14: a breaker opened without a time stays open for 10 minutes of the shop's time. */
const DEFAULT_OPEN_MS = 600_000;
const REFRESH_MS = 1_000;
/** Retry-After for a breaker without an end, which is closed by hand only. */
const NO_END_SECONDS = 60;
/** Retry-After for a half-open breaker: a comparison takes seconds. */
const HALF_OPEN_SECONDS = 5;
const DEFAULT_HISTORY = 50;

/** Why an order is refused, and when it may be accepted. */
export interface BreakerRefusal {
  /** Of real time. */
  readonly seconds: number;
  /** A sentence; empty when the breaker is gone already, or cannot be read. */
  readonly why: string;
}

export class BreakerWatch {
  readonly #deps: Pick<HttpDeps, "ledger" | "clock" | "speed">;
  #age: (() => number) | undefined;
  #breakers: Promise<OpenBreaker[]> = Promise.resolve([]);

  constructor(deps: Pick<HttpDeps, "ledger" | "clock" | "speed">) {
    this.#deps = deps;
  }

  /** By the breaker of these lines that lasts longest; never fails. */
  async refusalOf(lines: readonly { sku: string; location: string }[]): Promise<BreakerRefusal> {
    const { clock, speed = () => 1 } = this.#deps;
    let found: BreakerRefusal = { seconds: 0, why: "" };
    for (const breaker of await this.#read()) {
      const { scope, state, untilMs } = breaker;
      if (!lines.some((line) => isInScope(scope, line))) continue;
      const untilEnd = untilMs === 0 ? NO_END_SECONDS : (untilMs - clock.now()) / speed() / 1_000;
      const seconds = state === "half_open" ? HALF_OPEN_SECONDS : untilEnd;
      if (seconds > found.seconds) found = { seconds, why: whyOf(breaker) };
    }
    return found;
  }

  #read(): Promise<OpenBreaker[]> {
    if (this.#age === undefined || this.#age() > REFRESH_MS) {
      this.#age = stopwatch();
      this.#breakers = this.#deps.ledger.openBreakers().catch(() => []);
    }
    return this.#breakers;
  }
}

function whyOf({ scope, state, untilMs, reason }: OpenBreaker): string {
  const of = scope.kind === "shop" ? "the shop" : scope.kind === "location" ? scope.location : scope.sku;
  const now =
    state === "half_open"
      ? "half-open while stock is compared"
      : untilMs === 0
        ? "open until it is changed by hand"
        : `open until ${isoOf(untilMs)}`;
  return `the breaker of ${of} is ${now}: ${reason}`;
}

const completeness = (missing: readonly number[] = []) => ({
  complete: missing.length === 0,
  ...(missing.length === 0 ? {} : { missing: [...missing] }),
});

function answerOf(breaker: OpenBreaker): Static<typeof Breaker> {
  const { scope, state, sinceMs, untilMs, atEnd, actor, onBehalfOf, reason, version, evidence, missing } = breaker;
  return {
    scope,
    state,
    since: isoOf(sinceMs),
    ...(untilMs === 0 ? {} : { until: isoOf(untilMs) }),
    ...(atEnd === undefined ? {} : { atEnd }),
    actor,
    ...(onBehalfOf === undefined ? {} : { onBehalfOf }),
    reason,
    ...(version === undefined ? {} : { version }),
    ...(evidence === undefined ? {} : { evidence }),
    ...completeness(missing),
  };
}

function historyRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  server.get<{ Querystring: Static<typeof BreakerHistoryQuery> }>(
    "/v1/breaker/history",
    {
      onRequest: authorize("read"),
      preValidation: queryWith("limit"),
      schema: {
        tags: ["breaker"],
        operationId: "getBreakerHistory",
        summary: "The newest changes of breakers, newest first",
        description: `Openings, extensions, half-openings and closings, by operators and by the engine itself, and in a dry run what would have opened; the newest ${HISTORY_KEPT} are kept. As the workers have observed them, about once a second: of changes that followed each other faster, the last one. The stock log has each. Default \`limit\`: ${DEFAULT_HISTORY}.`,
        security: TOKEN_NEEDED,
        querystring: BreakerHistoryQuery,
        response: { 200: BreakerHistory, ...problems },
      },
    },
    async (request) => {
      const { consistencyView } = deps;
      const { limit = DEFAULT_HISTORY } = request.query;
      const { nextDueMs } = consistencyView;
      return {
        mode: consistencyView.mode,
        ...(nextDueMs === undefined ? {} : { nextComparison: isoOf(nextDueMs) }),
        events: consistencyView.history(limit).map(({ atMs, scope, kind, by, actor, reason, untilMs, evidence }) => ({
          ...{ at: isoOf(atMs), scope, kind, by, actor, reason },
          ...(untilMs ? { until: isoOf(untilMs) } : {}),
          ...(evidence ? { evidence } : {}),
        })),
      };
    },
  );
}

export const breakerRoutes: RouteGroup = (server, context) => {
  const { deps, authorize } = context;
  const { ledger } = deps;
  const answer = async () => {
    const breakers = await fromStore("breaker.read", ledger.openBreakers());
    return {
      open: breakers.length > 0,
      breakers: breakers.map(answerOf),
    };
  };
  historyRoute(server, context);

  server.get(
    "/v1/breaker",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["breaker"],
        operationId: "getBreaker",
        summary: "Breakers that are open or half-open",
        description: "Each with its scope, state, actor, reason, start and end. `open` is true when there is any.",
        security: TOKEN_NEEDED,
        response: { 200: BreakerAnswer, ...problems },
      },
    },
    answer,
  );

  server.post<{ Body: Static<typeof BreakerBody> }>(
    "/v1/breaker",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["breaker"],
        operationId: "setBreaker",
        summary: "Opens, half-opens or closes a breaker by hand",
        description:
          "While it is open or half-open, new orders in its scope are refused (503); payments, cancellations and outbound continue. `forMs` is in the shop's time: 10 minutes by default, 0 until it is changed by hand. With `atEnd: half_open` it becomes half-open then: stock is compared, and the result closes it or opens it again (in the breaker modes dry-run and off it waits for you); otherwise it closes. To extend one that is open, open it again with a new `forMs` and `atEnd: half_open`: it ends `forMs` from now, and its event contains `extended`. No comparison closes what a person has opened before it is half-open, and what a person has closed stays closed until a later report of a source that parts differs too much. When `complete`, every partition of the scope refuses new orders; partitions that cannot be reached are in `missing` and are updated automatically later. Safe to repeat.",
        security: TOKEN_NEEDED,
        body: BreakerBody,
        response: { 200: BreakerChange, ...problems },
      },
    },
    async (request) => {
      const { action, reason, forMs, atEnd } = request.body;
      const scope = scopeOf(request.body.scope);
      const isOpening = action === "open";
      const faults = [
        ...(!isOpening && forMs !== undefined ? [{ field: "forMs", message: "is allowed only with open" }] : []),
        ...(atEnd !== undefined && (!isOpening || forMs === 0)
          ? [{ field: "atEnd", message: "is allowed only with open and a time" }]
          : []),
      ];
      if (faults.length > 0) throw badInputFault(faults);
      const wanted = {
        ...causeOf(request, request.body),
        reason,
        forMs: isOpening ? (forMs ?? DEFAULT_OPEN_MS) : 0,
        ...(atEnd === "half_open" && { atEnd }),
      };
      const change = await fromStore(`breaker.${action}`, ledger.breakers.set(scope, action, wanted));
      const { changed, missing, version } = change;
      return { changed, version, ...completeness(missing), ...(await answer()) };
    },
  );
};

function scopeOf({ kind, location, sku }: Static<typeof BreakerBody>["scope"]): BreakerScope {
  const faults = [
    ...(kind !== "location" && location !== undefined
      ? [{ field: "scope.location", message: `is not allowed with kind ${kind}` }]
      : []),
    ...(kind !== "sku" && sku !== undefined
      ? [{ field: "scope.sku", message: `is not allowed with kind ${kind}` }]
      : []),
    ...(kind === "location" && location === undefined ? [{ field: "scope.location", message: "is missing" }] : []),
    ...(kind === "sku" && sku === undefined ? [{ field: "scope.sku", message: "is missing" }] : []),
  ];
  if (faults.length > 0) throw badInputFault(faults);
  if (kind === "location") return { kind, location: location as string };
  return kind === "sku" ? { kind, sku: sku as string } : { kind: "shop" };
}
