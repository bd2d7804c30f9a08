/**
 * `shuiwei bench 618`: the first hour of 18 June, replayed three times with the same buyers and the same warehouse:
 * as it was, as it is with this product, and as it is with the warehouse dead from minute 5 to minute 20. The first
 * half minute, the rush, is always real time; `--speed` sets how fast the rest of the hour goes. It prints a table or
 * JSON, and with `--out` it writes the figures, the series and a picture of them.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BenchReport, BenchSettings } from "../engine/cli/bench.js";
import { asItIs } from "./618/as-it-is.js";
import { asItWas, type HourSettings } from "./618/as-it-was.js";
import { INCIDENT_ORDERS } from "./618/orders.js";
import type { HourOutcome } from "./618/outcome.js";
import { pictureOf } from "./618/picture.js";
import { type Replay, tableOf } from "./618/table.js";

const RUSH_MS = 30_000;
const DEAD_MS: [from: number, to: number] = [5 * 60_000, 20 * 60_000];
/** The limit that R22 sets for the way from payment to picking, and the one that the WMS sets. */
const PAID_TO_PICKING_MS = 800;

export async function run({ speed, out, signal, onProgress }: BenchSettings): Promise<BenchReport> {
  const factor = speed === "real" ? 1 : Number(speed);
  const settings: HourSettings = { pace: { realMs: RUSH_MS, factor }, orders: INCIDENT_ORDERS, signal, onProgress };
  const replay: Replay = {
    asItWas: await asItWas(settings),
    asItIs: await asItIs(settings),
    wmsDead: await asItIs(settings, DEAD_MS),
  };
  const details = {
    asItWas: figuresOf(replay.asItWas),
    asItIs: figuresOf(replay.asItIs),
    wmsDead: figuresOf(replay.wmsDead),
  };
  if (out !== undefined) {
    mkdirSync(out, { recursive: true });
    writeFileSync(join(out, "618.json"), `${JSON.stringify({ speed: factor, ...replay })}\n`);
    writeFileSync(join(out, "618.svg"), pictureOf(replay, factor));
  }
  const { asItWas: was, asItIs: is } = replay;
  return {
    rows: [
      row("orders at the WMS", "orders", is.atWms, was.atWms),
      row("paid to picking, p99", "ms", is.paidToPickingP99Ms ?? 0, was.paidToPickingP99Ms ?? 0),
    ],
    facts: { speed: factor },
    details,
    table: tableOf(replay, factor, PAID_TO_PICKING_MS),
  };
}

const row = (name: string, unit: string, ours: number, theirs: number) => ({
  case: name,
  unit,
  ours,
  peer: "as it was",
  theirs,
  ratio: theirs > 0 ? Math.round((ours / theirs) * 1_000) / 1_000 : 0,
});

/** An outcome without its series. */
function figuresOf({ series: _, ...figures }: HourOutcome): Omit<HourOutcome, "series"> {
  return figures;
}
