/**
 * The incident's machine in virtual time: what an order costs, which orders are refused, and that the incident's
 * figures result from it.
 */
import { describe, expect, it } from "vitest";
import {
  freeTextOf,
  INCIDENT,
  Parser,
  type ParserSettings,
  type ParserTime,
} from "../../../../connectors/wms/sandbox/parser.js";

const CHARACTERS = 562;

/** Time that advances only in `runTo`, from one call to the next. */
class VirtualTime implements ParserTime {
  #nowMs = 0;
  readonly #calls: { ms: number; call: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  at(ms: number, call: () => void): void {
    const place = this.#calls.findIndex((each) => each.ms > ms);
    this.#calls.splice(place < 0 ? this.#calls.length : place, 0, { ms, call });
  }

  runTo(ms: number): void {
    for (let next = this.#calls[0]; next !== undefined && next.ms <= ms; next = this.#calls[0]) {
      this.#calls.shift();
      this.#nowMs = Math.max(this.#nowMs, next.ms);
      next.call();
    }
    this.#nowMs = ms;
  }
}

function bed(settings: Partial<ParserSettings> = {}) {
  const time = new VirtualTime();
  const parser = new Parser({ ...INCIDENT, ...settings }, time);
  const parsedAtMs: number[] = [];
  let cutOff = 0;
  const offer = (freeText = CHARACTERS): boolean =>
    parser.offer({
      freeText,
      parsed: () => void parsedAtMs.push(Math.round(time.nowMs())),
      cutOff: () => void cutOff++,
    });
  return { time, parser, offer, parsedAtMs, cutOff: () => cutOff };
}

describe("free text", () => {
  it("is every string that is longer than an indexed field, and nothing else", () => {
    const address = "浙".repeat(CHARACTERS);
    expect(freeTextOf({ order_no: "WB1", lines: [{ sku: "A", qty: 2 }], address: { city: "330100" } })).toBe(0);
    expect(freeTextOf({ note: "x".repeat(80) })).toBe(0);
    expect(freeTextOf({ note: "x".repeat(81), buyer: [{ buyer_full_address_detail: address }] })).toBe(81 + CHARACTERS);
    expect(freeTextOf(null)).toBe(0);
  });
});

describe("a parser", () => {
  it("needs 3.2 s for 562 characters, four orders at a time, in the order they came", () => {
    const { time, offer, parsedAtMs } = bed();
    for (let i = 0; i < 6; i++) expect(offer()).toBe(true);
    time.runTo(10_000);
    expect(parsedAtMs).toEqual([3_202, 3_202, 3_202, 3_202, 6_404, 6_404]);
  });

  it("needs next to nothing for indexed fields, however many orders come", () => {
    const { time, offer, parsedAtMs } = bed();
    for (let i = 0; i < 5_000; i++) expect(offer(0)).toBe(true);
    time.runTo(2);
    expect(parsedAtMs).toHaveLength(5_000);
  });

  it("is taken out of service when too many wait, parses those although no caller waits, and then starts slowly", () => {
    const { time, parser, offer, parsedAtMs, cutOff } = bed();
    const most = INCIDENT.parsers + INCIDENT.queueLimit;
    for (let i = 0; i < most; i++) expect(offer()).toBe(true);
    expect(offer()).toBe(false);
    expect(parser.admission).toBe("out of service");
    expect(cutOff()).toBe(most);
    time.runTo(1_020_000);
    expect(offer(0)).toBe(false);
    // 1,279 orders, 4 at a time: 320 rounds of 3.202 s are 17 min 5 s.
    time.runTo(1_025_000);
    expect(parsedAtMs).toHaveLength(most);
    expect(parser.admission).toBe("slow start");
    for (let i = 0; i < INCIDENT.slowStart; i++) expect(offer()).toBe(true);
    expect(offer()).toBe(false);
  });

  it("parses 1.25 orders a second under load, 4.8 s each, and opens again afterwards", () => {
    const { time, parser, offer, parsedAtMs } = bed({ queueLimit: 1 });
    for (let i = 0; i < 6; i++) offer();
    time.runTo(10_000);
    expect(parser.admission).toBe("slow start");
    const before = parsedAtMs.length;
    for (let ms = 10_000; ms < 110_000; ms += 100) {
      offer();
      time.runTo(ms);
    }
    expect((parsedAtMs.length - before) / 100).toBeCloseTo(1.25, 1);
    time.runTo(200_000);
    expect(offer()).toBe(true);
    expect(parser.admission).toBe("open");
  });

  it("drops the orders under way when it is reset", () => {
    const { time, parser, offer, parsedAtMs } = bed();
    for (let i = 0; i < 10; i++) offer();
    parser.reset();
    offer();
    time.runTo(100_000);
    expect(parsedAtMs).toEqual([3_202]);
  });
});
