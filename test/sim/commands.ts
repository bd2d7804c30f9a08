/**
 * An endless, seeded stream of stock commands for the simulation: the usual steps of orders, mixed with the errors that
 * can occur on the way to the ledger (sent twice, sent again with another body, too old, in the future, out of order,
 * for more units than there are). It depends on the commands it has made and never on the answers, so a seed gives the
 * same list whatever the ledger does. Commands are well formed; connectors reject malformed ones.
 */
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { DAY_MS } from "../../engine/kernel/clock.js";
import type { Random } from "../../engine/kernel/random.js";
import {
  type CommandKind,
  type CountedPool,
  MAX_HOLD_MS,
  MAX_UNITS,
  type OrderPool,
  type Pool,
  type ReserveStock,
  type StockCommand,
} from "../../engine/stock/model.js";

/** Never received: every order for it is refused. */
const UNSTOCKED = "GHOST-0";
/** Its commands have units near the limit of exact numbers. */
const GIANT = "GIANT-1";
const STOCKED = ["CUP-RED", "CUP-BLUE", "水杯-红", "SHOE-42", "SCARCE-1", GIANT];
export const SKUS: readonly string[] = [...STOCKED, UNSTOCKED];
export const LOCATIONS: readonly string[] = ["SH-1", "GZ-2", "成都-3"];

const GIANT_UNITS = [
  1,
  2 ** 31,
  2 ** 32 + 1,
  2 ** 45,
  2 ** 51,
  2 ** 51,
  2 ** 51,
  2 ** 51,
  2 ** 51 - 1,
  2 ** 52,
  2 ** 52,
  MAX_UNITS - 5,
  MAX_UNITS,
];
const HOLDS_MS = [1, 1_000, 60_000, 600_000, 7_200_000, MAX_HOLD_MS];
const SETTLEMENT = { comparison: "c-1", source: "wms", snapshot: "s-1", proposal: "p-1", asOfMs: 1_780_000_000_000 };
/** How many earlier lines and commands are kept for repetition. */
const MEMORY = 2_000;

const WEIGHTS: [CommandKind | "again" | "reused" | "retry", number][] = [
  ["reserve", 34],
  ["pay", 14],
  ["cancel", 6],
  ["outbound", 9],
  ["abort", 5],
  ["unpay", 4],
  ["accept", 6],
  ["suspend", 5],
  ["resume", 3],
  ["retry", 2],
  ["receive", 8],
  ["return", 3],
  ["correct", 4],
  ["move", 5],
  ["configure", 1],
  ["acknowledge", 1],
  ["again", 6],
  ["reused", 2],
];
const TOTAL_WEIGHT = WEIGHTS.reduce((sum, [, weight]) => sum + weight, 0);

export class CommandStream {
  /** The latest time that any command has named. */
  timeMs: number;
  readonly #random: Random;
  readonly #retentionDays: number;
  readonly #lines: ReserveStock[] = [];
  readonly #sent: StockCommand[] = [];
  readonly #queue: StockCommand[] = [];
  #salt = 0;

  constructor(random: Random, startMs: number, retentionDays: number) {
    this.#random = random;
    this.timeMs = startMs;
    this.#retentionDays = retentionDays;
  }

  /** The next commands, `size` of them. */
  take(size: number): StockCommand[] {
    return Array.from({ length: size }, () => this.#next());
  }

  /** So many orders with short holds that one sweep cannot release them all. */
  rush(size: number, holdMs: number): StockCommand[] {
    return Array.from({ length: size }, (_, i) =>
      i === 0
        ? { kind: "receive", id: this.#id(), sku: "CUP-RED", location: "SH-1", units: size * 2 }
        : this.#remember({
            kind: "reserve",
            id: this.#id(),
            sku: "CUP-RED",
            location: "SH-1",
            units: 1 + (i % 2),
            holdMs,
          }),
    );
  }

  #next(): StockCommand {
    const command = this.#queue.shift() ?? this.#fresh();
    if (command.atMs !== undefined && command.atMs > this.timeMs) this.timeMs = command.atMs;
    this.#sent.push(command);
    if (this.#sent.length > MEMORY) this.#sent.shift();
    // Repeated directly after itself: usually a duplicate within one batch.
    if (this.#random.below(50) === 0) this.#queue.push(command);
    return command;
  }

  #fresh(): StockCommand {
    let draw = this.#random.below(TOTAL_WEIGHT);
    for (const [kind, weight] of WEIGHTS) {
      draw -= weight;
      if (draw < 0) return this.#make(kind);
    }
    throw new RangeError("weights do not add up");
  }

  #make(kind: (typeof WEIGHTS)[number][0]): StockCommand {
    const random = this.#random;
    switch (kind) {
      case "reserve":
        return this.#reserve();
      case "pay":
        if (random.below(25) === 0) this.#queueScenario();
        return { ...this.#aboutLine(), kind, ...(random.below(3) === 0 && { attempt: 1 + random.below(4) }) };
      case "unpay":
        return { ...this.#aboutLine(), kind, attempt: 1 + random.below(4) };
      case "accept": {
        const line = this.#line();
        const holdMs = random.below(10) === 0 ? random.pick(HOLDS_MS) : line?.holdMs;
        return { ...this.#aboutLine(line), kind, ...(holdMs !== undefined && { holdMs }) };
      }
      case "outbound":
        return { ...this.#aboutLine(), kind };
      case "cancel":
      case "suspend":
      case "resume":
        return { ...this.#aboutLine(), kind, ...(random.below(2) === 0 && { attempt: 1 + random.below(4) }) };
      case "abort": {
        const line = this.#line();
        const attempt = Math.max(1, (line?.attempt ?? 1) - (random.below(3) === 0 ? 1 : 0));
        const abort: StockCommand = { ...this.#aboutLine(line), kind, attempt };
        if (line && random.below(2) === 0) this.#queue.push(this.#remember({ ...line, attempt: attempt + 1 }));
        return abort;
      }
      case "retry": {
        const line = this.#line();
        return line ? this.#remember({ ...line, attempt: (line.attempt ?? 1) + 1 }) : this.#reserve();
      }
      case "receive":
      case "return": {
        const at = this.#target(STOCKED);
        const pool = random.pick([null, null, "sellable", "safety", "presale"] as const);
        return {
          kind,
          ...at,
          units: this.#units(at.sku, 25),
          ...(pool && { pool }),
          ...this.#cause(),
        };
      }
      case "correct": {
        const at = this.#target();
        if (at.sku === UNSTOCKED) return { kind, ...at, units: -1 };
        // The types do not allow "reserved"; the ledger must refuse it too.
        const pool = random.pick<Pool | null>([
          null,
          "sellable",
          "safety",
          "presale",
          "reserved",
          "committed",
          "committed",
        ]);
        // Corrections of committed units are mostly negative, so that some lines have missing units.
        if (pool === "committed") return { kind, ...at, units: random.pick([-1, -2, -3, -9, 1]), pool };
        const units = this.#units(at.sku, 40) * (random.below(2) === 0 ? 1 : -1);
        const expected = random.below(4) === 0 ? { expected: { onHandUnits: random.below(30) } } : {};
        return { kind, ...at, units, ...(pool && { pool: pool as CountedPool }), ...expected, ...this.#cause() };
      }
      case "move": {
        const at = this.#target();
        const units = this.#units(at.sku, 30);
        const toLocation = random.pick(LOCATIONS);
        if (toLocation !== at.location) return { kind, ...at, units, from: "sellable", to: "sellable", toLocation };
        return random.below(2) === 0
          ? { kind, ...at, units, from: "sellable", to: "safety" }
          : { kind, ...at, units, from: "safety", to: "sellable", ...this.#cause() };
      }
      case "configure":
        return {
          kind,
          ...this.#target(),
          settings: { displayCoefficient: random.below(10) / 10, alertFloorUnits: random.below(90) },
        };
      case "acknowledge":
        return { kind, ...this.#target(), alertId: `alert-${random.below(99)}`, actor: "buyer" };
      case "again":
        return this.#sent.length > 0 ? random.pick(this.#sent) : this.#reserve();
      case "reused": {
        if (this.#sent.length === 0) return this.#reserve();
        const command = random.pick(this.#sent);
        const changed = { ...command, reason: `changed ${random.below(1e6)}` };
        return changed;
      }
    }
  }

  /** Whole scenarios that random commands produce too rarely. */
  #queueScenario(): void {
    const random = this.#random;
    const line = { ...this.#target(STOCKED.slice(0, -1)), units: 1 + random.below(400) };
    const presale = { ...line, pool: "presale" } as const;
    const counted = { ...line, sku: `COUNTED-${this.#salt++}` };
    const expected = { onHandUnits: line.units };
    const last = random.pick(["cancel", "outbound"] as const);
    this.#queue.push(
      ...random.pick<StockCommand[]>([
        // Paid units are corrected away, and the line is cancelled or sent out.
        [
          { kind: "receive", ...line, id: this.#id() },
          { kind: "reserve", ...line },
          { kind: "pay", ...line },
          { kind: "correct", ...line, id: this.#id(), units: -line.units, pool: "committed" },
          { kind: last, ...line },
        ],
        // A presale order is sent out before its goods were received.
        [
          { kind: "receive", ...presale, id: this.#id() },
          { kind: "reserve", ...presale },
          { kind: "pay", ...presale },
          { kind: "outbound", ...presale },
        ],
        // A suspended line loses units by a correction, and is then cancelled or sent out.
        [
          { kind: "receive", ...line, id: this.#id() },
          { kind: "reserve", ...line, ofOrder: true },
          { kind: "pay", ...line, ofOrder: true },
          { kind: "suspend", ...line, ofOrder: true },
          { kind: "correct", ...line, id: this.#id(), units: -1 - random.below(line.units), pool: "committed" },
          { kind: last, ...line, ofOrder: true },
          { kind: "outbound", ...line, ofOrder: true },
        ],
        // A new cell is corrected as it was counted, and again after it has changed.
        [
          { kind: "receive", ...counted, id: this.#id() },
          { kind: "correct", ...counted, id: this.#id(), units: -1, expected },
          { kind: "correct", ...counted, id: this.#id(), units: -1, expected, settlement: SETTLEMENT },
          { kind: "correct", ...counted, id: this.#id(), units: 1, settlement: SETTLEMENT },
        ],
        // A cancellation arrives after the goods have left.
        [
          { kind: "receive", ...line, id: this.#id() },
          { kind: "reserve", ...line },
          { kind: "pay", ...line },
          { kind: "outbound", ...line },
          { kind: "cancel", ...line },
        ],
      ]),
    );
  }

  #reserve(): ReserveStock {
    const random = this.#random;
    const at = this.#target();
    const pool = at.sku === GIANT ? "sellable" : random.pick<OrderPool | null>([null, null, "sellable", "presale"]);
    const holdMs = random.below(2) === 0 ? undefined : random.pick(HOLDS_MS);
    return this.#remember({
      kind: "reserve",
      ...at,
      units: this.#units(at.sku, at.sku === "SCARCE-1" ? 60 : 9),
      ...(pool && { pool }),
      ...(holdMs !== undefined && { holdMs }),
      ...(random.below(3) === 0 && { uncounted: true as const }),
      ...(random.below(3) === 0 && { ofOrder: true }),
    });
  }

  #remember(line: ReserveStock): ReserveStock {
    this.#lines.push(line);
    if (this.#lines.length > MEMORY) this.#lines.shift();
    return line;
  }

  /** An earlier line; newer ones are more likely. */
  #line(): ReserveStock | undefined {
    const lines = this.#lines;
    return lines[lines.length - 1 - Math.floor(this.#random.next() ** 3 * lines.length)];
  }

  /** The fields that identify a line: usually correct, sometimes one is wrong, sometimes the line does not exist. */
  #aboutLine(line = this.#line()) {
    const random = this.#random;
    if (!line || random.below(40) === 0) return { ...this.#target(), units: 1 + random.below(5) };
    const { id, sku, location, units, pool } = line;
    // Mostly by the line's owner.
    const isOfOrder = random.below(20) === 0 ? line.ofOrder === undefined : line.ofOrder === true;
    const same = {
      id,
      sku,
      location,
      units,
      ...(pool && { pool }),
      ...this.#time(),
      ...(isOfOrder && { ofOrder: true as const }),
    };
    switch (random.below(60)) {
      case 0:
        return { ...same, units: units === 1 ? 2 : units - 1 };
      case 1:
        return { ...same, pool: pool === "presale" ? ("sellable" as const) : ("presale" as const) };
      case 2:
        return { ...same, location: random.pick(LOCATIONS) };
      case 3:
        return this.#sent.length > 0 ? { ...same, id: random.pick(this.#sent).id } : same;
      default:
        return same;
    }
  }

  #target(skus = SKUS) {
    const random = this.#random;
    const sku = random.pick(skus);
    const location = random.pick(LOCATIONS);
    return { id: this.#id(), sku, location, ...this.#time() };
  }

  #units(sku: string, usual: number): number {
    return sku === GIANT && this.#random.below(3) === 0
      ? this.#random.pick(GIANT_UNITS)
      : 1 + this.#random.below(usual);
  }

  #id(): string {
    const random = this.#random;
    const draw = random.below(100);
    let timeMs = this.timeMs;
    if (draw < 3) timeMs -= random.below((this.#retentionDays + 7) * DAY_MS);
    else if (draw < 5) timeMs += random.below(4 * DAY_MS);
    const id = chainIdFromNumber(random.pick(["TB", "S1"]), timeMs, this.#salt++);
    return random.below(4) === 0 ? `${id}-${1 + random.below(9)}` : id;
  }

  /** The event time: mostly none; else slightly after the latest, sometimes earlier, rarely days later. */
  #time(): { atMs?: number } {
    const random = this.#random;
    const draw = random.below(10_000);
    if (draw < 6_000) return {};
    if (draw < 7_000) return { atMs: this.timeMs - random.below(3_600_000) };
    if (draw < 9_500) return { atMs: this.timeMs + random.below(300) };
    if (draw < 9_985) return { atMs: this.timeMs + random.below(20_000) };
    return { atMs: this.timeMs + random.below(draw < 9_997 ? DAY_MS : 16 * DAY_MS) };
  }

  #cause() {
    return this.#random.below(3) === 0
      ? { actor: "clerk", reason: this.#random.pick(["count", "broken\nbox", "盘点"]) }
      : {};
  }
}
