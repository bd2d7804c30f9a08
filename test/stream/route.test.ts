/**
 * The check of all routes before anything starts: names, kinds with two routes, and circles of any length. And where a
 * forwarder begins on a source that may have lost commits.
 */
import { describe, expect, it } from "vitest";
import { type Mark, resumeAfter } from "../../engine/stream/event-producer.js";
import { checkRoutes, type Route, type RoutedTopic } from "../../engine/stream/route.js";

const route = (from: string, ...kinds: string[]): Route => ({ from, kinds, event: () => undefined });
const topic = (name: string, ...routes: Route[]): RoutedTopic => ({ name, routes });

describe("routes", () => {
  it("that form no circle are accepted: chains, diamonds, several kinds", () => {
    checkRoutes([
      { name: "stock" },
      topic("a", route("stock", "x"), route("stock", "y")),
      topic("b", route("stock", "x"), route("a", "x")),
      topic("c", route("a", "x"), route("b", "x")),
    ]);
  });

  it.each([
    ["a topic that does not exist", [topic("a", route("b", "x"))], "route from b to a: there is no topic b"],
    ["one kind of a topic twice", [{ name: "s" }, topic("a", route("s", "x"), route("s", "y", "x"))], "the kind x has"],
    ["two topics of one name", [{ name: "s" }, { name: "s" }], "s: two topics have this name"],
    ["a topic from itself", [topic("a", route("a", "x"))], "a → a: these routes form a circle"],
    [
      "a circle of three",
      [
        { name: "s" },
        topic("a", route("s", "x"), route("c", "x")),
        topic("b", route("a", "x")),
        topic("c", route("b", "x")),
      ],
      "a → b → c → a: these routes form a circle",
    ],
  ])("are rejected: %s", (_, topics, message) => {
    expect(() => checkRoutes(topics)).toThrow(message);
  });
});

describe("a forwarder begins", () => {
  const digest = (text: string): Buffer => Buffer.from(text.padEnd(8));
  const mark = (commit: number, text: string): Mark => ({ commit, digest: digest(text) });
  const digests = (...texts: [number, string][]) => new Map(texts.map(([commit, text]) => [commit, digest(text)]));
  const marks = [mark(3, "a"), mark(5, "b"), mark(6, "c")];

  it("after the newest commit that was taken, when the cursor has reached it", () => {
    expect(resumeAfter({ last: 6, marks, mayLack: false }, 8, new Map())).toBe(6);
    expect(resumeAfter({ last: 0, marks: [], mayLack: false }, 8, new Map())).toBe(0);
  });

  it("after it, when the source still has every commit that was taken after the cursor", () => {
    expect(resumeAfter({ last: 6, marks, mayLack: false }, 3, digests([4, "x"], [5, "b"], [6, "c"]))).toBe(6);
  });

  it("after the last commit before the first that the source has lost, or has replaced", () => {
    expect(resumeAfter({ last: 6, marks, mayLack: false }, 3, digests([5, "b"], [6, "other"]))).toBe(5);
    expect(resumeAfter({ last: 6, marks, mayLack: false }, 3, digests([5, "other"], [6, "c"]))).toBe(3);
    expect(resumeAfter({ last: 6, marks, mayLack: false }, 3, new Map())).toBe(3);
  });

  it("at the cursor, when the marks do not reach back to it and the first is not true", () => {
    expect(resumeAfter({ last: 6, marks: marks.slice(2), mayLack: false }, 1, digests([6, "other"]))).toBe(1);
  });
});
