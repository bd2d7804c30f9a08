/** `shuiwei explain`: the story of a SKU and of an order from a deployment's logs, and what cannot be explained. */
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { command } from "../../engine/cli/explain.js";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { OrderService } from "../../engine/orders/order-service.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { createDeployment, LATEST_FORMAT } from "../../engine/stream/format.js";
import { claimSettings } from "../../engine/stream/settings.js";
import { withRedis } from "../redis/with-redis.js";
import { NO_OBJECTS, runCommand } from "./run-command.js";

const redis = withRedis();
const PREFIX = "explained";
const PARTITIONS = 2;
const ORDER = chainIdFromNumber("WB", systemClock.now(), 618);
let out: string[];

const explain = (what: readonly string[], given: Partial<Parameters<typeof command.run>[0]["values"]> = {}) =>
  runCommand(
    command,
    {
      ...{ redisUrl: redis.url, dir: ".", prefix: PREFIX, lang: "en", json: false },
      ...NO_OBJECTS,
      ...{ at: undefined, from: undefined, location: undefined },
      ...given,
    },
    what,
  );

beforeAll(async () => {
  const client = redis.connect();
  const shared = { redis: client, prefix: PREFIX, partitions: PARTITIONS };
  await createDeployment(client, PREFIX, { partitions: PARTITIONS, format: LATEST_FORMAT });
  await claimSettings({
    ...shared,
    settings: { zone: "America/New_York" },
    accept: false,
    onTrouble: () => {},
  });
  await Ledger.load(client);
  await OrderStore.load(client);
  const ledger = new Ledger(shared);
  const orderStore = new OrderStore({ ...shared, keepSeconds: 0 });
  const id = chainIdFromNumber("WB", systemClock.now(), 1);
  await ledger.apply({ id, kind: "receive", sku: "TEA", location: "SH", units: 5, actor: "li.wei", reason: "PO 7" });
  const service = new OrderService(ledger, orderStore);
  await service.place({ id: ORDER, lines: [{ sku: "TEA", location: "SH", units: 2 }] }, "web");
});
beforeEach(() => {
  out = [];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => out.push(String(text)) > 0);
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe("explain", () => {
  it("prints the story of a SKU in the shop's time, with who did what and why", async () => {
    await explain(["TEA"]);
    const text = out.join("");
    expect(text).toContain("5 received at SH into sellable stock; by li.wei; reason: PO 7");
    expect(text).toContain(`order ${ORDER}, line 1, reserved 2 at SH; reported by shop (web)`);
    expect(text).toContain("SH: 5 on hand (3 sellable, 2 reserved, 0 paid for, 0 safety stock)");
    const hour = new Intl.DateTimeFormat("sv-SE", { timeZone: "America/New_York", dateStyle: "short" });
    expect(text).toContain(hour.format(systemClock.now()));
  });

  it("prints the story of an order, in Chinese or English, as text or as JSON", async () => {
    await explain([ORDER], { lang: "zh" });
    expect(out.join("")).toContain(`订单 ${ORDER} 的经过`);
    out = [];
    await explain([ORDER], { json: true });
    const story = JSON.parse(out.join(""));
    expect(story).toMatchObject({ language: "en", remarks: ["Everything adds up."] });
    expect(story.changes.map(({ text }: { text: string }) => text)).toContain("placed; reported by shop (web)");
  });

  it("refuses what it cannot explain", async () => {
    const unknown = chainIdFromNumber("WB", systemClock.now(), 2);
    await expect(explain(["NEVER-SEEN"])).rejects.toMatchObject({ code: "unknown_sku" });
    await expect(explain([unknown])).rejects.toMatchObject({ code: "unknown_order" });
    await expect(explain([])).rejects.toMatchObject({ code: "bad_input" });
    await expect(explain(["TEA", "CUP"])).rejects.toMatchObject({ code: "bad_input" });
    await expect(explain(["TEA"], { at: "yesterday" })).rejects.toMatchObject({ code: "bad_input" });
    const late = { at: "2026-06-18T20:00:00Z", from: "2026-06-18T20:00:01Z" };
    await expect(explain(["TEA"], late)).rejects.toMatchObject({ code: "bad_input", input: "--from" });
    await expect(explain([ORDER], { at: late.at })).rejects.toMatchObject({ code: "bad_input", input: "--at" });
    await expect(explain(["TEA"], { prefix: "none" })).rejects.toMatchObject({ code: "bad_input" });
  });
});
