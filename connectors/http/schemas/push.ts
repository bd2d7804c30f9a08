/** Schemas of Web Push: the public key of the deployment, and subscriptions as browsers give them. */
import { Type } from "typebox";
import { closed, Instant, text } from "./common.js";

/** What push services and browsers send is shorter; its form is checked by the connector. */
const MAX_ENDPOINT = 2_048;
const MAX_KEY = 128;

const PUBLIC_KEY = "BElGCiB6nVzk0Ch2GZbTBFyyKgPzIiCNPvyKhSyUZ7CJfAXhZV0F0KLVhYBtbZlZn9YLTbQJXaSpLZ0eyEVLnN0";

export const PushKeyAnswer = Type.Object({
  publicKey: Type.String({
    description: "base64url: the applicationServerKey of pushManager.subscribe",
    examples: [PUBLIC_KEY],
  }),
  since: { ...Instant, description: "when the key pair was made; a subscription made with another key is of no use" },
});

const subscription = {
  endpoint: Type.String({
    minLength: 1,
    maxLength: MAX_ENDPOINT,
    description: `an https address of a push service, of up to ${MAX_ENDPOINT} characters`,
    examples: ["https://fcm.googleapis.com/fcm/send/dXNlcg"],
  }),
  keys: Type.Object(
    {
      p256dh: Type.String({
        minLength: 1,
        maxLength: MAX_KEY,
        description: "the browser's public key in base64url",
        examples: [PUBLIC_KEY],
      }),
      auth: Type.String({
        minLength: 1,
        maxLength: MAX_KEY,
        description: "the browser's 16 bytes in base64url",
        examples: ["tBHItJI5svbpez7KI4CCXg"],
      }),
    },
    closed,
  ),
};

export const PushSubscriptionBody = Type.Object(
  {
    ...subscription,
    expirationTime: Type.Optional(
      Type.Union([Type.Null(), Type.Number()], { description: "null or a time in milliseconds; it is ignored" }),
    ),
    label: text(64, "a name of the browser or phone", "iPhone"),
  },
  closed,
);

export const PushDeviceAnswer = Type.Object({
  id: Type.String({
    description: "the device's id, for DELETE /v1/people/me/devices/{id}",
    examples: ["Zk3hQ1yq0bW5nT8c"],
  }),
  label: Type.String({ examples: ["iPhone"] }),
  since: Instant,
});
