/**
 * Sends the ready deliveries of all partitions of this process to one receiver: as fast as the rate limiter allows, as
 * many requests at once as may be under way, and none while the circuit is open. It decides when a delivery is tried
 * again and when it becomes a dead letter; its source records the outcome. It holds no more than the sources' backlogs
 * do.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { Random } from "../kernel/random.js";
import type { Pending } from "./backlog.js";
import type { Circuit, CircuitState } from "./circuit.js";
import type { RateLimiter } from "./rate-limiter.js";
import type { Delivery, DeliveryOutcome, Receiver } from "./receiver.js";
import {
  type Answer,
  deliverJoined,
  isSilence,
  isUnsent,
  JoinedRequest,
  type Judgement,
  judgementOf,
} from "./requests.js";
import { pauseMs, type ReceiverRecord } from "./retry.js";
import { Signal } from "./signal.js";

/** Where deliveries come from: one partition, while this process owns it. */
export interface Source {
  /** Aborts when its deliveries are not needed any more. */
  readonly signal: AbortSignal;
  /** Whether it may send now: not when its lease may have ended. */
  maySend(nowMs: number): boolean;
  /** Whether reading waits for its oldest delivery to be settled, whatever the outcome. */
  readonly isBlocked: boolean;
  /** Called for every delivery that is sent, and at the end of its request. */
  onSent(): void;
  onEnded(): void;
  onDelivered(pending: Pending, receipt: unknown, atMs: number): void;
  /** @param brief the reason without a quotation of the receiver */
  onGivenUp(pending: Pending, reason: string, brief: string): void;
  onRetry(throttled: boolean): void;
}

export interface SenderOptions {
  receiver: Receiver;
  rateLimiter: RateLimiter;
  circuit: Circuit;
  clock: Scheduler;
  /** The wall clock for the time of an accepted delivery; left out: `clock`. */
  wall?: Clock;
  random: Random;
  onTrouble: OnTrouble;
}

interface Item {
  readonly pending: Pending;
  readonly source: Source;
}

/** A delivery of a request, with its outcome. */
interface Answered extends Item, Answer {
  /** Whether it is refused for a fault of which all of its kind are. */
  readonly isOfKind: boolean;
}

/** Reservations are made this often at most: some hundred calls a second while busy, and none when idle. */
const TURN_MS = 10;
/** While requests are under way, their number is published to the other workers this often. */
const PUBLISH_MS = 500;
const IDLE_MS = 60_000;
/** Longer than the pause between two tries, unless the receiver asks for a longer one. */
const DEPENDENCY_REPORTED_MS = 60_000;
const COMPACT_AT = 1_024;
/** Ids of deliveries refused in a row that are kept; the circuit is open long before. */
const FAULTY_LIMIT = 1_000;
/** After a call to Redis that failed. */
const TROUBLE_PAUSE_MS = 500;

export class Sender {
  readonly #options: SenderOptions;
  readonly #signal = new Signal();
  readonly #stop = new AbortController();
  /** In the order in which they may be sent; those before `#first` have been sent. */
  #ready: Item[] = [];
  #first = 0;
  #underWay = 0;
  #record: ReceiverRecord = { taken: 0, failed: 0 };
  /** By kind of delivery, the fault for which the receiver refuses it, until one of that kind is accepted. */
  readonly #faults = new Map<string, string>();
  /** Deliveries that were refused for a fault since the receiver last accepted one. */
  readonly #faulty = new Set<string>();
  /** The last failure of another system that a delivery needs, and when. */
  #dependency: { reason: string; atMs: number } | undefined;
  #askAgainMs = 0;
  #publishedMs = 0;
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

  /** The faults for which the receiver, or a proxy before it, refuses deliveries, in words. */
  get faults(): string[] {
    return [...this.#faults].map(([kind, fault]) => `${kind}: ${fault}`);
  }

  /** Why deliveries wait for another system than the receiver; undefined when none does. */
  get unmetDependency(): string | undefined {
    const { reason, atMs } = this.#dependency ?? { atMs: Number.NEGATIVE_INFINITY };
    return this.#options.clock.now() - atMs < DEPENDENCY_REPORTED_MS ? reason : undefined;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Sends nothing any more. Requests under way end by themselves. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#signal.notify();
    await this.#running;
  }

  /** Adds deliveries that may be sent now. */
  offer(pendings: readonly Pending[], source: Source): void {
    for (const pending of pendings) this.#ready.push({ pending, source });
    if (pendings.length > 0) this.#signal.notify();
  }

  async #run(): Promise<void> {
    const { clock, onTrouble, rateLimiter } = this.#options;
    while (!this.#stop.signal.aborted) {
      let waitMs = TROUBLE_PAUSE_MS;
      try {
        this.#sendDue();
        waitMs = await this.#turn();
        this.#isInTrouble = false;
      } catch (thrown) {
        // Reported once: the partitions report an unreachable Redis, too.
        if (!this.#isInTrouble) onTrouble(`rate limiter: ${messageOf(thrown)}`, { sink: this.#options.receiver.name });
        this.#isInTrouble = true;
        await clock.sleep(TROUBLE_PAUSE_MS, this.#stop.signal);
      }
      if (waitMs > 0) await this.#signal.wait(clock, waitMs);
    }
    // So that the other workers do not count this one until its entry expires.
    if (this.#underWay === 0 && rateLimiter.hasNews(0)) await rateLimiter.reserve(0, 0).catch(() => {});
  }

  /** Sends the deliveries that have a reservation now. */
  #sendDue(): void {
    const { clock, circuit, rateLimiter } = this.#options;
    if (circuit.state(clock.now()) === "half_open") this.#putFewestFailuresFirst();
    for (; this.#first < this.#ready.length; this.#first++) {
      const nowMs = clock.now();
      const { pending, source } = this.#ready[this.#first] as Item;
      if (pending.isOverflowed || !source.maySend(nowMs)) continue;
      if (this.#underWay >= rateLimiter.inFlight || circuit.waitMs(nowMs) > 0 || !rateLimiter.take(nowMs)) break;
      void this.#send(this.#joined(nowMs), nowMs);
    }
    // Not one by one: the list may be long.
    if (this.#first < COMPACT_AT && this.#first < this.#ready.length) return;
    this.#ready.splice(0, this.#first);
    this.#first = 0;
  }

  /** The next delivery, and those after it that go out with the same request. `#first` is at the last of them. */
  #joined(nowMs: number): Item[] {
    const { receiver, circuit } = this.#options;
    // The probe is one delivery.
    const isProbe = circuit.state(nowMs) !== "closed";
    const joined = new JoinedRequest<Item>(isProbe ? undefined : receiver.batch);
    joined.add(this.#ready[this.#first] as Item);
    for (let at = this.#first + 1; at < this.#ready.length; at++) {
      const item = this.#ready[at] as Item;
      if (!item.pending.isOverflowed && item.source.maySend(nowMs) && !joined.add(item)) break;
      this.#first = at;
    }
    return joined.items;
  }

  /**
   * The probe shows whether the receiver is up: so it is not a delivery that has failed often, and may itself be the
   * cause.
   */
  #putFewestFailuresFirst(): void {
    const ready = this.#ready;
    const failures = (at: number): number => (ready[at] as Item).pending.tries.failures;
    let fewest = this.#first;
    for (let at = this.#first; at < ready.length && failures(fewest) > 0; at++) {
      if (failures(at) < failures(fewest)) fewest = at;
    }
    if (fewest === this.#first) return;
    const [item] = ready.splice(fewest, 1) as [Item];
    ready.splice(this.#first, 0, item);
  }

  get #waiting(): number {
    return this.#ready.length - this.#first;
  }

  /** Makes a reservation when one is needed. Returns how long there is nothing to do. */
  async #turn(): Promise<number> {
    const { receiver, clock, circuit, rateLimiter } = this.#options;
    const nowMs = clock.now();
    const pausedMs = circuit.waitMs(nowMs);
    const room = circuit.state(nowMs) === "closed" ? rateLimiter.inFlight - this.#underWay : 1;
    const requests = Math.ceil(this.#waiting / (receiver.batch?.deliveries ?? 1));
    const wanted = pausedMs > 0 ? 0 : Math.max(0, Math.min(requests, room) - rateLimiter.reserved(nowMs));
    const isDue = nowMs >= this.#askAgainMs;
    if (isDue && (wanted > 0 || rateLimiter.hasNews(this.#underWay) || this.#mustPublish(nowMs))) {
      const askAgainMs = await rateLimiter.reserve(wanted, this.#underWay);
      this.#publishedMs = nowMs;
      this.#askAgainMs =
        nowMs +
        Math.max(TURN_MS, wanted > 0 && rateLimiter.reserved(clock.now()) === 0 ? Math.min(askAgainMs, PUBLISH_MS) : 0);
    }
    const thenMs = clock.now();
    const publishMs = this.#underWay > 0 ? Math.max(1, this.#publishedMs + PUBLISH_MS - thenMs) : IDLE_MS;
    const isWanting = this.#waiting > 0 && this.#underWay < rateLimiter.inFlight;
    if (!isWanting && !rateLimiter.hasNews(this.#underWay)) return publishMs;
    if (pausedMs > 0 && !rateLimiter.hasNews(this.#underWay)) return Math.min(pausedMs, publishMs);
    return Math.min(rateLimiter.waitMs(thenMs), Math.max(1, this.#askAgainMs - thenMs), publishMs);
  }

  #mustPublish(nowMs: number): boolean {
    return this.#underWay > 0 && nowMs - this.#publishedMs >= PUBLISH_MS;
  }

  async #send(items: readonly Item[], startedMs: number): Promise<void> {
    const { receiver, circuit, clock } = this.#options;
    const isProbe = circuit.sent();
    this.#underWay++;
    for (const { pending, source } of items) {
      source.onSent();
      pending.isUnderWay = true;
      pending.tries.started(this.#record);
    }
    const results = await deliverJoined(receiver, items);
    this.#underWay--;
    const answers: Answered[] = [];
    for (const [i, { pending, source }] of items.entries()) {
      const result = results[i] as DeliveryOutcome;
      if (result.outcome === "retry" && result.mayHaveArrived) pending.mayHaveArrived = true;
      pending.isUnderWay = false;
      const { delivery } = pending;
      // When its source has ended, the next owner sends it again: the outcome does not count.
      if (!source.signal.aborted)
        answers.push({ pending, source, delivery, result, isOfKind: this.#isFaultOfKind(delivery, result) });
    }
    if (answers.length === 0) circuit.abandoned(isProbe);
    else this.#settle(answers, isProbe, startedMs, clock.now());
    for (const { source } of items) source.onEnded();
    this.#signal.notify();
  }

  #settle(answers: readonly Answered[], isProbe: boolean, startedMs: number, nowMs: number): void {
    const { rateLimiter, circuit } = this.#options;
    const judgement = judgementOf(answers);
    if (judgement.circuit === "unsent") circuit.abandoned(isProbe);
    else if (judgement.circuit === "failed") this.#failed(nowMs, isProbe, answers);
    else this.#answered(nowMs, startedMs, answers);
    if (judgement.isThrottled) rateLimiter.throttled(judgement.retryAfterMs);
    this.#addToRecord(judgement);
    for (const answer of answers) this.#settleOne(answer, nowMs);
  }

  #addToRecord({ taken, silent }: Judgement): void {
    this.#record = { taken: this.#record.taken + taken, failed: this.#record.failed + silent };
  }

  #settleOne({ pending, source, result, isOfKind }: Answered, nowMs: number): void {
    const { clock, random, wall = clock } = this.#options;
    if (result.outcome === "done") {
      source.onDelivered(pending, result.receipt, wall.now());
      return;
    }
    if (result.outcome === "refused") {
      source.onGivenUp(pending, result.reason, briefOf(result));
      return;
    }
    if (result.dependencyFailed) this.#dependencyFailed(nowMs, briefOf(result));
    const throttled = result.throttled ?? false;
    const { tries } = pending;
    const isSilent = isSilence(result);
    if (isSilent) tries.failedRequests++;
    const { taken, failed } = this.#record;
    if (result.dependencyFailed || isUnsent(result) || (isOfKind && !source.isBlocked)) tries.failedUncounted();
    else if (tries.failed({ taken, failed: isSilent ? failed - 1 : failed }, throttled)) {
      const tried = `not accepted after ${tries.failures} tries: `;
      source.onGivenUp(pending, tried + result.reason, tried + briefOf(result));
      return;
    }
    source.onRetry(throttled);
    if (pending.isOverflowed) {
      source.onGivenUp(pending, result.reason, briefOf(result));
      return;
    }
    void clock
      .sleep(pauseMs(tries.failures, result.retryAfterMs, random), source.signal)
      .then(() => (source.signal.aborted || pending.isOverflowed ? undefined : this.offer([pending], source)));
  }

  /**
   * Whether no delivery of its kind has been accepted since another was refused for a fault: then the fault is the
   * kind's, whatever else is accepted meanwhile.
   */
  #isFaultOfKind({ kind }: Delivery, result: DeliveryOutcome): boolean {
    return result.outcome === "retry" && result.fault !== undefined && this.#faults.has(kind);
  }

  /** Another system that a delivery needs has failed. */
  #dependencyFailed(nowMs: number, reason: string): void {
    const { receiver, onTrouble } = this.#options;
    if (this.unmetDependency === undefined)
      onTrouble(`deliveries to ${receiver.name} wait: ${reason}`, { sink: receiver.name });
    this.#dependency = { reason, atMs: nowMs };
  }

  #answered(nowMs: number, startedMs: number, answers: readonly Answered[]): void {
    const { circuit, rateLimiter, receiver, onTrouble } = this.#options;
    const wasClosed = circuit.state(nowMs) === "closed";
    circuit.answered();
    rateLimiter.answered(nowMs - startedMs);
    this.#addFaults(answers);
    this.#faulty.clear();
    for (const { result, delivery } of answers)
      if (result.outcome !== "retry" && !isUnsent(result)) this.#faults.delete(delivery.kind);
    if (!wasClosed) onTrouble(`${receiver.name} takes deliveries again`, { level: "info", sink: receiver.name });
  }

  #failed(nowMs: number, isProbe: boolean, answers: readonly Answered[]): void {
    const { circuit, receiver, onTrouble } = this.#options;
    const isNew = this.#addFaults(answers);
    // One delivery that is refused again and again does not open the circuit: others must not wait for it.
    if (!isProbe && !isNew) return;
    const wasClosed = circuit.state(nowMs) === "closed";
    circuit.failed(nowMs, isProbe);
    if (!wasClosed || circuit.state(nowMs) === "closed") return;
    const [why] = answers.flatMap(({ result }) => (isSilence(result) ? [result.fault ?? briefOf(result)] : []));
    onTrouble(`${receiver.name} takes no deliveries (${why}): they wait until it does`, { sink: receiver.name });
  }

  /** Returns whether one of them failed without a fault, or for the first time since the receiver accepted one. */
  #addFaults(answers: readonly Answered[]): boolean {
    let isNew = false;
    for (const { result, delivery } of answers) {
      if (!isSilence(result)) continue;
      if (result.fault === undefined || !this.#faulty.has(delivery.id)) isNew = true;
      if (result.fault === undefined) continue;
      this.#faults.set(delivery.kind, result.fault);
      if (this.#faulty.size < FAULTY_LIMIT) this.#faulty.add(delivery.id);
    }
    return isNew;
  }
}

/** Why a delivery was not accepted, without a quotation of the receiver. */
const briefOf = ({ reason, brief }: { reason: string; brief?: string }): string => brief ?? reason;
