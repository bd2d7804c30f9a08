/**
 * What a check of an edge concludes from readings: every finding from readings that show it, none from those of an edge
 * that keeps the promise, and no judgement where the own clock is wrong. The readings are made up: an edge that asks
 * the engine at given seconds, read twice a second. test/edge/check.edge.test.ts does the same through real caches.
 */
import { describe, expect, it } from "vitest";
import { judge } from "../../../connectors/cdn/probe/findings.js";
import type { Observation } from "../../../connectors/cdn/probe/observation.js";
import type { Reading } from "../../../connectors/cdn/probe/reader.js";

/** 2026-12-01T08:00:00Z */
const START_MS = 1_796_112_000_000;
const SECONDS = 40;
const HEADERS = {
  "cache-control": "public, max-age=0, must-revalidate, s-maxage=5",
  date: new Date(START_MS).toUTCString(),
  server: "nginx/1.22.1",
};

type Changes = Partial<Omit<Reading, "headers">> & { headers?: Record<string, string | undefined> };

function reading(atSecond: number, asOfSecond: number | undefined, changes: Changes = {}): Reading {
  const at = START_MS + atSecond * 1_000;
  const asOfMs = asOfSecond === undefined ? undefined : START_MS + asOfSecond * 1_000;
  const headers = Object.entries({ ...HEADERS, etag: `"${asOfSecond}"`, ...changes.headers });
  const body = asOfMs === undefined ? undefined : { sku: "A", display: 1, available: true };
  return {
    ...{ sentMs: at, receivedMs: at + 20, status: 200, fault: undefined, asOfMs, body, known: undefined, ...changes },
    headers: Object.fromEntries(headers.filter((pair): pair is [string, string] => pair[1] !== undefined)),
  };
}

/** Reads an edge that fetched answers at some seconds, each as of so many seconds before it was fetched. */
const through = (fetches: readonly (readonly [atSecond: number, oldSeconds: number])[], changes: Changes = {}) =>
  Array.from({ length: SECONDS * 2 }, (_, i) => i / 2).map((second) => {
    const [at = 0, old = 0] = fetches.filter(([fetched]) => fetched <= second).at(-1) ?? [];
    return reading(second, at - old, changes);
  });

const GOOD = through([
  [0, 1],
  [11, 0],
  [22, 1],
  [33, 1],
]);

const observed = (changes: Partial<Observation> = {}): Observation => ({
  seconds: SECONDS,
  cold: [reading(0.2, undefined, { status: 404 }), reading(0.8, undefined, { status: 404 })],
  readings: GOOD,
  idle: [reading(0, 0, { body: { locations: [] } }), reading(17, 16)],
  burst: Array.from({ length: 20 }, (_, i) =>
    reading(1, 1, { headers: { "cache-status": i === 0 ? "e; fwd=miss" : "e; hit" } }),
  ),
  origin: [],
  purged: undefined,
  ...changes,
});

const foundIn = (observation: Observation) =>
  judge(observation).checks.flatMap(({ finding }) => (finding === undefined ? [] : [finding]));
const seenIn = (observation: Observation, name: string) =>
  judge(observation).checks.find((check) => check.name === name);

it("an edge that keeps the promise has no finding, and what did not occur is not tested", () => {
  const { edge, checks } = judge(observed());
  expect(edge).toBe("nginx");
  expect(checks.filter(({ state }) => state === "finding")).toEqual([]);
  const untested = checks.filter(({ state }) => state === "untested").map(({ name }) => name);
  expect(untested).toEqual(["304", "purge", "origin fails"]);
});

describe("old bodies", () => {
  it("of an answer that was fetched fresh are a fixed lifetime", () => {
    expect(foundIn(observed({ readings: through([[0, 1]]) }))).toEqual(["overrides_ttl"]);
  });

  it("of an answer that was fetched old are lifetimes that add up", () => {
    const readings = through([
      [0, 6],
      [11, 7],
      [22, 6],
    ]);
    expect(foundIn(observed({ readings }))).toEqual(["adds_age"]);
  });

  const outage = through([
    [0, 1],
    [11, 1],
  ]);
  it("after others that were replaced in time are stale answers, as in an outage", () => {
    expect(foundIn(observed({ readings: outage }))).toEqual(["serves_stale"]);
  });

  it("that are marked stale, or come while the engine fails, are stale answers", () => {
    const readings = through([[0, 1]], { headers: { "x-cache-status": "STALE" } });
    expect(foundIn(observed({ readings }))).toEqual(["serves_stale"]);
    const origin = [reading(14, undefined, { status: 0, fault: "ECONNREFUSED" })];
    expect(foundIn(observed({ readings: through([[0, 1]]), origin }))).toEqual(["serves_stale"]);
  });

  it("are the engine's where its own answers are old", () => {
    const origin = [reading(20, 8)];
    expect(
      foundIn(
        observed({
          readings: through([
            [0, 12],
            [11, 12],
            [22, 12],
          ]),
          origin,
        }),
      ),
    ).toEqual(["engine_old"]);
  });

  it("in a browser count with the time that it keeps them", () => {
    const readings = GOOD.map((each) => ({
      ...each,
      headers: { ...each.headers, "cache-control": "public, max-age=5" },
    }));
    expect(foundIn(observed({ readings }))).toEqual(["browser"]);
  });

  it("that the first reader after a pause gets are a finding of their own", () => {
    const idle = [reading(0, 0, { body: { locations: [] } }), reading(17, 0)];
    expect(foundIn(observed({ idle }))).toEqual(["idle_stale"]);
  });

  it("a 304 counts with the body that the reader has", () => {
    const readings = [...GOOD, reading(41, 21, { status: 304, known: '"21"', body: undefined })];
    expect(foundIn(observed({ readings }))).toEqual(["serves_stale"]);
  });
});

describe("headers", () => {
  it.each(["cache-control", "etag", "date"])("%s that is missing is found", (name) => {
    const readings = GOOD.map((each) => ({ ...each, headers: { ...each.headers } }));
    for (const { headers } of readings) delete headers[name];
    const observation = observed({ readings });
    expect(foundIn(observation)).toEqual(["headers"]);
    expect(seenIn(observation, "headers")?.seen).toContain(name);
  });

  it.each(["public", "max-age=0, stale-while-revalidate=9"])("Cache-Control: %s is found", (value) => {
    expect(
      foundIn(
        observed({
          readings: through(
            [
              [0, 1],
              [11, 1],
              [22, 1],
              [33, 1],
            ],
            { headers: { "cache-control": value } },
          ),
        }),
      ),
    ).toEqual(["headers"]);
  });

  it("one that only pages of other sites need is missed where the engine sends it", () => {
    const origin = [reading(10, 10, { headers: { "access-control-allow-origin": "*" } })];
    expect(seenIn(observed({ origin }), "headers")?.seen).toContain("access-control-allow-origin");
    expect(foundIn(observed({ origin: [reading(10, 10)] }))).toEqual([]);
  });

  it("a read with If-None-Match that gets the same answer again is found, and one with 304 is fine", () => {
    const again = reading(0, -1, { known: 'W/"-1"' });
    expect(foundIn(observed({ readings: [again, ...GOOD] }))).toEqual(["conditional"]);
    const notModified = reading(0, -1, { known: '"-1"', status: 304, body: undefined });
    expect(seenIn(observed({ readings: [notModified, ...GOOD] }), "304")?.state).toBe("ok");
  });

  it.each([
    ["is no number", () => "7, 9"],
    ["is larger than the body's age", () => "30"],
    ["stands still", () => "1"],
  ])("an Age that %s is found", (_, age) => {
    const readings = GOOD.map((each) => ({ ...each, headers: { ...each.headers, age: age() } }));
    expect(foundIn(observed({ readings }))).toEqual(["age_header"]);
  });
});

it("an edge that does not cache, or does not collapse requests, is found", () => {
  const fetches = Array.from({ length: SECONDS }, (_, second) => [second, 0] as const);
  expect(foundIn(observed({ readings: through(fetches) }))).toEqual(["not_cached"]);
  const burst = Array.from({ length: 20 }, () => reading(1, 1, { headers: { "cache-status": "e; fwd=miss" } }));
  expect(foundIn(observed({ burst }))).toEqual(["not_collapsed"]);
});

it("a cache key without the query is found", () => {
  expect(foundIn(observed({ idle: [reading(0, 0), reading(17, 16)] }))).toEqual(["key_ignores_query"]);
});

describe("a purge", () => {
  const purgedAt = (second: number, status = 200) => ({
    answer: reading(second, undefined, { status }),
    asOfMs: START_MS - 1_000,
  });

  it("that shows is fine, one that is refused or does not show is found", () => {
    const shown = through([
      [0, 1],
      [6.5, 1],
      [17, 1],
      [28, 1],
    ]);
    expect(seenIn(observed({ readings: shown, purged: purgedAt(6) }), "purge")?.state).toBe("ok");
    expect(foundIn(observed({ purged: purgedAt(5) }))).toEqual(["ignores_purge"]);
    expect(foundIn(observed({ readings: shown, purged: purgedAt(6, 405) }))).toEqual(["ignores_purge"]);
  });

  it("is not judged by a SKU that sells out, but how soon it was seen is told", () => {
    const soldOut = { sku: "A", display: 0, available: false };
    const origin = [reading(10, 10), reading(11, 11, { body: soldOut })];
    const readings = GOOD.map((each, i) => (i < 26 ? each : { ...each, body: soldOut }));
    expect(seenIn(observed({ origin, readings }), "purge")).toMatchObject({
      state: "untested",
      seen: expect.stringContaining("seen here 2.0 s after"),
    });
  });
});

it("an edge that fails with its origin, and serves nothing old, is fine", () => {
  const failed = [41, 42].map((second) => reading(second, undefined, { status: 504 }));
  expect(seenIn(observed({ readings: [...GOOD, ...failed] }), "origin fails")?.state).toBe("ok");
});

describe("where nothing can be judged", () => {
  it.each([
    [-3, "behind"],
    [4, "ahead of"],
  ])("a clock that is %s s wrong is the only finding", (seconds, word) => {
    const date = new Date(START_MS - seconds * 1_000).toUTCString();
    const cold = [reading(0.2, undefined, { headers: { date } })];
    const { checks } = judge(observed({ cold, readings: through([[0, 30]]) }));
    expect(checks).toMatchObject([{ name: "clock", finding: "clock", seen: expect.stringContaining(word) }]);
  });

  it("bodies from the future are a finding of the clock", () => {
    expect(foundIn(observed({ cold: [], readings: [reading(0, 5)] }))).toEqual(["clock"]);
  });

  it.each<[string, Changes, string]>([
    ["no_stock", { status: 421, body: { detail: "no such host" } }, "status 421, no such host"],
    ["no_stock", { body: undefined, headers: { "content-type": "text/html" } }, "status 200, text/html"],
    ["no_stock", { body: { sku: "A" } }, "status 200, JSON"],
    ["redirects", { status: 301, headers: { location: "https://shop.example/" } }, "to https://shop.example/"],
    ["no_answer", { status: 0, fault: "connect ECONNREFUSED" }, "the last: connect ECONNREFUSED"],
  ])("an address without stock answers is the finding: %s", (finding, changes, seen) => {
    const readings = [reading(0, undefined, changes)];
    expect(foundIn(observed({ readings }))).toEqual([finding]);
    expect(seenIn(observed({ readings }), "stock answer")?.seen).toContain(seen);
  });

  it("an address that was never read is the finding", () => {
    expect(foundIn(observed({ readings: [] }))).toEqual(["no_answer"]);
  });
});
