/**
 * A process of a simulation. It acts through its connections and its clock until it ends; nothing it started acts after
 * that. It can be frozen for a time, as when a machine pauses.
 */
import type { Scheduler } from "../../engine/kernel/clock.js";
import type { Sleeper, VirtualTime } from "./virtual-time.js";

export class SimulatedProcess implements Scheduler, Sleeper {
  readonly name: string;
  isAlive = true;
  frozenUntilMs = 0;
  /** While frozen, its queued calls are not sent either. */
  isMute = false;
  /** The action of the fault `stop`. */
  onStop: (() => void) | undefined;
  readonly #time: VirtualTime;
  readonly #ends: (() => void)[] = [];

  constructor(name: string, time: VirtualTime) {
    this.name = name;
    this.#time = time;
  }

  now(): number {
    return this.#time.now();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#time.sleep(ms, signal, this);
  }

  get isFrozen(): boolean {
    return this.frozenUntilMs > this.#time.now();
  }

  onEnd(end: () => void): void {
    this.#ends.push(end);
  }

  end(): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.#time.cancelAllOf(this);
    for (const end of this.#ends) end();
  }
}
