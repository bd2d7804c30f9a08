/** The storefront job emits when a SKU sells out and when it is back in stock (R6), and at no other event. */
import { describe, expect, it } from "vitest";
import { AVAILABILITY_EMIT, type StorefrontState, storefrontJob } from "../../../engine/jobs/storefront/job.js";
import { StorefrontView } from "../../../engine/jobs/storefront/view.js";
import { seededRandom } from "../../../engine/kernel/random.js";
import { Shop, type ShopEvent } from "../shop.js";

const AT = Date.UTC(2026, 5, 18);
const moved = (from: ShopEvent["from"], to: ShopEvent["to"], units: number, more: Partial<ShopEvent> = {}) =>
  ({ clockMs: AT, type: "StockCorrected", from, to, units, ...more }) as ShopEvent;
const received = (units: number, location = "SH") => moved("outside", "sellable", units, { location });
const coefficient = (displayCoefficient: number): ShopEvent =>
  moved("outside", "outside", 0, { type: "SkuConfigured", detail: { settings: { displayCoefficient } } });

async function changesAfter(...events: ShopEvent[]) {
  const shop = new Shop<StorefrontState>(storefrontJob);
  await shop.append(...events);
  expect(shop.emits.every(({ kind, key }) => kind === AVAILABILITY_EMIT && key === "cup")).toBe(true);
  return shop.emits.map(({ payload }) => (payload as { available: boolean }).available);
}

describe("what is emitted of a SKU's availability", () => {
  it("is that it sells out and that it is back, once each", async () => {
    const sold = moved("sellable", "outside", 1);
    expect(await changesAfter(received(2), sold, sold, received(1), received(5), sold)).toEqual([false, true]);
  });

  it("is nothing for a SKU that is new: nothing was shown of it", async () => {
    expect(await changesAfter(received(5))).toEqual([]);
    expect(await changesAfter(coefficient(1), received(5))).toEqual([]);
  });

  it("counts all locations together", async () => {
    const soldAt = (location: string) => moved("sellable", "outside", 1, { location });
    expect(await changesAfter(received(1), received(1, "GZ"), soldAt("SH"))).toEqual([]);
    expect(await changesAfter(received(1), received(1, "GZ"), soldAt("SH"), soldAt("GZ"))).toEqual([false]);
  });

  it("is nothing while the last units move to another location", async () => {
    const toLocation = moved("sellable", "sellable", 3, { type: "StockMoved", toLocation: "GZ" });
    expect(await changesAfter(received(3), toLocation)).toEqual([]);
  });

  it("counts the displayed share of what is reserved", async () => {
    const [held, paid] = [moved("sellable", "reserved", 4), moved("reserved", "committed", 1)];
    // 0.3 × 4 is one unit; 0.3 × 3 is none.
    expect(await changesAfter(received(4), held)).toEqual([]);
    expect(await changesAfter(received(4), held, paid)).toEqual([false]);
  });

  it("follows the display coefficient", async () => {
    const held = moved("sellable", "reserved", 4);
    expect(await changesAfter(received(4), held, coefficient(0.1), coefficient(0.2), coefficient(0.5))).toEqual([
      false,
      true,
    ]);
  });

  it("ignores units that are not displayed", async () => {
    const others = [moved("outside", "safety", 9), moved("safety", "outside", 9), moved("outside", "presale", 9)];
    expect(await changesAfter(received(1), ...others)).toEqual([]);
  });

  it("agrees with the view after every event of a random history", async () => {
    const random = seededRandom(14);
    const shop = new Shop<StorefrontState>(storefrontJob);
    const view = new StorefrontView();
    const expected: boolean[] = [];
    let last: boolean | undefined;
    const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random.next() * items.length)] as Item;
    for (let i = 0; i < 2_000; i++) {
      const location = pick(["SH", "GZ", "BJ"]);
      const from = pick(["outside", "sellable", "reserved", "safety"] as const);
      const to = pick(["outside", "outside", "outside", "sellable", "reserved"] as const);
      const held = shop.state("cup")?.locations.find(([name]) => name === location)?.[1];
      const most = from === "outside" ? 2 : (held?.[from] ?? 0);
      const event =
        i % 17 === 16
          ? coefficient(pick([0, 0.1, 0.3, 1]))
          : moved(from, to, Math.ceil(random.next() * most), { location, toLocation: pick(["SH", "GZ", "BJ"]) });
      await shop.append(event);
      const [key, state] = shop.views.at(-1) ?? [];
      if (key === undefined) continue;
      view.onView(key, state);
      const levels = view.get("cup");
      if (!levels || levels.locations.size === 0) continue;
      const available = levels.total.display > 0;
      if (last !== undefined && available !== last) expected.push(available);
      last = available;
    }
    expect(expected.length).toBeGreaterThan(30);
    expect(shop.emits.map(({ payload }) => (payload as { available: boolean }).available)).toEqual(expected);
  });
});
