/**
 * When a refused order may be sent again, computed from the open breakers that apply to it.
 */
import { describe, expect, it } from "vitest";
import { BreakerWatch } from "../../../connectors/http/breaker.js";
import type { BreakerScope, OpenBreaker } from "../../../engine/stock/breaker.js";
import type { Ledger } from "../../../engine/stock/ledger.js";

const NOW = 1_750_000_000_000;
const breaker = (scope: BreakerScope, forMs: number): OpenBreaker => ({
  scope,
  state: "open",
  untilMs: forMs === 0 ? 0 : NOW + forMs,
  sinceMs: NOW,
  actor: "a",
  reason: "b",
});
const watching = (breakers: () => Promise<OpenBreaker[]>, speed?: number) =>
  new BreakerWatch({
    ledger: { openBreakers: breakers } as unknown as Ledger,
    clock: { now: () => NOW },
    ...(speed === undefined ? {} : { speed: () => speed }),
  });
const line = { sku: "A", location: "main" };

describe("when a refused order may be sent again", () => {
  it("is when the last breaker that applies to it closes", async () => {
    const watch = watching(async () => [
      breaker({ kind: "shop" }, 10_000),
      breaker({ kind: "sku", sku: "A" }, 20_000),
      breaker({ kind: "location", location: "east" }, 90_000),
    ]);
    expect((await watch.refusalOf([line])).seconds).toBe(20);
  });

  it("is reported with the reason of the breaker that lasts longest", async () => {
    const why = async (...breakers: OpenBreaker[]) => (await watching(async () => breakers).refusalOf([line])).why;
    const long = { ...breaker({ kind: "location", location: "main" }, 20_000), reason: "count differs" };
    expect(await why(breaker({ kind: "shop" }, 10_000), long)).toBe(
      "the breaker of main is open until 2025-06-15T15:07:00.000Z: count differs",
    );
    expect(await why(breaker({ kind: "shop" }, 0))).toBe(
      "the breaker of the shop is open until it is changed by hand: b",
    );
    expect(await why({ ...breaker({ kind: "sku", sku: "A" }, 0), state: "half_open" })).toBe(
      "the breaker of A is half-open while stock is compared: b",
    );
    expect(await why()).toBe("");
  });

  it("is sooner where the shop's clock runs faster", async () => {
    expect((await watching(async () => [breaker({ kind: "shop" }, 600_000)], 60).refusalOf([line])).seconds).toBe(10);
  });

  it("is in a minute when only an operator closes the breaker", async () => {
    expect((await watching(async () => [breaker({ kind: "shop" }, 0)]).refusalOf([line])).seconds).toBe(60);
  });

  it("is in five seconds while a breaker is half-open", async () => {
    const half = { ...breaker({ kind: "shop" }, 0), state: "half_open" } as const;
    expect((await watching(async () => [half]).refusalOf([line])).seconds).toBe(5);
    expect((await watching(async () => [half, breaker({ kind: "shop" }, 9_000)]).refusalOf([line])).seconds).toBe(9);
  });

  it("is at once when the breaker has closed meanwhile, or the ledger cannot be read", async () => {
    expect((await watching(async () => [breaker({ kind: "shop" }, -1)]).refusalOf([line])).seconds).toBe(0);
    expect((await watching(() => Promise.reject(new Error("away"))).refusalOf([line])).seconds).toBe(0);
  });

  it("is read from the ledger once, however many orders are refused", async () => {
    let asked = 0;
    const watch = watching(async () => {
      asked++;
      return [breaker({ kind: "shop" }, 1_000)];
    });
    await Promise.all(Array.from({ length: 500 }, () => watch.refusalOf([line])));
    expect(asked).toBe(1);
  });
});
