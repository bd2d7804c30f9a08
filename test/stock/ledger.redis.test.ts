/**
 * The ledger's client against a real Redis: commands of one turn, of many partitions, after a lost reply and of many
 * callers at once. The rules are tested in decide.test.ts and, command by command, in the simulation.
 */
import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "../../engine/kernel/clock.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { cellOf, type Reply, type StockCommand } from "../../engine/stock/model.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import { onCluster, withRedis } from "../redis/with-redis.js";
import { cell, ledgerBed, outcomes } from "./ledger-bed.js";

const START_MS = Date.UTC(2026, 5, 18);
const PREFIX = "ledger-test";
const redis = withRedis();
const closing: (() => void)[] = [];

let client: RedisClient;
let clock: ManualClock;
let ledger: Ledger;
const { ledgerOn, newId, place, receive, reserve, eventsIn } = ledgerBed(PREFIX, () => ({ client, clock }));

beforeEach(async () => {
  await redis.flush();
  client = connection();
  await Ledger.load(client);
  clock = new ManualClock(START_MS);
  ledger = ledgerOn(client);
});

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

function connection(path = redis.url): RedisClient {
  const made = connect({ url: path });
  closing.push(() => made.disconnect());
  return made;
}

describe("commands of one turn", () => {
  it("are applied in the order of the calls, as one entry of the log", async () => {
    const at = place();
    const replies = await Promise.all([
      ledger.apply(receive(5)),
      ledger.apply({ kind: "reserve", ...at, units: 5 }),
      ledger.apply(reserve(1)),
      ledger.apply({ kind: "pay", ...at, units: 5 }),
      ledger.apply({ kind: "outbound", ...at, units: 5 }),
    ]);
    expect(outcomes(replies)).toEqual(["accepted", "accepted", "insufficient_sellable", "accepted", "accepted"]);
    const { entries, events } = await eventsIn(0);
    expect(entries).toHaveLength(1);
    expect(events.map(({ type }) => type)).toEqual(["StockReceived", "StockReserved", "LinePaid", "LineOutbound"]);
    expect(ledger.commands).toBe(5);
    expect(ledger.depth).toBe(0);
  });

  it("of many partitions are answered in the order given", async () => {
    ledger = ledgerOn(client, { partitions: 16, batchLimit: 7 });
    const skus = Array.from({ length: 40 }, (_, i) => `SKU-${i}`);
    await ledger.applyMany(skus.map((sku, i) => receive(i + 1, place(sku))));
    const replies = await ledger.applyMany(skus.map((sku, i) => reserve(i % 2 === 0 ? i + 1 : i + 2, place(sku))));
    expect(outcomes(replies)).toEqual(skus.map((_, i) => (i % 2 === 0 ? "accepted" : "insufficient_sellable")));
    expect(new Set(skus.map((sku) => ledger.partitionOf(sku))).size).toBeGreaterThan(8);
    for (const [i, sku] of skus.entries()) {
      expect((await ledger.balances(sku))?.get("SH")).toEqual(
        i % 2 === 0 ? cell({ reserved: i + 1 }) : cell({ sellable: i + 1 }),
      );
    }
  });

  it("beyond the queue limit are refused before they are sent", async () => {
    ledger = ledgerOn(client, { queueLimit: 10 });
    const first = ledger.applyMany(Array.from({ length: 10 }, () => receive(1)));
    await expect(ledger.apply(receive(1))).rejects.toMatchObject({ code: "overloaded", retryable: true });
    await first;
    expect((await ledger.balances("CUP"))?.get("SH")).toEqual(cell({ sellable: 10 }));
  });
});

describe.skipIf(onCluster)("a lost reply", () => {
  /**
   * A proxy between client and server. After `loseReplies` it forwards a request and closes the connection in place of
   * the reply.
   */
  async function proxied(): Promise<{ path: string; loseReplies(times: number): void }> {
    let lose = 0;
    const sockets = new Set<Socket>();
    const server = createServer((near) => {
      const far = createConnection(redis.socketPath);
      for (const socket of [near, far]) {
        sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => sockets.delete(socket));
      }
      near.on("data", (bytes) => far.write(bytes));
      near.on("close", () => far.end());
      far.on("data", (bytes) => {
        if (lose === 0) return near.write(bytes);
        lose--;
        near.destroy();
        return false;
      });
    });
    const path = join(dirname(redis.socketPath), `proxy-${systemClock.now()}.sock`);
    server.listen(path);
    await once(server, "listening");
    closing.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return {
      path,
      loseReplies: (times) => {
        lose = times;
      },
    };
  }

  it("can be requested again with the same ids, and nothing is applied twice", async () => {
    const { path, loseReplies } = await proxied();
    const far = connection(path);
    const unreliable = ledgerOn(far);
    await unreliable.apply(receive(100));
    const line = place();
    const batch: StockCommand[] = [
      receive(10),
      { kind: "reserve", ...line, units: 4 },
      { kind: "pay", ...line, units: 4 },
      reserve(1_000),
      { kind: "correct", ...place(), units: -1 },
      { kind: "outbound", ...line, units: 4 },
    ];
    loseReplies(1);
    await expect(unreliable.applyMany(batch)).rejects.toMatchObject({ code: "unavailable", retryable: true });
    const again = await untilAnswered(() => unreliable.applyMany(batch));
    expect(again).toEqual([
      { outcome: "accepted", repeated: true, state: "none" },
      { outcome: "accepted", repeated: true, state: "outbound" },
      { outcome: "accepted", repeated: true, state: "outbound" },
      { outcome: "insufficient_sellable", repeated: true, state: "none" },
      { outcome: "accepted", repeated: true, state: "none" },
      { outcome: "accepted", repeated: true, state: "outbound" },
    ]);
    expect((await ledger.balances("CUP"))?.get("SH")).toEqual(cell({ sellable: 105 }));
    expect((await eventsIn(0)).events).toHaveLength(6);
  });

  it("applies nothing twice when connections are closed at any moment under load", async () => {
    await ledger.apply(receive(300));
    let repeated = 0;
    let broken = 0;
    const seller = async (): Promise<number> => {
      const own = connection();
      const shop = ledgerOn(own);
      let sold = 0;
      for (let i = 0; i < 30; i++) {
        const order = reserve(1);
        let reply: Reply | undefined;
        const answered = shop.apply(order).then(
          (each) => {
            reply = each;
          },
          () => {
            broken++;
          },
        );
        if (i % 5 === 0) {
          await new Promise(setImmediate);
          if ("stream" in own) (own.stream as Socket).destroy();
        }
        await answered;
        reply ??= await untilAnswered(() => shop.apply(order));
        if (reply.repeated) repeated++;
        if (reply.outcome === "accepted") sold++;
      }
      return sold;
    };
    const sold = await Promise.all(Array.from({ length: 16 }, seller));
    expect(sold.reduce((sum, each) => sum + each)).toBe(300);
    expect((await ledger.balances("CUP"))?.get("SH")).toEqual(cell({ reserved: 300 }));
    expect(broken).toBeGreaterThan(0);
    expect((await eventsIn(0)).events.filter(({ type }) => type === "StockReserved")).toHaveLength(300);
    expect(repeated).toBeLessThanOrEqual(broken);
  });

  async function untilAnswered<T>(ask: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return await ask();
      } catch (error) {
        if (tries === 200) throw error;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }
});

describe("64 callers at once", () => {
  it("buy exactly the 1,000 units there are", async () => {
    await ledger.apply(receive(1_000));
    const buyer = async (): Promise<number> => {
      const shop = ledgerOn(connection());
      let bought = 0;
      for (;;) {
        const order = reserve(1);
        // Every order is sent twice at once.
        const [first, second] = await Promise.all([shop.apply(order), shop.apply(order)]);
        expect(second).toEqual({ ...first, repeated: true });
        if (first.outcome !== "accepted") return bought;
        bought++;
      }
    };
    const bought = await Promise.all(Array.from({ length: 64 }, buyer));
    expect(bought.reduce((sum, each) => sum + each)).toBe(1_000);
    expect((await ledger.balances("CUP"))?.get("SH")).toEqual(cell({ reserved: 1_000 }));
  });
});

describe("a breaker", () => {
  const by = { actor: "ops", reason: "counts differ" };
  const cause = { ...by, forMs: 0 };

  it("refuses new orders until it is closed, and records who opened it", async () => {
    await ledger.apply(receive(10));
    const line = place();
    await ledger.apply({ kind: "reserve", ...line, units: 1 });
    await ledger.breakers.set({ kind: "shop" }, "open", cause);
    expect(await ledger.openBreakers()).toMatchObject([
      { scope: { kind: "shop" }, state: "open", untilMs: 0, sinceMs: START_MS, ...by },
    ]);
    const refused = reserve(1);
    expect((await ledger.apply(refused)).outcome).toBe("breaker_open");
    expect((await ledger.apply({ kind: "pay", ...line, units: 1 })).outcome).toBe("accepted");
    expect((await ledger.breakers.set({ kind: "shop" }, "close", cause)).changed).toBe(true);
    expect((await ledger.breakers.set({ kind: "shop" }, "close", cause)).changed).toBe(false);
    expect(await ledger.apply(refused)).toEqual({ outcome: "accepted", repeated: false, state: "held" });
    expect(await ledger.openBreakers()).toEqual([]);
  });

  it("that an older library has opened applies: the log entry makes the head cache stale", async () => {
    await ledger.apply(receive(10));
    await ledger.apply(reserve(1));
    const { head, breakers, holds, log } = stockKeys(PREFIX, 0);
    const offset = await client.hincrby(head, "offset", 1);
    await client.xadd(log, `${offset}-0`, "t", START_MS, "c", "shop", "j", JSON.stringify({ action: "open", ...by }));
    await client.hset(breakers, "shop", JSON.stringify({ untilMs: 0, sinceMs: START_MS, ...by }));
    await client.zadd(holds, START_MS + 5, newId());
    expect((await ledger.apply(reserve(1))).outcome).toBe("breaker_open");
    clock.moveTo(START_MS + 5);
    await ledger.apply(receive(1));
    expect(await client.zcard(holds)).toBe(1);
  });

  it("of the shop or a location is stored in every partition, of a SKU in its own", async () => {
    ledger = ledgerOn(client, { partitions: 4 });
    const skus = ["A", "B", "C", "D", "E", "F"];
    for (const sku of skus) await ledger.applyMany([receive(5, place(sku)), receive(5, place(sku, "GZ"))]);
    await ledger.breakers.set({ kind: "location", location: "GZ" }, "open", cause);
    await ledger.breakers.set({ kind: "sku", sku: "A" }, "open", cause);
    for (const sku of skus) {
      expect((await ledger.apply(reserve(1, place(sku)))).outcome).toBe(sku === "A" ? "breaker_open" : "accepted");
      expect((await ledger.apply(reserve(1, place(sku, "GZ")))).outcome).toBe("breaker_open");
    }
    const open = await ledger.openBreakers();
    expect(open.map(({ scope }) => scope)).toEqual(
      expect.arrayContaining([
        { kind: "location", location: "GZ" },
        { kind: "sku", sku: "A" },
      ]),
    );
    expect(open).toHaveLength(2);
  });

  it("with a duration closes by itself, and the log records it", async () => {
    await ledger.apply(receive(10));
    await ledger.breakers.set({ kind: "sku", sku: "CUP" }, "open", { ...cause, forMs: 600_000 });
    clock.moveTo(START_MS + 599_999);
    expect((await ledger.apply(reserve(1))).outcome).toBe("breaker_open");
    clock.moveTo(START_MS + 600_000);
    expect((await ledger.apply(reserve(1))).outcome).toBe("accepted");
    await ledger.tick(0);
    expect(await ledger.openBreakers()).toEqual([]);
    const { entries } = await eventsIn(0);
    const texts = entries.map(({ fields }) => fields.map((each) => each.toString("utf8")).join(" "));
    expect(texts.filter((text) => text.includes("sku:CUP"))).toEqual([
      expect.stringContaining("counts differ"),
      expect.stringContaining("its time is over"),
    ]);
  });
});

describe("balances", () => {
  it("of a thousand cells in one call are changed independently, also beside a damaged one", async () => {
    ledger = ledgerOn(client, { batchLimit: 1_000 });
    const sku = (i: number) => `SKU-${i}`;
    const all = Array.from({ length: 1_000 }, (_, i) => i);
    await ledger.applyMany(all.map((i) => receive(i + 1, place(sku(i)))));
    expect(outcomes(await ledger.applyMany(all.map((i) => reserve(i + 1, place(sku(i))))))).toEqual(
      all.map(() => "accepted"),
    );
    const { cells } = stockKeys(PREFIX, 0);
    await client.hset(cells, cellOf(sku(3), "SH"), Buffer.alloc(48));
    await ledger.applyMany(all.map((i) => receive(1, place(sku(i)))));
    for (const i of [0, 2, 4, 999])
      expect((await ledger.balances(sku(i)))?.get("SH")).toEqual(cell({ sellable: 1, reserved: i + 1 }));
  });

  it("of a SKU are returned by location; an unknown SKU has none", async () => {
    await ledger.applyMany([
      receive(5),
      receive(7, place("CUP", "GZ")),
      { kind: "move", ...place(), units: 2, from: "sellable", to: "sellable", toLocation: "成都" },
      receive(9, place("CUP-2")),
    ]);
    expect(await ledger.balances("CUP")).toEqual(
      new Map([
        ["SH", cell({ sellable: 3 })],
        ["GZ", cell({ sellable: 7 })],
        ["成都", cell({ sellable: 2 })],
      ]),
    );
    expect(await ledger.balances("CU")).toBeUndefined();
  });

  it("of a whole partition are listed cell by cell", async () => {
    await ledger.applyMany([receive(5), receive(7, place("水杯", "GZ"))]);
    const listed = [];
    for await (const each of ledger.cells(0)) listed.push(each);
    expect(listed.sort((a, b) => a.location.localeCompare(b.location))).toEqual([
      { sku: "水杯", location: "GZ", balances: cell({ sellable: 7 }) },
      { sku: "CUP", location: "SH", balances: cell({ sellable: 5 }) },
    ]);
  });
});

describe("the function library", () => {
  /** Its name on each primary, with its version. */
  const names = (): Promise<string[]> =>
    redis.onEach(async (primary) => {
      const listed = (await primary.call("FUNCTION", "LIST", "LIBRARYNAME", "shuiwei_stock_*")) as string[][];
      expect(listed).toHaveLength(1);
      return String(listed[0]?.[1]);
    });

  it("is loaded again by the next call after it was lost, and the stock is unchanged", async () => {
    await ledger.apply(receive(10));
    const [name = ""] = await names();
    await redis.onEach((primary) => primary.call("FUNCTION", "DELETE", name));
    const replies = await Promise.all([ledger.apply(reserve(1)), ledger.tick(0)]);
    expect(replies[0].outcome).toBe("accepted");
    expect((await ledger.balances("CUP"))?.get("SH")).toEqual(cell({ sellable: 9, reserved: 1 }));
  });

  it("is unchanged when a process of the previous release loads its own library", async () => {
    await ledger.apply(receive(10));
    const old = "#!lua name=shuiwei_stock\nredis.register_function('stock_apply', function() return 1 end)";
    await redis.onEach((primary) => primary.call("FUNCTION", "LOAD", "REPLACE", old));
    expect((await ledger.apply(reserve(1))).outcome).toBe("accepted");
    await redis.onEach((primary) => primary.call("FUNCTION", "DELETE", "shuiwei_stock"));
  });
});
