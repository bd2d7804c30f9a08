/**
 * Silences over HTTP (R11): alerts that match one notify nobody until it ends, and stay in the list. A person silences
 * with a phone, an operator with a token or a session. Open alerts that match are routed again at once, so that a
 * silence stops what is under way and its end notifies of what is still open.
 */
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import type { Silence } from "../../engine/alerting/silence.js";
import { MINUTE_MS } from "../../engine/kernel/clock.js";
import { identityOf } from "./identity.js";
import { badInputFault, HttpFault, refuse, retryAfter } from "./problem.js";
import { RatePerClient } from "./rate-per-client.js";
import { assertNoBody, isoOf, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { LONGEST_SILENCE_MS, SilenceAnswer, SilenceBody, SilenceList, SilenceParams } from "./schemas/alerts.js";
import { problems } from "./schemas/problem.js";
import { fromStore } from "./store-errors.js";

type Body = Static<typeof SilenceBody>;

/** Each adds an event for every open alert that matches. */
const CHANGES_PER_MINUTE = 60;

export const silenceRoutes: RouteGroup = (server, context) => {
  const rate = new RatePerClient(CHANGES_PER_MINUTE);
  listRoute(server, context);
  addRoute(server, context, rate);
  endRoute(server, context, rate);
};

/** Throws when a person, or the owner of a token, changes silences too often. */
function assertRate(request: FastifyRequest, rate: RatePerClient): void {
  const { person, name } = identityOf(request);
  if (rate.take(person ?? name)) return;
  throw new HttpFault("overloaded", `more than ${CHANGES_PER_MINUTE} changes of silences in a minute`, {
    headers: retryAfter(MINUTE_MS / 1_000),
  });
}

function listRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  server.get(
    "/v1/silences",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["alerts"],
        operationId: "listSilences",
        summary: "Silences that have not ended, and those of the last day, newest first",
        description: "With who added each and why. 200 at most that have not ended.",
        security: TOKEN_NEEDED,
        response: { 200: SilenceList, ...problems },
      },
    },
    async () => {
      const silences = await fromStore("silences.list", deps.alerting.silences.list());
      return { silences: silences.map((each) => answerOf(each, deps.clock.now())) };
    },
  );
}

function addRoute(server: FastifyInstance, { deps, authorizePerson }: RouteContext, rate: RatePerClient): void {
  server.post<{ Body: Body }>(
    "/v1/silences",
    {
      onRequest: authorizePerson("operate"),
      schema: {
        tags: ["alerts"],
        operationId: "createSilence",
        summary: "Silences the alerts that match, until an instant",
        description:
          "Every field of `rule`, `sku`, `category` and `location` that is given must match; at least one is needed, and either `until` or `forMs`, by the shop's clock. A location matches alerts whose units are all there. Safe to repeat with `until`: the same silence is added once.",
        security: TOKEN_NEEDED,
        body: SilenceBody,
        response: { 201: SilenceAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { alerting, alertRequests, clock } = deps;
      const { rule, sku, category, location, reason } = request.body;
      const matched = {
        ...(rule === undefined ? {} : { rule }),
        ...(sku === undefined ? {} : { sku }),
        ...(category === undefined ? {} : { category }),
        ...(location === undefined ? {} : { location }),
      };
      if (Object.keys(matched).length === 0)
        throw badInputFault([{ field: "", message: "needs at least one of rule, sku, category and location" }]);
      const untilMs = endOf(request.body, clock.now());
      assertRate(request, rate);
      const added = await fromStore(
        "silences.add",
        alerting.silences.add({ ...matched, untilMs, reason, actor: actorOf(request) }),
      );
      if (added === "too_many") return refuse(reply, "too_many_silences", "end some first");
      await fromStore("silences.route", alertRequests.silenceChanged(added));
      return reply.code(201).send(answerOf(added, clock.now()));
    },
  );
}

function endRoute(server: FastifyInstance, { deps, authorizePerson }: RouteContext, rate: RatePerClient): void {
  server.delete<{ Params: Static<typeof SilenceParams> }>(
    "/v1/silences/:id",
    {
      onRequest: authorizePerson("operate"),
      schema: {
        tags: ["alerts"],
        operationId: "deleteSilence",
        summary: "Ends a silence now",
        description: "Open alerts that it matched notify again. It stays in the list for a day. Safe to repeat.",
        security: TOKEN_NEEDED,
        params: SilenceParams,
        response: { 200: SilenceAnswer, ...problems },
      },
    },
    async (request, reply) => {
      assertNoBody(request.body);
      assertRate(request, rate);
      const { alerting, alertRequests, clock } = deps;
      const { id } = request.params;
      const ended = await fromStore("silences.end", alerting.silences.end(id, identityOf(request).name));
      if (!ended) return refuse(reply, "unknown_silence", `silence ${id}`);
      await fromStore("silences.route", alertRequests.silenceChanged(ended));
      return reply.send(answerOf(ended, clock.now()));
    },
  );
}

/** The authenticated name; with whom the body names for it. */
function actorOf(request: FastifyRequest<{ Body: Body }>): string {
  const { name } = identityOf(request);
  const { actor } = request.body;
  return actor === undefined ? name : `${name} for ${actor}`;
}

function endOf({ until, forMs }: Body, nowMs: number): number {
  if ((until === undefined) === (forMs === undefined))
    throw badInputFault([{ field: "until", message: "or forMs must be given, not both" }]);
  const untilMs = forMs === undefined ? Date.parse(until as string) : nowMs + forMs;
  if (untilMs <= nowMs)
    throw badInputFault([{ field: "until", message: "must be in the future, by the shop's clock" }]);
  if (untilMs > nowMs + LONGEST_SILENCE_MS)
    throw badInputFault([{ field: "until", message: "must be within 30 days, by the shop's clock" }]);
  return untilMs;
}

function answerOf({ untilMs, createdMs, ...silence }: Silence, nowMs: number): Static<typeof SilenceAnswer> {
  return { ...silence, until: isoOf(untilMs), createdAt: isoOf(createdMs), active: untilMs > nowMs };
}
