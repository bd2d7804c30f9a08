/**
 * The same hour with this product: the same buyers, the same warehouse, and `shuiwei serve` between them. Optionally
 * the warehouse is dead for a while. It is over when every order whose payment was answered is at the warehouse, or
 * when nothing more gets there for a minute.
 */
import { sleep } from "../../engine/kernel/clock.js";
import { clockOf, type HourSettings, untilOver } from "./as-it-was.js";
import { type HourOutcome, outcomeOf } from "./outcome.js";
import { type BuyersProcess, startProcess, type Warehouse } from "./processes.js";
import { startServing } from "./serving.js";
import { ShopHour } from "./shop-hour.js";

/** What the warehouse takes in a second (R22). */
const WMS_LIMIT = 5_000;
/** The evening before, in real time: so many orders of each of the hour's, and so long for each of them. */
const EVENING_SHARE = 0.08;
const EVENING_ORDER_MS = 9;
const LEAD_MS = 1_000;
const LOOK_MS = 500;
const NOTHING_MORE_MS = 30_000;
/** After the last order: for a second picking order to show itself. */
const LINGER_MS = 1_500;

/** @param deadMs from when to when the warehouse is dead, in the shop's milliseconds since 00:00 */
export async function asItIs(settings: HourSettings, deadMs?: [from: number, to: number]): Promise<HourOutcome> {
  const { pace, orders, code, signal, onProgress } = settings;
  const name = deadMs === undefined ? "as it is" : "as it is, WMS dead for a while";
  const processes: { stop(): Promise<void> }[] = [];
  try {
    const warehouse: Warehouse = await startProcess(
      { role: "warehouse", pace, orders, ...(deadMs === undefined ? {} : { deadMs }) },
      code,
    );
    processes.push(warehouse);
    const serving = await startServing({
      wmsUrl: `http://127.0.0.1:${warehouse.port}`,
      wmsLimit: WMS_LIMIT,
      cli: new URL("../../engine/cli/main.js", code ?? import.meta.url),
    });
    processes.push(serving);
    const { port, token } = serving;
    const buyers: BuyersProcess = await startProcess(
      { role: "buyers", pace, port, orders, shop: "as it is", token, idMs: Date.now() },
      code,
    );
    processes.push(buyers);
    const evening = Math.ceil(orders * EVENING_SHARE);
    const startMs = Date.now() + LEAD_MS + evening * EVENING_ORDER_MS;
    const hour = new ShopHour(pace);
    hour.begin(startMs);
    for (const process of [warehouse, buyers]) await process.begin(startMs);
    const before = await serving.warmUp(evening);
    await Promise.race([serving.ended, untilOver(hour, buyers, warehouse, name, settings, before)]);
    const report = await buyers.report();
    const answered = report.buyers.filter(({ end }) => end === "done").length;
    onProgress(`${name}, ${clockOf(hour.nowMs())}: ${answered} of ${orders} orders answered`);
    await Promise.race([serving.ended, untilThere(warehouse, before + answered, signal)]);
    for (const complaint of serving.complaints) onProgress(`serve said: ${complaint}`);
    return outcomeOf(hour, report, await warehouse.report(), "real");
  } finally {
    // Buyers first, so that no connection stays open; the warehouse last.
    for (const process of processes.reverse()) await process.stop();
  }
}

async function untilThere(warehouse: Warehouse, answered: number, signal: AbortSignal): Promise<void> {
  let most = 0;
  let lastMs = Date.now();
  while (most < answered && Date.now() - lastMs < NOTHING_MORE_MS) {
    const { picked } = await warehouse.progress();
    if (picked > most) {
      most = picked;
      lastMs = Date.now();
    }
    await sleep(LOOK_MS, signal);
    signal.throwIfAborted();
  }
  await sleep(LINGER_MS, signal);
}
