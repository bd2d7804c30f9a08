/**
 * Failed logins: counted, reported with their address, and delayed. Each failure of an address makes the delay of the
 * next one longer, up to some seconds; a right token is never delayed. The number of delayed answers is limited, for
 * one address and in all, and further ones are refused without delay. The number of remembered addresses is limited
 * too. Secrets of 128 bits do not need this protection; it makes a guessing client visible and cheap.
 */
import { type Clock, systemClock } from "../../engine/kernel/clock.js";
import type { OnTrouble } from "../../engine/kernel/logger.js";

/** The delay grows by this much with each failure, up to the maximum. */
const DELAY_STEP_MS = 50;
const MAX_DELAY_MS = 5_000;
/** After this time without a failure the count of an address starts again from 0. */
const RESET_AFTER_MS = 600_000;
const MAX_ADDRESSES = 10_000;
const MAX_DELAYED = 100;
const MAX_DELAYED_PER_ADDRESS = 4;

/** In each interval this many addresses are reported by name, all others in one message. */
const REPORT_INTERVAL_MS = 10_000;
const REPORTED_ADDRESSES = 10;

interface Failures {
  count: number;
  delayed: number;
  lastMs: number;
}

export class FailedLogins {
  readonly #clock: Clock;
  readonly #report: (address: string, what: string) => void;
  readonly #addresses = new Map<string, Failures>();
  #delayed = 0;

  /** @param report called for every failure */
  constructor(report: (address: string, what: string) => void, clock: Clock = systemClock) {
    this.#report = report;
    this.#clock = clock;
  }

  /** The number of remembered addresses. */
  get addresses(): number {
    return this.#addresses.size;
  }

  /**
   * Records a failure. Returns how long its answer must be delayed, in ms, after which the caller calls `endDelay`;
   * undefined when too many answers are delayed already and this one must be refused at once.
   */
  record(address: string, what: string): number | undefined {
    const nowMs = this.#clock.now();
    let known = this.#addresses.get(address);
    if (!known || (known.delayed === 0 && nowMs - known.lastMs > RESET_AFTER_MS))
      known = { count: 0, delayed: 0, lastMs: nowMs };
    known.count++;
    known.lastMs = nowMs;
    // The address whose last failure is the oldest stays first.
    this.#addresses.delete(address);
    this.#addresses.set(address, known);
    if (this.#addresses.size > MAX_ADDRESSES) this.#addresses.delete(this.#addresses.keys().next().value as string);
    this.#report(address, what);
    if (this.#delayed >= MAX_DELAYED || known.delayed >= MAX_DELAYED_PER_ADDRESS) return undefined;
    known.delayed++;
    this.#delayed++;
    return Math.min(MAX_DELAY_MS, DELAY_STEP_MS * known.count);
  }

  endDelay(address: string): void {
    this.#delayed--;
    const known = this.#addresses.get(address);
    if (known && known.delayed > 0) known.delayed--;
  }
}

/** Reports to the operator from which addresses logins fail, in a few messages however many there are. */
export class LoginReport {
  readonly #onTrouble: OnTrouble;
  readonly #reported = new Set<string>();
  readonly #others = new Set<string>();

  constructor(onTrouble: OnTrouble) {
    this.#onTrouble = onTrouble;
  }

  add(address: string, what: string): void {
    if (this.#reported.has(address)) return;
    if (this.#reported.size === 0) setTimeout(() => this.#reportOthers(), REPORT_INTERVAL_MS).unref();
    if (this.#reported.size < REPORTED_ADDRESSES) {
      this.#reported.add(address);
      this.#onTrouble(`a login with a wrong ${what} failed`, { client: address });
    } else if (this.#others.size < MAX_ADDRESSES) this.#others.add(address);
  }

  #reportOthers(): void {
    const more = this.#others.size;
    this.#reported.clear();
    this.#others.clear();
    if (more === 0) return;
    const many = more < MAX_ADDRESSES ? "" : " or more";
    this.#onTrouble(`logins also failed from ${more}${many} other address${more === 1 ? "" : "es"}`);
  }
}
