/**
 * The orders' log as the runtime reads it.
 */
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { orderEventsOf } from "../../engine/orders/log-entry.js";
import type { OrderStore } from "../../engine/orders/order-store.js";
import { orderTopic } from "../../engine/orders/topic.js";
import type { LogEntry } from "../../engine/stream/log.js";

const packr = new Packr({ useRecords: false });
const topic = orderTopic({ partitions: 1 } as OrderStore);

const lines = [{ sku: "tea", location: "SH", units: 1 }];
const events = ["order-a", "order-b", "order-c"].map((id) => [
  2,
  id,
  "shop",
  null,
  1_000,
  { lines, shipTo: { name: `buyer of ${id}` } },
]);
const entry: LogEntry = {
  offset: 7,
  fields: [
    ["n", Buffer.from("3")],
    ["t", Buffer.from("2000")],
    ["b", Buffer.concat(events.map((event) => packr.pack(event)))],
  ].flatMap(([name, value]) => [Buffer.from(name as string), value as Buffer]),
};

describe("an event taken out of its entry", () => {
  it("keeps its position, and has nothing of the others", () => {
    const fields = topic.only?.(entry, 1) as Buffer[];
    const text = Buffer.concat(fields).toString("utf8");
    expect(text).toContain("buyer of order-b");
    for (const other of ["order-a", "order-c"]) expect(text).not.toContain(other);
    const whole = orderEventsOf(entry);
    const alone = orderEventsOf({ offset: 7, fields });
    expect(alone.events.find(({ index }) => index === 1)).toEqual(whole.events[1]);
    expect(alone.clockMs).toBe(whole.clockMs);
  });
});
