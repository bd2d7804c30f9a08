/**
 * Deliveries that a receiver takes several at once, with a receiver whose answers a test sets, a clock that a test
 * moves and no Redis: what one request holds, and that each delivery is settled by its own outcome.
 */
import { setMaxListeners } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import type { Scheduler } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { Pending, type Replay } from "../../engine/outbox/backlog.js";
import { Circuit } from "../../engine/outbox/circuit.js";
import type { RateLimiter } from "../../engine/outbox/rate-limiter.js";
import type { BatchLimits, Delivery, DeliveryOutcome, Receiver } from "../../engine/outbox/receiver.js";
import { TRIES_LIMIT } from "../../engine/outbox/retry.js";
import { Sender, type Source } from "../../engine/outbox/sender.js";

const DONE: DeliveryOutcome = { outcome: "done" };
const NO_ANSWER: DeliveryOutcome = { outcome: "retry", reason: "no answer" };

/** A partition: what became of its deliveries. */
class Partition implements Source {
  readonly delivered: string[] = [];
  readonly given: string[] = [];
  retries = 0;
  underWay = 0;
  isBlocked = false;
  readonly #end = new AbortController();

  constructor() {
    setMaxListeners(0, this.#end.signal);
  }

  get signal(): AbortSignal {
    return this.#end.signal;
  }

  end(): void {
    this.#end.abort();
  }

  maySend = (): boolean => !this.#end.signal.aborted;
  onSent = (): number => this.underWay++;
  onEnded = (): number => this.underWay--;
  onDelivered = ({ delivery }: Pending): number => this.delivered.push(delivery.key);
  onGivenUp = ({ delivery }: Pending): number => this.given.push(delivery.key);
  onRetry = (): number => this.retries++;
}

/** The next turns of the event loop: whatever the sender can do without the time of its clock, it has done then. */
const settled = async (): Promise<void> => {
  for (let i = 0; i < 50; i++) await new Promise(setImmediate);
};

class Bed {
  /** Keys of each request. */
  readonly requests: string[][] = [];
  readonly arrived: boolean[] = [];
  readonly reserved: number[] = [];
  readonly throttles: (number | undefined)[] = [];
  readonly troubles: string[] = [];
  readonly partition = new Partition();
  readonly circuit = new Circuit({ failures: 3, firstPauseMs: 1_000, longestPauseMs: 1_000 });
  readonly sender: Sender;
  answer: (keys: string[], signal: AbortSignal) => Promise<readonly DeliveryOutcome[]> = async (keys) =>
    keys.map(() => DONE);
  nowMs = 0;
  #ids = 0;

  constructor(batch: BatchLimits) {
    const request = async (deliveries: readonly Delivery[], signal: AbortSignal, arrived: readonly boolean[]) => {
      this.requests.push(deliveries.map(({ key }) => key));
      this.arrived.push(...arrived);
      return this.answer(
        deliveries.map(({ key }) => key),
        signal,
      );
    };
    const receiver: Receiver = {
      name: "bulk",
      wants: () => true,
      batch,
      deliver: async (delivery, signal, arrived) =>
        (await request([delivery], signal, [arrived]))[0] as DeliveryOutcome,
      deliverBatch: request,
    };
    const clock: Scheduler = {
      now: () => this.nowMs,
      sleep: (ms, signal) =>
        new Promise((resolve) => {
          setImmediate(() => {
            if (!signal?.aborted) this.nowMs += Math.min(ms, 1_000);
            resolve();
          });
        }),
    };
    let free = 0;
    const rateLimiter = {
      inFlight: 2,
      ratePerSecond: 1,
      reserved: () => free,
      take: () => free > 0 && free-- > 0,
      waitMs: () => 1,
      answered: () => {},
      throttled: (afterMs: number | undefined) => this.throttles.push(afterMs),
      hasNews: () => false,
      reserve: async (wanted: number) => {
        this.reserved.push(wanted);
        free += wanted;
        return 1;
      },
    } as unknown as RateLimiter;
    const onTrouble = (message: string) => this.troubles.push(message);
    const { circuit } = this;
    this.sender = new Sender({ receiver, rateLimiter, circuit, clock, random: seededRandom(618), onTrouble });
  }

  offer(keys: readonly string[], { to = this.partition, bytes = 1 }: { to?: Partition; bytes?: number } = {}): void {
    const pendings = keys.map(
      (key) =>
        new Pending({ id: `${this.#ids++}`, kind: "k", key, atMs: 0, payload: {} }, "j", 1, 0, bytes, {} as Replay),
    );
    this.sender.offer(pendings, to);
  }
}

let bed: Bed;
afterEach(() => bed.sender.stop());

function bedWith(batch: BatchLimits): Bed {
  bed = new Bed(batch);
  return bed;
}

describe("deliveries of a receiver that takes several at once", () => {
  it("go out together, up to its number, with one reservation and one place under way for each request", async () => {
    const { requests, reserved, partition, sender } = bedWith({ deliveries: 3 });
    let most = 0;
    bed.answer = async (keys) => {
      most = Math.max(most, sender.underWay);
      await settled();
      return keys.map(() => DONE);
    };
    bed.offer([..."abcdefg"]);
    sender.start();
    await expect.poll(() => partition.delivered.join("")).toBe("abcdefg");
    expect(requests.map((keys) => keys.join(""))).toEqual(["abc", "def", "g"]);
    // Three requests, of which two may be under way.
    expect(reserved.filter((wanted) => wanted > 0)).toEqual([2, 1]);
    expect(most).toBe(2);
    await settled();
    expect(partition.underWay).toBe(0);
  });

  it("go out together up to its bytes; one that is larger is alone", async () => {
    const { requests, partition, sender } = bedWith({ deliveries: 10, bytes: 100 });
    bed.offer(["a", "b", "c"], { bytes: 40 });
    bed.offer(["large"], { bytes: 500 });
    bed.offer(["d"]);
    sender.start();
    await expect.poll(() => partition.delivered).toHaveLength(5);
    expect(requests).toEqual([["a", "b"], ["c"], ["large"], ["d"]]);
  });

  it("are settled each by its own outcome", async () => {
    const { partition, sender } = bedWith({ deliveries: 4 });
    const outcomes: Record<string, DeliveryOutcome> = {
      a: DONE,
      b: { outcome: "refused", reason: "no" },
      c: { outcome: "retry", reason: "busy", throttled: true, retryAfterMs: 70 },
      d: { outcome: "retry", reason: "busier", throttled: true, retryAfterMs: 900 },
    };
    bed.answer = async (keys) => keys.map((key) => (bed.requests.length > 1 ? DONE : (outcomes[key] as typeof DONE)));
    bed.offer([..."abcd"]);
    sender.start();
    await expect.poll(() => [...partition.delivered].sort().join("")).toBe("acd");
    expect(partition).toMatchObject({ given: ["b"], retries: 2 });
    // One request for fewer requests, with the longest pause.
    expect(bed.throttles).toEqual([900]);
    expect(bed.troubles).toEqual([]);
  });

  it("are tried again when the request throws or has another number of outcomes, and may have arrived", async () => {
    const { partition, arrived, requests, sender } = bedWith({ deliveries: 2 });
    const answers = [async () => Promise.reject(new Error("broken")), async () => [DONE]];
    bed.answer = async (keys) => answers[bed.requests.length - 1]?.() ?? keys.map(() => DONE);
    bed.offer(["a", "b"]);
    bed.offer(["c", "d"]);
    sender.start();
    await expect.poll(() => [...partition.delivered].sort().join("")).toBe("abcd");
    expect(partition.retries).toBe(4);
    expect(arrived).toEqual([false, false, false, false, true, true, true, true]);
    // Half of two: each is alone now.
    expect(requests.slice(2).every(({ length }) => length === 1)).toBe(true);
  });

  it("count once for the circuit, whose probe is one delivery", async () => {
    const { partition, requests, circuit, sender } = bedWith({ deliveries: 4 });
    let isDown = true;
    const probes: number[] = [];
    bed.answer = async (keys) => {
      if (circuit.state(bed.nowMs) !== "closed") probes.push(keys.length);
      return keys.map(() => (isDown ? NO_ANSWER : DONE));
    };
    const states: string[] = [];
    const { failed } = circuit;
    circuit.failed = (nowMs, isProbe) => {
      failed.call(circuit, nowMs, isProbe);
      states.push(circuit.state(nowMs));
    };
    bed.offer([..."abcdefghijkl"]);
    sender.start();
    await expect.poll(() => states.length).toBeGreaterThan(4);
    // Each request has failed for two deliveries at least.
    expect(states.slice(0, 3)).toEqual(["closed", "closed", "open"]);
    expect(requests.slice(0, 2).flat().join("")).toBe("abcdefgh");
    isDown = false;
    await expect.poll(() => partition.delivered).toHaveLength(12);
    expect(partition.given).toEqual([]);
    expect(new Set(probes)).toEqual(new Set([1]));
    expect(bed.troubles).toEqual([
      "bulk takes no deliveries (no answer): they wait until it does",
      "bulk takes deliveries again",
    ]);
  });

  it("are not held up by one for which every request fails: it is alone in the end, then given up", async () => {
    const { partition, requests, sender } = bedWith({ deliveries: 8 });
    bed.answer = async (keys) => keys.map(() => (keys.includes("poison") ? NO_ANSWER : DONE));
    sender.start();
    let fed = 0;
    bed.offer(["poison"]);
    // Others are accepted all the time: the receiver works.
    for (; partition.given.length === 0 && fed < 10_000; fed += 8) {
      bed.offer(Array.from({ length: 8 }, (_, i) => `${fed + i}`));
      await settled();
    }
    expect(partition.given).toEqual(["poison"]);
    await expect.poll(() => partition.delivered.length).toBe(fed);
    const withPoison = requests.filter((keys) => keys.includes("poison")).map(({ length }) => length);
    expect(withPoison.slice(0, 3).every((length, i) => length <= 8 / 2 ** i)).toBe(true);
    expect(withPoison.length).toBeGreaterThanOrEqual(TRIES_LIMIT);
    expect(new Set(withPoison.slice(3))).toEqual(new Set([1]));
  });

  it("of several partitions go out together; the request ends when all of them have ended", async () => {
    const { partition, requests, sender } = bedWith({ deliveries: 4 });
    const other = new Partition();
    let ended: AbortSignal | undefined;
    let answer = () => {};
    bed.answer = (keys, signal) => {
      ended = signal;
      return new Promise((resolve) => {
        answer = () => resolve(keys.map(() => DONE));
      });
    };
    bed.offer(["a", "b"]);
    bed.offer(["c", "d"], { to: other });
    sender.start();
    await expect.poll(() => requests).toEqual([["a", "b", "c", "d"]]);
    other.end();
    expect(ended?.aborted).toBe(false);
    answer();
    await expect.poll(() => partition.delivered).toEqual(["a", "b"]);
    // The next owner of the other partition sends them again.
    expect(other.delivered).toEqual([]);
    expect([partition.underWay, other.underWay]).toEqual([0, 0]);
    const third = new Partition();
    bed.offer(["e"]);
    bed.offer(["f"], { to: third });
    await expect.poll(() => requests).toHaveLength(2);
    partition.end();
    expect(ended?.aborted).toBe(false);
    third.end();
    expect(ended?.aborted).toBe(true);
    answer();
    await settled();
    expect([partition.underWay, third.underWay]).toEqual([0, 0]);
  });
});
