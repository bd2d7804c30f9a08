/** The storefront job and its levels: balances folded from the log, and what customers are shown (R5). */
import { describe, expect, it } from "vitest";
import { type StorefrontState, storefrontJob } from "../../../engine/jobs/storefront/job.js";
import { StorefrontView } from "../../../engine/jobs/storefront/view.js";
import { Shop, type ShopEvent } from "../shop.js";

const AT = Date.UTC(2026, 5, 18);
const received = (units: number, location = "SH"): ShopEvent => ({
  clockMs: AT,
  type: "StockReceived",
  from: "outside",
  to: "sellable",
  units,
  location,
});
const reserved = (units: number, location = "SH"): ShopEvent => ({ clockMs: AT, units, location });
const configured = (settings: object): ShopEvent => ({
  clockMs: AT,
  type: "SkuConfigured",
  from: "outside",
  to: "outside",
  units: 0,
  detail: { settings },
});

async function levelsAfter(...events: ShopEvent[]) {
  const shop = new Shop<StorefrontState>(storefrontJob);
  for (const event of events) {
    await shop.append(event);
    shop.restart();
  }
  const storefrontView = new StorefrontView();
  for (const [sku, view] of shop.views) storefrontView.onView(sku, view);
  return { storefrontView, cup: storefrontView.get("cup"), shop };
}

describe("what customers are shown", () => {
  it("is what is sellable and 0.3 of what is held for unpaid orders, rounded down", async () => {
    const { cup } = await levelsAfter(received(100), reserved(9));
    expect(cup?.total).toEqual({ sellable: 91, reserved: 9, committed: 0, safety: 0, presale: 0, display: 93 });
    expect((await levelsAfter(received(100), reserved(10))).cup?.total.display).toBe(93);
  });

  it("uses the SKU's own coefficient", async () => {
    expect(
      (await levelsAfter(received(100), reserved(10), configured({ displayCoefficient: 0 }))).cup?.total.display,
    ).toBe(90);
    expect(
      (await levelsAfter(configured({ displayCoefficient: 1 }), received(100), reserved(10))).cup?.total.display,
    ).toBe(100);
    // Settings of another kind leave it alone.
    const { cup } = await levelsAfter(
      configured({ displayCoefficient: 0.5 }),
      received(9),
      reserved(3),
      configured({ alertFactor: 2 }),
    );
    expect(cup?.total.display).toBe(7);
  });

  it("is computed once over all locations, and for each by itself", async () => {
    const { cup } = await levelsAfter(
      received(10),
      reserved(3),
      received(10, "GZ"),
      reserved(3, "GZ"),
      received(10, "BJ"),
      reserved(4, "BJ"),
    );
    expect([...(cup?.locations ?? [])].map(([location, { display }]) => [location, display])).toEqual([
      ["SH", 7],
      ["GZ", 7],
      ["BJ", 7],
    ]);
    expect(cup?.total).toMatchObject({ sellable: 20, reserved: 10, display: 23 });
  });

  it("has a revision that grows with every change", async () => {
    const { storefrontView, cup } = await levelsAfter(received(1), received(1), received(1));
    expect(cup?.revision).toBe(3);
    expect(storefrontView.get("pot")).toBeUndefined();
  });
});

describe("balances", () => {
  it("follow every transfer between accounts and locations", async () => {
    const { cup } = await levelsAfter(
      received(100),
      reserved(30),
      { clockMs: AT, type: "LinePaid", from: "reserved", to: "committed", units: 20 },
      { clockMs: AT, type: "LineOutbound", from: "committed", to: "outside", units: 5 },
      { clockMs: AT, type: "StockMoved", from: "sellable", to: "safety", units: 7 },
      { clockMs: AT, type: "StockMoved", from: "sellable", to: "sellable", units: 11, toLocation: "GZ" },
      { clockMs: AT, type: "StockReceived", from: "outside", to: "presale", units: 50 },
      { clockMs: AT, type: "StockCorrected", from: "safety", to: "outside", units: 1 },
    );
    expect(cup?.total).toMatchObject({ sellable: 63, reserved: 10, committed: 15, safety: 6, presale: 50 });
    expect(cup?.locations.get("GZ")?.sellable).toBe(11);
  });

  it.each(["constructor", "__proto__", "0", "toString"])("are kept for a location called %s", async (location) => {
    const { cup, shop } = await levelsAfter(received(5), received(3, location), reserved(1, location));
    expect(cup?.locations.get(location)).toMatchObject({ sellable: 2, reserved: 1 });
    expect(cup?.total).toMatchObject({ sellable: 7, reserved: 1 });
    expect(shop.state("cup")?.locations).toHaveLength(2);
  });
});
