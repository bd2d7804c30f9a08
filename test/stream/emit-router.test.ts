/** What emits become for an event topic: failures of a route, alone, in numbers, and in a replayed group. */
import { describe, expect, it } from "vitest";
import type { DeadLetter, StoredDeadLetter } from "../../engine/stream/dead-letter.js";
import { emitsOf, onlyEmits } from "../../engine/stream/emit-dead-letter.js";
import { EmitRouter, emptyBatch } from "../../engine/stream/emit-router.js";
import type { EmitEntry } from "../../engine/stream/emits.js";
import type { Emit } from "../../engine/stream/job.js";
import { decodeOut, OutRecordWriter } from "../../engine/stream/out-record.js";
import type { Route } from "../../engine/stream/route.js";

const route: Route = {
  from: "toys",
  kinds: ["sold"],
  event: ({ key, payload }) => {
    if (payload === "bad") throw new Error("no event");
    return { key, kind: "toy", payload };
  },
};
const router = new EmitRouter({ source: "toys/00", routes: [route], partitions: 1 });

const emitOf = (key: string, payload: unknown): Emit => ({ job: "toy.1", kind: "sold", key, atMs: 1, payload });

/** @param isOld of the form before the stream of emits */
function entryOf(commit: number, emits: Emit[], isOld = false): EmitEntry {
  const bytes = new OutRecordWriter().encodeEmits(commit - 1, 0, emits);
  const stored = { offset: commit, fields: [Buffer.from("m"), Buffer.from("1"), Buffer.from("r"), bytes] };
  if (!isOld) stored.fields.push(Buffer.from("b"), Buffer.from(String(bytes.length)));
  return { commit, previous: commit - 1, committedMs: 1, bytes: bytes.length, emits, stored };
}

const keysOf = (deadLetter: { fields: readonly Buffer[]; index?: number }): string[] =>
  emitsOf({ offset: 1, reason: "", tries: 1, id: "1-0", ...deadLetter }).map(([, { key }]) => key);

describe("emits that cannot be mapped", () => {
  it("decodes a record once, however many of its emits fail", () => {
    const emits = Array.from({ length: 3_000 }, (_, i) => emitOf(`k${i}`, i % 3 === 0 ? "good" : "bad"));
    const entry = entryOf(7, emits);
    let reads = 0;
    const value = entry.stored.fields[3] as Buffer;
    const fields = [...entry.stored.fields];
    Object.defineProperty(fields, 3, {
      get: () => {
        reads++;
        return value;
      },
    });
    const batch = emptyBatch();
    router.add(batch, { ...entry, stored: { offset: 7, fields } }, 0);
    const { deadLetters, events } = batch;
    expect([deadLetters.length, events]).toEqual([2_000, 1_000]);
    expect(deadLetters.slice(0, 2).map(keysOf)).toEqual([["k1"], ["k2"]]);
    expect(reads).toBeLessThan(10);
  });

  it("stores each alone, in as many bytes wherever it is in its entry", () => {
    const batch = emptyBatch();
    router.add(
      batch,
      entryOf(
        7,
        Array.from({ length: 3_000 }, (_, i) => emitOf(`k${i}`, "bad")),
      ),
      0,
    );
    const sizes = batch.deadLetters.map(({ fields }) => fields.reduce((sum, { length }) => sum + length, 0));
    expect(Math.max(...sizes)).toBeLessThan(150);
    expect(keysOf(batch.deadLetters[2_999] as DeadLetter)).toEqual(["k2999"]);
  });

  it("stores those of the old form at their place in a list, as older releases read them", () => {
    const emits = ["a", "b", "c", "d"].map((key) => emitOf(key, "bad"));
    const { stored } = entryOf(7, emits, true);
    const fields = onlyEmits(stored, [1, 3]);
    expect(decodeOut(fields[3] as Buffer).emits.map((emit: Emit | null) => emit?.key)).toEqual([
      undefined,
      "b",
      undefined,
      "d",
    ]);
    expect(keysOf({ fields })).toEqual(["b", "d"]);
    expect(keysOf({ fields: onlyEmits({ offset: 7, fields }, [3]), index: 3 })).toEqual(["d"]);
  });

  it("picks any number of emits", () => {
    const emits = Array.from({ length: 130_000 }, (_, i) => emitOf(`k${i}`, "good"));
    const { stored } = entryOf(7, emits);
    expect(keysOf({ fields: onlyEmits(stored, [...emits.keys()]) })).toHaveLength(130_000);
  });

  it("makes no dead letters of those that have theirs", () => {
    const batch = emptyBatch();
    router.add(batch, entryOf(7, [emitOf("a", "bad"), emitOf("b", "good"), emitOf("c", "bad")]), 2);
    expect(batch.deadLetters.map(({ key }) => key)).toEqual(["c"]);
    expect(batch.events).toBe(1);
  });

  it("replays the others of a group, and keeps each that fails again as a dead letter of its own", () => {
    const { stored } = entryOf(7, [emitOf("a", "good"), emitOf("b", "bad"), emitOf("c", "good")]);
    const group: StoredDeadLetter = {
      ...{ id: "5-0", offset: 7, reason: "waited", tries: 0, deliveries: 3, isOwn: true },
      fields: onlyEmits(stored, [0, 1, 2]),
    };
    const { calls, deadLetters, done } = router.replayOf([group]);
    expect(done).toEqual(["5-0"]);
    expect(calls.get(0)?.map(({ id, events }) => [id, events.length])).toEqual([["5-0", 2]]);
    expect(deadLetters).toHaveLength(1);
    expect(deadLetters[0]).toMatchObject({
      offset: 7,
      index: 1,
      key: "b",
      job: "toy.1",
      tries: 1,
      was: "5-0",
      first: "5-0",
    });
    expect(deadLetters[0]).not.toHaveProperty("deliveries");
    expect(deadLetters.map(keysOf)).toEqual([["b"]]);
  });
});
