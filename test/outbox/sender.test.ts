/**
 * Which failures the sender counts for a delivery, with a receiver whose answers a test sets and neither Redis nor real
 * pauses.
 */
import { describe, expect, it } from "vitest";
import type { Scheduler } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { Pending, type Replay } from "../../engine/outbox/backlog.js";
import { Circuit } from "../../engine/outbox/circuit.js";
import type { RateLimiter } from "../../engine/outbox/rate-limiter.js";
import type { Receiver } from "../../engine/outbox/receiver.js";
import { TRIES_LIMIT } from "../../engine/outbox/retry.js";
import { Sender, type Source } from "../../engine/outbox/sender.js";

/**
 * Tries withdrawal `w` so often, beside `x`; three picks are taken meanwhile each time. Returns those that are given
 * up.
 */
async function withdrawalsTried(
  times: number,
  answer: (key: string) => "done" | "retry",
  isHeldUp = false,
): Promise<string[]> {
  const given: string[] = [];
  let tries = 0;
  let ids = 0;
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let nowMs = 0;
  const clock: Scheduler = {
    now: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        setImmediate(() => {
          if (!signal?.aborted) nowMs += Math.min(ms, 10_000);
          resolve();
        });
      }),
  };
  const pending = (kind: string, key: string): Pending =>
    new Pending({ id: `${ids++}`, kind, key, atMs: 0, payload: {} }, "job", 1, 0, 1, {} as Replay);
  const pace = {
    inFlight: 100,
    ratePerSecond: 1,
    held: () => 1,
    take: () => true,
    waitMs: () => 1,
    answered: () => {},
    throttled: () => {},
    hasNews: () => false,
    reserve: async () => 1,
  } as unknown as RateLimiter;
  const receiver: Receiver = {
    name: "wms",
    wants: () => true,
    async deliver({ kind, key }) {
      await new Promise(setImmediate);
      if (kind === "pick") return { outcome: "done" };
      sender.offer([pending("pick", "a"), pending("pick", "b"), pending("pick", "c")], source);
      if (key === "w" && ++tries >= times) end();
      return answer(key) === "done" ? { outcome: "done" } : { outcome: "retry", reason: "HTTP 404", fault: "HTTP 404" };
    },
  };
  const source: Source = {
    signal: new AbortController().signal,
    maySend: () => true,
    isBlocked: isHeldUp,
    onSent: () => {},
    onEnded: () => {},
    onDelivered: ({ delivery }) => {
      if (delivery.kind !== "pick" && tries < times) sender.offer([pending("withdraw", delivery.key)], source);
    },
    onGivenUp: ({ delivery }) => {
      given.push(delivery.key);
      end();
    },
    onRetry: () => {},
  };
  const circuit = new Circuit({ failures: 1_000, firstPauseMs: 1_000, longestPauseMs: 1_000 });
  const sender = new Sender({
    receiver,
    rateLimiter: pace,
    circuit,
    clock,
    random: seededRandom(618),
    onTrouble: () => {},
  });
  sender.offer([pending("withdraw", "w"), pending("withdraw", "x")], source);
  sender.start();
  await ended;
  await sender.stop();
  return given;
}

describe("a delivery that fails", () => {
  it("is not given up while nothing of its kind is accepted, although the receiver accepts all others", async () => {
    expect(await withdrawalsTried(10 * TRIES_LIMIT, () => "retry")).toEqual([]);
  });

  it("is still given up when the rest of its partition waits for it", async () => {
    expect(await withdrawalsTried(10 * TRIES_LIMIT, () => "retry", true)).not.toEqual([]);
  });

  it("is given up when others of its kind are accepted", async () => {
    expect(await withdrawalsTried(20 * TRIES_LIMIT, (key) => (key === "w" ? "retry" : "done"))).toEqual(["w"]);
  });
});
