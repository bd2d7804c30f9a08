/**
 * The demo shop as one endless stream of actions: the opening and a week of history (11 to 17 June 2026), the rush of
 * 18 June from midnight on, then day after day. Actions come in the order of time, each with its phase, so that a
 * runner can feed the history as fast as the ledger takes it and play the rest at a speed of its own. The same seed
 * gives the same stream, and a stream can be restarted at any time. The ledger's answers do not change it.
 */
import { DAY_MS } from "../../engine/kernel/clock.js";
import type { Action } from "./actions.js";
import { type Catalogue, makeCatalogue } from "./catalogue.js";
import { openingCommands } from "./opening.js";
import { dayTraffic, history, SHOP_OFFSET_MS, SHOP_ZONE } from "./ordinary-days.js";
import { RUSH_MS, rush } from "./rush.js";
import { StockEstimate } from "./stock-estimate.js";

export type { Action, CommandAction, Order, OrderAction, OrderLine, OrderStepAction } from "./actions.js";
export type { Catalogue, DemoCell, DemoSku, Name, Promotion } from "./catalogue.js";

export type Phase = "history" | "rush" | "day";
/** An action and the phase in which it happens, by its time: late steps of one phase's orders belong to the next. */
export type DemoAction = Action & { readonly phase: Phase };

const HISTORY_DAYS = 7;
/** 11 June 2026, 00:00 in the shop's zone. */
const OPENING_MS = Date.UTC(2026, 5, 11) - SHOP_OFFSET_MS;
const RUSH_START_MS = OPENING_MS + HISTORY_DAYS * DAY_MS;

/** The shop of one seed. */
export interface DemoShop {
  readonly seed: number;
  readonly zone: string;
  readonly catalogue: Catalogue;
  /** When the history starts (milliseconds since the epoch). */
  readonly openingMs: number;
  /** When the rush starts: 18 June 2026, 00:00 in the shop's zone. */
  readonly rushStartMs: number;
  /** When the rush hour is over and ordinary days begin. */
  readonly rushEndMs: number;
  /** A new stream from the opening on; it never ends. */
  actions(): Generator<DemoAction, never, undefined>;
}

/** Makes the shop of a seed. */
export function demoShop(seed: number): DemoShop {
  const catalogue = makeCatalogue(seed);
  const rushEndMs = RUSH_START_MS + RUSH_MS;
  const phaseAt = (atMs: number): Phase => (atMs < RUSH_START_MS ? "history" : atMs < rushEndMs ? "rush" : "day");

  function* actions(): Generator<DemoAction, never, undefined> {
    for (const command of openingCommands(catalogue, OPENING_MS)) {
      yield { atMs: OPENING_MS, kind: "command", command, phase: "history" };
    }
    for (const action of inTimeOrder(phases(catalogue, seed)))
      yield Object.assign(action, { phase: phaseAt(action.atMs) });
    throw new RangeError("days do not end");
  }
  return { seed, zone: SHOP_ZONE, catalogue, openingMs: OPENING_MS, rushStartMs: RUSH_START_MS, rushEndMs, actions };
}

/** A part of the traffic, and the time before which it has nothing. */
interface Part {
  readonly startMs: number;
  open(): Iterator<Action>;
}

/** History, rush and days without end, with one stock estimate. */
function* phases(catalogue: Catalogue, seed: number): Generator<Part, never> {
  const estimate = new StockEstimate(catalogue);
  yield { startMs: OPENING_MS, open: () => history(catalogue, seed, OPENING_MS, HISTORY_DAYS, estimate) };
  yield { startMs: RUSH_START_MS, open: () => rush(catalogue, seed, RUSH_START_MS, estimate) };
  let startMs = RUSH_START_MS + RUSH_MS;
  for (let day = RUSH_START_MS; ; startMs = day) {
    const dayStartMs = startMs;
    yield { startMs: dayStartMs, open: () => dayTraffic(catalogue, seed, dayStartMs, estimate) };
    day += DAY_MS;
  }
}

/** Merges parts that overlap; a part is opened at its start time, so that only two or three are open at once. */
function* inTimeOrder(parts: Iterator<Part>): Generator<Action> {
  const open: { source: Iterator<Action>; head: Action }[] = [];
  const start = (part: Part) => {
    const source = part.open();
    const first = source.next();
    if (!first.done) open.push({ source, head: first.value });
  };
  let upcoming = parts.next();
  for (;;) {
    let earliest = open[0];
    for (const candidate of open) if (earliest && candidate.head.atMs < earliest.head.atMs) earliest = candidate;
    if (!upcoming.done && (!earliest || upcoming.value.startMs <= earliest.head.atMs)) {
      start(upcoming.value);
      upcoming = parts.next();
      continue;
    }
    if (!earliest) return;
    const action = earliest.head;
    const next = earliest.source.next();
    if (next.done) open.splice(open.indexOf(earliest), 1);
    else earliest.head = next.value;
    yield action;
  }
}
