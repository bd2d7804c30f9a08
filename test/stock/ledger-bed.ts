/** Commands and reads with which the tests of the ledger's client are written: short, on one partition by default. */
import { chainId } from "../../engine/kernel/chain-id.js";
import type { Clock } from "../../engine/kernel/clock.js";
import { Ledger, type LedgerOptions } from "../../engine/stock/ledger.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import { type Balances, emptyBalances, type Reply, type StockCommand } from "../../engine/stock/model.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { assertContiguous, readLog } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";

export const cell = (balances: Partial<Balances>): Balances => ({ ...emptyBalances(), ...balances });
export const outcomes = (replies: Reply[]): string[] => replies.map(({ outcome }) => outcome);

/** @param current the client and the clock of the test that runs */
export function ledgerBed(prefix: string, current: () => { client: RedisClient; clock: Clock }) {
  const newId = (): string => chainId("S1", current().clock.now());
  const place = (sku = "CUP", location = "SH") => ({ id: newId(), sku, location });
  return {
    newId,
    place,
    ledgerOn: (redis: RedisClient, options: Partial<LedgerOptions> = {}): Ledger =>
      new Ledger({ redis, prefix, partitions: 1, clock: current().clock, ...options }),
    receive: (units: number, at = place()): StockCommand => ({ kind: "receive", ...at, units }),
    reserve: (units: number, at = place()): StockCommand => ({ kind: "reserve", ...at, units }),
    /** The whole log of a partition, which must have no gap. */
    async eventsIn(partition: number) {
      const { log } = stockKeys(prefix, partition);
      const entries = await readLog(current().client, log, 0, 100_000);
      assertContiguous(entries, 0, log);
      return { entries, events: entries.flatMap((entry) => eventsOf(entry).events) };
    },
  };
}
