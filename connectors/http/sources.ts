/**
 * Sources of stock over HTTP (R29): how the pulls of each configured source went, with the newest snapshots also of
 * those that push theirs, and a request to pull one at once. The same content as `shuiwei sources list`.
 */
import type { Static } from "typebox";
import type { Snapshot } from "../../engine/reconciliation/model.js";
import type { PullState, SourceReport } from "../../engine/reconciliation/source-registry.js";
import { causeOf } from "./identity.js";
import { refuse } from "./problem.js";
import { isoOf, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { problems } from "./schemas/problem.js";
import { PullAnswer, PullBody, SourceList, SourceParams } from "./schemas/sources.js";
import { fromStore } from "./store-errors.js";

export const sourceRoutes: RouteGroup = (server, { deps, authorize }) => {
  const { sources, snapshots, clock } = deps;

  server.get(
    "/v1/sources",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["reconciliation"],
        operationId: "listSources",
        summary: "Sources of stock: what they are, when they last brought something, and their faults",
        description:
          "Configured sources with how their pulls went, and with kind `pushed` those that send their snapshots. `lagMs` is the age of the newest instant that a source has brought; a source is `overdue` when it should have brought something by now.",
        security: TOKEN_NEEDED,
        response: { 200: SourceList, ...problems },
      },
    },
    async () => {
      const [reports, newest] = await fromStore("sources.list", Promise.all([sources.list(), snapshots.newest()]));
      const nowMs = clock.now();
      const configured = new Set(reports.map(({ name }) => name));
      const pushed = [...newest.values()].filter(({ source }) => !configured.has(source));
      return {
        sources: [
          ...reports.map((report) => answerOf(report, newest.get(report.name), nowMs)),
          ...pushed.map((snapshot) => ({
            ...{ name: snapshot.source, kind: "pushed", about: "", measure: snapshot.measure, pulls: [] },
            ...snapshotOf(snapshot, nowMs),
          })),
        ].sort((one, other) => (one.name < other.name ? -1 : 1)),
      };
    },
  );

  server.post<{ Params: Static<typeof SourceParams>; Body: Static<typeof PullBody> }>(
    "/v1/sources/:name/pull",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["reconciliation"],
        operationId: "createPullRequest",
        summary: "Asks for a pull of a configured source at once",
        description:
          "The process that pulls the source begins within a second, or when its pull under way ends; `GET /v1/sources` shows how it went. Safe to repeat.",
        security: TOKEN_NEEDED,
        params: SourceParams,
        body: PullBody,
        response: { 202: PullAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const { actor } = causeOf(request, request.body);
      const { reason } = request.body;
      const asked = await fromStore("sources.pull", sources.requestPull({ atMs: clock.now(), actor, reason }, [name]));
      if (asked.length === 0) return refuse(reply, "unknown_source", "no configured source has this name");
      return reply.code(202).send({ source: name, requested: true });
    },
  );
};

const snapshotOf = (snapshot: Snapshot | undefined, nowMs: number) =>
  snapshot === undefined
    ? {}
    : {
        snapshot: {
          ...{ id: snapshot.id, asOf: isoOf(snapshot.asOfMs), rows: snapshot.rows },
          lagMs: Math.max(0, nowMs - snapshot.asOfMs),
        },
      };

const answerOf = (
  { name, kind, about, measure, pulls, freshnessMs, states }: SourceReport,
  snapshot: Snapshot | undefined,
  nowMs: number,
) => ({
  ...{ name, kind, about, measure, freshnessMs },
  pulls: Object.entries(pulls).map(([pulled, schedule]) => ({
    ...{ pulled, schedule },
    ...stateOf(states[pulled as keyof typeof states], nowMs),
  })),
  ...snapshotOf(snapshot, nowMs),
});

const stateOf = (state: PullState | undefined, nowMs: number) => {
  if (state === undefined) return { overdue: false, faults: [] };
  const { outcome, rows, failures, lastAttemptMs, lastSuccessMs, reachedMs, nextDueMs, overdueMs, faults } = state;
  return {
    ...{ outcome, rows, failures, lastAttempt: isoOf(lastAttemptMs), nextDue: isoOf(nextDueMs) },
    ...(lastSuccessMs === undefined ? {} : { lastSuccess: isoOf(lastSuccessMs) }),
    ...(reachedMs === undefined ? {} : { lagMs: Math.max(0, nowMs - reachedMs) }),
    overdue: nowMs > overdueMs,
    faults: faults.map(({ atMs, message }) => ({ at: isoOf(atMs), message })),
  };
};
