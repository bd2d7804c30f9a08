/** The commands of the consistency job, executed: what is appended for each, and what happens when something fails. */
import { beforeEach, describe, expect, it, vi } from "vitest";
import {
  BREAKER_CHANGED_EMIT,
  BREAKERS_EVENT,
  type BreakersEvent,
  COMPARE_EMIT,
  COMPARED_EVENT,
  COMPARISON_FAILED_EVENT,
  type ComparedEvent,
  type ComparisonFailedEvent,
  REFRESH_EMIT,
  SET_BREAKER_EMIT,
} from "../../../engine/jobs/consistency/events.js";
import { ConsistencyReceiver } from "../../../engine/jobs/consistency/receiver.js";
import { EngineError } from "../../../engine/kernel/errors.js";
import { zoneOf } from "../../../engine/kernel/zone.js";
import type { Comparison } from "../../../engine/reconciliation/model.js";
import type { BreakerStatus } from "../../../engine/stock/breaker.js";
import type { Breakers } from "../../../engine/stock/breakers.js";
import { encodeEvent, type NewEvent } from "../../../engine/stream/event-entry.js";
import { partitionOf } from "../../../engine/stream/partition.js";

const NOW = Date.UTC(2026, 5, 18, 9);
const PARTITIONS = 4;
const OWN = partitionOf("comparison", PARTITIONS);

let appended: NewEvent[];
let statuses: BreakerStatus[];
let troubles: string[];
let asked: unknown[];
let comparison: Comparison | Error;
let set: Breakers["setIf"];
let receiver: ConsistencyReceiver;

beforeEach(() => {
  [appended, statuses, troubles, asked] = [[], [], [], []];
  comparison = { id: "C1", atMs: NOW, cause: "demand", snapshots: [], pairs: [], leftOut: {}, durationMs: 5 };
  set = async () => ({ changed: true, missing: [], version: 7 });
  receiver = new ConsistencyReceiver({
    name: "consistency",
    partitions: PARTITIONS,
    ledger: {
      breakers: { setIf: (...args: Parameters<Breakers["setIf"]>) => set(...args) } as unknown as Breakers,
      breakerStatuses: async () => statuses,
    },
    comparer: {
      async compare() {
        if (comparison instanceof Error) throw comparison;
        return comparison;
      },
    },
    sources: { requestPull: async (request) => [String(asked.push(request))] },
    settings: { compareAt: "18:00", mode: "on", shopShare: 0.005, skuFloorUnits: 10 },
    zone: zoneOf("Asia/Shanghai"),
    clock: { now: () => NOW },
    append: async (events) => {
      for (const event of events) {
        encodeEvent(event);
        appended.push(event);
      }
    },
    onTrouble: (message) => void troubles.push(message),
  });
});

const deliver = (kind: string, payload: unknown, atMs = NOW) =>
  receiver.deliver({ id: "d", kind, key: "comparison", atMs, payload }, new AbortController().signal);
const status = (more: Partial<BreakerStatus> = {}): BreakerStatus => ({
  ...{ scope: { kind: "shop" }, state: "open", version: 7, sinceMs: NOW, untilMs: 0, actor: "li", reason: "count" },
  ...more,
});
const payloads = <Payload>() => appended.map(({ payload }) => payload as Payload);

describe("a comparison", () => {
  it("is reported with the command's id, its verdicts and the next due time", async () => {
    expect(await deliver(COMPARE_EMIT, { id: "q1", cause: "demand", scopes: [{ scope: "shop" }] })).toEqual({
      outcome: "done",
    });
    expect(appended).toMatchObject([{ key: "comparison", kind: COMPARED_EVENT, id: "C1" }]);
    expect(payloads<ComparedEvent>()[0]).toEqual({
      ...{ request: "q1", mode: "on", unlisted: 0, nextDueMs: NOW + 60 * 60_000 },
      verdicts: [{ scope: "shop", verdict: "unknown" }],
      comparison: { id: "C1", atMs: NOW, cause: "demand", durationMs: 5, snapshots: [], pairs: [], leftOut: {} },
    });
  });

  it("is not made twice for a command that is repeated at once, but later: its answer may be lost", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      for (const [passedMs, reports] of [
        [0, 1],
        [59_000, 1],
        [61_000, 2],
      ] as const) {
        vi.advanceTimersByTime(passedMs);
        await deliver(COMPARE_EMIT, { id: "q1", cause: "demand", scopes: [] });
        expect(appended).toHaveLength(reports);
      }
    } finally {
      vi.useRealTimers();
    }
  });

  it("that fails is tried again, and nothing is reported", async () => {
    comparison = new Error("the log was trimmed");
    expect(await deliver(COMPARE_EMIT, { id: "q1", cause: "demand", scopes: [] })).toMatchObject({
      ...{ outcome: "retry", reason: expect.stringContaining("the log was trimmed") },
    });
    expect(appended).toEqual([]);
  });

  it("that fails for good is reported as failed, so that nothing waits behind it", async () => {
    const detail = { op: "stock.decode", code: "undecodable", retryable: false };
    comparison = new EngineError(`entry 7 of the log: ${"x".repeat(200)}`, detail);
    expect(await deliver(COMPARE_EMIT, { id: "q1", cause: "demand", scopes: [] })).toEqual({ outcome: "done" });
    expect(appended).toMatchObject([{ kind: COMPARISON_FAILED_EVENT, payload: { request: "q1" } }]);
    expect(payloads<ComparisonFailedEvent>()[0]?.reason).toMatch(/^entry 7 of the log: x{100}$/);
    expect(troubles).toEqual([expect.stringContaining("a comparison has failed: entry 7")]);
  });

  it("fits an event, whatever the names of sources and SKUs are", async () => {
    const wide = "宽".repeat(64);
    const divergence = { differingUnits: 90, totalUnits: 100, cells: 9, differingCells: 9 };
    const top = Array.from({ length: 20 }, (_, i) => ({
      sku: wide + i,
      location: "L1",
      aUnits: 9,
      bUnits: 0,
      explainedUnits: 0,
    }));
    const locations = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`L${i}`, divergence]));
    const skus = Array.from({ length: 100 }, (_, i) => ({ sku: wide + i, differingUnits: 90, totalUnits: 100 }));
    const pair = { a: "wms", b: "ledger", shop: divergence, locations, skus, top, onlyInA: 0, onlyInB: 0 };
    comparison = {
      ...(comparison as Comparison),
      pairs: Array.from({ length: 80 }, (_, i) => ({ ...pair, a: `source-${i}` })),
      leftOut: Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`other-${i}`, wide.repeat(4)])),
    };
    const scopes = Array.from({ length: 100 }, (_, i) => ({ scope: `sku:${"外".repeat(62)}${i}` }));
    expect(await deliver(COMPARE_EMIT, { id: "q1", cause: "demand", scopes })).toEqual({ outcome: "done" });
    expect(payloads<ComparedEvent>()[0]?.comparison.pairs.length).toBeGreaterThan(5);
  });
});

describe("a change of a breaker", () => {
  const command = {
    id: "c1",
    scope: "shop",
    action: "open",
    actor: "engine",
    reason: "apart",
    forMs: 1_000,
    ifVersion: 3,
  };

  it("is made on the observed version, and the breakers are reported, also when another change was first", async () => {
    const made: unknown[] = [];
    set = async (...args) => {
      made.push(args);
      return { outcome: "version_differs" };
    };
    statuses = [status()];
    await deliver(SET_BREAKER_EMIT, command);
    expect(made).toEqual([
      [{ kind: "shop" }, "open", { actor: "engine", reason: "apart", forMs: 1_000, changeId: "c1" }, 3],
    ]);
    await deliver(SET_BREAKER_EMIT, command);
    expect(appended.map(({ kind }) => kind)).toEqual([BREAKERS_EVENT, BREAKERS_EVENT]);
    expect(payloads<BreakersEvent>()[0]).toMatchObject({ breakers: [{ scope: "shop", version: 7 }], hasMore: false });
  });

  it("that the deployment's format does not allow yet is left undone, with a warning", async () => {
    set = async () => {
      throw new EngineError("finish the upgrade", { op: "breakers.set", code: "format_too_old", retryable: false });
    };
    expect(await deliver(SET_BREAKER_EMIT, command)).toEqual({ outcome: "done" });
    expect(receiver.warnings()).toEqual([expect.stringContaining("shuiwei upgrade --finish")]);
    set = async () => ({ changed: true, missing: [], version: 7 });
    await deliver(SET_BREAKER_EMIT, command);
    expect(receiver.warnings()).toEqual([]);
  });

  it("that the job has given up is not made, such as a dead letter that is replayed", async () => {
    set = () => Promise.reject(new Error("not wanted any more"));
    expect(await deliver(SET_BREAKER_EMIT, command, NOW - 10 * 60_000 - 1)).toEqual({ outcome: "done" });
  });

  it("that fails otherwise is tried again", async () => {
    set = () => Promise.reject(new Error("Connection is closed."));
    expect(await deliver(SET_BREAKER_EMIT, command)).toMatchObject({ outcome: "retry" });
  });

  it("is written to the log when the job has observed it", async () => {
    await deliver(BREAKER_CHANGED_EMIT, { scope: "shop", kind: "opened", actor: "engine", reason: "apart" });
    expect(troubles).toEqual(["the breaker shop has opened, by engine: apart"]);
  });
});

describe("the breakers", () => {
  it("are reported when they have changed, by the owner of the topic's one partition with events", async () => {
    await receiver.idle((OWN + 1) % PARTITIONS);
    expect(appended).toEqual([]);
    await receiver.idle(OWN);
    await receiver.idle(OWN);
    statuses = [status()];
    await receiver.idle(OWN);
    await receiver.idle(OWN);
    expect(payloads<BreakersEvent>().map(({ breakers }) => breakers.length)).toEqual([0, 1]);
  });

  it("are reported as far as an event holds them: open ones first, then those that were changed last", async () => {
    const closed = Array.from({ length: 400 }, (_, i) =>
      status({ scope: { kind: "sku", sku: `S${i}` }, state: "closed", version: i, reason: "因".repeat(60) }),
    );
    statuses = [...closed, status({ version: 0 })];
    await receiver.idle(OWN);
    statuses = [...statuses, ...closed.map((each) => ({ ...each, state: "open" as const }))];
    await receiver.idle(OWN);
    const [{ breakers, hasMore } = { breakers: [], hasMore: true }, ofMany] = payloads<BreakersEvent>();
    expect([hasMore, ofMany?.hasMore]).toEqual([false, true]);
    expect(breakers.slice(0, 2).map(({ scope }) => scope)).toEqual(["shop", "sku:S399"]);
    expect(breakers.length).toBeGreaterThan(100);
  });
});

it("asks pulled sources for fresh snapshots", async () => {
  await deliver(REFRESH_EMIT, { atMs: NOW });
  expect(asked).toMatchObject([{ atMs: NOW, actor: "engine" }]);
});
