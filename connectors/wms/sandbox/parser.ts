/**
 * The warehouse system's parsers and their admission control, without a network, as they behaved in the incident.
 * Fields of the contract are indexed and cost almost nothing. Free text is read character by character, by a few
 * parsers, one order after the other. The queue is bounded. An order whose caller has given up is parsed all the same
 * and then rolled back. When the queue is full, the system goes out of service until the queue is empty. After that
 * it accepts only a few orders at a time until none was refused for a while: a slow start, which never ends under
 * load.
 *
 *   562 characters take 3.2 s; 4 parsers do 1.25 such orders a second.
 *   Out of service: 1,275 waiting × 3.2 s ÷ 4 = 17 min. After it: 6 under way ÷ 1.25/s = 4.8 s each (Little's law).
 *
 * These times are results: no constant here contains them.
 */
export interface ParserSettings {
  parsers: number;
  msPerCharacter: number;
  /** Time for an order without free text; spent in parallel. */
  baseMs: number;
  /** Orders that may wait for a parser. */
  queueLimit: number;
  /** Orders under way at a time during a slow start. */
  slowStart: number;
  /** A slow start ends when no order was refused for this long. */
  calmMs: number;
}

/** As on 18 June. */
export const INCIDENT: ParserSettings = {
  parsers: 4,
  msPerCharacter: 3_200 / 562,
  baseMs: 2,
  queueLimit: 1_275,
  slowStart: 6,
  calmMs: 30_000,
};

/** The clock of the parser. */
export interface ParserTime {
  nowMs(): number;
  /** Calls back at `ms`, or at once when that has passed. */
  at(ms: number, call: () => void): unknown;
}

/** The longest text that a field of the contract may have: longer ones are not indexed. */
const INDEXED_CHARACTERS = 80;

/** Characters of free text in a payload: of every string that is longer than any indexed field. */
export function freeTextOf(payload: unknown): number {
  if (typeof payload === "string") return payload.length > INDEXED_CHARACTERS ? payload.length : 0;
  if (typeof payload !== "object" || payload === null) return 0;
  return Object.values(payload).reduce((sum: number, value) => sum + freeTextOf(value), 0);
}

/** One order in the parser. */
export interface Parsing {
  /** Characters of free text. */
  freeText: number;
  /** Called once, when the order has been parsed. */
  parsed(): void;
  /** Called when the system goes out of service: the order's callers get no answer from the parser. */
  cutOff(): void;
}

export type Admission = "open" | "out of service" | "slow start";

export class Parser {
  readonly #settings: ParserSettings;
  readonly #time: ParserTime;
  /** A queue with a moving head, so that taking the first order costs the same at every length. */
  #waiting: Parsing[] = [];
  #head = 0;
  #parsing = 0;
  readonly #underWay = new Set<Parsing>();
  #admission: Admission = "open";
  #refusedMs = 0;
  /** Increased by a reset: work of an earlier run is ignored. */
  #run = 0;

  constructor(settings: ParserSettings, time: ParserTime) {
    this.#settings = settings;
    this.#time = time;
  }

  get admission(): Admission {
    return this.#admission;
  }

  /** Orders that wait for a parser. */
  get waiting(): number {
    return this.#waiting.length - this.#head;
  }

  /** Accepts an order, or refuses it: false. */
  offer(order: Parsing): boolean {
    if (!this.#isAdmitted(order)) {
      this.#refusedMs = this.#time.nowMs();
      return false;
    }
    this.#underWay.add(order);
    if (order.freeText === 0) this.#at(this.#time.nowMs() + this.#settings.baseMs, () => this.#end(order));
    else {
      this.#waiting.push(order);
      this.#next(this.#time.nowMs());
    }
    return true;
  }

  /** Drops everything that is under way, as a machine that is restarted. */
  reset(): void {
    this.#run++;
    this.#waiting = [];
    this.#head = 0;
    this.#parsing = 0;
    this.#underWay.clear();
    this.#admission = "open";
  }

  #isAdmitted({ freeText }: Parsing): boolean {
    const { queueLimit, slowStart, calmMs } = this.#settings;
    if (this.#admission === "slow start" && this.#time.nowMs() - this.#refusedMs > calmMs) this.#admission = "open";
    if (this.#admission === "out of service") return false;
    if (this.#admission === "slow start") return this.#underWay.size < slowStart;
    if (freeText === 0 || this.waiting < queueLimit) return true;
    this.#admission = "out of service";
    for (const order of this.#underWay) order.cutOff();
    return false;
  }

  /**
   * Gives work to free parsers. They begin at `fromMs`, when they should have been free, so that late timers do not
   * add up.
   */
  #next(fromMs: number): void {
    while (this.#parsing < this.#settings.parsers && this.waiting > 0) {
      const order = this.#waiting[this.#head++] as Parsing;
      if (this.#head > this.#settings.queueLimit) {
        this.#waiting = this.#waiting.slice(this.#head);
        this.#head = 0;
      }
      this.#parsing++;
      const endMs = fromMs + this.#settings.baseMs + order.freeText * this.#settings.msPerCharacter;
      this.#at(endMs, () => {
        this.#parsing--;
        this.#end(order);
        this.#next(endMs);
      });
    }
  }

  #end(order: Parsing): void {
    this.#underWay.delete(order);
    order.parsed();
    if (this.#admission === "out of service" && this.#underWay.size === 0) {
      this.#admission = "slow start";
      this.#refusedMs = this.#time.nowMs();
    }
  }

  #at(ms: number, call: () => void): void {
    const run = this.#run;
    this.#time.at(ms, () => {
      if (run === this.#run) call();
    });
  }
}
