/**
 * The form of an entry of the orders' log: how events are written and read. An entry holds `n`: how many events the
 * log has held with it, `t`: its time, `b`: its events, msgpack lists one after the other.
 */
import { Packr, Unpackr } from "msgpackr";
import { field, type LogEntry } from "../stream/log.js";
import { type Evidence, ORDER_STEPS, type OrderBody, type OrderEvent, type OrderStep } from "./model.js";

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

type PackedEvent = [
  step: number,
  id: string,
  source: string,
  detail: Record<string, string | number> | null,
  createdMs: number,
  body: OrderBody | null,
];
/** Bytes of two nils of msgpack, which orders.lua replaces by the order's creation time and its body. */
const OPEN_BYTES = 2;

/** An event as orders.lua takes it: without its last two elements. */
export function eventBeginning(id: string, step: OrderStep, { source, detail }: Evidence): Buffer {
  const whole = packr.pack([ORDER_STEPS.indexOf(step), id, source, detail ?? null, null, null]);
  return whole.subarray(0, whole.length - OPEN_BYTES);
}

/**
 * The events of a log entry.
 * @throws Error when it is not valid
 */
export function orderEventsOf(entry: LogEntry): { clockMs: number; total: number; events: OrderEvent[] } {
  const clockMs = timeOf(entry);
  const total = Number(textOf(entry, "n"));
  const packed = field(entry, "b");
  if (!packed) throw new Error("the entry has no field b");
  const lists = packed.length === 0 ? [] : (unpackr.unpackMultiple(packed) as PackedEvent[]);
  return { clockMs, total, events: lists.map((list, index) => eventOf(list, entry.offset, index, clockMs)) };
}

/**
 * Whether an entry has a buyer's name or address. Only format 1 wrote them in the log. One that cannot be read and has
 * the field's name counts as having them.
 */
export function namesBuyer(entry: LogEntry): boolean {
  if (!entry.fields.some((bytes) => bytes.includes("shipTo"))) return false;
  try {
    return orderEventsOf(entry).events.some(({ body }) => body !== undefined && "shipTo" in body);
  } catch {
    return true;
  }
}

/** Replaces an event that is left out, so that the others keep their index: `created` of an order without an id. */
const LEFT_OUT = packr.pack([0, "", "", null, 0, null] satisfies PackedEvent);

/** The fields of an entry with one event at its index; the other events may name other buyers. */
export function onlyEvent(entry: LogEntry, index: number): Buffer[] {
  const events = unpackr.unpackMultiple(field(entry, "b") as Buffer) as PackedEvent[];
  const kept = [...new Array<Buffer>(index).fill(LEFT_OUT), packr.pack(events[index])];
  return entry.fields.map((value, i) =>
    i % 2 === 1 && (entry.fields[i - 1] as Buffer).toString("latin1") === "b" ? Buffer.concat(kept) : value,
  );
}

function eventOf(packed: PackedEvent, offset: number, index: number, clockMs: number): OrderEvent {
  const [number, id, source, detail, createdMs, body] = packed;
  const step = ORDER_STEPS[number];
  if (step === undefined) throw new Error(`unknown step number ${number}`);
  return {
    offset,
    index,
    atMs: clockMs,
    clockMs,
    id,
    step,
    source,
    createdMs,
    ...(detail ? { detail } : {}),
    ...(body ? { body } : {}),
  };
}

export function timeOf(entry: LogEntry): number {
  const timeMs = Number(textOf(entry, "t"));
  if (Number.isSafeInteger(timeMs) && timeMs > 0) return timeMs;
  throw new Error("the entry has no time");
}

const textOf = (entry: LogEntry, name: string): string | undefined => field(entry, name)?.toString("latin1");
