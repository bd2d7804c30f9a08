/**
 * The deliveries of notifications over HTTP (R11): how far each has come, sent, accepted, displayed; test messages; and
 * the report of a phone's service worker that it has displayed a message. Such a report is accepted from the session of
 * the person whose message it is and for a device of that person only, so nobody can make another person's alert look
 * seen.
 */
import type { FastifyInstance } from "fastify";
import type { Static } from "typebox";
import {
  DELIVERED_EVENT,
  type DeliveredEvent,
  type DeliveryFunnel,
  TEST_EVENT,
  type TestEvent,
} from "../../engine/alerting/notification.js";
import { personKey, recipientsOf } from "../../engine/alerting/recipients.js";
import { MINUTE_MS } from "../../engine/kernel/clock.js";
import { secureBytes } from "../../engine/kernel/random.js";
import { identityOf, mayDo, personFault, personOf } from "./identity.js";
import { badInputFault, HttpFault, refuse, retryAfter } from "./problem.js";
import { RatePerClient } from "./rate-per-client.js";
import { isoOf, queryWith, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import {
  type Delivery,
  DeliveryList,
  DeliveryQuery,
  DisplayedBody,
  EndpointList,
  MessageParams,
  TestAnswer,
  TestBody,
  TestParams,
} from "./schemas/notifications.js";
import { problems } from "./schemas/problem.js";
import { fromStore } from "./store-errors.js";

const DEFAULT_LIMIT = 100;
/** An alert in the minute on each of ten devices, and what a phone sends after it was offline. */
const DISPLAYED_PER_MINUTE = 300;
/** Each is a message on every phone of a person. */
const TESTS_PER_MINUTE = 10;
const TEST_ID_BYTES = 9;

export const deliveryRoutes: RouteGroup = (server, context) => {
  readRoutes(server, context);
  displayedRoute(server, context);
  testRoutes(server, context);
};

function readRoutes(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  server.get<{ Querystring: Static<typeof DeliveryQuery> }>(
    "/v1/notifications",
    {
      onRequest: authorize("read"),
      preValidation: queryWith("limit"),
      schema: {
        tags: ["alerts"],
        operationId: "listDeliveries",
        summary: "The newest deliveries to the caller, or to a recipient, the newest first",
        description: `Default \`recipient\`: the person of the session. Others need the role operate. Default \`limit\`: ${DEFAULT_LIMIT}.`,
        security: TOKEN_NEEDED,
        querystring: DeliveryQuery,
        response: { 200: DeliveryList, ...problems },
      },
    },
    (request, reply) => {
      const identity = identityOf(request);
      const own = identity.person === undefined ? undefined : personKey(identity.person);
      const { recipient = own, limit = DEFAULT_LIMIT } = request.query;
      if (recipient === undefined) throw badInputFault([{ field: "recipient", message: "is missing" }]);
      if (recipient !== own && !mayDo(identity, "operate"))
        throw new HttpFault("forbidden", personFault(identity, "operate"));
      reply.send({ deliveries: deps.notificationsView.funnelsTo(recipient, limit).map(deliveryAnswer) });
    },
  );

  server.get(
    "/v1/endpoints",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["alerts"],
        operationId: "listEndpoints",
        summary: "The endpoints of the configuration file that ladders and routes may name",
        description: "Without addresses and secrets.",
        security: TOKEN_NEEDED,
        response: { 200: EndpointList, ...problems },
      },
    },
    async () => {
      const { endpoints } = await fromStore("alerting.directory", deps.alerting.directory.read());
      return { endpoints: endpoints.map(({ name, channel, language }) => ({ name, channel, language })) };
    },
  );
}

function displayedRoute(server: FastifyInstance, { deps, authorizePerson }: RouteContext): void {
  const rate = new RatePerClient(DISPLAYED_PER_MINUTE);
  server.post<{ Params: Static<typeof MessageParams>; Body: Static<typeof DisplayedBody> }>(
    "/v1/notifications/:messageId/displayed",
    {
      onRequest: authorizePerson(),
      schema: {
        tags: ["alerts"],
        operationId: "recordDisplayed",
        summary: "Records that a device has displayed a message",
        description:
          "By the phone of the person to whom the message was sent. Write the `/` of the id as `%2F` in the path. Safe to repeat; an unknown id changes nothing.",
        security: TOKEN_NEEDED,
        params: MessageParams,
        body: DisplayedBody,
        response: { 204: { description: "It is recorded", type: "null" }, ...problems },
      },
    },
    async (request, reply) => {
      const { messageId } = request.params;
      const { device: id } = request.body;
      const person = personOf(request);
      const key = personKey(person);
      if (!messageId.startsWith(`${key}/`)) return refuse(reply, "forbidden", "the message was sent to another person");
      if (!rate.take(person)) return tooMany(DISPLAYED_PER_MINUTE);
      const device = await fromStore("devices.get", deps.alerting.devices.get(id));
      if (device?.person !== person) return refuse(reply, "unknown_device", `no device ${id} of this person`);
      const payload: DeliveredEvent = {
        ...{ messageId, address: { channel: device.channel, to: id }, result: "displayed" },
      };
      // The log first: when the second write fails, the phone sends both again.
      await fromStore(
        "notifications.displayed",
        deps.appendNotifications([{ id: messageId, key, kind: DELIVERED_EVENT, payload }]),
      );
      await fromStore("devices.displayed", deps.alerting.devices.displayed(id, deps.clock.now()));
      return reply.code(204).send();
    },
  );
}

function testRoutes(server: FastifyInstance, { deps, authorize, authorizePerson }: RouteContext): void {
  const rate = new RatePerClient(TESTS_PER_MINUTE);
  server.post<{ Body: Static<typeof TestBody> }>(
    "/v1/notification-tests",
    {
      onRequest: authorizePerson("operate"),
      schema: {
        tags: ["alerts"],
        operationId: "createNotificationTest",
        summary: "Sends a test message to every address of a recipient",
        description:
          "A person may test themselves, the role operate everybody. What becomes of it is under the test's id. Each request is another test.",
        security: TOKEN_NEEDED,
        body: TestBody,
        response: { 202: TestAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { to } = request.body;
      const identity = identityOf(request);
      const isOwn = identity.person !== undefined && to === personKey(identity.person);
      if (!isOwn && !mayDo(identity, "operate"))
        return refuse(reply, "forbidden", `a test of ${to}: ${personFault(identity, "operate")}`);
      if (!rate.take(identity.person ?? identity.name)) return tooMany(TESTS_PER_MINUTE);
      const directory = await fromStore("alerting.directory", deps.alerting.directory.read());
      const [recipient] = recipientsOf([to], directory).recipients;
      if (!recipient) return refuse(reply, "not_reachable", `${to} does not exist, or has no contact that can be used`);
      const testId = secureBytes(TEST_ID_BYTES).toString("base64url");
      const payload: TestEvent = { testId, actor: identity.name, recipient };
      await fromStore(
        "notifications.test",
        deps.appendNotifications([{ id: `test:${testId}`, key: recipient.key, kind: TEST_EVENT, payload }]),
      );
      return reply.code(202).send({ testId });
    },
  );

  server.get<{ Params: Static<typeof TestParams> }>(
    "/v1/notification-tests/:testId",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["alerts"],
        operationId: "getNotificationTest",
        summary: "What became of a test message at each address",
        description: "Empty until the test was sent, and for a test that does not exist. Kept for about a day.",
        security: TOKEN_NEEDED,
        params: TestParams,
        response: { 200: DeliveryList, ...problems },
      },
    },
    (request, reply) => {
      const deliveries = deps.notificationsView.funnelsOf(`test:${request.params.testId}`);
      reply.send({ deliveries: deliveries.map(deliveryAnswer) });
    },
  );
}

function tooMany(perMinute: number): never {
  throw new HttpFault("overloaded", `more than ${perMinute} of these requests in a minute`, {
    headers: retryAfter(MINUTE_MS / 1_000),
  });
}

export const deliveryAnswer = ({
  sentMs,
  acceptedMs,
  displayedMs,
  ...delivery
}: DeliveryFunnel): Static<typeof Delivery> => ({
  ...delivery,
  sentAt: isoOf(sentMs),
  ...(acceptedMs === undefined ? {} : { acceptedAt: isoOf(acceptedMs) }),
  ...(displayedMs === undefined ? {} : { displayedAt: isoOf(displayedMs) }),
});
