/**
 * The demo shop's actions in the order of time: opening stock, ordinary days, and the rush of 18 June. Every generator
 * is pure and lazy: the same arguments give the same actions, and only future steps of open orders are kept (some
 * 10,000 entries at the end of the rush). Deliveries, livestreams and sold-out pages use the generator's own estimate,
 * the Shelf; when the ledger differs (a breaker, an operator), the traffic is less realistic but still valid. Steps of
 * an order are emitted whether or not the ledger accepted it: the runner drops the steps of refused orders.
 */
import { chainId } from "../../engine/kernel/chain-id.js";
import { DAY_MS, MINUTE_MS } from "../../engine/kernel/clock.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import { DEFAULT_HOLD_MS, type StockCommand } from "../../engine/stock/model.js";
import type { Action, Order, OrderAction, OrderLine, OrderStepAction } from "./actions.js";
import { Agenda } from "./agenda.js";
import {
  type Catalogue,
  DAILY_LINES,
  type DemoSku,
  LINE_UNIT_SHARES,
  MEAN_LINE_UNITS,
  WAREHOUSES,
} from "./catalogue.js";
import { Shelf } from "./shelf.js";

/** The shop's zone; it has no summer time, so its days are fixed cuts of 24 hours. */
export const SHOP_ZONE = "Asia/Shanghai";
export const SHOP_OFFSET_MS = 8 * 3_600_000;
/** Distinct orders of the rush hour (requirements F). */
export const RUSH_ORDERS = 12_843;
export const RUSH_MS = 60 * MINUTE_MS;

const SECOND_MS = 1_000;
const RUSH_SECONDS = RUSH_MS / SECOND_MS;
const HOUR_MINUTES = 60;

const CHANNELS = ["TB", "JD", "DY", "YZ"] as const;
const CHANNEL_SHARES = [0.45, 0.25, 0.2, 0.1] as const;
/** Shares of orders with 1, 2, 3 and 4 lines. */
const LINE_COUNT_SHARES = [0.45, 0.3, 0.17, 0.08] as const;
/** 1 × 0.45 + 2 × 0.3 + 3 × 0.17 + 4 × 0.08. */
const MEAN_LINES = 1.88;
const HOME_SHARES = WAREHOUSES.map((warehouse) => warehouse.share);
/** How often a line comes from a warehouse that is not the buyer's nearest. */
const ELSEWHERE_SHARE = 0.12;
/** How often somebody orders from a page that is too old to say "sold out". */
const STALE_PAGE_SHARE = 0.15;

/** Orders placed in each hour of an ordinary day, relative: quiet nights, peaks at 10–12 and 20–22. */
const HOUR_WEIGHTS = [
  1.3, 0.6, 0.35, 0.25, 0.2, 0.3, 0.7, 1.6, 3.2, 5.4, 7.6, 7.8, 5.8, 4.6, 4.4, 4.6, 4.8, 4.8, 5.2, 6.6, 8.6, 8.8, 6.4,
  3.0,
] as const;
const HOUR_WEIGHT_SUM = HOUR_WEIGHTS.reduce<number>((sum, weight) => sum + weight, 0);

const DELIVERY_MINUTE = 6 * 60 + 30;
const DELIVERY_SPAN_MS = 2 * 60 * MINUTE_MS;
const RETURNS_PER_DAY = 120;
const CORRECTIONS_PER_DAY = 24;
/** Stock that a cell has at least before a correction takes up to 3 units from it: more than a minute's sales. */
const CORRECTION_FLOOR_UNITS = 30;

/** A livestream: 400 units of one SKU in 20 minutes. */
const SURPRISE_UNITS = 400;
const SURPRISE_MINUTES = 20;
/** Such a SKU sells so little on ordinary days that 400 are more than three days' worth. */
const SURPRISE_DAILY_UNITS = 105;
/** Surprises begin between 10:00 and 22:00. */
const SURPRISE_FROM_MINUTE = 10 * 60;
const SURPRISE_SPAN_MINUTES = 12 * 60;

/** New orders in each of the first seconds of the rush, above what the curve brings. */
const OPENING_ORDERS = [2_050, 1_230, 738, 443, 266, 160, 96, 57, 34, 21] as const;
/**
 * Requests in each of the first seconds, retries and all: clients that have no answer ask again. The second second is
 * the peak of 8,200 requests (requirements F), over six times the new orders of that second.
 */
const OPENING_REQUESTS = [3_600, 8_200, 6_100, 3_900, 2_400, 1_400, 800, 450, 250, 120] as const;
/** A client asks again after this long at the earliest. */
const RETRY_AFTER_MS = 250;
/** … and gives up, or has its answer, after this long: before the first payment. */
const PATIENCE_MS = 4_500;

const PAY_AFTER_MS = 5_000;
const PAY_SPAN_MS = 400_000;
const CANCEL_AFTER_MS = 20_000;
const CANCEL_SPAN_MS = 15 * MINUTE_MS;
const OUTBOUND_AFTER_MS = 20 * MINUTE_MS;
const OUTBOUND_SPAN_MS = 220 * MINUTE_MS;
/** What becomes of orders: 88 % are paid (1 % is cancelled all the same), 3 % are cancelled unpaid, 9 % expire. */
const FATES = ["outbound", "paid_cancelled", "cancelled", "abandoned"] as const;
const FATE_SHARES = [0.87, 0.01, 0.03, 0.09] as const;

/** Takes a place in `shares` (which sum to 1) at random. */
function draw(random: Random, shares: readonly number[]): number {
  let rest = random.next();
  for (let i = 0; i < shares.length - 1; i++) {
    rest -= shares[i] as number;
    if (rest < 0) return i;
  }
  return shares.length - 1;
}

/** A number of independent arrivals with the given mean, which is small. */
function arrivals(random: Random, mean: number): number {
  const limit = Math.exp(-mean);
  let product = random.next();
  let result = 0;
  for (; product > limit; result++) product *= random.next();
  return result;
}

/** One phase's traffic in the making: draws orders, keeps the agenda, and follows the shelf. */
class Trade {
  readonly catalogue: Catalogue;
  readonly shelf: Shelf;
  readonly random: Random;
  readonly #agenda = new Agenda();
  readonly #label: string;
  #references = 0;

  constructor(catalogue: Catalogue, seed: number, phase: string, startMs: number, shelf: Shelf) {
    this.catalogue = catalogue;
    this.shelf = shelf;
    this.#label = `${phase}/${seed}/${startMs}`;
    // The day goes into the seed, so that no two days are alike.
    this.random = seededRandom(
      Math.imul(seed ^ 0x2545f491, 0x9e3779b1) ^ Math.floor(startMs / MINUTE_MS) ^ phase.charCodeAt(0),
    );
  }

  id(channel: string, atMs: number): string {
    return chainId(channel, atMs, `${this.#label}/${this.#references++}`);
  }

  /** The next action that is due; undefined when none is. */
  due(untilMs: number): Action | undefined {
    for (;;) {
      const entry = this.#agenda.take(untilMs);
      if (entry === undefined) return undefined;
      if (entry.givesBack) this.shelf.giveBack(entry.givesBack);
      if (entry.action === undefined) continue;
      if (entry.action.kind === "command") this.shelf.follow(entry.action.command);
      return entry.action;
    }
  }

  popular(): number {
    const { popularity } = this.catalogue;
    return popularity[this.random.below(popularity.length)] as number;
  }

  sku(place: number): DemoSku {
    return this.catalogue.skus[place] as DemoSku;
  }

  /** Draws an order; `wish` is the SKU of a line. Takes its units from the shelf, if all are there. */
  order(atMs: number, fates: "shipped" | "mixed", wish: (line: number) => number): OrderAction {
    const { random, shelf } = this;
    const home = draw(random, HOME_SHARES);
    const lines: OrderLine[] = [];
    const taken: number[] = [];
    let admitted = true;
    for (let line = 1 + draw(random, LINE_COUNT_SHARES); line > 0; line--) {
      let place = wish(lines.length);
      const units = 1 + draw(random, LINE_UNIT_SHARES);
      const near = random.next() < ELSEWHERE_SHARE ? random.below(WAREHOUSES.length) : home;
      let warehouse = shelf.source(place, near, units);
      if (warehouse === undefined && random.next() >= STALE_PAGE_SHARE) {
        place = this.popular();
        warehouse = shelf.source(place, near, units);
      }
      const { code } = this.sku(place);
      if (lines.some((other) => other.sku === code)) continue;
      if (warehouse === undefined) admitted = false;
      else taken.push(place, warehouse, units);
      lines.push({
        sku: code,
        location: (WAREHOUSES[warehouse ?? near] as (typeof WAREHOUSES)[number]).location,
        units,
      });
    }
    for (let i = 0; admitted && i < taken.length; i += 3) {
      shelf.add(taken[i] as number, taken[i + 1] as number, -(taken[i + 2] as number));
    }
    const channel = CHANNELS[draw(random, CHANNEL_SHARES)] as string;
    const order: Order = { id: this.id(channel, atMs), channel, placedAtMs: atMs, lines };
    this.#plan(order, admitted, fates);
    return { atMs, kind: "order", order, attempt: 1 };
  }

  #plan(order: Order, admitted: boolean, fates: "shipped" | "mixed"): void {
    const { random } = this;
    const step = (kind: OrderStepAction["kind"], atMs: number, givesBack?: Order) =>
      this.#agenda.add(atMs, { atMs, kind, orderId: order.id, order }, givesBack);
    const held = admitted ? order : undefined;
    // The cube makes most payments quick (half within a minute) and a few slow.
    const payMs = order.placedAtMs + PAY_AFTER_MS + Math.floor(PAY_SPAN_MS * random.next() ** 3);
    const cancelAfterMs = CANCEL_AFTER_MS + random.below(CANCEL_SPAN_MS);
    switch (fates === "shipped" ? "outbound" : FATES[draw(random, FATE_SHARES)]) {
      case "outbound":
        step("pay", payMs);
        step("outbound", payMs + OUTBOUND_AFTER_MS + random.below(OUTBOUND_SPAN_MS));
        return;
      case "paid_cancelled":
        step("pay", payMs);
        step("cancel", payMs + cancelAfterMs, held);
        return;
      case "cancelled":
        step("cancel", order.placedAtMs + cancelAfterMs, held);
        return;
      default:
        if (held) this.#agenda.add(order.placedAtMs + DEFAULT_HOLD_MS, undefined, held);
    }
  }

  command(command: StockCommand & { atMs: number }): void {
    this.#agenda.add(command.atMs, { atMs: command.atMs, kind: "command", command });
  }

  /** The morning's lorries: every SKU under its reorder point is filled up to its opening stock. */
  deliver(nowMs: number): void {
    const low = this.catalogue.skus.flatMap((sku, place) => (this.shelf.of(place) < sku.reorderUnits ? [place] : []));
    low.forEach((place, turn) => {
      const atMs = nowMs + Math.floor((DELIVERY_SPAN_MS * turn) / low.length);
      const { code, cells } = this.sku(place);
      cells.forEach((cell, warehouse) => {
        const units = cell.sellableUnits - this.shelf.at(place, warehouse);
        if (units <= 0) return;
        const cause = { actor: `receiving.${cell.location.toLowerCase()}`, reason: "replenishment" };
        this.command({
          kind: "receive",
          id: this.id("RC", atMs),
          sku: code,
          location: cell.location,
          units,
          atMs,
          ...cause,
        });
      });
    });
  }

  /** A customer's parcel comes back. */
  takeBack(atMs: number): void {
    const cause = { actor: "returns desk", reason: this.random.pick(RETURN_REASONS) };
    const { location } = WAREHOUSES[draw(this.random, HOME_SHARES)] as (typeof WAREHOUSES)[number];
    this.command({
      kind: "return",
      id: this.id("RT", atMs),
      sku: this.sku(this.popular()).code,
      location,
      units: 1,
      atMs,
      ...cause,
    });
  }

  /** Somebody counts a shelf and finds less, or more, than the book says. */
  correct(atMs: number): void {
    const place = this.popular();
    const warehouse = this.random.below(WAREHOUSES.length);
    const missing = this.random.next() < 0.7;
    if (missing && this.shelf.at(place, warehouse) < CORRECTION_FLOOR_UNITS) return;
    const { location } = WAREHOUSES[warehouse] as (typeof WAREHOUSES)[number];
    const units = (1 + this.random.below(3)) * (missing ? -1 : 1);
    const cause = {
      actor: `${this.random.pick(COUNTERS)}.${location.toLowerCase()}`,
      reason: this.random.pick(missing ? LOSS_REASONS : FOUND_REASONS),
    };
    this.command({
      kind: "correct",
      id: this.id("CC", atMs),
      sku: this.sku(place).code,
      location,
      units,
      atMs,
      ...cause,
    });
  }

  /**
   * A SKU of which a livestream can sell 400 and that does not sell so many by itself; undefined when there is none.
   */
  surprise(): number | undefined {
    const promoted = new Set(this.catalogue.promotions.map((promotion) => promotion.sku));
    const candidates = this.catalogue.skus.flatMap((sku, place) =>
      !promoted.has(place) && sku.dailyUnits <= SURPRISE_DAILY_UNITS && this.shelf.of(place) > 1.2 * SURPRISE_UNITS
        ? [place]
        : [],
    );
    return candidates.length > 0 ? this.random.pick(candidates) : undefined;
  }
}

const RETURN_REASONS = [
  "changed mind within 7 days",
  "wrong size",
  "damaged outer box",
  "refused at the door",
] as const;
const LOSS_REASONS = ["cycle count: missing", "damaged in picking", "water damage", "sample taken for photos"] as const;
const FOUND_REASONS = ["cycle count: found", "found behind the rack", "mislabelled carton put right"] as const;
const COUNTERS = ["li.na", "wang.lei", "zhang.min", "chen.jie", "zhao.yu"] as const;

/** How many orders a minute of an ordinary day brings on average. */
function ordersPerMinute(minuteOfDay: number): number {
  // Between the middles of two hours the rate changes evenly.
  const hour = (minuteOfDay + 0.5) / HOUR_MINUTES - 0.5;
  const before = Math.floor(hour);
  const part = hour - before;
  const weight =
    (HOUR_WEIGHTS[(before + 24) % 24] as number) * (1 - part) + (HOUR_WEIGHTS[(before + 25) % 24] as number) * part;
  return (weight / HOUR_WEIGHT_SUM / HOUR_MINUTES) * (DAILY_LINES / MEAN_LINES);
}

const minuteOfDay = (atMs: number): number => Math.floor(((atMs + SHOP_OFFSET_MS) % DAY_MS) / MINUTE_MS);
const nextMidnightMs = (atMs: number): number => atMs - ((atMs + SHOP_OFFSET_MS) % DAY_MS) + DAY_MS;

/** One ordinary day, from `fromMs` to midnight; what is still open then stays in the trade's agenda. */
function* ordinaryDay(trade: Trade, fromMs: number, surprises: number, fates: "shipped" | "mixed"): Generator<Action> {
  const { random } = trade;
  const mood = 0.94 + 0.12 * random.next();
  const starts = new Set(
    Array.from({ length: surprises }, () => SURPRISE_FROM_MINUTE + random.below(SURPRISE_SPAN_MINUTES)),
  );
  let live: { sku: number; untilMs: number }[] = [];

  const untilMs = nextMidnightMs(fromMs);
  for (let minuteMs = fromMs; minuteMs < untilMs; minuteMs += MINUTE_MS) {
    const minute = minuteOfDay(minuteMs);
    const anywhen = () => minuteMs + random.below(MINUTE_MS);
    if (minute === DELIVERY_MINUTE) trade.deliver(minuteMs);
    const ordinary = ordersPerMinute(minute) * mood;
    const activity = ordinary / (DAILY_LINES / MEAN_LINES);
    if (random.next() < RETURNS_PER_DAY * activity) trade.takeBack(anywhen());
    if (random.next() < CORRECTIONS_PER_DAY * activity) trade.correct(anywhen());

    // −1: an ordinary order; else the SKU that its first line is for.
    const placed: { atMs: number; sku: number }[] = [];
    for (let left = arrivals(random, ordinary); left > 0; left--) placed.push({ atMs: anywhen(), sku: -1 });
    const star = starts.has(minute) ? trade.surprise() : undefined;
    if (star !== undefined) live.push({ sku: star, untilMs: minuteMs + SURPRISE_MINUTES * MINUTE_MS });
    live = live.filter((surprise) => surprise.untilMs > minuteMs);
    for (const { sku } of live) {
      const mean = SURPRISE_UNITS / SURPRISE_MINUTES / MEAN_LINE_UNITS;
      for (let left = arrivals(random, mean); left > 0; left--) placed.push({ atMs: anywhen(), sku });
    }
    placed.sort((a, b) => a.atMs - b.atMs);

    for (const { atMs, sku } of placed) {
      for (let due = trade.due(atMs); due; due = trade.due(atMs)) yield due;
      yield trade.order(atMs, fates, (line) => (line === 0 && sku >= 0 ? sku : trade.popular()));
    }
  }
  for (let due = trade.due(untilMs - 1); due; due = trade.due(untilMs - 1)) yield due;
}

/** What is left on the agenda when no more orders come. */
function* remainder(trade: Trade): Generator<Action> {
  for (let due = trade.due(Number.POSITIVE_INFINITY); due; due = trade.due(Number.POSITIVE_INFINITY)) yield due;
}

/** The receipts that open the shop: sellable, safety and presale units of every cell, all at `atMs`. */
export function openingCommands(catalogue: Catalogue, atMs: number): StockCommand[] {
  const commands: StockCommand[] = [];
  const cause = { actor: "stocktaking", reason: "opening stock" };
  for (const { code, cells } of catalogue.skus) {
    for (const { location, ...cell } of cells) {
      for (const pool of ["sellable", "safety", "presale"] as const) {
        const units = cell[`${pool}Units`];
        if (units === 0) continue;
        const id = chainId("RC", atMs, `opening/${code}/${location}/${pool}`);
        commands.push({ kind: "receive", id, sku: code, location, units, pool, atMs, ...cause });
      }
    }
  }
  return commands;
}

/**
 * Ordinary days before the rush: every order is paid and goes out, every morning brings deliveries, every other day
 * from the third on has a surprise. Some of the last evening's parcels go out in the four hours after the end.
 * @param fromMs a midnight of the shop
 * @param shelf what is sellable at the start; left out, the opening stock
 */
export function* history(
  catalogue: Catalogue,
  seed: number,
  fromMs: number,
  days: number,
  shelf = new Shelf(catalogue),
): Generator<Action> {
  const trade = new Trade(catalogue, seed, "history", fromMs, shelf);
  for (let day = 0; day < days; day++) {
    yield* ordinaryDay(trade, fromMs + day * DAY_MS, day >= 2 && day % 2 === 0 ? 1 : 0, "shipped");
  }
  yield* remainder(trade);
}

/** How the orders of the rush that are not its opening burst spread over the hour, relative, by second. */
function rushWeight(second: number): number {
  const minute = second / 60;
  let weight = Math.exp(-minute / 10) + 0.18;
  for (const start of [15, 30, 45]) if (minute >= start) weight += 0.6 * Math.exp(-(minute - start) / 5);
  return weight;
}

/**
 * New orders in each second of the rush hour, as drawn (they sum to RUSH_ORDERS) and as the curve has them (never 0).
 */
function rushPlan(): { orders: number; expected: number }[] {
  const weights = Array.from({ length: RUSH_SECONDS }, (_, second) => rushWeight(second));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const spread = RUSH_ORDERS - OPENING_ORDERS.reduce<number>((sum, orders) => sum + orders, 0);
  let sum = 0;
  let given = 0;
  return weights.map((weight, second) => {
    sum += weight;
    const orders = Math.round((spread * sum) / total) - given;
    given += orders;
    const opening = OPENING_ORDERS[second] ?? 0;
    return { orders: orders + opening, expected: (spread * weight) / total + opening };
  });
}

/**
 * The rush hour (requirements F): 12,843 distinct orders, 40 % of them in the first ten seconds, with retries (the same
 * order again, a higher `attempt`) up to 8,200 requests in the peak second. What becomes of the orders goes on for some
 * four hours after the hour.
 * @param shelf what is sellable at the start; left out, the opening stock
 */
export function* rush(
  catalogue: Catalogue,
  seed: number,
  startMs: number,
  shelf = new Shelf(catalogue),
): Generator<Action> {
  const trade = new Trade(catalogue, seed, "rush", startMs, shelf);
  const { random } = trade;
  const shares = new Array<number>(catalogue.promotions.length).fill(0);
  const wish = (): number => {
    let rest = random.next();
    for (let i = 0; i < shares.length; i++) {
      rest -= shares[i] as number;
      if (rest < 0) return (catalogue.promotions[i] as Catalogue["promotions"][number]).sku;
    }
    return trade.popular();
  };
  let unanswered: { action: OrderAction; sinceMs: number }[] = [];

  for (const [second, { orders, expected }] of rushPlan().entries()) {
    const secondMs = startMs + second * SECOND_MS;
    catalogue.promotions.forEach(({ startMinute, decayMinutes, lineShare, unitsPerMinute }, i) => {
      const minutes = second / 60 - startMinute;
      const steady = unitsPerMinute / 60 / MEAN_LINE_UNITS / (expected * MEAN_LINES);
      shares[i] = minutes < 0 ? 0 : (lineShare + steady) * Math.exp(-minutes / decayMinutes);
    });

    const asked = Array.from({ length: orders }, () => ({ atMs: secondMs + random.below(SECOND_MS), retry: false }));
    // In the first second nobody is left unanswered before RETRY_AFTER_MS and a little more have passed.
    const quietMs = second === 0 ? 2 * RETRY_AFTER_MS : 0;
    for (let left = (OPENING_REQUESTS[second] ?? 0) - orders; left > 0; left--) {
      asked.push({ atMs: secondMs + quietMs + random.below(SECOND_MS - quietMs), retry: true });
    }
    asked.sort((a, b) => a.atMs - b.atMs);
    unanswered = unanswered.filter(({ action }) => action.order.placedAtMs + PATIENCE_MS >= secondMs + SECOND_MS);

    for (const { atMs, retry } of asked) {
      for (let due = trade.due(atMs); due; due = trade.due(atMs)) yield due;
      if (retry) {
        // A few looks for somebody who has waited long enough; the last one asked again early.
        let waiting = random.pick(unanswered);
        for (let looks = 0; looks < 8 && atMs - waiting.sinceMs < RETRY_AFTER_MS; looks++)
          waiting = random.pick(unanswered);
        waiting.sinceMs = atMs;
        waiting.action = { ...waiting.action, atMs, attempt: waiting.action.attempt + 1 };
        yield waiting.action;
      } else {
        const action = trade.order(atMs, "mixed", wish);
        if (second < OPENING_REQUESTS.length) unanswered.push({ action, sinceMs: atMs });
        yield action;
      }
    }
  }
  yield* remainder(trade);
}

/**
 * An ordinary day with one or two surprises, returns, corrections and the morning's deliveries. What becomes of its
 * orders goes on for some four hours after midnight.
 * @param dayStartMs a whole minute; the day ends at the shop's next midnight
 * @param shelf what is sellable at the start; left out, the opening stock
 */
export function* dayTraffic(
  catalogue: Catalogue,
  seed: number,
  dayStartMs: number,
  shelf = new Shelf(catalogue),
): Generator<Action> {
  const trade = new Trade(catalogue, seed, "day", dayStartMs, shelf);
  yield* ordinaryDay(trade, dayStartMs, 1 + trade.random.below(2), "mixed");
  yield* remainder(trade);
}
