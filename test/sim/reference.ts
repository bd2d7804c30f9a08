/**
 * The reference side of the simulation: one partition's book, driven by decide, evolve and advance alone. It says
 * what the ledger must answer to a batch and which events its log must then hold. It is quick enough for a hundred
 * thousand commands because it asks `advance` only when a hold may be due or a day has passed.
 */
import { DAY_MS } from "../../engine/kernel/clock.js";
import { advance, type Book, breakerKey, type Decision, decide, emptyBook, evolve } from "../../engine/stock/decide.js";
import {
  type BreakerScope,
  cellOf,
  EVENT_TYPES,
  type EventType,
  isAccepted,
  type Reply,
  type StockCommand,
  type StockEvent,
  SWEEP_LIMIT,
} from "../../engine/stock/model.js";

/** All of the units are missing. */
const NOWHERE = { from: "outside", to: "outside" } as const;

/** An event as the log must tell it, but for its place in the log. */
export type ExpectedEvent = Omit<StockEvent, "offset" | "index">;

export class Reference {
  readonly book: Book;
  /** Held lines by the time they expire. */
  readonly held = new Map<string, number>();
  readonly events: ExpectedEvent[] = [];
  /** Sweeps that could not give everything back at once. */
  fullSweeps = 0;
  #nextDueMs = Number.POSITIVE_INFINITY;
  #day = -1;

  constructor(retentionDays: number, format: number) {
    this.book = emptyBook(retentionDays, format);
  }

  /** What a batch is answered; its events are added to `events`, and the cells it names or moves to `touched`. */
  apply(nowMs: number, commands: readonly StockCommand[], touched: Set<string>): Reply[] {
    const { book } = this;
    book.clockMs = Math.max(book.clockMs, nowMs);
    return commands.map((command) => {
      this.#passTime(Math.max(book.clockMs, command.atMs ?? 0), touched);
      const decision = decide(book, command);
      evolve(book, command.id, decision);
      const { outcome, repeated, state, uncounted, missingUnits, remember } = decision;
      if (remember !== "nothing") {
        if (remember.state === "held") {
          this.held.set(command.id, remember.expiresAtMs);
          this.#nextDueMs = Math.min(this.#nextDueMs, remember.expiresAtMs);
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

  /** Lets time pass; returns how many holds were given back. */
  tick(nowMs: number, touched: Set<string>): number {
    const before = this.events.length;
    this.#passTime(Math.max(this.book.clockMs, nowMs), touched);
    for (const [key, { untilMs }] of this.book.breakers)
      if (untilMs > 0 && untilMs <= this.book.clockMs) this.book.breakers.delete(key);
    return this.events.length - before;
  }

  /** `forMs` counts from the caller's clock; the partition's may be past that: then the breaker is closed. */
  openBreaker(nowMs: number, scope: BreakerScope, forMs: number): void {
    const { book } = this;
    const clockMs = Math.max(book.clockMs, nowMs);
    const untilMs = forMs > 0 ? nowMs + forMs : 0;
    if (untilMs > 0 && untilMs <= clockMs) {
      this.closeBreaker(nowMs, scope);
      return;
    }
    book.clockMs = clockMs;
    book.breakers.set(breakerKey(scope), { scope, untilMs, sinceMs: book.clockMs, actor: "sim", reason: "drill" });
  }

  closeBreaker(nowMs: number, scope: BreakerScope): boolean {
    const open = this.book.breakers.delete(breakerKey(scope));
    if (open) this.book.clockMs = Math.max(this.book.clockMs, nowMs);
    return open;
  }

  /** The very millisecond in which the next hold expires or breaker closes: where an "at or past" shows. */
  nextChangeMs(): number {
    const times = [this.#nextDueMs, ...[...this.book.breakers.values()].map(({ untilMs }) => untilMs)];
    const next = Math.min(...times.filter((ms) => ms > this.book.clockMs));
    return Number.isFinite(next) ? next : this.book.clockMs;
  }

  #passTime(toMs: number, touched: Set<string>): void {
    const { book, held } = this;
    const day = Math.floor(toMs / DAY_MS);
    if (toMs < this.#nextDueMs && day === this.#day) {
      book.clockMs = toMs;
      return;
    }
    this.#day = day;
    const expiries = advance(book, toMs);
    if (expiries.length === SWEEP_LIMIT) this.fullSweeps++;
    for (const { id, record, transfer } of expiries) {
      held.delete(id);
      touched.add(record.cell);
      const { sku, location } = placeOf(record.cell);
      const { from, to, units } = transfer;
      this.events.push({
        type: "LineExpired",
        id,
        sku,
        location,
        units,
        from,
        to,
        atMs: book.clockMs,
        clockMs: book.clockMs,
      });
    }
    this.#nextDueMs = Number.POSITIVE_INFINITY;
    for (const expiresAtMs of held.values()) if (expiresAtMs < this.#nextDueMs) this.#nextDueMs = expiresAtMs;
  }

  /** One event, or two when goods have left two pools. */
  #eventsOf(command: StockCommand, decision: Decision): ExpectedEvent[] {
    const { transfers, missingUnits, unexplained } = decision;
    const none =
      missingUnits === undefined ? [undefined] : [{ ...NOWHERE, units: "units" in command ? command.units : 0 }];
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
    const { clockMs } = this.book;
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
    if (kind === "reserve" && command.uncounted && this.book.format > 1) event.uncounted = true;
    if (kind === "outbound" && command.pool === "presale") event.presale = true;
    if (kind === "move" && command.toLocation !== undefined) event.toLocation = command.toLocation;
    const detail = {
      ...(actor !== undefined && { actor }),
      ...(reason !== undefined && { reason }),
      ...(kind === "configure" && { settings: command.settings }),
      ...(kind === "acknowledge" && { alertId: command.alertId }),
    };
    if (Object.keys(detail).length > 0) event.detail = detail;
    return event;
  }
}

function placeOf(cell: string): { sku: string; location: string } {
  const [sku = "", location = ""] = cell.split("\u001f");
  return { sku, location };
}
