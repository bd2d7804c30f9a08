/**
 * What the line of Web Push in the table of connectors opens: nothing without a subject, and a wrong option stops the
 * start of every process; with one, browsers are registered and pushes are sent with the same key in all of them.
 */
import { beforeEach, expect, it } from "vitest";
import type { ConnectorParts } from "../../../connectors/connector.js";
import { webPushConnector } from "../../../connectors/web-push/connector.js";
import { NO_CHANNELS } from "../../../engine/alerting/directory.js";
import { openAlertingStores } from "../../../engine/alerting/stores.js";
import { ManualClock } from "../../../engine/kernel/clock.js";
import { withRedis } from "../../redis/with-redis.js";
import { NOW_MS, SUBJECT } from "./bed.js";

const redis = withRedis();
const values = (vapidSubject?: string, pushHosts: string[] = []) => ({ vapidSubject, pushHosts });
let parts: ConnectorParts;

beforeEach(async () => {
  await redis.flush();
  const client = redis.connect();
  const of = { redis: client, prefix: "t", clock: new ManualClock(NOW_MS), onTrouble: () => {} };
  const channels = { publicUrl: undefined, directory: NO_CHANNELS, connections: new Map(), secrets: [] };
  const alerting = openAlertingStores({ ...of, channels: NO_CHANNELS });
  parts = { ...of, alerting, channels, lease: {}, append: async () => {} } as unknown as ConnectorParts;
});

const [sink] = webPushConnector.sinks ?? [];

it("opens nothing without a subject, and warns when devices get no pushes", async () => {
  expect(sink?.isConfigured(values())).toBe(false);
  expect(webPushConnector.personChannel?.(values())).toBeUndefined();
  expect(await webPushConnector.open?.(values(), parts)).toBeUndefined();
  const device = { id: "A".repeat(16), person: "li", label: "iPhone", channel: "web-push", address: {} } as const;
  await parts.alerting.devices.register(device);
  const opened = await webPushConnector.open?.(values(), parts);
  expect(opened?.warnings?.()).toEqual([expect.stringContaining("--vapid-subject")]);
  expect(opened?.pushRegistrations).toBeUndefined();
});

it.each([
  ["mailto:ops@localhost", [], "--vapid-subject"],
  ["ops@shop.com", [], "--vapid-subject"],
  [SUBJECT, ["https://push.shop.com"], "--push-hosts"],
])("stops the start with %s, %j", async (subject, hosts, option) => {
  const expected = { code: "bad_option", message: expect.stringContaining(option) };
  await expect(webPushConnector.open?.(values(subject, hosts), parts)).rejects.toMatchObject(expected);
  await expect(sink?.open(values(subject, hosts), parts)).rejects.toMatchObject(expected);
});

it("has the same key in every process", async () => {
  const opened = await Promise.all([1, 2].map(() => webPushConnector.open?.(values(SUBJECT), parts)));
  const [one, other] = opened.map((each) => each?.pushRegistrations?.publicKey);
  expect(one).toMatch(/^[\w-]{87}$/);
  expect(other).toBe(one);
  const open = await sink?.open(values(SUBJECT), parts);
  expect(open?.receiver.wants("send-web-push")).toBe(true);
  await open?.close?.();
});
