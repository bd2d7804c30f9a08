/**
 * What people do about themselves with their phones: language, ladder of contacts, quiet hours and devices. The person
 * is that of the session, never one that the request names, so nobody reads or changes another person's settings here.
 */
import type { FastifyInstance } from "fastify";
import type { Static } from "typebox";
import type { Device } from "../../engine/alerting/people.js";
import { personOf } from "./identity.js";
import { refuse } from "./problem.js";
import { assertNoBody, isoOf, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { DeviceList, DeviceParams, OwnSettingsBody, PersonAnswer } from "./schemas/people.js";
import { problems } from "./schemas/problem.js";
import { fromStore } from "./store-errors.js";

export const ownSettingsRoutes: RouteGroup = (server, context) => {
  ownRoutes(server, context);
  deviceRoutes(server, context);
};

function ownRoutes(server: FastifyInstance, { deps: { alerting }, authorizePerson }: RouteContext): void {
  server.get(
    "/v1/people/me",
    {
      onRequest: authorizePerson(),
      schema: {
        tags: ["people"],
        operationId: "getOwnSettings",
        summary: "The person of the caller's session",
        description: "As it was within the last second. A token is no person's.",
        security: TOKEN_NEEDED,
        response: { 200: PersonAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const id = personOf(request);
      const person = await fromStore("people.get", alerting.people.get(id));
      return person ? reply.send(person) : refuse(reply, "unknown_person", `person ${id}`);
    },
  );
  server.patch<{ Body: Static<typeof OwnSettingsBody> }>(
    "/v1/people/me",
    {
      onRequest: authorizePerson(),
      schema: {
        tags: ["people"],
        operationId: "updateOwnSettings",
        summary: "Changes the caller's own language, ladder or quiet hours",
        description:
          "Only what is given changes. Alerts that are under way use the new settings from their next level.",
        security: TOKEN_NEEDED,
        body: OwnSettingsBody,
        response: { 200: PersonAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const id = personOf(request);
      const person = await fromStore("people.change", alerting.people.change(id, request.body));
      return person ? reply.send(person) : refuse(reply, "unknown_person", `person ${id}`);
    },
  );
}

function deviceRoutes(server: FastifyInstance, { deps: { alerting }, authorizePerson }: RouteContext): void {
  server.get(
    "/v1/people/me/devices",
    {
      onRequest: authorizePerson(),
      schema: {
        tags: ["people"],
        operationId: "listOwnDevices",
        summary: "The caller's devices that receive pushes, the oldest first",
        description: "With when something was displayed on each for the last time.",
        security: TOKEN_NEEDED,
        response: { 200: DeviceList, ...problems },
      },
    },
    async (request) => {
      const own = await fromStore("devices.of", alerting.devices.of(personOf(request)));
      return { devices: own.map(deviceAnswer) };
    },
  );
  server.delete<{ Params: Static<typeof DeviceParams> }>(
    "/v1/people/me/devices/:id",
    {
      onRequest: authorizePerson(),
      schema: {
        tags: ["people"],
        operationId: "deleteOwnDevice",
        summary: "Removes a device of the caller: nothing is pushed to it any more",
        description: "Its session stays; end it with `DELETE /v1/sessions/current` on the device.",
        security: TOKEN_NEEDED,
        params: DeviceParams,
        response: { 204: { description: "The device is removed", type: "null" }, ...problems },
      },
    },
    async (request, reply) => {
      assertNoBody(request.body);
      const { id } = request.params;
      const device = await fromStore("devices.get", alerting.devices.get(id));
      const isOwn = device?.person === personOf(request);
      if (!isOwn || !(await fromStore("devices.remove", alerting.devices.remove(id, "by_its_owner"))))
        return refuse(reply, "unknown_device", `no device ${id} of this person`);
      return reply.code(204).send();
    },
  );
}

/** Without the address, which is a secret. */
const deviceAnswer = ({ id, label, channel, createdMs, displayedMs, silentPushes }: Device) => ({
  ...{ id, label, channel, silentPushes, since: isoOf(createdMs) },
  ...(displayedMs === 0 ? {} : { displayedAt: isoOf(displayedMs) }),
});
