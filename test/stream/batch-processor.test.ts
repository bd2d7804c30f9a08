/**
 * The batch processor without Redis: what goes into a commit depends on the log alone. Random logs are cut into
 * random reads, restarted at random places, run by a job that was there from the start and by one that came later:
 * states, timers and emits must be the same to the byte.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { garbage, Store, type ToyEntry, toyEntries, toyJob, toyTopic } from "./toy.js";

const T0 = 1_700_000_000_000;
const job = { ...toyJob(), timers: ["one", "two"] };
const timer = fc.constantFrom("one", "two");

const words = fc.record(
  {
    key: fc.constantFrom("a", "b", "c", ""),
    units: fc.integer({ min: 1, max: 5 }),
    behindMs: fc.nat(3_000),
    word: fc.constantFrom("arm", "arm", "disarm", "emit", "late", "poison", "trap", "clear", "snap"),
    // Also now and in the past.
    inMs: fc.integer({ min: -2_000, max: 8_000 }),
    again: fc.nat(3),
    timer,
  } as const,
  { requiredKeys: ["key"] },
);
/** Entries whose clock stands still at times. */
const log = fc
  .array(fc.tuple(fc.constantFrom(0, 0, 1, 500, 1_000, 7_000), fc.array(words, { maxLength: 4 })), {
    minLength: 1,
    maxLength: 25,
  })
  .map((parts): ToyEntry[] => {
    let clockMs = T0;
    return parts.map(([stepMs, events]) => {
      clockMs += stepMs;
      return { clockMs, events };
    });
  });
const cuts = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 5 });

describe("the result of a log", () => {
  it("does not depend on how the log is cut into reads, nor on restarts", async () => {
    await fc.assert(
      fc.asyncProperty(log, cuts, fc.boolean(), fc.option(fc.nat(20)), async (entries, lengths, restart, broken) => {
        const all = toyEntries(entries);
        if (broken !== null && all[broken]) all[broken] = garbage(broken + 1);
        const whole = await new Store().run([job], all);
        const cut = await new Store().run([job], all, lengths, restart);
        expect(cut.picture()).toEqual(whole.picture());
      }),
      { numRuns: 300 },
    );
  });

  it("is the same for a job that was added later as for one that was there from the start", async () => {
    const later = toyJob("later.1");
    await fc.assert(
      fc.asyncProperty(
        log,
        cuts,
        fc.nat(25),
        fc.boolean(),
        fc.option(fc.nat(20)),
        async (entries, lengths, from, restart, broken) => {
          const all = toyEntries(entries);
          if (broken !== null && all[broken]) all[broken] = garbage(broken + 1);
          const together = await new Store().run([job, later], all);
          const store = await new Store().run([job], all.slice(0, from), lengths);
          await store.run([job, later], all, lengths, restart);
          expect(store.picture("later.1")).toEqual(together.picture("later.1"));
          expect(store.picture("toy.1")).toEqual(together.picture("toy.1"));
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("within a batch", () => {
  it("timers fire before the event that moves the clock past them, in the order of time", async () => {
    const entries = toyEntries([
      {
        clockMs: T0,
        events: [
          { key: "b", word: "arm", inMs: 2_000 },
          { key: "a", word: "arm", inMs: 1_000, again: 2 },
        ],
      },
      { clockMs: T0 + 2_500, events: [{ key: "b", word: "emit" }] },
      { clockMs: T0 + 3_000, events: [] },
    ]);
    const { outs } = await new Store().run([job], entries);
    expect(outs.flatMap(({ emits }) => emits).map(({ kind, key, atMs }) => [kind, key, atMs - T0])).toEqual([
      ["fired", "a", 1_000],
      ["fired", "a", 2_000],
      ["fired", "b", 2_000],
      ["seen", "b", 2_500],
      ["fired", "a", 3_000],
    ]);
  });

  it("a timer sees its own time as the watermark, however far the clock has jumped", async () => {
    const entries = toyEntries([
      { clockMs: T0, events: [{ key: "a", word: "arm", inMs: 1_000, again: 1 }] },
      { clockMs: T0 + 86_400_000, events: [] },
    ]);
    const store = await new Store().run([job], entries);
    expect(store.emits().map(({ payload }) => payload)).toEqual([
      { at: T0 + 1_000, watermark: T0 + 1_000 },
      { at: T0 + 2_000, watermark: T0 + 2_000 },
    ]);
  });

  it("a timer set for a time already past fires when the clock next moves, and cannot repeat without end", async () => {
    const eager = toyJob();
    eager.onTimer = (_state, atMs, context) => context.setTimer(atMs - 5);
    const entries = toyEntries([
      { clockMs: T0, events: [{ key: "a", word: "arm", inMs: -60_000 }] },
      { clockMs: T0, events: [] },
      { clockMs: T0 + 50, events: [] },
    ]);
    const store = new Store();
    const step = store.step([eager]);
    store.write(await step.process(entries.slice(0, 2), 0));
    step.committed();
    expect([...store.timers.values()]).toEqual([T0 + 1]);
    store.write(await step.process(entries.slice(2), 0));
    expect([...store.timers.values()]).toEqual([T0 + 51]);
  });

  it("an event that a job ignores does not change it", async () => {
    const store = await new Store().run([job], toyEntries([{ clockMs: T0, events: [{ key: "" }] }]));
    expect(store.states.get("toy.1")?.size).toBe(0);
    expect(store.outs).toEqual([]);
  });

  it("late events are counted", async () => {
    const step = new Store().step([job]);
    const events = [{ key: "a", word: "late" }, { key: "b" }, { key: "c", word: "late" }] as const;
    await step.process(toyEntries([{ clockMs: T0, events: [...events] }]), 0);
    expect(step.counts).toEqual({ late: [2], events: 3 });
  });

  it("views get the earliest event time that changed their key since the last commit", async () => {
    const entries = toyEntries([
      { clockMs: T0, events: [{ key: "a" }, { key: "a", behindMs: 90_000 }, { key: "b", word: "arm", inMs: 1_000 }] },
      { clockMs: T0 + 5_000, events: [{ key: "a" }] },
    ]);
    const { outs } = await new Store().run([job], entries, [1]);
    const published = outs.map(({ views }) =>
      views.map(([, key, view]) => [key, (view as { sinceMs: number }).sinceMs - T0]),
    );
    expect(published).toEqual([
      [
        ["a", -90_000],
        ["b", 0],
      ],
      // The timer touched b at its own time; a is clean since the first commit.
      [
        ["b", 1_000],
        ["a", 5_000],
      ],
    ]);
  });

  it("each out record names the one before it, so that a reader detects a gap", async () => {
    const step = new Store().step([job]);
    const { out } = await step.process(toyEntries([{ clockMs: T0, events: [{ key: "a" }] }]), 41);
    const store = new Store();
    store.write({
      watermarkMs: 0,
      events: 0,
      cursors: new Map(),
      states: [],
      timersSet: [],
      timersRemoved: [],
      out,
      deadLetters: [],
      resolvedDeadLetters: [],
    });
    expect(store.outs[0]?.previous).toBe(41);
  });
});

describe("timers that are read page by page when they are due", () => {
  const word = fc.constantFrom("arm", "arm", "disarm", "emit", "clear", "poison", "trap", undefined);
  const event = fc.record(
    {
      key: fc.constantFrom("a", "b", "c", "d", "e", "f"),
      word,
      inMs: fc.constantFrom(0, 500, 1_000, 5_000, 20_000),
      again: fc.nat(2),
      timer,
    },
    { requiredKeys: ["key", "word", "inMs", "again"] },
  );
  const entry = fc.record({
    stepMs: fc.constantFrom(0, 100, 1_000, 30_000),
    events: fc.array(event, { maxLength: 4 }),
  });

  it("fire as if all were in memory, however the log is cut and whenever the task restarts", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { minLength: 1, maxLength: 25 }),
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 3 }),
        fc.boolean(),
        async (drawn, cuts, pageTimers, restart) => {
          let clockMs = T0;
          const log = toyEntries(
            drawn.map(({ stepMs, events }) => {
              clockMs += stepMs;
              return {
                clockMs,
                events: events.map(({ word: drawnWord, ...rest }) =>
                  drawnWord === undefined ? rest : { ...rest, word: drawnWord },
                ),
              };
            }),
          );
          const paged = new Store();
          paged.pageTimers = pageTimers;
          const pictures = [await new Store().run([job], log), await paged.run([job], log, cuts, restart)];
          expect(pictures[1]?.picture()).toEqual(pictures[0]?.picture());
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("what cannot be processed", () => {
  it("a poisoned event becomes a dead letter, and its changes are undone", async () => {
    const events = [
      { key: "a", units: 1 },
      { key: "a", units: 100, word: "poison" },
      { key: "a", units: 10 },
    ] as const;
    const entries = toyEntries([{ clockMs: T0, events: [...events] }]);
    const store = await new Store().run([job], entries);
    expect(store.state("a")).toMatchObject({ units: 11, events: 2 });
    expect(store.deadLetters).toMatchObject([{ offset: 1, index: 1, job: "toy.1", key: "a", reason: "bad toy" }]);
    expect(store.deadLetters[0]?.fields.map(String)).toEqual(entries[0]?.fields.map(String));
  });

  it("an event that one job fails on is still processed by the other", async () => {
    const hard = toyJob("hard.1");
    hard.onEvent = (state) => {
      state.units++;
    };
    const store = await new Store().run(
      [job, hard],
      toyEntries([{ clockMs: T0, events: [{ key: "a", word: "poison" }] }]),
    );
    expect(store.state("a")).toBeUndefined();
    expect(store.state("a", "hard.1")?.units).toBe(1);
    expect(store.deadLetters).toHaveLength(1);
  });

  it("a timer that throws becomes a dead letter, and its key continues without it", async () => {
    const entries = toyEntries([
      {
        clockMs: T0,
        events: [
          { key: "a", word: "arm", inMs: 1_000 },
          { key: "a", word: "trap" },
        ],
      },
      { clockMs: T0 + 2_000, events: [{ key: "a" }] },
    ]);
    const store = await new Store().run([job], entries);
    expect(store.deadLetters).toMatchObject([
      { job: "toy.1", key: "a", timerMs: T0 + 1_000, reason: "bad timer", fields: [] },
    ]);
    expect(store.state("a")).toMatchObject({ events: 3, fired: [] });
    expect(store.timers.size).toBe(0);
  });

  it("an event whose key cannot be determined becomes a dead letter", async () => {
    const picky = toyJob();
    picky.key = (event) => {
      if (event.word === "poison") throw new Error("no key");
      return event.key;
    };
    const entries = toyEntries([{ clockMs: T0, events: [{ key: "a" }, { key: "a", word: "poison" }] }]);
    const store = await new Store().run([picky], entries);
    expect(store.deadLetters).toMatchObject([{ offset: 1, index: 1, job: "toy.1", reason: "no key" }]);
    expect(store.state("a")?.events).toBe(1);
  });

  it("an entry that cannot be decoded becomes one dead letter with its bytes unchanged", async () => {
    const [first, , third] = toyEntries([1, 2, 3].map(() => ({ clockMs: T0, events: [{ key: "a" }] })));
    const entries = [first, garbage(2), third].filter((entry) => entry !== undefined);
    const store = await new Store().run([job], entries, [1]);
    expect(store.deadLetters).toMatchObject([{ offset: 2 }]);
    expect(store.deadLetters[0]?.fields.map(String)).toEqual(["e", "["]);
    expect(store.state("a")?.events).toBe(2);
    // A job that comes later passes the same bytes and does not write them down again.
    await store.run([job, toyJob("later.1")], entries, [2]);
    expect(store.state("a", "later.1")?.events).toBe(2);
    expect(store.deadLetters).toHaveLength(1);
  });
});

describe("keys in memory", () => {
  it("are read once and then kept", async () => {
    const store = new Store();
    const entries = toyEntries([1, 2, 3].map(() => ({ clockMs: T0, events: [{ key: "a" }, { key: "b" }] })));
    await store.run([job], entries, [1]);
    expect(store.loads).toEqual(["a", "b"]);
  });

  it("may be evicted: later events and timers read the state again", async () => {
    const many = Array.from({ length: 20_001 }, (_, i) => ({ key: `k${i}` }));
    const entries = toyEntries([
      { clockMs: T0, events: [{ key: "a", word: "arm", inMs: 60_000, again: 1, units: 7 }, ...many] },
      { clockMs: T0 + 59_000, events: [{ key: "b" }] },
      { clockMs: T0 + 60_000, events: [] },
      { clockMs: T0 + 61_500, events: [{ key: "k5" }] },
    ]);
    const store = await new Store().run([job], entries, [1]);
    expect(store.state("a")).toMatchObject({ units: 7, fired: [T0 + 60_000, T0 + 61_000] });
    expect(store.state("k5")).toMatchObject({ units: 2 });
    expect(store.loads.filter((key) => key === "a")).toHaveLength(2);
  });

  it("a timer of a job that this process does not run stays in Redis", async () => {
    const store = new Store();
    store.timers.set("other.1\u001fa", T0 - 5);
    await store.run([job], toyEntries([{ clockMs: T0, events: [{ key: "a" }] }]));
    expect(store.timers.get("other.1\u001fa")).toBe(T0 - 5);
  });

  it("an entry without its topic's version is rejected by name", () => {
    expect(() => toyTopic().decode(garbage(1))).toThrow("no time");
  });
});
