/**
 * The buyers of the hour, and what they do when the shop is slow: without an answer within half a second a buyer
 * sends the same request with the same id again, and again; after a 429 or 503 he does so after the time named in the
 * answer; a broken connection is opened again; after ten minutes a buyer gives up. Requests are sent by schedule and
 * do not wait for another's answer. Times are measured from when a request was due, so a slow shop or a slow generator
 * cannot hide a wait.
 */

import { SlidingSecond } from "../../connectors/wms/sandbox/sliding-second.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import type { Answer, Edge, Lane } from "./edge.js";
import type { HourOrder } from "./orders.js";
import type { ShopHour } from "./shop-hour.js";

/**
 * A request, and how long its buyer waits before it: from 00:00 before the first, from the answer to the one before;
 * in shop milliseconds.
 */
export interface Step {
  waitMs: number;
  request: Buffer;
}

/** The requests of one order; the last pays. */
export type NextSteps = (order: HourOrder) => Step[];

/** `done`: every request was answered well; `refused`: one was refused for good. */
export type BuyerEnd = "under way" | "done" | "refused" | "gave up";

export interface BuyerRecord {
  id: string;
  placedMs: number;
  /** When the request that pays was due, in the shop's time; null when it never was. */
  paidDueMs: number | null;
  /** How long the first request waited for a good answer, from when it was due, in real milliseconds. */
  answeredInRealMs: number | null;
  end: BuyerEnd;
}

export interface BuyersReport {
  buyers: BuyerRecord[];
  requests: number;
  /** The most requests in any sliding second of real time. */
  requestsPerSecondMost: number;
  /** Answers by status; 0: broken connections. */
  answers: Record<string, number>;
  requestsBySecond: number[];
  /** How late the generator itself sent what was due, at most and at the 99th percentile, in real milliseconds. */
  lateMsMost: number;
  lateMsP99: number;
}

/** Three quick repeats, then people slow down. Real milliseconds: a hurried hour does not hurry fingers. */
const RESENDS_REAL_MS = [500, 500, 500, 1_000, 2_000, 4_000, 8_000];
/** After a broken connection. */
const BROKEN_REAL_MS = 500;
const PATIENCE_MS = 600_000;
/** A real engine's "retry in a second" means real seconds, also in an hour that is replayed faster. */
const PATIENCE_REAL_MS_LEAST = 120_000;
const SECOND_TAP_MS = 20;
/** A retry comes up to half that time later still, so that not all come at once. */
const RETURN_SPREAD = 0.5;
const RETURN_MS = 1_000;

export class Buyers {
  readonly hour: ShopHour;
  readonly edge: Edge;
  readonly random: Random = seededRandom(1);
  readonly #buyers: Buyer[];
  readonly #sent = new SlidingSecond();
  readonly #answers = new Map<number, number>();
  readonly #requestsBySecond: number[] = [];
  readonly #lateMs: number[] = [];
  #requests = 0;
  #underWay: number;
  #over: () => void = () => {};
  /** Resolves when every buyer has come to an end. */
  readonly over: Promise<void>;

  constructor(hour: ShopHour, edge: Edge, orders: readonly HourOrder[], nextSteps: NextSteps) {
    this.hour = hour;
    this.edge = edge;
    this.#underWay = orders.length;
    this.over = new Promise((resolve) => {
      this.#over = resolve;
    });
    this.#buyers = orders.map((order) => new Buyer(this, order, nextSteps(order)));
  }

  /** Sets every buyer's alarm clock. */
  start(): void {
    for (const buyer of this.#buyers) buyer.start();
  }

  report(): BuyersReport {
    const late = this.#lateMs.toSorted((a, b) => a - b);
    return {
      buyers: this.#buyers.map((buyer) => buyer.record),
      requests: this.#requests,
      requestsPerSecondMost: this.#sent.most,
      answers: Object.fromEntries(this.#answers),
      requestsBySecond: Array.from(this.#requestsBySecond, (n) => n ?? 0),
      lateMsMost: Math.round(late.at(-1) ?? 0),
      lateMsP99: Math.round(late[Math.floor(late.length * 0.99)] ?? 0),
    };
  }

  noteSent(): void {
    this.#requests++;
    this.#sent.add(performance.now());
    const second = Math.max(0, Math.floor(this.hour.nowMs() / 1_000));
    this.#requestsBySecond[second] = (this.#requestsBySecond[second] ?? 0) + 1;
  }

  noteLate(ms: number): void {
    this.#lateMs.push(ms);
  }

  noteAnswer(status: number): void {
    this.#answers.set(status, (this.#answers.get(status) ?? 0) + 1);
  }

  noteEnd(): void {
    this.#underWay--;
    if (this.#underWay === 0) this.#over();
  }
}

class Buyer {
  readonly record: BuyerRecord;
  readonly #all: Buyers;
  readonly #tapsTwice: boolean;
  #steps: Step[];
  /** Raised with every step: answers to an earlier one are of no interest any more. */
  #step = 0;
  /** A real instant. */
  #patientUntilMs = 0;
  #lane: Lane | undefined;
  #unanswered = 0;
  #repeats = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(all: Buyers, { id, placedMs, tapsTwice }: HourOrder, steps: Step[]) {
    this.#all = all;
    this.#tapsTwice = tapsTwice;
    this.#steps = steps;
    this.record = { id, placedMs, paidDueMs: null, answeredInRealMs: null, end: "under way" };
  }

  start(): void {
    this.#await(0);
  }

  /** Waits until the next step is due, counted from `sinceMs`. */
  #await(sinceMs: number): void {
    const next = this.#steps[0];
    if (next === undefined) {
      this.#end("done");
      return;
    }
    const dueMs = sinceMs + next.waitMs;
    if (this.#steps.length === 1) this.record.paidDueMs = dueMs;
    this.#all.hour.at(dueMs, () => this.#begin(next.request, dueMs));
  }

  #begin(request: Buffer, dueMs: number): void {
    const { hour } = this.#all;
    this.#step++;
    this.#repeats = 0;
    this.#patientUntilMs = Date.now() + Math.max(PATIENCE_REAL_MS_LEAST, hour.realDelayMs(PATIENCE_MS));
    this.#all.noteLate(Date.now() - hour.realOf(dueMs));
    this.#send(request);
    if (this.#tapsTwice) {
      const step = this.#step;
      setTimeout(() => step === this.#step && this.#send(request), SECOND_TAP_MS);
    }
  }

  #send(request: Buffer): void {
    const { edge } = this.#all;
    if (Date.now() > this.#patientUntilMs) {
      this.#end("gave up");
      return;
    }
    if (this.#lane === undefined || this.#lane.isBroken) {
      this.#lane = edge.take();
      this.#unanswered = 0;
    }
    const [step, lane] = [this.#step, this.#lane];
    this.#unanswered++;
    this.#all.noteSent();
    this.#again(request, this.#pauseMs());
    lane.send(request, (answer) => {
      this.#all.noteAnswer(answer.status);
      if (lane === this.#lane && --this.#unanswered === 0) this.#lane = undefined;
      if (step === this.#step) this.#read(answer, request);
    });
  }

  #read({ status, retryAfterMs }: Answer, request: Buffer): void {
    if (status >= 200 && status < 300) {
      this.#settle();
      this.#steps.shift();
      const { hour } = this.#all;
      this.record.answeredInRealMs ??= Date.now() - hour.realOf(this.record.placedMs);
      this.#await(hour.nowMs());
    } else if (status === 429 || status === 503) {
      const spread = 1 + this.#all.random.next() * RETURN_SPREAD;
      this.#again(request, (retryAfterMs ?? this.#all.hour.realDelayMs(RETURN_MS)) * spread);
    } else if (status === 0) this.#again(request, BROKEN_REAL_MS);
    else if (status >= 400 && status < 500 && status !== 408) this.#end("refused");
  }

  /** How long this buyer waits for an answer before sending again, in real milliseconds. */
  #pauseMs(): number {
    const pauseMs = RESENDS_REAL_MS[Math.min(this.#repeats, RESENDS_REAL_MS.length - 1)] as number;
    this.#repeats++;
    return pauseMs;
  }

  /** Sends once more after so long, unless it is answered before. */
  #again(request: Buffer, realMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(request), realMs);
  }

  #end(end: BuyerEnd): void {
    this.#settle();
    this.#steps = [];
    this.record.end = end;
    this.#all.noteEnd();
  }

  #settle(): void {
    clearTimeout(this.#timer);
    this.#step++;
  }
}
