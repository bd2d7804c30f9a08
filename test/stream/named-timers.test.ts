/**
 * Several timers of a key, without Redis: they fire in one order, are set, undone and removed apart from each other,
 * and a dead letter of a named timer is replayed as that timer. That they do not depend on cuts and restarts is in
 * batch-processor.test.ts.
 */
import { describe, expect, it } from "vitest";
import type { Job } from "../../engine/stream/job.js";
import { Store, type ToyEvent, type ToyState, type ToyWords, toyEntries, toyJob } from "./toy.js";

const T0 = 1_700_000_000_000;
const job = { ...toyJob(), timers: ["pay", "ship"] };
const entry = (afterMs: number, ...events: ToyWords[]) => ({ clockMs: T0 + afterMs, events });
const firedOf = (store: Store) =>
  store
    .emits()
    .filter(({ kind }) => kind === "fired")
    .map(({ key, payload }) => {
      const { at, timer } = payload as { at: number; timer?: string };
      return `${at - T0} ${key} ${timer ?? ""}`;
    });

describe("timers of one key", () => {
  it("fire by time, then key, then name, the unnamed one first", async () => {
    const store = await new Store().run(
      [job],
      toyEntries([
        entry(
          0,
          { key: "b", word: "arm", inMs: 10 },
          { key: "a", word: "arm", inMs: 10, timer: "ship" },
          { key: "a", word: "arm", inMs: 10 },
          { key: "a", word: "arm", inMs: 10, timer: "pay" },
          { key: "b", word: "arm", inMs: 5, timer: "ship" },
        ),
        entry(20),
      ]),
    );
    expect(firedOf(store)).toEqual(["5 b ship", "10 a ", "10 a pay", "10 a ship", "10 b "]);
    expect(store.timers.size).toBe(0);
  });

  it("are stored under their names, and set and removed apart", async () => {
    const store = await new Store().run(
      [job],
      toyEntries([
        entry(0, { key: "a", word: "arm", inMs: 10 }, { key: "a", word: "arm", inMs: 20, timer: "pay" }),
        entry(1, { key: "a", word: "disarm", timer: "ship" }, { key: "a", word: "disarm" }),
      ]),
      [1],
    );
    expect([...store.timers]).toEqual([["toy.1\u001fa\u001fpay", T0 + 20]]);
  });

  it("are all removed with the key", async () => {
    const store = await new Store().run(
      [job],
      toyEntries([
        entry(0, { key: "a", word: "arm", inMs: 10 }, { key: "a", word: "arm", inMs: 20, timer: "pay" }),
        entry(1, { key: "a", word: "clear" }),
        entry(50),
      ]),
      [1],
    );
    expect(store.timers.size).toBe(0);
    expect(firedOf(store)).toEqual([]);
  });

  it("stay as they were when the call that sets them throws", async () => {
    const rash: Job<ToyEvent, ToyState> = {
      ...job,
      onEvent: (state, event, context) => {
        job.onEvent(state, event, context);
        if (event.units === 9) throw new Error("rash");
      },
    };
    const store = await new Store().run(
      [rash],
      toyEntries([
        entry(
          0,
          { key: "a", word: "arm", inMs: 20, timer: "pay" },
          { key: "a", word: "arm", inMs: 99, timer: "pay", units: 9 },
          { key: "a", word: "arm", inMs: 99, timer: "ship", units: 9 },
        ),
      ]),
    );
    expect([...store.timers]).toEqual([["toy.1\u001fa\u001fpay", T0 + 20]]);
    expect(store.deadLetters).toHaveLength(2);
  });

  it("must have a name from the job's list, and a key without the separator", async () => {
    const entries = toyEntries([
      entry(
        0,
        { key: "a", word: "arm", timer: "sleep" },
        { key: "a\u001fpay", word: "arm" },
        { key: "b", word: "arm" },
      ),
    ]);
    const store = await new Store().run([job], entries);
    expect(store.deadLetters.map(({ reason }) => reason)).toEqual([
      'toy.1 sets the timer "sleep", which is not in its list of timers',
      expect.stringContaining("may not contain U+001F"),
    ]);
    // A job without named timers may have any key.
    const plain = await new Store().run([toyJob()], entries.concat(toyEntries([entry(10)], 2)), [1]);
    expect(firedOf(plain)).toEqual(["1 a\u001fpay ", "1 b "]);
    expect(plain.deadLetters).toHaveLength(1);
  });

  it("are removed without a call when their name has gone from the list", async () => {
    const store = await new Store().run(
      [job],
      toyEntries([entry(0, { key: "a", word: "arm", inMs: 10, timer: "pay" }, { key: "a", word: "arm", inMs: 10 })]),
    );
    await store.run([{ ...toyJob(), timers: [] }], toyEntries([entry(20)], 2));
    expect(firedOf(store)).toEqual(["10 a "]);
    expect(store.timers.size).toBe(0);
  });

  it("leave a dead letter with their name, which is replayed as that timer", async () => {
    let isBroken = true;
    const mended: Job<ToyEvent, ToyState> = {
      ...job,
      onTimer: (state, atMs, context, timer) => {
        if (isBroken && timer === "pay") throw new Error("broken");
        job.onTimer?.(state, atMs, context, timer);
      },
    };
    const store = await new Store().run(
      [mended],
      toyEntries([entry(0, { key: "a", word: "arm", inMs: 10, timer: "pay" }), entry(20)]),
    );
    expect(store.deadLetters).toMatchObject([{ key: "a", timer: "pay", timerMs: T0 + 10, reason: "broken" }]);
    const letters = store.deadLetters.splice(0).map((deadLetter) => ({ ...deadLetter, id: "1-0" }));

    const without = store.step([toyJob()]);
    expect((await without.replay(letters, 0)).deadLetters).toMatchObject([
      { timer: "pay", tries: 2, reason: 'toy.1 has no timer "pay"' },
    ]);

    isBroken = false;
    store.write(await store.step([mended]).replay(letters, 0));
    expect(store.deadLetters).toEqual([]);
    expect(firedOf(store)).toEqual(["10 a pay"]);
  });
});
