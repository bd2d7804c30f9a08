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
    expect(await watch.retryAfterSeconds([line])).toBe(20);
  });

  it("is sooner where the shop's clock runs faster", async () => {
    expect(await watching(async () => [breaker({ kind: "shop" }, 600_000)], 60).retryAfterSeconds([line])).toBe(10);
  });

  it("is in a minute when only an operator closes the breaker", async () => {
    expect(await watching(async () => [breaker({ kind: "shop" }, 0)]).retryAfterSeconds([line])).toBe(60);
  });

  it("is in five seconds while a breaker is half-open", async () => {
    const half = { ...breaker({ kind: "shop" }, 0), state: "half_open" } as const;
    expect(await watching(async () => [half]).retryAfterSeconds([line])).toBe(5);
    expect(await watching(async () => [half, breaker({ kind: "shop" }, 9_000)]).retryAfterSeconds([line])).toBe(9);
  });

  it("is at once when the breaker has closed meanwhile, or the ledger cannot be read", async () => {
    expect(await watching(async () => [breaker({ kind: "shop" }, -1)]).retryAfterSeconds([line])).toBe(0);
    expect(await watching(() => Promise.reject(new Error("away"))).retryAfterSeconds([line])).toBe(0);
  });

  it("is read from the ledger once, however many orders are refused", async () => {
    let asked = 0;
    const watch = watching(async () => {
      asked++;
      return [breaker({ kind: "shop" }, 1_000)];
    });
    await Promise.all(Array.from({ length: 500 }, () => watch.retryAfterSeconds([line])));
    expect(asked).toBe(1);
  });
});
