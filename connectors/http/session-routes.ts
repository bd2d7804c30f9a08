/**
 * Sessions over HTTP: an operator makes a pairing code, a browser brings it and gets a cookie, an administrator lists
 * and ends sessions. A code is redeemed by a POST only, because chat programs open links to show a preview; and it
 * stands after the # of its link, which a browser keeps to itself.
 */
import type { Static } from "typebox";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { refuse as refuseClient } from "./access.js";
import { bodyWithin } from "./admission.js";
import { isSecure, originOf } from "./client.js";
import { type Identity, identityOf, mayDo, roleFault } from "./identity.js";
import { pairingPage } from "./pairing-page.js";
import { refuse } from "./problem.js";
import { assertNoBody, isoOf, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import {
  PairingAnswer,
  PairingBody,
  problems,
  SessionAnswer,
  SessionBody,
  SessionList,
  SessionParams,
  WhoAnswer,
} from "./schemas.js";
import { cookieFor, cookieOf, type Pairing, type Session } from "./sessions.js";
import { fromStore } from "./store-errors.js";

const DEFAULT_DAYS = 90;
/**
 * Everybody may ask for a session, and the body is read before it is known who does: these requests have places of
 * their own, and little time, so that they never take those of orders.
 */
export const MAX_SESSION_REQUESTS = 64;
/** Of one address, so that a single slow sender does not hold up everybody's pairing. */
export const MAX_SESSION_REQUESTS_EACH = MAX_SESSION_REQUESTS / 4;
const SESSION_BODY_LIMIT = 1_024;
const SESSION_BODY_TIMEOUT_MS = 3_000;
const TOO_MANY = "an administrator has to end some first";

export const sessionRoutes: RouteGroup = (server, { deps, access, authorize, limits }) => {
  const { sessions } = deps;
  if (!sessions) return;

  server.get("/pair", { schema: { hide: true } }, (_request, reply) => {
    reply.headers(pairingPage.headers).send(pairingPage.html);
  });

  server.post<{ Body: Static<typeof PairingBody> }>(
    "/v1/sessions/pairings",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["access"],
        operationId: "createPairing",
        summary: "Makes a link that pairs one browser, once, within 10 minutes",
        description: `The browser's session has the role read when none is given, and lasts ${DEFAULT_DAYS} days when none are. No role above one's own.`,
        security: [{ bearer: [] }],
        body: PairingBody,
        response: { 201: PairingAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { label = "browser", role = "read", days = DEFAULT_DAYS } = request.body;
      const operator = identityOf(request);
      // It would outlive the session that made it, however that one ends.
      if (access.isSession(request.raw)) return refuse(reply, "forbidden", "a session pairs nobody; bring a token");
      if (!mayDo(operator, role)) return refuse(reply, "forbidden", roleFault(operator, role, `pairing for ${role}`));
      const pairing = { name: sessionName(operator, label), role, forMs: days * DAY_MS };
      const { code, expiresMs } = await fromStore("sessions.createPairing", sessions.createPairing(pairing));
      const base = `${isSecure(request.raw) ? "https" : "http"}://${request.headers.host ?? "localhost"}`;
      const { name } = pairing;
      return reply.code(201).send({ code, link: `${base}/pair#${code}`, validUntil: isoOf(expiresMs), name, role });
    },
  );

  server.post<{ Body: Static<typeof SessionBody> }>(
    "/v1/sessions",
    {
      config: { ownLimit: true },
      onRequest: [limits.sessions.guard, bodyWithin(SESSION_BODY_TIMEOUT_MS)],
      bodyLimit: SESSION_BODY_LIMIT,
      schema: {
        tags: ["access"],
        operationId: "createSession",
        summary: "Begins a browser's session: with a pairing code, or to read with a token",
        description: "The session is in the cookie that comes with the answer.",
        security: [{ bearer: [] }, {}],
        body: SessionBody,
        response: { 201: SessionAnswer, ...problems },
      },
    },
    async (request, reply) => {
      // Another site must not put its own session into a visitor's browser.
      if (originOf(request.raw) === "other")
        return refuse(reply, "forbidden_origin", "pair from this server's own page");
      const { code } = request.body;
      let pairing: Pairing | "full" | undefined;
      if (code !== undefined) {
        pairing = await fromStore("sessions.redeem", sessions.redeem(code));
        if (!pairing) return refuseClient(reply, await access.rejectLogin(request.raw, "pairing code"));
      } else {
        const asker = await access.authenticate(request.raw, { needsOrigin: true });
        if ("code" in asker) return refuseClient(reply, asker);
        // Its end and its revocation would mean nothing.
        if (asker.isSession) return refuse(reply, "forbidden", "a session begins no other; bring a token or a code");
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

  server.get(
    "/v1/sessions/current",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["access"],
        operationId: "getSession",
        summary: "Who one is here, by token or session",
        description: "The name that events bear, and the role.",
        security: TOKEN_NEEDED,
        response: { 200: WhoAnswer, ...problems },
      },
    },
    (request, reply) => {
      const { name, role } = identityOf(request);
      reply.send({ name, role });
    },
  );

  server.delete(
    "/v1/sessions/current",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["access"],
        operationId: "deleteSession",
        summary: "Ends this browser's session",
        description: "And takes the cookie back. With a token there is nothing to end.",
        security: TOKEN_NEEDED,
        response: { 204: { description: "It is over", type: "null" }, ...problems },
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

  server.get(
    "/v1/sessions",
    {
      onRequest: authorize("admin"),
      schema: {
        tags: ["access"],
        operationId: "listSessions",
        summary: "Sessions of browsers, the oldest first",
        description: "Those that are not over yet.",
        security: TOKEN_NEEDED,
        response: { 200: SessionList, ...problems },
      },
    },
    async () => {
      const list = await fromStore("sessions.list", sessions.list());
      return { sessions: list.map((each) => ({ id: each.id, ...answerOf(each), since: isoOf(each.createdMs) })) };
    },
  );

  server.delete<{ Params: Static<typeof SessionParams> }>(
    "/v1/sessions/:id",
    {
      onRequest: authorize("admin"),
      schema: {
        tags: ["access"],
        operationId: "revokeSession",
        summary: "Ends a session",
        description: "Within seconds every process refuses it, and its screens close.",
        security: TOKEN_NEEDED,
        params: SessionParams,
        response: { 204: { description: "It is over", type: "null" }, ...problems },
      },
    },
    async (request, reply) => {
      assertNoBody(request.body);
      const { id } = request.params;
      const found = await fromStore("sessions.revoke", sessions.revoke(id));
      return found ? reply.code(204).send() : refuse(reply, "unknown_session", `session ${id}`);
    },
  );
};

/** Who paired it comes first, so nobody can give a session somebody else's name. */
const sessionName = ({ name }: Identity, label: string): string => `${name.split("/", 1)[0]}/${label}`;

const answerOf = ({ name, role, expiresMs }: Session) => ({ name, role, expiresAt: isoOf(expiresMs) });
