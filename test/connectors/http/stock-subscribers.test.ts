/**
 * Whom the streams of stock tell what: each subscriber of a SKU and no other, one encoding for all, the newest state
 * only, the time in turns, and a client that does not read is disconnected.
 */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type EventStream, MAX_UNSENT_BYTES, StockSubscribers } from "../../../connectors/http/stock-subscribers.js";

class Stream {
  readonly written: (string | Buffer)[] = [];
  writableLength = 0;
  ended = false;
  destroyed = false;
  write(bytes: string | Buffer): boolean {
    this.written.push(bytes);
    return true;
  }
  end(): void {
    this.ended = true;
  }
  destroy(): void {
    this.destroyed = true;
  }
  get texts(): string[] {
    return this.written.map(String);
  }
  get asStream(): EventStream {
    return this as unknown as EventStream;
  }
}

let publish: ((sku: string) => void) | undefined;
const states = new Map<string, number>();
const counted: string[] = [];
let isFresh = true;
const makeSubscribers = () =>
  new StockSubscribers({
    stockEvent: (sku) => (isFresh && states.has(sku) ? `${sku}=${states.get(sku)};` : undefined),
    isFresh: () => isFresh,
    timeEvent: () => "time;",
    listen: (listener) => {
      publish = listener;
      return () => {
        publish = undefined;
      };
    },
    onSent: (kind) => counted.push(kind),
    onSlow: () => counted.push("slow"),
  });

beforeEach(() => {
  states.clear();
  counted.length = 0;
  isFresh = true;
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

const flip = (sku: string, display: number): void => {
  states.set(sku, display);
  publish?.(sku);
};

it("begins with the time and the present states, and then tells subscribers only", () => {
  states.set("a", 1).set("b", 2);
  const subscribers = makeSubscribers();
  const [one, other] = [new Stream(), new Stream()];
  subscribers.add(one.asStream, new Set(["a", "unknown"]));
  subscribers.add(other.asStream, new Set(["b"]));
  flip("a", 0);
  flip("unknown", 3);
  vi.advanceTimersByTime(1);
  expect(one.texts).toEqual(["time;a=1;", "a=0;", "unknown=3;"]);
  expect(other.texts).toEqual(["time;b=2;"]);
  subscribers.close();
});

it("encodes an event once, and sends the newest state when a SKU changes twice in a turn", () => {
  const subscribers = makeSubscribers();
  const streams = Array.from({ length: 600 }, () => new Stream());
  for (const stream of streams) subscribers.add(stream.asStream, new Set(["a"]));
  flip("a", 0);
  flip("a", 7);
  vi.advanceTimersByTime(100);
  expect(streams.every(({ texts }) => texts.length === 2 && texts[1] === "a=7;")).toBe(true);
  expect(new Set(streams.map(({ written }) => written[1])).size).toBe(1);
  subscribers.close();
});

it("sends many streams their event in several turns of the event loop", () => {
  const subscribers = makeSubscribers();
  const streams = Array.from({ length: 600 }, () => new Stream());
  for (const stream of streams) subscribers.add(stream.asStream, new Set(["a"]));
  flip("a", 0);
  vi.advanceTimersToNextTimer();
  expect(streams.filter(({ texts }) => texts.length === 2)).toHaveLength(256);
  subscribers.close();
});

it("sends what was too old to be shown when it is not any more, at the start of a stream and after a change", () => {
  states.set("a", 1).set("b", 2);
  const subscribers = makeSubscribers();
  const [early, late] = [new Stream(), new Stream()];
  subscribers.add(early.asStream, new Set(["a"]));
  isFresh = false;
  flip("a", 0);
  subscribers.add(late.asStream, new Set(["b", "unknown"]));
  vi.advanceTimersByTime(3_000);
  const stock = (stream: Stream) => stream.texts.join("").replaceAll("time;", "");
  expect([stock(early), stock(late)]).toEqual(["a=1;", ""]);
  isFresh = true;
  vi.advanceTimersByTime(1_001);
  expect([stock(early), stock(late)]).toEqual(["a=1;a=0;", "b=2;"]);
  vi.advanceTimersByTime(10_000);
  expect([stock(early), stock(late)]).toEqual(["a=1;a=0;", "b=2;"]);
  subscribers.close();
});

it("sends every stream the time every 5 s, not to all at once", () => {
  const subscribers = makeSubscribers();
  const streams = Array.from({ length: 40 }, () => new Stream());
  for (const stream of streams) subscribers.add(stream.asStream, new Set(["a"]));
  vi.advanceTimersByTime(250);
  expect(counted).toEqual(["time", "time"]);
  vi.advanceTimersByTime(4_750);
  expect(streams.every(({ texts }) => texts.length === 2)).toBe(true);
  subscribers.close();
});

it("disconnects a client that does not read, and no other", () => {
  const subscribers = makeSubscribers();
  const [slow, fast] = [new Stream(), new Stream()];
  subscribers.add(slow.asStream, new Set(["a"]));
  subscribers.add(fast.asStream, new Set(["a"]));
  slow.writableLength = MAX_UNSENT_BYTES + 1;
  flip("a", 1);
  vi.advanceTimersByTime(1);
  expect([slow.destroyed, fast.destroyed, subscribers.size]).toEqual([true, false, 1]);
  expect(counted).toEqual(["slow", "stock"]);
  subscribers.close();
});

it("listens to the view only while streams are open, and ends them when it is closed", () => {
  const subscribers = makeSubscribers();
  const [one, other] = [new Stream(), new Stream()];
  expect(publish).toBeUndefined();
  subscribers.add(one.asStream, new Set(["a"]));
  subscribers.add(other.asStream, new Set(["a"]));
  subscribers.remove(one.asStream);
  expect(publish).toBeDefined();
  subscribers.close();
  expect(publish).toBeUndefined();
  expect([one.ended, other.ended, subscribers.size, vi.getTimerCount()]).toEqual([false, true, 0, 0]);
});
