/**
 * A shop's edge as the module for its pages sees it: time, answers with `Date` and `Age`, a delay, an outage, and a
 * device whose clock is wrong. All times are of vitest's fake timers; `trueMs` is the time that no clock shows.
 */
import { vi } from "vitest";
import { jsonFetcher } from "../../../dashboards/stock-module/fetch-json.js";
import { KnownStock } from "../../../dashboards/stock-module/known-stock.js";
import { publicationReader, queryReader } from "../../../dashboards/stock-module/readers.js";
import { Refresher } from "../../../dashboards/stock-module/refresher.js";
import { ServerClock } from "../../../dashboards/stock-module/server-clock.js";

/** Where the fake time begins; with a fraction, so that rounding is seen. */
export const START_MS = Date.UTC(2026, 11, 1, 8) + 730;

export interface EdgeState {
  /** How old the bodies are when they arrive at the edge. */
  lagMs: number;
  /** How long the edge keeps a body; 0: it is not a cache. */
  keptMs: number;
  /** Between the edge and the device. */
  delayMs: number;
  isDown: boolean;
  /** Makes `Date` and `Age` of a copy. */
  headers: "standard" | "own date" | "no date";
  displays: Map<string, number>;
  /** Instead of the right one; a Blob is sent as it is. */
  body?: unknown;
}

/** The last path segment of a request and when it came. */
export interface EdgeRequest {
  readonly path: string;
  readonly atMs: number;
}

export function edge(change: Partial<EdgeState> = {}) {
  const state: EdgeState = {
    ...{ lagMs: 300, keptMs: 11_000, delayMs: 40, isDown: false, headers: "standard", displays: new Map() },
    ...change,
  };
  const startedMs = performance.now();
  const trueMs = (): number => START_MS + performance.now() - startedMs;
  const requests: EdgeRequest[] = [];
  const copies = new Map<string, { body: object; asOfMs: number; atMs: number }>();
  const copyOf = (path: string) => {
    const found = copies.get(path);
    if (found && trueMs() < found.asOfMs + state.keptMs) return found;
    const asOfMs = Math.floor((trueMs() - state.lagMs) / 1_000) * 1_000;
    const skus = [...path.matchAll(/sku=([^&]+)/g)].map(([, sku = ""]) => decodeURIComponent(sku));
    const body = {
      asOf: new Date(asOfMs).toISOString(),
      skus: skus.flatMap((sku) => (state.displays.has(sku) ? [{ sku, display: state.displays.get(sku) }] : [])),
      unknown: skus.filter((sku) => !state.displays.has(sku)),
    };
    const copy = { body, asOfMs, atMs: trueMs() };
    copies.set(path, copy);
    return copy;
  };
  const wait = () => new Promise((resolve) => setTimeout(resolve, state.delayMs / 2));
  const answer = async (url: string): Promise<Response> => {
    requests.push({ path: url, atMs: trueMs() });
    await wait();
    if (state.isDown) throw new TypeError("network");
    const { body, atMs } = copyOf(url);
    const isOwn = state.headers === "own date";
    const dateMs = isOwn ? trueMs() : atMs;
    const ageSeconds = Math.floor((trueMs() - atMs) / 1_000);
    const headers = {
      ...(state.headers === "no date" ? {} : { date: new Date(dateMs).toUTCString() }),
      ...(!isOwn && ageSeconds > 0 ? { age: String(ageSeconds) } : {}),
    };
    await wait();
    if (state.body instanceof Blob) return new Response(state.body, { headers });
    return Response.json(state.body === undefined ? body : state.body, { headers });
  };
  vi.stubGlobal("fetch", answer);
  return { state, trueMs, requests };
}

/** The module without its elements: SKUs that are seen, and what is shown of them. */
export function modulePage(skus: readonly string[], mode: "query" | "publication" = "query") {
  const clock = new ServerClock();
  const known = new KnownStock(clock);
  let seen: readonly string[] = skus;
  let newestMs = 0;
  let shownMs = 0;
  let lateMs = 0;
  const read = (mode === "query" ? queryReader : publicationReader)(jsonFetcher("", clock, () => true));
  const refresher = new Refresher({
    clock,
    known,
    read: (these, all, take) =>
      read(these, all, (sku, display, asOfMs) => {
        newestMs = Math.max(newestMs, asOfMs);
        take(sku, display, asOfMs);
      }),
    all: () => skus,
    seen: () => seen,
    show() {
      lateMs = Math.max(lateMs, shownMs > 0 ? clock.latestMs() - shownMs : 0);
      const [sku = ""] = skus;
      shownMs = known.shown(sku) === undefined ? 0 : newestMs;
    },
    onSleep: () => {},
  });
  return {
    clock,
    known,
    refresher,
    shown: (sku: string) => known.shown(sku),
    /** As of when the newest number is true. */
    newestMs: () => newestMs,
    /** How old the first SKU's number was at most when the page replaced it. */
    lateMs: () => lateMs,
    see(these: readonly string[]) {
      seen = these;
      refresher.look();
    },
  };
}
