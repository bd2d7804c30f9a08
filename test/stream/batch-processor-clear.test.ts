/**
 * The batch processor without Redis: what a commit holds after a job has cleared a key.
 */
import { describe, expect, it } from "vitest";
import { Store, toyEntries, toyJob } from "./toy.js";

const T0 = 1_700_000_000_000;
const job = toyJob();

describe("a key that is cleared", () => {
  /** Sets a's timer in one commit, clears a in the next, and has an event for it again in the last. */
  const entries = toyEntries([
    { clockMs: T0, events: [{ key: "a", units: 5, word: "arm", inMs: 1_000, again: 1 }] },
    { clockMs: T0 + 10, events: [{ key: "a" }, { key: "a", word: "clear" }] },
    { clockMs: T0 + 5_000, events: [{ key: "a", units: 2 }] },
  ]);
  const viewsOf = (store: Store) => store.outs.map(({ views }) => views.map(([, key, view]) => [key, view]));

  it("has no state and no timer in the commit, nor in memory after it", async () => {
    const store = await new Store().run([job], entries.slice(0, 2), [1]);
    expect(store.states.get("toy.1")?.size).toBe(0);
    expect(store.timers.size).toBe(0);
    await store.run([job], entries);
    expect(store.state("a")).toMatchObject({ units: 2, events: 1, fired: [] });
  });

  it("is read again when it has a new event, and starts from the initial state", async () => {
    const store = await new Store().run([job], entries, [1]);
    expect(store.state("a")).toMatchObject({ units: 2, events: 1, fired: [] });
    expect(store.emits()).toEqual([]);
    expect(store.loads).toEqual(["a", "a"]);
  });

  it("is published as null, and as null and its new view when it is recreated in the same commit", async () => {
    const apart = await new Store().run([job], entries, [1]);
    expect(viewsOf(apart)).toEqual([
      [["a", { key: "a", units: 5, sinceMs: T0 }]],
      [["a", null]],
      [["a", { key: "a", units: 2, sinceMs: T0 + 5_000 }]],
    ]);
    const together = await new Store().run([job], entries, [1, 2]);
    expect(viewsOf(together)[1]).toEqual([
      ["a", null],
      ["a", { key: "a", units: 2, sinceMs: 0 }],
    ]);
  });

  it("stays unchanged when the call throws after clearing it", async () => {
    const broken = toyEntries([
      { clockMs: T0, events: [{ key: "a", units: 5, word: "arm", inMs: 1_000 }] },
      {
        clockMs: T0 + 10,
        events: [
          { key: "a", word: "snap" },
          { key: "b", word: "clear" },
          { key: "b", word: "snap" },
        ],
      },
    ]);
    const store = await new Store().run([job], broken, [1]);
    expect(store.state("a")).toMatchObject({ units: 5, events: 1 });
    expect([...store.timers.values()]).toEqual([T0 + 1_000]);
    // A cleared key stays cleared.
    expect(store.state("b")).toBeUndefined();
    expect(store.deadLetters).toMatchObject([{ key: "a" }, { key: "b" }]);
  });

  it("may be cleared by its timer, whose emits leave", async () => {
    const brief = toyJob();
    brief.onTimer = (_, atMs, context) => {
      context.clear();
      context.emit("over", { atMs });
      context.setTimer(atMs + 1_000);
    };
    const store = await new Store().run(
      [brief],
      entries.slice(0, 1).concat(toyEntries([{ clockMs: T0 + 9_000, events: [] }], 2)),
    );
    expect(store.emits()).toMatchObject([{ kind: "over", atMs: T0 + 1_000 }]);
    expect(store.states.get("toy.1")?.size).toBe(0);
    expect(store.timers.size).toBe(0);
  });
});
