/**
 * The notification job beside a plain model, in seeded worlds: limits are never exceeded, no open alert is missing,
 * nothing is sent of one that has ended, steps of a delivery stay, and the state stays within its bounds. The same log
 * read in other pieces, with restarts, gives the same state, timer and messages. A seed replays: SHUIWEI_SEED=7.
 */
import { expect, it } from "vitest";
import { sendKindOf } from "../../engine/alerting/notification.js";
import { notificationsJob } from "../../engine/jobs/notifications/job.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import { BatchProcessor } from "../../engine/stream/batch-processor.js";
import type { TopicEvent } from "../../engine/stream/event-entry.js";
import type { Emit } from "../../engine/stream/job.js";
import { decodeOut } from "../../engine/stream/out-record.js";
import { decodeState } from "../../engine/stream/pack.js";
import { KEY } from "../jobs/notifications/bed.js";
import { lengthOf } from "../length.js";
import { type LoggedEvent, NotificationsWorld } from "./notifications-world.js";

const FIRST = Number(process.env["SHUIWEI_SEED"] ?? 1);
const SEEDS = process.env["SHUIWEI_SEED"] ? 1 : lengthOf({ short: 4, long: 40 });
const STEPS = 200;

/** Reads a log in pieces of random lengths, each time from what was committed. */
async function reread(log: readonly LoggedEvent[], endMs: number, seed: number) {
  const { below } = seededRandom(seed);
  const job = notificationsJob(zoneOf("Asia/Shanghai"));
  const entries = [...log, { clockMs: endMs, kind: "", payload: null }];
  let state: Buffer | null = null;
  const timers = new Map<string, number>();
  const emits: Emit[] = [];
  let cursors: ReadonlyMap<string, number> = new Map();
  let watermarkMs = 0;
  for (let from = 0; from < entries.length; ) {
    const piece = entries.slice(from, from + 1 + below(60));
    const processor: BatchProcessor<TopicEvent> = new BatchProcessor<TopicEvent>({
      ...{ jobs: [job], cursors, watermarkMs, timers: [...timers], withViews: true },
      loadStates: async (_, keys) => keys.map(() => state),
      topic: {
        ...{ name: "notifications", partitions: 1, timeOf: () => 0 },
        decode: ({ offset }) => {
          const { clockMs, kind, payload } = entries[offset - 1] as LoggedEvent;
          const event = { offset, index: 0, atMs: clockMs, clockMs, id: "e", key: KEY, kind, payload };
          return { clockMs, events: kind === "" ? [] : [event] };
        },
      },
    });
    const places = piece.map((_, i) => ({ offset: from + i + 1, fields: [] }));
    const body = await processor.process(places, 0, below(4) === 0);
    expect(body.deadLetters).toEqual([]);
    for (const [, bytes] of body.states.flatMap(({ set }) => set)) state = bytes;
    for (const member of body.timersRemoved) timers.delete(member);
    for (const [atMs, member] of body.timersSet) timers.set(member, atMs);
    if (body.out) emits.push(...decodeOut(body.out).emits);
    [cursors, watermarkMs] = [body.cursors, body.watermarkMs];
    from += piece.length;
  }
  return { state: decodeState(state as unknown as Buffer), timer: [...timers.values()], emits };
}

it("agrees with the model in seeded worlds, and reads a log in any pieces alike", { timeout: 600_000 }, async () => {
  const seen = new Map<string, number>();
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const world = new NotificationsWorld(seed);
    for (let i = 0; i < STEPS && world.faults.length === 0; i++) world.step();
    if (world.faults.length === 0) world.settle();
    expect(world.faults, `SHUIWEI_SEED=${seed}`).toEqual([]);
    for (const [what, times] of world.seen) seen.set(what, (seen.get(what) ?? 0) + times);
    const again = await reread(world.log, world.bed.nowMs, seed);
    const differs = `SHUIWEI_SEED=${seed} differs in other pieces`;
    // As text: a comparison value by value takes seconds.
    expect(JSON.stringify(again.state) === JSON.stringify(world.bed.state), differs).toBe(true);
    expect(again.timer).toEqual(world.bed.timerMs === undefined ? [] : [world.bed.timerMs]);
    const requests = world.bed.sent.map(({ request, channel }) => JSON.stringify([sendKindOf(channel), request]));
    expect(again.emits.length).toBe(requests.length);
    const other = again.emits.findIndex(({ kind, payload }, i) => JSON.stringify([kind, payload]) !== requests[i]);
    expect(other, differs).toBe(-1);
  }
  const all = ["notify", "changed", "delivered", "test", "alert", "summary", "change", "repeat", "later step"];
  if (SEEDS > 1) for (const what of all) expect(seen.get(what) ?? 0, what).toBeGreaterThan(3);
});
