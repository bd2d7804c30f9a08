/** Histories of SKUs at their edges: beginnings that the log has not reached, cursors, and a log that is trimmed. */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { SkuHistory } from "../../engine/history/sku-history.js";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { ManualClock } from "../../engine/kernel/clock.js";
import { BalanceHistory } from "../../engine/stock/as-of.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { findSkuEvents } from "../../engine/stock/sku-events.js";
import { stockKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();
const PREFIX = "sku-history";
const START_MS = Date.UTC(2026, 5, 18);
let client: RedisClient;
let clock: ManualClock;
let ledger: Ledger;
let number: number;

beforeAll(() => {
  client = redis.connect();
});
beforeEach(async () => {
  await redis.flush();
  await Ledger.load(client);
  clock = new ManualClock(START_MS);
  ledger = new Ledger({ redis: client, prefix: PREFIX, partitions: 1, clock });
  number = 0;
});

async function receive(): Promise<void> {
  const id = chainIdFromNumber("WB", clock.now(), number++);
  await ledger.apply({ id, kind: "receive", sku: "TEA", location: "SH", units: 1 });
}

const shared = () => ({ redis: client, prefix: PREFIX, partitions: 1 });

describe("the history of a SKU", () => {
  it("adds up when the log goes on while it is read, and begins after what the log had reached", async () => {
    await receive();
    const balances = new BalanceHistory(shared());
    const busy = Object.assign(Object.create(balances) as BalanceHistory, {
      asOf: async (...args: Parameters<BalanceHistory["asOf"]>) => {
        const found = await balances.asOf(...args);
        await receive();
        return found;
      },
    });
    const query = { fromMs: START_MS + 1_000, toMs: START_MS + 60_000, limit: 10 };
    const span = await new SkuHistory(busy, shared()).read("TEA", query);
    expect(span).toMatchObject({ outcome: "found", changes: [], mismatches: [], isComplete: true });
  });

  it("refuses a cursor of a page after its end", async () => {
    await receive();
    clock.moveTo(START_MS + 1_000);
    await receive();
    const history = new SkuHistory(new BalanceHistory(shared()), shared());
    const query = { fromMs: START_MS - 1, toMs: START_MS + 500, after: `${START_MS + 1_000}-2-0`, limit: 10 };
    await expect(history.read("TEA", query)).rejects.toMatchObject({ code: "bad_input", input: "after" });
  });

  it("can be asked for again when its entries are removed while they are read", async () => {
    for (let i = 0; i < 3; i++) await receive();
    const found = await findSkuEvents(shared(), "TEA", START_MS - 1, START_MS);
    await client.xtrim(stockKeys(PREFIX, 0).log, "MAXLEN", 1);
    if (found.outcome !== "found") throw new Error(found.outcome);
    const read = async () => {
      for await (const _ of found.events);
    };
    await expect(read()).rejects.toMatchObject({ code: "log_gap", retryable: true });
  });
});
