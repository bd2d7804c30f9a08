/**
 * The clock of the demo's shop: set by hand during the history, then running. Its speed changes with the time of the
 * first day, so that a visitor sees the rush of midnight and the comparison of 18:00 within some minutes: the hours
 * between pass faster, the minutes around 18:00 slower. The screens show the speed. The clock never goes back.
 */
import type { Phase } from "../../connectors/demo-shop/index.js";
import { acceleratedClock, type Clock, HOUR_MS, MINUTE_MS, monotonicClock } from "../kernel/clock.js";
import type { ShopTime } from "./engine-settings.js";

/** Between the rush and the comparison the clock runs so many times faster, and at most this fast. */
const FORWARD_FACTOR = 10;
const FASTEST = 600;
/** Around the comparison, so that the breaker's 10 minutes are half a minute at 60 times. */
const SLOW_FACTOR = 1 / 3;

/** From when on, after midnight of the first day, and how fast. In order. */
interface Pace {
  readonly fromMs: number;
  readonly scene?: string;
  speed(normal: number): number;
}

const PACES: readonly Pace[] = [
  { fromMs: 0, speed: (normal) => normal },
  {
    fromMs: HOUR_MS + 15 * MINUTE_MS,
    scene: "forward",
    speed: (normal) => Math.max(normal, Math.min(FASTEST, normal * FORWARD_FACTOR)),
  },
  { fromMs: 17 * HOUR_MS + 55 * MINUTE_MS, scene: "drift", speed: (normal) => Math.max(1, normal * SLOW_FACTOR) },
  { fromMs: 19 * HOUR_MS, speed: (normal) => normal },
];

export class DemoTime implements ShopTime {
  /** Of the newest action. */
  phase: Phase = "history";
  #nowMs: number;
  #running: Clock | undefined;
  #midnightMs = 0;
  #pace = PACES[0] as Pace;
  readonly #normal: number;
  readonly #real: Clock;
  readonly clock: Clock = { now: () => this.#running?.now() ?? this.#nowMs };

  /** @param normal the clock's speed in the demo's rush, and after the comparison */
  constructor(startMs: number, normal: number, real: Clock = monotonicClock) {
    this.#nowMs = startMs;
    this.#normal = normal;
    this.#real = real;
  }

  /** Sets the time, before it runs. */
  moveTo(ms: number): void {
    this.#nowMs = ms;
  }

  /** Lets it run, from midnight of the first day. */
  run(midnightMs: number): void {
    this.#midnightMs = midnightMs;
    this.#running = acceleratedClock(midnightMs, this.speed(), this.#real);
  }

  /** Changes the speed when it is time to; called often. */
  keepPace(): void {
    if (this.#running === undefined) return;
    const nowMs = this.#running.now();
    const pace = PACES.findLast(({ fromMs }) => nowMs - this.#midnightMs >= fromMs) ?? this.#pace;
    if (pace === this.#pace) return;
    this.#pace = pace;
    this.#running = acceleratedClock(nowMs, this.speed(), this.#real);
  }

  speed(): number {
    return this.#midnightMs === 0 ? 1 : this.#pace.speed(this.#normal);
  }

  scene(): string {
    return this.#pace.scene ?? this.phase;
  }
}
