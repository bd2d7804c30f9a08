/**
 * The key pair of a deployment: made once, whoever is first; the same after a restart; never overwritten, and its
 * private half is in no message.
 */
import { beforeEach, expect, it } from "vitest";
import { loadVapidKeys, type VapidKeys } from "../../../connectors/web-push/vapid-keys.js";
import { ManualClock } from "../../../engine/kernel/clock.js";
import { vapidKeysKey } from "../../../engine/stream/keys.js";
import { withRedis } from "../../redis/with-redis.js";

const PREFIX = "vapid-test";
const START_MS = Date.UTC(2026, 5, 18);
const redis = withRedis();
const load = (nowMs = START_MS): Promise<VapidKeys> => loadVapidKeys(redis.connect(), PREFIX, new ManualClock(nowMs));

beforeEach(() => redis.flush());

it("is the same for processes that start together, and after a restart", async () => {
  const together = await Promise.all(Array.from({ length: 8 }, () => load()));
  expect(new Set(together.map(({ privateKey }) => privateKey)).size).toBe(1);
  expect(await load(START_MS + 1_000)).toEqual(together[0]);
  expect(together[0]?.createdMs).toBe(START_MS);
});

it("differs between deployments", async () => {
  const other = await loadVapidKeys(redis.connect(), "another", new ManualClock(START_MS));
  expect((await load()).publicKey).not.toBe(other.publicKey);
});

it("is never overwritten: what cannot be read stops the start, without a quotation", async () => {
  const keys = await load();
  const client = redis.connect();
  const { publicKey } = await loadVapidKeys(client, "another", new ManualClock(START_MS));
  const damaged = [
    "",
    keys.privateKey,
    `{"privateKey":"${keys.privateKey}"`,
    JSON.stringify({ ...keys, publicKey }),
    JSON.stringify({ ...keys, privateKey: "A".repeat(43) }),
    JSON.stringify({ ...keys, createdMs: undefined }),
  ];
  for (const text of damaged) {
    await client.set(vapidKeysKey(PREFIX), text);
    const thrown = await load().catch((error: Error) => error);
    expect(thrown).toMatchObject({ code: "vapid_keys_unreadable" });
    expect(JSON.stringify([String(thrown), thrown])).not.toContain(keys.privateKey);
    expect(await client.get(vapidKeysKey(PREFIX))).toBe(text);
  }
});
