/**
 * The sandbox of a push service, over real HTTPS with the library that encrypts: it reads what a browser could read,
 * and refuses what the vendors refuse. So a push that it has taken is one that is right.
 */
import { Agent, request } from "node:https";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import webPush from "web-push";
import { PushSandbox } from "../../../connectors/web-push/sandbox.js";
import type { PushSubscription } from "../../../connectors/web-push/subscription.js";

const SUBJECT = "mailto:ops@shop.com";
const vapid = (subject = SUBJECT) => ({ subject, ...webPush.generateVAPIDKeys() });

let sandbox: PushSandbox;
let agent: Agent;

beforeEach(async () => {
  sandbox = new PushSandbox();
  await sandbox.start();
  agent = new Agent({ ca: sandbox.certificate });
});

afterEach(async () => {
  agent.destroy();
  await sandbox.stop();
});

const push = (subscription: PushSubscription, text: string, options: webPush.RequestOptions = {}) =>
  webPush
    .sendNotification(subscription, text, { agent, vapidDetails: vapid(), ...options })
    .then(({ statusCode }) => statusCode)
    .catch((thrown: webPush.WebPushError) => thrown.statusCode ?? String(thrown));

describe("the sandbox of a push service", () => {
  it("decrypts a message and reports its headers", async () => {
    const text = "手机壳 PHONE-CASE-01: 42 件/小时";
    const keys = vapid();
    const options = { vapidDetails: keys, TTL: 60, topic: "abc-123", urgency: "high" } as const;
    expect(await push(sandbox.subscribe(), text, options)).toBe(201);
    expect(sandbox.pushes).toMatchObject([
      { text, topic: "abc-123", urgency: "high", ttlSeconds: 60, sender: keys.publicKey, subject: SUBJECT },
    ]);
  });

  it("binds a subscription to the sender that pushes first", async () => {
    const subscription = sandbox.subscribe();
    const first = vapid();
    expect(await push(subscription, "1", { vapidDetails: first })).toBe(201);
    expect(await push(subscription, "2", { vapidDetails: vapid() })).toBe(403);
    expect(await push(subscription, "3", { vapidDetails: first })).toBe(201);
  });

  it("answers 404 for an unknown and 410 for an ended subscription", async () => {
    const subscription = sandbox.subscribe();
    sandbox.unsubscribe(subscription);
    expect(await push(subscription, "gone")).toBe(410);
    expect(await push({ ...subscription, endpoint: `${sandbox.url}/push/${"A".repeat(22)}` }, "unknown")).toBe(404);
  });

  it("refuses a local contact, another audience, a message for another browser and one that is too large", async () => {
    const subscription = sandbox.subscribe();
    expect(await push(subscription, "x", { vapidDetails: vapid("mailto:ops@localhost") })).toBe(403);
    const keys = vapid();
    const details = webPush.generateRequestDetails({ ...subscription, endpoint: "https://other.shop.com/1" }, "x", {
      vapidDetails: keys,
    });
    expect(await push(subscription, "x", { vapidDetails: null as never, headers: details.headers })).toBe(403);
    expect(await push({ ...subscription, keys: sandbox.subscribe().keys }, "x", { vapidDetails: keys })).toBe(400);
    expect(await push(subscription, "x".repeat(4_096), { vapidDetails: keys })).toBe(413);
    expect(sandbox.pushes).toEqual([]);
    expect(sandbox.refusals).toHaveLength(4);
  });

  it("gives subscriptions over HTTP, so that a running engine can be tried", async () => {
    const reply = await new Promise<string>((resolve, reject) => {
      request(`${sandbox.url}/sandbox/subscriptions`, { agent, method: "POST" }, (response) => {
        response.setEncoding("utf8").once("data", resolve);
      })
        .once("error", reject)
        .end();
    });
    expect(await push(JSON.parse(reply) as PushSubscription, "hello")).toBe(201);
  });
});
