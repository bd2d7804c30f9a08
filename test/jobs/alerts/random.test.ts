/**
 * The alert job under random events: any order, repeated, late, of alerts that never were, with the sink's answers
 * delayed and repeated. Whatever comes, one alert of a key at most is open, levels follow only while nobody has
 * acknowledged, everybody who was notified gets the end, and when all is quiet the state is deleted.
 */
import { describe, expect, it } from "vitest";
import type { RouteCommand, RoutedEvent } from "../../../engine/jobs/alerts/events.js";
import { CLEARED_KEPT, CLEARED_KEPT_MS } from "../../../engine/jobs/alerts/state.js";
import { DAY_MS, MINUTE_MS } from "../../../engine/kernel/clock.js";
import { type Random, seededRandom } from "../../../engine/kernel/random.js";
import { AlertsBed, CUP, SHOP, WMS } from "./bed.js";

const STEPS = 250;
const SEEDS = Array.from({ length: 12 }, (_, i) => 1_000 + i);
const KEYS = [CUP, SHOP, WMS];

interface Answer {
  readonly key: string;
  readonly event: RoutedEvent;
}

/** A world of one SKU, one breaker and one receiver, and a sink that answers in its own time. */
class World {
  readonly bed = new AlertsBed();
  readonly random: Random;
  /** By recipient and alert: what was sent last. */
  readonly sent = new Map<string, string>();
  readonly #waiting: RouteCommand[] = [];
  readonly #answers: Answer[] = [];
  #depletions = 0;
  #breakers = 0;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  step(): void {
    const { bed, random } = this;
    const number = Math.max(1, this.#depletions - random.below(3));
    const actions: (() => void)[] = [
      () => bed.depletion("fired", random.below(2) === 0 ? ++this.#depletions : number),
      () => bed.depletion("acknowledged", number),
      () => bed.depletion("cleared", number),
      () => bed.breaker(random.pick(["opened", "extended", "half_opened", "would_have_opened"]), ++this.#breakers),
      () => bed.breaker("closed", Math.max(1, this.#breakers + 1 - random.below(3))),
      () => bed.condition(true, `w${random.below(3)}`),
      () => bed.condition(false, `w${random.below(3)}`),
      () => bed.acknowledge(random.pick(KEYS), this.someId()),
      () => bed.silence(random.pick(KEYS)),
      () => bed.pass(random.below(4) * MINUTE_MS),
      () => this.deliver(),
      () => this.answer(random.below(3) === 0),
    ];
    random.pick(actions)();
    this.take();
  }

  take(): void {
    this.#waiting.push(...this.bed.routes());
  }

  /** The sink executes the oldest command. */
  deliver(): boolean {
    const command = this.#waiting.shift();
    if (!command) return false;
    const { alert, what, level, recipients } = command;
    const key = `${alert.rule}~${alert.subject}`;
    if (what === "changed") {
      for (const recipient of recipients) this.sent.set(`${recipient} ${alert.id}`, alert.state);
      return true;
    }
    const { nowMs } = this.bed;
    if (this.random.below(4) === 0) {
      const silence = { id: "S", untilMs: nowMs + this.random.below(5) * MINUTE_MS };
      this.#answers.push({ key, event: { alertId: alert.id, level, recipients: [], silence } });
      return true;
    }
    const notified = [`person:${level}`];
    for (const recipient of notified) this.sent.set(`${recipient} ${alert.id}`, alert.state);
    const nextMs = level < 3 ? nowMs + 5 * MINUTE_MS : undefined;
    const next = nextMs === undefined ? {} : { nextMs };
    this.#answers.push({ key, event: { alertId: alert.id, level, recipients: notified, ...next } });
    return true;
  }

  /** The oldest answer reaches the job. @param again it stays, and comes a second time */
  answer(again: boolean): boolean {
    const answer = again ? this.#answers[0] : this.#answers.shift();
    if (!answer) return false;
    this.bed.event(answer.key, "routed", answer.event);
    return true;
  }

  someId(): string {
    const known = [...this.bed.view.open(), ...this.bed.view.cleared()].map(({ alert }) => alert.id);
    return this.random.pick([...known, "receiver_circuit~wms#99"]);
  }

  /** Everything that waits is delivered and answered. */
  settle(): void {
    for (let i = 0; i < 10 * STEPS; i++) {
      this.take();
      const delivered = this.deliver();
      const answered = this.answer(false);
      this.take();
      if (!delivered && !answered && this.#waiting.length === 0) return;
    }
    throw new Error("the job and its sink do not come to an end");
  }
}

function check({ bed }: World): void {
  for (const key of KEYS) {
    const state = bed.state(key);
    if (!state) {
      expect(bed.timerMs(key)).toBeUndefined();
      continue;
    }
    const { open, cleared } = state;
    expect(cleared.length).toBeLessThanOrEqual(CLEARED_KEPT);
    for (const { alert, nextMs, silence } of cleared) {
      expect([alert.state, nextMs, silence]).toEqual(["cleared", undefined, undefined]);
      expect(bed.nowMs - (alert.clearedMs ?? 0)).toBeLessThanOrEqual(CLEARED_KEPT_MS);
    }
    const ids = [...(open ? [open] : []), ...cleared].map(({ alert }) => alert.id);
    expect(new Set(ids).size).toBe(ids.length);
    if (open) expect(open.alert.state).not.toBe("cleared");
    if (open?.alert.state === "acknowledged") expect([open.nextMs, open.silence]).toEqual([undefined, undefined]);
    if (open?.silence) expect(open.nextMs).toBeUndefined();
    if (open?.nextMs !== undefined) expect(bed.timerMs(key)).toBeLessThanOrEqual(Math.max(open.nextMs, bed.nowMs + 1));
  }
}

describe.each(SEEDS)("seed %i", (seed) => {
  it("keeps every rule after every step, and ends", () => {
    const world = new World(seed);
    for (let i = 0; i < STEPS; i++) {
      world.step();
      check(world);
    }
    world.settle();
    const { bed, sent } = world;
    bed.depletion("cleared", 1_000_000);
    bed.breaker("closed", 1_000_000);
    for (let i = 0; i < 3; i++) bed.condition(false, `w${i}`);
    world.settle();
    expect(bed.view.open()).toEqual([]);
    const listed = new Set(bed.view.cleared().map(({ alert }) => alert.id));
    for (const [what, state] of sent)
      if (listed.has(what.slice(what.indexOf(" ") + 1))) expect(`${what} ${state}`).toBe(`${what} cleared`);
    bed.pass(32 * DAY_MS);
    expect([bed.routes(), bed.view.cleared(), bed.state(CUP), bed.state(SHOP)]).toEqual([[], [], undefined, undefined]);
    for (const key of KEYS) expect(bed.timerMs(key)).toBeUndefined();
  });
});
