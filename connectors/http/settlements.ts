/**
 * Settlements over HTTP (R13, R14): rows of a comparison with what would settle them, approvals and rejections, and
 * what was decided. An approval names exactly what was shown, and each row is compared and set: rows that have changed
 * are refused one by one, with a fresh proposal, and do not keep others from being settled. Limits hold for a request
 * as a whole: beyond them nothing is decided.
 */
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import type { Proposal } from "../../engine/reconciliation/settlement/proposal.js";
import {
  type SettlementAnswer as Answer,
  MAX_SETTLED_ROWS,
  type Selection,
  type SettlementLimits,
} from "../../engine/reconciliation/settlement/settlement.js";
import type { SettledDecision } from "../../engine/reconciliation/settlement/settlement-store.js";
import { causeOf, identityOf, mayDo, roleFault } from "./identity.js";
import { badInputFault, HttpFault } from "./problem.js";
import { isoOf, queryWith, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { problems } from "./schemas/problem.js";
import {
  DecisionList,
  DecisionQuery,
  SettlementAnswer,
  SettlementBody,
  SettlementList,
  SettlementQuery,
} from "./schemas/settlements.js";
import { fromStore } from "./store-errors.js";

const DEFAULT_LIMIT = 100;
/** What the role `operate` may settle with one request: a shelf that was recounted. More needs `admin`. */
const OPERATOR_LIMITS: SettlementLimits = { rows: 500, units: 5_000 };

type Body = Static<typeof SettlementBody>;

export const settlementRoutes: RouteGroup = (server, context) => {
  rowsRoute(server, context);
  decisionsRoute(server, context);
  for (const change of CHANGES) changeRoute(server, context, change);
};

function rowsRoute(server: FastifyInstance, { deps: { settlement }, authorize }: RouteContext): void {
  server.get<{ Querystring: Static<typeof SettlementQuery> }>(
    "/v1/settlements",
    {
      onRequest: authorize("read"),
      preValidation: queryWith("limit", "after"),
      schema: {
        tags: ["reconciliation"],
        operationId: "listSettlements",
        summary: "Rows of a comparison with what would settle them",
        description: `Each difference between the ledger and a source, the greatest first, with what is proposed on the present balance, or what was decided. Default \`comparison\`: the newest. Default \`limit\`: ${DEFAULT_LIMIT}. A page may have fewer rows while \`next\` is there. \`state=refused\`: rows that wait again because the ledger refused an approval.`,
        security: TOKEN_NEEDED,
        querystring: SettlementQuery,
        response: { 200: SettlementList, ...problems },
      },
    },
    async (request) => {
      const page = await fromStore("settlements.list", settlement.list({ limit: DEFAULT_LIMIT, ...request.query }));
      if (page.outcome === "unknown_comparison") throw unknownComparison();
      const { comparison, rows, next } = page;
      return {
        comparison,
        rows: rows.map(({ state, proposal, decided, refused }) => ({
          state,
          proposal: proposalAnswer(proposal),
          ...(decided && { decision: decisionAnswer(decided) }),
          ...(refused && { refused: decisionAnswer(refused) }),
        })),
        ...(next === undefined ? {} : { next }),
      };
    },
  );
}

function decisionsRoute(server: FastifyInstance, { deps: { settlement }, authorize }: RouteContext): void {
  server.get<{ Querystring: Static<typeof DecisionQuery> }>(
    "/v1/settlements/decisions",
    {
      onRequest: authorize("read"),
      preValidation: queryWith("limit"),
      schema: {
        tags: ["reconciliation"],
        operationId: "listSettlementDecisions",
        summary: "What was approved and rejected in the last 30 days, newest first",
        description: `Who, when, why, on which proposal, and the ledger's answer. Default \`limit\`: ${DEFAULT_LIMIT}.`,
        security: TOKEN_NEEDED,
        querystring: DecisionQuery,
        response: { 200: DecisionList, ...problems },
      },
    },
    async (request) => {
      const { limit = DEFAULT_LIMIT, after } = request.query;
      const { decisions, next } = await fromStore("settlements.decisions", settlement.decisions(limit, after));
      return {
        decisions: decisions.map((each) => ({
          proposal: proposalAnswer(each.decision.proposal),
          decision: decisionAnswer(each),
        })),
        ...(next === undefined ? {} : { next }),
      };
    },
  );
}

function changeRoute(
  server: FastifyInstance,
  { deps: { settlement }, authorize }: RouteContext,
  { path, kind, operationId, summary, description, done }: (typeof CHANGES)[number],
): void {
  server.post<{ Body: Body }>(
    path,
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["reconciliation"],
        operationId,
        summary,
        description,
        security: TOKEN_NEEDED,
        body: SettlementBody,
        response: { 200: SettlementAnswer, ...problems },
      },
    },
    async (request) => {
      const { body } = request;
      const selection = selectionOf(body, kind);
      const cause = { ...causeOf(request, body), reason: body.reason };
      const answer = await fromStore(`settlements.${kind}`, settlement[kind](selection, cause, limitsOf(request)));
      if (answer.outcome === "unknown_comparison") throw unknownComparison();
      if (answer.outcome === "over_limit") throw overLimit(request, answer, kind);
      const rows = answer.rows.map(({ next, ...row }) => ({ ...row, ...(next && { next: proposalAnswer(next) }) }));
      return { settled: rows.filter(({ outcome }) => outcome === done).length, rows };
    },
  );
}

const CHANGES = [
  {
    path: "/v1/settlements/approval",
    kind: "approve",
    operationId: "settleDifferences",
    summary: "Books the corrections of proposals",
    description: `One \`StockCorrected\` event for each row, with actor, reason, comparison, snapshot and proposal, if the cell still holds what it was proposed on; otherwise the row is refused (\`balance_changed\`) and proposed anew in \`next\`. The role operate may approve ${OPERATOR_LIMITS.rows} rows and ${OPERATOR_LIMITS.units} units a request, admin ${MAX_SETTLED_ROWS} rows. Safe to repeat: a proposal is booked once; after a failure (503) the same request completes it. Sent again without ids it decides what still waits.`,
    done: "approved",
  },
  {
    path: "/v1/settlements/rejection",
    kind: "reject",
    operationId: "recordRejections",
    summary: "Records that rows are not settled by a correction",
    description:
      "With the reason: the source is to be corrected, or the goods are looked for. A rejected row of this comparison cannot be approved any more; the next comparison proposes it again if it still differs. Safe to repeat.",
    done: "rejected",
  },
] as const;

type Kind = (typeof CHANGES)[number]["kind"];

function selectionOf({ ids, comparison, source, location, maxRows, maxUnits }: Body, kind: Kind): Selection {
  const missing = (field: string) => ({ field, message: "is missing: without ids, all rows of a source are meant" });
  const notAllowed = (field: string) => ({ field, message: "is not allowed with ids" });
  if (ids !== undefined) {
    const given = Object.entries({ comparison, source, location }).filter(([, value]) => value !== undefined);
    if (given.length > 0) throw badInputFault(given.map(([field]) => notAllowed(field)));
    return { ids };
  }
  const faults = [
    ...(comparison === undefined ? [missing("comparison")] : []),
    ...(source === undefined ? [missing("source")] : []),
    ...(maxRows === undefined ? [missing("maxRows")] : []),
    ...(maxUnits === undefined && kind === "approve" ? [missing("maxUnits")] : []),
  ];
  if (comparison === undefined || source === undefined || faults.length > 0) throw badInputFault(faults);
  return { comparison, source, location };
}

/** Those of the role, and those that the request names for itself. */
function limitsOf(request: FastifyRequest): SettlementLimits {
  const { maxRows = MAX_SETTLED_ROWS, maxUnits = Number.POSITIVE_INFINITY } = request.body as Body;
  const role = mayDo(identityOf(request), "admin") ? undefined : OPERATOR_LIMITS;
  return {
    rows: Math.min(maxRows, MAX_SETTLED_ROWS, role?.rows ?? MAX_SETTLED_ROWS),
    units: Math.min(maxUnits, role?.units ?? Number.POSITIVE_INFINITY),
  };
}

function overLimit(
  request: FastifyRequest,
  { rows, units }: Extract<Answer, { outcome: "over_limit" }>,
  kind: Kind,
): HttpFault {
  const { maxRows = MAX_SETTLED_ROWS, maxUnits = Number.POSITIVE_INFINITY } = request.body as Body;
  const what = kind === "approve" ? `${rows} rows with ${units} units` : `${rows} rows`;
  if (rows > maxRows || (kind === "approve" && units > maxUnits))
    return new HttpFault("settlement_limit", `nothing was decided: ${what} are more than maxRows or maxUnits allows`);
  if (rows > MAX_SETTLED_ROWS)
    return new HttpFault("settlement_limit", `nothing was decided: ${what}; at most ${MAX_SETTLED_ROWS} at once`);
  return new HttpFault("forbidden", roleFault(identityOf(request), "admin", what));
}

const unknownComparison = (): HttpFault =>
  new HttpFault("unknown_comparison", "the comparison is not known, or its differences are not kept any more");

const proposalAnswer = ({ asOfMs, ...proposal }: Proposal) => ({ ...proposal, asOf: isoOf(asOfMs) });

const decisionAnswer = ({ decision, result }: SettledDecision) => ({
  kind: decision.kind,
  actor: decision.actor,
  ...(decision.onBehalfOf === undefined ? {} : { onBehalfOf: decision.onBehalfOf }),
  reason: decision.reason,
  at: isoOf(decision.atMs),
  ...(result && { outcome: result.outcome }),
});
