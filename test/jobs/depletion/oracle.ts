/**
 * R8 to R10 counted by hand: written from the rules' text, minute by minute, and from nothing else. It keeps every
 * deduction it ever received, has no panes, no timers and no windows that slide, and at each deduction and at the end
 * of each minute sums up from the beginning. Slow on purpose. Days are taken from the platform's calendar, not from
 * the engine's.
 */
export interface OracleSettings {
  factor: number;
  floor: number;
}
export interface OracleAlert {
  type: "fired" | "cleared";
  atMs: number;
  hourUnits: number;
  dailyAverage: number | null;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

export class Oracle {
  readonly alerts: OracleAlert[] = [];
  late = 0;
  #settings: OracleSettings = { factor: 3, floor: 50 };
  readonly #calendar: Intl.DateTimeFormat;
  readonly #dayOfMinute = new Map<number, number>();
  /** Units by the minute they were deducted in; those that came too late for their pane count for the day only. */
  readonly #panes = new Map<number, number>();
  readonly #days = new Map<number, number>();
  #open = false;
  #clockMs = 0;

  constructor(zone: string) {
    this.#calendar = new Intl.DateTimeFormat("en-CA", {
      timeZone: zone,
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
    });
  }

  /** The log's clock moves on: every minute that ends on the way is checked. */
  tick(clockMs: number): void {
    const first = Math.floor(this.#clockMs / MINUTE_MS);
    const last = Math.floor(clockMs / MINUTE_MS);
    // Before the first deduction nothing can be.
    if (this.#days.size > 0)
      for (let minute = first; minute < last; minute++) this.#check(minute, (minute + 1) * MINUTE_MS, true);
    if (clockMs > this.#clockMs) this.#clockMs = clockMs;
  }

  configure(clockMs: number, settings: OracleSettings): void {
    this.tick(clockMs);
    this.#settings = settings;
  }

  deduct(clockMs: number, atMs: number, units: number): void {
    this.tick(clockMs);
    const minute = Math.floor(atMs / MINUTE_MS);
    const now = Math.floor(clockMs / MINUTE_MS);
    this.#days.set(this.#day(minute), (this.#days.get(this.#day(minute)) ?? 0) + units);
    if (minute >= now - 59) this.#panes.set(minute, (this.#panes.get(minute) ?? 0) + units);
    else this.late++;
    this.#check(now, clockMs, false);
  }

  #check(minute: number, atMs: number, isMinuteEnd: boolean): void {
    let hour = 0;
    for (let m = minute - 59; m <= minute; m++) hour += this.#panes.get(m) ?? 0;
    const average = this.#average(this.#day(minute));
    const { factor, floor } = this.#settings;
    // Exact where floating point is not: averages are sums over a number of days, factors are tenths.
    const above = (share: number) =>
      average !== null &&
      BigInt(hour) * BigInt(average.days) * 1_000n > BigInt(Math.round(factor * share * 1_000)) * BigInt(average.sum);
    const dailyAverage = average && average.sum / average.days;
    const fires = average === null ? hour >= 100 : above(1) && hour >= floor;
    const stays = average === null ? hour >= 80 : above(0.8) && hour * 10 >= floor * 8;
    if (!this.#open && fires) {
      this.#open = true;
      this.alerts.push({ type: "fired", atMs, hourUnits: hour, dailyAverage });
    } else if (this.#open && isMinuteEnd && !stays) {
      this.#open = false;
      this.alerts.push({ type: "cleared", atMs, hourUnits: hour, dailyAverage });
    }
  }

  /** Units of the last 7 complete days over 7, or over the days since the first deduction when they are fewer. */
  #average(today: number): { sum: number; days: number } | null {
    const first = Math.min(...this.#days.keys());
    const days = Math.min(7, today - first);
    if (days < 1) return null;
    let sum = 0;
    for (let day = today - days; day < today; day++) sum += this.#days.get(day) ?? 0;
    return { sum, days };
  }

  /** The shop's day that a minute begins in. */
  #day(minute: number): number {
    let day = this.#dayOfMinute.get(minute);
    if (day === undefined) {
      day = Date.parse(this.#calendar.format(minute * MINUTE_MS)) / DAY_MS;
      this.#dayOfMinute.set(minute, day);
    }
    return day;
  }
}
