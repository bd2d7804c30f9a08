/**
 * What a shop's ledger is asked on a busy day, as commands: lines are reserved, most are paid and go out, some are
 * cancelled, some are never paid and expire; now and then goods come in or a count is put right. Seedless and the
 * same each time: SKUs by a prime step over the catalogue, fates by turns. Nothing is refused, because every SKU has
 * stock enough, so what is measured is the work and not its absence.
 */
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import type { Account, ReceiveStock, StockCommand } from "../../engine/stock/model.js";

export const SKUS = 10_000;
const LOCATION = "main";
/** No SKU can run out of it. */
export const OPENING_UNITS = 1_000_000_000;

const CHANNEL = "BE";
/** A prime step spreads the SKUs without an order. */
const STEP = 7_919;
/** Lines that are open at a time: so many are reserved before the first of them is paid. */
const OPEN_LINES = 3_000;
/** Of ten lines: six go out, two are paid and wait, one is cancelled, one is never paid. */
const FATES = [
  "outbound",
  "outbound",
  "paid",
  "outbound",
  "cancelled",
  "outbound",
  "outbound",
  "paid",
  "outbound",
  "lost",
];
/** One of so many turns brings goods, or a count. */
const RECEIPT_EVERY = 50;

const skuOf = (i: number): string => `SKU-${(i * STEP) % SKUS}`;

/** The opening stock. */
export const openings = (atMs: number): ReceiveStock[] =>
  Array.from({ length: SKUS }, (_, i) => ({
    kind: "receive",
    id: chainIdFromNumber(CHANNEL, atMs, i),
    sku: `SKU-${i}`,
    location: LOCATION,
    units: OPENING_UNITS,
  }));

/**
 * The first `count` commands of the trade.
 * @param timeOf when the command of a number is given, in milliseconds since the epoch: ids carry it
 */
export function trade(count: number, timeOf: (i: number) => number): StockCommand[] {
  const commands: StockCommand[] = [];
  const push = (command: StockCommand): void => {
    if (commands.length < count) commands.push(command);
  };
  const ids: string[] = [];
  for (let turn = 0; commands.length < count; turn++) {
    const id = chainIdFromNumber(CHANNEL, timeOf(commands.length), SKUS + turn);
    ids.push(`${id}-1`);
    const line = (i: number) => ({ id: ids[i] as string, sku: skuOf(i), location: LOCATION, units: 1 + (i % 3) });
    push({ kind: "reserve", ...line(turn) });
    const paid = turn - OPEN_LINES;
    if (paid >= 0) {
      const fate = FATES[paid % FATES.length];
      if (fate === "cancelled") push({ kind: "cancel", ...line(paid) });
      else if (fate !== "lost") push({ kind: "pay", ...line(paid) });
    }
    const out = turn - 2 * OPEN_LINES;
    if (out >= 0 && FATES[out % FATES.length] === "outbound") push({ kind: "outbound", ...line(out) });
    if (turn % RECEIPT_EVERY === 0) push({ kind: "receive", id, sku: skuOf(turn), location: LOCATION, units: 100 });
    if (turn % RECEIPT_EVERY === 25) push({ kind: "correct", id, sku: skuOf(turn), location: LOCATION, units: 1 });
  }
  return commands;
}

const TRANSFERS: Readonly<Record<string, readonly [from: Account, to: Account]>> = {
  receive: ["outside", "sellable"],
  correct: ["outside", "sellable"],
  reserve: ["sellable", "reserved"],
  pay: ["reserved", "committed"],
  cancel: ["reserved", "sellable"],
  outbound: ["committed", "outside"],
};

/** Between which accounts a command of the trade moves its units. */
export const transferOf = ({ kind }: StockCommand): readonly [from: Account, to: Account] =>
  TRANSFERS[kind] as readonly [Account, Account];
