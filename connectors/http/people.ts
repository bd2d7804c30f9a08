/**
 * People who are notified of alerts, over HTTP: an administrator adds and removes them and pairs their phones. Who is
 * removed cannot do anything any more: their sessions end, their devices are deleted, and a pairing code that is still
 * open pairs no one. What people change themselves is in own-settings.ts.
 */
import type { FastifyInstance } from "fastify";
import type { Static } from "typebox";
import type { Person } from "../../engine/alerting/people.js";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { badInputFault, refuse } from "./problem.js";
import { assertNoBody, isoOf, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import {
  PersonAnswer,
  PersonBody,
  PersonList,
  PersonParams,
  PhonePairingAnswer,
  PhonePairingBody,
} from "./schemas/people.js";
import { problems } from "./schemas/problem.js";
import { DEFAULT_DAYS, linkOf } from "./session-routes.js";
import type { Sessions } from "./sessions.js";
import { fromStore } from "./store-errors.js";

type Params = Static<typeof PersonParams>;

/** `/v1/people/me` is the caller. */
const RESERVED_ID = "me";

export const peopleRoutes: RouteGroup = (server, context) => {
  readRoutes(server, context);
  putRoute(server, context);
  deleteRoute(server, context);
  const { sessions } = context.deps;
  if (sessions) pairingRoute(server, context, sessions);
};

function readRoutes(server: FastifyInstance, { deps: { alerting }, authorize }: RouteContext): void {
  server.get(
    "/v1/people",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["people"],
        operationId: "listPeople",
        summary: "People who are notified of alerts, by their ids",
        description: "With their roles, ladder of contacts and quiet hours. 500 at most.",
        security: TOKEN_NEEDED,
        response: { 200: PersonList, ...problems },
      },
    },
    async () => ({ people: await fromStore("people.list", alerting.people.list()) }),
  );
  server.get<{ Params: Params }>(
    "/v1/people/:id",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["people"],
        operationId: "getPerson",
        summary: "A person who is notified of alerts",
        description: "As it was within the last second.",
        security: TOKEN_NEEDED,
        params: PersonParams,
        response: { 200: PersonAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const person = await fromStore("people.get", alerting.people.get(id));
      return person ? reply.send(person) : refuse(reply, "unknown_person", `person ${id}`);
    },
  );
}

function putRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  const { alerting } = deps;
  server.put<{ Params: Params; Body: Static<typeof PersonBody> }>(
    "/v1/people/:id",
    {
      onRequest: authorize("admin"),
      schema: {
        tags: ["people"],
        operationId: "setPerson",
        summary: "Adds or replaces a person",
        description:
          "Everything but the sessions and devices is replaced. Safe to repeat. Who has no usable contact in the ladder is notified of nothing.",
        security: TOKEN_NEEDED,
        params: PersonParams,
        body: PersonBody,
        response: { 200: PersonAnswer, 201: PersonAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      if (id === RESERVED_ID) throw badInputFault([{ field: "id", message: `must not be ${RESERVED_ID}` }]);
      const person: Person = { id, ...request.body };
      // What is left of an earlier person of this id, whose removal broke off, must not be the new one's.
      if (!(await fromStore("people.get", alerting.people.get(id)))) await removePhones(deps, id);
      const outcome = await fromStore("people.put", alerting.people.put(person));
      if (outcome === "too_many") return refuse(reply, "too_many_people", "remove some first");
      return reply.code(outcome === "created" ? 201 : 200).send(person);
    },
  );
}

function deleteRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  const { alerting } = deps;
  server.delete<{ Params: Params }>(
    "/v1/people/:id",
    {
      onRequest: authorize("admin"),
      schema: {
        tags: ["people"],
        operationId: "deletePerson",
        summary: "Removes a person with their sessions and devices",
        description: "Every process refuses their phones within seconds. Send it again after a failure: it completes.",
        security: TOKEN_NEEDED,
        params: PersonParams,
        response: { 204: { description: "The person is removed", type: "null" }, ...problems },
      },
    },
    async (request, reply) => {
      assertNoBody(request.body);
      const { id } = request.params;
      // First: from then on no session and no code of the person works, and no device is registered.
      const isKnown = await fromStore("people.remove", alerting.people.remove(id));
      await removePhones(deps, id);
      return isKnown ? reply.code(204).send() : refuse(reply, "unknown_person", `person ${id}`);
    },
  );
}

/** Ends a person's sessions and removes their devices. */
async function removePhones({ alerting, sessions }: RouteContext["deps"], id: string): Promise<void> {
  await fromStore("sessions.revokeOf", sessions?.revokeOf(id) ?? Promise.resolve());
  await fromStore("devices.removeOf", alerting.devices.removeOf(id, "person_removed"));
}

function pairingRoute(
  server: FastifyInstance,
  { deps: { alerting }, authorize }: RouteContext,
  sessions: Sessions,
): void {
  server.post<{ Params: Params; Body: Static<typeof PhonePairingBody> }>(
    "/v1/people/:id/pairings",
    {
      onRequest: authorize("admin"),
      schema: {
        tags: ["people"],
        operationId: "createPhonePairing",
        summary: "Creates a link that pairs one phone with a person, once, within 10 minutes",
        description: `The phone's session has the role read and lasts ${DEFAULT_DAYS} days by default; the person acknowledges and silences alerts with it. Show the link as a QR code.`,
        security: TOKEN_NEEDED,
        params: PersonParams,
        body: PhonePairingBody,
        response: { 201: PhonePairingAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { label = "phone", days = DEFAULT_DAYS } = request.body;
      const person = await fromStore("people.get", alerting.people.get(id));
      if (!person) return refuse(reply, "unknown_person", `person ${id}`);
      const pairing = { name: `${id}/${label}`, role: "read", person: id, forMs: days * DAY_MS } as const;
      const { code, expiresMs } = await fromStore("sessions.createPairing", sessions.createPairing(pairing));
      const answer = {
        code,
        link: linkOf(request, code),
        validUntil: isoOf(expiresMs),
        name: pairing.name,
        person: id,
      };
      return reply.code(201).send(answer);
    },
  );
}
