/**
 * Schemas of what became of notifications: deliveries of alerts and of tests, and the report of a phone that it has
 * displayed a message.
 */
import { Type } from "typebox";
import { closed, Instant } from "./common.js";

const Recipient = Type.String({
  pattern: "^(person:[a-z0-9][a-z0-9._-]{0,31}|endpoint:[A-Za-z0-9][A-Za-z0-9._-]{0,63})$",
  description: "person: and a person's id, or endpoint: and an endpoint's name",
  examples: ["person:li.wei"],
});

export const Delivery = Type.Object({
  alertId: Type.String({ description: "of a test: test: and its id" }),
  recipient: Type.String({ examples: ["person:li.wei"] }),
  channel: Type.String({ examples: ["web-push"] }),
  to: Type.String({ description: "the device's id, the user id or the endpoint's name" }),
  messageId: Type.String({ examples: ["person:li.wei/7"] }),
  sentAt: Instant,
  acceptedAt: Type.Optional({ ...Instant, description: "the channel has taken it" }),
  displayedAt: Type.Optional({ ...Instant, description: "the device has displayed it" }),
  failure: Type.Optional(Type.String()),
});

export const DeliveryList = Type.Object({ deliveries: Type.Array(Delivery) });

export const DeliveryQuery = Type.Object(
  { recipient: Type.Optional(Recipient), limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500 })) },
  closed,
);

export const MessageParams = Type.Object({
  messageId: Type.String({
    pattern: "^person:[a-z0-9][a-z0-9._-]{0,31}/[1-9][0-9]{0,14}$",
    description: "the id of a message to a person, percent-encoded in the path",
    examples: ["person:li.wei/7"],
  }),
});

export const DisplayedBody = Type.Object(
  {
    device: Type.String({
      pattern: "^[A-Za-z0-9_-]{16}$",
      description: "the device's id",
      examples: ["Zk3hQ1yq0bW5nT8c"],
    }),
  },
  closed,
);

export const TestBody = Type.Object({ to: Recipient }, closed);

export const TestAnswer = Type.Object({ testId: Type.String({ examples: ["b1Jt0pXw9QmY"] }) });

export const TestParams = Type.Object({
  testId: Type.String({ pattern: "^[A-Za-z0-9_-]{12}$", description: "a test's id", examples: ["b1Jt0pXw9QmY"] }),
});

export const EndpointList = Type.Object({
  endpoints: Type.Array(
    Type.Object({
      name: Type.String({ examples: ["purchasing-group"] }),
      channel: Type.String({ examples: ["dingtalk"] }),
      language: Type.Enum(["zh", "en"]),
    }),
  ),
});
