/**
 * An answer waits until replicas have its write (--wait-replicas): the question goes to the server that executed the
 * call, an error is returned while replicas are away, and the same command sent again is answered when they are back.
 * Also what Redis itself refuses with `min-replicas-to-write`, and what either costs. The figures are printed.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chainId } from "../../engine/kernel/chain-id.js";
import { sleep, stopwatch, systemClock } from "../../engine/kernel/clock.js";
import { Ledger } from "../../engine/stock/ledger.js";
import type { StockCommand } from "../../engine/stock/model.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import { ReplicationBarrier } from "../../engine/stream/replication-barrier.js";
import { SentinelBed } from "../redis/sentinels.js";
import type { Server } from "../redis/server.js";
import { withRedis } from "../redis/with-redis.js";

const receive = (sku: string): StockCommand => ({
  kind: "receive",
  id: chainId("RP", systemClock.now()),
  sku,
  location: "SH",
  units: 10,
});

describe("on a Cluster", () => {
  const redis = withRedis();

  it("the wait goes to the server that executed the call", async () => {
    const partitions = 12;
    const client = connect({ url: redis.url });
    const breaker = new ReplicationBarrier({ open: () => connect({ url: redis.url }), replicas: 1 });
    try {
      await Ledger.load(client);
      const ledger = new Ledger({ redis: client, replicas: breaker, prefix: "where", partitions });
      const calls = (command: string) =>
        redis.onEach(async (primary) => {
          const stats = await primary.info("commandstats");
          return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
        });
      const [functionsBefore, waitsBefore] = [await calls("fcall"), await calls("wait")];
      const skus = Array.from({ length: 200 }, (_, i) => `SKU-${i}`);
      for (let round = 0; round < 3; round++) await ledger.applyMany(skus.map(receive));
      const functions = (await calls("fcall")).map((count, i) => count - (functionsBefore[i] as number));
      const waits = (await calls("wait")).map((count, i) => count - (waitsBefore[i] as number));
      expect(functions.reduce((sum, count) => sum + count)).toBe(3 * partitions);
      expect(functions.every((count) => count > 0)).toBe(true);
      expect(waits).toEqual(functions);
    } finally {
      breaker.close();
      client.disconnect();
    }
  });
});

describe("with two replicas", () => {
  let bed: SentinelBed;
  let primary: Server;
  let replicas: Server[];
  let client: RedisClient;
  const breakers: ReplicationBarrier[] = [];

  beforeAll(async () => {
    bed = await SentinelBed.start({ replicas: 2, sentinels: 0 });
    [primary, ...replicas] = bed.servers as [Server, ...Server[]];
    client = connect({ url: `redis://${primary.address}` });
    await Ledger.load(client);
  });
  afterAll(async () => {
    for (const breaker of breakers) breaker.close();
    client?.disconnect();
    await bed?.stop();
  });

  const ledgerWith = (wanted: number): Ledger => {
    const breaker = new ReplicationBarrier({
      open: () => connect({ url: `redis://${primary.address}` }),
      replicas: wanted,
    });
    breakers.push(breaker);
    const more = wanted > 0 ? { replicas: breaker } : {};
    return new Ledger({ redis: client, prefix: `with-${wanted}`, partitions: 4, ...more });
  };

  it("an answer waits for as many as are asked for, and comes when the command is sent again after they are back", async () => {
    const [one, two] = [ledgerWith(1), ledgerWith(2)];
    const [replica] = replicas as [Server];
    const commands = [receive("CUP"), receive("CUP")] as const;
    replica.freeze();
    try {
      expect(await one.apply(commands[0])).toMatchObject({ outcome: "accepted", repeated: false });
      await expect(two.apply(commands[1])).rejects.toMatchObject({
        code: "not_replicated",
        retryable: true,
        retryAfterMs: expect.any(Number),
        message: `${stockKeys("with-2", two.partitionOf("CUP")).head}: 1 of 2 replicas have acknowledged the command in time`,
      });
    } finally {
      replica.thaw();
    }
    expect(await two.apply(commands[1])).toMatchObject({ outcome: "accepted", repeated: true });
    expect((await two.balances("CUP"))?.get("SH")?.sellable).toBe(10);
  });

  it("a breaker is confirmed as open only when as many replicas have it", async () => {
    const ledger = ledgerWith(2);
    const [replica] = replicas as [Server];
    const cause = { actor: "test", reason: "drill", forMs: 0 };
    const open = () => ledger.breakers.set({ kind: "sku", sku: "POT" }, "open", cause);
    replica.freeze();
    try {
      await expect(open()).rejects.toMatchObject({ code: "not_replicated" });
    } finally {
      replica.thaw();
    }
    await open();
    expect(await ledger.openBreakers()).toHaveLength(1);
  });

  it("a primary with min-replicas-to-write refuses writes itself soon after they are lost, and accepts them when they are back", async () => {
    const maxLagS = 2;
    const ledger = ledgerWith(0);
    await primary.client.config("SET", "min-replicas-max-lag", maxLagS);
    await primary.client.config("SET", "min-replicas-to-write", 1);
    let taken = 0;
    try {
      await ledger.apply(receive("JUG"));
      for (const replica of replicas) replica.freeze();
      const elapsed = stopwatch();
      let refusal = "";
      while (refusal === "" && elapsed() < 10_000) {
        await ledger.apply(receive("JUG")).then(
          () => taken++,
          (thrown) => {
            refusal = thrown.message;
            expect(thrown).toMatchObject({ code: "unavailable", retryable: true });
          },
        );
        await sleep(5);
      }
      const refusedMs = elapsed();
      expect(refusal).toContain("NOREPLICAS");
      for (const replica of replicas) replica.thaw();
      await expect
        .poll(() => ledger.apply(receive("JUG")).then(({ outcome }) => outcome, String), { timeout: 30_000 })
        .toBe("accepted");
      console.log(
        `min-replicas-to-write 1, min-replicas-max-lag ${maxLagS}: without replicas ${taken} more commands were taken in ${(refusedMs / 1_000).toFixed(1)} s, then none`,
      );
    } finally {
      for (const replica of replicas) replica.thaw();
      await primary.client.config("SET", "min-replicas-to-write", 0);
    }
  });

  it("costs a round trip to the replicas", async () => {
    const figures: string[] = [];
    for (const wanted of [0, 1, 2]) {
      const ledger = ledgerWith(wanted);
      await ledger.apply(receive("BOWL"));
      const alone: number[] = [];
      for (let i = 0; i < 300; i++) {
        const elapsed = stopwatch();
        await ledger.apply(receive("BOWL"));
        alone.push(elapsed());
      }
      const callers = 128;
      const each = 100;
      const elapsed = stopwatch();
      await Promise.all(
        Array.from({ length: callers }, async (_, caller) => {
          for (let i = 0; i < each; i++) await ledger.apply(receive(`SKU-${caller}`));
        }),
      );
      const rate = Math.round((callers * each) / (elapsed() / 1_000));
      const median = alone.sort((a, b) => a - b)[alone.length / 2] as number;
      figures.push(
        `${wanted}: ${median.toFixed(2)} ms alone, ${rate.toLocaleString("en-US")} commands/s of ${callers} callers`,
      );
    }
    console.log(`--wait-replicas ${figures.join("; ")}`);
  });
});
