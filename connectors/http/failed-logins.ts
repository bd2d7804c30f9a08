/**
 * Logins that failed: counted, told with their address, and slowed. Each failure of an address makes its next one
 * wait longer, up to some seconds; a right token never waits. How many wait at once is bounded, of one address and in
 * all, and further ones are refused at once; so is how many addresses are remembered. Against secrets of 128 bits and
 * more it would not be needed; it makes a guessing client visible and cheap.
 */
import { type Clock, systemClock } from "../../engine/kernel/clock.js";
import type { OnTrouble } from "../../engine/kernel/logger.js";

/** So much longer with each failure, up to the longest. */
const STEP_MS = 50;
const LONGEST_MS = 5_000;
/** Without a failure for so long an address begins anew. */
const FORGET_MS = 600_000;
const ADDRESSES_KEPT = 10_000;
const WAITING_AT_ONCE = 100;
const WAITING_PER_ADDRESS = 4;

/** In so long a time so many addresses have a line each, and all others one together. */
const REPORT_MS = 10_000;
const REPORTED_ADDRESSES = 10;

interface Failures {
  times: number;
  waiting: number;
  lastMs: number;
}

export class FailedLogins {
  readonly #clock: Clock;
  readonly #tell: (address: string, what: string) => void;
  readonly #addresses = new Map<string, Failures>();
  #waiting = 0;

  /** @param tell told of every failure; it is the teller's to say it less often */
  constructor(tell: (address: string, what: string) => void, clock: Clock = systemClock) {
    this.#tell = tell;
    this.#clock = clock;
  }

  /** Addresses that are remembered. */
  get addresses(): number {
    return this.#addresses.size;
  }

  /**
   * Notes a failure. Returns how long its answer has to wait, in ms; undefined: it must not wait, because too many
   * do, and is refused. Whoever waits calls `waited` afterwards.
   */
  failed(address: string, what: string): number | undefined {
    const nowMs = this.#clock.now();
    let known = this.#addresses.get(address);
    if (!known || (known.waiting === 0 && nowMs - known.lastMs > FORGET_MS))
      known = { times: 0, waiting: 0, lastMs: nowMs };
    known.times++;
    known.lastMs = nowMs;
    // The address that has failed longest ago stands first.
    this.#addresses.delete(address);
    this.#addresses.set(address, known);
    if (this.#addresses.size > ADDRESSES_KEPT) this.#addresses.delete(this.#addresses.keys().next().value as string);
    this.#tell(address, what);
    if (this.#waiting >= WAITING_AT_ONCE || known.waiting >= WAITING_PER_ADDRESS) return undefined;
    known.waiting++;
    this.#waiting++;
    return Math.min(LONGEST_MS, STEP_MS * known.times);
  }

  waited(address: string): void {
    this.#waiting--;
    const known = this.#addresses.get(address);
    if (known && known.waiting > 0) known.waiting--;
  }
}

/** Tells the operator where logins fail from: an address at once, and however many they are, a few lines in all. */
export class LoginReport {
  readonly #tell: OnTrouble;
  readonly #told = new Set<string>();
  readonly #others = new Set<string>();

  constructor(tell: OnTrouble) {
    this.#tell = tell;
  }

  note(address: string, what: string): void {
    if (this.#told.has(address)) return;
    if (this.#told.size === 0) setTimeout(() => this.#sumUp(), REPORT_MS).unref();
    if (this.#told.size < REPORTED_ADDRESSES) {
      this.#told.add(address);
      this.#tell(`a login with a wrong ${what} failed`, { client: address });
    } else if (this.#others.size < ADDRESSES_KEPT) this.#others.add(address);
  }

  #sumUp(): void {
    const more = this.#others.size;
    this.#told.clear();
    this.#others.clear();
    if (more === 0) return;
    const many = more < ADDRESSES_KEPT ? "" : " or more";
    this.#tell(`logins failed from ${more}${many} other address${more === 1 ? "" : "es"}, too`);
  }
}
