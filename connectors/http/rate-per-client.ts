/**
 * A limit of requests in a minute for each client, such as a person. It belongs to one process, so a deployment takes
 * as many times more as it has serving processes: it stops faults of a page, not an attack.
 */
import { MINUTE_MS, monotonicClock } from "../../engine/kernel/clock.js";

export class RatePerClient {
  readonly #perMinute: number;
  #counts = new Map<string, number>();
  #minute = 0;

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  /** Counts a request. Returns false when there are too many. */
  take(client: string): boolean {
    const minute = Math.floor(monotonicClock.now() / MINUTE_MS);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#counts = new Map();
    }
    const count = (this.#counts.get(client) ?? 0) + 1;
    this.#counts.set(client, count);
    return count <= this.#perMinute;
  }
}
