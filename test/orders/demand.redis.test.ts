/**
 * What counts as demand (R9): orders go through a real desk and ledger, the depletion job reads the very log, and an
 * oracle counts the orders that were accepted as a whole and nothing else. The two are compared after every step, so
 * that not even a moment's alert for a refused order passes. Desks die half-way, holds end, payments come late.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type AlertChange, type DepletionState, depletionJob } from "../../engine/jobs/depletion/job.js";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { ManualClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import type { Order, OrderLine, OrderReply } from "../../engine/orders/model.js";
import { lineId } from "../../engine/orders/model.js";
import { OrderService } from "../../engine/orders/order-service.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import { isAccepted, type Reply, type StockCommand, type StockEvent } from "../../engine/stock/model.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import { Oracle, type OracleAlert } from "../jobs/depletion/oracle.js";
import { Shop } from "../jobs/shop.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();
const ZONE = "Asia/Shanghai";
const NOON = Date.UTC(2026, 5, 18, 4);
const MINUTE = 60_000;
const PARTITIONS = 3;
const AT = "SH";

let client: ReturnType<typeof redis.connect>;
let clock: ManualClock;
let ledger: Ledger;
let orderStore: OrderStore;
let orderService: OrderService;
let prefix = "";
let rounds = 0;
let ids = 0;
let offsets: number[] = [];
let shop: Shop<DepletionState>;

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([Ledger.load(client), OrderStore.load(client)]);
});
beforeEach(() => begin());

function begin(format = 2): void {
  prefix = `demand${rounds++}`;
  clock = new ManualClock(NOON);
  const options = { redis: client, prefix, partitions: PARTITIONS, clock };
  ledger = new Ledger({ ...options, format: () => format });
  orderStore = new OrderStore({ ...options, keepSeconds: 86_400 });
  orderService = new OrderService(ledger, orderStore);
  offsets = Array.from({ length: PARTITIONS }, () => 0);
  shop = new Shop<DepletionState>(depletionJob(zoneOf(ZONE)));
}

const newId = (): string => chainIdFromNumber("S1", NOON, ids++);
const line = (sku: string, units = 1, more: Partial<OrderLine> = {}): OrderLine => ({
  sku,
  location: AT,
  units,
  ...more,
});
const order = (...lines: OrderLine[]): Order => ({ id: newId(), lines });
const receive = (sku: string, units: number, pool: "sellable" | "presale" = "sellable") =>
  ledger.apply({ kind: "receive", id: newId(), sku, location: AT, units, pool });
const isGood = ({ outcome }: OrderReply): boolean => outcome !== "unknown_order" && isAccepted(outcome);

/**
 * Gives the job what is new in the log; returns the events. Partitions are read one after the other, which a job of
 * SKUs does not notice.
 */
async function readOn(): Promise<StockEvent[]> {
  const read: StockEvent[] = [];
  for (let partition = 0; partition < PARTITIONS; partition++) {
    for (const entry of await readLog(client, stockKeys(prefix, partition).log, offsets[partition] as number, 10_000)) {
      offsets[partition] = entry.offset;
      read.push(...eventsOf(entry).events);
    }
  }
  await shop.tell(...read);
  return read;
}
const unitsIn = (sku: string): number =>
  (shop.state(sku)?.panes ?? []).reduce((sum, value, i) => (i % 2 === 1 ? sum + value : sum), 0);
const alerts = (): string[] => shop.emits.map(({ payload }) => (payload as AlertChange).sku);

async function pass(ms: number): Promise<void> {
  clock.moveTo(clock.now() + ms);
  for (let partition = 0; partition < PARTITIONS; partition++) await ledger.tick(partition);
}

/** A desk whose process dies after so many commands, those of one call one after the other. */
function dying(commands: number): OrderService {
  let left = commands;
  const stub = {
    recall: (lines: { id: string; sku: string }[]) => ledger.recall(lines),
    async applyMany(all: readonly StockCommand[]): Promise<Reply[]> {
      const replies: Reply[] = [];
      for (const command of all) {
        if (left-- <= 0) throw new Error("the process is gone");
        replies.push(await ledger.apply(command));
      }
      return replies;
    },
  };
  return new OrderService(stub as unknown as Ledger, orderStore);
}

describe("the lines of an order", () => {
  it("count nowhere when one of them is refused, not even for a moment", async () => {
    await receive("cup", 500);
    expect((await orderService.place(order(line("cup", 100), line("no-such-sku")))).outcome).toBe("unknown_sku");
    await readOn();
    expect(alerts()).toEqual([]);
    expect(shop.state("cup")).toBeUndefined();
  });

  it("count when the order is accepted, before its caller hears so, in the minute of their deduction", async () => {
    await Promise.all([receive("cup", 500), receive("pot", 5)]);
    expect(isGood(await orderService.place(order(line("cup", 100), line("pot", 2))))).toBe(true);
    await readOn();
    expect(alerts()).toEqual(["cup"]);
    expect(shop.state("cup")?.panes).toEqual([NOON / MINUTE, 100]);
    expect(unitsIn("pot")).toBe(2);
  });

  it("count once, however often the order is sent", async () => {
    await Promise.all([receive("cup", 500), receive("pot", 5)]);
    const placed = order(line("cup", 10), line("pot", 2));
    for (let i = 0; i < 3; i++) await new OrderService(ledger, orderStore).place(placed);
    await Promise.all([
      new OrderService(ledger, orderStore).place(placed),
      new OrderService(ledger, orderStore).place(placed),
    ]);
    const events = await readOn();
    expect(events.filter(({ type }) => type === "LineAccepted")).toHaveLength(2);
    expect(unitsIn("cup")).toBe(10);
  });

  it("count with the next try when the desk died before, at the time at which they were taken", async () => {
    await Promise.all([receive("cup", 500), receive("pot", 5)]);
    const placed = order(line("cup", 100), line("pot", 2));
    for (const commands of [1, 2, 3]) {
      await expect(dying(commands).place(placed)).rejects.toThrow("gone");
      await readOn();
      expect(unitsIn("pot")).toBe(0);
    }
    expect(alerts()).toEqual(["cup"]);
    await pass(7 * MINUTE);
    expect(isGood(await orderService.place(placed))).toBe(true);
    await readOn();
    expect(shop.state("pot")?.panes).toEqual([NOON / MINUTE, 2]);
    expect(unitsIn("cup")).toBe(100);
  });

  it("count with the payment when nobody could tell their order's caller yes", async () => {
    await Promise.all([receive("cup", 500), receive("pot", 5)]);
    const placed = { ...order(line("cup", 10), line("pot", 2)), holdMs: 3 * MINUTE };
    await expect(dying(2).place(placed)).rejects.toThrow("gone");
    await pass(2 * MINUTE);
    expect(isGood(await orderService.pay(placed.id))).toBe(true);
    expect(isGood(await orderService.pay(placed.id))).toBe(true);
    await readOn();
    expect(shop.state("cup")?.panes).toEqual([NOON / MINUTE, 10]);
    expect(shop.state("pot")?.panes).toEqual([NOON / MINUTE, 2]);
  });

  it("do not count again when they are paid after their hold has ended", async () => {
    await Promise.all([receive("cup", 500), receive("pot", 5)]);
    const single = order(line("cup", 10));
    const double = order(line("cup", 10), line("pot", 2));
    for (const placed of [single, double]) await orderService.place(placed);
    await pass(31 * MINUTE);
    for (const placed of [single, double]) expect((await orderService.pay(placed.id)).outcome).toBe("admitted_anew");
    await readOn();
    expect(unitsIn("cup")).toBe(20);
    expect(unitsIn("pot")).toBe(2);
  });

  it("of a presale count when their goods go out", async () => {
    await Promise.all([receive("cup", 500), receive("cup", 50, "presale")]);
    const placed = order(line("cup", 10, { pool: "presale" }), line("cup", 1));
    await orderService.place(placed);
    await orderService.pay(placed.id);
    await readOn();
    expect(unitsIn("cup")).toBe(1);
    await orderService.outbound(placed.id);
    await readOn();
    expect(unitsIn("cup")).toBe(11);
  });

  it("count from their reservation on while older releases read the log", async () => {
    begin(1);
    await Promise.all([receive("cup", 500), receive("pot", 5)]);
    await orderService.place(order(line("cup", 10), line("pot", 2)));
    const events = await readOn();
    expect(events.some(({ type, uncounted }) => type === "LineAccepted" || uncounted)).toBe(false);
    expect(unitsIn("cup")).toBe(10);
  });
});

describe("random orders with refusals", () => {
  it("alert exactly as an oracle that counts accepted orders only, at every moment", async () => {
    const seen = { refused: 0, accepted: 0, died: 0, anew: 0, fired: 0, cleared: 0 };
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
      await receive(sku, 300);
      await receive(sku, 40, "presale");
    }
    for (let step = 0; step < steps; step++) {
      const random = this.#random;
      await pass(random.pick([0, 0, 500, 20_000, MINUTE, 9 * MINUTE, 40 * MINUTE]));
      await this.#read([]);
      const draw = random.below(10);
      if (draw === 0) await receive(random.pick(SKUS), 60);
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
    const placed = { ...order(...lines), ...(random.below(2) === 0 && { holdMs: 5 * MINUTE }) };
    this.#orders.push(placed);
    return placed;
  }

  async #place(placed: Order): Promise<void> {
    const dies = this.#random.below(4) === 0;
    const by = dies ? dying(this.#random.below(2 * placed.lines.length)) : orderService;
    const reply = await by.place(placed).catch((thrown: Error) => {
      if (!dies) throw thrown;
      this.#note("died");
    });
    if (reply) this.#note(isGood(reply) ? "accepted" : "refused");
    await this.#read(reply && isGood(reply) ? [placed] : [], dies ? placed : undefined);
  }

  async #pay(placed: Order): Promise<void> {
    const reply = await orderService.pay(placed.id);
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
    const events = await readOn();
    for (const { type, id, clockMs } of events) if (type === "StockReserved") this.#takenMs.set(id, clockMs);
    // A desk that died while it told the ledger so had accepted the order: every line was held.
    const isWhole = halfDone?.lines.every((_, i) => this.#takenMs.has(lineId(halfDone.id, i)));
    const told = new Set(events.filter(({ type }) => type === "LineAccepted").map(({ id }) => id));
    for (const each of accepted) for (const i of each.lines.keys()) this.#count(each, i);
    if (halfDone && isWhole)
      for (const i of halfDone.lines.keys())
        if (halfDone.lines.length === 1 || told.has(lineId(halfDone.id, i))) this.#count(halfDone, i);
    for (const oracle of this.#oracles.values()) oracle.tick(clock.now());
    await shop.tick(clock.now());
  }

  #count({ id, lines }: Order, position: number): void {
    const { sku, units, pool } = lines[position] as OrderLine;
    const name = lineId(id, position);
    if (pool === "presale" || this.#counted.has(name)) return;
    this.#counted.add(name);
    this.#oracles.get(sku)?.deduct(clock.now(), this.#takenMs.get(name) as number, units);
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
