/** What the workers report of conditions, and when the conditions of the engine are met. */
import { describe, expect, it } from "vitest";
import { type Condition, ConditionWatch, type ConditionWatchOptions } from "../../engine/app/condition-watch.js";
import { jobsBehind, orderExceptions, receiverCircuits, redisFull } from "../../engine/app/conditions.js";
import type { ConditionEvent } from "../../engine/jobs/alerts/events.js";
import { ManualClock } from "../../engine/kernel/clock.js";

const never = () => false;
const always = () => true;

function watched(own: Partial<ConditionWatchOptions> = {}) {
  const clock = new ManualClock(1_000_000);
  const appended: string[] = [];
  const troubles: string[] = [];
  const events: ConditionEvent[] = [];
  const found: { conditions: readonly Condition[] | undefined } = { conditions: [] };
  const redis = { isDown: false };
  const watch = new ConditionWatch({
    readers: [{ rule: "receiver_circuit", read: async () => found.conditions }],
    reporter: "worker-1",
    clock,
    speed: () => 1,
    onTrouble: (message) => troubles.push(message),
    async append(news) {
      if (redis.isDown) throw new Error("no answer");
      for (const { key, payload } of news) {
        events.push(payload as ConditionEvent);
        appended.push(`${key} ${(payload as ConditionEvent).isMet}`);
      }
    },
    ...own,
  });
  const turn = async (conditions: readonly Condition[] | undefined): Promise<string[]> => {
    found.conditions = conditions;
    await watch.turn();
    return appended.splice(0);
  };
  return { watch, clock, turn, troubles, events, redis };
}

const wms = (isMet: boolean): Condition => ({ subject: "wms", isMet, value: 12, limit: 10 });
const MET = ["receiver_circuit~wms true"];
const NOT_MET = ["receiver_circuit~wms false"];

describe("the watch", () => {
  it("reports a change, and a condition that is met again after a minute", async () => {
    const { turn, clock } = watched();
    expect(await turn([wms(false)])).toEqual([]);
    expect(await turn([wms(true)])).toEqual(MET);
    expect(await turn([wms(true)])).toEqual([]);
    clock.moveTo(clock.now() + 60_000);
    expect(await turn([wms(true)])).toEqual(MET);
    expect(await turn([wms(false)])).toEqual(NOT_MET);
    clock.moveTo(clock.now() + 60_000);
    expect(await turn([wms(false)])).toEqual([]);
  });

  it("reports that a subject without a condition is not met any more", async () => {
    const { turn } = watched();
    await turn([wms(true)]);
    expect(await turn([])).toEqual(NOT_MET);
  });

  it("leaves what it has reported while a condition cannot be read", async () => {
    const { turn, clock } = watched();
    await turn([wms(true)]);
    expect(await turn(undefined)).toEqual([]);
    clock.moveTo(clock.now() + 60_000);
    expect(await turn(undefined)).toEqual(MET);
  });

  it("does the same when a reader fails, and the other rules are reported", async () => {
    const { watch, events } = watched({
      readers: [
        { rule: "redis_full", read: () => Promise.reject(new Error("no answer")) },
        { rule: "jobs_behind", read: async () => [{ subject: "stock", isMet: true, value: 25, limit: 20 }] },
      ],
    });
    await watch.turn();
    expect(events).toMatchObject([{ rule: "jobs_behind", subject: "stock", reporter: "worker-1", value: 25 }]);
  });

  it("repeats what could not be appended, and reports an outage once", async () => {
    const { turn, redis, troubles } = watched();
    redis.isDown = true;
    await turn([wms(true)]);
    await turn([wms(true)]);
    expect(troubles).toEqual(["conditions for alerts cannot be reported: no answer"]);
    redis.isDown = false;
    expect(await turn([wms(true)])).toEqual(MET);
  });

  it("gives reports three minutes, and more where the shop's time runs fast", async () => {
    const slow = watched();
    await slow.turn([wms(true)]);
    const fast = watched({ speed: () => 600 });
    await fast.turn([wms(true)]);
    expect([slow.events[0]?.validMs, fast.events[0]?.validMs]).toEqual([180_000, 6_000_000]);
  });

  it("starts, and stops at once", async () => {
    const { watch } = watched();
    watch.start();
    watch.start();
    await watch.stop();
  });
});

describe("a condition is met", () => {
  it("for each step and kind with late orders, and unknown while their index is rebuilt", async () => {
    const list = { counts: [{ step: "picking", kind: "late", open: 3 }], complete: true };
    const reader = orderExceptions({ counts: async () => list });
    expect(await reader.read(never)).toEqual([{ subject: "picking/late", isMet: true, value: 3, limit: 1 }]);
    list.complete = false;
    expect(await reader.read(never)).toBeUndefined();
  });

  it("by ten orders where the floor is ten, until there are fewer than eight", async () => {
    let open = 9;
    const counts = async () => ({ counts: [{ step: "picking", kind: "late", open }], complete: true });
    const reader = orderExceptions({ counts }, 10);
    const isMet = async (wasMet: () => boolean) => (await reader.read(wasMet))?.[0]?.isMet;
    expect(await isMet(never)).toBe(false);
    open = 10;
    expect(await isMet(never)).toBe(true);
    open = 8;
    expect([await isMet(always), await isMet(never)]).toEqual([true, false]);
    open = 7;
    expect(await isMet(always)).toBe(false);
  });

  it("when a circuit is open for ten seconds with deliveries that wait", async () => {
    const stats = { circuit: "open", ratePerSecond: 1, inFlight: 0, partitions: [{ behindMs: 0 }, { behindMs: 5 }] };
    let openMs = 0;
    const outbox = { stats: () => stats } as never;
    const reader = receiverCircuits([{ name: "wms", outbox }], () => {
      const sinceMs = openMs;
      return () => openMs - sinceMs;
    });
    const isMet = async () => (await reader.read(never))?.[0]?.isMet;
    expect(await isMet()).toBe(false);
    openMs = 9_999;
    expect(await isMet()).toBe(false);
    openMs = 10_000;
    stats.circuit = "half_open";
    expect(await reader.read(never)).toEqual([{ subject: "wms", isMet: true, value: 10, limit: 10 }]);
    stats.partitions = [{ behindMs: 0 }];
    expect(await isMet()).toBe(false);
    stats.partitions = [{ behindMs: 5 }];
    expect(await isMet()).toBe(false);
    stats.circuit = "closed";
    openMs = 30_000;
    expect(await isMet()).toBe(false);
  });

  it("when a topic is 20 s behind, until it is less than 10 s, and not for what was before the start", async () => {
    let nowMs = 5_000;
    let ageMs = 1e12;
    const reader = jobsBehind([{ name: "stock", follower: { oldestAgeMs: () => ageMs } }], () => nowMs);
    expect(await reader.read(never)).toEqual([{ subject: "stock", isMet: false, value: 0, limit: 20 }]);
    nowMs = 25_000;
    expect(await reader.read(never)).toEqual([{ subject: "stock", isMet: true, value: 20, limit: 20 }]);
    ageMs = 10_000;
    expect((await reader.read(always))?.[0]?.isMet).toBe(true);
    expect((await reader.read(never))?.[0]?.isMet).toBe(false);
    ageMs = 9_999;
    expect((await reader.read(always))?.[0]?.isMet).toBe(false);
  });

  it("when Redis is 85 % full, until it is less than 80 %", async () => {
    const memory = { usedBytes: 850, limitBytes: 1_000 };
    const isMet = async (wasMet: () => boolean) => (await redisFull(async () => memory).read(wasMet))?.[0]?.isMet;
    expect(await redisFull(async () => memory).read(never)).toEqual([
      { subject: "redis", isMet: true, value: 0.85, limit: 0.85 },
    ]);
    memory.usedBytes = 849;
    expect([await isMet(never), await isMet(always)]).toEqual([false, true]);
    memory.usedBytes = 799;
    expect(await isMet(always)).toBe(false);
    expect(await redisFull(async () => undefined).read(never)).toBeUndefined();
  });
});
