/** How the module listens: one stream with the SKUs that are seen, and what its events prove about the time. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { KnownStock } from "../../../dashboards/stock-module/known-stock.js";
import { PushStream } from "../../../dashboards/stock-module/push-stream.js";
import { ServerClock } from "../../../dashboards/stock-module/server-clock.js";
import { START_MS } from "./edge.js";

const HOUR_MS = 3_600_000;
const sources: FakeSource[] = [];

class FakeSource extends EventTarget {
  readonly url: string;
  isOpen = true;
  onerror: () => void = () => {};

  constructor(url: string) {
    super();
    this.url = url;
    sources.push(this);
  }

  close(): void {
    this.isOpen = false;
  }

  tell(name: string, content: unknown): void {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(content) }));
  }

  tellTime(): void {
    this.tell("time", { now: new Date().toISOString() });
  }
}

beforeEach(() => {
  sources.length = 0;
  vi.useFakeTimers({ now: START_MS });
  vi.stubGlobal("EventSource", FakeSource);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function pushed() {
  const clock = new ServerClock();
  const known = new KnownStock(clock);
  const stream = new PushStream("https://shop.example", clock, known, () => {});
  const open = () => sources.filter(({ isOpen }) => isOpen);
  return { clock, known, stream, open };
}

it("has one stream, with the SKUs that are seen and those of before", async () => {
  const { stream, open } = pushed();
  stream.keep(["A", "茶 叶"]);
  stream.keep(["A"]);
  expect(sources.map(({ url }) => url)).toEqual([
    `https://shop.example/v1/stock/stream?sku=A&sku=${encodeURIComponent("茶 叶")}`,
  ]);
  await vi.advanceTimersByTimeAsync(1_100);
  stream.keep(["B"]);
  expect(open().map(({ url }) => url.split("?")[1])).toEqual([`sku=B&sku=A&sku=${encodeURIComponent("茶 叶")}`]);
  stream.keep([]);
  expect(open()).toEqual([]);
});

it("knows the time as well after half a day as at first", async () => {
  const { clock, stream, open } = pushed();
  for (let passedMs = 0; passedMs < 12 * HOUR_MS; passedMs += 5_000) {
    stream.keep(["A"]);
    await vi.advanceTimersByTimeAsync(100);
    open()[0]?.tellTime();
    expect(clock.latestMs()).toBeGreaterThanOrEqual(Date.now());
    expect(clock.latestMs()).toBeLessThan(Date.now() + 500);
    await vi.advanceTimersByTimeAsync(4_900);
  }
  expect(sources.length).toBeLessThan(30);
});

it("opens another when it hears nothing, and after a failure a little later", async () => {
  const { stream, open } = pushed();
  stream.keep(["A"]);
  await vi.advanceTimersByTimeAsync(15_100);
  stream.keep(["A"]);
  expect([sources.length, open().length]).toEqual([2, 1]);
  sources[1]?.onerror();
  stream.keep(["A"]);
  expect(open()).toEqual([]);
  await vi.advanceTimersByTimeAsync(1_600);
  stream.keep(["A"]);
  expect(open()).toHaveLength(1);
});

it("ignores what is older than what is shown", () => {
  const { known, stream } = pushed();
  stream.keep(["A"]);
  sources[0]?.tellTime();
  known.take("A", 5, Date.now());
  sources[0]?.tell("stock", { sku: "A", display: 0, asOf: new Date(Date.now() - 5_000).toISOString() });
  expect(known.shown("A")).toBe(5);
  sources[0]?.tell("stock", { sku: "A", display: 0, asOf: new Date(Date.now() - 500).toISOString() });
  expect(known.shown("A")).toBe(0);
});
