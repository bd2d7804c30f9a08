/**
 * A warehouse that counts what the ledger of a fault test holds: it reads the ledger's log, books each event late and
 * out of order, and sends snapshots of goods on hand over HTTP. It is always right: what it counts at an instant is
 * what it has booked by then. Its clock may be off; it then either states the time with each snapshot, or does not. It
 * loses one event on command.
 */
import { request } from "node:http";
import { sleep } from "../../engine/kernel/clock.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import { bookableEvents } from "../../engine/reconciliation/localisation/divergence-cause.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import { CELL_SEPARATOR, cellOf, type StockEvent } from "../../engine/stock/model.js";
import { readLog } from "../../engine/stream/log.js";
import { type Bed, TOKEN } from "./bed.js";

export interface WarehouseSettings {
  name: string;
  seed: number;
  /** Events are booked up to so long after the ledger's. */
  latenessMs: number;
  /** The warehouse's clock minus the true one. */
  clockOffMs: number;
  /** Whether it sends its clock with each snapshot, so that the engine can correct it. */
  statesClock: boolean;
}

interface Booking {
  cell: string;
  units: number;
  atMs: number;
}

const PAGE_ENTRIES = 500;
/** A snapshot's instant is so long ago that all events before it can be read from the log. */
const BEHIND_MS = 200;

export class Warehouse {
  /** The event that it did not book, after `loseOne`. */
  lost: StockEvent | undefined;
  readonly #bed: Bed;
  readonly #settings: WarehouseSettings;
  readonly #random: Random;
  readonly #cells = new Map<string, number>();
  readonly #offsets = new Map<number, number>();
  #pending: Booking[] = [];
  #sent = 0;
  #losesNext = false;

  constructor(bed: Bed, settings: WarehouseSettings) {
    this.#bed = bed;
    this.#settings = settings;
    this.#random = seededRandom(settings.seed);
  }

  /** From now on the next event that changes goods on hand is not booked. */
  loseOne(): void {
    this.#losesNext = true;
  }

  /**
   * Sends a snapshot of what it has booked by now.
   * @returns the id, and by how much the answer was late: the engine has no measure of it
   */
  async send(): Promise<{ id: string; rows: number; delayMs: number }> {
    const { name, clockOffMs, statesClock } = this.#settings;
    const atMs = Math.floor(await this.#bed.redisNow()) - BEHIND_MS;
    await this.#readLogs();
    this.#book(atMs);
    // What has left before it was booked as received: it counts nothing there for a moment.
    const rows = [...this.#cells].filter(([, units]) => units >= 0);
    const body = rows.map(([cell, units]) => {
      const [sku, location] = cell.split(CELL_SEPARATOR);
      return JSON.stringify({ sku, location, units });
    });
    const id = `${name}-${++this.#sent}`;
    const query = new URLSearchParams({
      ...{ id, measure: "on_hand", rows: String(rows.length), asOf: new Date(atMs + clockOffMs).toISOString() },
      ...(statesClock && { sentAt: new Date((await this.#bed.redisNow()) + clockOffMs).toISOString() }),
    });
    const before = performance.now();
    await call(this.#bed, "POST", `/v1/snapshots/${name}?${query}`, `${body.join("\n")}\n`);
    return { id, rows: rows.length, delayMs: performance.now() - before };
  }

  /** Waits until everything that has happened by now is booked with the next snapshot. */
  async settle(): Promise<void> {
    await this.#readLogs();
    await sleep(this.#settings.latenessMs + BEHIND_MS);
  }

  /** Books what is due at an instant; earlier ones were asked for before. */
  #book(atMs: number): void {
    const later: Booking[] = [];
    for (const booking of this.#pending) {
      if (booking.atMs > atMs) later.push(booking);
      else this.#cells.set(booking.cell, (this.#cells.get(booking.cell) ?? 0) + booking.units);
    }
    this.#pending = later;
  }

  async #readLogs(): Promise<void> {
    for (const partition of this.#bed.partitions()) {
      for (;;) {
        const after = this.#offsets.get(partition) ?? 0;
        const entries = await readLog(this.#bed.redis, this.#bed.keysOf(partition).log, after, PAGE_ENTRIES);
        for (const entry of entries) for (const event of eventsOf(entry).events) this.#take(event);
        const last = entries.at(-1)?.offset;
        if (last === undefined) break;
        this.#offsets.set(partition, last);
      }
    }
  }

  #take(event: StockEvent): void {
    const [bookable] = bookableEvents(new Map(), [event], "on_hand");
    if (!bookable) return;
    if (this.#losesNext) {
      this.#losesNext = false;
      this.lost = event;
      return;
    }
    const atMs = event.clockMs + this.#random.below(this.#settings.latenessMs + 1);
    for (const [location, units] of bookable.effects)
      this.#pending.push({ cell: cellOf(event.sku, location), units, atMs });
  }
}

/** Asks one of the bed's servers; anything but success is an error with its body. */
// biome-ignore lint/suspicious/noExplicitAny: a test reads what it expects
export async function call(bed: Bed, method: string, path: string, body?: string): Promise<any> {
  const [api = ""] = bed.apis;
  const headers = {
    authorization: `Bearer ${TOKEN}`,
    ...(body === undefined ? {} : { "content-type": "application/x-ndjson" }),
  };
  return new Promise((resolve, reject) => {
    const sent = request(`${api}${path}`, { method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        if ((response.statusCode ?? 500) < 300) resolve(JSON.parse(text));
        else reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}
