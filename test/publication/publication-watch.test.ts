/** What an operator is told about the newest publication. */
import { afterEach, expect, it, vi } from "vitest";
import { encodeManifest } from "../../engine/publication/manifest.js";
import { PublicationWatch } from "../../engine/publication/publication-watch.js";

const START_MS = Date.UTC(2026, 5, 18);

let asOfMs: number | undefined;
let fault: Error | undefined;
const store = {
  place: "file:///srv/stock",
  async readManifest() {
    if (fault) throw fault;
    if (asOfMs === undefined) return undefined;
    const json = encodeManifest({ asOfMs, positions: [1], skus: 7, leaves: 1, index: ["A".repeat(16)] });
    return { json, version: "1" };
  },
};

let watch: PublicationWatch;
async function begin(): Promise<void> {
  vi.useFakeTimers({ now: START_MS });
  [asOfMs, fault] = [undefined, undefined];
  watch = new PublicationWatch({ store, everyMs: 5_000 });
  watch.start();
  await vi.advanceTimersByTimeAsync(0);
}
afterEach(async () => {
  await watch.stop();
  vi.useRealTimers();
});

it("tells the age of what is in the store, whoever published it", async () => {
  await begin();
  asOfMs = START_MS + 4_000;
  await vi.advanceTimersByTimeAsync(5_000);
  expect([watch.ageMs, watch.skus]).toEqual([1_000, 7]);
  expect(watch.warnings()).toEqual([]);
});

it("warns when publications do not come, not while one is a little late", async () => {
  await begin();
  asOfMs = START_MS;
  await vi.advanceTimersByTimeAsync(15_000);
  expect(watch.warnings()).toEqual([]);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(watch.warnings()).toEqual(["the newest publication in file:///srv/stock is 20 s old"]);
});

it("warns that there is none, and why the store cannot be read", async () => {
  await begin();
  fault = new Error("the disk is gone");
  await vi.advanceTimersByTimeAsync(20_000);
  expect(watch.warnings()).toEqual([
    "there is no publication in file:///srv/stock 20 s after the start: the disk is gone",
  ]);
});

it("warns of a publication of the future, whose age it cannot tell", async () => {
  await begin();
  asOfMs = START_MS + 60_000;
  await vi.advanceTimersByTimeAsync(5_000);
  expect(watch.warnings()).toEqual([
    "the newest publication in file:///srv/stock is as of the future: this machine's clock or its publisher's is wrong",
  ]);
});

it("goes on with the age of the last manifest while the store cannot be read", async () => {
  await begin();
  asOfMs = START_MS;
  await vi.advanceTimersByTimeAsync(5_000);
  fault = new Error("the disk is gone");
  await vi.advanceTimersByTimeAsync(15_000);
  expect([watch.ageMs, watch.skus]).toEqual([20_000, 7]);
  expect(watch.warnings()).toEqual(["the newest publication in file:///srv/stock is 20 s old: the disk is gone"]);
});
