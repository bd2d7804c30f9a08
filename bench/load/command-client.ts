/**
 * A process that reserves through the typed client at a fixed rate, whether or not it is answered: the ledger's
 * client as a service of the shop would hold it, on a Redis that others use, too.
 */
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { messageOf } from "../../engine/kernel/errors.js";
import { Ledger } from "../../engine/stock/ledger.js";
import type { ReserveStock } from "../../engine/stock/model.js";
import { connect } from "../../engine/stream/redis.js";
import { skuOfArrival } from "./assortment.js";
import { serveLoad } from "./load-process.js";
import { type Arrivals, type LoopReport, runOpenLoop } from "./open-loop.js";

export interface CommandLoad extends Arrivals {
  redisPath: string;
  prefix: string;
  partitions: number;
  location: string;
}

const CHANNEL = "LC";

serveLoad(async (load: CommandLoad, started: () => Promise<number>): Promise<LoopReport> => {
  const redis = connect({ url: load.redisPath });
  await Ledger.load(redis);
  const ledger = new Ledger({ redis, prefix: load.prefix, partitions: load.partitions });
  const nowMs = systemClock.now();
  const commands = Array.from(
    { length: load.arrivals },
    (_, i): ReserveStock => ({
      kind: "reserve",
      id: `${chainIdFromNumber(CHANNEL, nowMs, i)}-1`,
      sku: skuOfArrival(i),
      location: load.location,
      units: 1,
    }),
  );
  const report = await runOpenLoop(load, await started(), (i, answered) => {
    ledger.apply(commands[i] as ReserveStock).then(
      ({ outcome }) => answered(outcome),
      (thrown) => answered(messageOf(thrown)),
    );
  });
  redis.disconnect();
  return report;
});
