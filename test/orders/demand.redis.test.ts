/**
 * What counts as demand (R9): orders go through a real order service and ledger, the depletion job reads the log, and
 * an oracle counts the orders that were accepted as a whole and nothing else. The two are compared after every step, so
 * a refused order never causes an alert, not even a short one. Processes stop between commands, holds end, payments
 * come late.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { type AlertChange, type DepletionState, depletionJob } from "../../engine/jobs/depletion/job.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import type { Order, OrderLine, OrderReply } from "../../engine/orders/model.js";
import { lineId } from "../../engine/orders/model.js";
import { OrderService } from "../../engine/orders/order-service.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import { isAccepted, type StockEvent } from "../../engine/stock/model.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import { Oracle, type OracleAlert } from "../jobs/depletion/oracle.js";
import { Shop } from "../jobs/shop.js";
import { AT, line, withOrderBed } from "./order-bed.js";

const ZONE = "Asia/Shanghai";
const NOON = Date.UTC(2026, 5, 18, 4);
const MINUTE = 60_000;

const bed = withOrderBed({ nowMs: NOON, partitions: 3, hasStoreClock: true });
let offsets: number[] = [];
let shop: Shop<DepletionState>;

beforeEach(() => beginShop());

/** Begins with an empty log and a new job. */
function begin(format?: number): void {
  bed.begin(format);
  beginShop();
}

function beginShop(): void {
  offsets = Array.from({ length: bed.partitions }, () => 0);
  shop = new Shop<DepletionState>(depletionJob(zoneOf(ZONE)));
}

const receivePresale = (sku: string, units: number) => bed.receive(sku, units, AT, "presale");
const isGood = ({ outcome }: OrderReply): boolean => outcome !== "unknown_order" && isAccepted(outcome);

/**
 * Gives the job what is new in the log; returns the events. Partitions are read one after the other, which makes no
 * difference to a job of SKUs.
 */
async function readNew(): Promise<StockEvent[]> {
  const read: StockEvent[] = [];
  for (let partition = 0; partition < bed.partitions; partition++) {
    for (const entry of await readLog(
      bed.client,
      stockKeys(bed.prefix, partition).log,
      offsets[partition] as number,
      10_000,
    )) {
      offsets[partition] = entry.offset;
      read.push(...eventsOf(entry).events);
    }
  }
  await shop.append(...read);
  return read;
}
const unitsIn = (sku: string): number =>
  (shop.state(sku)?.panes ?? []).reduce((sum, value, i) => (i % 2 === 1 ? sum + value : sum), 0);
const alerts = (): string[] => shop.emits.map(({ payload }) => (payload as AlertChange).sku);

describe("the lines of an order", () => {
  it("do not count when one of them is refused, not even for a moment", async () => {
    await bed.receive("cup", 500);
    expect((await bed.orderService.place(bed.order(line("cup", 100), line("no-such-sku")))).outcome).toBe(
      "unknown_sku",
    );
    await readNew();
    expect(alerts()).toEqual([]);
    expect(shop.state("cup")).toBeUndefined();
  });

  it("count when the order is accepted, before it is answered, in the minute of their deduction", async () => {
    await Promise.all([bed.receive("cup", 500), bed.receive("pot", 5)]);
    expect(isGood(await bed.orderService.place(bed.order(line("cup", 100), line("pot", 2))))).toBe(true);
    await readNew();
    expect(alerts()).toEqual(["cup"]);
    expect(shop.state("cup")?.panes).toEqual([NOON / MINUTE, 100]);
    expect(unitsIn("pot")).toBe(2);
  });

  it("count once, however often the order is sent", async () => {
    await Promise.all([bed.receive("cup", 500), bed.receive("pot", 5)]);
    const placed = bed.order(line("cup", 10), line("pot", 2));
    for (let i = 0; i < 3; i++) await new OrderService(bed.ledger, bed.orderStore).place(placed);
    await Promise.all([
      new OrderService(bed.ledger, bed.orderStore).place(placed),
      new OrderService(bed.ledger, bed.orderStore).place(placed),
    ]);
    const events = await readNew();
    expect(events.filter(({ type }) => type === "LineAccepted")).toHaveLength(2);
    expect(unitsIn("cup")).toBe(10);
  });

  it("count with the next attempt when the process stopped before, at the time of their reservation", async () => {
    await Promise.all([bed.receive("cup", 500), bed.receive("pot", 5)]);
    const placed = bed.order(line("cup", 100), line("pot", 2));
    for (const commands of [1, 2, 3]) {
      await expect(bed.stoppingAfter(commands).place(placed)).rejects.toThrow("stopped");
      await readNew();
      expect(unitsIn("pot")).toBe(0);
    }
    expect(alerts()).toEqual(["cup"]);
    await bed.pass(7 * MINUTE);
    expect(isGood(await bed.orderService.place(placed))).toBe(true);
    await readNew();
    expect(shop.state("pot")?.panes).toEqual([NOON / MINUTE, 2]);
    expect(unitsIn("cup")).toBe(100);
  });

  it("count with the payment when the process stopped before it could accept the order", async () => {
    await Promise.all([bed.receive("cup", 500), bed.receive("pot", 5)]);
    const placed = { ...bed.order(line("cup", 10), line("pot", 2)), holdMs: 3 * MINUTE };
    await expect(bed.stoppingAfter(2).place(placed)).rejects.toThrow("stopped");
    await bed.pass(2 * MINUTE);
    expect(isGood(await bed.orderService.pay(placed.id))).toBe(true);
    expect(isGood(await bed.orderService.pay(placed.id))).toBe(true);
    await readNew();
    expect(shop.state("cup")?.panes).toEqual([NOON / MINUTE, 10]);
    expect(shop.state("pot")?.panes).toEqual([NOON / MINUTE, 2]);
  });

  it("do not count again when they are paid after their hold has ended", async () => {
    await Promise.all([bed.receive("cup", 500), bed.receive("pot", 5)]);
    const single = bed.order(line("cup", 10));
    const double = bed.order(line("cup", 10), line("pot", 2));
    for (const placed of [single, double]) await bed.orderService.place(placed);
    await bed.pass(31 * MINUTE);
    for (const placed of [single, double])
      expect((await bed.orderService.pay(placed.id)).outcome).toBe("admitted_anew");
    await readNew();
    expect(unitsIn("cup")).toBe(20);
    expect(unitsIn("pot")).toBe(2);
  });

  it("of a presale count when their goods go out", async () => {
    await Promise.all([bed.receive("cup", 500), receivePresale("cup", 50)]);
    const placed = bed.order(line("cup", 10, { pool: "presale" }), line("cup", 1));
    await bed.orderService.place(placed);
    await bed.orderService.pay(placed.id);
    await readNew();
    expect(unitsIn("cup")).toBe(1);
    await bed.orderService.outbound(placed.id);
    await readNew();
    expect(unitsIn("cup")).toBe(11);
  });

  it("count from their reservation on while older releases read the log", async () => {
    begin(1);
    await Promise.all([bed.receive("cup", 500), bed.receive("pot", 5)]);
    await bed.orderService.place(bed.order(line("cup", 10), line("pot", 2)));
    const events = await readNew();
    expect(events.some(({ type, uncounted }) => type === "LineAccepted" || uncounted)).toBe(false);
    expect(unitsIn("cup")).toBe(10);
  });
});

describe("random orders with refusals", () => {
  it("cause exactly the alerts of an oracle that counts accepted orders only, at every moment", async () => {
    const seen = { refused: 0, accepted: 0, stopped: 0, anew: 0, fired: 0, cleared: 0 };
    for (let seed = 1; seed <= 4; seed++) {
      begin();
      await new RandomShop(seed, seen).run(110);
    }
    for (const [what, times] of Object.entries(seen)) expect(times, what).toBeGreaterThan(0);
  }, 120_000);
});

const SKUS = ["cup", "pot", "pan", "jug"];

class RandomShop {
  readonly #random;
  readonly #oracles = new Map<string, Oracle>();
  /** When a line was taken last, and which lines the oracle has counted. */
  readonly #takenMs = new Map<string, number>();
  readonly #counted = new Set<string>();
  readonly #orders: Order[] = [];
  readonly seed: number;
  readonly seen: Record<string, number>;

  constructor(seed: number, seen: Record<string, number>) {
    this.seed = seed;
    this.seen = seen;
    this.#random = seededRandom(seed);
  }

  async run(steps: number): Promise<void> {
    for (const sku of SKUS) {
      this.#oracles.set(sku, new Oracle(ZONE));
      await bed.receive(sku, 300);
      await receivePresale(sku, 40);
    }
    for (let step = 0; step < steps; step++) {
      const random = this.#random;
      await bed.pass(random.pick([0, 0, 500, 20_000, MINUTE, 9 * MINUTE, 40 * MINUTE]));
      await this.#read([]);
      const draw = random.below(10);
      if (draw === 0) await bed.receive(random.pick(SKUS), 60);
      else if (draw < 3 && this.#orders.length > 0) await this.#pay(random.pick(this.#orders));
      else if (draw === 3 && this.#orders.length > 0) await this.#place(random.pick(this.#orders));
      else await this.#place(this.#newOrder());
      this.#compare(step);
    }
  }

  #newOrder(): Order {
    const random = this.#random;
    const lines = Array.from({ length: 1 + random.below(4) }, () =>
      line(random.below(12) === 0 ? "no-such-sku" : random.pick(SKUS), 1 + random.below(45), {
        ...(random.below(8) === 0 && { pool: "presale" as const }),
      }),
    );
    const placed = { ...bed.order(...lines), ...(random.below(2) === 0 && { holdMs: 5 * MINUTE }) };
    this.#orders.push(placed);
    return placed;
  }

  async #place(placed: Order): Promise<void> {
    const stops = this.#random.below(4) === 0;
    const by = stops ? bed.stoppingAfter(this.#random.below(2 * placed.lines.length)) : bed.orderService;
    const reply = await by.place(placed).catch((thrown: Error) => {
      if (!stops) throw thrown;
      this.#note("stopped");
    });
    if (reply) this.#note(isGood(reply) ? "accepted" : "refused");
    await this.#read(reply && isGood(reply) ? [placed] : [], stops ? placed : undefined);
  }

  async #pay(placed: Order): Promise<void> {
    const reply = await bed.orderService.pay(placed.id);
    if (reply.outcome === "admitted_anew") this.#note("anew");
    await this.#read(isGood(reply) ? [placed] : []);
  }

  #note(what: string): void {
    this.seen[what] = (this.seen[what] as number) + 1;
  }

  /**
   * Reads the log, and counts what has been accepted by it: a line alone with its reservation, others with their
   * order.
   */
  async #read(accepted: readonly Order[], halfDone?: Order): Promise<void> {
    const events = await readNew();
    for (const { type, id, clockMs } of events) if (type === "StockReserved") this.#takenMs.set(id, clockMs);
    // A process that stopped while it reported the acceptance to the ledger had accepted it: every line was held.
    const isWhole = halfDone?.lines.every((_, i) => this.#takenMs.has(lineId(halfDone.id, i)));
    const acceptedIds = new Set(events.filter(({ type }) => type === "LineAccepted").map(({ id }) => id));
    for (const each of accepted) for (const i of each.lines.keys()) this.#count(each, i);
    if (halfDone && isWhole)
      for (const i of halfDone.lines.keys())
        if (halfDone.lines.length === 1 || acceptedIds.has(lineId(halfDone.id, i))) this.#count(halfDone, i);
    for (const oracle of this.#oracles.values()) oracle.tick(bed.clock.now());
    await shop.tick(bed.clock.now());
  }

  #count({ id, lines }: Order, position: number): void {
    const { sku, units, pool } = lines[position] as OrderLine;
    const name = lineId(id, position);
    if (pool === "presale" || this.#counted.has(name)) return;
    this.#counted.add(name);
    this.#oracles.get(sku)?.deduct(bed.clock.now(), this.#takenMs.get(name) as number, units);
  }

  #compare(step: number): void {
    for (const sku of SKUS) {
      const found: OracleAlert[] = shop.emits
        .map(({ payload }) => payload as AlertChange)
        .filter((change) => change.sku === sku)
        .map(({ type, atMs, hourUnits, dailyAverage }) => ({ type: type as "fired", atMs, hourUnits, dailyAverage }));
      const { alerts: wanted } = this.#oracles.get(sku) as Oracle;
      expect(found, `seed ${this.seed}, step ${step}, ${sku}`).toEqual(wanted);
      this.seen["fired"] = (this.seen["fired"] as number) + (step === 109 ? wanted.length : 0);
      this.seen["cleared"] =
        (this.seen["cleared"] as number) + (step === 109 ? wanted.filter(({ type }) => type === "cleared").length : 0);
    }
  }
}
