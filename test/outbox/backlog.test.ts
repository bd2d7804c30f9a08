/**
 * Which delivery is next, how far the cursor may move, and how much is held: against a slow and plain account of the
 * same.
 */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../engine/kernel/random.js";
import {
  Backlog,
  type BacklogEntry,
  type Pending,
  REPLAY_DELIVERIES,
  WINDOW_BYTES,
  WINDOW_DELIVERIES,
} from "../../engine/outbox/backlog.js";
import type { Delivery } from "../../engine/outbox/receiver.js";
import type { StoredDeadLetter } from "../../engine/stream/dead-letter.js";
import type { Emit } from "../../engine/stream/job.js";

const emit = (key: string, kind = "go", payload: unknown = undefined): Emit => ({
  job: "j.1",
  kind,
  key,
  atMs: 5,
  payload,
});
const entry = (commit: number, emits: Emit[], bytes = 100, previous = 0): BacklogEntry => ({
  commit,
  previous,
  committedMs: commit * 10,
  bytes,
  emits,
});
const wants = (kind: string) => kind === "go";
const backlog = (cursor = { entry: 0, emits: 0 }) => new Backlog(cursor, (commit, index) => `t/00/${commit}.${index}`);
const idsOf = (pendings: readonly Pending[]) => pendings.map(({ delivery }) => delivery.id);

describe("a backlog", () => {
  it("returns the first of each key, and the next when that one is settled", () => {
    const it = backlog();
    const ready = it.add(entry(3, [emit("a"), emit("b"), emit("a"), emit("c", "other")]), wants);
    expect(idsOf(ready)).toEqual(["t/00/3.0", "t/00/3.1"]);
    expect(it.settle(ready[0] as Pending)?.delivery.id).toBe("t/00/3.2");
    expect(it.settle(ready[1] as Pending)).toBeUndefined();
    expect(it.add(entry(5, [emit("a")]), wants)).toEqual([]);
  });

  it("orders by less than the key where the receiver says so", () => {
    const orderOf = ({ key, payload }: Delivery) => `${key} ${payload}`;
    const it = new Backlog({ entry: 0, emits: 0 }, (commit, index) => `${commit}.${index}`, orderOf);
    const ready = it.add(entry(1, [emit("a", "go", "x"), emit("a", "go", "y"), emit("a", "go", "x")]), wants);
    expect(idsOf(ready)).toEqual(["1.0", "1.1"]);
    expect(it.settle(ready[1] as Pending)).toBeUndefined();
    expect(it.settle(ready[0] as Pending)?.delivery.id).toBe("1.2");
  });

  it("moves the cursor to the oldest that is not settled, within an entry too", () => {
    const it = backlog();
    const first = it.add(entry(3, [emit("x", "other"), emit("a"), emit("b")]), wants) as [Pending, Pending];
    const [last] = it.add(entry(4, [emit("c")]), wants) as [Pending];
    expect(it.cursor).toEqual({ entry: 0, emits: 1 });
    it.settle(last);
    it.settle(first[1]);
    expect(it.cursor).toEqual({ entry: 0, emits: 1 });
    expect(it.oldest?.committedMs).toBe(30);
    it.settle(first[0]);
    expect(it.cursor).toEqual({ entry: 4, emits: 0 });
    expect(it.oldest).toBeUndefined();
  });

  it("passes entries of which nothing is wanted", () => {
    const it = backlog();
    it.add(entry(3, [emit("x", "other")]), wants);
    it.add(entry(7, []), wants);
    expect(it.cursor).toEqual({ entry: 7, emits: 0 });
  });

  it("begins at the beginning of an entry when the entry that its predecessor stopped in was deleted", () => {
    const it = backlog({ entry: 2, emits: 2 });
    const ready = it.add(entry(9, [emit("a"), emit("b"), emit("c")], 100, 7), wants);
    expect(idsOf(ready)).toEqual(["t/00/9.0", "t/00/9.1", "t/00/9.2"]);
    it.settle(ready[0] as Pending);
    expect(it.cursor).toEqual({ entry: 7, emits: 1 });
  });

  it("goes on within the entry where its predecessor stopped, and only there", () => {
    const it = backlog({ entry: 2, emits: 2 });
    expect(idsOf(it.add(entry(3, [emit("a"), emit("b"), emit("c")]), wants))).toEqual(["t/00/3.2"]);
    expect(idsOf(it.add(entry(4, [emit("d"), emit("e")]), wants))).toEqual(["t/00/4.0", "t/00/4.1"]);
  });

  it("has room up to a number of deliveries, of bytes, and of what was settled above the cursor", () => {
    const many = backlog();
    many.add(
      entry(
        1,
        Array.from({ length: WINDOW_DELIVERIES }, (_, i) => emit(`k${i}`)),
      ),
      wants,
    );
    expect(many.hasRoom).toBe(false);

    const large = backlog();
    const [one] = large.add(entry(1, [emit("a")], WINDOW_BYTES), wants) as [Pending];
    expect(large.hasRoom).toBe(false);
    large.settle(one);
    expect(large.hasRoom).toBe(true);

    const long = backlog();
    long.add(entry(1, [emit("stuck")]), wants);
    for (let commit = 2; long.hasRoom; commit++)
      for (const each of long.add(entry(commit, [emit("a")]), wants)) long.settle(each);
    expect(long.size).toBe(1);
  });

  it("adds deliveries of a dead letter after those of their keys, and does not move the cursor", () => {
    const it = backlog({ entry: 9, emits: 0 });
    const deadLetter = { id: "5-0", offset: 3, index: 1, reason: "", tries: 1, fields: [] } satisfies StoredDeadLetter;
    const [first] = it.add(entry(10, [emit("a")]), wants) as [Pending];
    it.addDeadLetter("5-0");
    expect(it.addReplayed({ deadLetter, left: 1 }, 1, emit("a"), 10)).toEqual([]);
    const next = it.settle(first) as Pending;
    expect(next).toMatchObject({ delivery: { id: "t/00/3.1" }, replay: { deadLetter } });
    it.settle(next);
    expect(it.cursor).toEqual({ entry: 10, emits: 0 });
    expect(it.size).toBe(0);
    expect(it.hasDeadLetter("5-0")).toBe(true);
    it.deadLetterRemoved("5-0");
    expect(it.hasDeadLetter("5-0")).toBe(false);
  });

  it("has room for a small number of deliveries of dead letters, and then still for new ones", () => {
    const it = backlog();
    const deadLetter = { id: "5-0", offset: 3, reason: "", tries: 1, fields: [] } satisfies StoredDeadLetter;
    const replay = { deadLetter, left: 1_000 };
    const added: Pending[] = [];
    while (it.hasReplayRoom) added.push(...it.addReplayed(replay, added.length, emit(`k${added.length}`), 10));
    expect(added).toHaveLength(REPLAY_DELIVERIES);
    expect(it.hasRoom).toBe(true);
    for (const each of added.slice(REPLAY_DELIVERIES / 2)) it.settle(each);
    expect(it.isReplayLow).toBe(true);
    it.addReplayed(replay, 0, emit("large"), WINDOW_BYTES / 4);
    expect(it.hasReplayRoom).toBe(false);
    expect(it.hasRoom).toBe(true);
  });

  it("agrees with a simple reference, whatever the order of settling", () => {
    const random = seededRandom(22);
    for (let round = 0; round < 30; round++) {
      const it = backlog();
      const all: { commit: number; index: number; key: string; settled: boolean }[] = [];
      const going: Pending[] = [];
      let last = 0;
      for (let turn = 0; turn < 60; turn++) {
        if (random.next() < 0.4) {
          last += 1 + random.below(2);
          const emits = Array.from({ length: random.below(5) }, () =>
            emit(`k${random.below(4)}`, random.pick(["go", "go", "other"])),
          );
          for (const [index, { key, kind }] of emits.entries())
            if (kind === "go") all.push({ commit: last, index, key, settled: false });
          going.push(...it.add(entry(last, emits), wants));
        } else if (going.length > 0) {
          const [one] = going.splice(random.below(going.length), 1) as [Pending];
          const plain = all.find(({ commit, index }) => commit === one.commit && index === one.index);
          const before = all.filter(({ key, settled }) => key === one.delivery.key && !settled);
          expect(before[0]).toBe(plain);
          if (plain) plain.settled = true;
          const next = it.settle(one);
          if (next) going.push(next);
        }
        const oldest = all.find(({ settled }) => !settled);
        const left = all.filter(({ settled }) => !settled);
        expect(it.size).toBe(left.length);
        expect(new Set(idsOf(going)).size).toBe(new Set(left.map(({ key }) => key)).size);
        if (oldest === undefined) expect(it.cursor).toEqual({ entry: last, emits: 0 });
        else {
          expect(it.cursor.entry).toBeLessThan(oldest.commit);
          expect(it.cursor.emits).toBe(oldest.index);
        }
      }
    }
  });
});
