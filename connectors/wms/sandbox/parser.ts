/**
 * The warehouse system's parser and the gate before it, without a network: the incident's machine. Fields of the
 * contract are indexed and cost next to nothing; free text is read character by character, by a few parsers, each
 * order after the other. What waits is bounded. An order whose caller has given up is parsed all the same and then
 * rolled back. When more wants to wait than may, the gate takes the system out of service until what waits is worked
 * off, and afterwards lets only a few orders in at a time until nobody has been turned away for a while: a slow
 * start, which under pressure never ends.
 *
 *   562 characters take 3.2 s; 4 parsers do 1.25 such orders a second.
 *   Out of service: 1,275 waiting × 3.2 s ÷ 4 = 17 min. After it: 6 under way ÷ 1.25/s = 4.8 s each (Little's law).
 *
 * Nothing here knows the incident's times; they come out.
 */
export interface ParserSettings {
  parsers: number;
  msPerCharacter: number;
  /** What an order costs beside its free text; spent in parallel. */
  baseMs: number;
  /** Orders that may wait for a parser. */
  queueLimit: number;
  /** Orders under way at a time during a slow start. */
  slowStart: number;
  /** A slow start is over when nobody was turned away for so long. */
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

/** The time that the parser works by. */
export interface ParserTime {
  nowMs(): number;
  /** Calls back at `ms`, or at once when that is over. */
  at(ms: number, call: () => void): unknown;
}

/** Longest text that a field of the contract may have: longer ones are in no index. */
const INDEXED_CHARACTERS = 80;

/** Characters of free text in a payload: of every string that is longer than any indexed field. */
export function freeTextOf(payload: unknown): number {
  if (typeof payload === "string") return payload.length > INDEXED_CHARACTERS ? payload.length : 0;
  if (typeof payload !== "object" || payload === null) return 0;
  return Object.values(payload).reduce((sum: number, value) => sum + freeTextOf(value), 0);
}

/** One order on its way through the parser. */
export interface Parsing {
  /** Characters of free text. */
  freeText: number;
  /** Called once, when the order has been parsed. */
  parsed(): void;
  /**
   * Called instead of nothing when the system is taken out of service: whoever waits for an answer gets none from
   * here.
   */
  cutOff(): void;
}

export class Parser {
  readonly #settings: ParserSettings;
  readonly #time: ParserTime;
  /** Has a head that moves, so that taking the first costs the same however many wait. */
  #waiting: Parsing[] = [];
  #head = 0;
  #parsing = 0;
  readonly #underWay = new Set<Parsing>();
  #gate: "open" | "out" | "slow start" = "open";
  #turnedAwayMs = 0;
  /** Raised by a reset: work begun before it ends unnoticed. */
  #life = 0;

  constructor(settings: ParserSettings, time: ParserTime) {
    this.#settings = settings;
    this.#time = time;
  }

  get gate(): "open" | "out" | "slow start" {
    return this.#gate;
  }

  /** Orders that wait for a parser. */
  get waiting(): number {
    return this.#waiting.length - this.#head;
  }

  /** Takes an order in, or turns it away: false. */
  offer(order: Parsing): boolean {
    if (!this.#isLetIn(order)) {
      this.#turnedAwayMs = this.#time.nowMs();
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

  /** Forgets everything that is under way, as a machine that dies, and starts anew. */
  reset(): void {
    this.#life++;
    this.#waiting = [];
    this.#head = 0;
    this.#parsing = 0;
    this.#underWay.clear();
    this.#gate = "open";
  }

  #isLetIn({ freeText }: Parsing): boolean {
    const { queueLimit, slowStart, calmMs } = this.#settings;
    if (this.#gate === "slow start" && this.#time.nowMs() - this.#turnedAwayMs > calmMs) this.#gate = "open";
    if (this.#gate === "out") return false;
    if (this.#gate === "slow start") return this.#underWay.size < slowStart;
    if (freeText === 0 || this.waiting < queueLimit) return true;
    this.#gate = "out";
    for (const order of this.#underWay) order.cutOff();
    return false;
  }

  /**
   * Gives free parsers work. They begin at `fromMs`, when they should have been free: timers that come late do not
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
    if (this.#gate === "out" && this.#underWay.size === 0) {
      this.#gate = "slow start";
      this.#turnedAwayMs = this.#time.nowMs();
    }
  }

  #at(ms: number, call: () => void): void {
    const life = this.#life;
    this.#time.at(ms, () => {
      if (life === this.#life) call();
    });
  }
}
