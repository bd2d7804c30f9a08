/**
 * One partition's state for tests of the rules, written as: given what has happened, when a command comes, then this is
 * the reply and these are the balances.
 */
import { expect } from "vitest";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import type { BreakerAction, BreakerScope } from "../../engine/stock/breaker.js";
import { applyBreaker } from "../../engine/stock/breaker-rules.js";
import { decide } from "../../engine/stock/decide.js";
import { advance, evolve } from "../../engine/stock/evolve.js";
import {
  type Balances,
  cellOf,
  DEFAULT_ID_RETENTION_DAYS,
  emptyBalances,
  onHandUnits,
  type Reply,
  type StockCommand,
} from "../../engine/stock/model.js";
import { emptyPartitionState, type PartitionState } from "../../engine/stock/partition-state.js";
import { LATEST_FORMAT } from "../../engine/stream/format.js";

export const NOON = Date.UTC(2026, 5, 18, 12);
export const MINUTE_MS = 60_000;
let salt = 0;
export const newId = (timeMs = NOON): string => chainIdFromNumber("S1", timeMs, salt++);
/** A command without what `when` fills in. */
type At<T> = T extends StockCommand ? Omit<T, "id" | "sku" | "location"> & { id?: string; location?: string } : never;
export type Brief = At<StockCommand>;

/** One partition under test. After every command no balance may be below zero, and no unit may appear or be lost. */
export class Scene {
  readonly partition: PartitionState;
  #outside = 0;

  constructor(format = LATEST_FORMAT) {
    this.partition = emptyPartitionState(DEFAULT_ID_RETENTION_DAYS, format);
    advance(this.partition, NOON);
  }

  when(brief: Brief): Reply {
    const command = { id: newId(), sku: "CUP", location: "SH", ...brief } as StockCommand;
    const decision = decide(this.partition, command);
    evolve(this.partition, command.id, decision);
    for (const { from, to, units } of decision.transfers) {
      if (from === "outside") this.#outside -= units;
      if (to === "outside") this.#outside += units;
    }
    let present = 0;
    for (const cell of this.partition.cells.values()) {
      expect(Math.min(...Object.values(cell))).toBeGreaterThanOrEqual(0);
      present += onHandUnits(cell) + cell.presale;
    }
    expect(present + this.#outside).toBe(0);
    const { outcome, repeated, state, missingUnits } = decision;
    return { outcome, repeated, state, ...(missingUnits !== undefined && { missingUnits }) };
  }

  /** Commands that must be accepted, before the one under test. */
  given(...briefs: Brief[]): this {
    for (const brief of briefs) expect(this.when(brief).outcome).toMatch(/accepted|admitted_anew|cancelled_paid/);
    return this;
  }

  line(id: string, units = 4): this {
    return this.given({ kind: "reserve", id, units });
  }

  after(ms: number): this {
    for (const { transfer } of advance(this.partition, this.partition.clockMs + ms))
      if (transfer.from === "outside") this.#outside -= transfer.units;
    return this;
  }

  breaker(scope: BreakerScope, forMs = 0, atEnd?: "half_open", action: BreakerAction = "open"): this {
    const { clockMs } = this.partition;
    const untilMs = forMs && clockMs + forMs;
    const cause = { actor: "a", reason: "r" };
    applyBreaker(this.partition, scope, {
      ...{ action, version: 1, sinceMs: clockMs, untilMs, ...cause },
      ...(atEnd && { atEnd }),
    });
    return this;
  }

  cell(location = "SH"): Partial<Balances> {
    const cell = this.partition.cells.get(cellOf("CUP", location)) ?? emptyBalances();
    return Object.fromEntries(Object.entries(cell).filter(([, units]) => units !== 0));
  }
}

export const given = (...briefs: Brief[]): Scene => new Scene().given(...briefs);
export const stocked = (units = 10): Scene => given({ kind: "receive", units });
export const presold = (units = 10): Scene => given({ kind: "receive", units, pool: "presale" });
