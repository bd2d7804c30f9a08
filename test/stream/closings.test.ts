/**
 * Closings without Redis: each key's state before its first change in a period, once, however the log is cut, with the
 * place in the log from which folding it again gives the state; nothing of it in an older format.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkClosings, closingOf } from "../../engine/stream/closings.js";
import { decodeState, encodeState } from "../../engine/stream/pack.js";
import { periodOf } from "../../engine/stream/state-codec.js";
import { Store, type ToyEntry, type ToyState, type ToyWords, toyEntries, toyJob } from "./toy.js";

const PERIOD_MS = 10_000;
/** Begins a period. */
const T0 = 1_700_000_000_000;
const FIRST = T0 / PERIOD_MS;
const job = { ...toyJob(), closings: { periodMs: PERIOD_MS, keptMs: 50_000 } };

const closingIn = (store: Store, period: number, key = "a") => {
  const bytes = store.closings.get(`toy.1 ${period} ${key}`);
  return bytes && closingOf<ToyState>(job, key, period, bytes);
};
const entry = (afterMs: number, ...events: ToyWords[]): ToyEntry => ({ clockMs: T0 + afterMs, events });

describe("a closing", () => {
  it("is the state before the first change in each period, with the place of that change", async () => {
    const store = await new Store().run(
      [job],
      toyEntries([
        entry(0, { key: "b" }, { key: "a", units: 1 }),
        entry(9_999, { key: "a", units: 2 }),
        entry(10_000, { key: "b" }, { key: "a", units: 4 }, { key: "a", units: 8 }),
        entry(35_000, { key: "a", units: 16 }),
      ]),
    );
    expect(closingIn(store, FIRST)).toEqual({ period: FIRST, offset: 1, index: 1, clockMs: T0, state: undefined });
    expect(closingIn(store, FIRST + 1)).toMatchObject({
      offset: 3,
      index: 1,
      clockMs: T0 + 10_000,
      state: { units: 3 },
    });
    expect(closingIn(store, FIRST + 2)).toBeUndefined();
    expect(closingIn(store, FIRST + 3)).toMatchObject({ offset: 4, index: 0, state: { units: 15, events: 4 } });
    expect(closingIn(store, FIRST + 3, "b")).toBeUndefined();
  });

  it("is written for a timer's change, too, at the timer's time", async () => {
    const store = await new Store().run(
      [job],
      toyEntries([entry(0, { key: "a", units: 1, word: "arm", inMs: 12_000 }), entry(30_000, { key: "b" })]),
      [1],
    );
    expect(closingIn(store, FIRST + 1)).toMatchObject({ offset: 2, index: 0, clockMs: T0 + 12_000 });
    expect(closingIn(store, FIRST + 1)?.state).toMatchObject({ units: 1, fired: [] });
  });

  it("of a key that was cleared and begun again is that of its first change in the period", async () => {
    const store = await new Store().run(
      [job],
      toyEntries([
        entry(0, { key: "a", units: 5 }),
        entry(10_000, { key: "a", word: "clear" }),
        entry(10_001, { key: "a", units: 7 }),
        entry(20_000, { key: "a", word: "clear" }),
        entry(30_000, { key: "a" }),
      ]),
      [1],
    );
    expect(closingIn(store, FIRST + 1)?.state).toMatchObject({ units: 5 });
    expect(closingIn(store, FIRST + 2)?.state).toMatchObject({ units: 7 });
    expect(closingIn(store, FIRST + 3)).toMatchObject({ state: undefined });
  });

  it("is undone with the call that throws", async () => {
    const store = await new Store().run(
      [job],
      toyEntries([
        entry(0, { key: "a", units: 5 }),
        entry(10_000, { key: "a", units: 100, word: "poison" }, { key: "b" }, { key: "a", units: 1 }),
      ]),
    );
    expect(closingIn(store, FIRST + 1)).toMatchObject({ offset: 2, index: 2, state: { units: 5 } });
    expect(store.deadLetters).toHaveLength(1);
  });

  it("begins, in a deployment that is raised, with the key's next change", async () => {
    const store = new Store();
    store.format = 2;
    const entries = toyEntries([
      entry(0, { key: "a", units: 5 }),
      entry(1, { key: "a", units: 1 }),
      entry(2, { key: "a", units: 1 }),
    ]);
    await store.run([job], entries.slice(0, 1));
    expect(store.closings.size).toBe(0);
    const plain = await new Store().run([toyJob()], entries.slice(0, 1));
    expect(store.states).toEqual(plain.states);

    // The format rises while the task works: its keys are in memory.
    const step = store.step([job]);
    store.write(await step.process(entries.slice(1, 2), 0));
    step.committed();
    store.format = 3;
    store.write(await step.process(entries.slice(2), 0));
    expect(closingIn(store, FIRST)).toMatchObject({ offset: 3, state: { units: 6 } });
    expect(periodOf(store.states.get("toy.1")?.get("a") as Buffer)).toBe(FIRST);
  });

  it("that lacks a dead letter's event is removed by its replay, and the next change writes a right one", async () => {
    let isBroken = true;
    const mended = {
      ...job,
      onEvent: (...[state, event, context]: Parameters<typeof job.onEvent>) => {
        if (isBroken && event.word === "late") throw new Error("broken");
        job.onEvent(state, event, context);
      },
    };
    const add = (afterMs: number, units: number) => entry(afterMs, { key: "a", units });
    const entries = toyEntries([
      add(0, 5),
      entry(10_000, { key: "a", units: 100, word: "late" }, { key: "b", units: 1 }),
      add(20_000, 1),
      add(30_000, 2),
      add(30_001, 4),
      add(40_000, 8),
    ]);
    const store = await new Store().run([mended], entries.slice(0, 4));
    expect(closingIn(store, FIRST + 3)?.state).toMatchObject({ units: 6 });
    const replay = async () => {
      const step = store.step([mended]);
      const deadLetters = store.deadLetters.splice(0).map((each) => ({ ...each, id: "1-0" }));
      store.write(await step.replay(deadLetters, 0));
    };
    await replay();
    expect(store.deadLetters).toHaveLength(1);
    expect(closingIn(store, FIRST + 3)?.state).toMatchObject({ units: 6 });
    isBroken = false;
    await replay();
    expect(closingIn(store, FIRST)).toBeDefined();
    for (const period of [FIRST + 1, FIRST + 2, FIRST + 3]) expect(closingIn(store, period)).toBeUndefined();
    expect(closingIn(store, FIRST + 1, "b")).toBeDefined();
    await store.run([mended], entries.slice(4));
    expect(closingIn(store, FIRST + 3)).toMatchObject({ offset: 5, index: 0, state: { units: 108 } });
    expect(closingIn(store, FIRST + 4)).toMatchObject({ offset: 6, state: { units: 112 } });
  });

  it("is packed with the state's header, and read by a later version", () => {
    const bytes = encodeState([1, 0, T0, encodeState({ units: 1 })]);
    const later = { name: "toy.1", version: 2, upgrade: (old: unknown) => ({ ...(old as object), more: true }) };
    expect(closingOf(later, "a", FIRST, bytes).state).toEqual({ units: 1, more: true });
    expect(decodeState(bytes)).toHaveLength(4);
  });
});

describe("the closings of a log", () => {
  const words = fc.record(
    {
      key: fc.constantFrom("a", "b", "c"),
      units: fc.integer({ min: 1, max: 5 }),
      word: fc.constantFrom("arm", "clear", "poison", "emit", "trap"),
      inMs: fc.integer({ min: 0, max: 25_000 }),
    } as const,
    { requiredKeys: ["key"] },
  );
  const log = fc.array(fc.tuple(fc.constantFrom(0, 1, 3_000, 9_000, 25_000), fc.array(words, { maxLength: 4 })), {
    minLength: 1,
    maxLength: 20,
  });

  it("do not depend on how it is cut into reads, nor on restarts", async () => {
    await fc.assert(
      fc.asyncProperty(
        log,
        fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        async (parts, cuts, restart) => {
          let clockMs = T0;
          const entries = toyEntries(
            parts.map(([stepMs, events]) => {
              clockMs += stepMs;
              return { clockMs, events };
            }),
          );
          const whole = await new Store().run([job], entries);
          const cut = await new Store().run([job], entries, cuts, restart);
          expect(cut.picture()).toEqual(whole.picture());
        },
      ),
      { numRuns: 150 },
    );
  });
});

it("lengths of periods that are no whole numbers, or too short to be counted in 32 bits, are rejected", () => {
  for (const closings of [
    { periodMs: 0, keptMs: 1 },
    { periodMs: 1_000.5, keptMs: 1 },
    { periodMs: 400, keptMs: 1 },
    { periodMs: 1_000, keptMs: 0 },
    { periodMs: 1_000, keptMs: Number.NaN },
  ])
    expect(() => checkClosings({ name: "toy.1", closings })).toThrow("of its closings must be");
  checkClosings(job);
  checkClosings(toyJob());
});
