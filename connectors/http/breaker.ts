/**
 * The breaker over HTTP (R14): lists breakers that are open or half-open, and changes one by hand. Each change is an
 * event with an actor. `BreakerWatch` computes when a refused order may be sent again; it reads the store at most once
 * a second, however many orders are refused.
 */
import type { Static } from "typebox";
import { stopwatch } from "../../engine/kernel/clock.js";
import type { BreakerScope, OpenBreaker } from "../../engine/stock/breaker.js";
import { isInScope } from "../../engine/stock/breaker-rules.js";
import type { HttpDeps } from "./deps.js";
import { causeOf } from "./identity.js";
import { badInputFault } from "./problem.js";
import { isoOf, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { BreakerAnswer, BreakerBody, BreakerChange } from "./schemas/breaker.js";
import { problems } from "./schemas/problem.js";
import { fromStore } from "./store-errors.js";

/** R14: a breaker opened without a time stays open for 10 minutes of the shop's time. */
const DEFAULT_OPEN_MS = 600_000;
const REFRESH_MS = 1_000;
/** Retry-After for a breaker without an end, which is closed by hand only. */
const NO_END_SECONDS = 60;
/** Retry-After for a half-open breaker: a comparison takes seconds, and then an operator closes it. */
const HALF_OPEN_SECONDS = 5;

export class BreakerWatch {
  readonly #deps: Pick<HttpDeps, "ledger" | "clock" | "speed">;
  #age: (() => number) | undefined;
  #breakers: Promise<OpenBreaker[]> = Promise.resolve([]);

  constructor(deps: Pick<HttpDeps, "ledger" | "clock" | "speed">) {
    this.#deps = deps;
  }

  /** Seconds (of real time) after which an order with these lines may be accepted; never fails. */
  async retryAfterSeconds(lines: readonly { sku: string; location: string }[]): Promise<number> {
    const { clock, speed = () => 1 } = this.#deps;
    let waitSeconds = 0;
    for (const { scope, state, untilMs } of await this.#read()) {
      if (!lines.some((line) => isInScope(scope, line))) continue;
      const seconds = untilMs === 0 ? NO_END_SECONDS : (untilMs - clock.now()) / speed() / 1_000;
      waitSeconds = Math.max(waitSeconds, state === "half_open" ? HALF_OPEN_SECONDS : seconds);
    }
    return waitSeconds;
  }

  #read(): Promise<OpenBreaker[]> {
    if (this.#age === undefined || this.#age() > REFRESH_MS) {
      this.#age = stopwatch();
      this.#breakers = this.#deps.ledger.openBreakers().catch(() => []);
    }
    return this.#breakers;
  }
}

const completeness = (missing: readonly number[] = []) => ({
  complete: missing.length === 0,
  ...(missing.length === 0 ? {} : { missing }),
});

export const breakerRoutes: RouteGroup = (server, { deps, authorize }) => {
  const { ledger } = deps;
  const answer = async () => {
    const breakers = await fromStore("breaker.read", ledger.openBreakers());
    return {
      open: breakers.length > 0,
      breakers: breakers.map(({ scope, state, sinceMs, untilMs, atEnd, actor, onBehalfOf, reason, missing }) => ({
        scope,
        state,
        since: isoOf(sinceMs),
        ...(untilMs === 0 ? {} : { until: isoOf(untilMs) }),
        ...(atEnd === undefined ? {} : { atEnd }),
        actor,
        ...(onBehalfOf === undefined ? {} : { onBehalfOf }),
        reason,
        ...completeness(missing),
      })),
    };
  };

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
          "While it is open or half-open, new orders in its scope are refused (503); payments, cancellations and outbound continue. `forMs` is in the shop's time: 10 minutes by default, 0 until it is changed by hand. With `atEnd: half_open` it becomes half-open then, and stays so until it is closed or opened by hand; otherwise it closes. When `complete`, every partition of the scope refuses new orders; partitions that cannot be reached are in `missing` and are updated automatically later. Safe to repeat.",
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
      const { changed, missing } = await fromStore(`breaker.${action}`, ledger.breakers.set(scope, action, wanted));
      return { changed, ...completeness(missing), ...(await answer()) };
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
