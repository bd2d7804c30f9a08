/**
 * The demo shop's ordinary days: the week of history before the rush, and the days after it. Orders follow the hour of
 * the day; livestreams, returns, corrections and the morning's deliveries are added. A pure, lazy generator: the same
 * arguments give the same actions.
 */
import { DAY_MS, MINUTE_MS } from "../../engine/kernel/clock.js";
import type { Random } from "../../engine/kernel/random.js";
import type { Action } from "./actions.js";
import { type Catalogue, DAILY_LINES, MEAN_LINE_UNITS } from "./catalogue.js";
import { MEAN_LINES, PhaseTraffic, remainingActions } from "./phase-traffic.js";
import { StockEstimate } from "./stock-estimate.js";

/** The shop's zone; it has no summer time, so every day has 24 hours. */
export const SHOP_ZONE = "Asia/Shanghai";
export const SHOP_OFFSET_MS = 8 * 3_600_000;

const HOUR_MINUTES = 60;
/** Orders placed in each hour of an ordinary day, relative: quiet nights, peaks at 10–12 and 20–22. */
const HOUR_WEIGHTS = [
  1.3, 0.6, 0.35, 0.25, 0.2, 0.3, 0.7, 1.6, 3.2, 5.4, 7.6, 7.8, 5.8, 4.6, 4.4, 4.6, 4.8, 4.8, 5.2, 6.6, 8.6, 8.8, 6.4,
  3.0,
] as const;
const HOUR_WEIGHT_SUM = HOUR_WEIGHTS.reduce<number>((sum, weight) => sum + weight, 0);

const DELIVERY_MINUTE = 6 * 60 + 30;
const RETURNS_PER_DAY = 120;
const CORRECTIONS_PER_DAY = 24;

/** A livestream: 400 units of one SKU in 20 minutes. */
const LIVESTREAM_UNITS = 400;
const LIVESTREAM_MINUTES = 20;
/** Such a SKU sells so little on ordinary days that 400 units are more than three days' sales. */
const LIVESTREAM_MAX_DAILY_UNITS = 105;
/** Livestreams begin between 10:00 and 22:00. */
const LIVESTREAM_FROM_MINUTE = 10 * 60;
const LIVESTREAM_SPAN_MINUTES = 12 * 60;

/**
 * Ordinary days before the rush: every order is paid and goes out, every morning brings deliveries, every other day
 * from the third on has a livestream. Some parcels of the last evening go out in the four hours after the end.
 * @param fromMs a midnight of the shop
 * @param estimate what is sellable at the start; left out, the opening stock
 */
export function* history(
  catalogue: Catalogue,
  seed: number,
  fromMs: number,
  days: number,
  estimate = new StockEstimate(catalogue),
): Generator<Action> {
  const traffic = new PhaseTraffic(catalogue, seed, "history", fromMs, estimate);
  for (let day = 0; day < days; day++) {
    yield* ordinaryDay(traffic, fromMs + day * DAY_MS, day >= 2 && day % 2 === 0 ? 1 : 0, "shipped");
  }
  yield* remainingActions(traffic);
}

/**
 * An ordinary day with one or two livestreams, returns, corrections and the morning's deliveries. Steps of its orders
 * continue for some four hours after midnight.
 * @param dayStartMs a whole minute; the day ends at the shop's next midnight
 * @param estimate what is sellable at the start; left out, the opening stock
 */
export function* dayTraffic(
  catalogue: Catalogue,
  seed: number,
  dayStartMs: number,
  estimate = new StockEstimate(catalogue),
): Generator<Action> {
  const traffic = new PhaseTraffic(catalogue, seed, "day", dayStartMs, estimate);
  yield* ordinaryDay(traffic, dayStartMs, 1 + traffic.random.below(2), "mixed");
  yield* remainingActions(traffic);
}

/** One ordinary day, from `fromMs` to midnight; later steps stay on the agenda. */
function* ordinaryDay(
  traffic: PhaseTraffic,
  fromMs: number,
  livestreams: number,
  endings: "shipped" | "mixed",
): Generator<Action> {
  const { random } = traffic;
  const dayFactor = 0.94 + 0.12 * random.next();
  const starts = new Set(
    Array.from({ length: livestreams }, () => LIVESTREAM_FROM_MINUTE + random.below(LIVESTREAM_SPAN_MINUTES)),
  );
  let live: { sku: number; untilMs: number }[] = [];

  const untilMs = nextMidnightMs(fromMs);
  for (let minuteMs = fromMs; minuteMs < untilMs; minuteMs += MINUTE_MS) {
    const minute = minuteOfDay(minuteMs);
    const randomTimeMs = () => minuteMs + random.below(MINUTE_MS);
    if (minute === DELIVERY_MINUTE) traffic.deliver(minuteMs);
    const ordinary = ordersPerMinute(minute) * dayFactor;
    const activity = ordinary / (DAILY_LINES / MEAN_LINES);
    if (random.next() < RETURNS_PER_DAY * activity) traffic.returnUnit(randomTimeMs());
    if (random.next() < CORRECTIONS_PER_DAY * activity) traffic.correct(randomTimeMs());

    // `sku` is the index of the first line's SKU, or −1 for an ordinary order.
    const placed: { atMs: number; sku: number }[] = [];
    for (let left = arrivals(random, ordinary); left > 0; left--) placed.push({ atMs: randomTimeMs(), sku: -1 });
    const started = starts.has(minute) ? livestreamSku(traffic) : undefined;
    if (started !== undefined) live.push({ sku: started, untilMs: minuteMs + LIVESTREAM_MINUTES * MINUTE_MS });
    live = live.filter((livestream) => livestream.untilMs > minuteMs);
    for (const { sku } of live) {
      const mean = LIVESTREAM_UNITS / LIVESTREAM_MINUTES / MEAN_LINE_UNITS;
      for (let left = arrivals(random, mean); left > 0; left--) placed.push({ atMs: randomTimeMs(), sku });
    }
    placed.sort((a, b) => a.atMs - b.atMs);

    for (const { atMs, sku } of placed) {
      for (let due = traffic.nextDue(atMs); due; due = traffic.nextDue(atMs)) yield due;
      yield traffic.drawOrder(atMs, endings, (line) => (line === 0 && sku >= 0 ? sku : traffic.randomSku()));
    }
  }
  for (let due = traffic.nextDue(untilMs - 1); due; due = traffic.nextDue(untilMs - 1)) yield due;
}

/**
 * A SKU that can sell 400 units in a livestream, and does not sell that many on its own; undefined when there is none.
 */
function livestreamSku({ catalogue, estimate, random }: PhaseTraffic): number | undefined {
  const promoted = new Set(catalogue.promotions.map((promotion) => promotion.sku));
  const candidates = catalogue.skus.flatMap((sku, index) =>
    !promoted.has(index) && sku.dailyUnits <= LIVESTREAM_MAX_DAILY_UNITS && estimate.of(index) > 1.2 * LIVESTREAM_UNITS
      ? [index]
      : [],
  );
  return candidates.length > 0 ? random.pick(candidates) : undefined;
}

/** A random number of arrivals in a minute (Poisson, by Knuth's method: for small means). */
function arrivals(random: Random, mean: number): number {
  const limit = Math.exp(-mean);
  let product = random.next();
  let result = 0;
  for (; product > limit; result++) product *= random.next();
  return result;
}

/** How many orders a minute of an ordinary day brings on average. */
function ordersPerMinute(minuteOfDay: number): number {
  // Linear between the middles of two hours.
  const hour = (minuteOfDay + 0.5) / HOUR_MINUTES - 0.5;
  const before = Math.floor(hour);
  const part = hour - before;
  const weight =
    (HOUR_WEIGHTS[(before + 24) % 24] as number) * (1 - part) + (HOUR_WEIGHTS[(before + 25) % 24] as number) * part;
  return (weight / HOUR_WEIGHT_SUM / HOUR_MINUTES) * (DAILY_LINES / MEAN_LINES);
}

const minuteOfDay = (atMs: number): number => Math.floor(((atMs + SHOP_OFFSET_MS) % DAY_MS) / MINUTE_MS);
const nextMidnightMs = (atMs: number): number => atMs - ((atMs + SHOP_OFFSET_MS) % DAY_MS) + DAY_MS;
