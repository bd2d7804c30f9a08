/**
 * Settings that results depend on: fixed by the first process, checked by every later one, and changed when no process
 * runs.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { serveOptions } from "../../engine/app/config.js";
import { runServe } from "../../engine/app/serve.js";
import { readOptions } from "../../engine/kernel/options.js";
import { deploymentKey, processesKey } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { claimSettings } from "../../engine/stream/settings.js";
import { withRedis } from "../redis/with-redis.js";

const server = withRedis();
let redis: RedisClient;
beforeAll(() => {
  redis = server.connect();
});

const claim = (prefix: string, settings: Record<string, string>, accept = false) =>
  claimSettings({ redis, prefix, settings, accept, onTrouble: () => {} });

describe("a process", () => {
  it("with another value than the first is rejected, with both values and the way to change them", async () => {
    await claim("one", { zone: "Asia/Shanghai", "label-deadline": "2h" });
    await claim("one", { zone: "Asia/Shanghai", "label-deadline": "2h" });
    await claim("one", { zone: "Asia/Shanghai" });
    await expect(claim("one", { zone: "UTC", "label-deadline": "3h" })).rejects.toMatchObject({
      code: "settings_differ",
      message: expect.stringMatching(
        /--zone Asia\/Shanghai, but this process has UTC; with --label-deadline 2h.* 3h.*--accept-settings/,
      ),
    });
    await claim("another", { zone: "UTC" });
  });

  it("of two that start at once and differ continues alone", async () => {
    const claims = await Promise.allSettled(["UTC", "Asia/Tokyo"].map((zone) => claim("race", { zone })));
    expect(claims.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  it("adds settings that the deployment does not have yet", async () => {
    await redis.hset(deploymentKey("old"), "partitions", 4);
    await claim("old", { zone: "UTC" });
    await claim("old", { zone: "UTC", "picking-deadline": "5m" });
    await expect(claim("old", { "picking-deadline": "6m" })).rejects.toMatchObject({ code: "settings_differ" });
  });

  it("checks the picking deadline in every worker, also in one that sends nothing to the warehouse", async () => {
    await claim("blind", { "picking-deadline": "5m" });
    const args = ["--roles", "worker", "--redis-url", server.url, "--prefix", "blind", "--picking-deadline", "6m"];
    const { values } = readOptions(serveOptions, { env: {}, args });
    await expect(runServe(values, AbortSignal.abort())).rejects.toMatchObject({ code: "settings_differ" });
  });

  it("changes them when allowed, and not while another process runs with the old ones", async () => {
    await claim("change", { zone: "UTC" });
    const [seconds] = await redis.time();
    await redis.zadd(processesKey("change"), Number(seconds) * 1_000 + 600_000, "shop-1/77/ab 0.9 2 jobs");
    await expect(claim("change", { zone: "Asia/Tokyo" }, true)).rejects.toMatchObject({
      code: "settings_in_use",
      message: expect.stringContaining("shop-1/77/ab still runs with --zone UTC"),
    });
    await redis.del(processesKey("change"));
    await claim("change", { zone: "Asia/Tokyo" }, true);
    await claim("change", { zone: "Asia/Tokyo" });
    await expect(claim("change", { zone: "UTC" })).rejects.toMatchObject({ code: "settings_differ" });
  });
});
