/**
 * The hour as it was on 18 June: buyers, the shop's old storefront and the warehouse, a process each.
 * Nothing in it is scripted by the clock: the rush fills the warehouse's queue, its breaker takes it out
 * of service until the backlog is processed (1,275 × 3.2 s ÷ 4 = 17 minutes, all for callers that have
 * disconnected), and then a slow start accepts 1.25 orders a second until the hour is over.
 */
import { sleep } from "../../engine/kernel/clock.js";
import { type HourOutcome, outcomeOf } from "./outcome.js";
import { type BuyersProcess, startProcess, type Warehouse } from "./processes.js";
import { type HourPace, ShopHour } from "./shop-hour.js";

export interface HourSettings {
  pace: HourPace;
  orders: number;
  signal: AbortSignal;
  onProgress(text: string): void;
  /** The folder of the compiled modules; this one's when left out. */
  code?: URL;
}

const LEAD_MS = 500;
const LOOK_MS = 250;
const TELL_EVERY_MS = 10_000;

export async function asItWas(settings: HourSettings): Promise<HourOutcome> {
  const { pace, orders, code } = settings;
  const processes: { stop(): Promise<void> }[] = [];
  try {
    const warehouse: Warehouse = await startProcess({ role: "warehouse", pace, orders }, code);
    processes.push(warehouse);
    const storefront = await startProcess({ role: "storefront", pace, wmsPort: warehouse.port }, code);
    processes.push(storefront);
    const buyers: BuyersProcess = await startProcess(
      {
        role: "buyers",
        pace,
        port: storefront.port,
        orders,
        shop: "as it was",
        token: "",
        idMs: Date.now(),
      },
      code,
    );
    processes.push(buyers);
    const startMs = Date.now() + LEAD_MS;
    const hour = new ShopHour(pace);
    hour.begin(startMs);
    for (const process of [warehouse, storefront, buyers]) await process.begin(startMs);
    await untilOver(hour, buyers, warehouse, "as it was", settings);
    return outcomeOf(hour, await buyers.report(), await warehouse.report(), "shop");
  } finally {
    await Promise.all(processes.map((process) => process.stop()));
  }
}

/**
 * Waits until every buyer has come to an end, telling how it goes.
 * @param before orders of the evening before, which are at the WMS too
 */
export async function untilOver(
  hour: ShopHour,
  buyers: BuyersProcess,
  warehouse: Warehouse,
  name: string,
  { orders, signal, onProgress }: HourSettings,
  before = 0,
): Promise<void> {
  let toldMs = Date.now();
  for (;;) {
    await sleep(LOOK_MS, signal);
    signal.throwIfAborted();
    const { isOver } = await buyers.progress();
    if (isOver) return;
    if (Date.now() - toldMs < TELL_EVERY_MS) continue;
    toldMs = Date.now();
    const { picked } = await warehouse.progress();
    onProgress(`${name}, ${clockOf(hour.nowMs())}: ${Math.max(0, picked - before)} of ${orders} orders at the WMS`);
  }
}

/** `00:17:05` of milliseconds since 00:00. */
export function clockOf(shopMs: number): string {
  const seconds = Math.max(0, Math.floor(shopMs / 1_000));
  return [seconds / 3_600, (seconds / 60) % 60, seconds % 60]
    .map((part) => String(Math.floor(part)).padStart(2, "0"))
    .join(":");
}
