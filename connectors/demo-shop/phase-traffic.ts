/**
 * One phase of the demo shop's traffic: draws orders and the warehouses' commands, keeps their future steps in an
 * agenda, and updates the estimate of sellable units. The caller (ordinary-days.ts, rush.ts) decides when. Random
 * numbers are drawn in a fixed order, so the same calls give the same actions.
 */
import { chainId } from "../../engine/kernel/chain-id.js";
import { MINUTE_MS } from "../../engine/kernel/clock.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import { DEFAULT_HOLD_MS, type StockCommand } from "../../engine/stock/model.js";
import type { Action, Order, OrderAction, OrderLine, OrderStepAction } from "./actions.js";
import { Agenda } from "./agenda.js";
import { type Catalogue, type DemoSku, LINE_UNIT_SHARES, WAREHOUSES } from "./catalogue.js";
import type { StockEstimate } from "./stock-estimate.js";

const CHANNELS = ["TB", "JD", "DY", "YZ"] as const;
const CHANNEL_SHARES = [0.45, 0.25, 0.2, 0.1] as const;
/** Shares of orders with 1, 2, 3 and 4 lines. */
const LINE_COUNT_SHARES = [0.45, 0.3, 0.17, 0.08] as const;
/** 1 × 0.45 + 2 × 0.3 + 3 × 0.17 + 4 × 0.08. */
export const MEAN_LINES = 1.88;
const HOME_SHARES = WAREHOUSES.map((warehouse) => warehouse.share);
/** How often a line comes from a warehouse that is not the buyer's nearest. */
const ELSEWHERE_SHARE = 0.12;
/** Share of sold-out lines that are ordered all the same, from a page that is not up to date. */
const STALE_PAGE_SHARE = 0.15;

const DELIVERY_SPAN_MS = 2 * 60 * MINUTE_MS;
/** Units that a cell must have before a correction removes up to 3: more than a minute's sales. */
const CORRECTION_FLOOR_UNITS = 30;

const PAY_AFTER_MS = 5_000;
const PAY_SPAN_MS = 400_000;
const CANCEL_AFTER_MS = 20_000;
const CANCEL_SPAN_MS = 15 * MINUTE_MS;
const OUTBOUND_AFTER_MS = 20 * MINUTE_MS;
const OUTBOUND_SPAN_MS = 220 * MINUTE_MS;
/** How orders end: 88 % are paid (1 % of all is then cancelled), 3 % are cancelled unpaid, 9 % expire. */
const ENDINGS = ["outbound", "paid_cancelled", "cancelled", "abandoned"] as const;
const ENDING_SHARES = [0.87, 0.01, 0.03, 0.09] as const;

const RETURN_REASONS = [
  "changed mind within 7 days",
  "wrong size",
  "damaged outer box",
  "refused at the door",
] as const;
const LOSS_REASONS = ["cycle count: missing", "damaged in picking", "water damage", "sample taken for photos"] as const;
const FOUND_REASONS = ["cycle count: found", "found behind the rack", "mislabelled carton put right"] as const;
const COUNTERS = ["li.na", "wang.lei", "zhang.min", "chen.jie", "zhao.yu"] as const;

/** A random index into `shares`, which sum to 1. */
function draw(random: Random, shares: readonly number[]): number {
  let rest = random.next();
  for (let i = 0; i < shares.length - 1; i++) {
    rest -= shares[i] as number;
    if (rest < 0) return i;
  }
  return shares.length - 1;
}

/** Generates the traffic of one phase. */
export class PhaseTraffic {
  readonly catalogue: Catalogue;
  readonly estimate: StockEstimate;
  readonly random: Random;
  readonly #agenda = new Agenda();
  readonly #label: string;
  #references = 0;

  constructor(catalogue: Catalogue, seed: number, phase: string, startMs: number, estimate: StockEstimate) {
    this.catalogue = catalogue;
    this.estimate = estimate;
    this.#label = `${phase}/${seed}/${startMs}`;
    // The start is a part of the seed, so that no two days are the same.
    this.random = seededRandom(
      Math.imul(seed ^ 0x2545f491, 0x9e3779b1) ^ Math.floor(startMs / MINUTE_MS) ^ phase.charCodeAt(0),
    );
  }

  id(channel: string, atMs: number): string {
    return chainId(channel, atMs, `${this.#label}/${this.#references++}`);
  }

  /** The next action that is due; undefined when none is. */
  nextDue(untilMs: number): Action | undefined {
    for (;;) {
      const entry = this.#agenda.take(untilMs);
      if (entry === undefined) return undefined;
      if (entry.releases) this.estimate.release(entry.releases);
      if (entry.action === undefined) continue;
      if (entry.action.kind === "command") this.estimate.apply(entry.action.command);
      return entry.action;
    }
  }

  randomSku(): number {
    const { popularity } = this.catalogue;
    return popularity[this.random.below(popularity.length)] as number;
  }

  sku(skuIndex: number): DemoSku {
    return this.catalogue.skus[skuIndex] as DemoSku;
  }

  /**
   * Draws an order; `skuOfLine` gives the index of each line's SKU. Deducts its units from the estimate if all lines
   * have enough.
   */
  drawOrder(atMs: number, endings: "shipped" | "mixed", skuOfLine: (line: number) => number): OrderAction {
    const { random, estimate } = this;
    const home = draw(random, HOME_SHARES);
    const lines: OrderLine[] = [];
    const taken: number[] = [];
    let admitted = true;
    for (let line = 1 + draw(random, LINE_COUNT_SHARES); line > 0; line--) {
      let skuIndex = skuOfLine(lines.length);
      const units = 1 + draw(random, LINE_UNIT_SHARES);
      const near = random.next() < ELSEWHERE_SHARE ? random.below(WAREHOUSES.length) : home;
      let warehouse = estimate.source(skuIndex, near, units);
      if (warehouse === undefined && random.next() >= STALE_PAGE_SHARE) {
        skuIndex = this.randomSku();
        warehouse = estimate.source(skuIndex, near, units);
      }
      const { code } = this.sku(skuIndex);
      if (lines.some((other) => other.sku === code)) continue;
      if (warehouse === undefined) admitted = false;
      else taken.push(skuIndex, warehouse, units);
      lines.push({
        sku: code,
        location: (WAREHOUSES[warehouse ?? near] as (typeof WAREHOUSES)[number]).location,
        units,
      });
    }
    for (let i = 0; admitted && i < taken.length; i += 3) {
      estimate.add(taken[i] as number, taken[i + 1] as number, -(taken[i + 2] as number));
    }
    const channel = CHANNELS[draw(random, CHANNEL_SHARES)] as string;
    const order: Order = { id: this.id(channel, atMs), channel, placedAtMs: atMs, lines };
    this.#schedule(order, admitted, endings);
    return { atMs, kind: "order", order, attempt: 1 };
  }

  #schedule(order: Order, admitted: boolean, endings: "shipped" | "mixed"): void {
    const { random } = this;
    const step = (kind: OrderStepAction["kind"], atMs: number, releases?: Order) =>
      this.#agenda.add(atMs, { atMs, kind, orderId: order.id, order }, releases);
    const held = admitted ? order : undefined;
    // The cube makes half of the payments come within a minute, and a few late.
    const payMs = order.placedAtMs + PAY_AFTER_MS + Math.floor(PAY_SPAN_MS * random.next() ** 3);
    const cancelAfterMs = CANCEL_AFTER_MS + random.below(CANCEL_SPAN_MS);
    switch (endings === "shipped" ? "outbound" : ENDINGS[draw(random, ENDING_SHARES)]) {
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

  /** The morning's deliveries: every SKU under its reorder point is filled up to its opening stock. */
  deliver(nowMs: number): void {
    const low = this.catalogue.skus.flatMap((sku, skuIndex) =>
      this.estimate.of(skuIndex) < sku.reorderUnits ? [skuIndex] : [],
    );
    low.forEach((skuIndex, turn) => {
      const atMs = nowMs + Math.floor((DELIVERY_SPAN_MS * turn) / low.length);
      const { code, cells } = this.sku(skuIndex);
      cells.forEach((cell, warehouse) => {
        const units = cell.sellableUnits - this.estimate.at(skuIndex, warehouse);
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

  /** A customer returns one unit. */
  returnUnit(atMs: number): void {
    const cause = { actor: "returns desk", reason: this.random.pick(RETURN_REASONS) };
    const { location } = WAREHOUSES[draw(this.random, HOME_SHARES)] as (typeof WAREHOUSES)[number];
    this.command({
      kind: "return",
      id: this.id("RT", atMs),
      sku: this.sku(this.randomSku()).code,
      location,
      units: 1,
      atMs,
      ...cause,
    });
  }

  /** A stock count finds fewer, or more, units than recorded. */
  correct(atMs: number): void {
    const skuIndex = this.randomSku();
    const warehouse = this.random.below(WAREHOUSES.length);
    const isLoss = this.random.next() < 0.7;
    if (isLoss && this.estimate.at(skuIndex, warehouse) < CORRECTION_FLOOR_UNITS) return;
    const { location } = WAREHOUSES[warehouse] as (typeof WAREHOUSES)[number];
    const units = (1 + this.random.below(3)) * (isLoss ? -1 : 1);
    const cause = {
      actor: `${this.random.pick(COUNTERS)}.${location.toLowerCase()}`,
      reason: this.random.pick(isLoss ? LOSS_REASONS : FOUND_REASONS),
    };
    this.command({
      kind: "correct",
      id: this.id("CC", atMs),
      sku: this.sku(skuIndex).code,
      location,
      units,
      atMs,
      ...cause,
    });
  }
}

/** The actions that are still on the agenda after the last order. */
export function* remainingActions(traffic: PhaseTraffic): Generator<Action> {
  for (let due = traffic.nextDue(Number.POSITIVE_INFINITY); due; due = traffic.nextDue(Number.POSITIVE_INFINITY))
    yield due;
}
