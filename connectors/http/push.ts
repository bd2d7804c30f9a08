/**
 * Web Push over HTTP: the key with which a browser subscribes, and the registration of its subscription for the person
 * of the session. What a subscription must be is checked by the connector of Web Push; an answer has no address,
 * because who has one, and the keys, can send to the browser.
 */
import type { FastifyInstance } from "fastify";
import type { Static } from "typebox";
import { MINUTE_MS } from "../../engine/kernel/clock.js";
import { personOf } from "./identity.js";
import { badInputFault, refuse, retryAfter } from "./problem.js";
import { RatePerClient } from "./rate-per-client.js";
import { isoOf, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { problems } from "./schemas/problem.js";
import { PushDeviceAnswer, PushKeyAnswer, PushSubscriptionBody } from "./schemas/push.js";
import { fromStore } from "./store-errors.js";

/** A browser registers when its page opens; more comes from a fault of the page. */
const PER_MINUTE = 30;
const NOT_CONFIGURED = "Web Push needs --vapid-subject";

export const pushRoutes: RouteGroup = (server, context) => {
  keyRoute(server, context);
  subscribeRoute(server, context);
};

function keyRoute(server: FastifyInstance, { deps: { push }, authorize }: RouteContext): void {
  server.get(
    "/v1/push/key",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["people"],
        operationId: "getPushKey",
        summary: "The public key with which a browser subscribes to pushes",
        description:
          "A browser whose subscription was made with another key unsubscribes and subscribes again. 404 when Web Push is not configured.",
        security: TOKEN_NEEDED,
        response: { 200: PushKeyAnswer, ...problems },
      },
    },
    (_request, reply) => {
      if (push) reply.send({ publicKey: push.publicKey, since: isoOf(push.createdMs) });
      else refuse(reply, "push_not_configured", NOT_CONFIGURED);
    },
  );
}

function subscribeRoute(server: FastifyInstance, { deps, authorizePerson }: RouteContext): void {
  const { push } = deps;
  const rate = new RatePerClient(PER_MINUTE);
  server.post<{ Body: Static<typeof PushSubscriptionBody> }>(
    "/v1/push/subscriptions",
    {
      onRequest: authorizePerson(),
      schema: {
        tags: ["people"],
        operationId: "createPushSubscription",
        summary: "Registers the caller's browser for pushes",
        description:
          "With what pushManager.subscribe gives. The same subscription again is the same device. A person has 10 devices at most.",
        security: TOKEN_NEEDED,
        body: PushSubscriptionBody,
        response: { 201: PushDeviceAnswer, ...problems },
      },
    },
    async (request, reply) => {
      if (!push) return refuse(reply, "push_not_configured", NOT_CONFIGURED);
      const person = personOf(request);
      if (!rate.take(person))
        return refuse(reply, "overloaded", `more than ${PER_MINUTE} subscriptions of ${person} in a minute`, {
          headers: retryAfter(MINUTE_MS / 1_000),
        });
      const { label, endpoint, keys } = request.body;
      const registered = await fromStore("devices.register", push.register(person, label, { endpoint, keys }));
      if (registered === "too_many") return refuse(reply, "too_many_devices", "remove one first");
      if (!("id" in registered)) throw badInputFault([...registered]);
      return reply.code(201).send({ id: registered.id, label: registered.label, since: isoOf(registered.createdMs) });
    },
  );
}
