/**
 * Sessions over HTTP: an operator makes a pairing code, a browser sends it and gets a cookie, an administrator lists
 * and ends sessions. A code is redeemed only by a POST, because chat programs open links to show a preview. In a link
 * the code follows the #, which a browser does not send.
 */
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { refuse as refuseClient } from "./access.js";
import { bodyWithin } from "./admission.js";
import { isSecure, originOf } from "./client.js";
import { type Identity, identityOf, mayDo, roleFault } from "./identity.js";
import { pairingPage } from "./pairing-page.js";
import { refuse } from "./problem.js";
import { assertNoBody, isoOf, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { problems } from "./schemas/problem.js";
import {
  PairingAnswer,
  PairingBody,
  SessionAnswer,
  SessionBody,
  SessionList,
  SessionParams,
  WhoAnswer,
} from "./schemas/sessions.js";
import { cookieFor, cookieOf, type Pairing, type Session, type Sessions } from "./sessions.js";
import { fromStore } from "./store-errors.js";

export const DEFAULT_DAYS = 90;
/**
 * Requests for a session are read before authentication. They have a limit and a short timeout of their own, so that
 * they never use the capacity for orders.
 */
export const MAX_SESSION_REQUESTS = 64;
/** For one address, so that one slow sender does not block all pairing. */
export const MAX_SESSION_REQUESTS_EACH = MAX_SESSION_REQUESTS / 4;
const SESSION_BODY_LIMIT = 1_024;
const SESSION_BODY_TIMEOUT_MS = 3_000;
const TOO_MANY = "an administrator must end some sessions first";

export const sessionRoutes: RouteGroup = (server, context) => {
  const { sessions } = context.deps;
  if (!sessions) return;
  pageRoute(server);
  pairingRoute(server, context, sessions);
  createRoute(server, context, sessions);
  currentRoute(server, context);
  endRoute(server, context, sessions);
  listRoute(server, context, sessions);
  revokeRoute(server, context, sessions);
};

function pageRoute(server: FastifyInstance): void {
  server.get("/pair", { schema: { hide: true } }, (_request, reply) => {
    reply.headers(pairingPage.headers).send(pairingPage.html);
  });
}

function pairingRoute(server: FastifyInstance, { access, authorize }: RouteContext, sessions: Sessions): void {
  server.post<{ Body: Static<typeof PairingBody> }>(
    "/v1/sessions/pairings",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["access"],
        operationId: "createPairing",
        summary: "Creates a link that pairs one browser, once, within 10 minutes",
        description: `Defaults for the browser's session: the role read, ${DEFAULT_DAYS} days. The role may not be above the caller's own.`,
        security: [{ bearer: [] }],
        body: PairingBody,
        response: { 201: PairingAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { label = "browser", role = "read", days = DEFAULT_DAYS } = request.body;
      const operator = identityOf(request);
      // The new session would outlive the one that paired it.
      if (access.isSession(request.raw))
        return refuse(reply, "forbidden", "a session cannot pair a browser; send a token");
      if (!mayDo(operator, role)) return refuse(reply, "forbidden", roleFault(operator, role, `pairing for ${role}`));
      const pairing = { name: sessionName(operator, label), role, forMs: days * DAY_MS };
      const { code, expiresMs } = await fromStore("sessions.createPairing", sessions.createPairing(pairing));
      const { name } = pairing;
      return reply.code(201).send({ code, link: linkOf(request, code), validUntil: isoOf(expiresMs), name, role });
    },
  );
}

/** The link by which a browser is paired. */
export const linkOf = ({ raw, headers }: FastifyRequest, code: string): string =>
  `${isSecure(raw) ? "https" : "http"}://${headers.host ?? "localhost"}/pair#${code}`;

function createRoute(server: FastifyInstance, { access, limits }: RouteContext, sessions: Sessions): void {
  server.post<{ Body: Static<typeof SessionBody> }>(
    "/v1/sessions",
    {
      config: { ownLimit: true },
      onRequest: [limits.sessions.guard, bodyWithin(SESSION_BODY_TIMEOUT_MS)],
      bodyLimit: SESSION_BODY_LIMIT,
      schema: {
        tags: ["access"],
        operationId: "createSession",
        summary: "Creates a browser's session: with a pairing code, or with a token (role read)",
        description: "The answer sets the session's cookie.",
        security: [{ bearer: [] }, {}],
        body: SessionBody,
        response: { 201: SessionAnswer, ...problems },
      },
    },
    async (request, reply) => {
      // Another site must not put its own session into a visitor's browser.
      if (originOf(request.raw) === "other")
        return refuse(reply, "forbidden_origin", "pair from a page of this server");
      const { code } = request.body;
      let pairing: Pairing | "full" | undefined;
      if (code !== undefined) {
        pairing = await fromStore("sessions.redeem", sessions.redeem(code));
        if (!pairing) return refuseClient(reply, await access.rejectLogin(request.raw, "pairing code"));
      } else {
        const asker = await access.authenticate(request.raw, { needsOrigin: true });
        if ("code" in asker) return refuseClient(reply, asker);
        // Otherwise revoking a session would have no effect.
        if (asker.isSession)
          return refuse(reply, "forbidden", "a session cannot create another one; send a token or a pairing code");
        pairing = { name: sessionName(asker.identity, "browser"), role: "read", forMs: DEFAULT_DAYS * DAY_MS };
        if (await fromStore("sessions.list", sessions.isAtLimit(pairing.name))) pairing = "full";
      }
      if (pairing === "full") return refuse(reply, "too_many_sessions", TOO_MANY);
      const created = await fromStore("sessions.create", sessions.create(pairing));
      if (!created) return refuse(reply, "too_many_sessions", TOO_MANY);
      const { secret, session } = created;
      const seconds = Math.floor(pairing.forMs / 1_000);
      reply.header("set-cookie", cookieFor(secret, seconds, isSecure(request.raw)));
      return reply.code(201).send(answerOf(session));
    },
  );
}

function currentRoute(server: FastifyInstance, { authorize }: RouteContext): void {
  server.get(
    "/v1/sessions/current",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["access"],
        operationId: "getSession",
        summary: "The caller's identity, by token or session",
        description: "The name that events record as their actor, and the role.",
        security: TOKEN_NEEDED,
        response: { 200: WhoAnswer, ...problems },
      },
    },
    (request, reply) => {
      const { name, role, person } = identityOf(request);
      reply.send({ name, role, ...(person === undefined ? {} : { person }) });
    },
  );
}

function endRoute(server: FastifyInstance, { authorize }: RouteContext, sessions: Sessions): void {
  server.delete(
    "/v1/sessions/current",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["access"],
        operationId: "deleteSession",
        summary: "Ends this browser's session",
        description: "Also deletes the cookie. With a token there is nothing to end.",
        security: TOKEN_NEEDED,
        response: { 204: { description: "The session has ended", type: "null" }, ...problems },
      },
    },
    async (request, reply) => {
      assertNoBody(request.body);
      const secret = cookieOf(request.headers.cookie);
      const session = secret === undefined ? undefined : await fromStore("sessions.find", sessions.find(secret));
      if (session) await fromStore("sessions.revoke", sessions.revoke(session.id));
      return reply
        .code(204)
        .header("set-cookie", cookieFor("", 0, isSecure(request.raw)))
        .send();
    },
  );
}

function listRoute(server: FastifyInstance, { authorize }: RouteContext, sessions: Sessions): void {
  server.get(
    "/v1/sessions",
    {
      onRequest: authorize("admin"),
      schema: {
        tags: ["access"],
        operationId: "listSessions",
        summary: "Sessions of browsers, the oldest first",
        description: "Only sessions that have not expired.",
        security: TOKEN_NEEDED,
        response: { 200: SessionList, ...problems },
      },
    },
    async () => {
      const list = await fromStore("sessions.list", sessions.list());
      return { sessions: list.map((each) => ({ id: each.id, ...answerOf(each), since: isoOf(each.createdMs) })) };
    },
  );
}

function revokeRoute(server: FastifyInstance, { authorize }: RouteContext, sessions: Sessions): void {
  server.delete<{ Params: Static<typeof SessionParams> }>(
    "/v1/sessions/:id",
    {
      onRequest: authorize("admin"),
      schema: {
        tags: ["access"],
        operationId: "revokeSession",
        summary: "Ends a session",
        description: "Every process refuses it within seconds, and its screens close.",
        security: TOKEN_NEEDED,
        params: SessionParams,
        response: { 204: { description: "The session has ended", type: "null" }, ...problems },
      },
    },
    async (request, reply) => {
      assertNoBody(request.body);
      const { id } = request.params;
      const found = await fromStore("sessions.revoke", sessions.revoke(id));
      return found ? reply.code(204).send() : refuse(reply, "unknown_session", `session ${id}`);
    },
  );
}

/** Begins with the name of the operator who paired it, so that a session cannot have another person's name. */
const sessionName = ({ name }: Identity, label: string): string => `${name.split("/", 1)[0]}/${label}`;

const answerOf = ({ name, role, person, expiresMs }: Session) => ({
  ...{ name, role, expiresAt: isoOf(expiresMs) },
  ...(person === undefined ? {} : { person }),
});
