/**
 * The deployment's format: given to a new one, kept by an old one until it is raised, and never lowered by a reader.
 */
import { describe, expect, it } from "vitest";
import { systemClock } from "../../engine/kernel/clock.js";
import { FormatWatch, LATEST_FORMAT, raiseFormat, readDeployment } from "../../engine/stream/format.js";
import { deploymentKey } from "../../engine/stream/keys.js";
import { claimDeployment } from "../../engine/stream/partition.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();

describe("a deployment's format", () => {
  it("is the latest of a new deployment", async () => {
    expect(await claimDeployment(redis.connect(), "new", 4)).toBe(LATEST_FORMAT);
    expect(await readDeployment(redis.connect(), "new")).toEqual({ partitions: 4, format: LATEST_FORMAT });
    expect(await claimDeployment(redis.connect(), "new", 4)).toBe(LATEST_FORMAT);
  });

  it("stays 1 where a release without formats has made the deployment", async () => {
    const client = redis.connect();
    await client.hset(deploymentKey("old"), "partitions", 4);
    expect(await claimDeployment(client, "old", 4)).toBe(1);
    expect(await client.hgetall(deploymentKey("old"))).toEqual({ partitions: "4" });
  });

  it("after the first keeps out releases without formats: they read the field as a number", async () => {
    const client = redis.connect();
    await client.hset(deploymentKey("raised"), "partitions", 4);
    await raiseFormat(client, "raised", 1);
    expect(Number(await client.hget(deploymentKey("raised"), "partitions"))).toBe(4);
    await raiseFormat(client, "raised", LATEST_FORMAT);
    expect(Number(await client.hget(deploymentKey("raised"), "partitions"))).toBeNaN();
    expect(await claimDeployment(client, "raised", 4)).toBe(LATEST_FORMAT);
    await raiseFormat(client, "raised", 1);
    expect(await readDeployment(client, "raised")).toEqual({ partitions: 4, format: LATEST_FORMAT });
  });

  it("of a later release is rejected", async () => {
    const client = redis.connect();
    await client.hset(deploymentKey("later"), "partitions", `4 (format ${LATEST_FORMAT + 1})`);
    await expect(claimDeployment(client, "later", 4)).rejects.toMatchObject({
      code: "format_too_new",
      message: expect.stringContaining("made by a newer release"),
    });
  });

  it("is read by a running process, and does not decrease", async () => {
    const client = redis.connect();
    await client.hset(deploymentKey("rising"), "partitions", 4);
    const format = await claimDeployment(client, "rising", 4);
    const watch = new FormatWatch({ redis: client, prefix: "rising", format, clock: systemClock, onTrouble: () => {} });
    watch.start();
    try {
      expect(watch.current()).toBe(1);
      expect(watch.warnings()).toEqual([expect.stringContaining("shuiwei upgrade --finish")]);
      await raiseFormat(client, "rising", LATEST_FORMAT);
      await expect.poll(watch.current, { timeout: 30_000 }).toBe(LATEST_FORMAT);
      expect([watch.warnings(), watch.wrong()]).toEqual([[], []]);
      // As a Redis that has lost its newest writes.
      await client.hset(deploymentKey("rising"), "partitions", 4);
      await raiseFormat(client, "rising", LATEST_FORMAT + 1);
      await expect.poll(() => watch.wrong(), { timeout: 30_000 }).toEqual([expect.stringContaining("cannot read")]);
      expect(watch.current()).toBe(LATEST_FORMAT);
    } finally {
      await watch.stop();
    }
  });
});
