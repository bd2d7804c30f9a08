/**
 * A circuit breaker for a receiver that is down: after so many failures in a row nothing is sent for a while, then one
 * delivery is sent as a probe, and its answer closes the circuit or opens it for twice as long. Only missing answers
 * and faults count as failures; an answer that refuses or throttles does not. Pure: the time is an argument.
 */
export interface CircuitOptions {
  /** Failures in a row that open it. */
  readonly failures: number;
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
}

export type CircuitState = "closed" | "open" | "half_open";

export class Circuit {
  readonly #options: CircuitOptions;
  #failures = 0;
  #pauseMs = 0;
  /** Undefined while it is closed. */
  #openUntilMs: number | undefined;
  #isProbing = false;

  constructor(options: CircuitOptions) {
    this.#options = options;
  }

  /** `half_open` from the end of the pause until the probe's answer. */
  state(nowMs: number): CircuitState {
    if (this.#openUntilMs === undefined) return "closed";
    return nowMs < this.#openUntilMs ? "open" : "half_open";
  }

  /** How long nothing may be sent: 0 when something may, Infinity while a probe is out. */
  waitMs(nowMs: number): number {
    if (this.#openUntilMs === undefined) return 0;
    if (this.#isProbing) return Number.POSITIVE_INFINITY;
    return Math.max(0, this.#openUntilMs - nowMs);
  }

  /** To be called with each delivery that goes out, when `waitMs` is 0. Returns whether it is the probe. */
  sent(): boolean {
    this.#isProbing = this.#openUntilMs !== undefined;
    return this.#isProbing;
  }

  /** The receiver has answered. An answer to a delivery sent before the circuit opened counts as well. */
  answered(): void {
    this.#failures = 0;
    this.#pauseMs = 0;
    this.#openUntilMs = undefined;
    this.#isProbing = false;
  }

  /** @param isProbe as `sent` returned: other deliveries under way when the circuit opened do not open it for longer */
  failed(nowMs: number, isProbe: boolean): void {
    this.#failures++;
    const { failures, firstPauseMs, longestPauseMs } = this.#options;
    const opens = this.#openUntilMs === undefined ? this.#failures >= failures : isProbe;
    if (!opens) return;
    this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs === 0 ? firstPauseMs : this.#pauseMs * 2);
    this.#openUntilMs = nowMs + this.#pauseMs;
    this.#isProbing = false;
  }

  /** The probe ended without an answer that counts: another one may be sent. */
  abandoned(isProbe: boolean): void {
    if (isProbe) this.#isProbing = false;
  }
}
