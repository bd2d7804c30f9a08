/**
 * The reference side of the simulation: one partition's state, changed by decide, evolve and advance alone. It returns
 * what the ledger must answer to a batch and which events its log must then hold. It is fast enough for a hundred
 * thousand commands because it calls `advance` only when a hold may be due or a day has passed.
 */
import { DAY_MS } from "../../engine/kernel/clock.js";
import { type BreakerAction, type BreakerScope, breakerKey } from "../../engine/stock/breaker.js";
import { applyBreaker, type BreakerChanged, endBreakers } from "../../engine/stock/breaker-rules.js";
import { decide } from "../../engine/stock/decide.js";
import { advance, evolve } from "../../engine/stock/evolve.js";
import {
  cellOf,
  EVENT_TYPES,
  type EventType,
  isAccepted,
  type Reply,
  type StockCommand,
  type StockEvent,
  SWEEP_LIMIT,
} from "../../engine/stock/model.js";
import { type Decision, emptyPartitionState, type PartitionState } from "../../engine/stock/partition-state.js";

/** Before this format entries of breakers have neither version nor end, and are not counted. */
export const BREAKER_EVENTS_FORMAT = 3;

/** When all of the units are missing. */
const NO_TRANSFER = { from: "outside", to: "outside" } as const;

/** An event that the log must hold, without its position in the log. */
export type ExpectedEvent = Omit<StockEvent, "offset" | "index">;

export class Reference {
  readonly partition: PartitionState;
  /** Held lines by the time they expire. */
  readonly held = new Map<string, number>();
  readonly events: ExpectedEvent[] = [];
  /** Sweeps that left due holds for the next one. */
  fullSweeps = 0;
  #nextDueMs = Number.POSITIVE_INFINITY;
  #day = -1;
  /** Of the last change of any breaker. */
  #breakerVersion = 0;

  constructor(retentionDays: number, format: number) {
    this.partition = emptyPartitionState(retentionDays, format);
  }

  /** Returns the replies to a batch. Adds its events to `events`, and its cells to `touched`. */
  apply(nowMs: number, commands: readonly StockCommand[], touched: Set<string>): Reply[] {
    const { partition } = this;
    partition.clockMs = Math.max(partition.clockMs, nowMs);
    return commands.map((command) => {
      this.#passTime(Math.max(partition.clockMs, command.atMs ?? 0), touched);
      const decision = decide(partition, command);
      evolve(partition, command.id, decision);
      const { outcome, repeated, state, uncounted, missingUnits, record } = decision;
      if (record !== "unchanged") {
        if (record.state === "held") {
          this.held.set(command.id, record.expiresAtMs);
          this.#nextDueMs = Math.min(this.#nextDueMs, record.expiresAtMs);
        } else this.held.delete(command.id);
      }
      if (isAccepted(outcome) && !repeated) this.events.push(...this.#eventsOf(command, decision));
      touched.add(cellOf(command.sku, command.location));
      for (const transfer of decision.transfers) touched.add(transfer.toCell);
      return {
        outcome,
        repeated,
        state,
        ...(uncounted && { uncounted }),
        ...(missingUnits !== undefined && { missingUnits }),
      };
    });
  }

  /** Does what is due by time; returns the number of expired holds. */
  tick(nowMs: number, touched: Set<string>): number {
    const before = this.events.length;
    this.#passTime(Math.max(this.partition.clockMs, nowMs), touched);
    const expired = this.events.length - before;
    for (const change of endBreakers(this.partition)) this.events.push(this.#breakerEventOf(change));
    return expired;
  }

  /**
   * Applies a change by hand, and returns whether it has changed anything. `forMs` counts from the caller's clock; the
   * partition's may be past that: then the breaker has ended.
   */
  setBreaker(nowMs: number, scope: BreakerScope, action: BreakerAction, forMs = 0, atEnd?: "half_open"): boolean {
    const { partition } = this;
    const beforeMs = partition.clockMs;
    partition.clockMs = Math.max(beforeMs, nowMs);
    this.#breakerVersion = Math.max(nowMs, this.#breakerVersion + 1);
    const change = applyBreaker(partition, scope, {
      action,
      version: this.#breakerVersion,
      sinceMs: nowMs,
      untilMs: forMs > 0 ? nowMs + forMs : 0,
      ...(atEnd && { atEnd }),
      actor: "sim",
      reason: "drill",
    });
    if (change) this.events.push(this.#breakerEventOf(change));
    else partition.clockMs = beforeMs;
    return change !== undefined;
  }

  #breakerEventOf({ type, detail }: BreakerChanged): ExpectedEvent {
    const { clockMs, format } = this.partition;
    const { scope, actor, reason } = detail;
    return {
      type,
      id: breakerKey(scope),
      sku: scope.kind === "sku" ? scope.sku : "",
      location: scope.kind === "location" ? scope.location : "",
      units: 0,
      from: "outside",
      to: "outside",
      atMs: clockMs,
      clockMs,
      detail: format < BREAKER_EVENTS_FORMAT ? { scope, actor, reason } : { ...detail },
    };
  }

  /** The millisecond in which the next hold expires or breaker closes: an error of one millisecond shows there. */
  nextChangeMs(): number {
    const times = [this.#nextDueMs, ...[...this.partition.breakers.values()].map(({ untilMs }) => untilMs)];
    const next = Math.min(...times.filter((ms) => ms > this.partition.clockMs));
    return Number.isFinite(next) ? next : this.partition.clockMs;
  }

  #passTime(toMs: number, touched: Set<string>): void {
    const { partition, held } = this;
    const day = Math.floor(toMs / DAY_MS);
    if (toMs < this.#nextDueMs && day === this.#day) {
      partition.clockMs = toMs;
      return;
    }
    this.#day = day;
    const expiries = advance(partition, toMs);
    if (expiries.length === SWEEP_LIMIT) this.fullSweeps++;
    for (const { id, record, transfer } of expiries) {
      held.delete(id);
      touched.add(record.cell);
      const { sku, location } = splitCell(record.cell);
      const { from, to, units } = transfer;
      this.events.push({
        type: "LineExpired",
        id,
        sku,
        location,
        units,
        from,
        to,
        atMs: partition.clockMs,
        clockMs: partition.clockMs,
      });
    }
    this.#nextDueMs = Number.POSITIVE_INFINITY;
    for (const expiresAtMs of held.values()) if (expiresAtMs < this.#nextDueMs) this.#nextDueMs = expiresAtMs;
  }

  /** One event, or two when goods have left two pools. */
  #eventsOf(command: StockCommand, decision: Decision): ExpectedEvent[] {
    const { transfers, missingUnits, unexplained } = decision;
    const none =
      missingUnits === undefined ? [undefined] : [{ ...NO_TRANSFER, units: "units" in command ? command.units : 0 }];
    return (transfers.length > 0 ? transfers : none).map((transfer) => {
      const event = this.#eventOf(command, transfer, decision);
      if (unexplained || missingUnits !== undefined)
        event.detail = { ...event.detail, ...(unexplained && { unexplained }), ...(missingUnits && { missingUnits }) };
      return event;
    });
  }

  #eventOf(
    command: StockCommand,
    transfer: Pick<StockEvent, "from" | "to" | "units"> | undefined,
    { deductedMs }: Decision,
  ): ExpectedEvent {
    const { kind, id, sku, location, atMs, actor, reason } = command;
    const { clockMs, format } = this.partition;
    const units = "units" in command ? command.units : 0;
    const { from, to, units: moved } = transfer ?? { from: "outside", to: "outside", units };
    const event: ExpectedEvent = {
      type: EVENT_TYPES[kind] as EventType,
      id,
      sku,
      location,
      units: moved,
      from,
      to,
      atMs: deductedMs ?? Math.min(atMs ?? clockMs, clockMs),
      clockMs,
    };
    if (kind === "reserve" && command.uncounted && this.partition.format > 1) event.uncounted = true;
    if (kind === "outbound" && command.pool === "presale") event.presale = true;
    if (kind === "move" && command.toLocation !== undefined) event.toLocation = command.toLocation;
    const detail = {
      ...(actor !== undefined && { actor }),
      ...(reason !== undefined && { reason }),
      ...(kind === "correct" && command.settlement && format > 1 && { settlement: command.settlement }),
      ...(kind === "configure" && { settings: command.settings }),
      ...(kind === "acknowledge" && { alertId: command.alertId }),
    };
    if (Object.keys(detail).length > 0) event.detail = detail;
    return event;
  }
}

function splitCell(cell: string): { sku: string; location: string } {
  const [sku = "", location = ""] = cell.split("\u001f");
  return { sku, location };
}
