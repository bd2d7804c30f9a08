/**
 * The demo shop's traffic, checked with a small ledger and a small alert counter of this file, written from the rules
 * (R1, R3, R8–R10), which share no code with the engine. One run of a week, the rush and the day after it is recorded
 * once and used by all tests.
 */
import { beforeAll, describe, expect, it } from "vitest";
import type { Action, Order, OrderStepAction } from "../../../connectors/demo-shop/actions.js";
import { WAREHOUSES } from "../../../connectors/demo-shop/catalogue.js";
import { type DemoAction, demoShop } from "../../../connectors/demo-shop/index.js";
import { openingCommands } from "../../../connectors/demo-shop/opening.js";
import { dayTraffic } from "../../../connectors/demo-shop/ordinary-days.js";
import { RUSH_ORDERS, rush } from "../../../connectors/demo-shop/rush.js";
import { chainIdFault, chainIdTimeMs } from "../../../engine/kernel/chain-id.js";
import type { StockCommand } from "../../../engine/stock/model.js";

const SEED = 618;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const shop = demoShop(SEED);
/** The end of 18 June. */
const UNTIL = shop.rushStartMs + DAY;

/** Sellable units of a ledger that accepts what it has. */
class Shop {
  readonly sellable = new Map<string, number>();
  readonly #orders = new Map<string, { order: Order; state: "refused" | "held" | "paid" }>();
  #expiries: { atMs: number; id: string }[] = [];
  #expired = 0;
  admitted = 0;
  refused = 0;
  expired = 0;
  unfit = 0;
  onDeduction: (sku: string, units: number, atMs: number) => void = () => {};

  #move(lines: Order["lines"], sign: 1 | -1): void {
    for (const { sku, location, units } of lines) {
      const cell = `${sku} ${location}`;
      this.sellable.set(cell, (this.sellable.get(cell) ?? 0) + sign * units);
    }
  }

  apply(action: Action): void {
    // Expiries are in the order of placing, for every hold is equally long.
    for (
      let next = this.#expiries[this.#expired];
      next && next.atMs <= action.atMs;
      next = this.#expiries[++this.#expired]
    ) {
      const entry = this.#orders.get(next.id);
      if (entry?.state !== "held") continue;
      this.#orders.delete(next.id);
      this.expired++;
      this.#move(entry.order.lines, 1);
    }
    if (action.kind === "command") {
      const { command } = action;
      if (command.kind === "configure") return;
      if (command.kind !== "receive" && command.kind !== "return" && command.kind !== "correct")
        throw new Error(command.kind);
      if ((command.pool ?? "sellable") !== "sellable") return;
      this.#move([{ sku: command.sku, location: command.location, units: command.units }], 1);
      if ((this.sellable.get(`${command.sku} ${command.location}`) ?? 0) < 0) throw new Error("below zero");
      return;
    }
    if (action.kind === "order") {
      const { order } = action;
      if (this.#orders.has(order.id)) return;
      const fits = order.lines.every((line) => (this.sellable.get(`${line.sku} ${line.location}`) ?? 0) >= line.units);
      this.#orders.set(order.id, { order, state: fits ? "held" : "refused" });
      if (!fits) {
        this.refused++;
        return;
      }
      this.admitted++;
      this.#move(order.lines, -1);
      this.#expiries.push({ atMs: action.atMs + 30 * MINUTE, id: order.id });
      for (const line of order.lines) this.onDeduction(line.sku, line.units, action.atMs);
      return;
    }
    const entry = this.#orders.get(action.orderId);
    if (!entry) throw new Error(`${action.kind} of an order that was never placed`);
    if (entry.state === "refused") return;
    const fits = action.kind === "cancel" || entry.state === (action.kind === "pay" ? "held" : "paid");
    if (!fits) this.unfit++;
    if (action.kind === "pay") entry.state = "paid";
    else this.#orders.delete(action.orderId);
    if (action.kind === "cancel") this.#move(entry.order.lines, 1);
  }

  soldOut(sku: string): boolean {
    return WAREHOUSES.every(({ location }) => this.sellable.get(`${sku} ${location}`) === 0);
  }
}

interface Change {
  type: "fired" | "cleared";
  sku: string;
  atMs: number;
}

/** What is counted of one SKU; panes by minute modulo 60. */
interface Counted {
  readonly sku: string;
  readonly panes: number[];
  hour: number;
  /** The minute up to which the panes are complete. */
  minute: number;
  readonly days: Map<number, number>;
  readonly firstDay: number;
  open: boolean;
}

/**
 * Alerts after R8–R10. The trailing hour of minute m:
 *
 *     m−60 │ m−59 … m−1 │ m │ m+1
 *     out  │     in     │ in│ not yet
 */
class AlertCounter {
  readonly changes: Change[] = [];
  readonly #bySku = new Map<string, Counted>();
  /** The SKUs to check at the end of a minute: alert open, or 50 units in the hour. */
  readonly #watched = new Set<Counted>();
  #minute = Math.floor(shop.openingMs / MINUTE);

  /** The shop's day of a minute. */
  static day(minute: number): number {
    return Math.floor((minute + 8 * 60) / (24 * 60));
  }

  #average(counted: Counted): number | undefined {
    const today = AlertCounter.day(this.#minute);
    const days = Math.min(7, today - counted.firstDay);
    if (days <= 0) return undefined;
    let units = 0;
    for (let day = today - days; day < today; day++) units += counted.days.get(day) ?? 0;
    return units / days;
  }

  deduct(sku: string, units: number, atMs: number): void {
    this.advance(atMs);
    let counted = this.#bySku.get(sku);
    const day = AlertCounter.day(this.#minute);
    if (!counted) {
      counted = {
        sku,
        panes: new Array<number>(60).fill(0),
        hour: 0,
        minute: this.#minute,
        days: new Map(),
        firstDay: day,
        open: false,
      };
      this.#bySku.set(sku, counted);
    }
    this.#roll(counted);
    const pane = this.#minute % 60;
    counted.panes[pane] = (counted.panes[pane] ?? 0) + units;
    counted.hour += units;
    counted.days.set(day, (counted.days.get(day) ?? 0) + units);
    if (!counted.open && this.#fires(counted)) this.#note("fired", counted, atMs);
    if (counted.hour >= 50) this.#watched.add(counted);
  }

  /** Drops the panes that have left the hour. */
  #roll(counted: Counted): void {
    for (let left = Math.min(60, this.#minute - counted.minute); left > 0; left--) {
      const pane = (this.#minute - left + 1) % 60;
      counted.hour -= counted.panes[pane] ?? 0;
      counted.panes[pane] = 0;
    }
    counted.minute = this.#minute;
  }

  #fires(counted: Counted): boolean {
    if (counted.hour < 50) return false;
    const average = this.#average(counted);
    return average === undefined ? counted.hour >= 100 : counted.hour > 3 * average;
  }

  #stays(counted: Counted): boolean {
    if (counted.hour < 40) return false;
    const average = this.#average(counted);
    return average === undefined ? counted.hour >= 80 : counted.hour > 2.4 * average;
  }

  #note(type: Change["type"], counted: Counted, atMs: number): void {
    counted.open = type === "fired";
    this.changes.push({ type, sku: counted.sku, atMs });
  }

  /** Ends every minute before that of `atMs`. */
  advance(atMs: number): void {
    for (const minute = Math.floor(atMs / MINUTE); this.#minute < minute; this.#minute++) {
      const endMs = (this.#minute + 1) * MINUTE;
      for (const counted of this.#watched) {
        this.#roll(counted);
        if (counted.open) {
          if (!this.#stays(counted)) this.#note("cleared", counted, endMs);
        } else if (this.#fires(counted)) this.#note("fired", counted, endMs);
        if (!counted.open && counted.hour < 50) this.#watched.delete(counted);
      }
    }
  }
}

const run = {
  ledger: new Shop(),
  counter: new AlertCounter(),
  rush: [] as Action[],
  /** The steps of the rush's orders, at any time. */
  rushSteps: [] as OrderStepAction[],
  phases: new Map<string, { actions: number; refused: number }>(),
  /** Order lines by hour since the opening. */
  linesByHour: new Map<number, number>(),
  inOrder: true,
  orders: 0,
  badIds: 0,
  soldOutInRush: [] as string[],
  dayCommands: [] as StockCommand[],
};

beforeAll(() => {
  let lastMs = 0;
  const { ledger, counter } = run;
  ledger.onDeduction = (sku, units, atMs) => counter.deduct(sku, units, atMs);
  let refusedBefore = 0;
  let phase: DemoAction["phase"] = "history";
  for (const action of shop.actions()) {
    if (action.atMs >= UNTIL) break;
    if (action.phase !== phase && phase === "rush") {
      run.soldOutInRush = shop.catalogue.skus.filter((sku) => ledger.soldOut(sku.code)).map((sku) => sku.code);
    }
    phase = action.phase;
    run.inOrder &&= action.atMs >= lastMs;
    lastMs = action.atMs;
    ledger.apply(action);
    const seen = run.phases.get(phase) ?? { actions: 0, refused: 0 };
    run.phases.set(phase, seen);
    seen.actions++;
    seen.refused += ledger.refused - refusedBefore;
    refusedBefore = ledger.refused;
    if (action.kind === "command") {
      if (chainIdFault(action.command.id)) run.badIds++;
      if (phase === "day") run.dayCommands.push(action.command);
    } else if (action.kind === "order" && action.attempt === 1) {
      const hour = Math.floor((action.atMs - shop.openingMs) / HOUR);
      run.linesByHour.set(hour, (run.linesByHour.get(hour) ?? 0) + action.order.lines.length);
      // Checking every tenth keeps the run short.
      if (
        ++run.orders % 10 === 0 &&
        (chainIdFault(action.order.id) || chainIdTimeMs(action.order.id) !== action.atMs)
      ) {
        run.badIds++;
      }
    } else if (action.kind !== "order") {
      const { placedAtMs } = action.order;
      if (placedAtMs >= shop.rushStartMs && placedAtMs < shop.rushEndMs) run.rushSteps.push(action);
    }
    if (phase === "rush") run.rush.push(action);
  }
  counter.advance(UNTIL);
}, 120_000);

const firedBetween = (fromMs: number, toMs: number) =>
  run.counter.changes.filter((change) => change.type === "fired" && change.atMs >= fromMs && change.atMs < toMs);

describe("the demo shop's traffic", () => {
  it("is in the order of time, with valid chain ids that contain their time", () => {
    expect(run.inOrder).toBe(true);
    expect(run.badIds).toBe(0);
  });

  it("is the same for the same seed, and differs between seeds", () => {
    const beginning = (seed: number) => {
      const actions: Action[] = [];
      for (const action of rush(shop.catalogue, seed, shop.rushStartMs)) if (actions.push(action) === 5_000) break;
      return JSON.stringify(actions);
    };
    const first = beginning(SEED);
    expect(beginning(SEED) === first).toBe(true);
    expect(beginning(SEED + 1) === first).toBe(false);
  });

  it("has only steps that are valid in the order's state, so that only steps of refused orders are dropped", () => {
    expect(run.ledger.unfit).toBe(0);
  });

  it("opens every cell with sellable and safety stock, presale of a few, and puts every SKU into its category", () => {
    const opening = openingCommands(shop.catalogue, shop.openingMs);
    const of = (pool: string) => opening.filter((command) => "pool" in command && command.pool === pool);
    expect(of("sellable")).toHaveLength(6_000);
    expect(of("safety")).toHaveLength(6_000);
    expect(of("presale")).toHaveLength(24 * 3);
    const configured = opening.filter((command) => command.kind === "configure");
    expect(configured.map(({ sku }) => sku)).toEqual(shop.catalogue.skus.map(({ code }) => code));
    expect(configured.every(({ sku, category }) => category === sku.slice(0, 3))).toBe(true);
    expect(new Set(opening.map((command) => command.id)).size).toBe(opening.length);
    expect(opening.every((command) => command.atMs === shop.openingMs && chainIdFault(command.id) === undefined)).toBe(
      true,
    );
  });
});

describe("the week of history", () => {
  it("has 15,000 to 20,000 order lines a day, none of them refused", () => {
    for (let day = 0; day < 7; day++) {
      let lines = 0;
      for (let hour = 0; hour < 24; hour++) lines += run.linesByHour.get(day * 24 + hour) ?? 0;
      expect(lines, `day ${day}`).toBeGreaterThan(15_000);
      expect(lines, `day ${day}`).toBeLessThan(20_000);
    }
    expect(run.phases.get("history")?.refused).toBe(0);
  });

  it("is quiet at night and busiest at 10 to 12 and 20 to 22", () => {
    const of = (...hours: number[]) =>
      hours.reduce((sum, hour) => sum + (run.linesByHour.get(24 + hour) ?? 0), 0) / hours.length;
    expect(of(2, 3, 4, 5)).toBeLessThan(0.1 * of(10, 11));
    expect(of(10, 11)).toBeGreaterThan(1.3 * of(14, 15, 16));
    expect(of(20, 21)).toBeGreaterThan(1.3 * of(14, 15, 16));
  });

  it("fires a few alerts only, once two days have passed", () => {
    const fired = firedBetween(shop.openingMs + 2 * DAY, shop.rushStartMs);
    expect(fired.length).toBeGreaterThan(0);
    expect(fired.length).toBeLessThan(30);
  });
});

describe("the rush", () => {
  const orders = () => run.rush.filter((action) => action.kind === "order");
  const first = () => orders().filter((action) => action.attempt === 1);

  it("has 12,843 distinct orders, and starts at once", () => {
    expect(first()).toHaveLength(RUSH_ORDERS);
    expect(new Set(orders().map((action) => action.order.id)).size).toBe(RUSH_ORDERS);
    expect((orders()[0]?.atMs ?? 0) - shop.rushStartMs).toBeLessThan(2_000);
  });

  it("peaks at 8,200 requests a second, several times the rate of orders", () => {
    const bySecond = (actions: readonly Action[]) => {
      const seconds = new Array<number>(3_600).fill(0);
      for (const action of actions) {
        const second = Math.floor((action.atMs - shop.rushStartMs) / 1_000);
        seconds[second] = (seconds[second] ?? 0) + 1;
      }
      return seconds;
    };
    const requests = bySecond(orders());
    const placed = bySecond(first());
    expect(Math.max(...requests)).toBe(8_200);
    expect(Math.max(...requests)).toBeGreaterThan(3 * Math.max(...placed));
    const tenSeconds = placed.slice(0, 10).reduce((sum, units) => sum + units, 0);
    expect(tenSeconds).toBeGreaterThan(0.3 * RUSH_ORDERS);
    const quarters = [0, 900, 1_800, 2_700].map((from) =>
      placed.slice(from, from + 900).reduce((sum, units) => sum + units, 0),
    );
    expect(quarters[0]).toBeGreaterThan(3 * (quarters[3] ?? 0));
    expect(Math.min(...quarters)).toBeGreaterThan(500);
  });

  it("retries an order later, unchanged, and within the first seconds", () => {
    const attempts = new Map<string, { order: Order; attempt: number; atMs: number }>();
    const faults: string[] = [];
    for (const { order, attempt, atMs } of orders()) {
      const before = attempts.get(order.id);
      if (attempt !== (before?.attempt ?? 0) + 1) faults.push(`${order.id} has a wrong attempt number`);
      if (before && (order !== before.order || atMs < before.atMs)) faults.push(`${order.id} has changed`);
      if (before ? atMs - order.placedAtMs > 5_000 : atMs !== order.placedAtMs) faults.push(`${order.id} at ${atMs}`);
      attempts.set(order.id, { order, attempt, atMs });
    }
    expect(faults).toEqual([]);
    const lastRetry = orders().findLast((action) => action.attempt > 1);
    expect((lastRetry?.atMs ?? 0) - shop.rushStartMs).toBeLessThan(15_000);
  });

  it("has 1 to 4 lines of different SKUs an order, from several warehouses", () => {
    const placed = first().map((action) => action.order.lines);
    expect(new Set(placed.map((lines) => lines.length))).toEqual(new Set([1, 2, 3, 4]));
    expect(placed.every((lines) => new Set(lines.map((line) => line.sku)).size === lines.length)).toBe(true);
    const mixed = placed.filter((lines) => new Set(lines.map((line) => line.location)).size > 1);
    expect(mixed.length).toBeGreaterThan(1_000);
  });

  it("has about 88 % of its orders paid and 4 % cancelled; paid ones go out 20 to 240 minutes later", () => {
    const paid = new Map<string, number>();
    let cancelled = 0;
    let outbound = 0;
    for (const action of run.rushSteps) {
      if (action.kind === "cancel") cancelled++;
      else if (action.kind === "pay") paid.set(action.orderId, action.atMs);
      else if (action.kind === "outbound") {
        outbound++;
        const minutes = (action.atMs - (paid.get(action.orderId) ?? 0)) / MINUTE;
        expect(minutes >= 20 && minutes <= 240).toBe(true);
      }
    }
    expect(paid.size / RUSH_ORDERS).toBeCloseTo(0.88, 1.7);
    expect(cancelled / RUSH_ORDERS).toBeCloseTo(0.04, 2);
    expect(outbound).toBeGreaterThan(0.85 * RUSH_ORDERS);
  });

  it("fires 8 to 40 alerts, some in each quarter of the hour and some at once, all cleared by 04:00", () => {
    const fired = firedBetween(shop.rushStartMs, shop.rushEndMs);
    expect(fired.length).toBeGreaterThanOrEqual(8);
    expect(fired.length).toBeLessThanOrEqual(40);
    for (let quarter = 0; quarter < 4; quarter++) {
      const from = shop.rushStartMs + quarter * 15 * MINUTE;
      expect(firedBetween(from, from + 15 * MINUTE).length, `quarter ${quarter}`).toBeGreaterThan(0);
    }
    expect(firedBetween(shop.rushStartMs, shop.rushStartMs + MINUTE).length).toBeGreaterThanOrEqual(3);
    const openAt = new Set<string>();
    for (const { type, sku, atMs } of run.counter.changes) {
      if (atMs > shop.rushStartMs + 4 * HOUR) break;
      if (type === "fired") openAt.add(sku);
      else openAt.delete(sku);
    }
    expect(openAt.size).toBe(0);
  });

  it("sells some SKUs out and most not, and has few orders refused", () => {
    expect(run.soldOutInRush.length).toBeGreaterThanOrEqual(3);
    expect(run.soldOutInRush.length).toBeLessThan(30);
    const refused = run.phases.get("rush")?.refused ?? 0;
    expect(refused).toBeGreaterThan(50);
    expect(refused).toBeLessThan(0.1 * RUSH_ORDERS);
  });
});

describe("the days after", () => {
  it("have one or two livestreams that cause an alert", () => {
    const fired = firedBetween(shop.rushEndMs, UNTIL);
    expect(fired.length).toBeGreaterThanOrEqual(1);
    expect(fired.length).toBeLessThan(10);
  });

  it("have deliveries in the morning, returns, and corrections with actor and reason", () => {
    const of = (kind: string) => run.dayCommands.filter((command) => command.kind === kind);
    expect(of("return").length).toBeGreaterThan(50);
    expect(of("correct").length).toBeGreaterThan(5);
    expect(run.dayCommands.every((command) => command.actor && command.reason)).toBe(true);
    const hours = of("receive").map((command) => new Date((command.atMs ?? 0) + 8 * HOUR).getUTCHours());
    expect(hours.length).toBeGreaterThan(100);
    expect(hours.every((hour) => hour >= 6 && hour < 9)).toBe(true);
  });

  it("end: the traffic of a single day is finite", () => {
    let last = 0;
    for (const action of dayTraffic(shop.catalogue, SEED, UNTIL)) last = action.atMs;
    expect(last).toBeGreaterThan(UNTIL + DAY);
    expect(last).toBeLessThan(UNTIL + DAY + 5 * HOUR);
  });
});
