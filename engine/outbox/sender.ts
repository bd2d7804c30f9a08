/**
 * Sends what all partitions of this process have ready to one receiver: as fast as the pace allows, as many at once
 * as may be under way, and nothing while the circuit is open. It decides when a delivery is tried again and when it
 * is given up; what became of it is its source's to note. It holds no more than the sources' backlogs do.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { Random } from "../kernel/random.js";
import type { Pending } from "./backlog.js";
import type { Circuit, CircuitState } from "./circuit.js";
import type { RateLimiter } from "./rate-limiter.js";
import type { Delivery, DeliveryOutcome, Receiver } from "./receiver.js";
import { pauseMs, type ReceiverRecord } from "./retry.js";
import { Signal } from "./signal.js";

/** Where deliveries come from: one partition, for as long as this process owns it. */
export interface Source {
  /** Aborts when nobody waits for its deliveries any more. */
  readonly signal: AbortSignal;
  /** Whether it may send now: not when its lease may have ended. */
  maySend(nowMs: number): boolean;
  /** Whether others wait for its oldest delivery to be settled, however that ends. */
  readonly isBlocked: boolean;
  /** Told of every request that goes out, and of its end. */
  onSent(): void;
  onEnded(): void;
  onDelivered(pending: Pending, receipt: unknown, atMs: number): void;
  /** @param brief the reason without a word of the receiver's */
  onGivenUp(pending: Pending, reason: string, brief: string): void;
  onRetry(throttled: boolean): void;
}

export interface SenderOptions {
  receiver: Receiver;
  rateLimiter: RateLimiter;
  circuit: Circuit;
  clock: Scheduler;
  /** What time it is when a delivery has been taken; left out: the same. */
  wall?: Clock;
  random: Random;
  onTrouble: OnTrouble;
}

interface Item {
  readonly pending: Pending;
  readonly source: Source;
}

/** Slots are asked for this often at most: some hundred calls a second while busy, and none when idle. */
const TURN_MS = 10;
/** While requests are under way, the other workers are told so this often. */
const TELL_MS = 500;
const IDLE_MS = 60_000;
/** Longer than the pause between two tries, unless they are asked to wait longer. */
const LACKING_TOLD_MS = 60_000;
const FORGET_AT = 1_024;
/** Deliveries refused in a row that are told apart; the circuit is open long before. */
const FAULTY_KEPT = 1_000;
/** After a call to Redis that failed. */
const TROUBLE_PAUSE_MS = 500;

export class Sender {
  readonly #options: SenderOptions;
  readonly #signal = new Signal();
  readonly #stop = new AbortController();
  /** In the order in which they may go; those before `#first` have gone. */
  #ready: Item[] = [];
  #first = 0;
  #underWay = 0;
  #record: ReceiverRecord = { taken: 0, failed: 0 };
  /** By kind of delivery, what the receiver refuses it for, until one of that kind is taken. */
  readonly #faults = new Map<string, string>();
  /** Deliveries that were refused so since the receiver last took one; more than one at fault by itself. */
  readonly #faulty = new Set<string>();
  /** What a delivery last waited for that is not the receiver's, and when. */
  #lacking: { reason: string; atMs: number } | undefined;
  #askAgainMs = 0;
  #toldMs = 0;
  #isInTrouble = false;
  #running: Promise<void> | undefined;

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  get circuit(): CircuitState {
    return this.#options.circuit.state(this.#options.clock.now());
  }

  get ratePerSecond(): number {
    return this.#options.rateLimiter.ratePerSecond;
  }

  get underWay(): number {
    return this.#underWay;
  }

  /** What the receiver, or what stands before it, refuses deliveries for, in words. */
  get faults(): string[] {
    return [...this.#faults].map(([kind, fault]) => `${kind}: ${fault}`);
  }

  /** What deliveries wait for that is not the receiver's. */
  get unmetDependency(): string | undefined {
    const { reason, atMs } = this.#lacking ?? { atMs: Number.NEGATIVE_INFINITY };
    return this.#options.clock.now() - atMs < LACKING_TOLD_MS ? reason : undefined;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Sends nothing any more. What is under way lands by itself. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#signal.notify();
    await this.#running;
  }

  /** Takes deliveries that may go now. */
  offer(pendings: readonly Pending[], source: Source): void {
    for (const pending of pendings) this.#ready.push({ pending, source });
    if (pendings.length > 0) this.#signal.notify();
  }

  async #run(): Promise<void> {
    const { clock, onTrouble, rateLimiter: pace } = this.#options;
    while (!this.#stop.signal.aborted) {
      let waitMs = TROUBLE_PAUSE_MS;
      try {
        this.#sendDue();
        waitMs = await this.#turn();
        this.#isInTrouble = false;
      } catch (thrown) {
        // Told once: the partitions tell of a Redis that is away, too.
        if (!this.#isInTrouble) onTrouble(`pace: ${messageOf(thrown)}`, { sink: this.#options.receiver.name });
        this.#isInTrouble = true;
        await clock.sleep(TROUBLE_PAUSE_MS, this.#stop.signal);
      }
      if (waitMs > 0) await this.#signal.wait(clock, waitMs);
    }
    // So that the others need not count this worker until it is silent for long enough.
    if (this.#underWay === 0 && pace.hasNews(0)) await pace.reserve(0, 0).catch(() => {});
  }

  /** Sends what has a slot now. */
  #sendDue(): void {
    const { clock, circuit, rateLimiter: pace } = this.#options;
    if (circuit.state(clock.now()) === "half_open") this.#putFreshestFirst();
    for (; this.#first < this.#ready.length; this.#first++) {
      const nowMs = clock.now();
      const item = this.#ready[this.#first] as Item;
      if (!item.source.maySend(nowMs)) continue;
      if (this.#underWay >= pace.inFlight || circuit.waitMs(nowMs) > 0 || !pace.take(nowMs)) break;
      void this.#send(item, nowMs);
    }
    // Not one by one: the list may be long.
    if (this.#first < FORGET_AT && this.#first < this.#ready.length) return;
    this.#ready.splice(0, this.#first);
    this.#first = 0;
  }

  /**
   * The probe says whether the receiver lives: so it is not one that has failed often, and may be what the receiver
   * cannot bear.
   */
  #putFreshestFirst(): void {
    const ready = this.#ready;
    const failures = (at: number): number => (ready[at] as Item).pending.tries.failures;
    let freshest = this.#first;
    for (let at = this.#first; at < ready.length && failures(freshest) > 0; at++) {
      if (failures(at) < failures(freshest)) freshest = at;
    }
    if (freshest === this.#first) return;
    const [item] = ready.splice(freshest, 1) as [Item];
    ready.splice(this.#first, 0, item);
  }

  get #waiting(): number {
    return this.#ready.length - this.#first;
  }

  /** Books slots when some are wanted. Returns how long there is nothing to do. */
  async #turn(): Promise<number> {
    const { clock, circuit, rateLimiter: pace } = this.#options;
    const nowMs = clock.now();
    const pausedMs = circuit.waitMs(nowMs);
    const room = circuit.state(nowMs) === "closed" ? pace.inFlight - this.#underWay : 1;
    const wanted = pausedMs > 0 ? 0 : Math.max(0, Math.min(this.#waiting, room) - pace.reserved(nowMs));
    const isDue = nowMs >= this.#askAgainMs;
    if (isDue && (wanted > 0 || pace.hasNews(this.#underWay) || this.#hasToTell(nowMs))) {
      const askAgainMs = await pace.reserve(wanted, this.#underWay);
      this.#toldMs = nowMs;
      this.#askAgainMs =
        nowMs + Math.max(TURN_MS, wanted > 0 && pace.reserved(clock.now()) === 0 ? Math.min(askAgainMs, TELL_MS) : 0);
    }
    const thenMs = clock.now();
    const tellMs = this.#underWay > 0 ? Math.max(1, this.#toldMs + TELL_MS - thenMs) : IDLE_MS;
    const isWanting = this.#waiting > 0 && this.#underWay < pace.inFlight;
    if (!isWanting && !pace.hasNews(this.#underWay)) return tellMs;
    if (pausedMs > 0 && !pace.hasNews(this.#underWay)) return Math.min(pausedMs, tellMs);
    return Math.min(pace.waitMs(thenMs), Math.max(1, this.#askAgainMs - thenMs), tellMs);
  }

  #hasToTell(nowMs: number): boolean {
    return this.#underWay > 0 && nowMs - this.#toldMs >= TELL_MS;
  }

  async #send(item: Item, startedMs: number): Promise<void> {
    const { receiver, circuit, clock } = this.#options;
    const { pending, source } = item;
    const isProbe = circuit.sent();
    this.#underWay++;
    source.onSent();
    pending.tries.started(this.#record);
    let verdict: DeliveryOutcome;
    try {
      verdict = await receiver.deliver(pending.delivery, source.signal, pending.mayHaveArrived);
    } catch (thrown) {
      verdict = { outcome: "retry", reason: messageOf(thrown), mayHaveArrived: true };
    }
    if (verdict.outcome === "retry" && verdict.mayHaveArrived) pending.mayHaveArrived = true;
    this.#underWay--;
    const nowMs = clock.now();
    // When its source has gone, the next owner sends it again: an answer to nobody tells nothing.
    if (source.signal.aborted) circuit.abandoned(isProbe);
    else this.#judge(item, verdict, isProbe, startedMs, nowMs);
    source.onEnded();
    this.#signal.notify();
  }

  #judge(
    { pending, source }: Item,
    verdict: DeliveryOutcome,
    isProbe: boolean,
    startedMs: number,
    nowMs: number,
  ): void {
    const { rateLimiter: pace, circuit, clock, random, wall = clock } = this.#options;
    const isOfKind = this.#befallsItsKind(pending.delivery, verdict);
    const isUnasked = verdict.outcome !== "refused" && verdict.isUnsent === true;
    const isSilence = verdict.outcome === "retry" && !verdict.throttled && !verdict.dependencyFailed && !isUnasked;
    if (isUnasked) circuit.abandoned(isProbe);
    else if (isSilence) this.#failed(nowMs, isProbe, pending.delivery, verdict);
    else this.#answered(nowMs, startedMs, pending.delivery, verdict);
    if (verdict.outcome === "retry" && verdict.dependencyFailed) this.#lacks(nowMs, briefOf(verdict));
    if (verdict.outcome !== "retry" && !isUnasked) this.#record = { ...this.#record, taken: this.#record.taken + 1 };
    if (verdict.outcome === "done") {
      source.onDelivered(pending, verdict.receipt, wall.now());
      return;
    }
    if (verdict.outcome === "refused") {
      source.onGivenUp(pending, verdict.reason, briefOf(verdict));
      return;
    }
    const throttled = verdict.throttled ?? false;
    if (throttled) pace.throttled(verdict.retryAfterMs);
    const { tries } = pending;
    const record = this.#record;
    if (isSilence) this.#record = { ...record, failed: record.failed + 1 };
    if (verdict.dependencyFailed || isUnasked || (isOfKind && !source.isBlocked)) tries.passed();
    else if (tries.failed(record, throttled)) {
      const tried = `given up after ${tries.failures} tries: `;
      source.onGivenUp(pending, tried + verdict.reason, tried + briefOf(verdict));
      return;
    }
    source.onRetry(throttled);
    void clock
      .sleep(pauseMs(tries.failures, verdict.retryAfterMs, random), source.signal)
      .then(() => (source.signal.aborted ? undefined : this.offer([pending], source)));
  }

  /**
   * Whether none of its kind has been taken since another was refused for a fault: then it is the kind's, whatever
   * else is taken meanwhile.
   */
  #befallsItsKind({ kind }: Delivery, verdict: DeliveryOutcome): boolean {
    return verdict.outcome === "retry" && verdict.fault !== undefined && this.#faults.has(kind);
  }

  /** A delivery lacks something that is not the receiver's. */
  #lacks(nowMs: number, reason: string): void {
    const { receiver, onTrouble } = this.#options;
    if (this.unmetDependency === undefined)
      onTrouble(`deliveries to ${receiver.name} wait: ${reason}`, { sink: receiver.name });
    this.#lacking = { reason, atMs: nowMs };
  }

  #answered(nowMs: number, startedMs: number, { kind }: Delivery, { outcome }: DeliveryOutcome): void {
    const { circuit, rateLimiter: pace, receiver, onTrouble } = this.#options;
    const wasClosed = circuit.state(nowMs) === "closed";
    circuit.answered();
    pace.answered(nowMs - startedMs);
    this.#faulty.clear();
    if (outcome !== "retry") this.#faults.delete(kind);
    if (!wasClosed) onTrouble(`${receiver.name} takes deliveries again`, { level: "info", sink: receiver.name });
  }

  #failed(
    nowMs: number,
    isProbe: boolean,
    { id, kind }: Delivery,
    verdict: DeliveryOutcome & { outcome: "retry" },
  ): void {
    const { circuit, receiver, onTrouble } = this.#options;
    const { reason, brief = reason, fault } = verdict;
    if (fault !== undefined) {
      this.#faults.set(kind, fault);
      // One delivery that is refused over and over is no receiver that takes none: others must not wait for it.
      if (!isProbe && this.#faulty.has(id)) return;
      if (this.#faulty.size < FAULTY_KEPT) this.#faulty.add(id);
    }
    const wasClosed = circuit.state(nowMs) === "closed";
    circuit.failed(nowMs, isProbe);
    if (wasClosed && circuit.state(nowMs) !== "closed") {
      onTrouble(`${receiver.name} takes no deliveries (${fault ?? brief}): they wait until it does`, {
        sink: receiver.name,
      });
    }
  }
}

/** Why a delivery was not taken, without the receiver's own words. */
const briefOf = ({ reason, brief }: { reason: string; brief?: string }): string => brief ?? reason;
