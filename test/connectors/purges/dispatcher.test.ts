/**
 * How purges are sent, in virtual time: batches, the newest state, repetition, failures, drops, and that an edge which
 * fetches again at once ends with the new state.
 */
import { afterEach, beforeEach, expect, it } from "vitest";
import { LATE_MS, MOST_WAITING } from "../../../connectors/purges/queue.js";
import { DispatcherBed, START_MS, SteeredPurger } from "./bed.js";

let purger: SteeredPurger;
let bed: DispatcherBed;
function open(options: Partial<ConstructorParameters<typeof DispatcherBed>[0]> = {}): void {
  bed = new DispatcherBed({ purger, ...options });
  purger.now = () => bed.timer.now() - START_MS;
}
beforeEach(() => {
  purger = new SteeredPurger();
});
afterEach(() => bed.stop());
const skusSent = () => purger.requests.map(({ skus }) => skus);

it("joins what sells out together into one request, half a second later", async () => {
  open();
  bed.add("a");
  await bed.timer.advance(200);
  bed.add("b");
  await bed.timer.advance(290);
  expect(purger.requests).toEqual([]);
  await bed.timer.advance(2_000);
  expect(purger.requests).toEqual([
    { atMs: 500, skus: ["a"] },
    { atMs: 700, skus: ["b"] },
  ]);
  for (const sku of ["c", "d", "e"]) bed.add(sku);
  await bed.timer.advance(600);
  expect(skusSent()[2]).toEqual(["e", "d", "c"]);
  expect(bed.results).toMatchObject({ purged: 5, failed: 0 });
});

it("sends full batches, what is sold out first, then what is back", async () => {
  open();
  for (let i = 0; i < 12; i++) bed.add(`back-${i}`, { isSoldOut: false });
  for (let i = 0; i < 12; i++) bed.add(`out-${i}`);
  await bed.timer.advance(1_000);
  expect(skusSent().map((skus) => skus.length)).toEqual([10, 10, 4]);
  expect(
    skusSent()
      .flat()
      .slice(0, 12)
      .every((sku) => sku.startsWith("out-")),
  ).toBe(true);
});

it("purges a SKU once that is queued twice, with its newest state", async () => {
  open();
  bed.add("a");
  bed.add("b");
  bed.add("a", { isSoldOut: false });
  await bed.timer.advance(1_000);
  expect(skusSent()).toEqual([["b", "a"]]);
});

it("purges a second time where a shield may have answered with its old copy", async () => {
  open({ repeatAfterMs: 2_000 });
  bed.add("a");
  await bed.timer.advance(1_000);
  bed.add("b");
  await bed.timer.advance(5_000);
  expect(purger.requests).toEqual([
    { atMs: 500, skus: ["a"] },
    { atMs: 1_500, skus: ["b"] },
    { atMs: 2_500, skus: ["a"] },
    { atMs: 3_500, skus: ["b"] },
  ]);
  expect(bed.results).toMatchObject({ purged: 2, repeated: 2 });
});

it("does not repeat the purge of a state that is over", async () => {
  open({ repeatAfterMs: 2_000 });
  bed.add("a");
  await bed.timer.advance(1_500);
  bed.add("a", { isSoldOut: false });
  await bed.timer.advance(5_000);
  expect(purger.requests.map(({ atMs }) => atMs)).toEqual([500, 2_000, 4_000]);
});

it("sends again after a failure, until it would be too late, and then reports what was dropped", async () => {
  open();
  purger.answer = () => ({ outcome: "retry", reason: "HTTP 503" });
  bed.add("a");
  await bed.timer.advance(LATE_MS - 1_000);
  expect(purger.requests.length).toBeGreaterThan(3);
  expect(bed.dispatcher.warnings()).toEqual(["main (edge) does not purge: HTTP 503"]);
  await bed.timer.advance(2_100);
  const sent = purger.requests.length;
  expect(bed.results).toEqual({ purged: 0, repeated: 0, dropped_late: 1, dropped_limit: 0, failed: 0 });
  await bed.timer.advance(20_000);
  expect(purger.requests.length).toBe(sent);
  expect(bed.dispatcher.warnings()[1]).toMatch(/^main \(edge\): 1 purges were dropped lately/);
  await bed.timer.advance(600_000, 1_000);
  expect(bed.dispatcher.warnings()).toHaveLength(1);
  expect(bed.troubles).toEqual([
    "main does not purge: HTTP 503",
    expect.stringMatching(/^main \(edge\): 1 purges were dropped lately/),
  ]);
});

it("holds up nothing while the CDN does not answer, and purges again when it does", async () => {
  open();
  purger.answer = async () => {
    await bed.timer.sleep(5_000);
    return { outcome: "retry", reason: "no answer within 5000 ms" };
  };
  for (let i = 0; i < 500; i++) bed.add(`early-${i}`);
  await bed.timer.advance(16_000);
  expect(bed.results.dropped_late).toBe(500);
  expect(purger.requests.length).toBeLessThan(10);
  purger.answer = () => ({ outcome: "purged" });
  bed.add("late");
  await bed.timer.advance(8_000);
  expect(bed.results.purged).toBe(1);
  expect(bed.dispatcher.warnings()[0]).toMatch("dropped lately");
  const aboutRequests = bed.troubles.filter((text) => !text.includes("dropped"));
  expect(aboutRequests).toEqual(["main does not purge: no answer within 5000 ms", "main purges again"]);
});

it("waits as long as the CDN asks, and all workers with it", async () => {
  const holds: number[] = [];
  open({
    limits: {
      take: async (skus) => ({ skus, waitMs: 0, isDayOver: false }),
      hold: async (ms) => void holds.push(ms),
    },
  });
  purger.answer = () => ({ outcome: "retry", reason: "HTTP 429", throttled: true, retryAfterMs: 3_000 });
  bed.add("a");
  await bed.timer.advance(600);
  purger.answer = () => ({ outcome: "purged" });
  await bed.timer.advance(5_000);
  expect(purger.requests.map(({ atMs }) => atMs)).toEqual([500, 3_500]);
  expect(holds).toEqual([3_000]);
});

it("counts what a CDN refuses as failed, and shows no secret", async () => {
  open({ secrets: ["token-of-the-zone"] });
  purger.answer = () => ({ outcome: "refused", reason: "HTTP 403: Bearer token-of-the-zone is not allowed" });
  bed.add("a");
  await bed.timer.advance(2_000);
  expect(bed.results.failed).toBe(1);
  const texts = [...bed.dispatcher.warnings(), ...bed.troubles];
  expect(texts[0]).toBe("main (edge) does not purge: HTTP 403: Bearer *** is not allowed");
  for (const text of texts) expect(text).not.toContain("token-of-the-zone");
});

it("drops at once what the day's limit does not allow", async () => {
  open({ limits: { take: async () => ({ skus: 0, waitMs: 3_600_000, isDayOver: true }), hold: async () => {} } });
  bed.add("a");
  await bed.timer.advance(1_000);
  expect(bed.results.dropped_limit).toBe(1);
  expect(bed.dispatcher.warnings()[0]).toMatch("1 purges were dropped");
  await bed.timer.advance(60_000, 1_000);
  bed.add("b");
  await bed.timer.advance(2_000);
  expect(bed.results).toMatchObject({ dropped_limit: 2, dropped_late: 0 });
});

it("tells the log of drops once a minute at most, with their number", async () => {
  open({ limits: { take: async () => ({ skus: 0, waitMs: 1_000, isDayOver: true }), hold: async () => {} } });
  for (let i = 0; i < 90; i++) {
    bed.add(`sku-${i}`);
    await bed.timer.advance(1_000, 100);
  }
  await bed.timer.advance(120_000, 1_000);
  const numbers = bed.troubles.map((text) => Number(/(\d+) purges were dropped/.exec(text)?.[1]));
  expect([numbers[0], numbers.at(-1), numbers.length]).toEqual([1, 90, 3]);
});

it("keeps a bounded number, the newest", async () => {
  open({ limits: { take: async () => ({ skus: 0, waitMs: 60_000, isDayOver: false }), hold: async () => {} } });
  for (let i = 0; i < MOST_WAITING + 7; i++) bed.add(`sku-${i}`);
  expect(bed.results.dropped_limit).toBe(7);
});

it("sends what waits before it ends, the second purge too", async () => {
  open({ repeatAfterMs: 2_000 });
  bed.add("a");
  await bed.stop();
  expect(purger.requests.map(({ atMs }) => atMs)).toEqual([500, 2_500]);
});

it("goes on when Redis fails for a while, and reports it once", async () => {
  let isUp = false;
  open({
    limits: {
      async take(skus) {
        if (!isUp) throw new Error("connection lost");
        return { skus, waitMs: 0, isDayOver: false };
      },
      hold: async () => {},
    },
  });
  bed.add("a");
  await bed.timer.advance(3_000);
  isUp = true;
  await bed.timer.advance(1_000);
  expect(bed.results.purged).toBe(1);
  expect(bed.troubles).toEqual(["the limits of main: connection lost"]);
});

/** An edge before an origin whose view lags: a purge deletes the copy, and a shopper fetches it again at once. */
it.each([
  ["without a shield, and a view that lags 300 ms", 300, undefined],
  ["behind a shield that answers with its old copy for a second, and is purged twice", 1_500, 2_000],
])("the new state wins within 3 s %s", async (_what, oldUntilMs, repeatAfterMs) => {
  open(repeatAfterMs === undefined ? {} : { repeatAfterMs });
  const changedMs = bed.timer.now();
  let copy = "old";
  purger.answer = () => {
    copy = bed.timer.now() - changedMs >= oldUntilMs ? "new" : "old";
    return { outcome: "purged" };
  };
  bed.add("a");
  await bed.timer.advance(3_000);
  expect(copy).toBe("new");
});
